//! How long it takes to look through a chain of branches, to fork, merge and undo.
//!
//! `cargo test --release -p tesfs-pathtree --test database measure_branches -- --ignored
//! --nocapture`; `FILES=1000000` chooses the size, `TMPDIR` the disk. Ratios are to the same look at
//! `main` in the same run, taken in turns.

#![expect(clippy::print_stdout, reason = "figures are what this is for")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use tesfs_pathtree::{
    Clock, Db, DeviceId, Ino, SCHEMA,
    branch::{self, BranchError, NewBranch},
    tree::{self as core, Bytes, Favour, Merge, View},
};

use crate::{
    measure::{Growing, begin, publish, unlink},
    tree::{bucket, name, settings},
};

/// Looks at each view per question.
const LOOKS: usize = 4000;
/// Files that each branch of the chain changes.
const CHANGES: usize = 100;
const DEPTH: usize = 16;

/// How long one question takes on several views, in turns.
fn compare(
    tree: &mut Growing,
    what: &str,
    views: &[(&str, View)],
    mut ask: impl FnMut(&Growing, &View, usize),
    mut choose: impl FnMut(&mut Growing) -> usize,
) {
    let mut took = vec![Vec::with_capacity(LOOKS); views.len()];
    for _ in 0..LOOKS {
        let at = choose(tree);
        // Each is first in its turn: whoever is finds cold pages.
        for turn in 0..views.len() {
            let nth = (turn + at) % views.len();
            let view = &views[nth].1;
            let began = Instant::now();
            ask(tree, view, at);
            took[nth].push(began.elapsed());
        }
    }
    let median = |took: &mut Vec<Duration>| {
        took.sort();
        took[took.len() / 2].as_secs_f64() * 1e6
    };
    let medians: Vec<f64> = took.iter_mut().map(median).collect();
    let said: Vec<String> = views
        .iter()
        .zip(&medians)
        .map(|((name, _), us)| format!("{name} {us:.2} ({:.2})", us / medians[0]))
        .collect();
    println!("  {what:<28} {}", said.join("  "));
}

fn once<T>(what: &str, step: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = step();
    println!("  {what:<44} {:>9.2} ms", began.elapsed().as_secs_f64() * 1e3);
    done
}

fn fork(tree: &Growing, text: &str, from: &View) -> View {
    let made = tree.db.write(|tx| {
        let bucket = tesfs_pathtree::bucket::find(tx, "photos")?.expect("it was created");
        let from = branch::by_number(tx, from.branch)?.expect("it is there");
        let new = NewBranch { name: text, from: &from, at: None, frozen: false };
        let made = branch::create(tx, &bucket, &new)?;
        Ok::<_, BranchError>(View::of(tx, made.number)?.expect("it was made"))
    });
    made.unwrap()
}

/// Does something on another branch, as an operation of its own.
fn on<T>(tree: &mut Growing, view: &View, change: impl FnOnce(&mut Growing) -> T) -> T {
    let back = std::mem::replace(&mut tree.view, view.clone());
    tree.operation = begin(tree);
    let done = change(tree);
    tree.view = back;
    tree.operation = begin(tree);
    done
}

#[test]
#[ignore = "a measurement: takes long and proves nothing"]
fn measure_branches() {
    let size: usize = std::env::var("FILES").map_or(200_000, |size| size.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let db = Db::open(&path, &[SCHEMA], &settings(), Clock::system(), DeviceId([7; 32])).unwrap();
    let view = View::main(&bucket(&db));
    let mut tree = Growing::new(db, view);
    while tree.files.len() < size {
        tree.create(true);
    }
    println!(
        "{size} files, a chain of {DEPTH} branches, {CHANGES} changes on each; us, (ratio to main)"
    );
    let mut chain = vec![tree.view.clone()];
    let mut touched = Vec::new();
    for depth in 1..=DEPTH {
        let parent = chain.last().expect("main").clone();
        let next = fork(&tree, &format!("depth {depth}"), &parent);
        let changed: Vec<usize> = (0..CHANGES).map(|_| tree.any()).collect();
        on(&mut tree, &next, |tree| {
            for at in &changed {
                publish(tree, tree.files[*at].2, false);
            }
        });
        // The parent goes on, too.
        on(&mut tree, &parent, |tree| {
            for _ in 0..CHANGES {
                let at = tree.any();
                publish(tree, tree.files[at].2, false);
            }
        });
        touched.extend(changed);
        chain.push(next.remembering(&tree.db).unwrap());
    }
    let at = |depth: usize| chain[depth].clone();
    let views = [("main", at(0)), ("1", at(1)), ("8", at(8)), ("16", at(16))];
    let found = |tree: &Growing, view: &View, at: usize| {
        let (parent, text, _) = &tree.files[at];
        let text = name(text);
        let found = tree.db.read(|conn| core::lookup(conn, view, *parent, &text)).unwrap();
        assert!(black_box(found).is_some());
    };
    compare(&mut tree, "lookup (any file)", &views, found, Growing::any);
    let mut nth = 0;
    compare(&mut tree, "lookup (changed on a branch)", &views, found, |_| {
        nth = (nth + 1) % touched.len();
        touched[nth]
    });
    let missing = name("missing");
    let miss = |tree: &Growing, view: &View, at: usize| {
        let parent: Ino = tree.files[at].0;
        let found = tree.db.read(|conn| core::lookup(conn, view, parent, &missing)).unwrap();
        assert!(black_box(found).is_none());
    };
    compare(&mut tree, "lookup (miss)", &views, miss, Growing::any);
    let inode = |tree: &Growing, view: &View, at: usize| {
        let ino = tree.files[at].2;
        black_box(tree.db.read(|conn| core::inode(conn, view, ino)).unwrap());
    };
    compare(&mut tree, "attributes", &views, inode, Growing::any);
    let list = |tree: &Growing, view: &View, at: usize| {
        let directory = tree.files[at].0;
        black_box(tree.db.read(|conn| core::list(conn, view, directory)).unwrap());
    };
    compare(&mut tree, "list 20", &views, list, Growing::any);
    measure_deciding(&mut tree);
}

fn measure_deciding(tree: &mut Growing) {
    let main = tree.view.clone();
    let there = once("fork", || fork(tree, "try", &main));
    let changed: Vec<usize> = (0..CHANGES).map(|_| tree.any()).collect();
    on(tree, &there, |tree| {
        for at in &changed {
            publish(tree, tree.files[*at].2, false);
        }
    });
    let bytes = Bytes { same: &|_, one, other| Ok(one == other), merge: &|_, _| Ok(None) };
    let merge =
        Merge { from: &there, into: &main, favour: Favour::Newest, who: "uid 0", what: "merge" };
    let applied =
        once("merge of 100 changes", || tree.db.write(|tx| core::merge(tx, &merge, &bytes)));
    assert!(applied.unwrap().edited > 0);
    tree.operation = begin(tree);
    once("removal of 10,000 files, one transaction each", || {
        for _ in 0..10_000 {
            let at = tree.any();
            let (parent, text, _) = tree.files.swap_remove(at);
            unlink(tree, parent, &text);
        }
    });
    let undone = once("undo of that removal", || {
        tree.db.write(|tx| core::undo(tx, &main, None, "uid 0", &bytes))
    });
    assert_eq!(undone.unwrap().applied.created, 10_000);
}
