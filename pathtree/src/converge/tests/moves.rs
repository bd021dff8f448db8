//! The replay of moves against the definition, and all small cases.

use std::collections::HashMap;

use super::*;

/// One step: when, which directory, and where to (`None`: it is removed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    at: WireStamp,
    directory: u8,
    into: Option<u8>,
}

/// Directory 0 is the root, the others have a birth and one edge each.
fn directory(number: u8) -> InodeId {
    if number == 0 { root() } else { InodeId(stamp(number.into(), 0xdd)) }
}

fn insert(moves: &mut Moves, step: Step) {
    let inode = directory(step.directory);
    let name = name(&step.directory.to_string());
    let hung = |into| Place::Hung { parent: directory(into), name, replaces: None };
    let place = step.into.map_or(Place::Unlinked { seen: vec![] }, hung);
    moves.insert(step.at, PlaceVersion { edge: EdgeId(inode.0), inode, bases: vec![], place });
}

/// Where each directory is, and whether it is removed.
type Positions = BTreeMap<InodeId, (InodeId, bool)>;

fn positions(moves: &Moves) -> Positions {
    let positions = moves.positions().iter();
    positions.map(|(inode, at)| (*inode, (at.parent, at.removed.is_some()))).collect()
}

/// The definition: every step in the order of stamps, from nothing, with the set of descendants
/// computed anew for each. Returns the positions and how many steps would have made a cycle.
fn replay(steps: &[Step]) -> (Positions, usize) {
    let mut steps = steps.to_vec();
    steps.sort_unstable();
    let mut at: HashMap<u8, (u8, bool)> = HashMap::new();
    let mut skipped = 0;
    for Step { directory, into, .. } in steps {
        let Some(into) = into else {
            at.entry(directory).and_modify(|(_, removed)| *removed = true);
            continue;
        };
        let mut below = BTreeSet::from([directory]);
        while let Some((next, _)) =
            at.iter().find(|(inode, (parent, _))| below.contains(parent) && !below.contains(inode))
        {
            below.insert(*next);
        }
        if directory == 0 || below.contains(&into) {
            skipped += 1;
        } else {
            at.insert(directory, (into, false));
        }
    }
    let numbered = |(inode, (parent, removed))| (directory(inode), (directory(parent), removed));
    (at.into_iter().map(numbered).collect(), skipped)
}

#[test]
fn moves_in_any_order_are_where_a_full_replay_puts_them() {
    let mut skipped = 0;
    for seed in 0..3_000 {
        let rng = &mut rng(seed);
        let mut steps: Vec<Step> = (0..rng.random_range(1..20))
            .map(|_| Step {
                // Equal readings are common, so that actors decide.
                at: stamp(rng.random_range(10..24), rng.random_range(1..4)),
                directory: rng.random_range(0..6),
                into: rng.random_bool(0.85).then(|| rng.random_range(0..6)),
            })
            .collect();
        steps.sort_unstable();
        steps.dedup_by_key(|step| (step.at, step.directory));
        shuffle(&mut steps, rng);
        let mut moves = Moves::new(root());
        let mut batch = 0;
        for (index, step) in steps.iter().enumerate() {
            insert(&mut moves, *step);
            if rng.random_bool(0.3) {
                insert(&mut moves, steps[rng.random_range(0..=index)]);
            }
            if rng.random_bool(0.7) || index + 1 == steps.len() {
                moves.redo();
                let (expected, _) = replay(&steps[..=index]);
                assert_eq!(positions(&moves), expected, "seed {seed}, batch {batch}");
                batch += 1;
            }
        }
        skipped += replay(&steps).1;
    }
    assert!(skipped > 1_000, "{skipped} cycles are too few to show anything");
}

/// Every way in which directories 1 to `count` can hang below the root: the parent of each.
fn rooted_trees(count: u8) -> Vec<Vec<u8>> {
    let choices = usize::from(count) + 1;
    let all = (0..choices.pow(count.into())).map(|mut number| {
        let digits = (0..count).map(|_| {
            let parent = u8::try_from(number % choices).unwrap();
            number /= choices;
            parent
        });
        digits.collect::<Vec<u8>>()
    });
    all.filter(|parents| (1..=count).all(|inode| is_below(parents, inode, 0))).collect()
}

