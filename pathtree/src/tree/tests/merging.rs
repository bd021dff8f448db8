//! Merging branches, case by case.

use super::*;

/// A file `a` with blob 1 in directory `d`, and a branch forked there.
fn forked() -> (Scratch, Ino, Ino, View) {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    let file = scratch.written(directory, "a.txt", 1);
    scratch.begin();
    let fork = scratch.fork("try", None);
    (scratch, directory, file, fork)
}

/// Does something on another branch.
fn on<T>(scratch: &mut Scratch, branch: &View, change: impl FnOnce(&Scratch) -> T) -> T {
    let back = std::mem::replace(&mut scratch.view, branch.clone());
    scratch.begin();
    let done = change(scratch);
    scratch.view = back;
    scratch.begin();
    done
}

fn set(scratch: &Scratch, ino: Ino, edit: AttributeEdit) {
    scratch.change(|tx, view, operation| set_attributes(tx, view, operation, ino, &edit)).unwrap();
}

/// Gives an inode an extended attribute.
fn mark(scratch: &Scratch, ino: Ino, value: &[u8]) {
    let pair = (&b"user.a"[..], value);
    scratch
        .change(|tx, view, operation| set_xattr(tx, view, operation, ino, pair, XattrEdit::Either))
        .unwrap();
}

fn marked(scratch: &Scratch, ino: Ino) -> Option<Vec<u8>> {
    scratch.db().read(|conn| xattr(conn, &scratch.view, ino, b"user.a")).unwrap()
}

