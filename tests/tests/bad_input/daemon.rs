//! A daemon whose configuration asks for what cannot be.

use std::{
    fs::{self, File},
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tesfs_tests::eventually;

use crate::bench::{Bench, SOON, tree};

/// A daemon that is killed when a test fails.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start(bench: &Bench, config: &str) -> Daemon {
    bench.write("tesfs.toml", config);
    let log = File::create(bench.at("log")).unwrap();
    let mut command = bench.command(&["--config", "tesfs.toml", "daemon"]);
    let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let daemon = Daemon(child);
    let serves = || bench.log().contains("tesfs serves").then_some(());
    eventually(SOON, serves).unwrap_or_else(|| panic!("it does not serve: {}", bench.log()));
    daemon
}

#[test]
fn folders_that_cannot_be_mounted_are_said_and_the_others_are_mounted() {
    let bench = Bench::with_bucket();
    let mut daemon = start(
        &bench,
        "[[mounts]]\ndir = \"missing/folder\"\n[[mounts]]\nbucket = \"kepe\"\ndir = \"other\"\n
         [[mounts]]\nbucket = \"keep\"\ndir = \"keep\"\n",
    );
    let said = bench.log();
    for words in [
        &format!("the parent of {} does not exist", bench.said("missing/folder")),
        "make the directory above it first",
        "no bucket named 'kepe'",
        "did you mean 'keep'?",
        "(1 mounted)",
    ] {
        assert!(said.contains(words), "`{words}` is not said: {said}");
    }
    assert!(tree(&bench.at("keep")) == tree(&bench.at("kept")));
    let message = format!("a node already runs on {}", bench.said("data"));
    bench.run(&["daemon"]).refused(4, &message, "`tesfs status` shows it");
    kill_process(Pid::from_child(&daemon.0), Signal::TERM).unwrap();
    assert!(daemon.0.wait().unwrap().success(), "{}", bench.log());
    assert_eq!(fs::read_dir(bench.at("keep")).unwrap().count(), 0);
    assert_eq!(bench.buckets(), ["keep"]);
    bench.nothing_is_lost();
}
