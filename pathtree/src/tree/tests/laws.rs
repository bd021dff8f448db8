//! Laws of undo and merge, over random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    model::{Kind, Pair, Step, arb_step, config},
    *,
};

/// Steps of one operation, without what belongs to other tests.
fn arb_operation() -> impl Strategy<Value = Vec<Step>> {
    let step = arb_step().prop_filter("not within one operation", |step| {
        !matches!(step, Step::Withdraw(_) | Step::Begin | Step::See)
    });
    prop::collection::vec(step, 1..15)
}

/// What a view shows: of every path its inode, bytes, permissions and attributes.
fn shown(scratch: &Scratch, view: &View) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![(String::new(), scratch.root)];
    while let Some((path, ino)) = left.pop() {
        let found = scratch.db().read(|conn| inode(conn, view, ino)).unwrap().expect("it is live");
        let value = |name: u8| scratch.db().read(|conn| xattr(conn, view, ino, &[name])).unwrap();
        let looks = format!(
            "{:?} {:o} {} {:?} {:?}",
            found.blob,
            found.mode,
            found.nlink,
            value(0),
            value(1)
        );
        if found.is_directory() {
            let listed = scratch.db().read(|conn| list(conn, view, ino)).unwrap();
            left.extend(listed.into_iter().map(|one| (format!("{path}/{}", one.name), one.ino)));
        }
        all.insert(path, looks);
    }
    all
}

/// Makes a branch of its own out of what the current one shows; takes steps on it.
fn branch(pair: &mut Pair, name: &str, steps: &[Step]) -> View {
    let view = pair.scratch.fork(name, None);
    let main = std::mem::replace(&mut pair.scratch.view, view.clone());
    let model = pair.model.clone();
    pair.take_operation(steps);
    pair.model = model;
    pair.scratch.view = main;
    pair.scratch.begin();
    view
}

/// Merges branches one after the other into a new one; returns it.
fn merged(pair: &mut Pair, name: &str, branches: &[&View]) -> View {
    let view = pair.scratch.fork(name, None);
    let main = std::mem::replace(&mut pair.scratch.view, view.clone());
    for from in branches {
        pair.scratch.merge(from, Favour::Newest).unwrap();
        assert!(pair.scratch.merge(from, Favour::Newest).unwrap().is_nothing(), "twice is once");
    }
    pair.scratch.view = main;
    view
}

/// Lets steps happen in one directory alone: of those there are, the numbered one and its names.
fn only_in(pair: &Pair, steps: Vec<Step>, of: u8) -> Vec<Step> {
    let count = u8::try_from(pair.model.directories(pair.scratch.root).len()).unwrap_or(u8::MAX);
    let own = |(_, name): (u8, u8)| (of % count, name);
    let moved = steps.into_iter().map(|step| match step {
        Step::Create(slot, kind) => Step::Create(own(slot), kind),
        Step::Link(from, to) => Step::Link(own(from), own(to)),
        Step::Unlink(slot) => Step::Unlink(own(slot)),
        Step::RemoveDirectory(slot) => Step::RemoveDirectory(own(slot)),
        Step::Rename(from, to) => Step::Rename(own(from), own(to)),
        Step::Exchange(from, to) => Step::Exchange(own(from), own(to)),
        Step::Publish(slot, by_own) => Step::Publish(own(slot), by_own),
        Step::Chmod(slot, permissions) => Step::Chmod(own(slot), permissions),
        Step::SetXattr(slot, name, value) => Step::SetXattr(own(slot), name, value),
        other => other,
    });
    moved.collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn undo_puts_back_what_an_operation_changed_and_redo_what_it_made(
        operations in prop::collection::vec(arb_operation(), 1..5),
    ) {
        let mut pair = Pair::new();
        let mut states = vec![shown(&pair.scratch, &pair.scratch.view)];
        for steps in &operations {
            pair.take_operation(steps);
            let now = shown(&pair.scratch, &pair.scratch.view);
            // What left no trace is no operation to undo.
            if states.last() != Some(&now) {
                states.push(now);
            }
        }
        let view = pair.scratch.view.clone();
        for expected in states.iter().rev().skip(1) {
            while shown(&pair.scratch, &view) != *expected {
                let undone = pair.scratch.undo(None).expect("there is more to undo");
                prop_assert!(undone.applied.conflicts.is_empty(), "{undone:?}");
            }
            invariants::check(pair.scratch.db(), &view);
        }
        for expected in states.iter().skip(1) {
            while shown(&pair.scratch, &view) != *expected {
                pair.scratch.redo().expect("there is more to redo");
            }
        }
    }

    #[test]
    fn a_branch_without_a_rival_is_merged_as_it_is(
        before in arb_operation(), there in arb_operation(),
    ) {
        let mut pair = Pair::new();
        pair.take_operation(&before);
        let from = branch(&mut pair, "from", &there);
        let applied = pair.scratch.merge(&from, Favour::Newest).unwrap();
        prop_assert!(applied.conflicts.is_empty() && applied.kept.is_empty(), "{applied:?}");
        let view = pair.scratch.view.clone();
        prop_assert_eq!(shown(&pair.scratch, &view), shown(&pair.scratch, &from));
        prop_assert!(pair.scratch.merge(&from, Favour::Newest).unwrap().is_nothing());
        invariants::check(pair.scratch.db(), &view);
    }

    #[test]
    fn the_order_of_merges_does_not_matter_where_they_touch_different_things(
        before in arb_operation(), one in arb_operation(), other in arb_operation(),
    ) {
        let mut pair = Pair::new();
        pair.take(&Step::Create((0, 0), Kind::Directory));
        pair.take(&Step::Create((0, 1), Kind::Directory));
        let (first, second) = (only_in(&pair, before.clone(), 1), only_in(&pair, before, 2));
        pair.take_operation(&first);
        pair.take_operation(&second);
        let one = only_in(&pair, one, 1);
        let other = only_in(&pair, other, 2);
        let one = branch(&mut pair, "one", &one);
        let other = branch(&mut pair, "other", &other);
        let there = merged(&mut pair, "there", &[&one, &other]);
        let back = merged(&mut pair, "back", &[&other, &one]);
        prop_assert_eq!(shown(&pair.scratch, &there), shown(&pair.scratch, &back));
    }

    #[test]
    fn no_merge_loses_a_file_or_breaks_the_tree(
        before in arb_operation(), here in arb_operation(), there in arb_operation(),
    ) {
        let mut pair = Pair::new();
        pair.take_operation(&before);
        let from = branch(&mut pair, "from", &there);
        pair.take_operation(&here);
        let view = pair.scratch.view.clone();
        let was = (shown(&pair.scratch, &view), shown(&pair.scratch, &from));
        let applied = pair.scratch.merge(&from, Favour::Newest).unwrap();
        invariants::check(pair.scratch.db(), &view);
        prop_assert!(pair.scratch.merge(&from, Favour::Newest).unwrap().is_nothing());
        invariants::check(pair.scratch.db(), &view);
        if applied.is_nothing() {
            return Ok(());
        }
        pair.scratch.undo(None).unwrap();
        prop_assert_eq!(&shown(&pair.scratch, &view), &was.0, "an undone merge was none");
        prop_assert_eq!(&shown(&pair.scratch, &from), &was.1, "what is merged stays as it was");
        prop_assert!(pair.scratch.conflicts().is_empty());
    }
}
