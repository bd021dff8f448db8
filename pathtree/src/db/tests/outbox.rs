//! The outbox: one event for a burst, cursors, and nothing that grows.

use super::*;
use crate::{
    bucket::{self, Bucket},
    db::outbox::{self, Change},
    id::{Hlc, OperationId},
    name::Name,
    tree::{self, NewInode, S_IFREG, View},
};

const FILE: NewInode<'_> =
    NewInode { mode: S_IFREG | 0o644, uid: 0, gid: 0, rdev: 0, symlink: None };

fn bucket(scratch: &Scratch) -> Bucket {
    scratch.db.write(|tx| bucket::create(tx, "photos", OWNER)).unwrap()
}

fn create(db: &Db, bucket: &Bucket, names: std::ops::Range<u32>) {
    let view = &View::main(bucket);
    db.write(|tx| {
        let root = tree::inode(tx, view, view.root)?.expect("a root");
        for number in names {
            let name = Name::from_bytes(format!("{number}").as_bytes()).unwrap();
            tree::create(tx, view, OperationId(1), &root, &name, &FILE)?;
        }
        Ok::<_, tree::TreeError>(())
    })
    .unwrap();
}

fn unread(db: &Db, bucket: &Bucket, consumer: &str) -> Vec<Change> {
    db.read(|conn| outbox::unread(conn, bucket.main, consumer, 1000)).unwrap()
}

fn advance(db: &Db, bucket: &Bucket, consumer: &str, through: Hlc) {
    db.write(|tx| outbox::advance(tx, bucket.main, consumer, through)).unwrap();
}

const EVENTS: &str = "SELECT count(*) FROM _honker_stream";

#[test]
fn a_burst_of_transactions_publishes_one_event() {
    let scratch = Scratch::new();
    assert_eq!(scratch.number(EVENTS), 0);
    let bucket = bucket(&scratch);
    for number in 0..10 {
        create(&scratch.db, &bucket, number..number + 1);
    }
    assert_eq!(scratch.number(EVENTS), 1);
    let changes = unread(&scratch.db, &bucket, "sync");
    assert_eq!(changes.len(), 11, "ten files and the root");
    assert!(changes.is_sorted_by_key(|change| change.stamp));
    advance(&scratch.db, &bucket, "sync", changes[10].stamp.hlc);
    assert_eq!(scratch.number(EVENTS), 0, "read events are deleted");
    assert_eq!(unread(&scratch.db, &bucket, "sync"), []);
    create(&scratch.db, &bucket, 10..11);
    assert_eq!(scratch.number(EVENTS), 1, "the next change says so again");
    assert_eq!(unread(&scratch.db, &bucket, "sync").len(), 1);
}

#[test]
fn a_transaction_that_changes_no_tree_wakes_nobody() {
    let scratch = Scratch::new();
    let seen = scratch.db.changed().seen();
    scratch.db.sync().unwrap();
    scratch.db.write(|tx| Ok::<_, DbError>(tx.next_stamp())).unwrap();
    assert_eq!(scratch.db.changed().seen(), seen);
    assert_eq!(scratch.number(EVENTS), 0);
    bucket(&scratch);
    assert_eq!(scratch.db.changed().seen(), seen + 1);
    assert_eq!(scratch.db.changed().wait_past(seen, Duration::from_secs(60)), seen + 1);
}

#[test]
fn an_event_is_rolled_back_with_its_change() {
    let scratch = Scratch::new();
    let failed = scratch.db.write(|tx| {
        bucket::create(tx, "photos", OWNER)?;
        bucket::create(tx, "photos", OWNER)
    });
    assert!(failed.is_err());
    assert_eq!(scratch.number(EVENTS), 0);
    bucket(&scratch);
    assert_eq!(scratch.number(EVENTS), 1, "the failed one did not count as published");
}

#[test]
fn moving_a_cursor_twice_is_harmless_and_it_never_goes_back() {
    let scratch = Scratch::new();
    let bucket = bucket(&scratch);
    create(&scratch.db, &bucket, 0..3);
    let changes = unread(&scratch.db, &bucket, "sync");
    for through in [changes[3].stamp.hlc, changes[3].stamp.hlc, changes[1].stamp.hlc] {
        advance(&scratch.db, &bucket, "sync", through);
        assert_eq!(unread(&scratch.db, &bucket, "sync"), []);
    }
}

#[test]
fn two_consumers_read_at_their_own_pace() {
    let scratch = Scratch::new();
    let bucket = bucket(&scratch);
    create(&scratch.db, &bucket, 0..5);
    let all = unread(&scratch.db, &bucket, "sync");
    advance(&scratch.db, &bucket, "index", all[1].stamp.hlc);
    advance(&scratch.db, &bucket, "sync", all[5].stamp.hlc);
    assert_eq!(unread(&scratch.db, &bucket, "sync"), []);
    assert_eq!(unread(&scratch.db, &bucket, "index"), all[2..]);
    assert_eq!(scratch.number(EVENTS), 1, "one of them has something left to read");
    advance(&scratch.db, &bucket, "index", all[5].stamp.hlc);
    assert_eq!(scratch.number(EVENTS), 0);
}

#[test]
fn a_change_that_comes_while_a_consumer_works_keeps_its_event() {
    let scratch = Scratch::new();
    let bucket = bucket(&scratch);
    let read = unread(&scratch.db, &bucket, "sync");
    create(&scratch.db, &bucket, 0..1);
    advance(&scratch.db, &bucket, "sync", read[0].stamp.hlc);
    assert_eq!(scratch.number(EVENTS), 1, "what is unread still has an event");
    let scratch = scratch.reopen_at(NOW_NS);
    assert_eq!(unread(&scratch.db, &bucket, "sync").len(), 1);
    create(&scratch.db, &bucket, 1..2);
    assert_eq!(scratch.number(EVENTS), 1, "the waiting event is remembered over a restart");
}

#[test]
fn the_events_tables_stay_small() {
    let scratch = Scratch::new();
    let bucket = bucket(&scratch);
    for number in 0..500 {
        create(&scratch.db, &bucket, number..number + 1);
        if number % 5 == 0 {
            let last = unread(&scratch.db, &bucket, "sync").last().unwrap().stamp.hlc;
            advance(&scratch.db, &bucket, "sync", last);
        }
    }
    let tables = scratch.db.read(|conn| {
        conn.prepare_cached("SELECT name FROM sqlite_schema WHERE name LIKE '\\_honker%' ESCAPE '\\' AND type = 'table'")
            .and_then(|mut stmt| stmt.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>())
            .doing("listing honker's tables")
    });
    for table in tables.unwrap() {
        let rows = scratch.number(&format!("SELECT count(*) FROM {table}"));
        assert!(rows <= 1, "{table} has {rows} rows");
    }
}
