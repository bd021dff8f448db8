//! A disk that gets full under a mounted bucket: ENOSPC where it happens, the version before
//! stands, reads and deletions work, and work goes on without a restart when there is space.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use rustix::fs::FallocateFlags;
use tesfs_tests::{Disk, Mode, Node, close, eventually};

use crate::{
    bench::{Bench, SOON, large, put, tree},
    capacity::{Capacity, fill},
};

/// Enough for what a node keeps back for deletions, and for what the tests write.
const DISK_MIB: u64 = 160;

/// A node on a small ext4, with its disk.
struct Small {
    node: Node,
    disk: Disk,
    bench: Bench,
}

impl Small {
    fn new(mode: Mode) -> Self {
        let bench = Bench::new();
        let disk = Disk::create(&bench.at("image"), &bench.data_dir(), DISK_MIB).unwrap();
        fs::remove_dir(bench.data_dir().join("lost+found")).unwrap();
        bench.run(&["bucket", "create", "keep"]).ok();
        bench.run(&["import", "kept", "keep:"]).ok();
        let node = bench.start(mode);
        Self { node, disk, bench }
    }

    fn ballast(&self) -> PathBuf {
        self.disk.dir().join("ballast")
    }

    fn fill(&self) {
        fill(&self.ballast());
    }

    fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.bench.at("keep").join(name)
    }

    /// Everything kept is there, the node runs and ends well, and nothing is damaged.
    fn end(self) {
        let Self { node, disk, bench } = self;
        for (name, bytes) in tree(&bench.at("kept")) {
            if bench.at("kept").join(&name).is_file() {
                assert!(fs::read(bench.at("keep").join(&name)).unwrap() == bytes, "{name:?}");
            }
        }
        node.unmount().unwrap();
        let said = bench.run(&["verify", "--full"]).ok();
        assert!(said.contains("no damage found"), "{said}");
        drop(disk);
    }
}

fn is_full(err: &io::Error) -> bool {
    err.raw_os_error() == Some(libc::ENOSPC)
}

/// Puts ever more small files until the disk is too full for one; returns how many there are.
fn put_until_full(small: &Small, bytes: &[u8]) -> usize {
    for number in 0..100_000 {
        let path = small.at(&format!("small-{number}"));
        if let Err(err) = put(&path, bytes) {
            assert!(is_full(&err), "{err}");
            return number;
        }
    }
    panic!("the disk does not get full");
}

fn a_write_that_does_not_fit(mode: Mode) {
    let small = Small::new(mode);
    let photo = small.at("below/photo.raw");
    let file = File::options().write(true).open(&photo).unwrap();
    small.fill();
    // In the middle of a write: more than any disk of this size has left.
    let chunk = large(5);
    let mut offset = 0;
    let err = loop {
        match file.write_all_at(&chunk, offset) {
            Ok(()) => offset += chunk.len() as u64,
            Err(err) => break err,
        }
        assert!(offset < DISK_MIB << 20, "more is written than there is space for");
    };
    assert!(is_full(&err), "{err}");
    let reader = fs::read(&photo).unwrap();
    assert!(reader == large(1), "the version before stands while the writer is open");
    // What the program does now is up to it: it gives up, and nothing of it is kept.
    file.set_len(0).unwrap();
    small.empty();
    // Without a restart: the same handle goes on.
    file.write_all_at(&large(7), 0).unwrap();
    close(file).unwrap();
    assert!(fs::read(&photo).unwrap() == large(7));
    put(&photo, &large(1)).unwrap();
    small.end();
}

#[test]
fn a_write_that_does_not_fit_is_refused_and_the_version_before_stands_passthrough() {
    a_write_that_does_not_fit(Mode::Passthrough);
}

#[test]
fn a_write_that_does_not_fit_is_refused_and_the_version_before_stands_cached() {
    a_write_that_does_not_fit(Mode::Cached);
}

#[test]
fn a_new_file_that_does_not_fit_can_be_deleted_and_written_again() {
    for mode in [Mode::Passthrough, Mode::Cached] {
        let small = Small::new(mode);
        fill(&small.ballast());
        let path = small.at("new.raw");
        let err = put(&path, &vec![7; 8 << 20]).unwrap_err();
        assert!(is_full(&err), "{err}");
        let left = fs::read(&path).unwrap_or_default();
        assert!(left.iter().all(|&byte| byte == 7), "what there is of it was written");
        if path.exists() {
            fs::remove_file(&path).unwrap();
        }
        small.empty();
        put(&path, &vec![8; 8 << 20]).unwrap();
        assert!(fs::read(&path).unwrap() == vec![8; 8 << 20]);
        small.end();
    }
}

