//! Damaged, foreign and newer data, and what is said about it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::bench::Bench;

/// A bucket with one large file in the store, and the path of its bytes.
fn with_a_blob(bench: &Bench) -> PathBuf {
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    bench.write("src/photo.raw", bytes);
    bench.ok(&["bucket", "create", "b"]);
    bench.ok(&["import", "src", "b:"]);
    blob_files(bench).pop().expect("an import that is done has sealed its files")
}

/// Changes the database behind the node's back; everything is in the one file then.
fn change_database(path: &Path, sql: &str) {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let conn = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    conn.execute_batch(sql).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn blob_files(bench: &Bench) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for shelf in fs::read_dir(bench.data_dir().join("blobs")).unwrap() {
        for entry in fs::read_dir(shelf.unwrap().path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none() {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn a_sound_node_verifies_clean() {
    let bench = Bench::new();
    with_a_blob(&bench);
    assert!(bench.ok(&["verify"]).contains("no damage found"));
    assert!(bench.ok(&["verify", "--full"]).contains("no damage found"));
    assert!(bench.ok(&["verify", "--full", "b:photo.raw"]).contains("no damage found"));
}

#[test]
fn a_flipped_bit_is_found_and_named_and_the_bytes_are_kept() {
    let bench = Bench::new();
    let blob = with_a_blob(&bench);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[100_000] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, &bytes).unwrap();
    let ran = bench.run(&["verify", "--full"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.out.contains("b:photo.raw: its bytes are damaged"), "{}", ran.out);
    let kept = fs::read_dir(bench.data_dir().join("quarantine")).unwrap().count();
    assert!(kept > 0, "a damaged blob is kept");
    let ran = bench.run(&["export", "b:", "back"]);
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(!bench.home().join("back/photo.raw").exists(), "wrong bytes were handed out");
}

#[test]
fn a_missing_blob_is_found_by_a_plain_verify() {
    let bench = Bench::new();
    fs::remove_file(with_a_blob(&bench)).unwrap();
    let ran = bench.run(&["verify"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.out.contains("b:photo.raw: its bytes are gone"), "{}", ran.out);
    assert_eq!(bench.run(&["verify", "b:photo.raw"]).code, 5);
}

#[test]
fn a_database_from_a_newer_tesfs_is_refused_untouched() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "b"]);
    let path = bench.data_dir().join("node.db");
    change_database(&path, "UPDATE schema_versions SET version = 999 WHERE owner = 'pathtree'");
    let before = fs::read(&path).unwrap();
    insta::assert_snapshot!(bench.refused(4, &["status"]));
    assert!(before == fs::read(&path).unwrap(), "the database was changed");
}

#[test]
fn a_truncated_database_is_said_to_be_damaged_and_left_alone() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "b"]);
    let path = bench.data_dir().join("node.db");
    change_database(&path, "");
    let half = fs::metadata(&path).unwrap().len() / 2;
    fs::File::options().write(true).open(&path).unwrap().set_len(half).unwrap();
    let said = bench.refused(5, &["status"]);
    assert!(said.contains("hint: nothing was changed"), "{said}");
    assert_eq!(fs::metadata(&path).unwrap().len(), half);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "b"]);
    let path = bench.data_dir().join("node.db");
    change_database(&path, "");
    fs::write(&path, "dear diary, ".repeat(1000)).unwrap();
    insta::assert_snapshot!(bench.refused(5, &["status"]));
    assert!(fs::read_to_string(&path).unwrap().starts_with("dear diary"));
}

#[test]
fn gc_says_what_it_would_do_and_does_nothing_to_what_is_in_use() {
    let bench = Bench::new();
    let blob = with_a_blob(&bench);
    insta::assert_snapshot!(bench.ok(&["gc", "--dry-run"]));
    bench.ok(&["gc"]);
    assert!(blob.exists());
    bench.ok(&["verify", "--full"]);
}

#[test]
fn a_dry_run_of_gc_says_what_is_wrong_and_writes_nothing() {
    let bench = Bench::new();
    let blob = with_a_blob(&bench);
    let database = bench.data_dir().join("node.db");
    // Without a name for longer than any grace, says a wrong count.
    change_database(&database, "UPDATE blobs SET refs = 0, unreferenced_ns = 1");
    let counts = || {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let conn = rusqlite::Connection::open_with_flags(&database, flags).unwrap();
        conn.query_row("SELECT group_concat(refs) FROM blobs", [], |row| row.get(0)).unwrap()
    };
    let before: String = counts();
    let ran = bench.ok(&["gc", "--dry-run"]);
    assert!(ran.contains("1 count of reference would be corrected"), "{ran}");
    assert!(ran.contains("nothing to collect"), "{ran}");
    assert_eq!(counts(), before);
    assert!(bench.ok(&["gc"]).contains("1 count of reference corrected"));
    assert_ne!(counts(), before);
    assert!(blob.exists());
}
