//! `deleted/`.

use super::*;

fn unlink(node: &Node, parent: Ino, called: &str) {
    node.vfs.unlink(&USER, parent, &name(called)).unwrap();
    node.clock.advance(Duration::from_secs(5));
}

/// Lets the operation end: what one operation makes and removes leaves nothing.
fn pause(node: &Node) {
    node.clock.advance(Duration::from_secs(5));
}

#[test]
fn what_was_removed_is_found_below_its_folder() {
    let node = Node::new();
    let root = node.vfs.root();
    let photos = directory(&node, root, "photos");
    directory(&node, root, "kept");
    let made = node.vfs.create(&USER, photos, &name("a"), 0o640, OpenWrite::default()).unwrap().1;
    made.write_at(0, &pattern(LARGE, 1), false).unwrap();
    made.flush().unwrap();
    made.release().unwrap();
    node.write("file", b"one");
    pause(&node);
    assert_eq!(list(&node, ".tesfs/deleted"), ["kept", "photos"]);
    assert_eq!(list(&node, ".tesfs/deleted/photos"), [""; 0]);
    unlink(&node, photos, "a");
    node.vfs.rmdir(&USER, root, &name("photos")).unwrap();
    unlink(&node, root, "file");
    assert_eq!(list(&node, ".tesfs/deleted"), ["file", "kept", "photos"]);
    assert_eq!(list(&node, ".tesfs/deleted/photos"), ["a"]);
    assert_eq!(read(&node, ".tesfs/deleted/photos/a"), pattern(LARGE, 1));
    assert_eq!(read(&node, ".tesfs/deleted/file"), b"one");
    let found = walk(&node, ".tesfs/deleted/photos/a").unwrap();
    assert_eq!((found.mode, found.nlink, found.size), (0o640, 1, LARGE as u64));
    assert!(node.vfs.changes_untold(found.ino));
    assert!(is_missing(&node, ".tesfs/deleted/photos/b"));
    assert!(is_missing(&node, ".tesfs/deleted/kept~2026-01-01T00:00:00Z"));
}

#[test]
fn of_several_with_one_name_the_last_removed_has_it_and_the_others_say_when() {
    let node = Node::new();
    let root = node.vfs.root();
    let mut removed = Vec::new();
    for bytes in [b"one", b"two"] {
        node.write("a~b", bytes);
        pause(&node);
        removed.push(moment::label(node.clock.now_ns()));
        unlink(&node, root, "a~b");
    }
    assert_eq!(list(&node, ".tesfs/deleted"), ["a~b".to_owned(), format!("a~b~{}", removed[0])]);
    assert_eq!(read(&node, ".tesfs/deleted/a~b"), b"two");
    assert_eq!(read(&node, &format!(".tesfs/deleted/a~b~{}", removed[0])), b"one");
    directory(&node, root, "a~b");
    let all = ["a~b".to_owned(), format!("a~b~{}", removed[0]), "a~b~now".to_owned()];
    assert_eq!(list(&node, ".tesfs/deleted"), all);
    assert_eq!(walk(&node, ".tesfs/deleted/a~b~now").unwrap().kind, FileKind::Directory);
    assert_eq!(read(&node, ".tesfs/deleted/a~b"), b"two", "though a directory has its name");
}

#[test]
fn two_of_one_name_that_went_in_one_second_have_names_of_their_own() {
    let node = Node::new();
    let root = node.vfs.root();
    for bytes in [b"one", b"two", b"six"] {
        node.write("a", bytes);
        // No consumer: but what was looked at is kept.
        walk(&node, &format!(".tesfs/at/{}", moment::label(node.clock.now_ns()))).unwrap();
        walk(&node, ".tesfs/at/now").unwrap();
        node.clock.advance(Duration::from_millis(1));
        node.vfs.unlink(&USER, root, &name("a")).unwrap();
    }
    let names = list(&node, ".tesfs/deleted");
    for found in &names {
        walk(&node, &format!(".tesfs/deleted/{found}")).unwrap();
    }
    let plain: BTreeSet<&String> = names.iter().collect();
    assert_eq!(plain.len(), names.len());
}

#[test]
fn a_name_that_another_file_took_was_not_removed() {
    let node = Node::new();
    let root = node.vfs.root();
    node.write("file", b"one");
    pause(&node);
    node.write("new", b"two");
    let (from, to) = (name("new"), name("file"));
    node.vfs.rename(&USER, (root, &from), (root, &to), RenameMode::Replace).unwrap();
    node.vfs.rename(&USER, (root, &to), (root, &from), RenameMode::Replace).unwrap();
    let linked = node.find("new").unwrap();
    node.vfs.link(&USER, linked, root, &name("other")).unwrap();
    pause(&node);
    unlink(&node, root, "new");
    assert!(is_missing(&node, ".tesfs/deleted/new"), "it has another name");
    unlink(&node, root, "other");
    assert_eq!(read(&node, ".tesfs/deleted/other"), b"two");
    assert_eq!(read(&node, ".tesfs/deleted/new"), b"two");
}
