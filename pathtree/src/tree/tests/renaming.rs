//! Renaming and exchanging.

use super::*;

#[test]
fn a_rename_moves_a_file_and_nothing_else() {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    let file = scratch.written(scratch.root, "a", 1);
    let renamed = scratch.rename((scratch.root, "a"), (directory, "b")).unwrap();
    assert_eq!(renamed, Renamed { ino: file, replaced: None });
    assert_eq!(scratch.lookup(scratch.root, "a"), None);
    assert_eq!(scratch.lookup(directory, "b"), Some(file));
    assert_eq!(scratch.names(file), [(directory, "b".into())]);
    assert_eq!((scratch.stat(file).nlink, scratch.blob(file)), (1, Some(1)));
    let missing = scratch.rename((scratch.root, "a"), (directory, "c"));
    assert!(matches!(missing, Err(TreeError::EdgeNotFound { .. })));
}

#[test]
fn a_directory_moves_with_everything_below() {
    let scratch = Scratch::new();
    let one = scratch.directory(scratch.root, "one");
    let two = scratch.directory(scratch.root, "two");
    let below = scratch.directory(one, "below");
    let file = scratch.file(below, "f");
    scratch.rename((one, "below"), (two, "moved")).unwrap();
    assert_eq!(scratch.lookup(two, "moved"), Some(below));
    assert_eq!(scratch.lookup(below, "f"), Some(file));
    assert_eq!(scratch.stat(below).parent, two);
}

#[test]
fn a_file_that_is_renamed_over_loses_its_name_and_keeps_its_history() {
    let scratch = Scratch::new();
    let old = scratch.written(scratch.root, "f", 1);
    scratch.begin();
    let new = scratch.written(scratch.root, "f.new", 2);
    let renamed = scratch.rename((scratch.root, "f.new"), (scratch.root, "f")).unwrap();
    assert_eq!(renamed, Renamed { ino: new, replaced: Some((old, 0)) });
    assert_eq!(scratch.list(scratch.root), [("f".into(), new)]);
    assert_eq!((scratch.stat(old).nlink, scratch.blob(old)), (0, Some(1)));
    let replaces = scratch.number(&format!("SELECT replaces FROM inodes WHERE id = {new}"));
    assert_eq!(replaces, old.0.cast_signed());
}

#[test]
fn of_a_replaced_file_other_names_stay() {
    let scratch = Scratch::new();
    let old = scratch.written(scratch.root, "f", 1);
    scratch.link(old, scratch.root, "g").unwrap();
    scratch.written(scratch.root, "f.new", 2);
    let renamed = scratch.rename((scratch.root, "f.new"), (scratch.root, "f")).unwrap();
    assert_eq!(renamed.replaced, Some((old, 1)));
    assert_eq!(scratch.lookup(scratch.root, "g"), Some(old));
}

#[test]
fn renaming_between_two_names_of_one_inode_does_nothing() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    scratch.link(file, scratch.root, "b").unwrap();
    let rows = scratch.rows();
    for (from, to) in [("a", "b"), ("b", "a"), ("a", "a"), ("b", "b")] {
        let renamed = scratch.rename((scratch.root, from), (scratch.root, to)).unwrap();
        assert_eq!(renamed, Renamed { ino: file, replaced: None });
        scratch.exchange((scratch.root, from), (scratch.root, to)).unwrap();
    }
    assert_eq!(scratch.names(file).len(), 2);
    assert_eq!(scratch.rows(), rows);
}

#[test]
fn a_further_link_moves_by_itself() {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    let file = scratch.file(scratch.root, "a");
    scratch.link(file, scratch.root, "b").unwrap();
    scratch.rename((scratch.root, "b"), (directory, "c")).unwrap();
    assert_eq!(scratch.names(file), [(scratch.root, "a".into()), (directory, "c".into())]);
    scratch.rename((directory, "c"), (scratch.root, "c")).unwrap();
    scratch.rename((scratch.root, "a"), (directory, "a")).unwrap();
    assert_eq!(scratch.names(file), [(scratch.root, "c".into()), (directory, "a".into())]);
    assert_eq!(scratch.stat(file).nlink, 2);
}

#[test]
fn a_directory_can_not_move_below_itself() {
    let scratch = Scratch::new();
    let a = scratch.directory(scratch.root, "a");
    let b = scratch.directory(a, "b");
    let c = scratch.directory(b, "c");
    for into in [a, b, c] {
        let refused = scratch.rename((scratch.root, "a"), (into, "x"));
        assert!(matches!(refused, Err(TreeError::IntoItself { .. })), "{into}");
    }
    scratch.rename((a, "b"), (a, "x")).unwrap();
    scratch.rename((a, "x"), (scratch.root, "b")).unwrap();
    scratch.rename((scratch.root, "a"), (c, "a")).unwrap();
}

