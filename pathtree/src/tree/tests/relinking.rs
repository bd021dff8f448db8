//! What was removed gets a name again.

use super::*;

fn hang_again(scratch: &Scratch, ino: Ino, parent: Ino, text: &str) -> Result<Inode, TreeError> {
    scratch.change(|tx, view, operation| {
        let parent = inode(tx, view, parent)?.ok_or(TreeError::InodeGone(parent))?;
        relink(tx, view, operation, ino, &parent, &name(text))
    })
}

#[test]
fn a_removed_file_comes_back_with_its_bytes_and_its_history() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    scratch.begin();
    scratch.unlink(scratch.root, "a").unwrap();
    scratch.begin();
    let back = hang_again(&scratch, file, scratch.root, "b").unwrap();
    assert_eq!((back.nlink, back.blob), (1, Some(BlobNumber(1))));
    assert_eq!(scratch.lookup(scratch.root, "b"), Some(file));
    let events = scratch.db().read(|conn| history(conn, &scratch.view, file)).unwrap();
    let places: Vec<bool> = events.iter().map(|event| event.is.is_some()).collect();
    assert_eq!(places, [true, false, true]);
}

#[test]
fn a_removed_directory_comes_back_empty_and_takes_what_was_in_it() {
    let scratch = Scratch::new();
    let top = scratch.directory(scratch.root, "d");
    let inner = scratch.directory(top, "e");
    scratch.begin();
    scratch.remove_directory(top, "e").unwrap();
    scratch.remove_directory(scratch.root, "d").unwrap();
    scratch.begin();
    assert!(matches!(hang_again(&scratch, inner, top, "e"), Err(TreeError::InodeGone(_))));
    hang_again(&scratch, top, scratch.root, "d").unwrap();
    hang_again(&scratch, inner, top, "e").unwrap();
    assert_eq!(scratch.stat(top).nlink, 3);
    assert_eq!(scratch.stat(scratch.root).nlink, 3);
}

#[test]
fn what_has_a_name_and_a_name_that_is_taken_are_refused() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    let other = scratch.file(scratch.root, "b");
    assert!(matches!(
        hang_again(&scratch, file, scratch.root, "c"),
        Err(TreeError::EdgeExists { .. })
    ));
    scratch.begin();
    scratch.unlink(scratch.root, "a").unwrap();
    assert!(matches!(
        hang_again(&scratch, file, scratch.root, "b"),
        Err(TreeError::EdgeExists { .. })
    ));
    assert!(matches!(hang_again(&scratch, file, other, "c"), Err(TreeError::NotADirectory(_))));
}

#[test]
fn what_a_branch_removed_comes_back_there() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    let fork = scratch.fork("try", None);
    let main = std::mem::replace(&mut scratch.view, fork);
    scratch.begin();
    scratch.unlink(scratch.root, "a").unwrap();
    scratch.begin();
    hang_again(&scratch, file, scratch.root, "a").unwrap();
    assert_eq!(scratch.lookup(scratch.root, "a"), Some(file));
    scratch.view = main;
}
