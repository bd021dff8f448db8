//! What shows where several edges have one name.

use super::*;

#[test]
fn two_saves_by_rename_over_one_file_are_one_file_with_a_conflict() {
    let [mut a, mut b, _] = writers(|w| w.create_file("f.txt", 1));
    a.save("f.txt", 2);
    a.save("f.txt", 3);
    b.advance(50);
    let newer = b.save("f.txt", 4);
    let tree = united(&[&a, &b]);
    assert_eq!(tree.names(""), ["f.txt"]);
    let file = tree.file("f.txt");
    assert_eq!(file.inode, newer);
    assert_eq!((sizes(&[file.live]), sizes(&file.conflicts)), (vec![4], vec![3]));
    // A version over both resolves it, and removing the file removes all of it.
    a.hear(&b);
    a.edit("f.txt", 5);
    let file = united(&[&a, &b]).file("f.txt");
    assert_eq!((sizes(&[file.live]), sizes(&file.conflicts)), (vec![5], vec![]));
    a.rm("f.txt");
    assert_eq!(united(&[&a, &b]).names(""), [""; 0]);
}

#[test]
fn a_save_and_an_edit_of_one_file_are_one_file_with_a_conflict() {
    let [mut a, mut b, _] = writers(|w| w.create_file("f", 1));
    a.save("f", 2);
    b.advance(50);
    b.edit("f", 3);
    let tree = united(&[&a, &b]);
    assert_eq!(tree.names(""), ["f"]);
    let file = tree.file("f");
    assert_eq!((sizes(&[file.live]), sizes(&file.conflicts)), (vec![3], vec![2]));
    assert_eq!(reasons(&tree), [Reason::Unseen], "the save had removed the inode");
}

#[test]
fn different_files_of_one_name_are_siblings_and_the_older_keeps_the_name() {
    let [mut a, mut b, _] = writers(|_| {});
    b.create_file("f.txt", 2);
    a.advance(50);
    a.create_file("f.txt", 1);
    let tree = united(&[&a, &b]);
    let names = tree.names("");
    assert_eq!(names.len(), 2);
    assert!(names[0].starts_with("f (conflict 01010101 "), "{names:?}");
    assert_eq!(sizes(&[tree.file("f.txt").live]), [2]);
    assert_eq!(sizes(&[tree.file(&names[0]).live]), [1]);
    // Saving the older by a younger inode does not cost it its name.
    b.hear(&a);
    b.save("f.txt", 4);
    b.save("f.txt", 3);
    let tree = united(&[&a, &b]);
    assert_eq!(tree.names(""), names);
    assert_eq!(sizes(&[tree.file("f.txt").live]), [3]);
    // When it leaves, the other has the name.
    b.mv("f.txt", "g.txt");
    assert_eq!(united(&[&a, &b]).names(""), ["f.txt", "g.txt"]);
}

#[test]
fn equal_files_of_one_name_show_as_one_and_an_edit_makes_them_one() {
    let [mut a, mut b, _] = writers(|_| {});
    a.create_file("f", 1);
    b.create_file("f", 1);
    a.create(root(), &name("l"), Kind::Symlink { target: b"f"[..].into() });
    b.create(root(), &name("l"), Kind::Symlink { target: b"f"[..].into() });
    assert_eq!(united(&[&a, &b]).names(""), ["f", "l"]);
    let mut both = a.clone();
    both.hear(&b);
    both.edit("f", 2);
    let tree = united(&[&both, &b]);
    assert_eq!(tree.names(""), ["f", "l"]);
    assert_eq!(tree.file("f").conflicts, []);
    // Who had not seen the other edits its own only: two files then.
    a.edit("f", 3);
    assert_eq!(united(&[&a, &b]).names("").len(), 3);
}

#[test]
fn files_that_nobody_wrote_are_one_and_the_first_bytes_leave_no_other() {
    let [mut a, mut b, _] = writers(|_| {});
    a.create(root(), &name("f"), Kind::File);
    b.create(root(), &name("f"), Kind::File);
    a.hear(&b);
    assert_eq!(a.file("f").inodes.len(), 2);
    a.edit("f", 1);
    let tree = united(&[&a, &b]);
    assert_eq!(tree.names(""), ["f"]);
    assert_eq!(tree.file("f").conflicts, []);
}

#[test]
fn a_directory_and_a_file_of_one_name_go_by_age() {
    for directory_first in [true, false] {
        let [mut a, mut b, _] = writers(|_| {});
        let (early, late) = if directory_first { (0, 50) } else { (50, 0) };
        a.advance(early);
        a.mkdir("n");
        a.create_file("n/in", 1);
        b.advance(late);
        b.create_file("n", 2);
        let tree = united(&[&a, &b]);
        let names = tree.names("");
        let (directory, file) = if directory_first { (0, 1) } else { (1, 0) };
        assert_eq!(tree.names(&names[directory]), ["in"]);
        assert_eq!(sizes(&[tree.file(&names[file]).live]), [2]);
    }
}

#[test]
fn directories_of_one_name_are_one_and_keep_their_children_when_apart() {
    let [mut a, mut b, _] = writers(|_| {});
    let older = a.mkdir("d");
    a.mkdir("d/sub");
    a.create_file("d/sub/a", 1);
    b.advance(50);
    b.mkdir("d");
    b.mkdir("d/sub");
    b.create_file("d/sub/b", 2);
    let mut both = a.clone();
    both.hear(&b);
    assert_eq!(both.tree().names(""), ["d"]);
    assert_eq!(both.tree().names("d"), ["sub"]);
    assert_eq!(both.tree().names("d/sub"), ["a", "b"]);
    assert_eq!(both.directory("d"), older, "new children go there");
    // Renamed by somebody who sees one directory, it stays one.
    let mut renamed = both.clone();
    renamed.mv("d", "e");
    assert_eq!(renamed.tree().names("e/sub"), ["a", "b"]);
    // Renamed by somebody who had not heard of the other, they part.
    b.mv("d", "e");
    let tree = united(&[&a, &b]);
    assert_eq!((tree.names("d/sub"), tree.names("e/sub")), (vec!["a".into()], vec!["b".into()]));
}
