"""One directory of many files: listed while it grows, renamed in, and emptied."""

import os

from harness import forget, require_equal


def run(place, work):
    count = 100_000 if place.full else 10_000
    many = work / "many"
    many.mkdir()
    names = [f"file-{number:06}" for number in range(count)]
    with place.check(f"{count} files are made in one directory"):
        for number, name in enumerate(names):
            with open(many / name, "wb") as file:
                file.write(b"%d" % number)
        require_equal(sorted(os.listdir(many)), names, "listing")
    with place.check("each of them has its own content and size"):
        forget()
        for number, name in enumerate(names):
            require_equal((many / name).read_bytes(), b"%d" % number, name)
        with os.scandir(many) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries}
        require_equal(sum(sizes.values()), sum(len(str(n)) for n in range(count)), "bytes")
    with place.check("a listing under change shows every unchanged name exactly once"):
        with os.scandir(many) as entries:
            seen = [next(entries).name for _ in range(100)]
            for name in names[: count // 2 : 2]:
                os.rename(many / name, many / f"{name}-moved")
            for number in range(1000):
                (many / f"late-{number}").touch()
            seen += [entry.name for entry in entries]
        require_equal(len(seen), len(set(seen)), "number of different names")
        kept = set(names[1 : count // 2 : 2]) | set(names[count // 2 :])
        missing = kept - set(seen)
        assert not missing, f"{len(missing)} names missing, {sorted(missing)[:3]}"
    with place.check("the next listing is exact"):
        forget()
        wanted = {f"{name}-moved" for name in names[: count // 2 : 2]} | kept
        wanted |= {f"late-{number}" for number in range(1000)}
        listed = os.listdir(many)
        require_equal(len(listed), len(wanted), "number of names")
        require_equal(set(listed), wanted, "names")
    with place.check("all are removed while being listed"):
        with os.scandir(many) as entries:
            for entry in entries:
                os.unlink(entry.path)
        require_equal(os.listdir(many), [], "listing")
        many.rmdir()
