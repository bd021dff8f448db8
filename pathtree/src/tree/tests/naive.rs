//! Merge and undo against a model that compares whole trees in memory.
//!
//! The model looks at all of three trees and decides inode by inode. It does not say which name a
//! file gets that has to give way: where two claim a place it is silent, and only the invariants
//! are checked. How many cases it was silent about is counted.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    prelude::*,
    test_runner::{TestCaseResult, TestRunner},
};

use super::{
    model::{Pair, Step, arb_step, config},
    *,
};

/// One inode as a tree has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    /// `None`: it was removed.
    place: Option<(Ino, String)>,
    is_directory: bool,
    blob: Option<i64>,
    permissions: u32,
    xattrs: [Option<Vec<u8>>; 2],
}

/// A whole tree, with what was removed from it and is not yet purged.
type Tree = BTreeMap<Ino, Node>;

/// What both sides changed, each in its way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Disputes {
    bytes: BTreeSet<Ino>,
    places: BTreeSet<Ino>,
}

/// Returns every inode that any tree knows.
fn inos(scratch: &Scratch) -> Vec<Ino> {
    let query = |conn: &rusqlite::Connection| {
        let mut stmt =
            conn.prepare_cached("SELECT DISTINCT id FROM inodes WHERE target IS NULL")?;
        stmt.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()
    };
    scratch.db().read(|conn| query(conn).doing("listing inodes")).unwrap()
}

/// Reads a tree; `inos` are all inodes there ever were.
fn tree_of(scratch: &Scratch, view: &View, inos: &[Ino]) -> Tree {
    let db = scratch.db();
    let mut tree = Tree::new();
    for ino in inos {
        let Some(found) = db.read(|conn| inode(conn, view, *ino)).unwrap() else { continue };
        let value = |name: u8| db.read(|conn| xattr(conn, view, *ino, &[name])).unwrap();
        let names = db.read(|conn| names(conn, view, *ino)).unwrap();
        assert!(names.len() <= 1, "these histories make no further links");
        let node = Node {
            place: names.into_iter().next().map(|(parent, name)| (parent, name.to_string())),
            is_directory: found.is_directory(),
            blob: found.blob.map(|blob| blob.0),
            permissions: found.mode & 0o7777,
            xattrs: [value(0), value(1)],
        };
        tree.insert(*ino, node);
    }
    tree
}

/// What shows of a value that both sides may have changed, and whether both did.
fn three_way<T: PartialEq>(base: &T, ours: T, theirs: T, theirs_wins: bool) -> (T, bool) {
    if ours == theirs || theirs == *base {
        (ours, false)
    } else if ours == *base {
        (theirs, false)
    } else {
        (if theirs_wins { theirs } else { ours }, true)
    }
}

/// What is compared.
#[derive(Clone, Copy)]
enum Question {
    Merge {
        is_theirs_newer: bool,
    },
    /// Theirs is what was before: to have other bytes than now is no wish to be there.
    Undo,
}

