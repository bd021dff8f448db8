//! Deciding conflicts, taking decisions back, and what the sides are.

use super::*;

/// A file `a` with blob 1, changed to 3 on `main` and to 2 on a merged branch; `newer_there` says
/// which of the two came later and shows.
fn conflicted(newer_there: bool) -> (Scratch, Ino, View) {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    scratch.begin();
    let fork = scratch.fork("try", None);
    if newer_there {
        scratch.publish(file, 3, None);
    }
    scratch.on(&fork, |scratch| scratch.publish(file, 2, None));
    if !newer_there {
        scratch.publish(file, 3, None);
    }
    scratch.merge(&fork, Favour::Newest).unwrap();
    (scratch, file, fork)
}

/// Two different files `a`: 3 on `main`, 2 on a merged branch. Returns both, the older first.
fn two_of_a_name(newer_there: bool) -> (Scratch, Ino, Ino) {
    let mut scratch = Scratch::new();
    scratch.begin();
    let fork = scratch.fork("try", None);
    let here = newer_there.then(|| scratch.written(scratch.root, "a", 3));
    let root = scratch.root;
    let there = scratch.on(&fork, |scratch| scratch.written(root, "a", 2));
    let here = here.unwrap_or_else(|| scratch.written(scratch.root, "a", 3));
    scratch.merge(&fork, Favour::Newest).unwrap();
    (scratch, here, there)
}

fn decide(scratch: &Scratch, how: Resolution) -> OperationId {
    let [conflict] = &scratch.conflicts()[..] else { panic!("one conflict") };
    let operation = scratch.begin();
    scratch
        .change(|tx, view, operation| resolve(tx, view, operation, conflict, how))
        .expect("it can be decided");
    operation
}

fn is_open(scratch: &Scratch) -> bool {
    !scratch.conflicts().is_empty()
}

fn sides_of(scratch: &Scratch) -> Sides {
    let [conflict] = &scratch.conflicts()[..] else { panic!("one conflict") };
    scratch.db().read(|conn| sides(conn, &scratch.view, conflict)).unwrap()
}

fn new_content(blob: i64) -> NewContent {
    let blob = BlobNumber(blob);
    NewContent { size: 50, blob: Some(blob), mtime_ns: NOW_NS, ctime_ns: None }
}

#[test]
fn ours_is_what_the_branch_had_whichever_side_shows() {
    for newer_there in [true, false] {
        for (how, shows) in [
            (Resolution::Ours, 3),
            (Resolution::Theirs, 2),
            (Resolution::AsItIs, if newer_there { 2 } else { 3 }),
            (Resolution::With(new_content(5)), 5),
        ] {
            let (scratch, file, _) = conflicted(newer_there);
            decide(&scratch, how);
            assert_eq!(scratch.blob(file), Some(shows), "{how:?}");
            assert!(!is_open(&scratch));
        }
    }
}

#[test]
fn undoing_a_decision_opens_the_conflict_and_redoing_it_closes_it() {
    for newer_there in [true, false] {
        for how in [
            Resolution::Ours,
            Resolution::Theirs,
            Resolution::Both,
            Resolution::AsItIs,
            Resolution::With(new_content(5)),
        ] {
            let (scratch, file, _) = conflicted(newer_there);
            let (before, was) = (scratch.conflicts(), scratch.blob(file));
            let decision = decide(&scratch, how);
            let decided = scratch.blob(file);
            assert_eq!(scratch.undo(None).unwrap().operation, decision, "{how:?}");
            assert_eq!((scratch.conflicts(), scratch.blob(file)), (before, was), "{how:?}");
            assert_eq!(scratch.list(scratch.root).len(), 1);
            scratch.redo().unwrap();
            assert!(!is_open(&scratch), "{how:?}");
            assert_eq!(scratch.blob(file), decided);
            scratch.undo(None).unwrap();
            assert!(is_open(&scratch), "{how:?}");
        }
    }
}

