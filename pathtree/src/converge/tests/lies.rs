//! Versions that no honest device writes: whatever they say, there is one tree.

use super::*;

#[test]
fn content_of_the_births_own_stamp_is_what_a_file_is_born_with() {
    let [mut a, _, _] = writers(|_| {});
    let inode = a.create(root(), &name("f"), Kind::File);
    let implied = a.file("f").live.content;
    let said = Content { mtime_ns: 5, ..implied.clone() };
    let version = |content| Version { stamp: inode.0, change: Change::Content { inode, content } };
    let birth = Version { stamp: inode.0, change: Change::Birth(Kind::File) };
    let rest: Vec<_> = a.written.into_iter().filter(|version| *version != birth).collect();
    let mut three = [birth, version(implied), version(said)];
    for turn in 0..6 {
        three.swap(turn % 2, turn % 2 + 1);
        let all = all_of(rest.iter().chain(&three).cloned());
        assert_eq!(all.tree().file("f").mtime_ns(), 5, "{three:?}");
        assert_eq!(all.contents(inode).count(), 1);
    }
}

#[test]
fn two_values_under_one_stamp_give_one_tree() {
    let [mut a, _, _] = writers(|w| w.mkdir("d"));
    a.create_file("d/f", 1);
    let mut lies = a.written.clone();
    for lie in &mut lies {
        match &mut lie.change {
            Change::Birth(kind) => *kind = Kind::Directory,
            Change::Place(version) => version.place = Place::Unlinked { seen: vec![] },
            Change::Attributes { values, .. } => values.clear(),
            Change::Content { content, .. } => content.hash = None,
        }
    }
    let truth_first = all_of(a.written.iter().chain(&lies).cloned());
    let lies_first = all_of(lies.iter().chain(&a.written).cloned());
    assert_eq!(truth_first.tree(), lies_first.tree());
}

#[test]
fn versions_that_name_newer_ones_as_their_bases_supersede_none_of_them() {
    let [a, _, _] = writers(|w| w.create_file("f", 1));
    let (inode, hash) = (a.file("f").inode, Some([9; 32]));
    let [early, late] = [stamp(START.0 + 50, 4), stamp(START.0 + 60, 4)];
    let mut versions = a.seen.clone();
    for (at, bases) in [(early, vec![early, late]), (late, vec![early])] {
        let content = Content { bases, hash, size_bytes: 9, mtime_ns: 0 };
        write_lie(&mut versions, at, Change::Content { inode, content });
    }
    assert_eq!(versions.tree().file("f").live.stamp, late);
}

#[test]
fn a_directory_with_two_edges_hangs_where_the_greater_says() {
    let [a, _, _] = writers(|w| w.mkdir("d"));
    let inode = a.directory("d");
    let mut versions = a.seen.clone();
    let second = EdgeId(stamp(START.0 + 50, 4));
    let mut say = |reading, edge, place| {
        let version = PlaceVersion { edge, inode, bases: vec![], place };
        write_lie(&mut versions, stamp(START.0 + reading, 4), Change::Place(version));
        versions.tree().names("")
    };
    let hung = |text| Place::Hung { parent: root(), name: name(text), replaces: None };
    assert_eq!(say(50, second, hung("e")), ["e"]);
    let unlinked = Place::Unlinked { seen: vec![] };
    assert_eq!(say(60, EdgeId(inode.0), unlinked.clone()), ["e"], "it does not hang there");
    assert_eq!(say(70, second, unlinked), [""; 0]);
}

#[test]
fn the_root_never_moves_and_what_hangs_in_a_file_stays_hidden() {
    let [a, _, _] = writers(|w| w.create_file("f", 1));
    let mut versions = a.seen.clone();
    for (reading, inode, parent) in [
        (50, root(), InodeId(stamp(1, 9))),
        (60, root(), root()),
        (70, a.file("f").inode, a.file("f").inode),
    ] {
        let at = stamp(START.0 + reading, 4);
        let place = Place::Hung { parent, name: name("n"), replaces: None };
        let version = PlaceVersion { edge: EdgeId(at), inode, bases: vec![], place };
        write_lie(&mut versions, at, Change::Place(version));
    }
    let tree = versions.tree();
    assert_eq!(tree.names(""), ["f"]);
    assert_eq!(tree.hidden, BTreeSet::from([EdgeId(stamp(START.0 + 70, 4))]));
    assert_eq!(reasons(&tree), [Reason::Cycle, Reason::Cycle]);
}

/// Any version at all, of few things, so that they meet.
fn any_version(rng: &mut TestRng) -> Version {
    let any = |rng: &mut TestRng| stamp(rng.random_range(0..6), rng.random_range(0..2));
    let some = |rng: &mut TestRng| (0..rng.random_range(0..3)).map(|_| any(rng)).collect();
    let inode = InodeId(any(rng));
    let change = match rng.random_range(0..9) {
        0 | 1 => Change::Birth(Kind::Directory),
        2 => Change::Birth(Kind::File),
        3 => Change::Birth(Kind::Symlink { target: Box::new([rng.random_range(b'x'..b'z')]) }),
        4 => Change::Attributes {
            inode,
            values: vec![
                Attribute::Permissions(rng.random_range(0..3)),
                Attribute::Mtime(rng.random_range(0..3)),
            ],
        },
        5 => {
            let hash = rng.random_bool(0.5).then(|| [rng.random_range(0..2); 32]);
            let mtime_ns = rng.random_range(0..3);
            Change::Content {
                inode,
                content: Content { bases: some(rng), hash, size_bytes: 1, mtime_ns },
            }
        }
        _ => {
            let place = if rng.random_bool(0.3) {
                Place::Unlinked { seen: some(rng) }
            } else {
                let replaces = rng.random_bool(0.3).then(|| InodeId(any(rng)));
                let name = name(["a", "b.c"][rng.random_range(0..2)]);
                let parent = if rng.random_bool(0.5) { root() } else { InodeId(any(rng)) };
                Place::Hung { parent, name, replaces }
            };
            Change::Place(PlaceVersion { edge: EdgeId(any(rng)), inode, bases: some(rng), place })
        }
    };
    Version { stamp: any(rng), change }
}

#[test]
fn any_versions_at_all_give_one_tree_in_any_order() {
    let (mut children, mut hidden) = (0, 0);
    for seed in 0..5_000 {
        let rng = &mut rng(seed);
        let mut all: Vec<Version> =
            (0..rng.random_range(1..90)).map(|_| any_version(rng)).collect();
        let tree = all_of(all.iter().cloned()).tree();
        shuffle(&mut all, rng);
        let mut versions = Versions::new(root());
        all.iter().for_each(|version| versions.insert(version.clone()));
        assert_eq!(versions.tree(), tree, "seed {seed}");
        assert_eq!(versions.tree().dump(), tree.dump(), "seed {seed}");
        assert_eq!(all_of(versions.iter()).tree(), tree, "seed {seed}");
        children += tree.directories.values().map(|at| at.children.len()).sum::<usize>();
        hidden += tree.hidden.len();
    }
    assert!(children > 10_000 && hidden > 10_000, "{children} shown and {hidden} hidden");
}

fn write_lie(versions: &mut Versions, stamp: WireStamp, change: Change) {
    versions.insert(Version { stamp, change });
}
