//! Sealing, settling, and stops between their steps.

use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::{BlobState, seal::Step};

const STEPS: [Step; 5] =
    [Step::Hashed, Step::Placed, Step::Committed, Step::Unlinked, Step::Stamped];

#[test]
fn a_sealed_draft_is_a_file_named_by_its_hash() {
    let rig = Rig::new();
    for len in [16_385, 100_000, 1_048_576] {
        let bytes = bytes(1, len);
        let number = rig.published(&bytes);
        let hash = BlobHash::of(&bytes);
        assert_eq!(rig.seal(number), SealOutcome::Sealed { hash, shared: false });
        let row = rig.row(number);
        assert_eq!((row.state, row.settled, row.draft), (BlobState::Local, true, None));
        assert_eq!(row.hash, Some(hash));
        assert_eq!(fs::read(rig.blob_path(&bytes)).unwrap(), bytes);
        assert!(rig.outboard_path(&bytes).exists());
        assert_eq!(rig.read(number), bytes);
        assert!(rig.reader(number).file().is_some(), "seal verified the whole file");
        assert_eq!(rig.seal(number), SealOutcome::Already);
    }
    assert_eq!(rig.full_drafts(), 0);
    assert_eq!(rig.problems(VerifyDepth::Full), []);
}

#[test]
fn readers_keep_their_bytes_through_the_seal() {
    let rig = Rig::new();
    let bytes = bytes(1, 60_000);
    let number = rig.published(&bytes);
    let before = rig.reader(number);
    rig.seal(number);
    let mut read = vec![0; 60_000];
    before.read_at(0, &mut read).unwrap();
    assert_eq!(read, bytes);
    let inode = |reader: &BlobReader| reader.file().unwrap().metadata().unwrap().ino();
    assert_eq!(inode(&before), inode(&rig.reader(number)), "it is the same file");
}

#[test]
fn equal_bytes_share_one_file() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let numbers = [rig.published(&bytes), rig.published(&bytes)];
    let outcomes = rig.store().seal(&numbers).unwrap();
    let shared: Vec<bool> = outcomes
        .into_iter()
        .map(|(_, outcome)| matches!(outcome.unwrap(), SealOutcome::Sealed { shared: true, .. }))
        .collect();
    assert_eq!(shared, [false, true]);
    let third = rig.published(&bytes);
    assert!(matches!(rig.seal(third), SealOutcome::Sealed { shared: true, .. }));
    for number in [numbers[0], numbers[1], third] {
        assert_eq!(rig.read(number), bytes);
        assert!(rig.reader(number).file().is_some());
    }
    assert_eq!(fs::metadata(rig.blob_path(&bytes)).unwrap().nlink(), 1);
    assert_eq!(rig.full_drafts(), 0);
}

#[test]
fn a_damaged_file_is_not_shared_but_replaced() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let first = rig.sealed(&bytes);
    damage(&rig.blob_path(&bytes), |bytes| bytes[7] ^= 1);
    let second = rig.published(&bytes);
    assert!(matches!(rig.seal(second), SealOutcome::Sealed { shared: false, .. }));
    assert_eq!(rig.files("quarantine").len(), 2);
    assert_eq!(rig.read(second), bytes);
    assert_eq!(rig.read(first), bytes, "and so the first is whole again");
    assert_eq!(rig.problems(VerifyDepth::Full), []);
}

#[test]
fn a_stop_after_any_step_leaves_the_bytes_and_a_restart_ends_the_seal() {
    for shared in [false, true] {
        for step in STEPS {
            let mut rig = Rig::new();
            let bytes = bytes(1, 70_000);
            if shared {
                rig.sealed(&bytes);
            }
            let number = rig.published(&bytes);
            rig.store().seal_until(step, &[number], &mut Vec::new()).unwrap();
            assert_eq!(rig.read(number), bytes, "{step:?}");

            rig.restart();
            assert_eq!(rig.read(number), bytes, "{step:?} after the restart");
            let leftovers = rig.db().read(|conn| rig.store().leftover_drafts(conn)).unwrap();
            assert_eq!(leftovers, [], "{step:?}");
            let waiting = rig.db().read(|conn| rig.store().unsealed(conn, 10)).unwrap();
            let expected = if step < Step::Committed { vec![number] } else { Vec::new() };
            assert_eq!(waiting, expected, "{step:?}");
            for number in waiting {
                assert!(matches!(rig.seal(number), SealOutcome::Sealed { .. }));
            }
            assert_eq!(rig.row(number).state, BlobState::Local);
            assert_eq!(rig.read(number), bytes);
            assert_eq!(rig.full_drafts(), 0, "{step:?}");
            assert_eq!(rig.problems(VerifyDepth::Full), [], "{step:?}");
            assert!(rig.reader(number).file().is_some(), "{step:?}");
        }
    }
}

#[test]
fn bytes_behind_the_published_size_are_not_part_of_the_version() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let mut draft = rig.draft(&bytes);
    let number = rig.publish(&draft);
    draft.write_at(50_000, b"never published").unwrap();
    drop(draft);
    assert_eq!(rig.read(number), bytes);
    assert!(rig.reader(number).file().is_none(), "the file has more than the version");
    rig.seal(number);
    assert_eq!(rig.read(number), bytes);
}

#[test]
fn a_draft_that_lost_bytes_is_reported_and_the_others_are_sealed() {
    let rig = Rig::new();
    let (short, good) = (rig.published(&bytes(1, 50_000)), rig.published(&bytes(2, 50_000)));
    let path = rig.store().folders().draft(rig.row(short).draft.unwrap());
    damage(&path, |bytes| bytes.truncate(10));
    let outcomes = rig.store().seal(&[short, good]).unwrap();
    let of = |wanted| &outcomes.iter().find(|(number, _)| *number == wanted).unwrap().1;
    assert!(matches!(of(short), Err(BlobError::DraftShort { found_bytes: 10, .. })));
    assert!(of(good).is_ok());
    assert!(of(short).as_ref().unwrap_err().is_damage());
    assert!(rig.try_read(short).is_err());
}

#[test]
fn what_needs_no_seal_is_told_so() {
    let rig = Rig::new();
    assert_eq!(rig.seal(BlobNumber(1)), SealOutcome::Gone);
    let inline = rig.db().write(|tx| rig.store().insert_inline(tx, b"x")).unwrap();
    assert_eq!(rig.seal(inline), SealOutcome::Already);
    let dropped = rig.published(&bytes(1, 20_000));
    rig.drop_reference(dropped);
    assert_eq!(rig.seal(dropped), SealOutcome::Unreferenced);
}

#[test]
fn a_write_after_the_publish_is_not_hashed_away() {
    let rig = Rig::new();
    let mut draft = rig.draft(&bytes(1, 100_000));
    let number = rig.publish(&draft);
    draft.write_at(3, b"changed").unwrap();
    let mut now = bytes(1, 100_000);
    now[3..10].copy_from_slice(b"changed");
    drop(draft);
    let hash = BlobHash::of(&now);
    assert_eq!(rig.seal(number), SealOutcome::Sealed { hash, shared: false });
    assert_eq!(rig.read(number), now);
}

#[test]
fn a_line_keeps_its_file_when_the_row_goes_first() {
    let rig = Rig::new();
    let draft = rig.draft(&bytes(1, 20_000));
    let number = rig.publish(&draft);
    rig.drop_reference(number);
    rig.store().settle(&[]).unwrap();
    assert_eq!(rig.find(number), None);
    assert_eq!(draft.size().unwrap(), 20_000);
    let again = rig.publish(&draft);
    assert_eq!(rig.read(again), bytes(1, 20_000));
    rig.drop_reference(again);
    rig.store().settle(&[]).unwrap();
    rig.store().release_draft(draft.into_draft_file()).unwrap();
    assert_eq!(rig.full_drafts(), 0);
}

#[test]
fn a_publish_that_rolled_back_leaves_the_draft_to_its_line() {
    let rig = Rig::new();
    let draft = rig.draft(&bytes(1, 20_000));
    let failed: Result<(), BlobError> = rig.db().write(|tx| {
        rig.store().insert_draft(tx, draft.draft_file(), 20_000, false)?;
        Err(BlobError::NotFound(BlobNumber(0)))
    });
    assert!(failed.is_err());
    let number = rig.publish(&draft);
    assert_eq!(rig.read(number), bytes(1, 20_000));
}
