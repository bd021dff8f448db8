"""What every benchmark here needs: a disk in memory, nodes on it, and a way back."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Sparse; what is removed from a node stays in its history.
DISK_MIB = 16384


class Rig:
    """A scratch directory, a disk, and the nodes that were started; all of it goes at `close`."""

    def __init__(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="tesfs-bench.", dir="/dev/shm"))
        self.undo = []
        self.tesfs = None
        self.work_program = None

    def build(self, needs_tesfs):
        packages = ["-p", "tesfs-tests"] + (["-p", "tesfs-cli"] if needs_tesfs else [])
        say("building with the release profile")
        subprocess.run(
            ["cargo", "build", "--release", "--locked", "--quiet", *packages], cwd=ROOT, check=True
        )
        release = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
        self.work_program = release / "tesfs-bench-work"
        self.tesfs = pathlib.Path(os.environ.get("TESFS_BIN", release / "tesfs"))

    def disk(self):
        image, home = self.scratch / "disk.img", self.scratch / "disk"
        home.mkdir()
        with open(image, "wb") as file:
            file.truncate(DISK_MIB << 20)
        options = "lazy_itable_init=0,lazy_journal_init=0"
        run("mkfs.ext4", "-q", "-F", "-E", options, image)
        run("mount", "-o", "loop", image, home)
        self.undo.append(lambda: run("umount", home))
        return home

    def start(self, mode, data, mount):
        words = [self.tesfs, "mount", "--data-dir", data] + (
            ["--cached"] if mode == "cached" else []
        )
        log = open(self.scratch / f"node-{mode}.log", "wb")
        node = subprocess.Popen([*words, mount], stdout=log, stderr=log)
        self.undo.append(lambda: self.stop(node, data, mount))
        until = time.monotonic() + 20
        while not os.path.ismount(mount):
            if node.poll() is not None or time.monotonic() > until:
                text = (self.scratch / f"node-{mode}.log").read_text()
                raise SystemExit(f"tesfs {mode} mounted nothing:\n{text[-2000:]}")
            time.sleep(0.02)
        return node

    def stop(self, node, data, mount):
        if node.poll() is None:
            subprocess.run(
                [self.tesfs, "umount", "--data-dir", data, mount], check=False, capture_output=True
            )
            try:
                node.wait(30)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()
                subprocess.run(["umount", "--lazy", mount], check=False)

    def close(self):
        for step in reversed(self.undo):
            step()
        shutil.rmtree(self.scratch, ignore_errors=True)


def run(*words):
    result = subprocess.run(
        list(map(os.fspath, words)), capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{result.stderr[-2000:]}")
    return result.stdout


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")


def say(text):
    print(text, file=sys.stderr, flush=True)