fn is_clean(applied: &Applied) -> bool {
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

/// Goes on with an operation on a branch that is not the current one.
fn going_on<T>(
    scratch: &mut Scratch,
    (branch, operation): (&View, OperationId),
    change: impl FnOnce(&Scratch) -> T,
) -> T {
    let back = std::mem::replace(&mut scratch.view, branch.clone());
    let other = scratch.operation.replace(operation);
    let done = change(scratch);
    scratch.operation.set(other);
    scratch.view = back;
    done
}

#[test]
fn what_was_merged_is_no_longer_its_operations_to_take_back() {
    let (mut scratch, _, _, fork) = forked();
    let root = scratch.root;
    let symlink = NewInode { symlink: Some(b"there"), ..new(S_IFLNK | 0o777) };
    let (link, file, operation) = on(&mut scratch, &fork, |scratch| {
        let link = scratch.create(root, "link", &symlink).unwrap().ino;
        scratch.written(root, "gone", 2);
        (link, scratch.written(root, "moved", 3), scratch.operation.get())
    });
    scratch.merge(&fork, Favour::Newest).unwrap();
    going_on(&mut scratch, (&fork, operation), |scratch| {
        scratch.unlink(root, "link").unwrap();
        scratch.unlink(root, "gone").unwrap();
        scratch.rename((root, "moved"), (root, "there")).unwrap();
    });
    let target = scratch.db().read(|conn| symlink_target(conn, link)).unwrap();
    assert_eq!(target, Some(b"there".to_vec()));
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!((scratch.lookup(root, "link"), scratch.lookup(root, "gone")), (None, None));
    assert_eq!(scratch.lookup(root, "there"), Some(file));
}

#[test]
fn a_fork_goes_on_knowing_a_merge_that_was_undone_behind_it() {
    let (mut scratch, _, file, fork) = forked();
    let root = scratch.root;
    on(&mut scratch, &fork, |scratch| {
        scratch.publish(file, 2, None);
        scratch.written(root, "new", 3);
    });
    scratch.merge(&fork, Favour::Newest).unwrap();
    let between = scratch.fork("between", None);
    scratch.undo(None).unwrap();
    on(&mut scratch, &between, |scratch| {
        scratch.publish(file, 4, None);
        scratch.unlink(root, "new").unwrap();
        assert!(scratch.merge(&fork, Favour::Newest).unwrap().is_nothing());
    });
}

#[test]
fn what_an_undone_merge_brought_is_no_side_when_it_is_merged_again() {
    let (mut scratch, _, _, fork) = forked();
    let root = scratch.root;
    let file = on(&mut scratch, &fork, |scratch| {
        let file = scratch.written(root, "new", 2);
        mark(scratch, file, b"1");
        file
    });
    scratch.merge(&fork, Favour::Newest).unwrap();
    scratch.undo(None).unwrap();
    on(&mut scratch, &fork, |scratch| {
        scratch.publish(file, 3, None);
        mark(scratch, file, b"2");
        let edit = AttributeEdit { permissions: Some(0o600), ..AttributeEdit::default() };
        set(scratch, file, edit);
    });
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!((scratch.lookup(root, "new"), scratch.blob(file)), (Some(file), Some(3)));
    assert_eq!(scratch.stat(file).mode & 0o7777, 0o600);
    assert_eq!(marked(&scratch, file), Some(b"2".to_vec()));
}

/// A branch and the current one, both of which merged two others; a file of the first of these.
fn crossed() -> (Scratch, View, Ino) {
    let (mut scratch, _, _, one) = forked();
    let (two, fork) = (scratch.fork("two", None), scratch.fork("crossed", None));
    let root = scratch.root;
    let file = on(&mut scratch, &one, |scratch| scratch.written(root, "one", 2));
    on(&mut scratch, &one, |scratch| mark(scratch, file, b"1"));
    on(&mut scratch, &two, |scratch| scratch.written(root, "two", 3));
    for from in [&one, &two] {
        scratch.merge(from, Favour::Newest).unwrap();
        on(&mut scratch, &fork, |scratch| scratch.merge(from, Favour::Newest).unwrap());
    }
    (scratch, fork, file)
}

#[test]
fn what_both_sides_merged_before_is_what_both_began_with() {
    let (mut scratch, fork, file) = crossed();
    let root = scratch.root;
    on(&mut scratch, &fork, |scratch| {
        scratch.publish(file, 4, None);
        mark(scratch, file, b"2");
        scratch.rename((root, "one"), (root, "moved")).unwrap();
    });
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!((scratch.lookup(root, "moved"), scratch.blob(file)), (Some(file), Some(4)));
    assert_eq!(marked(&scratch, file), Some(b"2".to_vec()));

    let (mut scratch, fork, _) = crossed();
    let root = scratch.root;
    scratch.unlink(root, "one").unwrap();
    on(&mut scratch, &fork, |scratch| scratch.written(root, "more", 4));
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!(scratch.lookup(root, "one"), None);
}

/// A file whose first name was removed, so that only a further one leads to it; a branch.
fn linked() -> (Scratch, Ino, View) {
    let (mut scratch, directory, file, _) = forked();
    scratch.link(file, scratch.root, "b").unwrap();
    scratch.begin();
    scratch.unlink(directory, "a.txt").unwrap();
    let fork = scratch.fork("linked", None);
    scratch.begin();
    on(&mut scratch, &fork, |scratch| scratch.begin());
    (scratch, file, fork)
}

#[test]
fn an_edit_beats_the_removal_of_a_further_name_from_either_side() {
    for is_edited_here in [true, false] {
        let (mut scratch, file, fork) = linked();
        let root = scratch.root;
        if is_edited_here {
            scratch.publish(file, 2, None);
            on(&mut scratch, &fork, |scratch| scratch.unlink(root, "b").unwrap());
        } else {
            scratch.unlink(root, "b").unwrap();
            on(&mut scratch, &fork, |scratch| scratch.publish(file, 2, None));
        }
        let applied = scratch.merge(&fork, Favour::Newest).unwrap();
        assert_eq!(applied.kept.len(), 1);
        assert_eq!((scratch.lookup(root, "b"), scratch.blob(file)), (Some(file), Some(2)));
    }
}

#[test]
fn who_edits_and_then_removes_a_further_name_has_removed_it() {
    let (mut scratch, file, fork) = linked();
    let root = scratch.root;
    on(&mut scratch, &fork, |scratch| {
        scratch.publish(file, 2, None);
        scratch.unlink(root, "b").unwrap();
    });
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!(scratch.lookup(root, "b"), None);
}

#[test]
fn an_edit_brings_back_no_further_name_of_a_file_that_still_has_one() {
    let (mut scratch, file, _) = linked();
    let root = scratch.root;
    scratch.link(file, root, "c").unwrap();
    let fork = scratch.fork("two", None);
    scratch.unlink(root, "b").unwrap();
    on(&mut scratch, &fork, |scratch| scratch.publish(file, 2, None));
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!((scratch.lookup(root, "b"), scratch.lookup(root, "c")), (None, Some(file)));
    assert_eq!(scratch.blob(file), Some(2));
}

#[test]
fn a_time_that_somebody_set_comes_over_with_the_bytes_it_was_set_for() {
    let aged = AttributeEdit { mtime_ns: Some(5), ..AttributeEdit::default() };
    // Set there, and nothing else.
    let (mut scratch, _, file, fork) = forked();
    on(&mut scratch, &fork, |scratch| set(scratch, file, aged));
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.stat(file).mtime_ns(), 5);
    // Set there, and then edited.
    let (mut scratch, _, file, fork) = forked();
    on(&mut scratch, &fork, |scratch| {
        set(scratch, file, aged);
        scratch.pass(1000);
        scratch.publish(file, 2, None);
    });
    let edited_ns = scratch.clock.now_ns();
    scratch.pass(1000);
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.stat(file).mtime_ns(), edited_ns);
    // Set there, and edited here.
    let (mut scratch, _, file, fork) = forked();
    on(&mut scratch, &fork, |scratch| set(scratch, file, aged));
    scratch.pass(1000);
    scratch.publish(file, 2, None);
    scratch.begin();
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.stat(file).mtime_ns(), scratch.clock.now_ns());
}

