//! The write-ahead log has a bound, whoever reads meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A small log, so that little writing fills it.
const WAL_PAGES_MAX: u32 = 64;

fn small() -> DbSettings {
    DbSettings { wal_pages_max: WAL_PAGES_MAX, ..settings() }
}

fn wal_bytes(scratch: &Scratch) -> u64 {
    std::fs::metadata(scratch.dir.path().join("node.db-wal")).map_or(0, |meta| meta.len())
}

/// Dirties about two pages a commit.
fn write(scratch: &Scratch, commits: u32) -> u64 {
    let mut greatest = 0;
    for round in 0..commits {
        let path = format!("/{round}/{}", "x".repeat(2000));
        scratch
            .db
            .write(|tx| {
                tx.execute("INSERT INTO symlinks (target) VALUES (?1)", [path.as_bytes()])
                    .doing("filling the log")
            })
            .unwrap();
        greatest = greatest.max(wal_bytes(scratch));
    }
    greatest
}

/// Where it is cut, and what may come until the next look.
fn bound() -> u64 {
    let page = super::super::PAGE_BYTES + 24;
    page * (u64::from(WAL_PAGES_MAX) * super::super::WAL_FORCED_FACTOR
        + 4 * u64::from(super::super::COMMITS_PER_WAL_CHECK))
}

#[test]
fn the_log_stays_bounded_without_readers() {
    let scratch = Scratch::with(&small());
    let greatest = write(&scratch, 2000);
    assert!(greatest <= bound(), "{greatest} bytes");
}

#[test]
fn the_log_stays_bounded_while_others_read_all_the_time() {
    let scratch = Scratch::with(&small());
    let done = AtomicBool::new(false);
    let greatest = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    scratch.number("SELECT coalesce(sum(length(target)), 0) FROM symlinks");
                }
            });
        }
        let greatest = write(&scratch, 2000);
        done.store(true, Ordering::Relaxed);
        greatest
    });
    assert!(greatest <= bound(), "{greatest} bytes");
}

#[test]
fn a_reader_that_stays_delays_the_cut_but_no_writer_for_long() {
    let scratch = Scratch::with(&small());
    write(&scratch, 10);
    scratch
        .db
        .read(|conn| {
            let mut stmt = conn.prepare_cached("SELECT target FROM symlinks").doing("reading")?;
            let mut rows = stmt.query([]).doing("reading")?;
            rows.next().doing("reading")?;
            let began = std::time::Instant::now();
            write(&scratch, 600);
            let took = began.elapsed();
            assert!(took < Duration::from_secs(4), "writers waited {took:?} for a reader");
            assert!(wal_bytes(&scratch) > bound() / 2, "the reader's view is kept");
            Ok::<_, DbError>(())
        })
        .unwrap();
    write(&scratch, super::super::COMMITS_PER_WAL_CHECK);
    let after = wal_bytes(&scratch);
    assert!(after <= bound(), "{after} bytes after the reader left");
}
