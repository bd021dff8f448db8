//! Settling while a disk or the database refuses: nothing is left behind, and the rest goes on.
//!
//! The disk is a small tmpfs, which takes the right to mount; without it these tests say so and
//! pass.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::print_stdout, reason = "a test that was not run says so")]

use std::{fs, path::Path, sync::Arc, time::Duration};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tesfs_blobs::Store;
use tesfs_fs::{
    Caller, FileState, OpenFile, OpenWrite, Settler, SettlerSettings, Vfs, VfsOptions, recovery,
};
use tesfs_pathtree::{
    Clock, Db, DbSettings, DeviceId, Name, Synchronous,
    bucket::{self, Owner},
};

const USER: Caller = Caller { uid: 1000, gid: 1000, pid: 0 };
/// More than fits a row.
const LARGE: usize = 100_000;

struct Node {
    clock: Clock,
    db: Arc<Db>,
    vfs: Arc<Vfs>,
    settler: Settler,
}

impl Node {
    fn open(dir: &Path) -> Self {
        let settings = DbSettings {
            synchronous: Synchronous::Normal,
            cache_kib: 2048,
            mmap_bytes: 0,
            busy_timeout: Duration::from_secs(5),
            wal_pages_max: 1000,
            readers_max: 4,
        };
        let clock = Clock::manual(1_700_000_000_000_000_000);
        let schemas = [tesfs_pathtree::SCHEMA, tesfs_blobs::SCHEMA];
        let (path, device) = (dir.join("node.db"), DeviceId([0; 32]));
        let db = Arc::new(Db::open(&path, &schemas, &settings, clock.clone(), device).unwrap());
        let store = Arc::new(Store::open(Arc::clone(&db), dir).unwrap());
        recovery::recover(&db, &store, "boot").unwrap();
        let owner = Owner { uid: 1000, gid: 1000 };
        let bucket = db.write(|tx| bucket::create(tx, "memories", owner)).unwrap();
        let options = VfsOptions::default();
        let vfs = Vfs::new(Arc::clone(&db), Arc::clone(&store), &bucket, &options).unwrap();
        let settings = SettlerSettings { delay: Duration::from_secs(1) };
        let settler = Settler::on_request(Arc::clone(&db), store, settings);
        settler.watch(&vfs);
        Self { clock, db, vfs, settler }
    }

    fn create(&self, at: &str, len: usize) -> Arc<OpenFile> {
        let name = Name::from_bytes(at.as_bytes()).unwrap();
        let how = OpenWrite { read: true, ..OpenWrite::default() };
        let file = self.vfs.create(&USER, self.vfs.root(), &name, 0o644, how).unwrap().1;
        write(&file, len);
        file
    }

    fn state(&self, file: &OpenFile) -> FileState {
        self.vfs.story(file.ino()).unwrap().state
    }
}

fn write(file: &OpenFile, len: usize) {
    assert_eq!(file.write_at(0, &vec![7; len], false).unwrap(), len);
}

/// Draft files with bytes in them; the pool's are empty.
fn full_drafts(dir: &Path) -> usize {
    let entries = fs::read_dir(dir.join("drafts")).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().metadata().unwrap().len() > 0).count()
}

/// A data directory whose bytes are on a disk of 4 MiB; the database is elsewhere.
struct SmallDisk {
    dir: tempfile::TempDir,
    disk: tempfile::TempDir,
}

impl SmallDisk {
    fn new() -> Option<Self> {
        let (dir, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mounted = mount("tmpfs", disk.path(), "tmpfs", MountFlags::empty(), Some(c"size=4m"));
        if let Err(err) = mounted {
            println!("not tested, a tmpfs can not be mounted: {err}");
            return None;
        }
        for folder in ["blobs", "drafts"] {
            let target = disk.path().join(folder);
            fs::create_dir(&target).unwrap();
            std::os::unix::fs::symlink(target, dir.path().join(folder)).unwrap();
        }
        Some(Self { dir, disk })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.disk.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn reading_what_the_kernel_writes_leaves_no_file_where_the_copy_does_not_fit() {
    let Some(small) = SmallDisk::new() else { return };
    let node = Node::open(small.dir.path());
    let writer = node.create("file", 3 << 20);
    let backing = writer.backing().unwrap().unwrap();
    writer.flush().unwrap();
    for _ in 0..3 {
        let err = node.vfs.open_read(&USER, writer.ino()).map(drop).unwrap_err();
        assert!(err.is_full(), "{err}");
        assert_eq!(full_drafts(small.dir.path()), 1);
    }
    drop(backing);
}

#[test]
fn an_idle_file_that_can_not_be_copied_leaves_no_file_and_the_others_are_sealed() {
    let Some(small) = SmallDisk::new() else { return };
    let node = Node::open(small.dir.path());
    let idle = node.create("idle", 3 << 20);
    let backing = idle.backing().unwrap().unwrap();
    idle.flush().unwrap();
    let closed = node.create("closed", LARGE);
    closed.flush().unwrap();
    closed.release().unwrap();
    // Files have the machine's times: a manual clock far ahead makes them long ago.
    node.clock.set(i64::MAX / 2);
    for _ in 0..3 {
        node.settler.settle_now().unwrap();
        assert_eq!(full_drafts(small.dir.path()), 1);
        node.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(node.state(&closed), FileState::Durable);
    drop(backing);
}

#[test]
fn what_waits_for_a_durable_commit_is_freed_by_the_one_after_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path());
    let file = node.create("file", LARGE);
    file.fsync().unwrap();
    // The truncation leaves the fsynced file to the record, which the close forgets.
    file.set_len(0).unwrap();
    file.flush().unwrap();
    file.release().unwrap();
    assert_eq!(full_drafts(dir.path()), 1);
    let rename = |sql| {
        let renamed: Result<(), tesfs_pathtree::DbError> = node.db.write(|tx| {
            tx.execute_batch(sql)
                .map_err(|source| tesfs_pathtree::DbError { doing: "renaming", source })
        });
        renamed.unwrap();
    };
    rename("ALTER TABLE blobs RENAME TO gone");
    node.settler.settle_now().unwrap_err();
    rename("ALTER TABLE gone RENAME TO blobs");
    assert_eq!(full_drafts(dir.path()), 1);
    node.settler.settle_now().unwrap();
    assert_eq!(full_drafts(dir.path()), 0);
}