#[test]
fn a_conflict_is_void_while_its_merge_is_undone() {
    let (scratch, file, _) = conflicted(true);
    let before = scratch.conflicts();
    scratch.undo(None).unwrap();
    assert!(!is_open(&scratch));
    scratch.redo().unwrap();
    assert_eq!((scratch.conflicts(), scratch.blob(file)), (before, Some(2)));
    let decision = decide(&scratch, Resolution::Ours);
    scratch.undo(Some(decision)).unwrap();
    scratch.undo(None).unwrap();
    assert!(!is_open(&scratch), "what is void is not opened");
}

#[test]
fn a_conflict_that_two_operations_decided_is_closed_while_one_of_them_is_in_force() {
    let (scratch, _, _) = conflicted(false);
    let first = decide(&scratch, Resolution::Ours);
    scratch.undo(Some(first)).unwrap();
    let second = decide(&scratch, Resolution::AsItIs);
    scratch.redo().unwrap();
    scratch.undo(Some(second)).unwrap();
    assert!(!is_open(&scratch), "the first is in force again");
    scratch.undo(Some(first)).unwrap();
    assert!(is_open(&scratch));
}

#[test]
fn of_two_files_with_one_name_the_kept_one_has_it_and_the_other_is_in_history() {
    for newer_there in [true, false] {
        for how in [Resolution::Ours, Resolution::Theirs] {
            let (scratch, here, there) = two_of_a_name(newer_there);
            let (before, was) = (scratch.conflicts(), scratch.list(scratch.root));
            assert_eq!(was.len(), 2);
            let (kept, gone) = if how == Resolution::Ours { (here, there) } else { (there, here) };
            decide(&scratch, how);
            assert_eq!(scratch.list(scratch.root), [("a".to_owned(), kept)], "{how:?}");
            assert_eq!(scratch.stat(gone).nlink, 0);
            scratch.undo(None).unwrap();
            assert_eq!(scratch.list(scratch.root), was);
            assert_eq!(scratch.conflicts(), before);
        }
        let (scratch, ..) = two_of_a_name(newer_there);
        decide(&scratch, Resolution::Both);
        assert_eq!(scratch.list(scratch.root).len(), 2);
    }
}

#[test]
fn a_decision_reaches_the_file_that_was_saved_over_the_one_in_conflict() {
    for (how, shows) in [(Resolution::Theirs, 2), (Resolution::With(new_content(5)), 5)] {
        let (scratch, _, _) = conflicted(false);
        scratch.begin();
        let saved = scratch.written(scratch.root, "tmp", 4);
        scratch.rename((scratch.root, "tmp"), (scratch.root, "a")).unwrap();
        let sides = sides_of(&scratch);
        let ours = sides.ours.expect("it is there");
        assert_eq!((ours.ino, ours.blob, sides.touched), (saved, Some(BlobNumber(4)), true));
        let at = |conn: &_| conflicts_at(conn, &scratch.view, (scratch.root, &name("a")));
        assert_eq!(scratch.db().read(at).unwrap(), scratch.conflicts());
        decide(&scratch, how);
        assert_eq!(scratch.lookup(scratch.root, "a"), Some(saved));
        assert_eq!(scratch.blob(saved), Some(shows));
    }
}

#[test]
fn a_file_that_was_removed_since_comes_back_only_for_the_other_side() {
    for (how, shows) in [
        (Resolution::Ours, None),
        (Resolution::AsItIs, None),
        (Resolution::Theirs, Some(2)),
        (Resolution::Both, Some(2)),
    ] {
        let (scratch, file, _) = conflicted(false);
        scratch.begin();
        scratch.unlink(scratch.root, "a").unwrap();
        assert_eq!(sides_of(&scratch).ours, None);
        let at = |conn: &_| conflicts_at(conn, &scratch.view, (scratch.root, &name("a")));
        assert_eq!(scratch.db().read(at).unwrap(), scratch.conflicts(), "found by its last name");
        decide(&scratch, how);
        let there = scratch.lookup(scratch.root, "a");
        assert_eq!(there.and_then(|ino| scratch.blob(ino)), shows, "{how:?}");
        assert!(there.is_none_or(|ino| ino == file));
        scratch.undo(None).unwrap();
        assert_eq!(scratch.lookup(scratch.root, "a"), None);
        assert!(is_open(&scratch));
    }
}

