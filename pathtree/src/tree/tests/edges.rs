//! Creating, looking up, listing, linking, unlinking.

use super::*;

#[test]
fn what_was_created_is_found_and_listed_in_the_order_of_bytes() {
    let scratch = Scratch::new();
    let b = scratch.file(scratch.root, "b");
    let a = scratch.directory(scratch.root, "a");
    let under = scratch.file(a, "b");
    let upper = scratch.file(scratch.root, "Z");
    assert_eq!(scratch.lookup(scratch.root, "b"), Some(b));
    assert_eq!(scratch.lookup(a, "b"), Some(under));
    assert_eq!(scratch.lookup(a, "a"), None);
    assert_eq!(scratch.lookup(b, "b"), None, "a file has no names in it");
    let listed = [("Z".into(), upper), ("a".into(), a), ("b".into(), b)];
    assert_eq!(scratch.list(scratch.root), listed);
    assert_eq!(scratch.list(b), []);
    assert_eq!(scratch.names(under), [(a, "b".into())]);
    assert_eq!(scratch.names(scratch.root), []);
}

#[test]
fn what_create_returns_is_what_is_read_back() {
    let mut scratch = Scratch::new();
    let target: &[u8] = b"../elsewhere";
    let kinds = [
        ("file", new(S_IFREG | 0o4751)),
        ("directory", new(S_IFDIR | 0o1777)),
        ("link", NewInode { symlink: Some(target), ..new(S_IFLNK | 0o777) }),
        ("device", NewInode { rdev: u64::MAX, ..new(0o020_600) }),
        ("roots", NewInode { uid: 0, gid: 0, ..new(S_IFREG | 0o600) }),
        ("nobodys", NewInode { uid: u32::MAX - 1, gid: u32::MAX - 1, ..new(S_IFREG) }),
    ];
    let made = kinds.map(|(text, kind)| {
        let made = scratch.create(scratch.root, text, &kind).unwrap();
        assert_eq!(scratch.stat(made.ino), made, "{text}");
        assert_eq!((made.mode, made.attr.uid, made.attr.rdev), (kind.mode, kind.uid, kind.rdev));
        made
    });
    assert_eq!(made[2].size, 12);
    scratch.reopen();
    for inode in made {
        assert_eq!(scratch.stat(inode.ino), inode);
    }
    let link = scratch.lookup(scratch.root, "link").unwrap();
    let read = scratch.db().read(|conn| symlink_target(conn, link)).unwrap();
    assert_eq!(read.as_deref(), Some(target));
    assert_eq!(scratch.db().read(|conn| symlink_target(conn, scratch.root)).unwrap(), None);
}

#[test]
fn a_name_is_given_once() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    let before = scratch.stat(scratch.root);
    let taken = scratch.create(scratch.root, "a", &new(S_IFREG));
    assert!(matches!(taken, Err(TreeError::EdgeExists { .. })));
    let other = scratch.file(scratch.root, "b");
    let taken = scratch.link(other, scratch.root, "a");
    assert!(matches!(taken, Err(TreeError::EdgeExists { .. })));
    assert_eq!(scratch.lookup(scratch.root, "a"), Some(file));
    assert_eq!(scratch.stat(scratch.root).nlink, before.nlink);
    assert_eq!(scratch.stat(other).nlink, 1);
}

#[test]
fn nothing_is_created_in_a_file_or_in_a_removed_directory() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "file");
    let refused = scratch.create(file, "a", &new(S_IFREG));
    assert!(matches!(refused, Err(TreeError::NotADirectory(ino)) if ino == file));
    assert!(matches!(scratch.link(file, file, "a"), Err(TreeError::NotADirectory(_))));
    let gone = scratch.directory(scratch.root, "gone");
    scratch.remove_directory(scratch.root, "gone").unwrap();
    let refused = scratch.create(gone, "a", &new(S_IFREG));
    assert!(matches!(refused, Err(TreeError::InodeGone(ino)) if ino == gone));
    assert!(matches!(scratch.link(file, gone, "a"), Err(TreeError::InodeGone(_))));
    assert!(matches!(
        scratch.rename((scratch.root, "file"), (gone, "a")),
        Err(TreeError::InodeGone(_))
    ));
}

