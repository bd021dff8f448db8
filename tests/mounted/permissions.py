"""Other users on the mount: what the modes say holds, whatever root has looked at before."""

import errno
import os
import shutil
import stat
import subprocess

from harness import require_equal

OTHER = 54321  # a user without a name and without rights


def run(place, work):
    os.chmod(work, 0o755)
    with place.check("another user reads what the modes allow"):
        (work / "open").write_bytes(b"for all")
        os.chmod(work / "open", 0o644)
        require_equal(as_other(lambda: (work / "open").read_bytes() == b"for all"), 0, "errno")
    with place.check("a directory of 0700 that root has warmed stays closed to others"):
        closed = work / "closed"
        closed.mkdir(mode=0o700)
        (closed / "f").write_bytes(b"secret")
        os.stat(closed / "f")
        (closed / "f").read_bytes()
        require_equal(as_other(lambda: os.stat(closed / "f")), errno.EACCES, "errno of stat")
        require_equal(as_other((closed / "f").read_bytes), errno.EACCES, "errno of open")
        require_equal(as_other(lambda: os.listdir(closed)), errno.EACCES, "errno of a listing")
        os.stat(closed / "f")
        require_equal(as_other(lambda: os.stat(closed / "f")), errno.EACCES, "errno after that")
    with place.check("another user changes nothing of root's"):
        for action in (
            lambda: os.unlink(work / "open"),
            lambda: os.rename(work / "open", work / "mine"),
            lambda: os.mkdir(work / "mine"),
        ):
            require_equal(as_other(action), errno.EACCES, "errno")
        require_equal(as_other(lambda: os.open(work / "open", os.O_WRONLY)), errno.EACCES, "errno")
        require_equal(as_other(lambda: os.chmod(work / "open", 0o777)), errno.EPERM, "errno")
        require_equal(as_other(lambda: os.chown(work / "open", OTHER, -1)), errno.EPERM, "errno")
        require_equal(as_other(lambda: os.truncate(work / "open", 0)), errno.EACCES, "errno")
        require_equal((work / "open").read_bytes(), b"for all", "content")
    with place.check("in a sticky directory each removes his own"):
        sticky = work / "sticky"
        sticky.mkdir()
        os.chmod(sticky, 0o1777)
        (sticky / "root's").write_bytes(b"")
        require_equal(as_other(lambda: os.unlink(sticky / "root's")), errno.EPERM, "errno")
        require_equal(as_other((sticky / "own").touch), 0, "errno")
        require_equal(os.stat(sticky / "own").st_uid, OTHER, "owner")
        require_equal(as_other(lambda: os.unlink(sticky / "own")), 0, "errno")
    target = work / "setuid"
    for change in (append, fallocate, copy_range):
        with place.check(f"a change by another user clears set-user-id: {change.__name__}"):
            target.write_bytes(b"x")
            os.chmod(target, 0o6777)
            require_equal(as_other(lambda change=change: change(target)), 0, "errno")
            require_equal(stat.S_IMODE(os.stat(target).st_mode), 0o777, "mode")
        with place.check(f"nobody becomes root by what he changed: {change.__name__}"):
            program = work / f"id-{change.__name__}"
            shutil.copyfile("/usr/bin/id", program)
            os.chmod(program, 0o4777)
            subprocess.run([program, "-u"], stdout=subprocess.DEVNULL, check=True)
            require_equal(as_other(lambda: change_and_run(change, program)), 0, "status")
    with place.check("a change of owner clears set-user-id"):
        os.chmod(target, 0o4755)
        os.chown(target, OTHER, OTHER)
        require_equal(stat.S_IMODE(os.stat(target).st_mode), 0o755, "mode")


def append(path):
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(file, b"y")
    os.close(file)


def fallocate(path):
    file = os.open(path, os.O_WRONLY)
    os.posix_fallocate(file, os.fstat(file).st_size, 1)
    os.close(file)


def copy_range(path):
    file = os.open(path, os.O_RDWR)
    other = os.open(path.with_name("open"), os.O_RDONLY)
    os.copy_file_range(other, file, 3, 0, os.fstat(file).st_size)
    os.close(file)
    os.close(other)


def change_and_run(change, program):
    """Nothing looks at the file between the change and its execution."""
    change(program)
    os.execv("/bin/sh", ["sh", "-c", 'test "$("$0" -u)" = "$1"', program, str(OTHER)])


def as_other(action):
    """Does something as a user without rights; returns the errno, or 0 if it worked."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)
            action()
            code = 0
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
