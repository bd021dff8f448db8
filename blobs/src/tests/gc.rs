//! Garbage and its grace, and counting anew.

use super::*;
use crate::{BlobState, GRACE, GarbageKind, GcReport, GcRequest, Miscount};

impl Rig {
    fn gc(&self, dry_run: bool) -> GcReport {
        self.store().gc(&GcRequest { grace: GRACE, dry_run }).unwrap()
    }
}

const PAST_GRACE: Duration = Duration::from_secs(8 * 24 * 3600);

#[test]
fn a_file_goes_when_its_grace_is_over_and_not_before() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let number = rig.sealed(&bytes);
    rig.clock.advance(PAST_GRACE);
    assert_eq!(rig.gc(false), GcReport::default(), "something names it");
    rig.drop_reference(number);
    assert_eq!(rig.gc(false), GcReport::default(), "its grace just began");
    assert_eq!(rig.read(number), bytes);

    rig.clock.advance(PAST_GRACE);
    let dry = rig.gc(true);
    assert_eq!((dry.pieces, dry.size_bytes), (1, 50_000));
    assert_eq!(dry.garbage[0].name, rig.blob_path(&bytes).display().to_string());
    assert_eq!(rig.read(number), bytes, "a dry run deletes nothing");

    assert_eq!(rig.gc(false), dry);
    assert_eq!(rig.find(number), None);
    assert!(!rig.blob_path(&bytes).exists() && !rig.outboard_path(&bytes).exists());
    assert_eq!(rig.gc(false), GcReport::default());
}

#[test]
fn a_reference_within_the_grace_saves_the_blob() {
    let rig = Rig::new();
    let number = rig.sealed(&bytes(1, 50_000));
    rig.drop_reference(number);
    rig.db().write(|tx| rig.store().add_reference(tx, number)).unwrap();
    rig.clock.advance(PAST_GRACE);
    assert_eq!(rig.gc(false), GcReport::default());
    assert_eq!(rig.row(number).unreferenced_ns, None);
}

#[test]
fn a_shared_file_stays_while_any_row_names_it() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let [first, second] = [rig.sealed(&bytes), rig.sealed(&bytes)];
    rig.drop_reference(first);
    rig.clock.advance(PAST_GRACE);
    for dry_run in [true, false] {
        let report = rig.gc(dry_run);
        assert_eq!((report.pieces, report.size_bytes), (1, 0), "a row, and no file");
    }
    assert_eq!(rig.read(second), bytes);
    let third = rig.sealed(&bytes);
    rig.drop_reference(second);
    rig.drop_reference(third);
    rig.clock.advance(PAST_GRACE);
    for dry_run in [true, false] {
        let report = rig.gc(dry_run);
        assert_eq!((report.pieces, report.size_bytes), (2, 50_000), "the file counts once");
    }
    assert!(!rig.blob_path(&bytes).exists());
}

#[test]
fn readers_keep_their_bytes_through_gc() {
    let rig = Rig::new();
    let bytes = bytes(1, 50_000);
    let number = rig.sealed(&bytes);
    let reader = rig.reader(number);
    rig.drop_reference(number);
    rig.clock.advance(PAST_GRACE);
    rig.gc(false);
    let mut read = vec![0; 50_000];
    reader.read_at(0, &mut read).unwrap();
    assert_eq!(read, bytes);
}

#[test]
fn files_that_no_row_names_go_after_the_grace() {
    let rig = Rig::new();
    rig.sealed(&bytes(1, 50_000));
    let orphan = rig.blob_path(b"nobody");
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, b"nobody").unwrap();
    fs::write(rig.data_dir().join("blobs/9.unfinished"), b"half").unwrap();
    assert_eq!(rig.gc(false).pieces, 0);
    rig.clock.advance(PAST_GRACE);
    let report = rig.gc(false);
    assert_eq!((report.pieces, report.size_bytes), (2, 10));
    assert!(report.garbage.iter().all(|piece| piece.kind == GarbageKind::Orphan));
    assert!(!orphan.exists());
    assert_eq!(rig.problems(VerifyDepth::Full), []);
}

#[test]
fn an_index_that_knows_no_file_makes_none_garbage() {
    let rig = Rig::new();
    let orphan = rig.blob_path(b"nobody");
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, b"nobody").unwrap();
    rig.clock.advance(PAST_GRACE);
    assert_eq!(rig.gc(false).pieces, 0);
    assert!(orphan.exists());
}

#[test]
fn recovered_files_are_kept_for_seven_days() {
    let rig = Rig::new();
    fs::write(rig.data_dir().join("recovered/letter"), b"dear").unwrap();
    assert_eq!(rig.gc(false).pieces, 0);
    rig.clock.advance(PAST_GRACE);
    assert_eq!(rig.gc(false).garbage[0].kind, GarbageKind::Recovered);
    assert!(rig.files("recovered").is_empty());
}