#[test]
fn a_caller_that_looked_too_early_creates_nothing_in_a_removed_directory() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "file");
    let gone = scratch.directory(scratch.root, "gone");
    let stale = scratch.stat(gone);
    scratch.remove_directory(scratch.root, "gone").unwrap();
    let rows = scratch.rows();
    let refused = scratch.change(|tx, view, operation| {
        create(tx, view, operation, &stale, &name("a"), &new(S_IFREG))
    });
    assert!(matches!(refused, Err(TreeError::InodeGone(ino)) if ino == gone));
    let refused =
        scratch.change(|tx, view, operation| link(tx, view, operation, file, &stale, &name("a")));
    assert!(matches!(refused, Err(TreeError::InodeGone(_))));
    let refused = scratch.change(|tx, view, operation| {
        rename(tx, view, operation, (view.root, &name("file")), (&stale, &name("a")))
    });
    assert!(matches!(refused, Err(TreeError::InodeGone(_))));
    assert_eq!(scratch.rows(), rows);
}

#[test]
fn hard_links_are_counted_and_all_lead_to_one_inode() {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    let file = scratch.written(scratch.root, "a", 1);
    assert_eq!(scratch.link(file, scratch.root, "b").unwrap().nlink, 2);
    assert_eq!(scratch.link(file, directory, "a").unwrap().nlink, 3);
    for (parent, text) in [(scratch.root, "a"), (scratch.root, "b"), (directory, "a")] {
        assert_eq!(scratch.lookup(parent, text), Some(file));
    }
    let listed = scratch.db().read(|conn| list(conn, &scratch.view, directory)).unwrap();
    assert_eq!((listed[0].ino, listed[0].mode), (file, S_IFREG));
    assert_eq!(scratch.names(file).len(), 3);
    // The first name goes first: the others stay.
    assert_eq!(scratch.unlink(scratch.root, "a").unwrap().nlink, 2);
    assert_eq!(scratch.lookup(scratch.root, "b"), Some(file));
    assert_eq!(scratch.unlink(directory, "a").unwrap().nlink, 1);
    assert_eq!(scratch.names(file), [(scratch.root, "b".into())]);
    assert_eq!(scratch.link(file, directory, "c").unwrap().nlink, 2);
    assert_eq!(scratch.blob(file), Some(1));
}

#[test]
fn neither_directories_nor_what_is_gone_can_be_linked() {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    let refused = scratch.link(directory, scratch.root, "e");
    assert!(matches!(refused, Err(TreeError::IsADirectory(_))));
    let file = scratch.file(scratch.root, "f");
    scratch.begin();
    assert_eq!(scratch.unlink(scratch.root, "f").unwrap().nlink, 0);
    assert!(matches!(scratch.link(file, directory, "g"), Err(TreeError::InodeGone(_))));
    assert!(matches!(scratch.link(Ino(999_999), directory, "g"), Err(TreeError::InodeGone(_))));
}

#[test]
fn the_number_of_a_further_edge_is_no_inode() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    scratch.link(file, scratch.root, "b").unwrap();
    let row = scratch.number("SELECT id FROM inodes WHERE target IS NOT NULL");
    assert_eq!(scratch.find(Ino(row.cast_unsigned())), None);
}

#[test]
fn an_edge_whose_inode_is_not_there_does_not_show() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    scratch.link(file, scratch.root, "b").unwrap();
    scratch
        .db()
        .write(|tx| {
            tx.execute("UPDATE inodes SET target = 999999 WHERE target IS NOT NULL", [])
                .doing("losing an inode")
        })
        .unwrap();
    scratch.broken.set(true);
    assert_eq!(scratch.lookup(scratch.root, "b"), None);
    assert_eq!(scratch.list(scratch.root), [("a".into(), file)]);
}

