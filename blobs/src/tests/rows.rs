//! Rows and how often they are named.

use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::{BlobState, Count, INLINE_MAX};

#[test]
fn small_bytes_live_in_the_row_and_settle_with_it() {
    let rig = Rig::new();
    for len in [0, 1, 16_384] {
        let bytes = bytes(1, len);
        let number = rig.db().write(|tx| rig.store().insert_inline(tx, &bytes)).unwrap();
        let row = rig.row(number);
        assert_eq!((row.state, row.settled, row.refs), (BlobState::Inline, true, 1));
        assert_eq!(row.hash, Some(BlobHash::of(&bytes)));
        assert_eq!(rig.read(number), bytes);
        assert!(rig.reader(number).file().is_none());
    }
    assert!(rig.files("blobs").is_empty());
}

#[test]
fn small_bytes_go_with_their_last_reference() {
    let rig = Rig::new();
    let number = rig.db().write(|tx| rig.store().insert_inline(tx, b"x")).unwrap();
    rig.db().write(|tx| rig.store().add_reference(tx, number)).unwrap();
    rig.drop_reference(number);
    assert_eq!(rig.row(number).refs, 1);
    let open = rig.reader(number);
    rig.drop_reference(number);
    assert_eq!(rig.find(number), None);
    assert!(matches!(rig.try_reader(number), Err(BlobError::NotFound(_))));
    let mut byte = [0];
    assert_eq!(open.read_at(0, &mut byte).unwrap(), 1);
}

#[test]
fn a_number_is_not_given_to_a_second_blob() {
    let rig = Rig::new();
    let first = rig.db().write(|tx| rig.store().insert_inline(tx, b"x")).unwrap();
    rig.drop_reference(first);
    let second = rig.db().write(|tx| rig.store().insert_inline(tx, b"y")).unwrap();
    assert!(second > first);
}

#[test]
fn what_has_no_row_is_said_to_have_none() {
    let rig = Rig::new();
    let nobody = BlobNumber(99);
    let store = rig.store();
    let refused = |result: Result<(), BlobError>| {
        assert!(matches!(result, Err(BlobError::NotFound(number)) if number == nobody));
    };
    refused(rig.db().write(|tx| store.add_reference(tx, nobody)));
    refused(rig.db().write(|tx| store.drop_reference(tx, nobody)));
    refused(rig.db().write(|tx| store.mark_settled(tx, nobody)));
    refused(rig.try_reader(nobody).map(drop));
}

#[test]
fn a_published_draft_reads_as_it_was_published() {
    let rig = Rig::new();
    let bytes = bytes(1, 100_000);
    let draft = rig.draft(&bytes);
    let number = rig.publish(&draft);
    let row = rig.row(number);
    assert_eq!((row.state, row.settled, row.hash), (BlobState::Draft, false, None));
    assert_eq!(row.draft, Some(draft.draft_file().number()));
    assert_eq!(rig.read(number), bytes);
    assert!(rig.reader(number).file().is_some(), "it is a draft of this run");
}

#[test]
fn publishing_the_same_file_again_changes_its_row_and_nothing_else() {
    let rig = Rig::new();
    let mut draft = rig.draft(&bytes(1, 50_000));
    let number = rig.publish(&draft);
    draft.write_at(50_000, b"more").unwrap();
    draft.sync().unwrap();
    let size = draft.size().unwrap();
    rig.db()
        .write(|tx| rig.store().update_draft(tx, number, draft.draft_file(), size, true))
        .unwrap();
    assert_eq!((rig.row(number).size_bytes, rig.row(number).settled), (50_004, true));
    assert!(rig.read(number).ends_with(b"more"));
    rig.seal(number);
    let late =
        rig.db().write(|tx| rig.store().update_draft(tx, number, draft.draft_file(), size, true));
    assert!(matches!(late, Err(BlobError::NotFound(_))));
}

#[test]
fn totals_count_by_state() {
    let rig = Rig::new();
    rig.db().write(|tx| rig.store().insert_inline(tx, b"four")).unwrap();
    rig.published(&bytes(1, 20_000));
    let sealed = rig.sealed(&bytes(2, 30_000));
    rig.drop_reference(sealed);
    let totals = rig.db().read(|conn| rig.store().totals(conn)).unwrap();
    assert_eq!(totals.inline, Count { blobs: 1, size_bytes: 4 });
    assert_eq!(totals.drafts, Count { blobs: 1, size_bytes: 20_000 });
    assert_eq!(totals.local, Count { blobs: 1, size_bytes: 30_000 });
    assert_eq!(totals.unreferenced, Count { blobs: 1, size_bytes: 30_000 });
}

#[test]
fn folders_and_files_are_for_their_owner_alone() {
    let rig = Rig::new();
    let large = bytes(1, usize::try_from(INLINE_MAX).unwrap() + 1);
    rig.sealed(&large);
    for folder in ["blobs", "drafts", "quarantine", "recovered"] {
        let mode = fs::metadata(rig.data_dir().join(folder)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
    assert_eq!(fs::metadata(rig.blob_path(&large)).unwrap().mode() & 0o777, 0o400);
}
