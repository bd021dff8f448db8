//! `branches/`, and snapshots in `at/`.

use std::os::unix::fs::FileExt as _;

use tesfs_fs::{Vfs, VfsOptions};
use tesfs_pathtree::branch::{self, Branch, NewBranch};

use super::*;

fn fork(node: &Node, name: &str, frozen: bool) -> Branch {
    let new = NewBranch { name, from: node.vfs.branch(), at: None, frozen };
    node.db.write(|tx| branch::create(tx, node.vfs.bucket(), &new)).unwrap()
}

/// The same node with another branch shown.
fn switched(node: &Node, to: &Branch) -> Arc<Vfs> {
    let (db, store) = (Arc::clone(&node.db), Arc::clone(&node.store));
    Vfs::new(db, store, (node.vfs.bucket(), to, None), &VfsOptions::default()).unwrap()
}

fn write(vfs: &Vfs, called: &str, bytes: &[u8]) {
    let how = OpenWrite { truncate: true, ..OpenWrite::default() };
    let file = match vfs.lookup(&USER, vfs.root(), &name(called)) {
        Ok(found) => vfs.open_write(&USER, found.ino, how).unwrap(),
        Err(FsError::Tree(TreeError::EdgeNotFound { .. })) => {
            vfs.create(&USER, vfs.root(), &name(called), 0o644, how).unwrap().1
        }
        Err(err) => panic!("{err}"),
    };
    file.write_at(0, bytes, false).unwrap();
    file.flush().unwrap();
    file.release().unwrap();
}

#[test]
fn another_branch_shows_what_was_closed_on_it() {
    let node = Node::new();
    node.write("file", b"one");
    let branch = fork(&node, "try", false);
    let other = switched(&node, &branch);
    let seen = walk(&node, ".tesfs/branches/try/file").unwrap();
    assert!(node.vfs.changes_untold(seen.ino), "the kernel is not to keep it");
    for (bytes, names) in [(&b"two"[..], 1), (&pattern(LARGE, 1), 1), (b"", 1)] {
        write(&other, "file", bytes);
        assert_eq!(read(&node, ".tesfs/branches/try/file"), bytes);
        assert_eq!(list(&node, ".tesfs/branches/try").len(), names);
        assert_eq!(walk(&node, ".tesfs/branches/try/file").unwrap().ino, seen.ino);
    }
    let reader = node.vfs.open_read(&USER, seen.ino).unwrap();
    write(&other, "file", b"three");
    write(&other, "new", b"");
    assert_eq!(all(&reader), b"");
    assert_ne!(node.vfs.published(seen.ino).unwrap(), reader.content());
    assert_eq!(list(&node, ".tesfs/branches/try"), ["file", "new"]);
    assert_eq!(node.read("file"), b"one");
}

#[test]
fn a_version_that_the_kernel_writes_over_stays_whole_for_who_looks_from_elsewhere() {
    let node = Node::new();
    let settler = node.settler();
    node.write("file", b"one");
    let other = switched(&node, &fork(&node, "try", false));
    settler.watch(&other);
    for (vfs, look) in [(&other, "branches/try"), (&node.vfs, "at/now")] {
        let how = OpenWrite { read: true, ..OpenWrite::default() };
        let writer = vfs.create(&USER, vfs.root(), &name("new"), 0o644, how).unwrap().1;
        let backing = writer.backing().unwrap().unwrap();
        backing.write_all_at(&pattern(LARGE, 1), 0).unwrap();
        writer.flush().unwrap();
        let seen = walk(&node, &format!(".tesfs/{look}/new")).unwrap();
        let reader = node.vfs.open_read(&USER, seen.ino).unwrap();
        // A duplicated descriptor, or one whose release is still on its way.
        backing.write_all_at(&pattern(LARGE, 2), 0).unwrap();
        assert_eq!(all(&reader), pattern(LARGE, 1), "{look}");
        writer.release().unwrap();
        assert_eq!(all(&reader), pattern(LARGE, 1), "{look}");
    }
}

#[test]
fn a_folder_of_branches_shows_the_others_and_a_snapshot_is_among_the_times() {
    let node = Node::new();
    node.write("file", b"one");
    fork(&node, "try", false);
    fork(&node, "before lunch", true);
    // Also where the name could be taken for a time.
    fork(&node, "yesterday", true);
    node.write("file", b"two");
    assert_eq!(list(&node, ".tesfs/branches"), ["try"]);
    for path in [".tesfs/branches/main", ".tesfs/branches/yesterday", ".tesfs/at/try"] {
        assert!(is_missing(&node, path), "{path}");
    }
    let times = list(&node, ".tesfs/at");
    assert!(times.contains(&"before lunch".to_owned()) && times.contains(&"yesterday".to_owned()));
    for snapshot in ["before lunch", "yesterday"] {
        let found = walk(&node, &format!(".tesfs/at/{snapshot}/file")).unwrap();
        assert!(!node.vfs.changes_untold(found.ino));
        assert_eq!(read(&node, &format!(".tesfs/at/{snapshot}/file")), b"one");
    }
    node.db.write(|tx| branch::abandon(tx, node.vfs.bucket(), "yesterday")).unwrap();
    node.db.write(|tx| branch::abandon(tx, node.vfs.bucket(), "try")).unwrap();
    assert!(is_missing(&node, ".tesfs/at/yesterday"), "the tree was made today");
    assert!(is_missing(&node, ".tesfs/branches/try"));
    assert_eq!(list(&node, ".tesfs/branches"), [""; 0]);
}

#[test]
fn a_branch_shows_its_own_past_and_that_of_before_its_fork() {
    let node = Node::new();
    node.write("file", b"one");
    let before = label(&node);
    node.write("file", b"two");
    let other = switched(&node, &fork(&node, "try", false));
    node.clock.advance(Duration::from_secs(1));
    write(&other, "file", b"three");
    let at = moment::label(node.clock.now_ns());
    let node = Node { vfs: other, ..node };
    node.clock.advance(Duration::from_secs(1));
    write(&node.vfs, "file", b"four");
    assert_eq!(read(&node, &format!(".tesfs/at/{before}/file")), b"one");
    assert_eq!(read(&node, &format!(".tesfs/at/{at}/file")), b"three");
    assert_eq!(read(&node, ".tesfs/branches/main/file"), b"two");
}