#[test]
fn the_sides_say_which_branch_and_operation_made_them() {
    for newer_there in [true, false] {
        let (scratch, file, fork) = conflicted(newer_there);
        let Sides { ours, theirs, base, touched } = sides_of(&scratch);
        let (ours, theirs) = (ours.expect("ours"), theirs.expect("theirs"));
        let base = base.expect("base");
        let blobs = [&ours, &theirs, &base].map(|side| side.blob.expect("bytes").0);
        assert_eq!(blobs, [3, 2, 1]);
        let branches = [&ours, &theirs, &base].map(|side| side.branch);
        assert_eq!(branches, [scratch.view.branch, fork.branch, scratch.view.branch].map(Some));
        assert_eq!((ours.shows, theirs.shows), (!newer_there, newer_there));
        assert!([&ours, &theirs, &base].iter().all(|side| side.ino == file));
        let there = scratch.db().read(|conn| operations(conn, &fork, None, 1)).unwrap();
        assert_eq!(theirs.operation, Some(there[0].id), "not the merge");
        assert!(!touched);
    }
}

#[test]
fn what_a_person_made_of_it_since_is_told_from_what_the_merge_left() {
    for newer_there in [true, false] {
        let (scratch, file, _) = conflicted(newer_there);
        scratch.begin();
        scratch.publish(file, 4, None);
        assert!(sides_of(&scratch).touched);
        scratch.undo(None).unwrap();
        assert!(!sides_of(&scratch).touched, "it is as the merge left it again");
        let (scratch, ..) = two_of_a_name(newer_there);
        assert!(!sides_of(&scratch).touched);
        scratch.begin();
        scratch.rename((scratch.root, "a"), (scratch.root, "b")).unwrap();
        assert!(sides_of(&scratch).touched);
    }
}

#[test]
fn a_conflict_about_a_name_is_found_by_both_names() {
    let (scratch, here, there) = two_of_a_name(true);
    let [conflict] = &scratch.conflicts()[..] else { panic!("one conflict") };
    let Sides { ours, theirs, base, .. } = sides_of(&scratch);
    assert_eq!((ours.expect("ours").ino, theirs.expect("theirs").ino), (here, there));
    assert_eq!(base, None);
    for (text, _) in scratch.list(scratch.root) {
        let found = scratch
            .db()
            .read(|conn| conflicts_at(conn, &scratch.view, (scratch.root, &name(&text))))
            .unwrap();
        assert_eq!(found, std::slice::from_ref(conflict), "{text}");
    }
}

#[test]
fn only_a_merge_is_aborted() {
    let (scratch, file, _) = conflicted(true);
    let abort = || scratch.db().write(|tx| abort_merge(tx, &scratch.view, "a test", &NUMBERS));
    let decision = decide(&scratch, Resolution::Ours);
    assert!(matches!(abort(), Err(UndoError::NotAMerge(last)) if last == decision));
    assert_eq!(scratch.blob(file), Some(3), "nothing was done");
    scratch.undo(None).unwrap();
    abort().unwrap();
    assert_eq!(scratch.blob(file), Some(3));
    assert!(!is_open(&scratch));
    assert!(matches!(abort(), Err(UndoError::NotAMerge(_))), "what came before is no merge");
    while scratch.undo(None).is_ok() {}
    assert!(matches!(abort(), Err(UndoError::Nothing { what: "abort" })));
}
