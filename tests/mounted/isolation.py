"""Who sees which version: readers from before, during and after a change, in every combination.

{how the file changes} x {how it is written} x {how it is read} x {small, large}: a read-only handle
sees exactly the version it opened, an open after the close sees the new one, and the inode number
of a file stays what it is. No other file system promises this; elsewhere the noun is passed over.
"""

import itertools
import mmap
import os
import time

from harness import require_equal

SIZES = {"small": 3_000, "large": 400_000}
CHANGES = [
    "larger",
    "smaller",
    "equal",
    "changed in place",
    "grown in place",
    "cut in place",
    "removed",
    "renamed over",
]
WRITERS = ["one handle", "dup'ed", "forked", "mapped after close"]
READERS = ["read", "mapped"]
EVENTUALLY = 5.0


def run(place, work):
    if not place.is_tesfs and not os.environ.get("TESFS_TEST_ANYWAY"):
        print(f"        isolation is not promised by {place.name}")
        return
    cases = itertools.product(CHANGES, WRITERS, READERS, SIZES)
    for number, (change, writer, reader, size) in enumerate(cases):
        if change == "removed" and writer != "one handle":
            continue
        what = f"isolation: {size} file, {change}, by {writer}, readers {reader}"
        with place.check(what):
            one_case(work / f"case{number}", change, writer, reader, SIZES[size])
    with place.check("a second writer sees the first one's bytes, a reader does not"):
        second_writer(work / "second")
    with place.check("appends of two processes are all kept"):
        two_appenders(work / "appended")
    with place.check("a reader keeps its version through a hundred changes"):
        many_versions(work / "many")


