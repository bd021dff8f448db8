//! Restoring: what was becomes a new version, shares its bytes, and shows at once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tesfs_fs::{AttributeChange, FsError, MakeInode, OpenWrite, Restore, Restored, Touched};
use tesfs_pathtree::{
    Hlc, Ino, Name,
    tree::{self, TreeError, View, XattrEdit},
};

use crate::node::{LARGE, Node, USER, name, pattern};

/// Begins another operation; returns the branch as it was until then.
fn pass(node: &Node) -> View {
    node.clock.advance(Duration::from_secs(3));
    let was = node.vfs.view().at(Hlc::last_of_unix_ns(node.clock.now_ns()));
    node.clock.advance(Duration::from_secs(3));
    was
}

fn restore(node: &Node, from: &View, ino: Ino, to: &str, copy: bool) -> Result<Restored, FsError> {
    let to: Vec<Name> = to.split('/').filter(|part| !part.is_empty()).map(name).collect();
    node.vfs.restore(&USER, &Restore { from, ino, to: &to, copy })
}

fn directory(node: &Node, parent: Ino, text: &str) -> Ino {
    node.vfs.make(&USER, parent, &name(text), &MakeInode::Directory, 0o750).unwrap().ino
}

fn write_in(node: &Node, parent: Ino, text: &str, bytes: &[u8]) -> Ino {
    let file = node.vfs.create(&USER, parent, &name(text), 0o640, OpenWrite::default()).unwrap().1;
    file.write_at(0, bytes, false).unwrap();
    file.flush().unwrap();
    file.release().unwrap();
    file.ino()
}

/// After each test: every blob is referred to as often as it is counted.
fn check_counts(node: &Node) {
    let found = node.store.count(tree::REFERENCES_SQL).unwrap();
    assert!(found.miscounts.is_empty() && found.dangling.is_empty(), "{found:?}");
}

#[test]
fn an_earlier_version_becomes_the_newest_and_shares_its_bytes() {
    let node = Node::new();
    let ino = node.write("file", &pattern(LARGE, 1));
    node.vfs.set_xattr(&USER, ino, (b"user.a", b"1"), XattrEdit::Either).unwrap();
    node.settler().settle_now().unwrap();
    let before = node.vfs.attributes(ino).unwrap();
    let was = pass(&node);
    node.write("file", b"other");
    let change = AttributeChange { mode: Some(0o600), ..AttributeChange::default() };
    node.vfs.set_attributes(&USER, ino, &change).unwrap();
    node.vfs.remove_xattr(&USER, ino, b"user.a").unwrap();
    node.vfs.set_xattr(&USER, ino, (b"user.b", b"2"), XattrEdit::Either).unwrap();
    pass(&node);
    let done = restore(&node, &was, ino, "file", false).unwrap();
    assert_eq!(done, Restored { files: 1, ..Restored::default() });
    assert_eq!(node.read("file"), pattern(LARGE, 1));
    let now = node.vfs.attributes(ino).unwrap();
    assert_eq!((now.ino, now.mode, now.mtime_ns), (ino, before.mode, before.mtime_ns));
    assert_eq!(node.vfs.list_xattrs(ino).unwrap(), [b"user.a".to_vec()]);
    let story = node.vfs.story(ino).unwrap();
    assert_eq!(story.versions.len(), 3, "what was there meanwhile stays in history");
    assert_eq!(story.versions[0].hash, story.versions[2].hash);
    let again = restore(&node, &was, ino, "file", false).unwrap();
    assert_eq!(again, Restored { unchanged: 1, ..Restored::default() });
    check_counts(&node);
}

#[test]
fn a_removed_file_comes_back_with_the_folders_it_was_in() {
    let node = Node::new();
    let top = directory(&node, node.vfs.root(), "d");
    let inner = directory(&node, top, "e");
    let file = write_in(&node, inner, "f", b"bytes");
    let was = pass(&node);
    node.vfs.unlink(&USER, inner, &name("f")).unwrap();
    node.vfs.rmdir(&USER, top, &name("e")).unwrap();
    node.vfs.rmdir(&USER, node.vfs.root(), &name("d")).unwrap();
    pass(&node);
    let told: Arc<Mutex<Vec<Touched>>> = Arc::default();
    let ear = Arc::clone(&told);
    node.vfs.observe(Arc::new(move |touched| ear.lock().unwrap().push(touched.clone())));
    let done = restore(&node, &was, file, "d/e/f", false).unwrap();
    assert_eq!(done, Restored { files: 1, directories: 2, ..Restored::default() });
    for (parent, text) in [(node.vfs.root(), "d"), (top, "e"), (inner, "f")] {
        let entry = Touched::Entry { parent, name: name(text) };
        assert!(told.lock().unwrap().contains(&entry), "the kernel is told of {text}");
    }
    let found = node.vfs.lookup(&USER, inner, &name("f")).unwrap();
    assert_eq!(found.ino, file, "its history goes on");
    assert_eq!(node.vfs.lookup(&USER, node.vfs.root(), &name("d")).unwrap().mode & 0o777, 0o750);
    check_counts(&node);
}

