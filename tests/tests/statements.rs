//! No statement of any crate reads a whole table without a reason.

#[path = "../../pathtree/tests/database/plans.rs"]
mod plans;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tesfs_blobs::{BlobError, GcRequest, Store, VerifyDepth};
use tesfs_pathtree::{Clock, Db, DbSettings, DeviceId};

/// The statements of pathtree have a list of their own beside their test.
const ALLOWED: &[plans::Allowed] = &[
    ("SELECT count(*), coalesce(sum(size_bytes), 0) FROM blobs", "`verify` shows its progress"),
    ("SELECT state, refs = 0, count(*), sum(size_bytes)", "the counts of `status`"),
    ("FROM blobs WHERE settled = 0", "the index holds what is not settled, little and not long"),
    ("FROM blobs WHERE state = 4", "the index holds what is damaged, normally nothing"),
    ("FROM blobs WHERE draft IS NOT NULL", "the index holds drafts, until they are sealed"),
    ("FROM blobs WHERE data IS NULL AND hash IS NOT NULL", "asks for one row, any"),
    ("FROM drafts ORDER BY number", "recovery reads them all, and a normal end leaves none"),
    ("FROM blobs LEFT JOIN found", "`gc --recount` compares every row"),
    ("SELECT DISTINCT blob FROM (", "as above"),
    ("FROM blobs WHERE number > ?1 ORDER BY number LIMIT", "one page of `verify`, in order"),
];

#[test]
fn no_statement_reads_a_whole_table_without_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let schemas = [tesfs_pathtree::SCHEMA, tesfs_blobs::SCHEMA];
    let path = dir.path().join("node.db");
    let db =
        Db::open(&path, &schemas, &DbSettings::SMALL, Clock::manual(0), DeviceId([0; 32])).unwrap();
    let db = Arc::new(db);
    plans::watch(&db);
    let store = Store::open(Arc::clone(&db), dir.path()).unwrap();
    run_composed_statements(&db, &store).unwrap();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = ["blobs/src", "fs/src", "cli/src"].map(|folder| root.join(folder));
    let problems = plans::problems(&db, &sources.each_ref().map(PathBuf::as_path), ALLOWED);
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Only what is put together from several literals has to run; see `plans`.
fn run_composed_statements(db: &Db, store: &Store) -> Result<(), BlobError> {
    let blob = db.write(|tx| store.insert_inline(tx, b"some bytes"))?;
    assert!(db.read(|conn| store.row(conn, blob))?.is_some());
    store.gc(&GcRequest { grace: Duration::ZERO, dry_run: true })?;
    store.recount("SELECT blob FROM past")?;
    store.verify(VerifyDepth::Full, &|_| {}, &AtomicBool::new(false))?;
    Ok(())
}
