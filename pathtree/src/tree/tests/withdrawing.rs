//! A power cut took the bytes of a version: what shows instead.

use super::*;

fn shown(scratch: &Scratch) -> Option<i64> {
    scratch.lookup(scratch.root, "f").and_then(|ino| scratch.blob(ino))
}

/// Nothing refers to a withdrawn blob.
fn assert_unused(scratch: &Scratch, blob: i64) {
    let uses = "SELECT (SELECT count(*) FROM inodes WHERE blob = B)
                     + (SELECT count(*) FROM past WHERE blob = B)";
    assert_eq!(scratch.number(&uses.replace('B', &blob.to_string())), 0);
}

#[test]
fn a_version_with_a_base_falls_back_to_it_whole() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    let first = scratch.stat(file);
    scratch.begin();
    scratch.pass(1000);
    let lost = scratch.publish(file, 2, None).version;
    scratch.reopen();
    let withdrawn = scratch.withdraw(2);
    let branch = scratch.view.branch;
    assert_eq!(withdrawn, [Withdrawn { ino: file, branch, version: lost, unlinked: false }]);
    let now = scratch.stat(file);
    assert_eq!((now.content, now.blob, now.size), (first.content, first.blob, first.size));
    assert_eq!(now.mtime_ns(), first.mtime_ns());
    assert_unused(&scratch, 2);
    assert_eq!(scratch.withdraw(2), []);
    scratch.publish(file, 3, None);
    assert_eq!(scratch.db().read(|conn| versions_of(conn, &scratch.view, file)).unwrap(), 2);
}

#[test]
fn a_chain_of_lost_versions_falls_back_in_any_order() {
    let orders: [[i64; 3]; 6] = [[2, 3, 4], [2, 4, 3], [3, 2, 4], [3, 4, 2], [4, 2, 3], [4, 3, 2]];
    for order in orders {
        let scratch = Scratch::new();
        let file = scratch.written(scratch.root, "f", 1);
        for blob in 2..=4 {
            scratch.publish(file, blob, None);
        }
        for (count, blob) in order.into_iter().enumerate() {
            scratch.withdraw(blob);
            assert_unused(&scratch, blob);
            let left = (1..=4).rev().find(|left| !order[..=count].contains(left));
            assert_eq!(shown(&scratch), left, "{order:?}");
            invariants::check(scratch.db(), &scratch.view);
        }
        assert_eq!(scratch.number("SELECT count(*) FROM past WHERE facet = 2"), 0);
    }
}

#[test]
fn a_lost_version_in_the_middle_leaves_the_newest_in_place() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.publish(file, 2, None);
    scratch.publish(file, 3, None);
    let withdrawn = scratch.withdraw(2);
    assert_eq!((withdrawn.len(), withdrawn[0].unlinked), (1, false));
    assert_eq!(shown(&scratch), Some(3));
    scratch.withdraw(3);
    assert_eq!(shown(&scratch), Some(1), "the newest is based on the oldest now");
}

#[test]
fn a_lost_oldest_version_leaves_the_others() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.publish(file, 2, None);
    assert!(!scratch.withdraw(1)[0].unlinked);
    assert_eq!(shown(&scratch), Some(2));
    assert!(scratch.withdraw(2)[0].unlinked, "nothing is left of it");
    assert_eq!(scratch.list(scratch.root), []);
    assert_eq!(scratch.stat(file).nlink, 0);
}

#[test]
fn a_file_that_was_empty_before_is_empty_again() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    scratch.begin();
    scratch.publish(file, 1, None);
    assert!(!scratch.withdraw(1)[0].unlinked);
    assert_eq!((scratch.lookup(scratch.root, "f"), scratch.stat(file).size), (Some(file), 0));
}

#[test]
fn a_version_without_a_base_takes_every_name_with_it() {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    let file = scratch.written(scratch.root, "f", 1);
    scratch.link(file, directory, "g").unwrap();
    let withdrawn = scratch.withdraw(1);
    assert_eq!((withdrawn.len(), withdrawn[0].unlinked), (1, true));
    assert_eq!((scratch.list(scratch.root).len(), scratch.list(directory).len()), (1, 0));
    let gone = scratch.stat(file);
    assert_eq!((gone.nlink, gone.size, gone.blob), (0, 0, None));
    let operations = "SELECT count(*) FROM operations WHERE what = 'recover'";
    assert_eq!(scratch.number(operations), 2, "what recovery did is in the log of operations");
}

#[test]
fn a_replaced_file_gets_its_name_back() {
    for same_operation in [false, true] {
        let scratch = Scratch::new();
        let directory = scratch.directory(scratch.root, "d");
        let old = scratch.written(scratch.root, "f", 1);
        if !same_operation {
            scratch.begin();
        }
        scratch.written(directory, "f.new", 2);
        scratch.rename((directory, "f.new"), (scratch.root, "f")).unwrap();
        scratch.withdraw(2);
        assert_eq!(scratch.lookup(scratch.root, "f"), Some(old));
        assert_eq!((scratch.stat(old).nlink, scratch.blob(old)), (1, Some(1)));
        assert_eq!(scratch.list(directory), []);
    }
}

