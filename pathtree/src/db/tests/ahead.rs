//! Transactions that are left open for the next one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{bucket, bucket::BucketError};

const BUCKETS: &str = "SELECT count(*) FROM buckets";

fn create(tx: &crate::Tx<'_>, name: &str) -> Result<(), BucketError> {
    bucket::create(tx, name, OWNER).map(drop)
}

/// What another process, or the next start after a kill, would find.
fn on_disk(scratch: &Scratch) -> i64 {
    let reader = super::super::open::open_reader(scratch.db.path(), &settings()).unwrap();
    number(&reader, BUCKETS).unwrap()
}

#[test]
fn what_is_left_open_shows_at_once_and_is_committed_with_the_next() {
    let scratch = Scratch::new();
    scratch.db.write_ahead(|tx| create(tx, "one")).unwrap();
    assert_eq!(scratch.db.glance(|conn| number(conn, BUCKETS)).unwrap(), 1);
    assert_eq!(on_disk(&scratch), 0);
    scratch.db.write(|tx| create(tx, "two")).unwrap();
    assert_eq!(on_disk(&scratch), 2);
}

#[test]
fn a_pooled_reader_sees_it_too() {
    let scratch = Scratch::new();
    scratch.db.write_ahead(|tx| create(tx, "one")).unwrap();
    assert_eq!(scratch.number(BUCKETS), 1);
    assert_eq!(on_disk(&scratch), 1);
}

#[test]
fn it_can_be_committed_for_itself() {
    let scratch = Scratch::new();
    scratch.db.write_ahead(|tx| create(tx, "one")).unwrap();
    scratch.db.commit_ahead().unwrap();
    assert_eq!(on_disk(&scratch), 1);
    scratch.db.commit_ahead().unwrap();
}

#[test]
fn a_sync_commits_it() {
    let scratch = Scratch::new();
    scratch.db.write_ahead(|tx| create(tx, "one")).unwrap();
    scratch.db.sync().unwrap();
    assert_eq!(on_disk(&scratch), 1);
}

#[test]
fn a_refusal_or_a_panic_takes_back_no_more_than_its_own_change() {
    let scratch = Scratch::new();
    scratch.db.write_ahead(|tx| create(tx, "one")).unwrap();
    let taken = scratch.db.write(|tx| {
        create(tx, "two")?;
        create(tx, "one")
    });
    assert!(matches!(taken, Err(BucketError::NameTaken { .. })));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        scratch.db.write_ahead(|tx| -> Result<(), BucketError> {
            create(tx, "three")?;
            panic!("a bug in a transaction");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(on_disk(&scratch), 0);
    assert_eq!(scratch.number(BUCKETS), 1);
    assert_eq!(scratch.number("SELECT count(*) FROM actors"), 1);
    assert_eq!(scratch.db.losses(), 0);
}

#[test]
fn numbers_left_open_are_never_given_again() {
    let mut scratch = Scratch::new();
    let mut drawn = Vec::new();
    for round in 0..3 {
        let draw = |tx: &crate::Tx<'_>| -> Result<Vec<_>, DbError> {
            (0..3000).map(|_| tx.next_ino()).collect()
        };
        drawn.extend(scratch.db.write_ahead(draw).unwrap());
        let refused: Result<(), DbError> = scratch.db.write(|tx| {
            drawn.extend(draw(tx)?);
            Err(rusqlite::Error::InvalidQuery).doing("testing")
        });
        assert!(refused.is_err());
        drawn.extend(scratch.db.write_ahead(draw).unwrap());
        if round == 1 {
            scratch.db.write(|_| Ok::<_, DbError>(())).unwrap();
            scratch = scratch.reopen_at(NOW_NS);
        }
    }
    let count = drawn.len();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), count);
}

#[test]
fn closing_commits_it() {
    let scratch = Scratch::new();
    scratch.db.write_ahead(|tx| create(tx, "one")).unwrap();
    let scratch = scratch.reopen_at(NOW_NS);
    assert_eq!(scratch.number(BUCKETS), 1);
}

#[test]
fn who_asks_from_inside_a_transaction_does_not_wait_for_itself() {
    let scratch = Scratch::new();
    scratch.db.write_ahead(|tx| create(tx, "one")).unwrap();
    scratch
        .db
        .write(|tx| {
            create(tx, "two")?;
            assert_eq!(scratch.db.read(|conn| number(conn, BUCKETS))?, 0, "what is committed");
            assert_eq!(scratch.db.glance(|conn| number(conn, BUCKETS))?, 0);
            assert_eq!(number(tx, BUCKETS)?, 2);
            Ok::<_, BucketError>(())
        })
        .unwrap();
    assert_eq!(scratch.number(BUCKETS), 2);
    let nested = catch_unwind(AssertUnwindSafe(|| {
        scratch.db.write(|_| scratch.db.write(|_| Ok::<_, DbError>(())))
    }));
    assert!(nested.is_err(), "a panic, not a wait without an end");
    scratch.db.write(|tx| create(tx, "three")).unwrap();
}

#[test]
fn a_full_disk_takes_it_and_says_so_or_leaves_it() {
    let scratch = Scratch::new();
    scratch.db.write(|tx| create(tx, "zero")).unwrap();
    let limit = |pages: i64| {
        let writer = scratch.db.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        number(&writer.conn, &format!("PRAGMA max_page_count = {pages}")).unwrap()
    };
    limit(scratch.number("PRAGMA page_count") + 2);
    scratch.db.write_ahead(|tx| create(tx, "one")).unwrap();
    let mut kept = 1;
    let full = loop {
        match scratch.db.write_ahead(|tx| create(tx, &format!("bucket {kept}"))) {
            Ok(()) => kept += 1,
            Err(err) => break err,
        }
        assert!(kept < 10_000);
    };
    let BucketError::Database(err) = full else { panic!("{full:?}") };
    assert!(err.is_full(), "{err:?}");
    let losses = scratch.db.losses();
    let expected = if losses == 0 { 1 + kept } else { 1 };
    assert_eq!(scratch.number(BUCKETS), expected, "{losses} losses");
    limit(1 << 30);
    scratch.db.write(|tx| create(tx, "after")).unwrap();
    assert_eq!(on_disk(&scratch), expected + 1);
    assert_eq!(scratch.db.losses(), losses);
}

#[test]
fn many_threads_leave_open_commit_and_read() {
    let scratch = Scratch::with(&DbSettings { readers_max: 2, ..settings() });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let scratch = &scratch;
            scope.spawn(move || {
                for round in 0..25 {
                    let name = format!("{thread} {round}");
                    scratch.db.write_ahead(|tx| create(tx, &name)).unwrap();
                    let find = |conn: &rusqlite::Connection| bucket::find(conn, &name);
                    assert!(scratch.db.glance(find).unwrap().is_some());
                    match round % 3 {
                        0 => assert!(scratch.db.read(find).unwrap().is_some()),
                        1 => scratch.db.write(|_| Ok::<_, DbError>(())).unwrap(),
                        _ => {}
                    }
                }
            });
        }
    });
    assert_eq!(scratch.number(BUCKETS), 100);
    assert_eq!(scratch.number("SELECT count(DISTINCT hlc) FROM change"), 100);
    assert_eq!(scratch.db.losses(), 0);
}
