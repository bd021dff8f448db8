//! Merging branches, case by case.

use super::*;

/// A file `a` with blob 1 in directory `d`, and a branch forked there.
pub(super) fn forked() -> (Scratch, Ino, Ino, View) {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    let file = scratch.written(directory, "a.txt", 1);
    scratch.begin();
    let fork = scratch.fork("try", None);
    (scratch, directory, file, fork)
}

/// Does something on another branch.
pub(super) fn on<T>(scratch: &mut Scratch, branch: &View, change: impl FnOnce(&Scratch) -> T) -> T {
    let back = std::mem::replace(&mut scratch.view, branch.clone());
    scratch.begin();
    let done = change(scratch);
    scratch.view = back;
    scratch.begin();
    done
}

pub(super) fn set(scratch: &Scratch, ino: Ino, edit: AttributeEdit) {
    scratch.change(|tx, view, operation| set_attributes(tx, view, operation, ino, &edit)).unwrap();
}

/// Gives an inode an extended attribute.
pub(super) fn mark(scratch: &Scratch, ino: Ino, value: &[u8]) {
    let pair = (&b"user.a"[..], value);
    scratch
        .change(|tx, view, operation| set_xattr(tx, view, operation, ino, pair, XattrEdit::Either))
        .unwrap();
}

pub(super) fn marked(scratch: &Scratch, ino: Ino) -> Option<Vec<u8>> {
    scratch.db().read(|conn| xattr(conn, &scratch.view, ino, b"user.a")).unwrap()
}

pub(super) fn is_clean(applied: &Applied) -> bool {
    applied.conflicts.is_empty() && applied.kept.is_empty()
}

#[test]
fn what_only_the_branch_changed_comes_over() {
    let (mut scratch, directory, file, fork) = forked();
    let (new, below) = scratch.on(&fork, |scratch| {
        scratch.publish(file, 2, None);
        let below = scratch.directory(directory, "e");
        let new = scratch.written(below, "new", 3);
        scratch.rename((directory, "a.txt"), (scratch.root, "b")).unwrap();
        (new, below)
    });
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!(scratch.lookup(scratch.root, "b"), Some(file));
    assert_eq!(scratch.lookup(directory, "e"), Some(below));
    assert_eq!(scratch.lookup(below, "new"), Some(new));
    assert_eq!((scratch.blob(file), scratch.blob(new)), (Some(2), Some(3)));
    assert_eq!(applied.adopted.len(), 2);
    assert!(scratch.merge(&fork, Favour::Newest).unwrap().is_nothing(), "twice is once");
}

#[test]
fn a_rename_here_and_an_edit_there_both_hold() {
    let (mut scratch, directory, file, fork) = forked();
    scratch.on(&fork, |scratch| scratch.publish(file, 2, None));
    scratch.rename((directory, "a.txt"), (scratch.root, "b")).unwrap();
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!((scratch.lookup(scratch.root, "b"), scratch.blob(file)), (Some(file), Some(2)));
}

#[test]
fn two_edits_are_a_conflict_and_the_newer_shows() {
    for newer_there in [true, false] {
        let (mut scratch, _, file, fork) = forked();
        if newer_there {
            scratch.publish(file, 3, None);
        }
        scratch.on(&fork, |scratch| scratch.publish(file, 2, None));
        if !newer_there {
            scratch.publish(file, 3, None);
        }
        scratch.merge(&fork, Favour::Newest).unwrap();
        let (shows, other) = if newer_there { (2, 3) } else { (3, 2) };
        assert_eq!(scratch.blob(file), Some(shows));
        let [conflict] = &scratch.conflicts()[..] else { panic!("one conflict") };
        assert_eq!(conflict.blob, Some(BlobNumber(other)));
        assert!(scratch.merge(&fork, Favour::Newest).unwrap().is_nothing());
    }
}

#[test]
fn equal_bytes_on_both_sides_are_no_conflict() {
    let (mut scratch, directory, file, fork) = forked();
    scratch.on(&fork, |scratch| {
        scratch.publish(file, 2, None);
        scratch.written(directory, "same", 4);
    });
    scratch.publish(file, 2, None);
    let ours = scratch.written(directory, "same", 4);
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!(scratch.lookup(directory, "same"), Some(ours));
    assert_eq!(scratch.list(directory).len(), 2);
}

#[test]
fn an_edit_beats_a_delete_from_either_side() {
    let (mut scratch, directory, file, fork) = forked();
    scratch.on(&fork, |scratch| scratch.publish(file, 2, None));
    scratch.unlink(directory, "a.txt").unwrap();
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(applied.kept, [file]);
    assert_eq!((scratch.lookup(directory, "a.txt"), scratch.blob(file)), (Some(file), Some(2)));

    let (mut scratch, directory, file, fork) = forked();
    scratch.on(&fork, |scratch| scratch.unlink(directory, "a.txt").unwrap());
    scratch.publish(file, 2, None);
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(applied.kept, [file]);
    assert_eq!((scratch.lookup(directory, "a.txt"), scratch.blob(file)), (Some(file), Some(2)));
}

