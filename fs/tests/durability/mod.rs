//! What fsync promised, and what failed publishes, syncs and cuts leave.

use std::fs;

use tesfs_fs::{OpenWrite, RenameMode, recovery};

use crate::node::{LARGE, Node, USER, all, name, pattern};

/// Lets every insert into a table fail from now on.
fn refuse_inserts(node: &Node, table: &str) {
    let sql = format!(
        "CREATE TEMP TRIGGER refuse BEFORE INSERT ON {table}
         BEGIN SELECT RAISE(ABORT, 'the test refuses'); END"
    );
    node.db.write(|tx| tx.execute_batch(&sql).map_err(failed)).unwrap();
}

fn accept_inserts(node: &Node) {
    node.db.write(|tx| tx.execute_batch("DROP TRIGGER refuse").map_err(failed)).unwrap();
}

fn failed(source: rusqlite::Error) -> tesfs_pathtree::DbError {
    tesfs_pathtree::DbError { doing: "changing what is refused", source }
}

#[test]
fn an_fsynced_draft_whose_publish_failed_does_not_replace_a_newer_version() {
    let node = Node::new();
    let file = node.create("file");
    file.write_at(0, &pattern(LARGE, 1), false).unwrap();
    file.fsync().unwrap();
    refuse_inserts(&node, "blobs");
    file.flush().unwrap_err();
    file.release().unwrap_err();
    accept_inserts(&node);
    node.write("file", b"newer");
    let node = node.killed_and_started("boot-1");
    assert_eq!(node.read("file"), b"newer");
    let aside = fs::read_dir(node.dir.path().join("recovered")).unwrap().next().unwrap().unwrap();
    assert_eq!(fs::read(aside.path()).unwrap(), pattern(LARGE, 1), "nor is it thrown away");
}

#[test]
fn a_second_fsync_that_fails_leaves_the_first_one_as_it_was() {
    let node = Node::new();
    let file = node.create("file");
    file.write_at(0, b"first", false).unwrap();
    file.fsync().unwrap();
    file.write_at(0, b"other", false).unwrap();
    refuse_inserts(&node, "drafts");
    file.fsync().unwrap_err();
    accept_inserts(&node);
    file.flush().unwrap();
    file.release().unwrap();
    // Whoever takes the next file of the pool must not write into one that a record names.
    for number in 0..40 {
        let other = node.create(&format!("other {number}"));
        other.write_at(0, b"somebody else's", false).unwrap();
        std::mem::forget(other);
    }
    let node = node.killed_and_started("boot-1");
    assert_eq!(String::from_utf8(node.read("file")).unwrap(), "other");
}

#[test]
fn an_orderly_end_leaves_nothing_that_the_next_start_calls_unfinished() {
    let node = Node::new();
    let file = node.create("file");
    file.write_at(0, b"small", false).unwrap();
    file.fsync().unwrap();
    file.flush().unwrap();
    file.release().unwrap();
    drop(file);
    let Node { dir, db, store, vfs, .. } = node;
    drop(vfs);
    let drafts = fs::read_dir(dir.path().join("drafts")).unwrap();
    let full = drafts.filter(|entry| entry.as_ref().unwrap().metadata().unwrap().len() > 0);
    assert_eq!(full.count(), 0);
    drop(store);
    drop(db);
}

#[test]
fn an_fsynced_draft_that_can_not_be_recovered_waits_and_the_node_starts() {
    let node = Node::new();
    node.write("other", b"other");
    let ino = node.write("file", &pattern(LARGE, 1));
    let settler = node.settler();
    settler.settle_now().unwrap();
    let file = node.vfs.open_write(&USER, ino, OpenWrite::default()).unwrap();
    file.write_at(10, b"changed", false).unwrap();
    file.fsync().unwrap();
    drop((settler, file));
    let hash = tesfs_blobs::BlobHash::of(&pattern(LARGE, 1)).to_string();
    let base = node.dir.path().join("blobs").join(&hash[..2]).join(&hash);
    let mut bytes = fs::read(&base).unwrap();
    bytes[LARGE / 2] ^= 1;
    fs::remove_file(&base).unwrap();
    fs::write(&base, bytes).unwrap();
    let node = node.killed_and_started("boot-1");
    assert_eq!(node.read("other"), b"other");
}

