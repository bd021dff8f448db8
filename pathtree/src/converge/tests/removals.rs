//! Removals, and what they had not seen.

use super::*;

#[test]
fn an_edit_beats_a_concurrent_removal_and_is_beaten_by_one_that_saw_it() {
    let [mut a, mut b, _] = writers(|w| {
        w.mkdir("d");
        w.create_file("d/f", 1);
    });
    a.edit("d/f", 2);
    b.advance(50);
    b.rm("d/f");
    b.rm("d");
    let tree = united(&[&a, &b]);
    assert_eq!(sizes(&[tree.file("d/f").live]), [2], "in the directory that it keeps");
    assert_eq!(reasons(&tree), [Reason::Unseen, Reason::Unseen]);
    a.hear(&b);
    a.rm("d/f");
    let tree = united(&[&a, &b]);
    assert_eq!(tree.names(""), [""; 0], "the directory goes with what kept it");
    assert_eq!(tree.lost, []);
}

#[test]
fn what_one_of_two_removals_saw_does_not_come_back() {
    let [mut a, mut b, mut c] = writers(|w| w.create_file("f", 1));
    a.edit("f", 2);
    b.hear(&a);
    b.rm("f");
    c.advance(50);
    c.rm("f");
    assert_eq!(united(&[&a, &b, &c]).names(""), [""; 0]);
}

#[test]
fn a_removal_before_the_edge_hung_again_has_no_say() {
    let [mut a, mut b, mut c] = writers(|w| w.create_file("f", 1));
    a.edit("f", 2);
    b.hear(&a);
    b.rm("f");
    b.restore(root(), &name("f"));
    c.advance(50);
    c.rm("f");
    let tree = united(&[&a, &b, &c]);
    assert_eq!(sizes(&[tree.file("f").live]), [2]);
}

#[test]
fn one_of_several_names_that_is_removed_does_not_come_back_with_later_edits() {
    let [mut a, mut b, mut c] = writers(|w| {
        w.create_file("f", 1);
        w.link("f", "g");
    });
    a.rm("f");
    a.edit("g", 2);
    assert_eq!(united(&[&a]).names(""), ["g"]);
    a.rm("g");
    assert_eq!(united(&[&a]).names(""), [""; 0]);
    // Where every name is removed and an edit was not seen, the name that was removed last is back.
    b.edit("f", 3);
    assert_eq!(united(&[&a, &b]).names(""), ["g"]);
    c.advance(50);
    c.rm("f");
    assert_eq!(united(&[&a, &b, &c]).names(""), ["f"]);
}

#[test]
fn what_is_created_in_a_removed_directory_keeps_it() {
    let [mut a, mut b, _] = writers(|w| {
        w.mkdir("d");
        w.mkdir("d/sub");
        w.create_file("d/f", 1);
        w.create_file("g", 2);
    });
    a.mkdir("d/sub/new");
    b.advance(50);
    ["d/f", "d/sub", "d"].into_iter().for_each(|path| b.rm(path));
    let tree = united(&[&a, &b]);
    assert_eq!(tree.names("d"), ["sub"]);
    assert_eq!(tree.names("d/sub"), ["new"]);
    a.mv("g", "d/g");
    assert_eq!(united(&[&a, &b]).names("d"), ["g", "sub"]);
    a.mv("d/g", "g");
    a.rm("d/sub/new");
    assert_eq!(united(&[&a, &b]).names(""), ["g"]);
}

#[test]
fn what_has_not_arrived_keeps_no_directory() {
    let [mut a, mut b, _] = writers(|w| w.mkdir("d"));
    a.rm("d");
    let file = b.create_file("d/f", 1);
    let is_birth = |version: &Version| version.change == Change::Birth(Kind::File);
    let all = a.written.iter().chain(&b.written);
    let (births, rest): (Vec<_>, Vec<_>) = all.cloned().partition(is_birth);
    let mut versions = all_of(rest);
    assert_eq!(versions.tree().names(""), [""; 0]);
    assert_eq!(versions.tree().hidden, BTreeSet::from([EdgeId(file.0)]));
    versions.extend(births);
    assert_eq!(versions.tree().names("d"), ["f"]);
    assert_eq!(versions.tree().hidden, BTreeSet::new());
}

#[test]
fn a_removal_has_seen_the_birth() {
    let [mut a, _, _] = writers(|_| {});
    let inode = a.create(root(), &name("f"), Kind::File);
    let place = Place::Unlinked { seen: vec![] };
    let version = PlaceVersion { edge: EdgeId(inode.0), inode, bases: vec![inode.0], place };
    let stamp = stamp(START.0 + 50, 2);
    a.seen.insert(Version { stamp, change: Change::Place(version) });
    assert_eq!(a.tree().names(""), [""; 0]);
}
