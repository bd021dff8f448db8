"""A Python environment: made, a package installed by pip, every installed byte checked."""

import base64
import csv
import hashlib
import os
import subprocess
import sys
import zipfile

from harness import command, require_equal

PACKAGE = "six==1.16.0"


def run(place, work):
    environment = work / "venv"
    python = environment / "bin/python"
    with place.check("python3 -m venv"):
        command(sys.executable, "-m", "venv", environment, cwd="/")
        require_equal(command(python, "-c", "print(6 * 7)", cwd="/").strip(), "42", "output")
    with place.check("pip installs a package, and it can be imported"):
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-cache-dir"]
        try:
            command(*pip, PACKAGE, cwd="/")
            module = "six"
        except AssertionError as error:
            print(f"    no package from outside ({str(error).splitlines()[-1]}); a wheel made here")
            with place.beside() as native:
                command(*pip, "--no-index", make_wheel(native), cwd="/")
            module = "madehere"
        command(python, "-c", f"import {module}; print({module}.__version__)", cwd="/")
        command(python, "-m", "pip", "check", cwd="/")
    with place.check("every installed file has the hash that its RECORD says"):
        site = next((environment / "lib").glob("python3*")) / "site-packages"
        checked = sum(check_record(site, record) for record in site.glob("*/RECORD"))
        assert checked > 100, f"only {checked} files were checked"
    with place.check("byte code is compiled for all of it"):
        command(python, "-m", "compileall", "-q", "-f", site, cwd="/")
    with place.check("the environment runs from a fresh process"):
        subprocess.run([python, "-c", f"import {module}, pip"], check=True, cwd="/")


def check_record(site, record):
    checked = 0
    with open(record, newline="", encoding="utf-8") as lines:
        for name, digest, _ in csv.reader(lines):
            if not digest or not (site / name).exists():
                continue
            kind, wanted = digest.split("=", 1)
            seen = hashlib.new(kind, (site / name).read_bytes()).digest()
            require_equal(base64.urlsafe_b64encode(seen).rstrip(b"=").decode(), wanted, name)
            checked += 1
    return checked


def make_wheel(directory):
    path = directory / "madehere-1.0-py3-none-any.whl"
    info = "madehere-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("madehere.py", '__version__ = "1.0"\n')
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: madehere\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(
            f"{info}/RECORD", f"madehere.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return os.fspath(path)