#[test]
fn fsync_of_a_directory_promises_what_was_closed_before() {
    let node = Node::new();
    node.write("file", &pattern(LARGE, 1));
    node.write("new", &pattern(LARGE, 2));
    let root = node.vfs.root();
    let replace = RenameMode::Replace;
    node.vfs.rename(&USER, (root, &name("new")), (root, &name("file")), replace).unwrap();
    node.vfs.sync_directory(node.vfs.root()).unwrap();
    let node = node.killed_and_started("boot-2");
    assert_eq!(node.read("file"), pattern(LARGE, 2));
}

#[test]
fn fsync_of_a_directory_promises_a_birth() {
    let node = Node::new();
    let file = node.create("file");
    node.vfs.sync_directory(node.vfs.root()).unwrap();
    file.write_at(0, &pattern(LARGE, 1), false).unwrap();
    file.flush().unwrap();
    drop(file);
    let node = node.killed_and_started("boot-2");
    assert_eq!(node.read("file"), b"", "what was written later is lost, whole");
}

#[test]
fn fsync_through_a_handle_that_wrote_nothing_promises_the_current_version() {
    let node = Node::new();
    let writer = node.create("file");
    let backing = writer.backing().unwrap().unwrap();
    writer.write_at(0, &pattern(LARGE, 1), false).unwrap();
    writer.flush().unwrap();
    let reader = node.vfs.open_read(&USER, writer.ino()).unwrap();
    reader.fsync().unwrap();
    // Goes on in the same file, and never closes.
    writer.write_at(LARGE as u64, b"more", false).unwrap();
    drop((backing, reader));
    std::mem::forget(writer);
    let node = node.killed_and_started("boot-2");
    assert_eq!(node.read("file"), pattern(LARGE, 1));
}

#[test]
fn adopted_bytes_that_were_fsynced_without_a_name_are_there_when_it_comes_back() {
    let node = Node::new();
    let source = node.write("source", &pattern(LARGE, 1));
    node.settler().settle_now().unwrap();
    let out = node.create("out");
    let from = node.vfs.open_read(&USER, source).unwrap();
    assert_eq!(from.copy_range(0, &out, 0, LARGE as u64, false).unwrap(), LARGE as u64);
    node.write("new", &pattern(LARGE, 2));
    let root = node.vfs.root();
    let replace = RenameMode::Replace;
    node.vfs.rename(&USER, (root, &name("new")), (root, &name("out")), replace).unwrap();
    out.fsync().unwrap();
    drop((out, from));
    // The one that took the name was never synced: it goes, and the name comes back.
    let node = node.killed_and_started("boot-2");
    assert_eq!(node.read("out"), pattern(LARGE, 1));
}

#[test]
fn a_writer_goes_on_over_its_own_version_when_no_file_can_be_opened() {
    let node = Node::new();
    let file = node.create("file");
    file.write_at(0, &pattern(LARGE, 1), false).unwrap();
    // The draft's name is out of the way for as long as the publish takes.
    let drafts = node.dir.path().join("drafts");
    let away = node.dir.path().join("away");
    fs::rename(&drafts, &away).unwrap();
    let published = file.flush();
    fs::rename(&away, &drafts).unwrap();
    published.unwrap();
    file.write_at(LARGE as u64, b"more", false).unwrap();
    file.flush().unwrap();
    file.release().unwrap();
    let now = node.read("file");
    assert_eq!((now.len(), &now[..LARGE]), (LARGE + 4, &pattern(LARGE, 1)[..]));
}

#[test]
fn a_cut_file_keeps_its_name_when_the_node_is_killed_before_it_says_so() {
    let node = Node::new();
    let file = node.create("file");
    let backing = file.backing().unwrap().unwrap();
    file.write_at(0, &pattern(LARGE, 1), false).unwrap();
    file.flush().unwrap();
    refuse_inserts(&node, "change");
    // The row is not changed, so the file must not be either.
    file.set_len(10).unwrap_err();
    accept_inserts(&node);
    std::mem::forget((file, backing));
    let node = node.killed_and_started("boot-1");
    assert_eq!(node.read("file"), pattern(LARGE, 1));
    assert!(recovery::recover(&node.db, &node.store, "boot-1").unwrap().is_empty());
    assert_eq!(all(&node.vfs.open_read(&USER, node.find("file").unwrap()).unwrap()).len(), LARGE);
}