#[test]
fn a_publish_that_does_not_fit_is_refused_at_close_and_the_version_before_stands() {
    let small = Small::new(Mode::Cached);
    small.fill();
    // Small files are rows: each of these is published in the database, which can not grow.
    let count = put_until_full(&small, &[1; 12_000]);
    for number in 0..count {
        let bytes = fs::read(small.at(&format!("small-{number}"))).unwrap();
        assert_eq!(bytes, [1; 12_000], "what was acknowledged is there");
    }
    let note = small.at("note.txt");
    let err = (0..10_000).find_map(|_| put(&note, &[2; 12_000]).err());
    assert!(is_full(&err.expect("rewriting gets no space either")));
    let bytes = fs::read(&note).unwrap();
    let kept = fs::read(small.bench.at("kept/note.txt")).unwrap();
    assert!(bytes == [2; 12_000] || bytes == kept, "a whole version: {} bytes", bytes.len());
    small.empty();
    put(&note, &kept).unwrap();
    put(&small.at("after"), b"work goes on").unwrap();
    small.end();
}

#[test]
fn a_close_without_space_for_its_row_fails_and_succeeds_when_repeated() {
    let small = Small::new(Mode::Cached);
    let note = small.at("note.txt");
    let kept = fs::read(&note).unwrap();
    small.fill();
    put_until_full(&small, &[1; 12_000]);
    let Ok(file) = File::options().write(true).open(&note) else {
        return small.empty();
    };
    // The bytes may have found a place; their publish has none.
    let wrote = file.write_all_at(&[3; 12_000], 0);
    let closed = close(file);
    let err = wrote.and(closed).expect_err("there is no space for a row");
    assert!(is_full(&err), "{err}");
    assert_eq!(fs::read(&note).unwrap(), kept, "the version before stands");
    small.empty();
    put(&note, &[4; 12_000]).unwrap();
    assert_eq!(fs::read(&note).unwrap(), [4; 12_000]);
    put(&note, &kept).unwrap();
    small.end();
}

#[test]
fn a_seal_that_does_not_fit_waits_for_space_and_the_file_is_readable_meanwhile() {
    for mode in [Mode::Passthrough, Mode::Cached] {
        let small = Small::new(mode);
        let bytes = vec![9; 6 << 20];
        // Room for the versions only, and that is gone long before the settler comes by.
        small.fill();
        let ballast = File::options().write(true).open(small.ballast()).unwrap();
        ballast.set_len(ballast.metadata().unwrap().len() - (9 << 20)).unwrap();
        drop(ballast);
        put(&small.at("big.raw"), &bytes).unwrap();
        put(&small.at("other.raw"), &large(5)).unwrap();
        small.fill();
        let tried = || small.bench.log().contains("will try again").then_some(());
        eventually(SOON, tried).expect("a seal was tried");
        assert!(fs::read(small.at("big.raw")).unwrap() == bytes);
        let said = small.bench.run(&["status"]).ok();
        assert!(said.contains("0 B free"), "status says that the disk is full: {said}");
        small.empty();
        small.bench.sealed();
        assert!(fs::read(small.at("big.raw")).unwrap() == bytes);
        assert!(fs::read(small.at("other.raw")).unwrap() == large(5));
        small.end();
    }
}

#[test]
fn every_change_that_does_not_fit_says_so_and_leaves_things_as_they_were() {
    let small = Small::new(Mode::Passthrough);
    let at = |name: &str| small.at(name);
    put(&at("source"), b"source").unwrap();
    small.fill();
    put_until_full(&small, &[1; 12_000]);
    let file = File::options().write(true).open(at("below/photo.raw")).unwrap();
    let outcome = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 64 << 20);
    assert_eq!(outcome, Err(rustix::io::Errno::NOSPC));
    drop(file);
    // Each either happens or says why not; there is no third.
    for number in 0..600 {
        let name = |what: &str| at(&format!("{what}-{number}"));
        let target = "t".repeat(2000);
        let outcomes = [
            (fs::create_dir(name("dir")), name("dir")),
            (std::os::unix::fs::symlink(&target, name("symlink")), name("symlink")),
            (fs::hard_link(at("source"), name("link")), name("link")),
            (fs::rename(at("source"), name("source")), name("source")),
        ];
        let mut refused = 0;
        for (outcome, path) in outcomes {
            let there = fs::symlink_metadata(&path).is_ok();
            assert_eq!(outcome.is_ok(), there, "{outcome:?} of {}", path.display());
            if let Err(err) = outcome {
                assert!(is_full(&err), "{err} of {}", path.display());
                refused += 1;
            }
        }
        if name("source").exists() {
            fs::rename(name("source"), at("source"))
                .or_else(|err| match is_full(&err) {
                    true => Ok(()),
                    false => Err(err),
                })
                .unwrap();
        }
        if refused == 4 || !at("source").exists() {
            break;
        }
    }
    small.empty();
    fs::create_dir(at("after")).unwrap();
    small.end();
}

