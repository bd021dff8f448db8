"""rsync -aHAX there and back: of the machine's documents, and of a tree of everything special."""

import os
import socket
import stat
import subprocess

from harness import command, require_equal, require_same_tree

DOCUMENTS = "/usr/share/doc"


def run(place, work):
    copy = ["rsync", "-aHAX", "--numeric-ids"]
    with place.beside() as native:
        with place.check("rsync of /usr/share/doc there"):
            command(*copy, f"{DOCUMENTS}/", work / "doc")
            require_same_tree(DOCUMENTS, work / "doc")
        with place.check("and back"):
            command(*copy, f"{work / 'doc'}/", native / "back")
            require_same_tree(DOCUMENTS, native / "back")
        special = native / "special"
        make_special(special)
        with place.check("hard links, devices, xattrs, odd times and modes go there and back"):
            command(*copy, f"{special}/", work / "special")
            require_same_tree(special, work / "special")
            command(*copy, f"{work / 'special'}/", native / "special-back")
            require_same_tree(special, native / "special-back")
            require_special(work / "special")
        with place.check("rsync --inplace and --append change a file as they should"):
            (special / "plain").write_bytes(b"changed in the middle" * 5000)
            command(*copy, "--inplace", "--no-whole-file", f"{special}/", work / "special")
            require_same_tree(special, work / "special")
            with open(special / "plain", "ab") as file:
                file.write(b"appended" * 1000)
            command(*copy, "--append-verify", f"{special}/", work / "special")
            require_same_tree(special, work / "special")
    with place.check("an ACL is kept, or refused as unsupported"):
        target = work / "acl"
        target.write_bytes(b"")
        said = subprocess.run(
            ["setfacl", "-m", "u:12345:r", target], capture_output=True, text=True, check=False
        )
        if said.returncode == 0:
            assert "user:12345:r--" in command("getfacl", "-cn", target)
        else:
            assert "Operation not supported" in said.stderr, said.stderr


def make_special(tree):
    tree.mkdir()
    (tree / "plain").write_bytes(b"plain" * 20000)
    os.link(tree / "plain", tree / "hard")
    (tree / "sub").mkdir(mode=0o700)
    os.link(tree / "plain", tree / "sub/hard too")
    (tree / "soft").symlink_to("sub/hard too")
    (tree / "broken").symlink_to("/nowhere/at all")
    os.mkfifo(tree / "fifo", 0o620)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(tree / "socket"))
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(tree / "block", stat.S_IFBLK | 0o600, os.makedev(7, 99))
    (tree / "setuid").write_bytes(b"#!/bin/true\n")
    os.chown(tree / "setuid", 1234, 4321)
    os.chmod(tree / "setuid", 0o6755)
    (tree / "sticky").mkdir()
    os.chmod(tree / "sticky", 0o1777)
    (tree / "empty").write_bytes(b"")
    os.setxattr(tree / "empty", "user.note", b"\x00\xffbytes")
    os.setxattr(tree / "sub", "user.note", b"on a directory")
    os.setxattr(tree / "empty", "trusted.note", b"root's")
    with open(tree / "sparse", "wb") as file:
        file.seek(50 << 20)
        file.write(b"end")
    os.utime(tree / "plain", ns=(1, 999_999_999))
    os.utime(tree / "sub", ns=(-1_000_000_000, -999_999_999))
    os.utime(tree / "empty", ns=(4_102_444_800_123_456_789, 4_102_444_800_123_456_789))
    os.utime(tree / "soft", ns=(77, 1_000_000_077), follow_symlinks=False)


def require_special(tree):
    """What rsync does not compare, or compares only where the source has it."""
    require_equal(os.stat(tree / "plain").st_nlink, 3, "link count")
    require_equal(os.stat(tree / "plain").st_ino, os.stat(tree / "sub/hard too").st_ino, "inode")
    require_equal(os.stat(tree / "null").st_rdev, os.makedev(1, 3), "device")
    require_equal(os.stat(tree / "plain").st_mtime_ns, 999_999_999, "mtime")
    require_equal(os.lstat(tree / "soft").st_mtime_ns, 1_000_000_077, "mtime of the link")
    require_equal(os.getxattr(tree / "empty", "user.note"), b"\x00\xffbytes", "xattr")
    require_equal(os.stat(tree / "sparse").st_size, (50 << 20) + 3, "size")