#[test]
fn a_replaced_empty_file_gets_its_name_back() {
    let scratch = Scratch::new();
    let old = scratch.file(scratch.root, "f");
    scratch.written(scratch.root, "f.new", 2);
    scratch.rename((scratch.root, "f.new"), (scratch.root, "f")).unwrap();
    scratch.withdraw(2);
    assert_eq!(scratch.lookup(scratch.root, "f"), Some(old));
}

#[test]
fn of_a_replaced_file_with_more_names_the_lost_name_comes_back() {
    for take_own in [true, false] {
        let scratch = Scratch::new();
        let names = if take_own { ["f", "g"] } else { ["g", "f"] };
        let old = scratch.written(scratch.root, names[0], 1);
        scratch.link(old, scratch.root, names[1]).unwrap();
        scratch.link(old, scratch.root, "h").unwrap();
        scratch.unlink(scratch.root, "h").unwrap();
        scratch.begin();
        scratch.written(scratch.root, "f.new", 2);
        scratch.rename((scratch.root, "f.new"), (scratch.root, "f")).unwrap();
        assert_eq!(scratch.stat(old).nlink, 1);
        scratch.withdraw(2);
        assert_eq!(scratch.stat(old).nlink, 2);
        let back = [(scratch.root, "f".into()), (scratch.root, "g".into())];
        assert_eq!(scratch.names(old), back);
    }
}

#[test]
fn a_replaced_file_gets_back_the_name_it_had_and_not_a_link_of_what_replaced_it() {
    for order in [[2, 3, 4], [2, 4, 3], [3, 2, 4], [3, 4, 2], [4, 2, 3], [4, 3, 2]] {
        let scratch = Scratch::new();
        let root = scratch.root;
        let old = scratch.written(root, "b", 1);
        let save = |name: &str, blob: i64| {
            scratch.begin();
            let new = scratch.written(root, "new", blob);
            scratch.rename((root, "new"), (root, name)).unwrap();
            new
        };
        let taker = save("b", 2);
        scratch.link(taker, root, "c").unwrap();
        save("c", 3);
        save("b", 4);
        for blob in order {
            scratch.withdraw(blob);
        }
        assert_eq!(scratch.lookup(root, "b"), Some(old), "{order:?}");
        assert_eq!(scratch.lookup(root, "c"), None, "{order:?}");
    }
}

#[test]
fn files_that_replaced_each_other_fall_back_in_any_order() {
    let orders: [[i64; 3]; 6] = [[2, 3, 4], [2, 4, 3], [3, 2, 4], [3, 4, 2], [4, 2, 3], [4, 3, 2]];
    for order in orders {
        for same_operation in [false, true] {
            let scratch = Scratch::new();
            scratch.written(scratch.root, "f", 1);
            for blob in 2..=4 {
                if !same_operation {
                    scratch.begin();
                }
                scratch.written(scratch.root, "f.new", blob);
                scratch.rename((scratch.root, "f.new"), (scratch.root, "f")).unwrap();
            }
            for (count, blob) in order.into_iter().enumerate() {
                scratch.withdraw(blob);
                let left = (1..=4).rev().find(|left| !order[..=count].contains(left));
                assert_eq!(shown(&scratch), left, "{order:?}");
                invariants::check(scratch.db(), &scratch.view);
            }
            assert_eq!(scratch.list(scratch.root).len(), 1);
        }
    }
}

#[test]
fn a_name_that_was_taken_again_is_not_given_back() {
    let scratch = Scratch::new();
    scratch.written(scratch.root, "f", 1);
    let new = scratch.written(scratch.root, "f.new", 2);
    scratch.rename((scratch.root, "f.new"), (scratch.root, "f")).unwrap();
    scratch.rename((scratch.root, "f"), (scratch.root, "g")).unwrap();
    let other = scratch.written(scratch.root, "f", 3);
    assert!(scratch.withdraw(2)[0].unlinked);
    assert_eq!(scratch.list(scratch.root), [("f".into(), other)]);
    assert_eq!(scratch.stat(new).nlink, 0);
}

#[test]
fn an_unlinked_file_loses_its_bytes_and_nothing_else_happens() {
    let scratch = Scratch::new();
    scratch.written(scratch.root, "f", 1);
    scratch.begin();
    scratch.unlink(scratch.root, "f").unwrap();
    assert!(scratch.withdraw(1)[0].unlinked);
    assert_eq!(scratch.list(scratch.root), []);
    assert_unused(&scratch, 1);
}

#[test]
fn one_blob_that_many_versions_hold_goes_from_all_of_them() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    for blob in [2, 1, 2, 3] {
        scratch.publish(file, blob, None);
    }
    scratch.written(scratch.root, "g", 2);
    let mut withdrawn = scratch.withdraw(2);
    withdrawn.sort_by_key(|version| version.version);
    let unlinked: Vec<bool> = withdrawn.iter().map(|version| version.unlinked).collect();
    assert_eq!(unlinked, [false, false, true]);
    assert_eq!(shown(&scratch), Some(3));
    assert_eq!(scratch.list(scratch.root).len(), 1);
    scratch.withdraw(3);
    assert_eq!(shown(&scratch), Some(1));
}
