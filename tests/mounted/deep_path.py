"""Paths a thousand directories deep, longer than the kernel takes in one call."""

import os

from harness import command, require_equal

DEPTH = 1000
NAME = "directory"  # a thousand of these exceed PATH_MAX


def run(place, work):
    with place.check(f"{DEPTH} nested directories are made and a file written at the bottom"):
        bottom = descend(work, create=True)
        write_at(bottom, "file", b"at the bottom")
        os.close(bottom)
    with place.check("the file is found again from the top"):
        bottom = descend(work)
        require_equal(read_at(bottom, "file"), b"at the bottom", "content")
        os.close(bottom)
    with place.check("find sees every level"):
        listed = command("find", ".", "-type", "d", cwd=work).splitlines()
        require_equal(len(listed), DEPTH + 1, "number of directories")
    with place.check("a rename at the top keeps everything below"):
        bottom = descend(work)
        os.rename(work / NAME, work / "renamed")
        require_equal(read_at(bottom, "file"), b"at the bottom", "content through the old handle")
        os.close(bottom)
        bottom = descend(work, top="renamed")
        require_equal(read_at(bottom, "file"), b"at the bottom", "content")
        os.close(bottom)
    with place.check("a directory can not be moved below itself"):
        inner = work / "renamed" / NAME
        try:
            os.rename(work / "renamed", inner / "loop")
        except OSError as error:
            require_equal(error.errno, 22, "errno")
        else:
            raise AssertionError("rename into itself succeeded")
    with place.check("getcwd and .. work at the bottom"):
        bottom = descend(work, top="renamed")
        up = bottom
        for _ in range(DEPTH):
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=up)
            os.close(up)
            up = above
        require_equal(os.fstat(up).st_ino, os.stat(work).st_ino, "inode of the top")
        os.close(up)
    with place.check("rm -rf removes it"):
        command("rm", "-rf", work / "renamed")
        require_equal(os.listdir(work), [], "listing")


def descend(work, create=False, top=NAME):
    here = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    for level in range(DEPTH):
        name = top if level == 0 else NAME
        if create:
            os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    return here


def write_at(directory, name, data):
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=directory)
    os.write(file, data)
    os.close(file)


def read_at(directory, name):
    file = os.open(name, os.O_RDONLY, dir_fd=directory)
    data = os.read(file, 1 << 16)
    os.close(file)
    return data
