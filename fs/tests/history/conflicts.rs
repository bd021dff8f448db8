//! `conflicts/`: the sides of what is not decided, as files.

use tesfs_fs::Vfs;
use tesfs_pathtree::{
    branch::{self, NewBranch},
    tree::{self, Favour, Resolution},
};

use super::*;

const AT: &str = ".tesfs/conflicts";

/// A branch beside the node's `main`, which `change` is done on.
fn on_a_branch(node: &Node, called: &str, change: impl FnOnce(&Arc<Vfs>)) -> Arc<Vfs> {
    let new = NewBranch { name: called, from: node.vfs.branch(), at: None, frozen: false };
    let made = node.db.write(|tx| branch::create(tx, node.vfs.bucket(), &new)).unwrap();
    let shown = (node.vfs.bucket(), &made, None);
    let (db, store) = (Arc::clone(&node.db), Arc::clone(&node.store));
    let there = Vfs::new(db, store, shown, &tesfs_fs::VfsOptions::default()).unwrap();
    change(&there);
    node.clock.advance(Duration::from_secs(3));
    there
}

fn write(vfs: &Arc<Vfs>, parent: Ino, called: &str, bytes: &[u8]) {
    let how = OpenWrite { truncate: true, ..OpenWrite::default() };
    let file = match vfs.lookup(&USER, parent, &name(called)) {
        Ok(found) => vfs.open_write(&USER, found.ino, how).unwrap(),
        Err(_) => vfs.create(&USER, parent, &name(called), 0o640, how).unwrap().1,
    };
    file.write_at(0, bytes, false).unwrap();
    file.flush().unwrap();
    file.release().unwrap();
}

fn merge(node: &Node, from: &Arc<Vfs>) {
    node.settler().settle_now().unwrap();
    node.vfs.merge(&USER, (from.view(), "try"), Favour::Newest, false).unwrap();
}

fn resolve(node: &Node, how: Resolution) {
    let open = node.db.read(|conn| tree::conflicts(conn, node.vfs.view())).unwrap();
    node.vfs.resolve(&USER, &open, how).unwrap();
}

#[test]
fn the_sides_of_a_conflict_are_whole_files() {
    for size in [10, LARGE] {
        let node = Node::new();
        let folder = directory(&node, node.vfs.root(), "letters");
        let other = directory(&node, node.vfs.root(), "other");
        write(&node.vfs, folder, "ada", &pattern(size, 1));
        write(&node.vfs, other, "file", b"no conflict");
        let there = on_a_branch(&node, "try", |there| {
            write(there, folder, "ada", &pattern(size + 1, 2));
        });
        write(&node.vfs, folder, "ada", &pattern(size + 2, 3));
        assert_eq!(list(&node, AT), [""; 0]);
        merge(&node, &there);
        assert_eq!(list(&node, AT), ["letters"]);
        assert_eq!(list(&node, &format!("{AT}/letters")), ["ada"]);
        assert_eq!(list(&node, &format!("{AT}/letters/ada")), ["base", "ours", "theirs"]);
        for (side, seed, more) in [("base", 1, 0), ("theirs", 2, 1), ("ours", 3, 2)] {
            let path = format!("{AT}/letters/ada/{side}");
            let found = walk(&node, &path).unwrap();
            assert_eq!((found.size, found.mode), ((size + more) as u64, 0o440), "{side}");
            assert_eq!(read(&node, &path), pattern(size + more, seed), "{side}");
            let refused = node.vfs.open_write(&USER, found.ino, OpenWrite::default());
            assert_eq!(refused.err().unwrap().errno(), libc::EROFS);
        }
        let folder = walk(&node, &format!("{AT}/letters/ada")).unwrap();
        assert_eq!((folder.kind, folder.mode), (FileKind::Directory, 0o550));
        assert!(is_missing(&node, &format!("{AT}/letters/ada/none")));
        assert!(is_missing(&node, &format!("{AT}/other/file")), "nothing disagrees about it");
        resolve(&node, Resolution::Theirs);
        assert_eq!(list(&node, AT), [""; 0]);
        node.vfs.undo(&USER, None).unwrap();
        assert_eq!(read(&node, &format!("{AT}/letters/ada/ours")), pattern(size + 2, 3));
    }
}

