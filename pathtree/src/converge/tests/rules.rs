//! Each rule by itself: edges, attributes, contents, what has not arrived, frontiers.

use super::*;

#[test]
fn of_two_moves_of_one_file_the_greater_wins_and_the_other_is_reported() {
    let [mut a, mut b, _] = writers(|w| w.create_file("f", 1));
    a.mv("f", "early");
    b.advance(50);
    b.mv("f", "late");
    let tree = united(&[&a, &b]);
    assert_eq!(tree.names(""), ["late"]);
    let lost = Lost {
        edge: *a.child("early").edges.keys().next().unwrap(),
        stamp: a.written.last().unwrap().stamp,
        reason: Reason::Outranked,
    };
    assert_eq!(tree.lost, [lost]);
    a.hear(&b);
    a.mv("late", "settled");
    assert_eq!(united(&[&a, &b]).lost, [], "whoever saw both has decided");
}

#[test]
fn two_who_did_the_same_lose_nothing() {
    let [mut a, mut b, _] = writers(|w| {
        w.create_file("f", 1);
        w.create_file("g", 1);
    });
    for writer in [&mut a, &mut b] {
        writer.mv("f", "h");
        writer.rm("g");
    }
    let tree = united(&[&a, &b]);
    assert_eq!(tree.names(""), ["h"]);
    assert_eq!(tree.lost, []);
}

#[test]
fn equal_readings_are_decided_by_the_bytes_of_the_actors() {
    let [mut a, mut b, _] = writers(|w| {
        w.create_file("f", 1);
        w.mkdir("d");
    });
    a.mv("f", "f1");
    a.mv("d", "d1");
    b.mv("f", "f2");
    b.mv("d", "d2");
    let readings =
        |w: &Writer| w.written.iter().rev().take(2).map(|v| v.stamp.hlc).collect::<Vec<_>>();
    assert_eq!(readings(&a), readings(&b));
    assert_eq!(united(&[&a, &b]).names(""), ["d2", "f2"]);
    assert_eq!(united(&[&b, &a]).names(""), ["d2", "f2"]);
}

#[test]
fn a_move_that_would_make_a_cycle_is_skipped_and_reported() {
    let [mut a, mut b, _] = writers(|w| {
        w.mkdir("x");
        w.mkdir("y");
    });
    a.mv("x", "y/x");
    b.advance(50);
    b.mv("y", "x/y");
    let tree = united(&[&a, &b]);
    assert!(tree.at("y/x").is_some());
    assert_eq!(reasons(&tree), [Reason::Cycle]);
    assert_eq!(tree, united(&[&b, &a]));
}

#[test]
fn attributes_are_merged_field_by_field() {
    let [mut a, mut b, _] = writers(|w| w.create_file("f", 1));
    let inode = a.file("f").inode;
    let xattr = |name: &[u8], value: &[u8]| Attribute::Xattr {
        name: name.into(),
        value: Some(value.into()),
    };
    a.set(inode, vec![Attribute::Permissions(0o600), xattr(b"user.a", b"a")]);
    a.set(inode, vec![Attribute::Mtime(7)]);
    b.advance(50);
    b.set(inode, vec![Attribute::Permissions(0o640), xattr(b"user.b", b"b")]);
    let file = united(&[&a, &b]).file("f");
    let values: Vec<Attribute> = file.attributes.values().map(|(_, value)| value.clone()).collect();
    assert_eq!(
        values,
        [
            Attribute::Permissions(0o640),
            Attribute::Mtime(7),
            xattr(b"user.a", b"a"),
            xattr(b"user.b", b"b"),
        ]
    );
    assert_eq!(file.mtime_ns(), 7);
    a.hear(&b);
    let edited = a.edit("f", 2);
    assert_eq!(a.file("f").mtime_ns(), edited.hlc.unix_ns(), "newer content has its own");
    a.set(inode, vec![Attribute::Xattr { name: b"user.a"[..].into(), value: None }]);
    assert!(!a.tree().dump().contains("user.a"));
}

