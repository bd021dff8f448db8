//! Damage on disk: right bytes or an error, never wrong ones, and nothing is deleted.

use super::*;
use crate::BlobState;

/// Makes a reader's process forget what it verified.
fn sealed_and_restarted(bytes: &[u8]) -> (Rig, BlobNumber) {
    let mut rig = Rig::new();
    let number = rig.sealed(bytes);
    rig.restart();
    (rig, number)
}

#[test]
fn a_flipped_bit_is_an_error_where_it_is_and_the_file_goes_to_quarantine() {
    let bytes = bytes(1, 200_000);
    let (rig, number) = sealed_and_restarted(&bytes);
    damage(&rig.blob_path(&bytes), |bytes| bytes[150_000] ^= 0x10);
    let reader = rig.reader(number);
    assert!(reader.file().is_none(), "its mtime is another");
    let mut start = vec![0; 100_000];
    reader.read_at(0, &mut start).unwrap();
    assert_eq!(start, bytes[..100_000]);
    let err = reader.read_at(149_999, &mut [0; 2]).unwrap_err();
    assert!(matches!(err, BlobError::Damaged { .. }) && err.is_damage(), "{err}");
    assert_eq!(rig.files("quarantine").len(), 2, "the file and its outboard");
    assert!(rig.try_reader(number).is_err());
    rig.store().record_damage().unwrap();
    assert_eq!(rig.row(number).state, BlobState::Damaged);
    assert_eq!(rig.db().read(|conn| rig.store().damaged(conn)).unwrap(), [number]);
    assert!(matches!(rig.try_reader(number), Err(BlobError::Damaged { .. })));
    reader.read_at(0, &mut start).unwrap();
    assert_eq!(start, bytes[..100_000], "who has it open reads what is good");
}

#[test]
fn who_reads_damaged_bytes_leaves_a_good_file_in_their_place_alone() {
    let bytes = bytes(1, 200_000);
    let (rig, number) = sealed_and_restarted(&bytes);
    damage(&rig.blob_path(&bytes), |bytes| bytes[150_000] ^= 0x10);
    let reader = rig.reader(number);
    let meets_damage = || {
        let read = reader.read_at(150_000, &mut [0; 1]);
        assert!(matches!(read, Err(BlobError::Damaged { .. })));
        rig.store().record_damage().unwrap();
    };
    meets_damage();
    let again = rig.sealed(&bytes);
    meets_damage();
    assert_eq!(rig.row(again).state, BlobState::Local);
    assert_eq!(rig.read(again), bytes);
    assert!(rig.outboard_path(&bytes).exists());
    assert_eq!(rig.files("quarantine").len(), 2, "the damaged file and its outboard");
}

#[test]
fn a_look_at_rows_leaves_a_good_file_in_the_place_of_a_damaged_one_alone() {
    let bytes = bytes(1, 200_000);
    let (rig, number) = sealed_and_restarted(&bytes);
    damage(&rig.blob_path(&bytes), |bytes| bytes[150_000] ^= 0x10);
    rig.try_read(number).unwrap_err();
    rig.store().record_damage().unwrap();
    let again = rig.sealed(&bytes);
    assert_eq!(rig.problems(VerifyDepth::Plain).len(), 1, "only reading tells that it is good");
    assert_eq!(rig.read(again), bytes);
    assert_eq!(rig.problems(VerifyDepth::Full), []);
    assert_eq!(rig.read(number), bytes);
}

#[test]
fn a_shorter_or_longer_file_is_damaged() {
    for len in [0, 100, 199_999, 200_001] {
        let bytes = bytes(1, 200_000);
        let (rig, number) = sealed_and_restarted(&bytes);
        damage(&rig.blob_path(&bytes), |bytes| bytes.resize(len, 0));
        assert!(matches!(rig.try_reader(number), Err(BlobError::Damaged { .. })), "{len}");
        assert_eq!(rig.files("quarantine").len(), 2);
    }
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let bytes = bytes(1, 200_000);
    let (rig, number) = sealed_and_restarted(&bytes);
    fs::remove_file(rig.blob_path(&bytes)).unwrap();
    let err = rig.try_reader(number).unwrap_err();
    assert!(err.to_string().contains(&BlobHash::of(&bytes).to_string()), "{err}");
    assert!(matches!(err, BlobError::Missing { .. }));
}

#[test]
fn a_wrong_outboard_is_made_again_when_the_bytes_are_good() {
    let change: [fn(&Path); 4] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, b"").unwrap(),
        |path| damage(path, |bytes| bytes[0] ^= 1),
        |path| damage(path, |bytes| *bytes.last_mut().unwrap() ^= 1),
    ];
    for change in change {
        let bytes = bytes(1, 200_000);
        let (rig, number) = sealed_and_restarted(&bytes);
        change(&rig.outboard_path(&bytes));
        assert_eq!(rig.read(number), bytes);
        assert_eq!(rig.problems(VerifyDepth::Full), []);
        assert!(rig.files("quarantine").is_empty());
    }
}