/// Merges whole trees; `None` where two inodes claim one place or directories hang in a circle.
fn merge_trees(
    base: &Tree,
    ours: &Tree,
    theirs: &Tree,
    question: Question,
) -> Option<(Tree, Disputes)> {
    let is_theirs_newer = matches!(question, Question::Merge { is_theirs_newer: true });
    let mut merged = ours.clone();
    let mut disputes = Disputes::default();
    // What they do not know, and was there, they have removed, as an undo does.
    let removed = base.iter().filter(|(ino, _)| !theirs.contains_key(ino));
    let removed: Tree =
        removed.map(|(ino, was)| (*ino, Node { place: None, ..was.clone() })).collect();
    for (ino, new) in theirs.iter().chain(&removed) {
        let Some(old) = ours.get(ino) else {
            if new.place.is_some() {
                merged.insert(*ino, new.clone());
            }
            continue;
        };
        // What one side brought before is known to both, or it has no base here.
        let was = base.get(ino)?;
        let mut node = old.clone();
        let (blob, is_disputed) = three_way(&was.blob, old.blob, new.blob, is_theirs_newer);
        node.blob = blob;
        if is_disputed {
            disputes.bytes.insert(*ino);
        }
        let permissions = (old.permissions, new.permissions);
        node.permissions =
            three_way(&was.permissions, permissions.0, permissions.1, is_theirs_newer).0;
        // Nobody gave one side's set-user-id bit to the other side's bytes.
        let looks = |node: &Node| (node.permissions, node.blob);
        if !node.is_directory && looks(&node) != looks(old) && looks(&node) != looks(new) {
            node.permissions &= !0o6000;
        }
        for name in 0..2 {
            let values = (old.xattrs[name].clone(), new.xattrs[name].clone());
            node.xattrs[name] = three_way(&was.xattrs[name], values.0, values.1, false).0;
        }
        node.place = match (&old.place, &new.place) {
            (Some(_), None) if was.place.is_some() => {
                let is_changed = old.place != was.place || old.blob != was.blob;
                old.place.clone().filter(|_| is_changed)
            }
            (None, Some(_)) => {
                let is_edited = matches!(question, Question::Merge { .. }) && new.blob != was.blob;
                let is_changed = new.place != was.place || is_edited;
                new.place.clone().filter(|_| is_changed)
            }
            (here, there) => {
                let (place, is_disputed) =
                    three_way(&was.place, here.clone(), there.clone(), is_theirs_newer);
                if is_disputed {
                    disputes.places.insert(*ino);
                }
                place
            }
        };
        merged.insert(*ino, node);
    }
    bring_back(&mut merged, ours, theirs);
    is_a_tree(&merged).then_some((merged, disputes))
}

/// Gives directories that something hangs in their own place back.
fn bring_back(merged: &mut Tree, ours: &Tree, theirs: &Tree) {
    loop {
        let parents = merged.values().filter_map(|node| Some(node.place.as_ref()?.0));
        let gone =
            parents.filter(|parent| merged.get(parent).is_none_or(|node| node.place.is_none()));
        let is_root = |parent: &Ino| {
            let place = |tree: &Tree| tree.get(parent).and_then(|node| node.place.clone());
            place(ours).or_else(|| place(theirs)).is_none()
        };
        let Some(directory) = gone.into_iter().find(|parent| !is_root(parent)) else { return };
        let place = [ours, theirs].iter().find_map(|tree| tree.get(&directory)?.place.clone());
        let node = merged.get(&directory).or_else(|| theirs.get(&directory)).expect("one has it");
        let node = Node { place, ..node.clone() };
        merged.insert(directory, node);
    }
}

/// Says whether no two inodes share a place and every one is reached from the root.
fn is_a_tree(tree: &Tree) -> bool {
    let mut places = BTreeSet::new();
    let is_distinct =
        tree.values().filter_map(|node| node.place.as_ref()).all(|place| places.insert(place));
    let is_reached = |ino: &Ino| {
        let mut at = *ino;
        for _ in 0..=tree.len() {
            match tree.get(&at).and_then(|node| node.place.as_ref()) {
                Some((parent, _)) => at = *parent,
                None => return tree.get(&at).is_some_and(|node| node.is_directory),
            }
        }
        false
    };
    is_distinct && tree.keys().all(is_reached)
}

fn live(tree: Tree) -> Tree {
    tree.into_iter().filter(|(_, node)| node.place.is_some()).collect()
}

/// Compares what was applied with what the model says; returns whether it said anything.
fn compare(
    pair: &Pair,
    applied: &Applied,
    inos: &[Ino],
    expected: Option<(Tree, Disputes)>,
) -> bool {
    let scratch = &pair.scratch;
    invariants::check(scratch.db(), &scratch.view);
    let Some((tree, disputes)) = expected else { return false };
    let shown = live(tree_of(scratch, &scratch.view, inos));
    assert_eq!(shown, live(tree));
    let mut found = Disputes::default();
    for conflict in &applied.conflicts {
        match conflict.kind {
            ConflictKind::Content => found.bytes.insert(conflict.ino),
            ConflictKind::Place => found.places.insert(conflict.ino),
            ConflictKind::Name => panic!("no name was claimed twice: {conflict:?}"),
        };
    }
    assert_eq!(found, disputes);
    true
}

