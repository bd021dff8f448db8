//! Branches, merges and undos on mounted folders: what the kernel cached must not outlive them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use tesfs_tests::{Rig, close, eventually};

/// More than the pause that ends an operation.
const PAUSE: Duration = Duration::from_millis(2100);
/// How long the kernel may take to hear of a change.
const PATIENCE: Duration = Duration::from_secs(5);

fn write(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    close(file).unwrap();
}

/// Waits until a path shows what is expected; the kernel hears of changes a moment later.
#[track_caller]
fn shows(path: &Path, expected: Option<&[u8]>) {
    let seen = || fs::read(path).ok();
    let reached = eventually(PATIENCE, || (seen().as_deref() == expected).then_some(()));
    assert!(reached.is_some(), "{}: {:?}", path.display(), seen());
}

fn text(seed: &str, len: usize) -> Vec<u8> {
    seed.as_bytes().iter().copied().cycle().take(len).collect()
}

fn on_both(test: impl Fn(&Rig), name: &str) {
    Rig::in_both_modes(&format!("branches-{name}"), test);
}

#[test]
fn two_branches_are_mounted_at_once_and_each_shows_its_own() {
    on_both(
        |rig| {
            for (file, len) in [("small", 10), ("large", 100_000)] {
                write(&rig.on("main", file), &text("one", len));
            }
            rig.branch("try");
            for (file, len) in [("small", 10), ("large", 100_000)] {
                shows(&rig.on("try", file), Some(&text("one", len)));
                write(&rig.on("try", file), &text("two", len));
                shows(&rig.on("try", file), Some(&text("two", len)));
                shows(&rig.on("main", file), Some(&text("one", len)));
                write(&rig.on("main", file), &text("three", len));
                shows(&rig.on("try", file), Some(&text("two", len)));
                let ino = |branch: &str| fs::metadata(rig.on(branch, file)).unwrap().ino();
                assert_eq!(ino("main"), ino("try"), "one inode, on two branches");
            }
            fs::remove_file(rig.on("main", "small")).unwrap();
            shows(&rig.on("main", "small"), None);
            shows(&rig.on("try", "small"), Some(&text("two", 10)));
            let names = |branch: &str| fs::read_dir(rig.on(branch, "")).unwrap().count();
            assert_eq!((names("main"), names("try")), (1, 2));
        },
        "both",
    );
}

#[test]
fn a_merge_and_its_undo_show_at_once_and_readers_keep_what_they_opened() {
    on_both(
        |rig| {
            let file = rig.on("main", "file");
            write(&file, &text("old", 100_000));
            rig.branch("try");
            write(&rig.on("try", "file"), &text("new", 120_000));
            fs::create_dir(rig.on("try", "d")).unwrap();
            write(&rig.on("try", "d/below"), b"below");
            // What the kernel has cached by now: bytes, attributes, and that there is no `d`.
            shows(&file, Some(&text("old", 100_000)));
            shows(&rig.on("main", "d/below"), None);
            let mut reader = File::open(&file).unwrap();
            thread::sleep(PAUSE);
            rig.ok(&["merge", "try"]);
            shows(&file, Some(&text("new", 120_000)));
            shows(&rig.on("main", "d/below"), Some(b"below"));
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert!(read == text("old", 100_000), "a reader keeps what it opened");
            rig.ok(&["undo"]);
            shows(&file, Some(&text("old", 100_000)));
            shows(&rig.on("main", "d/below"), None);
            assert!(!rig.on("main", "d").exists());
        },
        "merge",
    );
}

#[test]
fn rm_rf_is_one_undo_away() {
    on_both(
        |rig| {
            for directory in ["a", "a/b", "a/b/c"] {
                fs::create_dir(rig.on("main", directory)).unwrap();
                for nth in 0..50 {
                    write(&rig.on("main", directory).join(format!("{nth}")), directory.as_bytes());
                }
            }
            thread::sleep(PAUSE);
            let removed = Command::new("rm").arg("-rf").arg(rig.on("main", "a")).status().unwrap();
            assert!(removed.success() && !rig.on("main", "a").exists());
            let said = rig.ok(&["undo"]);
            assert!(said.contains("153 created"), "{said}");
            for directory in ["a", "a/b", "a/b/c"] {
                for nth in 0..50 {
                    let path = rig.on("main", directory).join(format!("{nth}"));
                    shows(&path, Some(directory.as_bytes()));
                }
            }
        },
        "undo",
    );
}

#[test]
fn a_snapshot_is_mounted_as_it_was_and_refuses_changes() {
    on_both(
        |rig| {
            write(&rig.on("main", "file"), b"before");
            rig.ok(&["snapshot", "create", "then"]);
            write(&rig.on("main", "file"), b"after");
            rig.show("then");
            shows(&rig.on("then", "file"), Some(b"before"));
            let refused = fs::write(rig.on("then", "file"), b"never").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
            let refused = rig.tesfs(&["snapshot", "remove", "then"]);
            assert_eq!(refused.status.code(), Some(4), "it is mounted");
        },
        "snapshot",
    );
}