#[test]
fn of_two_edges_with_one_name_the_older_has_it() {
    let scratch = Scratch::new();
    let older = scratch.file(scratch.root, "a");
    let younger = scratch.file(scratch.root, "b");
    scratch
        .db()
        .write(|tx| {
            tx.execute("UPDATE inodes SET name = ?1", [b"a"]).doing("merging two histories")?;
            // The younger one comes first in every index.
            tx.execute("UPDATE inodes SET born = 1 WHERE id = ?1", [younger]).doing("as above")
        })
        .unwrap();
    scratch.broken.set(true);
    assert_eq!(scratch.lookup(scratch.root, "a"), Some(younger));
    assert_ne!(older, younger);
    assert_eq!(scratch.unlink_held(scratch.root, "a").unwrap().ino, younger);
    assert_eq!(scratch.lookup(scratch.root, "a"), Some(older));
}

#[test]
fn unlink_and_remove_directory_take_what_they_are_for() {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    scratch.file(directory, "f");
    let missing = scratch.unlink(scratch.root, "x");
    assert!(matches!(missing, Err(TreeError::EdgeNotFound { .. })));
    let missing = scratch.remove_directory(scratch.root, "x");
    assert!(matches!(missing, Err(TreeError::EdgeNotFound { .. })));
    assert!(matches!(scratch.unlink(scratch.root, "d"), Err(TreeError::IsADirectory(_))));
    assert!(matches!(scratch.remove_directory(directory, "f"), Err(TreeError::NotADirectory(_))));
    let full = scratch.remove_directory(scratch.root, "d");
    assert!(matches!(full, Err(TreeError::DirectoryNotEmpty(_))));
    scratch.unlink(directory, "f").unwrap();
    let left = scratch.remove_directory(scratch.root, "d").unwrap();
    assert_eq!((left.ino, left.nlink), (directory, 0));
    assert_eq!(scratch.list(scratch.root), []);
}

#[test]
fn a_directory_counts_itself_twice_and_each_directory_in_it() {
    let scratch = Scratch::new();
    assert_eq!(scratch.stat(scratch.root).nlink, 2);
    let one = scratch.directory(scratch.root, "one");
    let two = scratch.directory(scratch.root, "two");
    scratch.file(scratch.root, "file");
    assert_eq!(scratch.stat(scratch.root).nlink, 4);
    scratch.directory(one, "below");
    assert_eq!((scratch.stat(one).nlink, scratch.stat(two).nlink), (3, 2));
    scratch.rename((one, "below"), (two, "below")).unwrap();
    assert_eq!((scratch.stat(one).nlink, scratch.stat(two).nlink), (2, 3));
    scratch.remove_directory(two, "below").unwrap();
    scratch.remove_directory(scratch.root, "two").unwrap();
    assert_eq!(scratch.stat(scratch.root).nlink, 3);
    assert_eq!(scratch.find(two).map_or(0, |gone| gone.nlink), 0);
}

#[test]
fn an_unlinked_inode_that_is_held_can_still_be_asked_and_written() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    let left = scratch.unlink_held(scratch.root, "f").unwrap();
    assert_eq!((left.nlink, left.purged), (0, false));
    scratch.publish(file, 2, None);
    assert_eq!((scratch.stat(file).nlink, scratch.blob(file)), (0, Some(2)));
    assert_eq!(scratch.names(file), []);
}

#[test]
fn the_counts_of_a_branch_are_those_of_what_lives() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 3);
    scratch.publish(file, 5, None);
    scratch.link(file, scratch.root, "g").unwrap();
    scratch.directory(scratch.root, "d");
    scratch.written(scratch.root, "gone", 100);
    scratch.begin();
    scratch.unlink(scratch.root, "gone").unwrap();
    let counted = scratch.db().read(|conn| stats(conn, &scratch.view)).unwrap();
    let expected =
        TreeStats { files: 1, directories: 2, live_bytes: 50, past_versions: 1, past_bytes: 30 };
    assert_eq!(counted, expected);
    assert_eq!(scratch.db().read(|conn| versions_of(conn, &scratch.view, file)).unwrap(), 2);
}
