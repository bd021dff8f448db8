//! `.tesfs/`: history as folders.

mod branches;
mod conflicts;
mod deleted;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tesfs_fs::{AttributeChange, Attributes, FileKind, FsError, MakeInode, OpenWrite, RenameMode};
use tesfs_pathtree::{
    Ino, moment,
    tree::{TreeError, XattrEdit},
};

use crate::node::{LARGE, Node, USER, all, name, pattern};

/// What a path leads to from the root of the mount.
fn walk(node: &Node, path: &str) -> Result<Attributes, FsError> {
    let mut found = node.vfs.attributes(node.vfs.root())?;
    for part in path.split('/') {
        found = node.vfs.lookup(&USER, found.ino, &name(part))?;
    }
    Ok(found)
}

fn read(node: &Node, path: &str) -> Vec<u8> {
    let ino = walk(node, path).unwrap().ino;
    all(&node.vfs.open_read(&USER, ino).unwrap())
}

fn list(node: &Node, path: &str) -> Vec<String> {
    let entries = node.vfs.list(walk(node, path).unwrap().ino).unwrap();
    let edges: BTreeSet<u64> = entries.iter().map(|entry| entry.edge).collect();
    assert_eq!(edges.len(), entries.len(), "every entry has an offset of its own");
    let mut names: Vec<String> = entries.iter().map(|entry| entry.name.to_string()).collect();
    names.sort();
    names
}

fn is_missing(node: &Node, path: &str) -> bool {
    matches!(walk(node, path), Err(err) if err.errno() == libc::ENOENT)
}

fn directory(node: &Node, parent: Ino, called: &str) -> Ino {
    node.vfs.make(&USER, parent, &name(called), &MakeInode::Directory, 0o755).unwrap().ino
}

/// The name that the present has in `at/`; a second passes.
fn label(node: &Node) -> String {
    let label = moment::label(node.clock.now_ns());
    node.clock.advance(Duration::from_secs(1));
    label
}

#[test]
fn a_file_is_as_it_was_at_the_time_that_is_said() {
    for (old, new) in [(10, 20), (LARGE, 20), (LARGE, 2 * LARGE), (10, 0)] {
        let node = Node::new();
        let before = label(&node);
        node.write("file", &pattern(old, 1));
        let first = label(&node);
        node.clock.advance(Duration::from_secs(3600));
        node.write("file", &pattern(new, 2));
        let second = label(&node);
        node.vfs.unlink(&USER, node.vfs.root(), &name("file")).unwrap();
        assert!(is_missing(&node, &format!(".tesfs/at/{before}/file")));
        assert_eq!(read(&node, &format!(".tesfs/at/{first}/file")), pattern(old, 1));
        assert_eq!(read(&node, ".tesfs/at/1h/file"), pattern(old, 1));
        assert_eq!(read(&node, &format!(".tesfs/at/{second}/file")), pattern(new, 2));
        assert!(is_missing(&node, ".tesfs/at/now/file"));
        let was = walk(&node, &format!(".tesfs/at/{first}/file")).unwrap();
        assert_eq!((was.size, was.mode, was.kind), (old as u64, 0o644, FileKind::File));
    }
}

#[test]
fn a_look_stays_as_it_is_while_its_operation_goes_on() {
    let node = Node::new();
    let made = node.create("file");
    made.write_at(0, &pattern(LARGE, 1), false).unwrap();
    made.flush().unwrap();
    let root = walk(&node, ".tesfs/at/now").unwrap().ino;
    // In the same millisecond, by the same writer.
    made.write_at(0, &pattern(LARGE, 2), false).unwrap();
    made.flush().unwrap();
    node.write("another", b"new");
    let file = node.vfs.lookup(&USER, root, &name("file")).unwrap();
    let reader = node.vfs.open_read(&USER, file.ino).unwrap();
    assert_eq!(all(&reader), pattern(LARGE, 1));
    made.write_at(0, &pattern(LARGE, 3), false).unwrap();
    made.flush().unwrap();
    made.release().unwrap();
    assert_eq!(all(&reader), pattern(LARGE, 1));
    assert_eq!(list(&node, ".tesfs/at/now"), ["file"]);
    assert_eq!(node.read("file"), pattern(LARGE, 3));
    let again = node.vfs.open_read(&USER, file.ino).unwrap();
    assert_eq!(all(&again), pattern(LARGE, 1));
}