#[test]
fn concurrent_edits_are_one_live_version_and_conflicts_until_somebody_resolves_them() {
    let [mut a, mut b, mut c] = writers(|w| w.create_file("f", 1));
    a.edit("f", 2);
    b.advance(50);
    b.edit("f", 3);
    c.advance(100);
    c.edit("f", 4);
    let file = united(&[&a, &b, &c]).file("f");
    assert_eq!(sizes(&[file.live]), [4]);
    assert_eq!(sizes(&file.conflicts), [3, 2]);
    a.hear(&b);
    a.hear(&c);
    a.edit("f", 2);
    let file = united(&[&a, &b, &c]).file("f");
    assert_eq!(sizes(&[file.live]), [2]);
    assert_eq!(file.conflicts, []);
    assert_eq!(a.seen.contents(file.inode).count(), 6, "all of it is history");
}

#[test]
fn equal_bytes_are_no_conflict_and_resolving_twice_breeds_none() {
    let [mut a, mut b, mut c] = writers(|w| w.create_file("f", 1));
    a.edit("f", 2);
    b.edit("f", 3);
    c.edit("f", 3);
    let file = united(&[&a, &b, &c]).file("f");
    assert_eq!((sizes(&[file.live]), sizes(&file.conflicts)), (vec![3], vec![2]));
    assert_eq!(file.heads.len(), 3);
    let heard = [a.clone(), b.clone(), c.clone()];
    for writer in [&mut a, &mut b, &mut c] {
        heard.iter().for_each(|other| writer.hear(other));
        writer.edit("f", 2);
    }
    let file = united(&[&a, &b, &c]).file("f");
    assert_eq!((sizes(&[file.live]), sizes(&file.conflicts)), (vec![2], vec![]));
}

#[test]
fn an_edge_is_hidden_until_its_inode_and_its_parent_have_arrived() {
    let [mut a, _, _] = writers(|_| {});
    a.mkdir("d");
    a.create_file("d/f", 1);
    for missing in 0..a.written.len() {
        let rest = a.written.iter().enumerate().filter(|(index, _)| *index != missing);
        let tree = all_of(rest.map(|(_, version)| version.clone())).tree();
        let shown = (tree.at("d").is_some(), tree.at("d/f").is_some(), tree.hidden.len());
        let expected = match &a.written[missing].change {
            Change::Birth(Kind::Directory) => (false, false, 2),
            Change::Place(version) if a.written[0].stamp == version.inode.0 => (false, false, 1),
            Change::Birth(_) => (true, false, 1),
            Change::Place(_) => (true, false, 0),
            Change::Attributes { .. } | Change::Content { .. } => (true, true, 0),
        };
        assert_eq!(shown, expected, "{:?}", a.written[missing]);
    }
}

#[test]
fn a_frontier_shows_what_was_seen_whatever_arrives_late() {
    let [mut a, mut b, mut c] = writers(|w| {
        w.mkdir("x");
        w.mkdir("y");
        w.create_file("f", 1);
    });
    // These are older than what the forker does, and arrive after the fork.
    b.mv("x", "y/x");
    b.edit("f", 2);
    c.rm("f");
    a.advance(50);
    a.mv("y", "x/y");
    let fork = a.seen.frontier();
    let before = a.tree();
    a.hear(&b);
    a.hear(&c);
    assert_ne!(a.tree(), before);
    assert_eq!(a.seen.within(&fork).tree(), before);
    assert_eq!(a.seen.within(&fork).tree().dump(), before.dump());
}

#[test]
fn different_trees_have_different_dumps() {
    let [a, _, _] = writers(|w| w.mkdir("d"));
    let forms: [fn(&mut Writer); 7] = [
        |_| {},
        |w| {
            w.create(root(), &name("n"), Kind::File);
        },
        |w| {
            w.create(root(), &name("n"), Kind::Symlink { target: b"t"[..].into() });
        },
        |w| {
            w.create(root(), &name("n"), Kind::Special { type_bits: 0o10_000, rdev: 0 });
        },
        |w| {
            w.create_file("n", 1);
        },
        |w| {
            w.create_file("n", 2);
        },
        |w| w.set(w.directory("d"), vec![Attribute::Uid(7), Attribute::Gid(8)]),
    ];
    let dumps = forms.map(|form| {
        let mut writer = a.clone();
        form(&mut writer);
        writer.tree().dump()
    });
    assert_eq!(BTreeSet::from(dumps.clone()).len(), dumps.len(), "{dumps:#?}");
}
