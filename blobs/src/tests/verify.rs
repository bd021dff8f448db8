//! Verifying everything, and rebuilding rows from files.

use std::sync::{Mutex, atomic::Ordering};

use super::*;
use crate::{BlobState, Progress};

#[test]
fn plain_looks_at_files_and_full_at_bytes() {
    let rig = Rig::new();
    let (flipped, gone, bare) = (bytes(1, 50_000), bytes(2, 50_000), bytes(3, 50_000));
    let numbers = [&flipped, &gone, &bare].map(|bytes| rig.sealed(bytes));
    rig.sealed(&bytes(4, 50_000));
    damage(&rig.blob_path(&flipped), |bytes| bytes[9] ^= 1);
    fs::remove_file(rig.blob_path(&gone)).unwrap();
    fs::remove_file(rig.outboard_path(&bare)).unwrap();

    let missing = (numbers[1], Problem::Missing(rig.blob_path(&gone)));
    assert_eq!(
        rig.problems(VerifyDepth::Plain),
        [missing.clone(), (numbers[2], Problem::OutboardMissing)]
    );
    let quarantined = rig.data_dir().join("quarantine").join(BlobHash::of(&flipped).to_string());
    assert_eq!(
        rig.problems(VerifyDepth::Full),
        [
            (numbers[0], Problem::Damaged(quarantined)),
            missing.clone(),
            (numbers[2], Problem::OutboardMended)
        ]
    );
    assert_eq!(rig.row(numbers[0]).state, BlobState::Damaged);
    assert_eq!(rig.problems(VerifyDepth::Full).len(), 2, "the outboard is there again");
}

#[test]
fn rows_that_share_a_damaged_file_are_all_found() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let numbers = [rig.sealed(&bytes), rig.sealed(&bytes)];
    damage(&rig.blob_path(&bytes), |bytes| bytes[9] ^= 1);
    let found: Vec<_> =
        rig.problems(VerifyDepth::Full).into_iter().map(|(number, _)| number).collect();
    assert_eq!(found, numbers);
    assert_eq!(rig.files("quarantine").len(), 2);
}

#[test]
fn progress_ends_at_the_total() {
    let rig = Rig::new();
    for seed in 0..5 {
        rig.sealed(&bytes(seed, 300_000));
    }
    rig.db().write(|tx| rig.store().insert_inline(tx, b"x")).unwrap();
    let most = Mutex::new(Progress::default());
    let note = |progress: Progress| {
        let mut most = most.lock().unwrap();
        if progress.bytes_done >= most.bytes_done && progress.blobs_done >= most.blobs_done {
            *most = progress;
        }
    };
    let report = rig.store().verify(VerifyDepth::Full, &note, &AtomicBool::new(false)).unwrap();
    let all =
        Progress { blobs_done: 6, blobs_total: 6, bytes_done: 1_500_001, bytes_total: 1_500_001 };
    assert_eq!(*most.lock().unwrap(), all);
    assert_eq!((report.blobs, report.size_bytes, report.cancelled), (6, 1_500_001, false));
}

#[test]
fn a_cancelled_verification_says_so() {
    let rig = Rig::new();
    rig.sealed(&bytes(1, 3_000_000));
    let cancel = AtomicBool::new(false);
    let stop = |_| cancel.store(true, Ordering::Relaxed);
    let report = rig.store().verify(VerifyDepth::Full, &stop, &cancel).unwrap();
    assert!(report.cancelled && report.findings.is_empty());
}

#[test]
fn a_lost_index_is_rebuilt_from_the_files() {
    let mut rig = Rig::new();
    let (good, bad) = (bytes(1, 50_000), bytes(2, 50_000));
    rig.sealed(&good);
    rig.sealed(&bad);
    damage(&rig.blob_path(&bad), |bytes| bytes[9] ^= 1);
    fs::remove_file(rig.outboard_path(&good)).unwrap();
    rig.store = None;
    rig.db = None;
    for suffix in ["", "-wal", "-shm"] {
        let path = rig.data_dir().join(format!("node.db{suffix}"));
        fs::remove_file(path)
            .or_else(|err| if suffix.is_empty() { Err(err) } else { Ok(()) })
            .unwrap();
    }
    rig.start();
    let report = rig.store().rebuild(&|_| {}, &AtomicBool::new(false)).unwrap();
    assert_eq!((report.good, report.added, report.restored, report.outboards), (1, 1, 0, 1));
    assert_eq!(report.quarantined.len(), 1);
    let number = BlobNumber(1);
    assert_eq!(rig.read(number), good);
    assert_eq!(rig.row(number).refs, 0);
    assert!(rig.reader(number).file().is_some());
    assert_eq!(rig.problems(VerifyDepth::Full), []);
    let again = rig.store().rebuild(&|_| {}, &AtomicBool::new(false)).unwrap();
    assert_eq!((again.good, again.added), (1, 0));
}

#[test]
fn bytes_that_came_back_make_a_damaged_blob_local_again() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let number = rig.sealed(&bytes);
    damage(&rig.blob_path(&bytes), |bytes| bytes[9] ^= 1);
    rig.verify(VerifyDepth::Full);
    assert_eq!(rig.row(number).state, BlobState::Damaged);
    fs::write(rig.blob_path(&bytes), &bytes).unwrap();
    let report = rig.store().rebuild(&|_| {}, &AtomicBool::new(false)).unwrap();
    assert_eq!((report.restored, report.added), (1, 0));
    assert_eq!(rig.read(number), bytes);
}
