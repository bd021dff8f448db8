"""A git repository: cloned, committed to fifty times, packed, checked, and cloned back."""

import os

from harness import command, require_equal

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}
COMMITS = 50


def git(cwd, *words):
    return command(
        "git", "-c", "safe.directory=*", "-c", "gc.auto=0", *words, cwd=cwd, env=IDENTITY
    )


def run(place, work):
    with place.beside() as native:
        origin = native / "origin"
        make_origin(origin)
        clone = work / "clone"
        with place.check("git clone of a local repository"):
            git(work, "clone", "--quiet", f"file://{origin}", "clone")
            git(clone, "diff", "--exit-code", "HEAD")
        with place.check("git fsck after the clone"):
            git(clone, "fsck", "--strict", "--no-progress")
        with place.check("fifty commits"):
            for number in range(COMMITS):
                change(clone, number)
                git(clone, "add", "--all")
                git(clone, "commit", "--quiet", "--message", f"change {number}")
            require_equal(git(clone, "rev-list", "--count", "HEAD").strip(), str(COMMITS + 1))
            require_equal(git(clone, "status", "--porcelain"), "", "status")
        with place.check("git gc and fsck"):
            git(clone, "gc", "--quiet", "--prune=now")
            git(clone, "fsck", "--strict", "--no-progress")
        with place.check("branches, a merge and a checkout back"):
            git(clone, "checkout", "--quiet", "-b", "side", "HEAD~10")
            (clone / "side.txt").write_text("side\n")
            git(clone, "add", "--all")
            git(clone, "commit", "--quiet", "--message", "side")
            git(clone, "checkout", "--quiet", "-")
            git(clone, "merge", "--quiet", "--no-edit", "side")
            git(clone, "diff", "--exit-code", "HEAD")
        with place.check("a clone back to the machine's disk is the same work tree"):
            back = native / "back"
            git(native, "clone", "--quiet", "--no-local", os.fspath(clone), "back")
            require_equal(git(back, "rev-parse", "HEAD"), git(clone, "rev-parse", "HEAD"))
            command("diff", "-r", "--exclude=.git", clone, back)
        with place.check("the same commits made natively have the same hash"):
            git(native, "clone", "--quiet", os.fspath(origin), "other")
            other = native / "other"
            git(other, "fetch", "--quiet", os.fspath(clone), "HEAD")
            git(other, "checkout", "--quiet", "FETCH_HEAD")
            require_same_tree_content(clone, other)


def require_same_tree_content(one, other):
    require_equal(git(one, "rev-parse", "HEAD^{tree}"), git(other, "rev-parse", "HEAD^{tree}"))
    git(other, "diff", "--exit-code", "HEAD")


def make_origin(origin):
    origin.mkdir()
    git(origin, "init", "--quiet", "--initial-branch", "main")
    for number in range(400):
        path = origin / f"part{number % 20}" / f"file{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{number} line {line}\n" for line in range(number % 90)))
    (origin / "run.sh").write_text("#!/bin/sh\n")
    (origin / "run.sh").chmod(0o755)
    (origin / "link").symlink_to("run.sh")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message", "start")


def change(clone, number):
    for step in range(4):
        path = clone / f"part{(number + step) % 20}" / f"new{number}-{step}.txt"
        path.write_text(f"{number} {step}\n" * (number + 1))
    with open(clone / "part0" / "file0.txt", "a", encoding="utf-8") as file:
        file.write(f"change {number}\n")
    if number % 5 == 4:
        os.rename(clone / f"part{number % 20}" / f"new{number}-0.txt", clone / f"moved{number}.txt")