/// Saves a file as editors do: a new one takes its name.
fn save(scratch: &Scratch, directory: Ino, name: &str, blob: i64) {
    scratch.written(directory, "new~", blob);
    scratch.rename((directory, "new~"), (directory, name)).unwrap();
    scratch.begin();
}

#[test]
fn however_often_each_side_saves_a_file_by_renaming_it_is_one_file() {
    let (mut scratch, directory, _, fork) = forked();
    save(&scratch, directory, "a.txt", 2);
    on(&mut scratch, &fork, |scratch| {
        save(scratch, directory, "a.txt", 3);
        save(scratch, directory, "a.txt", 4);
    });
    scratch.merge(&fork, Favour::Newest).unwrap();
    let blob = |scratch: &Scratch| scratch.blob(scratch.lookup(directory, "a.txt").unwrap());
    assert_eq!((scratch.list(directory).len(), blob(&scratch)), (1, Some(4)));
    let [conflict] = &scratch.conflicts()[..] else { panic!("one conflict") };
    assert_eq!((conflict.kind, conflict.blob), (ConflictKind::Content, Some(BlobNumber(2))));

    // Only they went on from there.
    on(&mut scratch, &fork, |scratch| save(scratch, directory, "a.txt", 5));
    let applied = scratch.merge(&fork, Favour::Newest).unwrap();
    assert!(is_clean(&applied), "{applied:?}");
    assert_eq!((scratch.list(directory).len(), blob(&scratch)), (1, Some(5)));
}

#[test]
fn a_file_that_one_side_saved_by_renaming_and_the_other_in_place_is_one_file() {
    for renames_here in [true, false] {
        let (mut scratch, directory, file, fork) = forked();
        if renames_here {
            save(&scratch, directory, "a.txt", 2);
            on(&mut scratch, &fork, |scratch| scratch.publish(file, 3, None));
        } else {
            scratch.publish(file, 2, None);
            on(&mut scratch, &fork, |scratch| save(scratch, directory, "a.txt", 3));
        }
        scratch.merge(&fork, Favour::Newest).unwrap();
        let [(_, shows)] = &scratch.list(directory)[..] else { panic!("one file") };
        assert_eq!(scratch.blob(*shows), Some(3));
        let [conflict] = &scratch.conflicts()[..] else { panic!("one conflict") };
        assert_eq!((conflict.kind, conflict.blob), (ConflictKind::Content, Some(BlobNumber(2))));
    }
}

#[test]
fn different_devices_of_one_name_both_stay() {
    let (mut scratch, directory, _, fork) = forked();
    let device = |rdev| NewInode { rdev, ..new(0o020_000 | 0o600) };
    on(&mut scratch, &fork, |scratch| {
        scratch.create(directory, "null", &device(0x103)).unwrap();
        scratch.create(directory, "same", &device(0x105)).unwrap();
    });
    scratch.create(directory, "null", &device(0x107)).unwrap();
    scratch.create(directory, "same", &device(0x105)).unwrap();
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!(scratch.list(directory).len(), 1 + 2 + 1);
}