#[test]
fn a_folder_is_as_it_was_and_keeps_what_came_later() {
    let node = Node::new();
    let top = directory(&node, node.vfs.root(), "d");
    let [changed, same, gone] =
        ["changed", "same", "gone"].map(|text| write_in(&node, top, text, text.as_bytes()));
    node.vfs.link(&USER, same, top, &name("link")).unwrap();
    write_in(&node, top, "taken", b"first");
    let was = pass(&node);
    let file = node.vfs.open_write(&USER, changed, OpenWrite::default()).unwrap();
    file.write_at(0, b"CHANGED!", false).unwrap();
    file.flush().unwrap();
    file.release().unwrap();
    for text in ["gone", "link", "taken"] {
        node.vfs.unlink(&USER, top, &name(text)).unwrap();
    }
    pass(&node);
    write_in(&node, top, "later", b"later");
    write_in(&node, top, "taken", b"second");
    pass(&node);
    let done = restore(&node, &was, top, "d", false).unwrap();
    assert_eq!(done, Restored { files: 3, directories: 0, unchanged: 1, kept: 1 });
    let read = |text: &str| {
        let ino = node.vfs.lookup(&USER, top, &name(text)).unwrap().ino;
        let file = node.vfs.open_read(&USER, ino).unwrap();
        let bytes = crate::node::all(&file);
        file.release().unwrap();
        (ino, String::from_utf8(bytes).unwrap())
    };
    assert_eq!(read("changed"), (changed, "changed".into()));
    assert_eq!(read("gone"), (gone, "gone".into()));
    assert_eq!(read("link"), (same, "same".into()));
    assert_eq!((read("later").1, read("taken").1), ("later".into(), "second".into()));
    check_counts(&node);
}

#[test]
fn a_copy_goes_beside_and_nothing_is_mixed_into_what_is_there() {
    let node = Node::new();
    let top = directory(&node, node.vfs.root(), "d");
    let file = write_in(&node, top, "a", &pattern(LARGE, 1));
    node.vfs.link(&USER, file, top, &name("b")).unwrap();
    let target = MakeInode::Symlink(b"a".to_vec());
    node.vfs.make(&USER, top, &name("s"), &target, 0o777).unwrap();
    node.settler().settle_now().unwrap();
    let was = pass(&node);
    let done = restore(&node, &was, top, "x/copy", true).unwrap();
    assert_eq!(done, Restored { files: 3, directories: 2, ..Restored::default() });
    let x = node.find("x").unwrap();
    let copy = node.vfs.lookup(&USER, x, &name("copy")).unwrap();
    let [a, b, s] =
        ["a", "b", "s"].map(|text| node.vfs.lookup(&USER, copy.ino, &name(text)).unwrap());
    assert_eq!((a.ino, a.nlink), (b.ino, 2));
    assert_ne!(a.ino, file);
    assert_eq!(node.vfs.readlink(s.ino).unwrap(), b"a");
    assert_eq!((a.size, copy.mode & 0o777), (LARGE as u64, 0o750));
    let refused = restore(&node, &was, top, "x/copy", true).unwrap_err();
    assert!(matches!(refused, FsError::Tree(TreeError::EdgeExists { .. })));
    check_counts(&node);
}

#[test]
fn something_else_at_the_place_is_left_alone() {
    let node = Node::new();
    let ino = node.write("file", b"first");
    let was = pass(&node);
    node.vfs.unlink(&USER, node.vfs.root(), &name("file")).unwrap();
    pass(&node);
    node.write("file", b"second");
    let refused = restore(&node, &was, ino, "file", false).unwrap_err();
    assert!(matches!(refused, FsError::Tree(TreeError::EdgeExists { .. })));
    assert_eq!(node.read("file"), b"second");
    let below = restore(&node, &was, ino, "file/x", false).unwrap_err();
    assert!(matches!(below, FsError::Tree(TreeError::NotADirectory(_))));
    let hidden = restore(&node, &was, ino, ".tesfs/x", false).unwrap_err();
    assert!(matches!(hidden, FsError::Reserved));
    check_counts(&node);
}

#[test]
fn a_version_whose_file_is_still_written_to_is_not_shared() {
    let node = Node::new();
    let writer = node.create("file");
    writer.write_at(0, &pattern(LARGE, 1), false).unwrap();
    writer.flush().unwrap();
    let was = pass(&node);
    let refused = restore(&node, &was, writer.ino(), "copy", true).unwrap_err();
    assert!(matches!(refused, FsError::KeepsChanging(_)));
    writer.release().unwrap();
    node.settler().settle_now().unwrap();
    restore(&node, &was, writer.ino(), "copy", true).unwrap();
    assert_eq!(node.read("copy"), pattern(LARGE, 1));
    check_counts(&node);
}
