//! What was looked at stays.

use super::*;

fn hold(scratch: &Scratch, through: Hlc) -> View {
    scratch.db().write(|tx| hold_still(tx, &scratch.view, through)).unwrap()
}

fn is_settled(scratch: &Scratch, through: Hlc) -> bool {
    scratch.db().read(|conn| is_still(conn, &scratch.view, through)).unwrap()
}

fn blob_in(scratch: &Scratch, view: &View, ino: Ino) -> Option<i64> {
    let found = scratch.db().read(|conn| inode(conn, view, ino)).unwrap();
    found.and_then(|inode| inode.blob).map(|blob| blob.0)
}

#[test]
fn what_is_held_still_is_not_replaced_in_place() {
    let scratch = Scratch::new();
    let made = scratch.create(scratch.root, "a", &new(S_IFREG | 0o644)).unwrap();
    let first = scratch.publish(made.ino, 1, Some(made.content));
    let look = hold(&scratch, Hlc::last_of_unix_ns(scratch.clock.now_ns()));
    // In the same millisecond, and by the same operation.
    let second = scratch.publish(made.ino, 2, Some(first.version));
    assert_eq!(second.dropped, None);
    assert_eq!(blob_in(&scratch, &look, made.ino), Some(1));
    assert_eq!(scratch.blob(made.ino), Some(2));
    assert!(!scratch.unlink(scratch.root, "a").unwrap().purged);
    assert_eq!(blob_in(&scratch, &look, made.ino), Some(1));
}

#[test]
fn what_was_before_a_later_change_is_still_once_it_was_looked_at() {
    let scratch = Scratch::new();
    scratch.file(scratch.root, "a");
    let through = Hlc::last_of_unix_ns(scratch.clock.now_ns());
    assert!(!is_settled(&scratch, through), "more may be done in this millisecond");
    scratch.pass(5);
    scratch.file(scratch.root, "b");
    assert!(!is_settled(&scratch, through), "its operation goes on");
    let look = hold(&scratch, through);
    assert!(is_settled(&scratch, through));
    let last = |view: &View| scratch.db().read(|conn| last_change(conn, view)).unwrap();
    assert!(last(&look) < last(&scratch.view));
    assert_eq!(last(&scratch.view.at(Hlc(0))), None);
}
