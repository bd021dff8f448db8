//! Data directories that cannot be used: full, read-only, somebody else's, in use, no directory.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use rustix::fs::{FlockOperation, flock};

use crate::{
    bench::{Bench, tree},
    capacity::Capacity,
    outsider::Outsider,
};

#[test]
fn a_new_data_directory_on_a_full_disk_is_refused() {
    let bench = Bench::new();
    let disk = Capacity::tmpfs(&bench, "disk", 1);
    disk.fill();
    let ran = bench.run(&["--data-dir", "disk/data", "mount", "folder"]);
    let message = format!("the disk of the data directory {} is full", bench.said("disk/data"));
    ran.refused(7, &message, "make room on that disk");
    disk.empty();
    bench.run(&["--data-dir", "disk/data", "bucket", "create", "b"]).ok();
}

#[test]
fn a_data_directory_on_a_full_disk_opens_and_says_what_does_not_fit() {
    let bench = Bench::new();
    let disk = Capacity::tmpfs(&bench, "data", 8);
    bench.run(&["bucket", "create", "keep"]).ok();
    bench.run(&["import", "kept", "keep:"]).ok();
    disk.fill();
    bench.nothing_is_lost();
    bench.write("more/file", vec![7; 1 << 20]);
    let ran = bench.run(&["import", "more", "keep:"]);
    ran.refused(7, "No space left on device", "make room on the disk of the data directory");
    bench.nothing_is_lost();
    disk.empty();
    bench.run(&["import", "more", "keep:more"]).ok();
    bench.run(&["export", "keep:more", "back"]).ok();
    assert!(tree(&bench.at("more")) == tree(&bench.at("back")));
}

#[test]
fn a_read_only_data_directory_is_refused_untouched() {
    let bench = Bench::new();
    let disk = Capacity::tmpfs(&bench, "data", 8);
    bench.run(&["bucket", "create", "keep"]).ok();
    bench.run(&["import", "kept", "keep:"]).ok();
    let before = tree(&bench.data_dir());
    disk.remount("ro");
    let message = format!("the data directory {} is read-only", bench.said("data"));
    for args in [&["mount", "keep"][..], &["status"], &["export", "keep:", "back"]] {
        bench.run(args).refused(4, &message, "mount that disk writable");
    }
    assert!(tree(&bench.data_dir()) == before);
    disk.remount("rw");
    bench.nothing_is_lost();
}

#[test]
fn a_new_data_directory_on_a_read_only_disk_is_refused() {
    let bench = Bench::new();
    let disk = Capacity::tmpfs(&bench, "disk", 1);
    disk.remount("ro");
    let ran = bench.run(&["--data-dir", "disk/data", "bucket", "create", "b"]);
    let message = format!("the data directory {} is read-only", bench.said("disk/data"));
    ran.refused(4, &message, "mount that disk writable");
}

#[test]
fn a_data_directory_of_another_user_is_refused_in_both_directions() {
    let bench = Bench::with_bucket();
    let outsider = Outsider::new(&bench, "");
    fs::set_permissions(bench.data_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let message = format!("the data directory {} belongs to user 0", bench.said("data"));
    for command in [&["status"][..], &["mount", "home/folder"], &["verify"]] {
        let args = [&["--data-dir", "data"], command].concat();
        outsider.user(&args).refused(4, &message, "run tesfs as that user");
    }
    outsider.user(&["bucket", "create", "his"]).ok();
    let before = tree(&bench.at("home/data"));
    let ran = outsider.root(&["--data-dir", "home/data", "status"]);
    let message = format!("the data directory {} belongs to user 47474", bench.said("home/data"));
    ran.refused(4, &message, "run tesfs as that user");
    assert!(tree(&bench.at("home/data")) == before);
    bench.nothing_is_lost();
}

#[test]
fn a_place_where_a_user_may_not_write_is_refused() {
    let bench = Bench::with_bucket();
    let outsider = Outsider::new(&bench, "");
    let ran = outsider.user(&["--data-dir", "new", "bucket", "create", "b"]);
    let message = format!("you may not make {}", bench.said("new"));
    ran.refused(4, &message, "choose a --data-dir that is yours");
    bench.nothing_is_lost();
}

#[test]
fn what_is_no_data_directory_is_left_alone() {
    let bench = Bench::with_bucket();
    let before = tree(&bench.at("kept"));
    let ran = bench.run(&["--data-dir", "kept", "mount", "folder"]);
    let message = format!("{} is not empty and is no data directory", bench.said("kept"));
    ran.refused(4, &message, "an empty or a new directory");
    for place in ["kept/note.txt", "kept/note.txt/below"] {
        let ran = bench.run(&["--data-dir", place, "mount", "folder"]);
        let message = format!("the data directory {} is no directory", bench.said(place));
        ran.refused(4, &message, "--data-dir");
    }
    assert!(tree(&bench.at("kept")) == before);
    assert!(!bench.at("folder").exists());
    bench.nothing_is_lost();
}

#[test]
fn a_key_that_is_none_is_refused_untouched() {
    let bench = Bench::with_bucket();
    let path = bench.data_dir().join("key");
    let good = fs::read(&path).unwrap();
    for bytes in [&b""[..], &good[..20]] {
        fs::write(&path, bytes).unwrap();
        let message = format!("key file {} holds {} bytes", path.display(), bytes.len());
        bench.run(&["status"]).refused(5, &message, "put it back from a backup");
        assert!(fs::read(&path).unwrap() == bytes);
    }
    fs::write(&path, good).unwrap();
    bench.nothing_is_lost();
}

#[test]
fn a_missing_data_directory_is_not_made_by_a_question() {
    let bench = Bench::new();
    let ran = bench.run(&["status"]);
    let message = format!("there is no data directory at {} yet", bench.said("data"));
    ran.refused(3, &message, "`tesfs mount DIR` makes one");
    assert!(!bench.data_dir().exists());
}

#[test]
fn a_data_directory_that_another_process_holds_is_refused_with_its_name() {
    let bench = Bench::with_bucket();
    let lock = bench.data_dir().join("lock");
    let file = fs::File::options().read(true).write(true).open(&lock).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    fs::write(&lock, "4242\nimport\n").unwrap();
    let ran = bench.run(&["mount", "keep"]);
    let message = format!("the data directory {} is in use by another process", bench.said("data"));
    ran.refused(4, &message, "wait until that process has ended");
    assert!(ran.err.contains("tesfs import, process 4242"), "{ran:#?}");
    assert!(ran.err.contains("waiting for `tesfs import` to end"), "{ran:#?}");
    drop(file);
    bench.nothing_is_lost();
}

#[test]
fn a_wait_for_another_process_can_be_broken_off() {
    let bench = Bench::with_bucket();
    let lock = bench.data_dir().join("lock");
    let file = fs::File::options().read(true).write(true).open(&lock).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut command = bench.command(&["status"]);
    let log = fs::File::create(bench.at("said")).unwrap();
    let mut child = command.stderr(log).spawn().unwrap();
    let says = || fs::read_to_string(bench.at("said")).unwrap().contains("waiting").then_some(());
    tesfs_tests::eventually(crate::bench::SOON, says).expect("it says that it waits");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(file);
    bench.nothing_is_lost();
}

#[test]
fn the_lock_of_a_process_that_is_gone_is_in_nobodys_way() {
    let bench = Bench::with_bucket();
    let node = Command::new("true").status().unwrap();
    assert!(node.success());
    fs::write(bench.data_dir().join("lock"), "4242\nmount\n").unwrap();
    bench.nothing_is_lost();
}
