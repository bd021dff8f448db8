//! What was created and unlinked within one operation leaves nothing; everything else stays.

use super::*;

fn set_xattr_of(scratch: &Scratch, ino: Ino, value: &[u8]) {
    scratch
        .change(|tx, view, operation| {
            set_xattr(tx, view, operation, ino, (b"user.a", value), XattrEdit::Either)
        })
        .unwrap();
}

/// Everything that can happen to a file in its life.
fn live(scratch: &Scratch) -> Ino {
    let root = scratch.root;
    let file = scratch.written(root, "t", 1);
    let own = scratch.publish(file, 2, None).version;
    scratch.publish(file, 3, Some(own));
    let edit = AttributeEdit { permissions: Some(0o600), ..AttributeEdit::default() };
    for _ in 0..2 {
        scratch
            .change(|tx, view, operation| set_attributes(tx, view, operation, file, &edit))
            .unwrap();
    }
    scratch.rename((root, "t"), (root, "u")).unwrap();
    scratch.link(file, root, "v").unwrap();
    scratch.rename((root, "v"), (root, "w")).unwrap();
    for value in [b"1", b"2"] {
        set_xattr_of(scratch, file, value);
    }
    scratch
        .change(|tx, view, operation| remove_xattr(tx, view, operation, file, b"user.a"))
        .unwrap();
    set_xattr_of(scratch, file, b"3");
    file
}

#[test]
fn a_transient_file_leaves_no_row_in_any_table() {
    let scratch = Scratch::new();
    let before = scratch.rows();
    let file = live(&scratch);
    assert_eq!(scratch.unlink(scratch.root, "u").unwrap().nlink, 1);
    let left = scratch.unlink(scratch.root, "w").unwrap();
    assert!(left.purged);
    let mut dropped = left.dropped;
    dropped.sort();
    assert_eq!(dropped, [BlobNumber(1), BlobNumber(3)]);
    assert_eq!(scratch.rows(), before);
    assert_eq!(scratch.find(file), None);
}

#[test]
fn a_transient_symlink_takes_its_target_with_it() {
    let scratch = Scratch::new();
    let before = scratch.rows();
    let link = NewInode { symlink: Some(b"there"), ..new(S_IFLNK | 0o777) };
    scratch.create(scratch.root, "l", &link).unwrap();
    assert!(scratch.unlink(scratch.root, "l").unwrap().purged);
    assert_eq!(scratch.rows(), before);
}

#[test]
fn a_transient_directory_can_be_purged_with_what_was_in_it() {
    let scratch = Scratch::new();
    let before = scratch.rows();
    let directory = scratch.directory(scratch.root, "d");
    let below = scratch.directory(directory, "e");
    scratch.written(below, "f", 1);
    assert_eq!(scratch.purge(directory), None, "it lives");
    assert!(scratch.unlink(below, "f").unwrap().purged);
    for (parent, text, ino) in [(directory, "e", below), (scratch.root, "d", directory)] {
        scratch.remove_directory(parent, text).unwrap();
        assert_eq!(scratch.purge(ino), Some(vec![]));
    }
    assert_eq!(scratch.rows(), before);
    assert_eq!(scratch.purge(scratch.root), None);
}

#[test]
fn a_directory_that_history_leads_through_stays() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    let operation = scratch.begin();
    let directory = scratch.directory(scratch.root, "d");
    scratch.begin();
    scratch.rename((scratch.root, "f"), (directory, "f")).unwrap();
    scratch.begin();
    scratch.rename((directory, "f"), (scratch.root, "f")).unwrap();
    scratch.operation.set(operation);
    scratch.remove_directory(scratch.root, "d").unwrap();
    assert_eq!(scratch.purge(directory), None);
    assert_eq!(scratch.lookup(scratch.root, "f"), Some(file));
}

#[test]
fn a_file_that_an_operation_found_and_unlinked_stays_in_history() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.begin();
    let left = scratch.unlink(scratch.root, "f").unwrap();
    assert_eq!((left.purged, left.dropped), (false, vec![]));
    assert_eq!((scratch.stat(file).nlink, scratch.blob(file)), (0, Some(1)));
}

#[test]
fn a_file_that_a_consumer_has_seen_stays() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.see();
    assert!(!scratch.unlink(scratch.root, "f").unwrap().purged);
    assert_eq!(scratch.blob(file), Some(1));
}

#[test]
fn a_file_whose_last_name_another_operation_took_stays() {
    let scratch = Scratch::new();
    let operation = scratch.operation.get();
    let file = scratch.written(scratch.root, "a", 1);
    scratch.link(file, scratch.root, "b").unwrap();
    scratch.unlink(scratch.root, "a").unwrap();
    scratch.begin();
    assert!(!scratch.unlink(scratch.root, "b").unwrap().purged, "it outlived its operation");
    assert_eq!(scratch.blob(file), Some(1));
    // And the other way round: the first name went in another operation, the last one in its own.
    scratch.operation.set(operation);
    let file = scratch.written(scratch.root, "c", 2);
    scratch.link(file, scratch.root, "d").unwrap();
    scratch.begin();
    scratch.unlink(scratch.root, "c").unwrap();
    scratch.operation.set(operation);
    assert!(!scratch.unlink(scratch.root, "d").unwrap().purged);
}

#[test]
fn a_held_file_is_purged_when_it_is_let_go() {
    let scratch = Scratch::new();
    let before = scratch.rows();
    let file = scratch.written(scratch.root, "f", 1);
    assert_eq!(scratch.purge(file), None, "it lives");
    assert!(!scratch.unlink_held(scratch.root, "f").unwrap().purged);
    scratch.publish(file, 2, None);
    assert_eq!(scratch.purge(file), Some(vec![BlobNumber(2), BlobNumber(1)]));
    assert_eq!(scratch.purge(file), None, "it is gone");
    assert_eq!(scratch.rows(), before);
}

#[test]
fn a_replaced_file_is_kept_for_the_day_its_successor_is_lost() {
    let scratch = Scratch::new();
    let old = scratch.written(scratch.root, "f", 1);
    scratch.written(scratch.root, "f.new", 2);
    scratch.rename((scratch.root, "f.new"), (scratch.root, "f")).unwrap();
    assert_eq!(scratch.purge(old), None);
    scratch.withdraw(2);
    assert_eq!(scratch.lookup(scratch.root, "f"), Some(old));
    assert_eq!(scratch.blob(old), Some(1));
}

#[test]
fn saving_by_renaming_over_and_over_leaves_a_chain_that_can_be_followed() {
    let scratch = Scratch::new();
    for blob in 1..=4 {
        scratch.written(scratch.root, "f.new", blob);
        scratch.rename((scratch.root, "f.new"), (scratch.root, "f")).unwrap();
    }
    for blob in (2..=4).rev() {
        scratch.withdraw(blob);
        let shown = scratch.lookup(scratch.root, "f").unwrap();
        assert_eq!(scratch.blob(shown), Some(blob - 1));
    }
    assert_eq!(scratch.list(scratch.root).len(), 1);
}