#[test]
fn a_wrong_outboard_does_not_hide_wrong_bytes() {
    let bytes = bytes(1, 200_000);
    let (rig, number) = sealed_and_restarted(&bytes);
    fs::remove_file(rig.outboard_path(&bytes)).unwrap();
    damage(&rig.blob_path(&bytes), |bytes| bytes[199_999] ^= 1);
    assert!(matches!(rig.try_read(number), Err(BlobError::Damaged { .. })));
}

#[test]
fn damaged_bytes_in_a_row_are_an_error() {
    let rig = Rig::new();
    let number = rig.db().write(|tx| rig.store().insert_inline(tx, b"memory")).unwrap();
    rig.db()
        .write(|tx| {
            tx.execute("UPDATE blobs SET data = x'00' WHERE number = ?1", [number])
                .map_err(|source| tesfs_pathtree::DbError { doing: "damaging", source })
        })
        .unwrap();
    assert!(matches!(rig.try_reader(number), Err(BlobError::Damaged { .. })));
    assert_eq!(rig.problems(VerifyDepth::Plain), []);
    assert_eq!(rig.problems(VerifyDepth::Full).len(), 1);
    assert_eq!(rig.row(number).state, BlobState::Damaged);
}

#[test]
fn damage_does_not_get_a_new_hash_through_a_draft() {
    let bytes = bytes(1, 200_000);
    let (rig, number) = sealed_and_restarted(&bytes);
    damage(&rig.blob_path(&bytes), |bytes| bytes[150_000] ^= 0x10);
    let mut draft = Draft::over(rig.store().drafts(), &rig.reader(number)).unwrap();
    draft.write_at(0, b"edited").unwrap();
    assert!(matches!(draft.materialize(), Err(BlobError::Damaged { .. })));
    assert!(draft.is_overlay());
    draft.write_at(147_456, &[7; 16_384]).unwrap();
    draft.materialize().unwrap();
}

#[test]
fn a_copy_of_damaged_bytes_is_refused_and_leaves_no_file() {
    let bytes = bytes(1, 200_000);
    let (rig, number) = sealed_and_restarted(&bytes);
    damage(&rig.blob_path(&bytes), |bytes| bytes[150_000] ^= 0x10);
    let reader = rig.reader(number);
    let copied = Draft::copy_of(rig.store().drafts(), &reader);
    assert!(matches!(copied, Err(BlobError::Damaged { .. })));
    assert_eq!(rig.full_drafts(), 0);
}

#[test]
fn the_kernel_gets_a_file_only_while_its_verification_counts() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let number = rig.sealed(&bytes);
    assert!(rig.reader(number).file().is_some());
    rig.clock.advance(Duration::from_secs(31 * 24 * 3600));
    assert!(rig.reader(number).file().is_none());
    assert_eq!(rig.read(number), bytes);
    assert_eq!(rig.store().verify_one(number, VerifyDepth::Full).unwrap(), None);
    assert!(rig.reader(number).file().is_some());
    damage(&rig.blob_path(&bytes), |_| {});
    assert!(rig.reader(number).file().is_none(), "the same bytes, but somebody touched them");
    assert_eq!(rig.read(number), bytes);
}

#[test]
fn a_draft_of_an_earlier_run_is_not_for_the_kernel() {
    let mut rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let number = rig.published(&bytes);
    rig.restart();
    assert!(rig.reader(number).file().is_none());
    assert_eq!(rig.read(number), bytes);
}

#[test]
fn three_hundred_random_faults_never_give_wrong_bytes() {
    use proptest::{
        prelude::RngExt as _,
        test_runner::{RngAlgorithm, TestRng},
    };
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[3; 32]);
    let bytes = bytes(1, 150_000);
    let mut rig = Rig::new();
    let number = rig.sealed(&bytes);
    let (blob, outboard) = (rig.blob_path(&bytes), rig.outboard_path(&bytes));
    let good_outboard = fs::read(&outboard).unwrap();
    for round in 0..300 {
        let path = if rng.random() { &blob } else { &outboard };
        let kind = rng.random_range(0..5);
        damage(path, |bytes| {
            let at = rng.random_range(0..bytes.len());
            match kind {
                0 => bytes[at] ^= 1 << rng.random_range(0..8),
                1 => bytes[at & !511..].iter_mut().take(512).for_each(|byte| *byte = 0),
                2 => bytes[at..].iter_mut().take(64).for_each(|byte| *byte = !*byte),
                3 => bytes.truncate(at),
                _ => bytes.rotate_left(at),
            }
        });
        rig.restart();
        match rig.try_read(number) {
            Ok(read) => assert_eq!(read, bytes, "round {round}"),
            Err(err) => assert!(err.is_damage(), "round {round}: {err}"),
        }
        let is_good = fs::read(&blob).is_ok_and(|now| now == bytes);
        assert_eq!(rig.problems(VerifyDepth::Full).is_empty(), is_good, "round {round}");
        fs::write(&outboard, &good_outboard).unwrap();
        if !is_good {
            fs::write(&blob, &bytes).unwrap();
            rig.store().rebuild(&|_| {}, &AtomicBool::new(false)).unwrap();
        }
    }
}
