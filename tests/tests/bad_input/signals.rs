//! Signals to a node whose files are in use.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tesfs_tests::{Mode, Node, close, eventually};

use crate::bench::{Bench, SOON, large, tree};

/// How long the nodes here wait for open files, in seconds.
const WAIT_SECONDS: u64 = 1;
/// Longer than any test.
const LONG_SECONDS: u64 = 300;

/// Starts a node that waits so many seconds for open files when it is to end.
fn start(bench: &Bench, mode: Mode, wait_seconds: u64) -> Child {
    bench.write("tesfs.toml", format!("[shutdown]\nwait_seconds = {wait_seconds}\n"));
    let log = File::create(bench.at("log")).unwrap();
    let mut command = bench.command(&["--config", "tesfs.toml", "mount", "keep"]);
    if mode == Mode::Cached {
        command.arg("--cached");
    }
    let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let is_up = || bench.log().contains("takes it away").then_some(());
    eventually(SOON, is_up).unwrap_or_else(|| panic!("not mounted: {}", bench.log()));
    Child(child)
}

/// A node that is killed when a test fails.
struct Child(std::process::Child);

impl Child {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        eventually(SOON, || self.0.try_wait().unwrap()).expect("the node ends in time")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[track_caller]
fn says(bench: &Bench, words: &str) {
    let is_said = || bench.log().contains(words).then_some(());
    eventually(SOON, is_said).unwrap_or_else(|| panic!("`{words}` is not said: {}", bench.log()));
}

#[test]
fn each_signal_ends_an_idle_node_in_order() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let bench = Bench::with_bucket();
        let mut node = start(&bench, Mode::Passthrough, LONG_SECONDS);
        fs::write(bench.at("kept/new"), "new").unwrap();
        fs::write(bench.at("keep/new"), "new").unwrap();
        node.signal(signal);
        assert!(node.ended().success(), "{signal:?}: {}", bench.log());
        assert_eq!(fs::read_dir(bench.at("keep")).unwrap().count(), 0, "the folder is gone");
        bench.nothing_is_lost();
    }
}

#[test]
fn a_node_waits_for_open_files_says_so_and_ends_when_they_are_closed() {
    let bench = Bench::with_bucket();
    let mut node = start(&bench, Mode::Cached, LONG_SECONDS);
    let mut open = File::create(bench.at("keep/new")).unwrap();
    open.write_all(&large(3)).unwrap();
    node.signal(Signal::TERM);
    let said = format!("waiting up to {LONG_SECONDS} s for 1 file open in {}", bench.said("keep"));
    says(&bench, &said);
    open.write_all(b"more").unwrap();
    close(open).unwrap();
    assert!(node.ended().success(), "{}", bench.log());
    bench.write("kept/new", [&large(3)[..], b"more"].concat());
    bench.nothing_is_lost();
}

#[test]
fn a_node_waits_bounded_and_what_was_open_is_recovered_at_the_next_start() {
    for (mode, signal) in [(Mode::Passthrough, Signal::INT), (Mode::Cached, Signal::TERM)] {
        let bench = Bench::with_bucket();
        let mut node = start(&bench, mode, WAIT_SECONDS);
        let reader = File::open(bench.at("keep/below/photo.raw")).unwrap();
        let mut writer =
            File::options().write(true).open(bench.at("keep/below/photo.raw")).unwrap();
        writer.write_all(&large(5)).unwrap();
        let began = Instant::now();
        node.signal(signal);
        let said = format!("waiting up to {WAIT_SECONDS} s for 2 files open in");
        says(&bench, &said);
        assert!(node.ended().success(), "{}", bench.log());
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(WAIT_SECONDS), "it waited: {took:?}");
        drop((reader, writer));
        bench.nothing_is_lost();
        let node = bench.start(mode);
        let recovered = bench.at("keep/.tesfs/recovered");
        let files = tree(&recovered);
        assert_eq!(files.len(), 1, "{mode:?}: {:?}; {}", files.keys(), bench.log());
        assert!(files.values().all(|bytes| bytes == &large(5)), "what was written is recovered");
        node.unmount().unwrap();
        bench.nothing_is_lost();
    }
}