fn arb_steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = arb_step().prop_filter("one operation, without further links", |step| {
        !matches!(step, Step::Withdraw(_) | Step::Begin | Step::See | Step::Link(..))
    });
    prop::collection::vec(step, 1..most)
}

/// Runs a property and says how many of its cases the model decided.
fn run<S: Strategy>(strategy: &S, case: impl Fn(S::Value) -> bool) {
    let mut runner = TestRunner::new(config());
    let (mut decided, mut all) = (0_u32, 0_u32);
    let counted = std::cell::RefCell::new((&mut decided, &mut all));
    let done = runner.run(strategy, |value| -> TestCaseResult {
        let is_decided = case(value);
        let mut counted = counted.borrow_mut();
        *counted.1 += 1;
        *counted.0 += u32::from(is_decided);
        Ok(())
    });
    if let Err(err) = done {
        panic!("{err}");
    }
    assert!(decided * 2 > all, "the model decided {decided} of {all} cases: too few");
}

#[test]
fn a_merge_is_what_comparing_whole_trees_says() {
    let strategy = (arb_steps(20), arb_steps(8), arb_steps(8), any::<bool>());
    run(&strategy, |(before, here, there, is_theirs_newer)| {
        let mut pair = Pair::new();
        pair.take_operation(&before);
        let (base, ours) = (pair.model.clone(), pair.scratch.view.clone());
        let from = pair.scratch.fork("from", None);
        let sides = [(&ours, &here), (&from, &there)];
        let order = if is_theirs_newer { [0, 1] } else { [1, 0] };
        let fork = pair.scratch.db().write(|tx| Ok::<_, TreeError>(tx.next_stamp().hlc)).unwrap();
        for side in order {
            let (view, steps) = sides[side];
            pair.scratch.view = view.clone();
            pair.model = base.clone();
            pair.take_operation(steps);
        }
        pair.scratch.view = ours.clone();
        let inos = inos(&pair.scratch);
        let read = |view: &View| tree_of(&pair.scratch, view, &inos);
        let question = Question::Merge { is_theirs_newer };
        let expected = merge_trees(&read(&ours.at(fork)), &read(&ours), &read(&from), question);
        let applied = pair.scratch.merge(&from, Favour::Newest).unwrap();
        compare(&pair, &applied, &inos, expected)
    });
}

#[test]
fn an_undo_is_what_comparing_whole_trees_says() {
    let strategy = (arb_steps(20), arb_steps(8), arb_steps(8));
    run(&strategy, |(before, undone, after)| {
        let mut pair = Pair::new();
        let now = |pair: &Pair| {
            pair.scratch.db().write(|tx| Ok::<_, TreeError>(tx.next_stamp().hlc)).unwrap()
        };
        pair.take_operation(&before);
        let first = now(&pair);
        pair.take_operation(&undone);
        let operation = pair.scratch.operation.get();
        let second = now(&pair);
        pair.take_operation(&after);
        let view = pair.scratch.view.clone();
        let inos = inos(&pair.scratch);
        let read = |view: &View| tree_of(&pair.scratch, view, &inos);
        let (was, before) = (read(&view.at(second)), read(&view.at(first)));
        let expected = merge_trees(&was, &read(&view), &before, Question::Undo);
        match pair.scratch.undo(Some(operation)) {
            Ok(done) => compare(&pair, &done.applied, &inos, expected),
            // It changed nothing, or nothing that it left.
            Err(UndoError::NotFound(_) | UndoError::Nothing { .. }) => false,
            Err(err) => panic!("{err}"),
        }
    });
}