#[test]
fn words_mean_one_state_until_nobody_used_them_for_a_minute() {
    let node = Node::new();
    node.write("file", b"one");
    let first = walk(&node, ".tesfs/at/now").unwrap().ino;
    for _ in 0..4 {
        node.clock.advance(Duration::from_secs(30));
        node.write("file", b"two");
        assert_eq!(walk(&node, ".tesfs/at/now").unwrap().ino, first);
        assert_eq!(read(&node, ".tesfs/at/now/file"), b"one");
    }
    node.clock.advance(Duration::from_secs(61));
    let second = walk(&node, ".tesfs/at/now").unwrap().ino;
    assert_ne!(second, first);
    assert_eq!(read(&node, ".tesfs/at/now/file"), b"two");
    let at = node.vfs.lookup(&USER, first, &name("file")).unwrap();
    assert_eq!(all(&node.vfs.open_read(&USER, at.ino).unwrap()), b"one");
    assert_eq!(walk(&node, ".tesfs/at/1s").unwrap().ino, second, "one state has one number");
}

#[test]
fn a_second_that_is_not_over_means_its_end_once_it_is() {
    let node = Node::new();
    node.write("file", b"one");
    let second = moment::label(node.clock.now_ns());
    assert_eq!(read(&node, &format!(".tesfs/at/{second}/file")), b"one");
    node.clock.advance(Duration::from_millis(900));
    node.write("file", b"two");
    assert_eq!(read(&node, &format!(".tesfs/at/{second}/file")), b"one", "one state for now");
    node.clock.advance(Duration::from_millis(100));
    assert_eq!(read(&node, &format!(".tesfs/at/{second}/file")), b"two");
}

#[test]
fn what_is_no_time_is_no_name() {
    let node = Node::new();
    node.write("file", b"one");
    let long = "9".repeat(255);
    for said in ["soon", "tomorrow", "2026-13-01", "1969-01-01", "..2h", "2h~", "-2h", &long] {
        assert!(is_missing(&node, &format!(".tesfs/at/{said}")), "{said}");
    }
    let at = walk(&node, ".tesfs/at").unwrap().ino;
    let not_text = tesfs_pathtree::Name::from_bytes(b"2h\xff").unwrap();
    let refused = node.vfs.lookup(&USER, at, &not_text).unwrap_err();
    assert_eq!(refused.errno(), libc::ENOENT);
    for path in [".tesfs/other", ".tesfs/at/1970-01-02", ".tesfs/at/now/.tesfs"] {
        assert!(is_missing(&node, path), "{path}");
    }
}

#[test]
fn the_folder_of_times_lists_when_something_changed_and_no_more_than_that() {
    let node = Node::new();
    for day in 0..40 {
        for _ in 0..12 {
            node.write("file", &[day]);
            node.clock.advance(Duration::from_secs(7));
        }
        node.clock.advance(Duration::from_secs(24 * 3600));
    }
    let listed = list(&node, ".tesfs/at");
    assert!((31..=10 + 24 + 31 + 52).contains(&listed.len()), "{}", listed.len());
    let states = listed.iter().map(|said| walk(&node, &format!(".tesfs/at/{said}")).unwrap().ino);
    let states: BTreeSet<Ino> = states.collect();
    assert_eq!(states.len(), listed.len(), "each shows another state");
    assert_eq!(read(&node, &format!(".tesfs/at/{}/file", listed.last().unwrap())), [39]);
}

#[test]
fn nothing_below_the_hidden_folder_can_be_changed() {
    let node = Node::new();
    let root = node.vfs.root();
    let below = directory(&node, root, "below");
    let file = node.write("file", b"one");
    node.vfs.set_xattr(&USER, file, (b"user.a", b"1"), XattrEdit::Either).unwrap();
    let at = label(&node);
    // Another operation: one that goes on replaces its own values.
    node.clock.advance(Duration::from_secs(5));
    node.write("file", b"two");
    node.vfs.set_xattr(&USER, file, (b"user.a", b"2"), XattrEdit::Either).unwrap();
    let (vfs, seen) =
        (&node.vfs, |path: &str| walk(&node, &format!(".tesfs/at/{at}{path}")).unwrap().ino);
    let (top, old, old_below) = (seen(""), seen("/file"), seen("/below"));
    assert_eq!(vfs.xattr(old, b"user.a").unwrap(), b"1");
    assert_eq!(vfs.list_xattrs(old).unwrap(), [b"user.a"]);
    assert_eq!(vfs.parent(old_below).unwrap(), top);
    let to = name("new");
    let file_name = name("file");
    let edit = AttributeChange { mode: Some(0o600), ..AttributeChange::default() };
    let mut refused: Vec<FsError> = vec![
        vfs.make(&USER, top, &to, &MakeInode::Directory, 0o755).unwrap_err(),
        vfs.unlink(&USER, top, &file_name).unwrap_err(),
        vfs.rmdir(&USER, top, &name("below")).unwrap_err(),
        vfs.link(&USER, file, top, &to).unwrap_err(),
        vfs.set_attributes(&USER, old, &edit).unwrap_err(),
        vfs.set_xattr(&USER, old, (b"user.a", b"3"), XattrEdit::Either).unwrap_err(),
        vfs.remove_xattr(&USER, old, b"user.a").unwrap_err(),
        vfs.open_write(&USER, old, OpenWrite::default()).err().unwrap(),
        vfs.create(&USER, top, &to, 0o644, OpenWrite::default()).err().unwrap(),
    ];
    for (from, into) in [(top, root), (root, top), (top, old_below), (top, below)] {
        let (from, into) = ((from, &file_name), (into, &to));
        refused.push(vfs.rename(&USER, from, into, RenameMode::Replace).unwrap_err());
    }
    assert!(refused.iter().all(|err| err.errno() == libc::EROFS), "{refused:?}");
    let linked = vfs.link(&USER, old, root, &to).unwrap_err();
    assert_eq!(linked.errno(), libc::EXDEV);
    assert_eq!(read(&node, &format!(".tesfs/at/{at}/file")), b"one");
}