def version(number, size):
    """Bytes that say which version they are of, at every place."""
    line = b"version %d of this file\n" % number
    return (line * (size // len(line) + 1))[:size]


def one_case(path, change, writer, how, size):
    old = version(0, size)
    sizes = {"larger": 2, "grown in place": 2, "smaller": 0.5, "cut in place": 0.5}
    new = version(1, int(size * sizes.get(change, 1)))
    path.write_bytes(old)
    ino = os.stat(path).st_ino
    before = Reader(path, how)
    if change == "removed":
        os.unlink(path)
        before.require(old, ino)
        before.close()
        assert not path.exists()
        return
    target = path.with_suffix(".new") if change == "renamed over" else path
    handle = Writer(target, writer, truncate="in place" not in change)
    handle.write(new[: len(new) // 2], 0)
    # Opened while the new version is being written: that is not a version yet.
    during = Reader(path, how)
    before.require(old, ino)
    during.require(old, ino)
    handle.write(new[len(new) // 2 :], len(new) // 2)
    os.ftruncate(handle.file, len(new))
    during.require(old, ino)
    handle.close(new)
    if change == "renamed over":
        os.rename(target, path)
        ino_after = os.stat(path).st_ino
    else:
        ino_after = ino
    after = Reader(path, how) if writer != "mapped after close" else eventually(path, how, new)
    for _ in range(2):
        before.require(old, ino)
        during.require(old, ino)
        after.require(new, ino_after)
    require_equal(os.stat(path).st_ino, ino_after, "inode by name")
    require_equal(os.stat(path).st_size, len(new), "size by name")
    for reader in (before, during, after):
        reader.close()
    require_equal(path.read_bytes() == new, True, "the last version is the new one")


def eventually(path, how, wanted):
    """Opens until the wanted version shows: the end of a mapping is told to no one who waits."""
    until = time.monotonic() + EVENTUALLY
    while path.read_bytes() != wanted and time.monotonic() < until:
        time.sleep(0.01)
    return Reader(path, how)


class Reader:
    """A read-only handle, with a mapping where that is how it reads."""

    def __init__(self, path, how):
        self.file = os.open(path, os.O_RDONLY)
        self.map = None
        if how == "mapped":
            self.map = mmap.mmap(self.file, os.fstat(self.file).st_size, prot=mmap.PROT_READ)
            self.map[0]  # one page is there already, the others come later

    def require(self, wanted, ino):
        stat = os.fstat(self.file)
        require_equal(stat.st_size, len(wanted), "size by handle")
        require_equal(stat.st_ino, ino, "inode by handle")
        seen = self.map[:] if self.map else os.pread(self.file, len(wanted) + 1, 0)
        if seen != wanted:
            at = next((i for i, (a, b) in enumerate(zip(seen, wanted)) if a != b), len(seen))
            raise AssertionError(
                f"reads {len(seen)} bytes, {seen[:12]!r}, at {at} {seen[at:at + 12]!r}; "
                f"wanted {len(wanted)} bytes, {wanted[:12]!r}"
            )

    def close(self):
        if self.map:
            self.map.close()
        os.close(self.file)


class Writer:
    """A handle that writes, closed in one of the ways there are."""

    def __init__(self, path, how, truncate):
        self.how = how
        flags = os.O_RDWR | os.O_CREAT | (os.O_TRUNC if truncate else 0)
        self.file = os.open(path, flags, 0o644)

    def write(self, data, offset):
        while data:
            done = os.pwrite(self.file, data, offset)
            data, offset = data[done:], offset + done

    def close(self, whole):
        if self.how == "dup'ed":
            os.close(os.dup(self.file))
        elif self.how == "forked":
            pid = os.fork()
            if pid == 0:
                os.close(self.file)
                os._exit(0)
            os.waitpid(pid, 0)
        elif self.how == "mapped after close":
            shared = mmap.mmap(self.file, len(whole))
            shared[:] = bytes(len(whole))
            os.close(self.file)
            shared[:] = whole  # the stores of a mapping belong to the file, closed or not
            shared.close()
            return
        os.close(self.file)


def second_writer(path):
    path.write_bytes(b"old" * 1000)
    first = os.open(path, os.O_RDWR)
    os.pwrite(first, b"new", 0)
    second = os.open(path, os.O_RDWR)
    reader = os.open(path, os.O_RDONLY)
    require_equal(os.pread(second, 6, 0), b"newold", "what the second writer reads")
    require_equal(os.pread(reader, 6, 0), b"oldold", "what a reader reads")
    os.pwrite(second, b"too", 3)
    require_equal(os.pread(first, 6, 0), b"newtoo", "what the first writer reads")
    os.close(second)
    os.close(first)
    require_equal(os.pread(reader, 6, 0), b"oldold", "what the reader reads after the close")
    os.close(reader)
    require_equal(path.read_bytes()[:6], b"newtoo", "what is there in the end")


def two_appenders(path):
    path.write_bytes(b"")
    lines, children = 300, []
    for child in range(2):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for line in range(lines):
                    file = os.open(path, os.O_WRONLY | os.O_APPEND)
                    os.write(file, b"%d-%d\n" % (child, line))
                    os.close(file)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    for pid in children:
        require_equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, "status")
    wanted = sorted(b"%d-%d" % (child, line) for child in range(2) for line in range(lines))
    seen = sorted(path.read_bytes().splitlines())
    missing = sorted(set(wanted) - set(seen))
    assert seen == wanted, (
        f"{len(seen)} lines of {len(wanted)}, {len(missing)} missing ({missing[:5]}), "
        f"{len(seen) - len(set(seen))} twice, {len(set(seen) - set(wanted))} of nobody"
    )


def many_versions(path):
    size = 100_000
    path.write_bytes(version(0, size))
    ino = os.stat(path).st_ino
    readers = [(0, Reader(path, "mapped"))]
    for number in range(1, 101):
        path.write_bytes(version(number, size))
        if number % 10 == 0:
            readers.append((number, Reader(path, READERS[number // 10 % 2])))
    for number, reader in readers:
        reader.require(version(number, size), ino)
        reader.close()