#[test]
fn only_like_replaces_like_and_only_an_empty_directory_is_replaced() {
    let scratch = Scratch::new();
    let full = scratch.directory(scratch.root, "full");
    scratch.file(full, "f");
    let empty = scratch.directory(scratch.root, "empty");
    scratch.file(scratch.root, "file");
    let mover = scratch.directory(scratch.root, "mover");
    let root = scratch.root;
    let refused = scratch.rename((root, "file"), (root, "empty"));
    assert!(matches!(refused, Err(TreeError::IsADirectory(ino)) if ino == empty));
    let refused = scratch.rename((root, "mover"), (root, "file"));
    assert!(matches!(refused, Err(TreeError::NotADirectory(_))));
    let refused = scratch.rename((root, "mover"), (root, "full"));
    assert!(matches!(refused, Err(TreeError::DirectoryNotEmpty(ino)) if ino == full));
    let renamed = scratch.rename((root, "mover"), (root, "empty")).unwrap();
    assert_eq!(renamed, Renamed { ino: mover, replaced: Some((empty, 0)) });
    assert_eq!(scratch.stat(root).nlink, 4);
    scratch.rename((root, "empty"), (full, "mover")).unwrap();
    assert_eq!((scratch.stat(root).nlink, scratch.stat(full).nlink), (3, 3));
    let refused = scratch.rename((full, "mover"), (root, "full"));
    assert!(matches!(refused, Err(TreeError::DirectoryNotEmpty(ino)) if ino == full));
}

#[test]
fn an_exchange_swaps_two_names_of_any_kind() {
    let scratch = Scratch::new();
    let root = scratch.root;
    let one = scratch.directory(root, "one");
    let two = scratch.directory(root, "two");
    let below = scratch.directory(one, "below");
    let inside = scratch.file(below, "inside");
    let file = scratch.file(two, "file");
    scratch.exchange((one, "below"), (two, "file")).unwrap();
    assert_eq!(scratch.lookup(one, "below"), Some(file));
    assert_eq!(scratch.lookup(two, "file"), Some(below));
    assert_eq!(scratch.lookup(below, "inside"), Some(inside));
    assert_eq!((scratch.stat(one).nlink, scratch.stat(two).nlink), (2, 3));
    scratch.exchange((root, "one"), (root, "two")).unwrap();
    assert_eq!(scratch.lookup(root, "one"), Some(two));
    assert_eq!(scratch.stat(root).nlink, 4);
    let missing = scratch.exchange((root, "one"), (root, "three"));
    assert!(matches!(missing, Err(TreeError::EdgeNotFound { .. })));
}

#[test]
fn an_exchange_makes_no_cycle() {
    let scratch = Scratch::new();
    let a = scratch.directory(scratch.root, "a");
    let b = scratch.directory(a, "b");
    scratch.directory(b, "c");
    let root = scratch.root;
    for (one, other) in [((root, "a"), (a, "b")), ((a, "b"), (root, "a")), ((root, "a"), (b, "c"))]
    {
        let refused = scratch.exchange(one, other);
        assert!(matches!(refused, Err(TreeError::IntoItself { .. })));
    }
}

#[test]
fn an_exchange_of_links_leaves_counts_alone() {
    let scratch = Scratch::new();
    let root = scratch.root;
    let directory = scratch.directory(root, "d");
    let file = scratch.file(root, "a");
    scratch.link(file, root, "b").unwrap();
    scratch.exchange((root, "b"), (root, "d")).unwrap();
    assert_eq!(scratch.lookup(root, "d"), Some(file));
    assert_eq!(scratch.lookup(root, "b"), Some(directory));
    assert_eq!((scratch.stat(file).nlink, scratch.stat(root).nlink), (2, 3));
}

#[test]
fn a_thousand_deep_path_can_be_walked_and_moved() {
    let scratch = Scratch::new();
    let top = scratch.directory(scratch.root, "top");
    let mut at = top;
    for _ in 0..1000 {
        at = scratch.directory(at, "d");
    }
    let refused = scratch.rename((scratch.root, "top"), (at, "x"));
    assert!(matches!(refused, Err(TreeError::IntoItself { .. })));
    let other = scratch.directory(scratch.root, "other");
    scratch.rename((scratch.root, "top"), (other, "top")).unwrap();
    scratch.rename((scratch.root, "other"), (scratch.root, "another")).unwrap();
}
