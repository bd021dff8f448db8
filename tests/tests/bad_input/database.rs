//! Databases that are newer, damaged, or none: refused, and not one byte changed.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::bench::Bench;

/// A bench whose database is all in one file.
fn with_database() -> (Bench, PathBuf) {
    let bench = Bench::with_bucket();
    let path = bench.data_dir().join("node.db");
    sql(&path, "PRAGMA wal_checkpoint(TRUNCATE)");
    (bench, path)
}

fn sql(database: &Path, statements: &str) {
    let status = Command::new("sqlite3").arg(database).arg(statements).output().unwrap().status;
    assert!(status.success(), "{statements}");
}

/// Every command refuses the database that `spoil` made, and leaves it as it is.
#[track_caller]
fn refused(spoil: impl FnOnce(&Path), code: i32, message: &str, hint: &str) {
    let (bench, path) = with_database();
    let good = fs::read(&path).unwrap();
    spoil(&path);
    let spoilt = fs::read(&path).ok();
    for args in [&["status"][..], &["mount", "keep"], &["verify"], &["gc"]] {
        let ran = bench.run(args);
        ran.refused(code, message, hint);
        assert!(ran.err.contains(&path.display().to_string()), "no path: {ran:#?}");
        assert!(spoilt == fs::read(&path).ok(), "{args:?} changed the database");
    }
    for name in ["node.db-wal", "node.db-shm"] {
        drop(fs::remove_file(bench.data_dir().join(name)));
    }
    fs::write(&path, good).unwrap();
    bench.nothing_is_lost();
}

#[test]
fn a_database_of_a_newer_tesfs_is_refused_untouched() {
    for owner in ["pathtree", "blobs"] {
        let bump = format!(
            "UPDATE schema_versions SET version = 999 WHERE owner = '{owner}';
             PRAGMA wal_checkpoint(TRUNCATE)"
        );
        refused(|path| sql(path, &bump), 4, "newer", "use the newer tesfs");
    }
}

#[test]
fn a_truncated_database_is_refused_untouched() {
    for keep in [|len: u64| len / 2, |len| len - 4096, |_| 4096, |_| 100] {
        let cut = |path: &Path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(keep(file.metadata().unwrap().len())).unwrap();
        };
        refused(cut, 5, "damaged", "put the file back from a backup");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_untouched() {
    let letter = |path: &Path| fs::write(path, "dear diary, ".repeat(2000)).unwrap();
    refused(letter, 5, "is not a node database", "put the file back from a backup");
}

#[test]
fn an_empty_file_in_the_place_of_the_database_is_refused_untouched() {
    refused(|path| fs::write(path, "").unwrap(), 5, "is empty", "put the file back from a backup");
}

#[test]
fn a_database_that_is_gone_is_not_replaced_by_an_empty_one() {
    refused(
        |path| fs::remove_file(path).unwrap(),
        5,
        "is missing",
        "put the file back from a backup",
    );
}

#[test]
fn a_database_of_another_program_is_refused_untouched() {
    let other = |path: &Path| {
        fs::remove_file(path).unwrap();
        sql(path, "CREATE TABLE letters (text TEXT); INSERT INTO letters VALUES ('dear')");
    };
    refused(other, 5, "is not a node database", "put the file back from a backup");
}

#[test]
fn a_damaged_page_is_found_by_verify_and_said() {
    let (bench, path) = with_database();
    let good = fs::read(&path).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    // Every page after the first ones: whatever is there, it is not sound now.
    let half = good.len() as u64 / 2 / 4096 * 4096;
    file.write_all_at(&vec![0xA5; good.len() - usize::try_from(half).unwrap()], half).unwrap();
    let ran = bench.run(&["verify"]);
    assert_eq!(ran.code, 5, "{ran:#?}");
    assert!(ran.out.contains("the database: ") || ran.err.contains("damaged"), "{ran:#?}");
    for name in ["node.db-wal", "node.db-shm"] {
        drop(fs::remove_file(bench.data_dir().join(name)));
    }
    fs::write(&path, good).unwrap();
    bench.nothing_is_lost();
}