#[test]
fn a_second_signal_does_not_wait() {
    let bench = Bench::with_bucket();
    let mut node = start(&bench, Mode::Cached, LONG_SECONDS);
    let open = File::open(bench.at("keep/note.txt")).unwrap();
    node.signal(Signal::INT);
    says(&bench, "(once more: do not wait)");
    node.signal(Signal::INT);
    let status = node.ended();
    assert!(status.success(), "{status}: {}", bench.log());
    drop(open);
    assert_eq!(fs::read_dir(bench.at("keep")).unwrap().count(), 0, "the folder is gone");
    bench.nothing_is_lost();
}

#[test]
fn an_fsynced_file_that_was_open_at_the_end_is_published_at_the_next_start() {
    let bench = Bench::with_bucket();
    let mut node = start(&bench, Mode::Cached, 0);
    let open = File::create(bench.at("keep/synced")).unwrap();
    open.write_all_at(&large(3), 0).unwrap();
    open.sync_all().unwrap();
    node.signal(Signal::TERM);
    assert!(node.ended().success(), "{}", bench.log());
    drop(open);
    let node = bench.start(Mode::Cached);
    assert!(fs::read(bench.at("keep/synced")).unwrap() == large(3));
    node.unmount().unwrap();
    bench.write("kept/synced", large(3));
    bench.nothing_is_lost();
}

#[test]
fn a_command_that_meets_an_ending_node_is_done_when_it_has_ended() {
    let bench = Bench::with_bucket();
    for _ in 0..20 {
        bench.run(&["mount", "keep", "keep", "--background"]).ok();
        bench.run(&["umount", "keep"]).ok();
        // The node that lost its last folder is about to end.
        bench.run(&["verify"]).ok();
    }
    bench.nothing_is_lost();
}

#[test]
fn a_node_that_waits_for_open_files_begins_nothing_else() {
    let bench = Bench::with_bucket();
    let mut node = start(&bench, Mode::Cached, LONG_SECONDS);
    let open = File::open(bench.at("keep/note.txt")).unwrap();
    node.signal(Signal::TERM);
    says(&bench, "1 file open in");
    let said = bench.run(&["status"]).ok();
    assert!(said.contains(&bench.said("keep")), "what is mounted is still said: {said}");
    let mut command = bench.command(&["bucket", "create", "other"]);
    let mut create = Child(command.stdout(Stdio::null()).spawn().unwrap());
    assert!(create.0.try_wait().unwrap().is_none(), "it waits for the end of the node");
    drop(open);
    assert!(node.ended().success(), "{}", bench.log());
    assert!(create.ended().success());
    assert_eq!(bench.buckets(), ["keep", "other"]);
    bench.nothing_is_lost();
}

#[test]
fn ctrl_c_at_a_mount_that_another_node_serves_unmounts_that_folder_only() {
    let bench = Bench::with_bucket();
    bench.run(&["bucket", "create", "other"]).ok();
    let node: Node = bench.start(Mode::Cached);
    let log = File::create(bench.at("second-log")).unwrap();
    let mut command = bench.command(&["mount", "other", "second"]);
    let mut second = Child(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let served = || {
        let said = fs::read_to_string(bench.at("second-log")).unwrap();
        said.contains("serves it").then_some(())
    };
    eventually(SOON, served).expect("the running node mounts it");
    second.signal(Signal::INT);
    assert!(second.ended().success());
    assert_eq!(fs::read_dir(bench.at("second")).unwrap().count(), 0);
    assert!(tree(&bench.at("keep")) == tree(&bench.at("kept")), "the other folder goes on");
    node.unmount().unwrap();
    bench.nothing_is_lost();
}