#[test]
fn gc_of_thousands_takes_several_transactions_and_takes_all() {
    let rig = Rig::new();
    let numbers: Vec<_> = rig
        .db()
        .write(|tx| {
            (0..2500).map(|_| rig.store().insert_inline(tx, b"x")).collect::<Result<_, _>>()
        })
        .unwrap();
    let numbers: Vec<BlobNumber> = numbers;
    rig.store().recount("SELECT 1 AS blob WHERE 0").unwrap();
    rig.clock.advance(PAST_GRACE);
    assert_eq!(rig.gc(true).pieces, 2500);
    assert_eq!(rig.gc(false).pieces, 2500);
    assert!(numbers.iter().all(|&number| rig.find(number).is_none()));
}

#[test]
fn recount_mends_what_differs_and_names_what_dangles() {
    let rig = Rig::new();
    let right = rig.sealed(&bytes(1, 20_000));
    let low = rig.sealed(&bytes(2, 20_000));
    let unnamed = rig.sealed(&bytes(3, 20_000));
    rig.db()
        .write(|tx| {
            tx.execute_batch(&format!(
                "CREATE TABLE names (blob INTEGER);
                 INSERT INTO names VALUES ({right}), ({low}), ({low}), (777)"
            ))
            .map_err(|source| tesfs_pathtree::DbError { doing: "naming", source })
        })
        .unwrap();
    let report = rig.store().recount("SELECT blob FROM names").unwrap();
    assert_eq!(
        report.miscounts,
        [
            Miscount { number: low, counted: 1, found: 2 },
            Miscount { number: unnamed, counted: 1, found: 0 },
        ]
    );
    assert_eq!(report.dangling, [BlobNumber(777)]);
    assert_eq!([right, low, unnamed].map(|number| rig.row(number).refs), [1, 2, 0]);
    assert_eq!(rig.row(unnamed).unreferenced_ns, Some(rig.clock.now_ns()));
    assert_eq!(rig.row(unnamed).state, BlobState::Local);
    let again = rig.store().recount("SELECT blob FROM names").unwrap();
    assert_eq!(again.miscounts, []);
}

#[test]
fn a_dry_run_writes_nothing_and_leaves_out_what_only_a_wrong_count_makes_garbage() {
    let mut rig = Rig::new();
    let (shared, damaged) = (bytes(1, 50_000), bytes(2, 50_000));
    let [named, also] = [rig.sealed(&shared), rig.sealed(&shared)];
    let broken = rig.sealed(&damaged);
    rig.restart();
    damage(&rig.blob_path(&damaged), |bytes| bytes[7] ^= 1);
    rig.try_read(broken).unwrap_err();
    rig.drop_reference(named);
    rig.drop_reference(also);
    rig.clock.advance(PAST_GRACE);
    let references = format!("SELECT {named} AS blob UNION ALL SELECT {broken}");
    let rows = || [named, also, broken].map(|number| rig.row(number));
    let before = rows();

    let recount = rig.store().count(&references).unwrap();
    assert_eq!(recount.miscounts, [Miscount { number: named, counted: 0, found: 1 }]);
    let request = GcRequest { grace: GRACE, dry_run: true };
    let dry = rig.store().gc_after(&request, &recount.miscounts).unwrap();
    assert_eq!(rows(), before);
    assert_eq!((dry.pieces, dry.size_bytes), (1, 0), "a row, and no file");

    assert_eq!(rig.store().recount(&references).unwrap(), recount);
    assert_eq!(rig.gc(false), dry);
    assert_eq!(rig.read(named), shared);
}

#[test]
fn a_ledger_says_what_the_last_reference_frees_and_drops_nothing() {
    let rig = Rig::new();
    let (large, small) = (bytes(1, 50_000), bytes(2, 100));
    let [first, second] = [rig.sealed(&large), rig.sealed(&large)];
    let inline = rig.db().write(|tx| rig.store().insert_inline(tx, &small)).unwrap();
    rig.db().write(|tx| rig.store().add_reference(tx, first)).unwrap();
    let mut ledger = crate::Ledger::default();
    let mut freed = Vec::new();
    for number in [first, inline, second, first, first] {
        freed.push(rig.db().read(|conn| ledger.drop_reference(conn, number)).unwrap());
    }
    assert_eq!(freed, [0, 100, 0, 50_000, 0]);
    assert_eq!(rig.row(first).refs, 2);
    // Asked before each, it agrees with what is dropped.
    let mut left = 0;
    for number in [second, first, first] {
        let dropped = rig.db().write(|tx| {
            let freed = crate::Ledger::default().drop_reference(tx, number)?;
            rig.store().drop_reference(tx, number)?;
            Ok::<_, BlobError>(freed)
        });
        left += dropped.unwrap();
    }
    assert_eq!(left, 50_000);
}
