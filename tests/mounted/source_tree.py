"""A source tree: unpacked, copied, renamed and removed, as on the machine's own disk."""

import os

from harness import command, count_files, require_equal, require_same_tree
from source_archive import FILES_MIN, archive


def run(place, work):
    source = archive()
    with place.beside() as native:
        command("tar", "-xf", source, "-C", native)
        with place.check("tar unpacks a source package"):
            command("tar", "-xf", source, "-C", work)
        [name] = os.listdir(native)
        with place.check("the unpacked tree has at least 5,000 files"):
            assert count_files(work / name) >= FILES_MIN, count_files(work / name)
        with place.check("the unpacked tree is the native one, byte for byte"):
            require_same_tree(native / name, work / name, directory_times=False)
        with place.check("tar finds no difference to the archive"):
            command("tar", "-df", source, "-C", work)
        with place.check("cp -a makes the same tree again"):
            command("cp", "-a", work / name, work / "copy")
            require_same_tree(work / name, work / "copy")
        with place.check("a renamed tree is the same tree"):
            os.rename(work / "copy", work / "renamed")
            require_same_tree(work / name, work / "renamed")
        with place.check("rm -rf leaves nothing"):
            command("rm", "-rf", work / "renamed")
            require_equal(os.listdir(work), [name], "listing")