#[test]
fn a_creation_keeps_a_directory_that_the_other_side_removed() {
    let (mut scratch, directory, _, fork) = forked();
    let new = scratch.on(&fork, |scratch| scratch.written(directory, "new", 2));
    scratch.unlink(directory, "a.txt").unwrap();
    scratch.remove_directory(scratch.root, "d").unwrap();
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.lookup(scratch.root, "d"), Some(directory));
    assert_eq!(scratch.lookup(directory, "new"), Some(new));
    assert_eq!(scratch.list(directory).len(), 1);

    let (mut scratch, directory, _, fork) = forked();
    scratch.on(&fork, |scratch| {
        scratch.unlink(directory, "a.txt").unwrap();
        scratch.remove_directory(scratch.root, "d").unwrap();
    });
    let new = scratch.written(directory, "new", 2);
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(applied.kept, [directory]);
    assert_eq!(scratch.list(directory), [("new".to_owned(), new)]);
}

#[test]
fn directories_of_one_name_become_one() {
    let (mut scratch, ..) = forked();
    let (_, _, _, fork) = (0, 0, 0, scratch.fork("other", None));
    scratch.on(&fork, |scratch| {
        let theirs = scratch.directory(scratch.root, "new");
        let below = scratch.directory(theirs, "below");
        scratch.written(below, "b", 2);
    });
    let ours = scratch.directory(scratch.root, "new");
    scratch.written(ours, "a", 3);
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!(scratch.lookup(scratch.root, "new"), Some(ours));
    let names: Vec<String> = scratch.list(ours).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "below"]);
}

#[test]
fn different_files_of_one_name_both_stay() {
    let (mut scratch, directory, _, fork) = forked();
    let theirs = scratch.on(&fork, |scratch| scratch.written(directory, "new.txt", 2));
    let ours = scratch.written(directory, "new.txt", 3);
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.lookup(directory, "new.txt"), Some(theirs), "it is the older one");
    let listed = scratch.list(directory);
    let aside = listed.iter().find(|(_, ino)| *ino == ours).expect("it has another name");
    assert!(aside.0.starts_with("new (conflict ") && aside.0.ends_with(".txt"), "{}", aside.0);
    assert_eq!(scratch.conflicts()[0].kind, ConflictKind::Name);
}

#[test]
fn a_file_and_a_directory_of_one_name_both_stay() {
    let (mut scratch, directory, _, fork) = forked();
    let theirs = scratch.on(&fork, |scratch| {
        let theirs = scratch.directory(directory, "new");
        scratch.written(theirs, "below", 2);
        theirs
    });
    let ours = scratch.written(directory, "new", 3);
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.lookup(directory, "new"), Some(theirs));
    assert!(scratch.list(directory).iter().any(|(_, ino)| *ino == ours));
}

#[test]
fn two_saves_by_renaming_over_one_file_are_a_conflict_of_that_file() {
    let (mut scratch, directory, _, fork) = forked();
    let save = |scratch: &Scratch, blob: i64| {
        let new = scratch.written(directory, "tmp", blob);
        scratch.rename((directory, "tmp"), (directory, "a.txt")).unwrap();
        new
    };
    scratch.on(&fork, |scratch| save(scratch, 2));
    let ours = save(&scratch, 3);
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.list(directory), [("a.txt".to_owned(), ours)], "{applied:?}");
    assert_eq!(scratch.blob(ours), Some(3), "it is the newer one");
    assert_eq!(scratch.conflicts()[0].blob, Some(BlobNumber(2)));
}

#[test]
fn two_renames_of_one_file_are_a_conflict_and_the_newer_holds() {
    let (mut scratch, directory, file, fork) = forked();
    scratch.on(&fork, |scratch| {
        scratch.rename((directory, "a.txt"), (directory, "theirs")).unwrap();
    });
    scratch.rename((directory, "a.txt"), (directory, "ours")).unwrap();
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.list(directory), [("ours".to_owned(), file)]);
    let conflict = &scratch.conflicts()[0];
    assert_eq!(conflict.place, Some((directory, name("theirs"))));
}

