//! Settling while a disk or the database refuses: nothing is left behind, and the rest goes on.

use std::{fs, path::Path, sync::Arc, time::Duration};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tesfs_fs::{FileState, OpenFile};

use crate::node::{LARGE, Node, USER, pattern};

/// Draft files with bytes in them; the pool's are empty.
fn full_drafts(dir: &Path) -> usize {
    let entries = fs::read_dir(dir.join("drafts")).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().metadata().unwrap().len() > 0).count()
}

fn create(node: &Node, at: &str, len: usize) -> Arc<OpenFile> {
    let file = node.create(at);
    assert_eq!(file.write_at(0, &pattern(len, 7), false).unwrap(), len);
    file
}

/// A node whose bytes are on a disk of 4 MiB; the database is elsewhere.
struct SmallDisk {
    node: Node,
    disk: tempfile::TempDir,
}

impl SmallDisk {
    fn new() -> Self {
        let (dir, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        mount("tmpfs", disk.path(), "tmpfs", MountFlags::empty(), Some(c"size=4m"))
            .expect("these tests mount a tmpfs: run them as root");
        for folder in ["blobs", "drafts"] {
            let target = disk.path().join(folder);
            fs::create_dir(&target).unwrap();
            std::os::unix::fs::symlink(target, dir.path().join(folder)).unwrap();
        }
        Self { node: Node::within(dir), disk }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.disk.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn reading_what_the_kernel_writes_leaves_no_file_where_the_copy_does_not_fit() {
    let small = SmallDisk::new();
    let node = &small.node;
    let writer = create(node, "file", 3 << 20);
    let backing = writer.backing().unwrap().unwrap();
    writer.flush().unwrap();
    for _ in 0..3 {
        let err = node.vfs.open_read(&USER, writer.ino()).map(drop).unwrap_err();
        assert!(err.is_full(), "{err}");
        assert_eq!(full_drafts(node.dir.path()), 1);
    }
    drop(backing);
}

#[test]
fn an_idle_file_that_can_not_be_copied_leaves_no_file_and_the_others_are_sealed() {
    let small = SmallDisk::new();
    let node = &small.node;
    let idle = create(node, "idle", 3 << 20);
    let backing = idle.backing().unwrap().unwrap();
    idle.flush().unwrap();
    let closed = create(node, "closed", LARGE);
    closed.flush().unwrap();
    closed.release().unwrap();
    let settler = node.settler();
    // Files have the machine's times: a manual clock far ahead makes them long ago.
    node.clock.set(i64::MAX / 2);
    for _ in 0..3 {
        settler.settle_now().unwrap();
        assert_eq!(full_drafts(node.dir.path()), 1);
        node.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(node.vfs.story(closed.ino()).unwrap().state, FileState::Durable);
    drop(backing);
}

#[test]
fn what_waits_for_a_durable_commit_is_freed_by_the_one_after_a_failure() {
    let node = Node::new();
    let file = create(&node, "file", LARGE);
    file.fsync().unwrap();
    // The truncation leaves the fsynced file to the record, which the close forgets.
    file.set_len(0).unwrap();
    file.flush().unwrap();
    file.release().unwrap();
    assert_eq!(full_drafts(node.dir.path()), 1);
    let rename = |sql| {
        let renamed: Result<(), tesfs_pathtree::DbError> = node.db.write(|tx| {
            tx.execute_batch(sql)
                .map_err(|source| tesfs_pathtree::DbError { doing: "renaming", source })
        });
        renamed.unwrap();
    };
    let settler = node.settler();
    rename("ALTER TABLE blobs RENAME TO gone");
    settler.settle_now().unwrap_err();
    rename("ALTER TABLE gone RENAME TO blobs");
    assert_eq!(full_drafts(node.dir.path()), 1);
    settler.settle_now().unwrap();
    assert_eq!(full_drafts(node.dir.path()), 0);
}

#[test]
fn a_draft_that_can_not_be_opened_for_now_is_sealed_later_and_lost_is_nothing() {
    let node = Node::new();
    node.write("file", &pattern(LARGE, 1));
    let settler = node.settler();
    let drafts = node.dir.path().join("drafts");
    let is_file = |path: &Path| path.metadata().unwrap().len() == LARGE as u64;
    let entries = fs::read_dir(&drafts).unwrap().map(|entry| entry.unwrap().path());
    let draft = entries.into_iter().find(|path| is_file(path)).unwrap();
    let away = node.dir.path().join("away");
    fs::rename(&draft, &away).unwrap();
    // Opening a directory for writing fails, as opening anything does when too much is open.
    fs::create_dir(&draft).unwrap();
    settler.settle_now().unwrap();
    fs::remove_dir(&draft).unwrap();
    fs::rename(&away, &draft).unwrap();
    settler.settle_now().unwrap();
    assert_eq!(node.read("file"), pattern(LARGE, 1));
    let story = node.vfs.story(node.find("file").unwrap()).unwrap();
    assert_eq!(story.state, FileState::Durable);
}
