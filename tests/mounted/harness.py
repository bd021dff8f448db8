"""What the mounted campaigns share: counted checks, and comparisons that read every byte."""

import contextlib
import hashlib
import os
import pathlib
import re
import subprocess
import tempfile
import traceback


class Place:
    """A directory on the file system under test, and the count of checks made there."""

    def __init__(self, directory, name, full):
        self.dir = pathlib.Path(directory)
        self.name = name
        self.full = full
        self.passed = 0
        self.failed = 0
        self._tally = os.environ.get("TESFS_TALLY")

    @classmethod
    def from_environment(cls, full):
        return cls(os.environ["TESFS_TEST_DIR"], os.environ["TESFS_TEST_PLACE"], full)

    @property
    def is_tesfs(self):
        return self.name in ("passthrough", "cached")

    @contextlib.contextmanager
    def check(self, what):
        """Counts what happens inside as one check: it fails if anything is raised."""
        try:
            yield
        except Exception as error:  # whatever it is, it is a failed check
            self.failed += 1
            self._record("failed", what)
            print(f"FAILED  {what} on {self.name}: {type(error).__name__}", flush=True)
            text = str(error).strip() or traceback.format_exc().strip()
            for line in text.splitlines()[-15:]:
                print(f"    {line}", flush=True)
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"    ({pathlib.Path(where.filename).name}:{where.lineno})", flush=True)
        else:
            self.passed += 1
            self._record("ok", what)

    def _record(self, result, what):
        if self._tally:
            with open(self._tally, "a", encoding="utf-8") as tally:
                tally.write(f"{result} mounted {self.name} {what}\n")

    @contextlib.contextmanager
    def beside(self):
        """A scratch directory on the machine's own disk, for the same work done natively."""
        with tempfile.TemporaryDirectory(prefix="tesfs-beside.", dir="/var/tmp") as directory:
            yield pathlib.Path(directory)

    def node_peak_mib(self):
        """Greatest resident memory of the node so far, or None where there is no node."""
        pid = os.environ.get("TESFS_TEST_PID")
        if not pid:
            return None
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return None


def command(*words, cwd=None, env=None, data=None):
    """Runs a program; what it printed comes back, and with the error if it failed."""
    result = subprocess.run(
        [os.fspath(word) for word in words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    output = result.stdout.decode(errors="replace")
    if result.returncode != 0:
        shown = " ".join(str(word) for word in words)
        raise AssertionError(f"{shown} ended with {result.returncode}:\n{output}")
    return output


def require_same_tree(one, other, directory_times=True):
    """Both trees have the same names, types, bytes, modes, owners, times, links and xattrs.

    Where directories were made by two separate unpackings, their times are not compared.
    """
    forget()
    require_no_difference(one, other)
    flags = ["-aHAXn", "--checksum", "--delete", "--itemize-changes"]
    flags += [] if directory_times else ["--omit-dir-times"]
    differs = command("rsync", *flags, f"{one}/", f"{other}/")
    # The time of a directory changes with the work around it only at the top.
    lines = [line for line in differs.splitlines() if not line.endswith(" ./")]
    assert not lines, "rsync would change:\n" + "\n".join(lines[:20])


def forget():
    """Makes the kernel forget names and attributes: what is compared comes from the node."""
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("2\n", encoding="ascii")


def require_no_difference(one, other):
    """diff -r, except that it never takes two fifos, sockets or devices for the same."""
    words = ["diff", "-r", "--no-dereference", os.fspath(one), os.fspath(other)]
    result = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    alike = re.compile(r"^File .* is a (.*) while file .* is a \1$")
    lines = [line for line in result.stdout.splitlines() if not alike.match(line)]
    assert not lines and result.returncode < 2, "\n".join([*lines[:20], result.stderr])


def require_equal(seen, wanted, what="value"):
    assert seen == wanted, f"{what} is {seen!r}, not {wanted!r}"


def count_files(directory):
    return sum(len(files) for _, _, files in os.walk(directory))


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
