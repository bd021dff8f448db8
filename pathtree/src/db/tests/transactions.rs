//! Transactions: all or nothing, and what must not come back even then.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
};

use super::*;
use crate::{bucket, bucket::BucketError, id::Ino};

#[test]
fn an_error_takes_everything_back() {
    let scratch = Scratch::new();
    let failed = scratch.db.write(|tx| {
        bucket::create(tx, "photos", OWNER)?;
        bucket::create(tx, "photos", OWNER).map(drop)
    });
    assert!(matches!(failed, Err(BucketError::NameTaken { .. })));
    for table in ["buckets", "branches", "inodes", "change", "actors"] {
        assert_eq!(scratch.number(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    scratch.db.write(|tx| bucket::create(tx, "photos", OWNER)).unwrap();
    assert_eq!(scratch.number("SELECT count(*) FROM actors"), 1);
}

/// Draws `count` inode numbers and then ends the transaction as `end` says.
fn draw(db: &Db, count: usize, end: impl FnOnce() -> Result<(), DbError>) -> Vec<Ino> {
    let mut drawn = Vec::new();
    let ended: Result<(), DbError> = db.write(|tx| {
        for _ in 0..count {
            drawn.push(tx.next_ino()?);
        }
        end()
    });
    drop(ended);
    drawn
}

fn refused() -> Result<(), DbError> {
    Err(rusqlite::Error::InvalidQuery).doing("testing")
}

#[test]
fn no_inode_number_is_given_twice() {
    let mut scratch = Scratch::new();
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend(draw(&scratch.db, 10, || Ok(())));
        all.extend(draw(&scratch.db, 10, refused));
        all.extend(draw(&scratch.db, 5000, refused));
        all.extend(draw(&scratch.db, 1, || Ok(())));
        let mut lost = Vec::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            scratch.db.write(|tx| -> Result<(), DbError> {
                for _ in 0..5000 {
                    lost.push(tx.next_ino()?);
                }
                panic!("a bug in a transaction");
            })
        }));
        assert!(panicked.is_err());
        all.extend(lost);
        all.extend(draw(&scratch.db, 5000, || Ok(())));
        scratch = scratch.reopen_at(NOW_NS);
    }
    let count = all.len();
    assert!(all.iter().all(|ino| ino.0 > 1), "1 is the kernel's number of a root");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn stamps_grow_over_a_reopening_even_when_the_wall_goes_back() {
    let scratch = Scratch::new();
    let stamp = |scratch: &Scratch| {
        scratch.db.write(|tx| {
            let bucket = bucket::create(tx, &format!("at {}", tx.next_stamp()), OWNER)?;
            crate::tree::inode(tx, &crate::tree::View::main(&bucket), bucket.root)
                .map(|root| root.expect("a bucket has a root").id.0)
                .map_err(BucketError::from)
        })
    };
    let first = stamp(&scratch).unwrap();
    let scratch = scratch.reopen_at(NOW_NS - 1_000_000_000_000);
    let second = stamp(&scratch).unwrap();
    assert!(first.hlc < second.hlc && first.actor != second.actor);
}

#[test]
fn stamps_grow_over_every_stamp_that_any_table_keeps() {
    use crate::{
        Hlc,
        tree::{NewOperation, View, store_operation},
    };

    let scratch = Scratch::new();
    let bucket = scratch.db.write(|tx| bucket::create(tx, "photos", OWNER)).unwrap();
    let operation = scratch
        .db
        .write(|tx| {
            let new = NewOperation { who: "a test", what: "nothing" };
            store_operation(tx, &View::main(&bucket), tx.next_stamp(), &new)
        })
        .unwrap();
    let scratch = scratch.reopen_at(NOW_NS - 1_000_000_000_000);
    let next = scratch.db.write(|tx| Ok::<_, DbError>(tx.next_stamp())).unwrap();
    assert!(next.hlc.0 > operation.0.cast_unsigned(), "an operation's id is never given again");
    let read = Hlc(next.hlc.0 + 1000);
    scratch.db.write(|tx| super::super::outbox::advance(tx, bucket.main, "sync", read)).unwrap();
    let scratch = scratch.reopen_at(NOW_NS - 1_000_000_000_000);
    let next = scratch.db.write(|tx| Ok::<_, DbError>(tx.next_stamp())).unwrap();
    assert!(next.hlc > read, "nothing is stamped below a cursor");
}

#[test]
fn a_panic_rolls_back_at_once_and_the_database_goes_on() {
    let scratch = Scratch::new();
    for durable in [false, true] {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let body = |tx: &super::super::Tx<'_>| -> Result<(), BucketError> {
                bucket::create(tx, "photos", OWNER)?;
                panic!("a bug in a transaction");
            };
            if durable { scratch.db.write_durable(body) } else { scratch.db.write(body) }
        }));
        assert!(panicked.is_err());
        let writer = scratch.db.writer.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(writer.conn.is_autocommit(), "no transaction stays open");
        assert_eq!(number(&writer.conn, "PRAGMA synchronous").unwrap(), 1);
        drop(writer);
        assert_eq!(scratch.number("SELECT count(*) FROM buckets"), 0);
    }
    scratch.db.write_durable(|tx| bucket::create(tx, "photos", OWNER)).unwrap();
    scratch.db.write(|tx| bucket::create(tx, "music", OWNER)).unwrap();
    assert_eq!(scratch.number("SELECT count(*) FROM buckets"), 2);
}

