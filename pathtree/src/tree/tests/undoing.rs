//! Undo and redo, function by function.

use super::*;

fn names_of(scratch: &Scratch, directory: Ino) -> Vec<String> {
    scratch.list(directory).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_removed_tree_comes_back_as_it_was() {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    let below = scratch.directory(directory, "e");
    let file = scratch.written(below, "f", 1);
    scratch.link(file, scratch.root, "g").unwrap();
    let before = (scratch.stat(directory).nlink, scratch.stat(file).nlink);
    let removal = scratch.begin();
    scratch.unlink(below, "f").unwrap();
    scratch.unlink(scratch.root, "g").unwrap();
    scratch.remove_directory(directory, "e").unwrap();
    scratch.remove_directory(scratch.root, "d").unwrap();
    assert!(scratch.list(scratch.root).is_empty());
    let undone = scratch.undo(None).unwrap();
    assert_eq!(undone.operation, removal);
    assert_eq!(scratch.lookup(scratch.root, "d"), Some(directory));
    assert_eq!(scratch.lookup(directory, "e"), Some(below));
    assert_eq!(scratch.lookup(below, "f"), Some(file));
    assert_eq!(scratch.lookup(scratch.root, "g"), Some(file));
    assert_eq!((scratch.stat(directory).nlink, scratch.stat(file).nlink), before);
    assert_eq!(scratch.blob(file), Some(1));
    scratch.redo().unwrap();
    assert!(scratch.list(scratch.root).is_empty());
    scratch.undo(None).unwrap();
    assert_eq!(scratch.lookup(below, "f"), Some(file));
}

#[test]
fn what_was_created_goes_and_what_came_later_stays() {
    let scratch = Scratch::new();
    let first = scratch.begin();
    let directory = scratch.directory(scratch.root, "d");
    scratch.written(directory, "a", 1);
    scratch.begin();
    scratch.written(directory, "later", 2);
    let undone = scratch.undo(Some(first)).unwrap();
    assert_eq!(names_of(&scratch, directory), ["later"]);
    assert_eq!(scratch.lookup(scratch.root, "d"), Some(directory), "something is in it");
    assert_eq!(undone.applied.kept, [directory]);
}

#[test]
fn an_edit_that_was_overwritten_since_is_a_conflict_and_the_later_one_shows() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    let edit = scratch.begin();
    scratch.publish(file, 2, None);
    scratch.begin();
    scratch.publish(file, 3, None);
    let undone = scratch.undo(Some(edit)).unwrap();
    assert_eq!(scratch.blob(file), Some(3));
    let [conflict] = &scratch.conflicts()[..] else { panic!("{undone:?}") };
    assert_eq!((conflict.kind, conflict.ino), (ConflictKind::Content, file));
    assert_eq!(conflict.blob, Some(BlobNumber(1)));
    assert_eq!(undone.applied.adopted, [BlobNumber(1)]);
}

#[test]
fn a_rename_over_a_file_is_undone_whole() {
    let scratch = Scratch::new();
    let old = scratch.written(scratch.root, "a", 1);
    scratch.begin();
    let new = scratch.written(scratch.root, "tmp", 2);
    scratch.rename((scratch.root, "tmp"), (scratch.root, "a")).unwrap();
    scratch.undo(None).unwrap();
    assert_eq!(scratch.lookup(scratch.root, "a"), Some(old));
    assert_eq!(scratch.lookup(scratch.root, "tmp"), None);
    scratch.redo().unwrap();
    assert_eq!(scratch.lookup(scratch.root, "a"), Some(new));
}

#[test]
fn a_name_that_was_taken_since_is_left_to_the_older_file() {
    let scratch = Scratch::new();
    let old = scratch.written(scratch.root, "a.txt", 1);
    scratch.begin();
    scratch.unlink(scratch.root, "a.txt").unwrap();
    scratch.begin();
    let new = scratch.written(scratch.root, "a.txt", 2);
    scratch.begin();
    scratch.directory(scratch.root, "unrelated");
    let operations = scratch.db().read(|conn| operations(conn, &scratch.view, None, 10)).unwrap();
    scratch.undo(Some(operations[2].id)).unwrap();
    assert_eq!(scratch.lookup(scratch.root, "a.txt"), Some(old));
    let names = names_of(&scratch, scratch.root);
    let aside = names.iter().find(|name| name.starts_with("a (conflict")).expect("a sibling");
    assert!(aside.ends_with(").txt"), "{aside}");
    assert_eq!(scratch.lookup(scratch.root, aside), Some(new));
}

#[test]
fn an_exchange_is_undone_through_its_circle() {
    let scratch = Scratch::new();
    let one = scratch.written(scratch.root, "a", 1);
    let other = scratch.written(scratch.root, "b", 2);
    scratch.begin();
    scratch.exchange((scratch.root, "a"), (scratch.root, "b")).unwrap();
    scratch.undo(None).unwrap();
    assert_eq!(scratch.lookup(scratch.root, "a"), Some(one));
    assert_eq!(scratch.lookup(scratch.root, "b"), Some(other));
    assert_eq!(scratch.list(scratch.root).len(), 2, "nothing is left parked");
}

