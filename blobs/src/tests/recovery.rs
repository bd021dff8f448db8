//! What is found at a start after a crash.

use tesfs_pathtree::{ActorNumber, BranchNumber, Hlc, Ino, Stamp};

use super::*;
use crate::{DraftLayout, DraftRecord};

fn record(draft: &Draft, base: Option<BlobNumber>, durable: bool) -> DraftRecord {
    DraftRecord {
        number: draft.draft_file().number(),
        ino: Ino(17),
        branch: BranchNumber(1),
        base,
        base_stamp: Some(Stamp { hlc: Hlc(5), actor: ActorNumber(1) }),
        size_bytes: draft.size().unwrap(),
        layout: draft.layout(),
        durable,
        name: Some(b"letter \xff.txt".to_vec()),
    }
}

impl Rig {
    fn records(&self) -> Vec<DraftRecord> {
        self.db().read(|conn| self.store().draft_records(conn)).unwrap()
    }

    fn leftovers(&self) -> Vec<crate::LeftoverDraft> {
        self.db().read(|conn| self.store().leftover_drafts(conn)).unwrap()
    }
}

#[test]
fn only_bytes_that_nothing_names_are_left_over() {
    let mut rig = Rig::new();
    let published = rig.draft(&bytes(1, 20_000));
    rig.publish(&published);
    let (durable, noted, dirty) = (rig.draft(b"fsynced"), rig.draft(b"noted"), rig.draft(b"dirty"));
    let empty = Draft::empty(rig.store().drafts()).unwrap();
    let records = [record(&durable, None, true), record(&noted, None, false)];
    rig.db()
        .write(|tx| records.iter().try_for_each(|record| rig.store().record_draft(tx, record)))
        .unwrap();
    assert_eq!(rig.leftovers(), [], "this run's drafts are somebody's");
    let [noted_number, dirty_number] = [&noted, &dirty].map(|draft| draft.draft_file().number());
    let empty_path = empty.draft_file().path().to_owned();
    drop((published, durable, noted, dirty, empty));

    rig.restart();
    let mut leftovers = rig.leftovers();
    // The pool hands files out in no particular order.
    leftovers.sort_by_key(|left| left.number != noted_number);
    let [noted, dirty] = leftovers.as_slice() else { panic!("{leftovers:?}") };
    assert_eq!((noted.number, noted.record.as_ref()), (noted_number, Some(&records[1])));
    assert_eq!((dirty.number, dirty.record.as_ref()), (dirty_number, None));
    assert_eq!(dirty.size_bytes, 5);
    assert!(!empty_path.exists());
    let mut found = rig.records();
    found.sort_by_key(|record| !record.durable);
    assert_eq!(found, records);
}

#[test]
fn numbers_of_files_and_rows_are_not_used_again() {
    let mut rig = Rig::new();
    let dirty = rig.draft(b"dirty");
    let number = dirty.draft_file().number();
    drop(dirty);
    rig.restart();
    let fresh = Draft::empty(rig.store().drafts()).unwrap();
    assert!(fresh.draft_file().number() > number);
}

#[test]
fn leftover_bytes_move_to_recovered_under_a_name_of_their_own() {
    let mut rig = Rig::new();
    let names = ["letter", "letter", "../../etc/passwd", "..", ""];
    let numbers = names.map(|name| {
        rig.draft(name.as_bytes()).write_at(0, b"dear").unwrap();
        rig.draft(b"dear").draft_file().number()
    });
    rig.restart();
    for (name, number) in names.iter().zip(numbers) {
        rig.store().move_to_recovered(number, name.as_ref()).unwrap();
    }
    let found: Vec<_> =
        rig.store().recovered().unwrap().into_iter().map(|file| file.name).collect();
    let [_, _, _, fourth, fifth] = numbers.map(|number| format!("draft-{number}"));
    let mut expected =
        ["letter".into(), "letter.2".into(), ".._.._etc_passwd".into(), fourth, fifth];
    expected.sort();
    assert_eq!(found, expected.map(std::ffi::OsString::from));
    let gone = rig.store().move_to_recovered(numbers[0], "letter".as_ref());
    assert!(matches!(gone, Err(BlobError::Io { .. })));
}