#[test]
fn a_panicking_reader_gives_its_connection_back() {
    let one_reader = DbSettings { readers_max: 1, ..settings() };
    let scratch = Scratch::with(&one_reader);
    for _ in 0..3 {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            scratch.db.read(|_| -> Result<(), DbError> { panic!("a bug in a query") })
        }));
        assert!(panicked.is_err());
    }
    assert_eq!(scratch.number("SELECT count(*) FROM buckets"), 0);
}

#[test]
fn a_durable_commit_waits_for_the_disk_even_when_it_changes_nothing() {
    let scratch = Scratch::new();
    let syncs = "SELECT syncs FROM node";
    let synchronous = |tx: &super::super::Tx<'_>| number(tx, "PRAGMA synchronous");
    assert_eq!(scratch.db.write(synchronous).unwrap(), 1);
    assert_eq!(scratch.db.write_durable(synchronous).unwrap(), 2);
    assert_eq!(scratch.db.write(synchronous).unwrap(), 1);
    let before = scratch.number(syncs);
    scratch.db.write_durable(|_| Ok::<_, DbError>(())).unwrap();
    assert_eq!(scratch.number(syncs), before + 1, "only a commit that writes is synced");
    scratch.db.sync().unwrap();
    assert_eq!(scratch.number(syncs), before + 2);
    assert!(scratch.db.write_durable(|_| refused()).is_err());
    assert_eq!(scratch.db.write(synchronous).unwrap(), 1, "also after an error");
}

#[test]
fn a_database_on_a_bad_disk_always_waits() {
    let scratch = Scratch::with(&DbSettings { synchronous: Synchronous::Full, ..settings() });
    for _ in 0..2 {
        scratch
            .db
            .write_durable(|tx| {
                assert_eq!(number(tx, "PRAGMA synchronous")?, 2);
                Ok::<_, DbError>(())
            })
            .unwrap();
        let full = scratch.db.write(|tx| number(tx, "PRAGMA synchronous")).unwrap();
        assert_eq!(full, 2);
    }
}

#[test]
fn a_full_disk_is_an_error_and_passes() {
    let scratch = Scratch::new();
    let limit = |pages: i64| {
        let writer = scratch.db.writer.lock().unwrap_or_else(PoisonError::into_inner);
        number(&writer.conn, &format!("PRAGMA max_page_count = {pages}")).unwrap()
    };
    limit(scratch.number("PRAGMA page_count") + 2);
    let mut full = None;
    for count in 0..10_000 {
        let outcome = scratch.db.write(|tx| bucket::create(tx, &format!("bucket {count}"), OWNER));
        if let Err(err) = outcome {
            full = Some(err);
            break;
        }
    }
    let Some(BucketError::Database(err)) = full else { panic!("{full:?}") };
    assert!(err.is_full(), "{err:?}");
    let kept = scratch.number("SELECT count(*) FROM buckets");
    let listed = scratch.db.read(bucket::list).unwrap().len();
    assert_eq!(i64::try_from(listed), Ok(kept), "reading goes on");
    limit(1 << 30);
    scratch.db.write(|tx| bucket::create(tx, "after", OWNER)).unwrap();
    assert_eq!(scratch.number("SELECT count(*) FROM buckets"), kept + 1);
}

#[test]
fn readers_see_what_was_committed_and_nothing_else() {
    let scratch = Scratch::new();
    scratch
        .db
        .write(|tx| {
            bucket::create(tx, "photos", OWNER)?;
            assert_eq!(scratch.number("SELECT count(*) FROM buckets"), 0, "not yet committed");
            Ok::<_, BucketError>(())
        })
        .unwrap();
    assert_eq!(scratch.number("SELECT count(*) FROM buckets"), 1);
    let refused = scratch
        .db
        .read(|conn| conn.execute("DELETE FROM buckets", []).doing("writing where one reads"));
    assert!(refused.is_err());
}

#[test]
fn a_glance_sees_what_was_committed_whoever_writes() {
    let scratch = Scratch::new();
    let count = "SELECT count(*) FROM buckets";
    scratch
        .db
        .write(|tx| {
            bucket::create(tx, "photos", OWNER)?;
            assert_eq!(scratch.db.glance(|conn| number(conn, count))?, 0, "not yet committed");
            Ok::<_, BucketError>(())
        })
        .unwrap();
    assert_eq!(scratch.db.glance(|conn| number(conn, count)).unwrap(), 1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        scratch.db.write(|_| -> Result<(), DbError> { panic!("a bug in a transaction") })
    }));
    assert!(panicked.is_err());
    assert_eq!(scratch.db.glance(|conn| number(conn, count)).unwrap(), 1);
    scratch.db.write(|tx| bucket::create(tx, "music", OWNER)).unwrap();
    assert_eq!(scratch.db.glance(|conn| number(conn, count)).unwrap(), 2);
}

#[test]
fn writers_and_readers_of_many_threads_get_along() {
    let scratch = Scratch::with(&DbSettings { readers_max: 2, ..settings() });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let scratch = &scratch;
            scope.spawn(move || {
                for round in 0..25 {
                    let name = format!("{thread} {round}");
                    scratch.db.write(|tx| bucket::create(tx, &name, OWNER)).unwrap();
                    let found = scratch.db.read(|conn| bucket::find(conn, &name)).unwrap();
                    assert!(found.is_some(), "a committed row shows at once");
                }
            });
        }
    });
    assert_eq!(scratch.number("SELECT count(*) FROM buckets"), 100);
    assert_eq!(scratch.number("SELECT count(DISTINCT root) FROM branches"), 100);
    assert_eq!(scratch.number("SELECT count(DISTINCT hlc) FROM change"), 100);
}