#[test]
fn moves_that_would_make_a_circle_are_left_out() {
    let scratch = Scratch::new();
    let one = scratch.directory(scratch.root, "one");
    let two = scratch.directory(scratch.root, "two");
    let mut scratch = scratch;
    scratch.begin();
    let fork = scratch.fork("try", None);
    scratch.on(&fork, |scratch| {
        scratch.rename((scratch.root, "one"), (two, "one")).unwrap();
    });
    scratch.rename((scratch.root, "two"), (one, "two")).unwrap();
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.lookup(scratch.root, "one"), Some(one));
    assert_eq!(scratch.lookup(one, "two"), Some(two));
    assert_eq!(scratch.conflicts().len(), 1);
}

#[test]
fn a_policy_leaves_no_conflict() {
    for (favour, shows) in [(Favour::Ours, 3), (Favour::Theirs, 2)] {
        let (mut scratch, directory, file, fork) = forked();
        scratch.on(&fork, |scratch| {
            scratch.publish(file, 2, None);
            scratch.rename((directory, "a.txt"), (directory, "theirs")).unwrap();
        });
        scratch.publish(file, 3, None);
        scratch.rename((directory, "a.txt"), (directory, "ours")).unwrap();
        scratch.merge(&fork, favour).unwrap();
        assert_eq!(scratch.blob(file), Some(shows));
        let name = if favour == Favour::Ours { "ours" } else { "theirs" };
        assert_eq!(scratch.lookup(directory, name), Some(file));
        assert!(scratch.conflicts().is_empty());
    }
}

#[test]
fn merging_to_and_fro_takes_only_what_is_new() {
    let (mut scratch, _, file, fork) = forked();
    scratch.on(&fork, |scratch| scratch.publish(file, 2, None));
    scratch.merge(&fork, Favour::Newest).unwrap();
    scratch.begin();
    scratch.publish(file, 3, None);
    let main = scratch.view.clone();
    let applied = scratch.on(&fork, |scratch| scratch.merge(&main, Favour::Newest).unwrap());
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!(scratch.on(&fork, |scratch| scratch.blob(file)), Some(3));
    scratch.on(&fork, |scratch| scratch.publish(file, 4, None));
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!(scratch.blob(file), Some(4));
}

#[test]
fn a_merge_that_was_undone_can_be_done_again() {
    let (mut scratch, _, file, fork) = forked();
    scratch.on(&fork, |scratch| scratch.publish(file, 2, None));
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.blob(file), Some(2));
    scratch.undo(None).unwrap();
    assert_eq!(scratch.blob(file), Some(1));
    let again = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&again), "{again:?}");
    assert_eq!(scratch.blob(file), Some(2));
}

#[test]
fn a_merge_without_changes_is_no_operation_that_undo_would_meet() {
    let (scratch, directory, file, fork) = forked();
    scratch.unlink(directory, "a.txt").unwrap();
    assert!(scratch.merge(&fork, Favour::Newest).unwrap().is_nothing());
    scratch.undo(None).unwrap();
    assert_eq!(scratch.lookup(directory, "a.txt"), Some(file));
}

#[test]
fn a_branch_is_not_merged_into_itself() {
    let (scratch, ..) = forked();
    let itself = scratch.view.clone();
    assert!(matches!(scratch.merge(&itself, Favour::Newest), Err(MergeError::IntoItself)));
}

#[test]
fn names_that_a_merge_brought_together_and_some_systems_confuse_are_told() {
    let (mut scratch, directory, _, fork) = forked();
    let sub = scratch.on(&fork, |scratch| {
        scratch.written(directory, "README", 2);
        scratch.written(directory, "e\u{301}", 3);
        scratch.written(directory, "A.TXT", 4);
        let sub = scratch.directory(scratch.root, "sub");
        scratch.written(sub, "readme", 7);
        sub
    });
    scratch.written(directory, "readme", 8);
    scratch.written(directory, "\u{e9}", 9);
    scratch.written(directory, "gone", 10);
    scratch.unlink(directory, "gone").unwrap();
    scratch.on(&fork, |scratch| scratch.written(directory, "GONE", 11));
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    let told: Vec<(String, String, bool)> = applied
        .alike
        .iter()
        .map(|alike| {
            assert_eq!(alike.directory, directory);
            let [one, other] = &alike.names;
            (one.to_string(), other.to_string(), alike.same_letters)
        })
        .collect();
    let told: Vec<(&str, &str, bool)> =
        told.iter().map(|(one, other, same)| (&one[..], &other[..], *same)).collect();
    let expected =
        [("A.TXT", "a.txt", false), ("README", "readme", false), ("e\u{301}", "\u{e9}", true)];
    assert_eq!(told, expected, "`gone` is");
    assert_eq!(scratch.list(directory).len(), 7, "nothing was renamed");
    scratch.on(&fork, |scratch| {
        scratch.written(sub, "other", 12);
        scratch.written(directory, "other", 12);
    });
    assert!(scratch.merge(&fork, Favour::Newest).unwrap().alike.is_empty(), "told once");
}
