//! Merging again, and what both sides did to one file by different ways.

use super::{
    merging::{forked, is_clean, mark, marked, on, set},
    *,
};

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