#[test]
fn the_way_up_from_a_side_leads_back() {
    let node = Node::new();
    let folder = directory(&node, node.vfs.root(), "letters");
    write(&node.vfs, folder, "ada", b"base");
    let there = on_a_branch(&node, "try", |there| write(there, folder, "ada", b"theirs"));
    write(&node.vfs, folder, "ada", b"ours");
    merge(&node, &there);
    let path = format!("{AT}/letters/ada/theirs");
    let mut parts: Vec<&str> = path.split('/').collect();
    let mut at = walk(&node, &path).unwrap().ino;
    while parts.pop().is_some() {
        let is_below = !parts.is_empty();
        assert_eq!(node.vfs.changes_untold(at), is_below, "what the kernel may keep");
        at = node.vfs.parent(at).unwrap();
        let above = if parts.is_empty() {
            node.vfs.root()
        } else {
            walk(&node, &parts.join("/")).unwrap().ino
        };
        assert_eq!(at, above, "{parts:?}");
    }
}

#[test]
fn what_shows_is_as_it_is_now_and_readers_keep_what_they_opened() {
    let node = Node::new();
    let root = node.vfs.root();
    write(&node.vfs, root, "file", b"base");
    let there = on_a_branch(&node, "try", |there| write(there, root, "file", b"theirs"));
    write(&node.vfs, root, "file", b"ours");
    merge(&node, &there);
    let path = format!("{AT}/file/ours");
    let ino = walk(&node, &path).unwrap().ino;
    let reader = node.vfs.open_read(&USER, ino).unwrap();
    assert_eq!(node.vfs.published(ino).unwrap(), reader.content());
    node.clock.advance(Duration::from_secs(3));
    write(&node.vfs, root, "file", &pattern(LARGE, 4));
    assert_eq!(all(&reader), b"ours");
    assert_ne!(node.vfs.published(ino).unwrap(), reader.content());
    assert_eq!(walk(&node, &path).unwrap().ino, ino);
    assert_eq!(read(&node, &path), pattern(LARGE, 4));
    // As an editor saves.
    write(&node.vfs, root, "new", b"saved");
    let names = (&name("new"), &name("file"));
    node.vfs.rename(&USER, (root, names.0), (root, names.1), RenameMode::Replace).unwrap();
    assert_eq!(read(&node, &path), b"saved");
    node.vfs.unlink(&USER, root, &name("file")).unwrap();
    assert_eq!(list(&node, &format!("{AT}/file")), ["base", "theirs"]);
}

#[test]
fn several_conflicts_of_one_file_have_their_numbers_behind_their_sides() {
    let node = Node::new();
    let root = node.vfs.root();
    write(&node.vfs, root, "file", b"base");
    let mut branches = Vec::new();
    for called in ["one", "two"] {
        let change = |there: &Arc<Vfs>| write(there, root, "file", called.as_bytes());
        branches.push(on_a_branch(&node, called, change));
    }
    write(&node.vfs, root, "file", b"ours");
    for there in &branches {
        merge(&node, there);
    }
    let folder = format!("{AT}/file");
    let listed = list(&node, &folder);
    assert_eq!(listed, ["base", "base-2", "ours", "ours-2", "theirs", "theirs-2"]);
    assert_eq!(read(&node, &format!("{folder}/theirs")), b"one");
    assert_eq!(read(&node, &format!("{folder}/theirs-2")), b"two");
}

#[test]
fn two_files_of_one_name_are_the_sides_of_that_name() {
    let node = Node::new();
    let root = node.vfs.root();
    let there = on_a_branch(&node, "try", |there| write(there, root, "file", b"theirs"));
    write(&node.vfs, root, "file", b"ours");
    merge(&node, &there);
    assert_eq!(list(&node, AT), ["file"]);
    assert_eq!(list(&node, &format!("{AT}/file")), ["ours", "theirs"]);
    assert_eq!(read(&node, &format!("{AT}/file/ours")), b"ours");
    assert_eq!(read(&node, &format!("{AT}/file/theirs")), b"theirs");
}