#[test]
fn what_is_undone_or_was_never_done_is_refused() {
    let scratch = Scratch::new();
    let first = scratch.operation.get();
    assert!(matches!(scratch.undo(None), Err(UndoError::Nothing { what: "undo" })));
    assert!(matches!(scratch.redo(), Err(UndoError::Nothing { what: "redo" })));
    scratch.file(scratch.root, "a");
    scratch.undo(Some(first)).unwrap();
    assert!(matches!(scratch.undo(Some(first)), Err(UndoError::Already { .. })));
    assert!(matches!(scratch.undo(None), Err(UndoError::Nothing { .. })));
    assert!(matches!(scratch.undo(Some(OperationId(7))), Err(UndoError::NotFound(_))));
}

#[test]
fn repeated_undo_goes_further_back_and_redo_comes_forward() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    for blob in [2, 3] {
        scratch.begin();
        scratch.publish(file, blob, None);
    }
    for expected in [Some(2), Some(1)] {
        scratch.undo(None).unwrap();
        assert_eq!(scratch.blob(file), expected);
    }
    for expected in [Some(2), Some(3)] {
        scratch.redo().unwrap();
        assert_eq!(scratch.blob(file), expected);
    }
    assert!(matches!(scratch.redo(), Err(UndoError::Nothing { .. })));
}

#[test]
fn an_undo_on_a_branch_falls_back_to_what_it_inherited() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    let fork = scratch.fork("try", None);
    let main = std::mem::replace(&mut scratch.view, fork);
    scratch.begin();
    scratch.publish(file, 2, None);
    scratch.rename((scratch.root, "a"), (scratch.root, "b")).unwrap();
    scratch
        .change(|tx, view, operation| {
            set_xattr(tx, view, operation, file, (b"user.a", b"1"), XattrEdit::Either)
        })
        .unwrap();
    scratch.undo(None).unwrap();
    assert_eq!((scratch.lookup(scratch.root, "a"), scratch.blob(file)), (Some(file), Some(1)));
    let value = scratch.db().read(|conn| xattr(conn, &scratch.view, file, b"user.a")).unwrap();
    assert_eq!(value, None);
    scratch.view = main;
}

#[test]
fn what_was_created_and_stays_for_a_later_edit_keeps_its_extended_attributes() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    let pair = (&b"user.a"[..], &b"1"[..]);
    scratch
        .change(|tx, view, operation| set_xattr(tx, view, operation, file, pair, XattrEdit::Either))
        .unwrap();
    let created = scratch.operation.get();
    scratch.begin();
    scratch.publish(file, 2, None);
    scratch.undo(Some(created)).unwrap();
    assert_eq!(scratch.lookup(scratch.root, "f"), Some(file));
    let value = scratch.db().read(|conn| xattr(conn, &scratch.view, file, b"user.a")).unwrap();
    assert_eq!(value, Some(b"1".to_vec()));
}

#[test]
fn a_name_made_by_link_stays_for_a_later_edit_and_goes_without_one() {
    for is_edited in [true, false] {
        let scratch = Scratch::new();
        let root = scratch.root;
        let file = scratch.written(root, "a", 1);
        scratch.link(file, root, "b").unwrap();
        scratch.unlink(root, "a").unwrap();
        let created = scratch.operation.get();
        scratch.begin();
        if is_edited {
            scratch.publish(file, 2, None);
        }
        scratch.undo(Some(created)).unwrap();
        assert_eq!(scratch.lookup(root, "b"), is_edited.then_some(file));
    }
}

#[test]
fn an_edit_that_is_undone_brings_back_no_file_that_was_removed_since() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.begin();
    scratch.publish(file, 2, None);
    let edit = scratch.operation.get();
    scratch.begin();
    scratch.unlink(scratch.root, "f").unwrap();
    scratch.begin();
    scratch.undo(Some(edit)).unwrap();
    assert_eq!(scratch.lookup(scratch.root, "f"), None);
}

#[test]
fn an_undo_gives_nobodys_set_user_id_bit_to_other_bytes() {
    let chmod = |scratch: &Scratch, ino: Ino, permissions: u32| {
        let edit = AttributeEdit { permissions: Some(permissions), ..AttributeEdit::default() };
        merging::set(scratch, ino, edit);
    };
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    let edit = scratch.begin();
    scratch.publish(file, 2, None);
    scratch.begin();
    chmod(&scratch, file, 0o4755);
    scratch.undo(Some(edit)).unwrap();
    assert_eq!((scratch.blob(file), scratch.stat(file).mode & 0o7777), (Some(1), 0o755));

    chmod(&scratch, file, 0o4755);
    let safer = scratch.begin();
    chmod(&scratch, file, 0o755);
    scratch.begin();
    scratch.publish(file, 3, None);
    scratch.undo(Some(safer)).unwrap();
    assert_eq!((scratch.blob(file), scratch.stat(file).mode & 0o7777), (Some(3), 0o755));
}
