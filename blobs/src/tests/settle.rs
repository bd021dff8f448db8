//! Settling, and syncs that the disk refuses.

use super::*;
use crate::BlobState;

impl Rig {
    fn settle(&self, number: BlobNumber) -> Result<(), BlobError> {
        let failed = self.store().settle(&[number]).unwrap();
        failed.into_iter().next().map_or(Ok(()), |(_, err)| Err(err))
    }
}

#[test]
fn settling_makes_rows_durable_and_removes_what_nothing_names() {
    let rig = Rig::new();
    let (kept, dropped) = (rig.published(&bytes(1, 20_000)), rig.published(&bytes(2, 20_000)));
    let unsettled = || rig.db().read(|conn| rig.store().unsettled(conn, 10)).unwrap();
    assert_eq!(unsettled(), [kept, dropped]);
    rig.drop_reference(dropped);
    assert!(rig.store().settle(&[kept]).unwrap().is_empty());
    assert_eq!(unsettled(), []);
    assert!(rig.row(kept).settled);
    assert_eq!(rig.find(dropped), None);
    assert_eq!(rig.full_drafts(), 1);
}

#[test]
fn a_draft_that_is_gone_is_reported_and_not_settled() {
    let rig = Rig::new();
    let number = rig.published(&bytes(1, 20_000));
    fs::remove_file(rig.store().folders().draft(rig.row(number).draft.unwrap())).unwrap();
    let failed = rig.store().settle(&[number]).unwrap();
    assert_eq!(failed.len(), 1);
    assert!(!rig.row(number).settled);
    assert!(matches!(rig.try_reader(number), Err(BlobError::Missing { .. })));
}

#[test]
fn a_draft_that_the_disk_refused_is_settled_in_another_file() {
    let rig = Rig::new();
    let number = rig.published(&bytes(1, 50_000));
    let (draft, inode) = rig.draft_of(number);
    rig.store().drafts().syncs().fail_once(draft);
    rig.settle(number).unwrap();
    assert!(rig.row(number).settled);
    assert_ne!(rig.draft_of(number), (draft, inode), "what was refused is not synced again");
    assert_eq!(rig.read(number), bytes(1, 50_000));
    assert!(matches!(rig.seal(number), SealOutcome::Sealed { .. }));
    assert_eq!(rig.read(number), bytes(1, 50_000));
    assert_eq!(rig.full_drafts(), 0);
}

#[test]
fn a_refused_draft_that_somebody_holds_is_not_settled_before_it_is_written_again() {
    let rig = Rig::new();
    let line = rig.draft(&bytes(1, 50_000));
    let number = rig.publish(&line);
    let (draft, inode) = rig.draft_of(number);
    rig.store().drafts().syncs().fail_once(draft);
    for _ in 0..3 {
        rig.settle(number).unwrap_err();
        assert!(!rig.row(number).settled);
        assert_eq!(rig.draft_of(number), (draft, inode), "the kernel may write into it");
    }
    rig.store().release_draft(line.into_draft_file()).unwrap();
    rig.settle(number).unwrap();
    assert!(rig.row(number).settled);
    assert_ne!(rig.draft_of(number), (draft, inode));
    assert_eq!(rig.read(number), bytes(1, 50_000));
}

#[test]
fn a_refused_draft_is_sealed_from_another_file() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let line = rig.draft(&bytes);
    let number = rig.publish(&line);
    let (draft, inode) = rig.draft_of(number);
    rig.store().drafts().syncs().fail_once(draft);
    rig.settle(number).unwrap_err();
    assert!(matches!(rig.seal(number), SealOutcome::Sealed { .. }));
    let sealed = fs::metadata(rig.blob_path(&bytes)).unwrap();
    assert_ne!(sealed.ino(), inode);
    assert_eq!(rig.row(number).state, BlobState::Local);
    assert_eq!(rig.read(number), bytes);
}

#[test]
fn what_an_fsync_was_refused_nobody_claims_later() {
    let rig = Rig::new();
    let mut line = rig.draft(&bytes(1, 50_000));
    let number = rig.publish(&line);
    let (draft, _) = rig.draft_of(number);
    rig.store().drafts().syncs().fail_once(draft);
    line.sync().unwrap_err();
    rig.settle(number).unwrap_err();
    assert!(!rig.row(number).settled);
}

#[test]
fn a_file_that_the_disk_refused_is_not_used_again() {
    let rig = Rig::new();
    let mut line = rig.draft(&bytes(1, 50_000));
    let path = line.draft_file().path().to_owned();
    rig.store().drafts().syncs().fail_once(line.draft_file().number());
    line.sync().unwrap_err();
    rig.store().release_draft(line.into_draft_file()).unwrap();
    assert!(!path.exists());
}
