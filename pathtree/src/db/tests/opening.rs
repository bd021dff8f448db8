//! Opening: a new file, an old one, and everything that is refused.

use std::{fs, path::PathBuf};

use rusqlite::{Connection, params};

use super::*;

/// The version of this crate's tables.
fn newest() -> u32 {
    crate::SCHEMA.migrations.last().unwrap().version
}

#[test]
fn a_new_database_has_the_pragmas_it_needs() {
    let scratch = Scratch::new();
    scratch
        .db
        .write(|tx| {
            assert_eq!(number(tx, "PRAGMA page_size")?, 4096);
            assert_eq!(number(tx, "PRAGMA auto_vacuum")?, 2, "incremental");
            assert_eq!(number(tx, "PRAGMA synchronous")?, 1, "normal");
            assert_eq!(number(tx, "PRAGMA foreign_keys")?, 1);
            assert_eq!(number(tx, "PRAGMA wal_autocheckpoint")?, 1000);
            let journal: String =
                tx.query_row("PRAGMA journal_mode", [], |row| row.get(0)).doing("asking")?;
            assert_eq!(journal, "wal");
            Ok::<_, DbError>(())
        })
        .unwrap();
    let version = scratch.number("SELECT version FROM schema_versions WHERE owner = 'pathtree'");
    assert_eq!(version, i64::from(newest()));
}

#[test]
fn a_second_opening_changes_no_table() {
    let scratch = Scratch::new();
    let schema = |scratch: &Scratch| {
        scratch.number("SELECT count(*) FROM sqlite_schema") * 1000
            + scratch.number("PRAGMA schema_version")
    };
    let before = schema(&scratch);
    let scratch = scratch.reopen_at(NOW_NS);
    assert_eq!(schema(&scratch), before);
    assert_eq!(scratch.number("SELECT count(*) FROM schema_versions"), 1);
}

