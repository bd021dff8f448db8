"""A small crate: built, tested, changed and built again, with its target directory inside."""

import os
import subprocess

from harness import command, require_equal

LIB = """//! A crate small enough to build anywhere.
pub fn double(n: u64) -> u64 { n * 2 }

#[cfg(test)]
mod tests {
    #[test]
    fn doubles() { assert_eq!(super::double(21), 42); }
}
"""
TEST = """#[test]
fn from_outside() { assert_eq!(small::double(4), 8); }
"""


def cargo(crate, *words):
    environment = {"CARGO_TARGET_DIR": os.fspath(crate / "target"), "CARGO_TERM_COLOR": "never"}
    return command("cargo", *words, "--offline", cwd=crate, env=environment)


def run(place, work):
    crate = work / "small"
    (crate / "src").mkdir(parents=True)
    (crate / "tests").mkdir()
    (crate / "Cargo.toml").write_text(
        '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n'
    )
    (crate / "src/lib.rs").write_text(LIB)
    (crate / "src/main.rs").write_text('fn main() { println!("{}", small::double(3)); }\n')
    (crate / "tests/outside.rs").write_text(TEST)
    with place.check("cargo build, and the program runs"):
        cargo(crate, "build")
        require_equal(output(crate), "6\n", "output")
    with place.check("cargo test"):
        said = cargo(crate, "test")
        require_equal(said.count("1 passed"), 2, "number of test programs that passed")
    with place.check("a change is seen and built"):
        (crate / "src/lib.rs").write_text(LIB.replace("n * 2", "n + n + 1"))
        cargo(crate, "build")
        require_equal(output(crate), "7\n", "output")
    with place.check("nothing is built when nothing changed"):
        said = cargo(crate, "build")
        assert "Compiling" not in said, said


def output(crate):
    program = crate / "target/debug/small"
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout
