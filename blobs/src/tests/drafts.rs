//! Drafts: their start over a base, their failures, their end.

use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::*;
use crate::Allocate;

fn content(draft: &Draft) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(draft.size().unwrap()).unwrap() + 1];
    let read = draft.read_at(0, &mut bytes).unwrap();
    bytes.truncate(read);
    bytes
}

#[test]
fn a_draft_over_a_huge_base_takes_no_time_and_no_space() {
    let rig = Rig::new();
    let size = 4 << 30;
    let mut base = Draft::empty(rig.store().drafts()).unwrap();
    base.set_len(size).unwrap();
    base.write_at(size - 5, b"tail!").unwrap();
    let base = rig.publish(&base);
    let mut draft = Draft::over(rig.store().drafts(), &rig.reader(base)).unwrap();
    draft.write_at(1 << 31, b"x").unwrap();
    let blocks = fs::metadata(draft.draft_file().path()).unwrap().blocks();
    assert!(blocks < 1000, "{blocks} blocks of 512 bytes");
    let mut end = [0; 5];
    draft.read_at(size - 5, &mut end).unwrap();
    assert_eq!(&end, b"tail!");
    draft.materialize().unwrap();
    assert!(!draft.is_overlay());
    let blocks = fs::metadata(draft.draft_file().path()).unwrap().blocks();
    assert!(blocks < 1000, "holes stay holes: {blocks} blocks");
    draft.read_at(size - 5, &mut end).unwrap();
    assert_eq!(&end, b"tail!");
}

#[test]
fn a_draft_over_small_bytes_has_its_own_copy() {
    let rig = Rig::new();
    let base = rig.db().write(|tx| rig.store().insert_inline(tx, b"memory")).unwrap();
    let mut draft = Draft::over(rig.store().drafts(), &rig.reader(base)).unwrap();
    assert!(!draft.is_overlay());
    draft.write_at(6, b" two").unwrap();
    assert_eq!(content(&draft), b"memory two");
    assert_eq!(rig.read(base), b"memory");
}

#[test]
fn a_draft_over_a_published_draft_leaves_that_alone() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let first = rig.draft(&bytes);
    let number = rig.publish(&first);
    let mut second = Draft::over(rig.store().drafts(), &rig.reader(number)).unwrap();
    second.write_at(0, b"second").unwrap();
    rig.seal(number);
    assert_eq!(rig.read(number), bytes);
    second.materialize().unwrap();
    assert_eq!(content(&second)[..6], *b"second");
    assert_eq!(content(&second)[6..], bytes[6..]);
}

#[test]
fn what_was_cut_off_and_grown_again_is_zeros() {
    let rig = Rig::new();
    let base = rig.sealed(&bytes(1, 50_000));
    let mut draft = Draft::over(rig.store().drafts(), &rig.reader(base)).unwrap();
    draft.set_len(100).unwrap();
    draft.set_len(50_000).unwrap();
    let mut expected = bytes(1, 50_000);
    expected[100..].fill(0);
    assert_eq!(content(&draft), expected);
    draft.materialize().unwrap();
    assert_eq!(content(&draft), expected);
}

#[test]
fn a_poisoned_draft_claims_nothing_and_still_reads() {
    let rig = Rig::new();
    let mut draft = rig.draft(b"bytes");
    draft.poison();
    let poisoned = |result: Result<(), BlobError>| {
        assert!(matches!(result, Err(BlobError::Poisoned { .. })));
    };
    poisoned(draft.write_at(0, b"x").map(drop));
    poisoned(draft.set_len(1));
    poisoned(draft.allocate(Allocate::PunchHole, 0, 1));
    poisoned(draft.sync());
    poisoned(draft.materialize());
    assert!(draft.is_poisoned());
    assert_eq!(content(&draft), b"bytes");
}

#[test]
fn too_large_a_file_is_refused_and_nothing_is_lost() {
    let rig = Rig::new();
    let mut draft = rig.draft(b"bytes");
    for offset in [u64::MAX / 2, u64::MAX / 2 + 1] {
        assert!(draft.write_at(offset, b"far").is_err());
        assert!(!draft.is_poisoned());
    }
    assert_eq!(content(&draft), b"bytes");
}