#[test]
fn numbers_are_of_one_thing_each() {
    let node = Node::new();
    let below = directory(&node, node.vfs.root(), "below");
    node.vfs
        .make(&USER, below, &name("link"), &MakeInode::Symlink(b"../file".to_vec()), 0o777)
        .unwrap();
    node.write("file", b"one");
    let first = label(&node);
    node.write("file", b"two");
    let second = label(&node);
    let paths = ["", "/file", "/below", "/below/link"];
    let mut numbers = BTreeSet::new();
    for look in [&first, &second] {
        for path in paths {
            let found = walk(&node, &format!(".tesfs/at/{look}{path}")).unwrap();
            assert!(numbers.insert(found.ino), "{look}{path}");
            assert_eq!(node.vfs.attributes(found.ino).unwrap(), found);
            assert!(!node.vfs.changes_untold(found.ino));
        }
        let link = walk(&node, &format!(".tesfs/at/{look}/below/link")).unwrap();
        assert_eq!(node.vfs.readlink(link.ino).unwrap(), b"../file");
    }
    for path in [
        "below",
        "file",
        ".tesfs",
        ".tesfs/at",
        ".tesfs/branches",
        ".tesfs/conflicts",
        ".tesfs/deleted",
        ".tesfs/recovered",
        ".tesfs/deleted/below",
    ] {
        assert!(numbers.insert(walk(&node, path).unwrap().ino), "{path}");
    }
    for entry in node.vfs.list(walk(&node, &format!(".tesfs/at/{first}")).unwrap().ino).unwrap() {
        assert!(numbers.contains(&entry.ino), "a listing says the number that stat says");
    }
}

#[test]
fn a_number_that_was_forgotten_stands_for_nothing_any_more() {
    let node = Node::new();
    node.write("file", b"one");
    let known = walk(&node, ".tesfs/at/now/file").unwrap().ino;
    node.vfs.remember(known);
    let mut unknown = None;
    for count in 0..3000_u32 {
        node.clock.advance(Duration::from_secs(2));
        node.write("file", &count.to_le_bytes());
        let found = walk(&node, &format!(".tesfs/at/{}", moment::label(node.clock.now_ns())));
        unknown.get_or_insert(found.unwrap().ino);
    }
    let gone = node.vfs.attributes(unknown.unwrap()).unwrap_err();
    assert!(matches!(gone, FsError::Tree(TreeError::InodeGone(_))), "{gone}");
    assert_eq!(all(&node.vfs.open_read(&USER, known).unwrap()), b"one");
    node.vfs.forget(known, 1);
}

#[test]
fn a_file_that_is_opened_as_it_was_keeps_its_bytes() {
    let node = Node::new();
    let settler = node.settler();
    node.write("file", &pattern(LARGE, 1));
    let at = label(&node);
    let ino = walk(&node, &format!(".tesfs/at/{at}/file")).unwrap().ino;
    let reader = node.vfs.open_read(&USER, ino).unwrap();
    for seed in 2..5 {
        node.write("file", &pattern(LARGE, seed));
        settler.settle_now().unwrap();
        let other = node.vfs.open_read(&USER, ino).unwrap();
        assert_eq!(other.content(), reader.content());
        assert_eq!(other.attributes().unwrap(), reader.attributes().unwrap());
        assert_eq!(all(&other), pattern(LARGE, 1));
        assert!(!Arc::ptr_eq(&other, &reader));
    }
    reader.fsync().unwrap();
    assert_eq!(all(&reader), pattern(LARGE, 1));
}