#[test]
fn no_bytes_get_a_set_user_id_bit_that_nobody_gave_them() {
    let to_root = |permissions| AttributeEdit {
        permissions: Some(permissions),
        uid: Some(0),
        ..AttributeEdit::default()
    };
    // Root made a program of it there, and its owner wrote another one here.
    let (mut scratch, _, file, fork) = forked();
    on(&mut scratch, &fork, |scratch| set(scratch, file, to_root(0o4755)));
    scratch.publish(file, 2, None);
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!((scratch.stat(file).mode & 0o7777, scratch.blob(file)), (0o755, Some(2)));
    // The same to and fro.
    let (mut scratch, _, file, fork) = forked();
    on(&mut scratch, &fork, |scratch| scratch.publish(file, 2, None));
    set(&scratch, file, to_root(0o4755));
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!((scratch.stat(file).mode & 0o7777, scratch.blob(file)), (0o755, Some(2)));
    // By renaming.
    let (mut scratch, directory, file, fork) = forked();
    on(&mut scratch, &fork, |scratch| save(scratch, directory, "a.txt", 2));
    scratch.publish(file, 1, None);
    set(&scratch, file, to_root(0o4755));
    scratch.merge(&fork, Favour::Newest).unwrap();
    let shows = scratch.lookup(directory, "a.txt").unwrap();
    assert!(scratch.stat(shows).mode & 0o4000 == 0 || scratch.blob(shows) == Some(1));
    // Both came from there.
    let (mut scratch, _, file, fork) = forked();
    on(&mut scratch, &fork, |scratch| {
        scratch.publish(file, 2, None);
        set(scratch, file, to_root(0o4755));
    });
    scratch.merge(&fork, Favour::Newest).unwrap();
    assert_eq!((scratch.stat(file).mode & 0o7777, scratch.blob(file)), (0o4755, Some(2)));
}

/// Were every wish tried again for each that is granted, this would take a minute.
#[test]
fn many_files_change_names_along_a_chain_or_in_pairs() {
    const COUNT: usize = 1000;
    let numbered = |nth: usize| name(&format!("{nth:04}"));
    for in_pairs in [false, true] {
        let mut scratch = Scratch::new();
        let root = scratch.root;
        let make = |tx: &Tx<'_>, view: &View, operation| {
            for nth in 0..COUNT {
                let into = inode(tx, view, root)?.expect("the root is there");
                create(tx, view, operation, &into, &numbered(nth), &new(S_IFREG | 0o644))?;
            }
            Ok(())
        };
        scratch.change(make).unwrap();
        scratch.begin();
        let fork = scratch.fork("fork", None);
        let change = |tx: &Tx<'_>, view: &View, operation| {
            let into = inode(tx, view, root)?.expect("the root is there");
            for nth in (0..COUNT).rev() {
                if !in_pairs {
                    let to = numbered(nth + 1);
                    rename(tx, view, operation, (root, &numbered(nth)), (&into, &to))?;
                } else if nth % 2 == 1 {
                    let to = numbered(nth - 1);
                    exchange(tx, view, operation, (root, &numbered(nth)), (&into, &to))?;
                }
            }
            Ok(())
        };
        let theirs = on(&mut scratch, &fork, |scratch| {
            scratch.change(change).unwrap();
            scratch.list(root)
        });
        let applied = scratch.merge(&fork, Favour::Newest).unwrap();
        assert!(is_clean(&applied));
        assert_eq!(scratch.list(root), theirs);
    }
}

#[test]
fn equal_files_that_became_one_are_one_when_either_is_edited_later() {
    for save_by_renaming in [false, true] {
        let (mut scratch, directory, _, fork) = forked();
        let there = on(&mut scratch, &fork, |scratch| scratch.written(directory, "both", 2));
        scratch.written(directory, "both", 2);
        scratch.begin();
        scratch.merge(&fork, Favour::Newest).unwrap();
        on(&mut scratch, &fork, |scratch| match save_by_renaming {
            true => save(scratch, directory, "both", 3),
            false => drop(scratch.publish(there, 3, None)),
        });
        let applied = scratch.merge(&fork, Favour::Newest).unwrap();
        assert_eq!(applied.conflicts, []);
        assert_eq!(scratch.list(directory).len(), 2);
        assert_eq!(scratch.blob(scratch.lookup(directory, "both").unwrap()), Some(3));
    }
}