#[test]
fn only_a_whole_draft_is_for_others() {
    let rig = Rig::new();
    let base = rig.sealed(&bytes(1, 50_000));
    let mut draft = Draft::over(rig.store().drafts(), &rig.reader(base)).unwrap();
    if draft.is_overlay() {
        assert!(draft.backing().is_none());
    }
    draft.materialize().unwrap();
    let backing = Arc::clone(draft.backing().unwrap());
    backing.write_all_at(b"unseen", 50_000).unwrap();
    assert_eq!(draft.size().unwrap(), 50_006);
    let number = rig.publish(&draft);
    rig.seal(number);
    assert!(rig.read(number).ends_with(b"unseen"));
}

#[test]
fn writes_that_are_not_seen_end_the_hashing() {
    let rig = Rig::new();
    let draft = rig.draft(&bytes(1, 100_000));
    draft.backing().unwrap().write_all_at(b"unseen", 20).unwrap();
    let number = rig.publish(&draft);
    rig.seal(number);
    let mut expected = bytes(1, 100_000);
    expected[20..26].copy_from_slice(b"unseen");
    assert_eq!(rig.read(number), expected);
    assert_eq!(rig.problems(VerifyDepth::Full), []);
}

#[test]
fn a_file_that_readers_may_hold_is_not_used_again() {
    let rig = Rig::new();
    let draft = rig.draft(&bytes(1, 20_000));
    let number = rig.publish(&draft);
    let reader = rig.reader(number);
    rig.drop_reference(number);
    rig.store().settle(&[]).unwrap();
    let path = draft.draft_file().path().to_owned();
    rig.store().release_draft(draft.into_draft_file()).unwrap();
    assert!(!path.exists());
    let mut read = vec![0; 20_000];
    reader.read_at(0, &mut read).unwrap();
    assert_eq!(read, bytes(1, 20_000));
}

#[test]
fn holes_are_found_in_the_draft_and_in_its_base() {
    let rig = Rig::new();
    let mut base = rig.draft(&bytes(1, 65_536));
    base.set_len(262_144).unwrap();
    base.write_at(131_072, &[1; 65_536]).unwrap();
    let number = rig.publish(&base);
    let mut draft = Draft::over(rig.store().drafts(), &rig.reader(number)).unwrap();
    let check = |draft: &Draft| {
        assert_eq!(draft.seek_data(0).unwrap(), Some(0));
        assert_eq!(draft.seek_hole(0).unwrap(), 65_536);
        assert_eq!(draft.seek_data(65_536).unwrap(), Some(131_072));
        assert_eq!(draft.seek_hole(131_072).unwrap(), 196_608);
        assert_eq!(draft.seek_data(196_608).unwrap(), None);
        assert_eq!(draft.seek_hole(200_000).unwrap(), 200_000);
    };
    check(&draft);
    draft.materialize().unwrap();
    check(&draft);
    let reader = rig.reader(number);
    assert_eq!(reader.seek_data(70_000).unwrap(), Some(131_072));
    assert_eq!(reader.seek_hole(10).unwrap(), 65_536);
    draft.allocate(Allocate::PunchHole, 0, 65_536).unwrap();
    assert_eq!(draft.seek_data(0).unwrap(), Some(131_072));
}

#[test]
fn a_draft_that_could_not_begin_leaves_no_file() {
    let rig = Rig::new();
    let pool = rig.store().drafts();
    let number = rig.published(&bytes(1, 20_000));
    rig.db()
        .write(|tx| {
            tx.execute("UPDATE blobs SET size_bytes = 10000", [])
                .map_err(|source| tesfs_pathtree::DbError { doing: "damaging", source })
        })
        .unwrap();
    let (draft, _) = rig.draft_of(number);
    damage(&rig.store().folders().draft(draft), |bytes| bytes.truncate(10));
    let base = rig.reader(number);
    for _ in 0..3 {
        assert!(matches!(Draft::over(pool, &base), Err(BlobError::DraftShort { .. })));
    }
    let is_nobodys = |number: &u64| *number != draft && !pool.holds(*number);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    // The pool makes files meanwhile, and holds each a moment after it is there.
    while crate::draft::numbers_in(&rig.store().folders().drafts).unwrap().iter().any(is_nobodys) {
        assert!(std::time::Instant::now() < deadline, "a file stayed");
        std::thread::yield_now();
    }
}
