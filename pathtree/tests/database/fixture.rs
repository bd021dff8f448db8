//! Databases of every released version still open, with everything that was in them.
//!
//! `cargo test -p tesfs-pathtree --test database make_the_fixture -- --ignored` writes the one of
//! the newest version; a released one is never written again.

use std::{fs, path::PathBuf};

use tesfs_pathtree::{
    Db, DbError, Doing as _, SCHEMA, bucket,
    settings::{self, SettingsError, Wish},
};

use crate::tree;

/// The version that each step leads to, oldest first.
fn versions() -> impl Iterator<Item = u32> {
    SCHEMA.migrations.iter().map(|step| step.version)
}

/// What the bucket of a fixture was told last, from this version on.
const SETTING: &str = "transient=*.bak";
const SETTINGS_SINCE: u32 = 2;

fn fixture(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{version}.db"))
}

/// Opens a copy.
fn open_copy(version: u32) -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    fs::copy(fixture(version), &path).unwrap();
    let db = tree::open(&path).unwrap();
    (dir, db)
}

fn schema(db: &Db) -> Vec<(String, Option<String>)> {
    db.read(|conn| {
        conn.prepare_cached("SELECT name, sql FROM sqlite_schema ORDER BY type, name")
            .and_then(|mut stmt| {
                stmt.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
            })
            .doing("reading the schema")
            .map_err(|err: DbError| err)
    })
    .unwrap()
}

#[test]
fn a_database_of_every_version_opens_with_all_that_was_in_it() {
    for version in versions() {
        let (_dir, db) = open_copy(version);
        let bucket = db.read(|conn| bucket::find(conn, "photos")).unwrap().unwrap();
        tree::ask(&db, &bucket);
        if version >= 2 {
            tree::ask_branches(&db, &bucket);
        }
        tree::maintain(&db, &bucket);
        let told = db.write(|tx| {
            let told = settings::set(tx, bucket.number, &[Wish::parse(SETTING)?])?;
            Ok::<_, SettingsError>(told.len())
        });
        assert_eq!(told.unwrap() == 0, version >= SETTINGS_SINCE, "it was told already");
    }
}

#[test]
fn an_old_database_becomes_what_a_new_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let new = tree::open(&dir.path().join("node.db")).unwrap();
    for version in versions() {
        let (_dir, old) = open_copy(version);
        assert_eq!(schema(&old), schema(&new), "released steps are never edited");
    }
}

#[test]
fn every_version_has_its_fixture() {
    assert!(versions().all(|version| fixture(version).exists()));
}

#[test]
#[ignore = "writes tests/fixtures: only for a version that is not released yet"]
fn make_the_fixture() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let db = tree::open(&path).unwrap();
    let bucket = tree::grow(&db);
    tree::branch_out(&db, &bucket);
    for written in ["transient=*.tmp", SETTING] {
        db.write(|tx| settings::set(tx, bucket.number, &[Wish::parse(written)?])).unwrap();
    }
    drop(db);
    fs::copy(&path, fixture(versions().last().unwrap())).unwrap();
}
