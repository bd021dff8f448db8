//! What was removed from a directory.

use super::*;

fn removed_from(scratch: &Scratch, view: &View, directory: Ino) -> Vec<(String, Ino)> {
    let found = scratch.db().read(|conn| removed(conn, view, directory, 100)).unwrap();
    for one in &found {
        let same = scratch.db().read(|conn| removed_as(conn, view, directory, &one.name)).unwrap();
        assert!(same.contains(one), "found by its name, too");
    }
    found.into_iter().map(|removed| (removed.name.to_string(), removed.ino)).collect()
}

/// A file that an earlier operation made.
fn old(scratch: &Scratch, parent: Ino, text: &str) -> Ino {
    let file = scratch.written(parent, text, 1);
    scratch.begin();
    scratch.pass(10);
    file
}

#[test]
fn what_was_removed_is_found_where_it_was_last() {
    let scratch = Scratch::new();
    let below = scratch.directory(scratch.root, "below");
    let file = old(&scratch, scratch.root, "a");
    assert_eq!(removed_from(&scratch, &scratch.view, scratch.root), []);
    scratch.rename((scratch.root, "a"), (below, "b")).unwrap();
    scratch.begin();
    assert_eq!(removed_from(&scratch, &scratch.view, scratch.root), []);
    scratch.unlink(below, "b").unwrap();
    scratch.begin();
    assert_eq!(removed_from(&scratch, &scratch.view, scratch.root), []);
    assert_eq!(removed_from(&scratch, &scratch.view, below), [("b".to_owned(), file)]);
    scratch.remove_directory(scratch.root, "below").unwrap();
    assert_eq!(removed_from(&scratch, &scratch.view, scratch.root), [("below".to_owned(), below)]);
    assert_eq!(removed_from(&scratch, &scratch.view, below), [("b".to_owned(), file)]);
}

#[test]
fn every_removal_of_a_name_is_found_and_the_last_comes_first() {
    let scratch = Scratch::new();
    let first = old(&scratch, scratch.root, "a");
    scratch.unlink(scratch.root, "a").unwrap();
    let second = old(&scratch, scratch.root, "a");
    scratch.unlink(scratch.root, "a").unwrap();
    let found = removed_from(&scratch, &scratch.view, scratch.root);
    assert_eq!(found, [("a".to_owned(), second), ("a".to_owned(), first)]);
    let few = scratch.db().read(|conn| removed(conn, &scratch.view, scratch.root, 1)).unwrap();
    assert_eq!(few.len(), 1);
}

#[test]
fn what_was_replaced_or_has_another_name_was_not_removed() {
    let scratch = Scratch::new();
    old(&scratch, scratch.root, "a");
    let new = old(&scratch, scratch.root, "new");
    scratch.rename((scratch.root, "new"), (scratch.root, "a")).unwrap();
    scratch.link(new, scratch.root, "b").unwrap();
    scratch.begin();
    scratch.unlink(scratch.root, "a").unwrap();
    assert_eq!(removed_from(&scratch, &scratch.view, scratch.root), []);
    scratch.unlink(scratch.root, "b").unwrap();
    let found = removed_from(&scratch, &scratch.view, scratch.root);
    assert_eq!(found, [("b".to_owned(), new), ("a".to_owned(), new)]);
}

#[test]
fn a_branch_knows_what_was_removed_on_it_and_before_it() {
    let mut scratch = Scratch::new();
    let before = old(&scratch, scratch.root, "before");
    let after = old(&scratch, scratch.root, "after");
    scratch.unlink(scratch.root, "before").unwrap();
    let fork = scratch.fork("try", None);
    let main = std::mem::replace(&mut scratch.view, fork);
    scratch.begin();
    scratch.unlink(scratch.root, "after").unwrap();
    let found = removed_from(&scratch, &scratch.view, scratch.root);
    assert_eq!(found, [("after".to_owned(), after), ("before".to_owned(), before)]);
    let found = removed_from(&scratch, &main, scratch.root);
    assert_eq!(found, [("before".to_owned(), before)]);
}