#[test]
fn a_missing_step_is_applied_and_a_failing_one_leaves_the_old_tables() {
    const STEP: Migration = Migration { version: 1, name: "one", sql: "CREATE TABLE one (a)" };
    const GOOD: Migration = Migration { version: 2, name: "two", sql: "CREATE TABLE two (b)" };
    const BAD: Migration = Migration {
        version: 3,
        name: "three",
        sql: "CREATE TABLE three (c); CREATE TABLE one (d)",
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let open = |migrations| {
        let schemas = [crate::SCHEMA, Schema { owner: "other", migrations }];
        Db::open(&path, &schemas, &settings(), Clock::manual(NOW_NS), DEVICE)
    };
    drop(open(&[STEP]).unwrap());
    let failed = open(&[STEP, GOOD, BAD]).err().expect("a table is there twice");
    assert!(matches!(failed, OpenError::Database { .. }), "{failed:?}");
    assert!(format!("{}", super::super::Chain(&failed)).contains("already exists"), "{failed:?}");
    let db = open(&[STEP]).unwrap();
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('two', 'three')";
    assert_eq!(db.read(|conn| number(conn, tables)).unwrap(), 0, "all or nothing");
    drop(db);
    let db = open(&[STEP, GOOD]).unwrap();
    assert_eq!(db.read(|conn| number(conn, tables)).unwrap(), 1);
}

/// Every file of a folder with its bytes.
fn contents(dir: &tempfile::TempDir) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn raw(path: &Path) -> Connection {
    #[expect(clippy::disallowed_methods, reason = "the test plays another program")]
    Connection::open(path).unwrap()
}

#[test]
fn a_database_of_a_newer_release_is_refused_untouched() {
    let Scratch { dir, db } = Scratch::new();
    drop(db);
    let path = dir.path().join("node.db");
    raw(&path).execute("UPDATE schema_versions SET version = 9", []).unwrap();
    let before = contents(&dir);
    let refused = open(&path).err().expect("version 9 is not known");
    let OpenError::FromTheFuture { found: 9, known, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(known, newest());
    assert!(refused.to_string().contains("newer tesfs"), "{refused}");
    assert!(contents(&dir) == before, "not a byte and not a file more");
}

#[test]
fn a_newer_release_that_died_with_a_log_keeps_both_files() {
    let Scratch { dir, db } = Scratch::new();
    drop(db);
    let path = dir.path().join("node.db");
    let newer = raw(&path);
    newer.execute("UPDATE schema_versions SET version = 9", []).unwrap();
    // The log of a process that was killed: copied while it is open.
    let other = tempfile::tempdir().unwrap();
    for name in ["node.db", "node.db-wal"] {
        fs::copy(dir.path().join(name), other.path().join(name)).unwrap();
    }
    let path = other.path().join("node.db");
    let bytes = |name: &str| fs::read(other.path().join(name)).unwrap();
    let before = (bytes("node.db"), bytes("node.db-wal"));
    assert!(!before.1.is_empty());
    assert!(matches!(open(&path), Err(OpenError::FromTheFuture { found: 9, .. })));
    assert!((bytes("node.db"), bytes("node.db-wal")) == before);
}

#[test]
fn tables_of_a_crate_that_this_build_does_not_have_are_refused() {
    let Scratch { dir, db } = Scratch::new();
    drop(db);
    let path = dir.path().join("node.db");
    raw(&path).execute("INSERT INTO schema_versions VALUES ('ledger', 1)", []).unwrap();
    let refused = open(&path).err().expect("nobody knows the ledger");
    let OpenError::FromTheFuture { owner, found: 1, known: 0, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(owner, "ledger");
}

#[test]
fn a_file_that_is_no_database_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    for text in [b"short".to_vec(), b"this is a letter to my aunt ".repeat(1000)] {
        fs::write(&path, &text).unwrap();
        let before = contents(&dir);
        assert!(matches!(open(&path), Err(OpenError::NotADatabase { .. })), "{} bytes", text.len());
        assert!(contents(&dir) == before);
    }
}

#[test]
fn another_programs_database_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    raw(&path)
        .execute_batch("CREATE TABLE bookmarks (url); INSERT INTO bookmarks VALUES (1)")
        .unwrap();
    let before = contents(&dir);
    assert!(matches!(open(&path), Err(OpenError::NotADatabase { .. })));
    assert!(contents(&dir) == before);
}

#[test]
fn a_database_that_was_cut_short_is_refused_untouched() {
    let Scratch { dir, db } = Scratch::new();
    drop(db);
    let path = dir.path().join("node.db");
    let whole = fs::read(&path).unwrap();
    for len in [whole.len() / 2 / 4096 * 4096, whole.len() - 4096, whole.len() - 1, 4096 + 17] {
        fs::write(&path, &whole[..len]).unwrap();
        let before = contents(&dir);
        let refused = open(&path).err().expect("half of it is gone");
        assert!(matches!(refused, OpenError::Damaged { .. }), "{len}: {refused:?}");
        assert!(contents(&dir) == before, "{len}");
    }
}

#[test]
fn an_empty_file_beside_a_log_is_damage_and_alone_it_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    fs::write(&path, b"").unwrap();
    fs::write(dir.path().join("node.db-wal"), b"the log of a database that was emptied").unwrap();
    let before = contents(&dir);
    assert!(matches!(open(&path), Err(OpenError::Damaged { .. })));
    assert!(contents(&dir) == before);
    fs::remove_file(dir.path().join("node.db-wal")).unwrap();
    open(&path).unwrap();
}

#[test]
fn a_path_of_any_bytes_can_be_opened_again() {
    use std::os::unix::ffi::OsStrExt as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(std::ffi::OsStr::from_bytes(b"a b?c#d%20\xff&mode=ro.db"));
    for _ in 0..2 {
        drop(open(&path).unwrap());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_page_of_garbage_is_called_damage_when_it_is_read() {
    let Scratch { dir, db } = Scratch::new();
    drop(db);
    let path = dir.path().join("node.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..4096].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let refused = open(&path).err().expect("the schema can not be read");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
}

#[test]
fn each_run_that_changes_something_is_an_actor_of_its_own() {
    let mut scratch = Scratch::new();
    for run in 1..=3 {
        let actor = scratch.db.actor();
        let stamp = scratch.db.write(|tx| Ok::<_, DbError>(tx.next_stamp())).unwrap();
        assert_eq!(stamp.actor, actor);
        assert_eq!(scratch.number("SELECT count(*) FROM actors"), run);
        scratch = scratch.reopen_at(NOW_NS);
    }
    scratch = scratch.reopen_at(NOW_NS);
    assert_eq!(scratch.number("SELECT count(DISTINCT actor) FROM actors"), 3);
    let same = "SELECT count(*) FROM actors WHERE device = zeroblob(32)";
    assert_eq!(scratch.number(same), 0);
    let device = scratch.db.read(|conn| {
        conn.query_row("SELECT count(*) FROM actors WHERE device = ?1", params![DEVICE.0], |row| {
            row.get::<_, i64>(0)
        })
        .doing("counting")
    });
    assert_eq!(device.unwrap(), 3);
}
