//! Settling, and syncs that the disk refuses.

use std::os::unix::fs::FileExt as _;

use super::*;
use crate::{BlobState, SettleOutcome};

impl Rig {
    fn settle(&self, number: BlobNumber) -> Result<SettleOutcome, BlobError> {
        let mut outcomes = self.store().settle(&[number]).unwrap();
        assert_eq!(outcomes.len(), 1);
        let (settled, outcome) = outcomes.remove(0);
        assert_eq!(settled, number);
        outcome
    }
}

#[test]
fn settling_makes_rows_durable_and_removes_what_nothing_names() {
    let rig = Rig::new();
    let (kept, dropped) = (rig.published(&bytes(1, 20_000)), rig.published(&bytes(2, 20_000)));
    let unsettled = || rig.db().read(|conn| rig.store().unsettled(conn, 10)).unwrap();
    assert_eq!(unsettled(), [kept, dropped]);
    rig.drop_reference(dropped);
    assert_eq!(rig.settle(kept).unwrap(), SettleOutcome::Settled);
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
    rig.settle(number).unwrap_err();
    assert!(!rig.row(number).settled);
    assert!(matches!(rig.try_reader(number), Err(BlobError::Missing { .. })));
}

#[test]
fn a_draft_that_was_written_to_meanwhile_is_said_not_to_be_settled() {
    let rig = Rig::new();
    let line = rig.draft(&bytes(1, 50_000));
    let number = rig.publish(&line);
    let file = Arc::clone(line.backing().unwrap());
    rig.store().drafts().syncs().instead(rig.draft_of(number).0, move |synced| {
        synced.sync_data()?;
        file.write_all_at(b"late", 50_000)
    });
    assert_eq!(rig.settle(number).unwrap(), SettleOutcome::Changed);
    assert!(!rig.row(number).settled);
    assert_eq!(rig.settle(number).unwrap(), SettleOutcome::Settled);
    assert!(rig.row(number).settled);
}

#[test]
fn what_is_settled_or_gone_is_said_to_be() {
    let rig = Rig::new();
    assert_eq!(rig.settle(BlobNumber(1)).unwrap(), SettleOutcome::Gone);
    let sealed = rig.sealed(&bytes(1, 50_000));
    assert_eq!(rig.settle(sealed).unwrap(), SettleOutcome::Settled);
}

#[test]
fn a_draft_that_is_replaced_or_sealed_while_it_is_synced_is_no_failure() {
    let rig = Arc::new(Rig::new());
    for (sealed, expected) in [(true, SettleOutcome::Settled), (false, SettleOutcome::Gone)] {
        let number = rig.published(&bytes(1, 50_000));
        let meanwhile = Arc::downgrade(&rig);
        rig.store().drafts().syncs().instead(rig.draft_of(number).0, move |_| {
            let rig = meanwhile.upgrade().unwrap();
            if sealed {
                rig.seal(number);
            } else {
                rig.drop_reference(number);
                rig.store().reap_drafts().unwrap();
            }
            Ok(())
        });
        assert_eq!(rig.settle(number).unwrap(), expected);
    }
}

#[test]
fn a_draft_that_the_disk_refused_is_settled_in_another_file() {
    let rig = Rig::new();
    let number = rig.published(&bytes(1, 50_000));
    let (draft, inode) = rig.draft_of(number);
    rig.store().drafts().syncs().fail_once(draft);
    assert_eq!(rig.settle(number).unwrap(), SettleOutcome::Settled);
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
    assert_eq!(rig.settle(number).unwrap(), SettleOutcome::Settled);
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
