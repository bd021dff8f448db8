"""Names are bytes: long, not UTF-8, emoji, line breaks; and the few that are refused."""

import errno
import os
import pathlib

from harness import command, require_equal

NAMES = [
    b"a" * 255,
    "ä".encode() * 127,
    "🦀".encode() * 63,
    "👩‍👩‍👧‍👦 family.txt".encode(),
    b"\xff\xfe not utf-8 \x80",
    bytes(range(2, 47)) + bytes(range(48, 200)),
    b"line\nbreak",
    b"tab\tand\rreturn",
    b" leading and trailing ",
    b"-rf",
    b"*?[a]$(x)`y`'\"\\",
    b"...",
    b"..a",
    b"CON",
    b"a.",
    b"Case",
    b"case",
    "\u00e9".encode(),  # é, composed
    "e\u0301".encode(),  # é, decomposed: another name
    "日本語".encode(),
    b"\x01",
    b"\x7f",
]


def run(place, work):
    root = os.fsencode(work)
    with place.check("files of odd names are made, listed and read"):
        for name in NAMES:
            write(os.path.join(root, name), name * 3)
        require_equal(sorted(os.listdir(root)), sorted(NAMES), "listing")
        for name in NAMES:
            with open(os.path.join(root, name), "rb") as file:
                require_equal(file.read(), name * 3, "content")
    with place.check("directories, symlinks and renames take the same names"):
        other = os.path.join(root, b"other")
        os.mkdir(other)
        for name in NAMES:
            os.mkdir(os.path.join(other, name))
            os.symlink(name, os.path.join(other, name, name))
            require_equal(os.readlink(os.path.join(other, name, name)), name, "link")
            os.rename(os.path.join(root, name), os.path.join(other, name, b"moved"))
            with open(os.path.join(other, name, b"moved"), "rb") as file:
                require_equal(file.read(), name * 3, "content")
        require_equal(os.listdir(root), [b"other"], "listing")
    with place.check("find -print0 and tar agree with what was made"), place.beside() as native:
        command("tar", "-cf", native / "odd.tar", "-C", work, "other")
        command("tar", "-df", native / "odd.tar", "-C", work)
        command("tar", "-xf", native / "odd.tar", "-C", native)
        command("diff", "-r", "--no-dereference", native / "other", work / "other")
    for what, name, wanted in [
        ("a name of 256 bytes is ENAMETOOLONG", b"b" * 256, errno.ENAMETOOLONG),
        ("a name of 300 bytes is ENAMETOOLONG", "é".encode() * 150, errno.ENAMETOOLONG),
        ("an absent name is ENOENT", b"absent/inner", errno.ENOENT),
    ]:
        with place.check(what):
            require_errno(wanted, lambda name=name: write(os.path.join(root, name), b""))
    if place.is_tesfs:
        with place.check(".tesfs in the root of the mount is reserved"):
            top = mount_root(work)
            # The kernel answers for a name it has looked up before: EEXIST, where it exists.
            wanted = errno.EEXIST if (top / ".tesfs").is_dir() else errno.EPERM
            require_errno(wanted, lambda: os.mkdir(top / ".tesfs"))
            require_errno(errno.EPERM, lambda: write(top / ".tesfs/own", b""), errno.EROFS)
            assert ".tesfs" not in os.listdir(top)


def mount_root(path):
    path = pathlib.Path(path)
    while not os.path.ismount(path):
        path = path.parent
    return path


def write(path, data):
    with open(path, "xb") as file:
        file.write(data)


def require_errno(wanted, action, *also):
    try:
        action()
    except OSError as error:
        if error.errno not in also:
            require_equal(errno.errorcode[error.errno], errno.errorcode[wanted], "errno")
    else:
        raise AssertionError(f"succeeded instead of {errno.errorcode[wanted]}")