/// Says whether `inode` hangs in `above` or deeper; ends where the parents go in a circle.
fn is_below(parents: &[u8], inode: u8, above: u8) -> bool {
    let mut at = inode;
    for _ in 0..=parents.len() {
        if at == 0 {
            return false;
        }
        at = parents[usize::from(at) - 1];
        if at == above {
            return true;
        }
    }
    false
}

/// Every move that somebody who sees this tree can make.
fn possible_moves(parents: &[u8]) -> Vec<(u8, u8)> {
    let count = u8::try_from(parents.len()).unwrap();
    let pairs = (1..=count).flat_map(|inode| (0..=count).map(move |into| (inode, into)));
    pairs
        .filter(|(inode, into)| inode != into && !is_below(parents, *into, *inode))
        .filter(|(inode, into)| parents[usize::from(*inode) - 1] != *into)
        .collect()
}

/// Delivers concurrent moves in every order, and returns how many deliveries there were.
fn deliver_all_orders(born: &Moves, parents: &[u8], concurrent: &[(u8, u8)]) -> usize {
    const ORDERS: [[usize; 3]; 6] =
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    // All readings are equal, so that the actors, in the order of the slice, decide.
    let steps: Vec<Step> = (1..)
        .zip(concurrent)
        .map(|(actor, (inode, into))| Step {
            at: stamp(100, actor),
            directory: *inode,
            into: Some(*into),
        })
        .collect();
    let births = (1..).zip(parents).map(|(inode, parent)| Step {
        at: stamp(50, inode),
        directory: inode,
        into: Some(*parent),
    });
    // A birth in stamp order may come before its parent's: nothing is in it yet, so that is no cycle.
    let (expected, _) = replay(&births.chain(steps.iter().copied()).collect::<Vec<_>>());
    let orders = ORDERS.iter().filter(|order| steps.len() == 3 || order[2] == 2);
    let mut deliveries = 0;
    for order in orders {
        let mut moves = born.clone();
        for index in order.iter().filter(|index| **index < steps.len()) {
            insert(&mut moves, steps[*index]);
            moves.redo();
            assert_reachable(&moves, parents.len());
        }
        assert_eq!(positions(&moves), expected, "{parents:?} {concurrent:?} {order:?}");
        deliveries += 1;
    }
    deliveries
}

/// No cycle and no orphan: from every directory the way up ends at the root.
fn assert_reachable(moves: &Moves, count: usize) {
    assert_eq!(moves.positions().len(), count);
    for inode in moves.positions().keys() {
        let mut at = *inode;
        for _ in 0..count {
            at = moves.positions().get(&at).map_or(at, |position| position.parent);
        }
        assert_eq!(at, root(), "{inode:?}");
    }
}

#[test]
fn all_pairs_and_triples_of_moves_in_all_trees_of_four_directories_agree() {
    let (mut trees, mut deliveries) = (0, 0);
    for count in 1..=4 {
        for parents in rooted_trees(count) {
            trees += 1;
            let mut born = Moves::new(root());
            for (inode, parent) in (1..).zip(&parents) {
                let at = stamp(50, inode);
                insert(&mut born, Step { at, directory: inode, into: Some(*parent) });
            }
            born.redo();
            let possible = possible_moves(&parents);
            for one in &possible {
                for other in &possible {
                    deliveries += deliver_all_orders(&born, &parents, &[*one, *other]);
                    for third in &possible {
                        let concurrent = [*one, *other, *third];
                        deliveries += deliver_all_orders(&born, &parents, &concurrent);
                    }
                }
            }
        }
    }
    assert_eq!(trees, 1 + 3 + 16 + 125, "as Cayley counts them");
    println!("{trees} trees, {deliveries} deliveries");
}
