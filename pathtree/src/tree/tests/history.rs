//! What a change supersedes: kept across operations, replaced within one until it was seen.

use super::*;

fn past(scratch: &Scratch, facet: i64) -> i64 {
    scratch.number(&format!("SELECT count(*) FROM past WHERE facet = {facet}"))
}

fn chmod(scratch: &Scratch, ino: Ino, permissions: u32) {
    let edit = AttributeEdit { permissions: Some(permissions), ..AttributeEdit::default() };
    scratch.change(|tx, view, operation| set_attributes(tx, view, operation, ino, &edit)).unwrap();
}

#[test]
fn within_one_operation_only_the_last_place_and_the_last_attributes_stay() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    let changes = scratch.number("SELECT count(*) FROM change");
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "d")] {
        scratch.rename((scratch.root, from), (scratch.root, to)).unwrap();
        chmod(&scratch, file, 0o600);
    }
    assert_eq!((past(&scratch, 0), past(&scratch, 1)), (0, 0));
    assert_eq!(scratch.number("SELECT count(*) FROM change"), changes + 2);
}

#[test]
fn across_operations_every_version_stays() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "d")] {
        scratch.begin();
        scratch.rename((scratch.root, from), (scratch.root, to)).unwrap();
        chmod(&scratch, file, 0o600);
    }
    assert_eq!((past(&scratch, 0), past(&scratch, 1)), (3, 3));
    let names = scratch.db().read(|conn| {
        conn.prepare_cached("SELECT name FROM past WHERE facet = 0 ORDER BY since")
            .and_then(|mut stmt| {
                stmt.query_map([], |row| row.get::<_, Name>(0))?.collect::<Result<Vec<_>, _>>()
            })
            .doing("reading history")
    });
    assert_eq!(names.unwrap(), [name("a"), name("b"), name("c")]);
}

#[test]
fn what_a_consumer_has_seen_stays_even_within_one_operation() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    scratch.see();
    scratch.rename((scratch.root, "a"), (scratch.root, "b")).unwrap();
    chmod(&scratch, file, 0o600);
    assert_eq!((past(&scratch, 0), past(&scratch, 1)), (1, 1));
    scratch.rename((scratch.root, "b"), (scratch.root, "c")).unwrap();
    assert_eq!(past(&scratch, 0), 1, "b was not seen");
    scratch.see();
    scratch.rename((scratch.root, "c"), (scratch.root, "d")).unwrap();
    assert_eq!(past(&scratch, 0), 2, "c was");
}

#[test]
fn another_operation_in_between_is_kept_and_no_time_is_without_a_version() {
    let scratch = Scratch::new();
    let mine = scratch.operation.get();
    scratch.file(scratch.root, "a");
    let theirs = scratch.begin();
    scratch.rename((scratch.root, "a"), (scratch.root, "b")).unwrap();
    scratch.operation.set(mine);
    scratch.rename((scratch.root, "b"), (scratch.root, "c")).unwrap();
    scratch.rename((scratch.root, "c"), (scratch.root, "d")).unwrap();
    scratch.operation.set(theirs);
    scratch.rename((scratch.root, "d"), (scratch.root, "e")).unwrap();
    assert_eq!(past(&scratch, 0), 3, "a, b and d; c was replaced in place");
}

#[test]
fn the_log_tells_what_was_created_and_what_was_changed() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    scratch.begin();
    scratch.rename((scratch.root, "a"), (scratch.root, "b")).unwrap();
    chmod(&scratch, file, 0o600);
    scratch.publish(file, 2, None);
    scratch.link(file, scratch.root, "c").unwrap();
    let branch = scratch.view.branch;
    let log = scratch.db().read(|conn| outbox::unread(conn, branch, "sync", 100)).unwrap();
    let what: Vec<i64> = log.iter().map(|change| change.what).collect();
    assert_eq!(what, [15, 1 | 2 | 8, 4, 1, 2, 4, 1 | 8], "root, file, bytes; then the second one");
    assert!(log[3..].iter().all(|change| change.operation == scratch.operation.get()));
    assert!(log.is_sorted_by(|one, next| one.stamp.hlc < next.stamp.hlc), "one stamp, one row");
}

#[test]
fn history_survives_a_reopening_and_the_next_run_adds_to_it() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    scratch.reopen();
    scratch.publish(file, 2, None);
    scratch.reopen();
    scratch.rename((scratch.root, "a"), (scratch.root, "b")).unwrap();
    scratch.publish(file, 3, None);
    assert_eq!(past(&scratch, 2), 2);
    assert_eq!(past(&scratch, 0), 0, "an operation may span a restart");
    assert_eq!(scratch.number("SELECT count(DISTINCT actor) FROM change"), 3);
}