#[test]
fn reads_and_deletions_work_with_no_byte_free() {
    for mode in [Mode::Passthrough, Mode::Cached] {
        let small = Small::new(mode);
        for number in 0..50 {
            put(&small.at(&format!("file-{number}")), &large(7)).unwrap();
        }
        small.bench.sealed();
        small.fill();
        let full = put_until_full(&small, &[1; 12_000]);
        assert!(fs::read(small.at("file-0")).unwrap() == large(7));
        for number in 0..50 {
            fs::remove_file(small.at(&format!("file-{number}"))).unwrap();
        }
        for number in 0..full {
            fs::remove_file(small.at(&format!("small-{number}"))).unwrap();
        }
        assert!(
            tree(&small.bench.at("keep"))
                .keys()
                .all(|name| { !name.to_string_lossy().starts_with("file-") })
        );
        small.empty();
        put(&small.at("after"), b"work goes on").unwrap();
        small.end();
    }
}

#[test]
fn a_disk_too_small_to_keep_anything_back_still_deletes() {
    let bench = Bench::new();
    let disk = Capacity::tmpfs(&bench, "data", 8);
    bench.run(&["bucket", "create", "keep"]).ok();
    bench.run(&["import", "kept", "keep:"]).ok();
    let node = bench.start(Mode::Cached);
    let at = |name: &str| bench.at("keep").join(name);
    put(&at("doomed"), &large(5)).unwrap();
    bench.sealed();
    disk.fill();
    let err = put(&at("new.raw"), &vec![7; 4 << 20]).unwrap_err();
    assert!(is_full(&err), "{err}");
    fs::remove_file(at("doomed")).unwrap();
    assert!(fs::read(at("below/photo.raw")).unwrap() == large(1));
    disk.empty();
    put(&at("new.raw"), &vec![7; 1 << 20]).unwrap();
    assert!(fs::read(at("new.raw")).unwrap() == vec![7; 1 << 20]);
    fs::remove_file(at("new.raw")).unwrap();
    node.unmount().unwrap();
    bench.nothing_is_lost();
}

#[test]
fn a_node_that_was_killed_on_a_full_disk_starts_on_it() {
    let mut small = Small::new(Mode::Cached);
    put(&small.at("unsealed.raw"), &large(9)).unwrap();
    let mut open = File::create(small.at("open.raw")).unwrap();
    open.write_all(&large(3)).unwrap();
    small.fill();
    put_until_full(&small, &[1; 12_000]);
    small.node.kill().unwrap();
    drop(open);
    small.node = small.bench.start(Mode::Cached);
    assert!(fs::read(small.at("unsealed.raw")).unwrap() == large(9));
    fs::remove_file(small.at("unsealed.raw")).unwrap();
    small.empty();
    put(&small.at("after"), b"work goes on").unwrap();
    small.end();
}

#[test]
fn a_space_that_returns_is_noticed_by_who_waits_for_it() {
    let small = Small::new(Mode::Cached);
    small.fill();
    put_until_full(&small, &[1; 12_000]);
    small.empty();
    let again = || put(&small.at("again"), &large(3)).ok();
    eventually(SOON, again).expect("work goes on when there is space");
    small.end();
}

#[test]
fn a_snapshot_or_a_merge_on_a_full_disk_is_made_or_refused_whole() {
    let small = Small::new(Mode::Passthrough);
    small.bench.run(&["branch", "create", "try", "--bucket", "keep"]).ok();
    for number in 0..60 {
        let path = format!("keep@try:new-{number}");
        small.bench.run(&["import", "kept/below/photo.raw", &path]).ok();
    }
    small.fill();
    put_until_full(&small, &[7; 300]);
    let here = tree(&small.bench.at("keep"));
    let lines =
        [["snapshot", "create", "s"], ["branch", "create", "b"], ["merge", "try", "--quiet"]];
    for (line, created) in lines.into_iter().zip([0, 0, 60]) {
        let ran = small.bench.run(&[&line[..], &["--bucket", "keep"]].concat());
        let shown = tree(&small.bench.at("keep"));
        if ran.code == 0 {
            assert_eq!(shown.len(), here.len() + created, "{line:?}: {}", ran.out);
        } else {
            assert!(ran.err.contains("disk"), "{line:?}: {}", ran.err);
            assert!(shown == here, "{line:?} happened in part: {}", ran.err);
        }
    }
    small.empty();
    small.bench.run(&["snapshot", "create", "later", "--bucket", "keep"]).ok();
    small.end();
}
