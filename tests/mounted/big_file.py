"""One big file: written, read, appended to, changed in its middle; the node's memory meanwhile."""

import hashlib
import os
import random

from harness import require_equal

MIB = 1 << 20
NODE_PEAK_MIB = 200


def run(place, work):
    size = (4096 if place.full else 256) * MIB
    path = work / "big"
    with place.check(f"{size // MIB} MiB are written and read back"):
        with open(path, "wb", buffering=0) as file:
            for number in range(size // MIB):
                write_all(file, block(number))
        require_equal(os.stat(path).st_size, size, "size")
        require_content(path, size, {})
    changed = {}
    with place.check("an append keeps all that was there"):
        with open(path, "ab", buffering=0) as file:
            for number in range(size // MIB, size // MIB + 3):
                write_all(file, block(number))
        size += 3 * MIB
        require_content(path, size, changed)
    with place.check("a change in the middle changes nothing else"):
        middle = size // MIB // 2
        with open(path, "r+b", buffering=0) as file:
            file.seek(middle * MIB)
            write_all(file, block(10_000_000))
            # Across the border of two blocks, at an odd place.
            file.seek((middle + 7) * MIB - 5)
            write_all(file, b"odd border")
        changed = {middle: block(10_000_000)}
        left, right = bytearray(block(middle + 6)), bytearray(block(middle + 7))
        left[-5:], right[:5] = b"odd b", b"order"
        changed |= {middle + 6: bytes(left), middle + 7: bytes(right)}
        require_content(path, size, changed)
    with place.check("a cut and a hole do what they say"):
        os.truncate(path, size - MIB)
        os.truncate(path, size)
        changed[size // MIB - 1] = bytes(MIB)
        require_content(path, size, changed)
    peak = place.node_peak_mib()
    if peak is not None:
        with place.check("the node's memory stays under 200 MiB"):
            assert peak < NODE_PEAK_MIB, f"{peak:.0f} MiB"


def block(number):
    """A mebibyte that belongs to its place; cheap to make, unlike any other."""
    return random.Random(number).randbytes(MIB)


def write_all(file, data):
    data = memoryview(data)
    while data:
        data = data[file.write(data) :]


def require_content(path, size, changed):
    seen, wanted = hashlib.blake2b(), hashlib.blake2b()
    with open(path, "rb", buffering=0) as file:
        for number in range(size // MIB):
            data = file.read(MIB)
            while len(data) < MIB:
                more = file.read(MIB - len(data))
                assert more, f"the file ends at {number * MIB + len(data)}, not at {size}"
                data += more
            good = changed.get(number) or block(number)
            assert data == good, f"block {number} differs"
            seen.update(data)
            wanted.update(good)
        assert not file.read(1), "the file is longer than its size"
    require_equal(seen.hexdigest(), wanted.hexdigest(), "hash")