#[test]
fn a_recorded_overlay_opens_again_as_it_was_synced() {
    let mut rig = Rig::new();
    let base_bytes = bytes(1, 100_000);
    let base = rig.sealed(&base_bytes);
    let mut draft = Draft::over(rig.store().drafts(), &rig.reader(base)).unwrap();
    draft.write_at(40_000, b"edited").unwrap();
    draft.set_len(90_000).unwrap();
    draft.sync().unwrap();
    let record = record(&draft, Some(base), true);
    rig.db().write_durable(|tx| rig.store().record_draft(tx, &record)).unwrap();
    assert_eq!(rig.row(base).refs, 2, "the record keeps the base");
    drop(draft);

    rig.restart();
    let records = rig.records();
    assert_eq!(records, [record]);
    let base_reader = Some(rig.reader(base));
    let mut draft = Draft::reopen(rig.store().drafts(), &records[0], base_reader).unwrap();
    let mut expected = base_bytes[..90_000].to_vec();
    expected[40_000..40_006].copy_from_slice(b"edited");
    draft.materialize().unwrap();
    let number = rig.publish(&draft);
    rig.db().write(|tx| rig.store().forget_draft(tx, records[0].number)).unwrap();
    assert_eq!(rig.read(number), expected);
    assert_eq!(rig.row(base).refs, 1);
    assert_eq!(rig.records(), []);
}

#[test]
fn recording_again_replaces_the_record_and_counts_its_base_once() {
    let rig = Rig::new();
    let base = rig.sealed(&bytes(1, 50_000));
    let mut draft = Draft::over(rig.store().drafts(), &rig.reader(base)).unwrap();
    for size in [40_000, 30_000] {
        draft.set_len(size).unwrap();
        let record = record(&draft, Some(base), true);
        rig.db().write(|tx| rig.store().record_draft(tx, &record)).unwrap();
    }
    assert_eq!(rig.row(base).refs, 2);
    let records = rig.records();
    assert_eq!((records.len(), records[0].size_bytes), (1, 30_000));
    if draft.is_overlay() {
        assert_eq!(records[0].layout, DraftLayout::Overlay { base_end: 30_000, own: Vec::new() });
    }
    let report = rig.store().recount("SELECT 1 AS blob").unwrap();
    assert_eq!(report.miscounts, [], "the record's reference is counted");
}

#[test]
fn an_overlay_without_its_base_is_refused() {
    let rig = Rig::new();
    let base = rig.sealed(&bytes(1, 50_000));
    let draft = Draft::over(rig.store().drafts(), &rig.reader(base)).unwrap();
    if draft.is_overlay() {
        let record = record(&draft, Some(base), true);
        let reopened = Draft::reopen(rig.store().drafts(), &record, None);
        assert!(matches!(reopened, Err(BlobError::NotFound(number)) if number == base));
    }
}

#[test]
fn a_withdrawn_version_hands_back_its_draft_and_keeps_its_base() {
    let rig = Rig::new();
    let number = rig.published(&bytes(1, 20_000));
    let draft = rig.row(number).draft;
    assert_eq!(rig.db().write(|tx| rig.store().withdraw(tx, number)).unwrap(), draft);
    assert_eq!(rig.find(number), None);
    let path = rig.store().move_to_recovered(draft.unwrap(), "letter".as_ref()).unwrap();
    assert_eq!(fs::read(path).unwrap(), bytes(1, 20_000));
    let sealed = rig.sealed(&bytes(2, 20_000));
    assert_eq!(rig.db().write(|tx| rig.store().withdraw(tx, sealed)).unwrap(), None);
    assert!(rig.find(sealed).is_some(), "gc's grace is for files");
}
