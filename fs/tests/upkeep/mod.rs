//! What a node does by itself: snapshots, pruning, forgetting; on a clock that the tests move.

use std::{sync::Arc, time::Duration};

use rustix::{
    fs::FallocateFlags,
    mount::{MountFlags, UnmountFlags, mount, unmount},
};
use tesfs_blobs::{GRACE, GcRequest};
use tesfs_fs::{OpenWrite, PruneReport, PruneRequest, Pruner, Upkeep, Vfs, VfsOptions};
use tesfs_pathtree::{
    Doing as _,
    branch::{self, Branch, BranchError, NewBranch},
    bucket::{self, Bucket, Owner},
    settings::{self, Settings, SettingsError, Wish},
    tree::{PruneCount, REFERENCES_SQL, XattrEdit, nearest_kept},
};

use crate::node::{LARGE, Node, USER, name, pattern};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Node {
    fn upkeep(&self) -> Upkeep {
        let (db, store) = (Arc::clone(&self.db), Arc::clone(&self.store));
        Upkeep::on_request(db, store, Arc::new(self.settler()))
    }

    fn bucket(&self) -> Bucket {
        self.vfs.bucket().clone()
    }

    fn set(&self, written: &str) {
        let wish = Wish::parse(written).unwrap();
        let bucket = self.bucket().number;
        self.db
            .write(|tx| settings::set(tx, bucket, &[wish]).map(drop))
            .map_err(|err: SettingsError| err)
            .unwrap();
    }

    fn settings(&self) -> Settings {
        self.db.read(|conn| settings::read(conn, self.bucket().number)).unwrap()
    }

    fn prune(&self, to_free_bytes: Option<u64>, dry_run: bool) -> PruneReport {
        let pruner = Pruner { db: &self.db, store: &self.store, is_held: &|_, _| false };
        let request = PruneRequest { bucket: self.bucket().number, to_free_bytes, dry_run };
        pruner.run(&request, &self.settings(), &mut |_| true).unwrap()
    }

    fn gc(&self) -> u64 {
        self.store.gc(&GcRequest { grace: GRACE, dry_run: false }).unwrap().size_bytes
    }

    fn branches(&self) -> Vec<Branch> {
        self.db.read(|conn| branch::list(conn, &self.bucket())).unwrap()
    }

    fn snapshots(&self) -> Vec<String> {
        let all = self.branches();
        let in_use = all.into_iter().filter(|one| one.frozen && one.abandoned_ns.is_none());
        in_use.map(|one| one.name).collect()
    }

    fn fork(&self, name: &str, frozen: bool) -> Branch {
        let main = self.db.read(|conn| branch::require(conn, &self.bucket(), "main")).unwrap();
        let new = NewBranch { name, from: &main, at: None, frozen };
        self.db.write(|tx| branch::create(tx, &self.bucket(), &new)).unwrap()
    }

    fn number(&self, sql: &str) -> i64 {
        let ask = |conn: &rusqlite::Connection| {
            conn.query_row(sql, [], |row| row.get(0)).doing("asking for a number")
        };
        self.db.read(ask).unwrap()
    }

    /// The counts of references are those of the tree.
    fn check_references(&self) {
        self.vfs.root();
        assert_eq!(self.store.recount(REFERENCES_SQL).unwrap().miscounts, []);
    }
}

#[test]
fn pruning_frees_what_no_kept_version_needs_and_says_so_before() {
    let node = Node::new();
    node.write("shared", &pattern(LARGE, 1));
    node.write("file", &pattern(LARGE, 1));
    for seed in 2..5 {
        node.clock.advance(HOUR / 10);
        node.write("file", &pattern(LARGE, seed));
    }
    node.write("small", b"one");
    node.clock.advance(HOUR / 10);
    node.write("small", b"another");
    node.settler().settle_now().unwrap();
    assert_eq!(node.prune(None, true), PruneReport::default(), "nothing is old enough");
    node.clock.advance(31 * DAY);
    let dry = node.prune(None, true);
    assert_eq!(dry.count.contents, 4);
    assert_eq!(dry.freed_bytes, 2 * LARGE as u64 + 3, "the first version is that of 'shared', too");
    let before = node.number("SELECT count(*) FROM past");
    assert_eq!(node.number("SELECT count(*) FROM past"), before, "a dry run");
    let real = node.prune(None, false);
    assert_eq!((real.count, real.freed_bytes), (dry.count, dry.freed_bytes));
    node.check_references();
    assert_eq!(node.read("file"), pattern(LARGE, 4));
    node.clock.advance(8 * DAY);
    assert_eq!(node.gc(), 2 * LARGE as u64);
    assert_eq!(node.read("shared"), pattern(LARGE, 1));
    assert_eq!(node.read("small"), b"another");
}

#[test]
fn as_much_is_freed_as_is_asked_for_oldest_first_and_nothing_young() {
    let node = Node::new();
    node.set("history=forever");
    for seed in 1..=6 {
        node.write("file", &pattern(LARGE, seed));
        node.clock.advance(10 * DAY);
    }
    node.settler().settle_now().unwrap();
    assert_eq!(node.prune(None, false).freed_bytes, 0);
    let dry = node.prune(Some(1), true);
    assert_eq!(dry.freed_bytes, LARGE as u64);
    assert_eq!(node.prune(Some(1), false), dry);
    let all = node.prune(Some(u64::MAX / 4), false);
    assert_eq!(
        all.freed_bytes, LARGE as u64,
        "three more are younger than 30 days, one is current"
    );
    assert_eq!(node.prune(Some(1), false).freed_bytes, 0);
    node.check_references();
    let view = node.vfs.view();
    let at = tesfs_pathtree::Hlc::from_unix_ns(node.clock.now_ns() - 45 * 86_400_000_000_000);
    assert_eq!(node.db.read(|conn| nearest_kept(conn, view, at)).unwrap(), None);
}

#[test]
fn snapshots_are_taken_when_due_and_only_where_something_changed() {
    let node = Node::new();
    let upkeep = node.upkeep();
    node.write("file", b"1");
    assert_eq!(upkeep.look().unwrap().taken, [""; 0], "none are taken by default");
    node.set("snapshots=hourly=2,daily=3");
    // 2023-11-14T22:13:20Z
    assert_eq!(upkeep.look().unwrap().taken, ["hourly-2023-11-14T22", "daily-2023-11-14"]);
    assert_eq!(upkeep.look().unwrap().taken, [""; 0], "once");
    node.clock.advance(HOUR);
    assert_eq!(upkeep.look().unwrap().taken, [""; 0], "nothing changed");
    node.write("file", b"2");
    assert_eq!(upkeep.look().unwrap().taken, ["hourly-2023-11-14T23"]);
    // Asleep for three days.
    node.clock.advance(3 * DAY);
    node.write("file", b"3");
    let looked = upkeep.look().unwrap();
    assert_eq!(looked.taken, ["hourly-2023-11-17T23", "daily-2023-11-17"]);
    assert_eq!(looked.removed, [""; 0], "what is taken now does not count yet");
    node.clock.advance(HOUR / 60);
    let looked = upkeep.look().unwrap();
    assert_eq!(looked.removed, ["hourly-2023-11-14T22"]);
    let left =
        ["daily-2023-11-14", "hourly-2023-11-14T23", "hourly-2023-11-17T23", "daily-2023-11-17"];
    assert_eq!(node.snapshots(), left);
}

#[test]
fn a_snapshot_that_somebody_removed_or_named_is_left_alone() {
    let node = Node::new();
    let upkeep = node.upkeep();
    node.set("snapshots=daily=1");
    node.write("file", b"1");
    node.fork("mine", true);
    upkeep.look().unwrap();
    let bucket = node.bucket();
    node.db.write(|tx| branch::abandon(tx, &bucket, "daily-2023-11-14")).unwrap();
    assert_eq!(upkeep.look().unwrap().taken, [""; 0]);
    for day in 0..3 {
        node.clock.advance(DAY);
        node.write("file", format!("{day}").as_bytes());
        upkeep.look().unwrap();
        node.clock.advance(HOUR / 60);
        upkeep.look().unwrap();
    }
    assert_eq!(node.snapshots(), ["mine", "daily-2023-11-17"]);
    assert!(matches!(
        branch::check_not_automatic("daily-2023-11-18"),
        Err(BranchError::Automatic { .. })
    ));
}

#[test]
fn each_bucket_is_pruned_once_a_day_and_when_its_settings_change() {
    let node = Node::new();
    let upkeep = node.upkeep();
    let pruned = || upkeep.look().unwrap().pruned.len();
    assert_eq!((pruned(), pruned()), (1, 0));
    node.clock.advance(HOUR);
    assert_eq!(pruned(), 0);
    node.set("history=40d");
    assert_eq!((pruned(), pruned()), (1, 0));
    node.clock.advance(DAY);
    assert_eq!((pruned(), pruned()), (1, 0));
}

#[test]
fn a_close_waits_for_the_disk_where_the_bucket_says_so() {
    let node = Node::new();
    let settler = node.settler();
    let unsettled = || node.number("SELECT count(*) FROM blobs WHERE settled = 0");
    node.write("lazy", &pattern(LARGE, 1));
    assert_eq!(unsettled(), 1);
    node.set("sync_on_close=on");
    settler.settings_changed(node.bucket().number);
    node.write("careful", &pattern(LARGE, 2));
    assert_eq!(unsettled(), 1, "only what was closed before");
    let node = node.killed_and_started("boot-2");
    assert_eq!(node.find("lazy"), None);
    assert_eq!(node.read("careful"), pattern(LARGE, 2));
    node.write("after a start", &pattern(LARGE, 3));
    assert_eq!(node.number("SELECT count(*) FROM blobs WHERE settled = 0"), 0);
}

#[test]
fn bytes_that_nothing_needs_leave_the_disk_by_themselves() {
    let node = Node::new();
    let upkeep = node.upkeep();
    node.write("file", &pattern(LARGE, 1));
    node.write("file", &pattern(LARGE, 2));
    node.settler().settle_now().unwrap();
    let blobs = || node.number("SELECT count(*) FROM blobs");
    node.clock.advance(31 * DAY);
    upkeep.look().unwrap();
    assert_eq!(blobs(), 2, "pruned, and kept for 7 days");
    node.clock.advance(8 * DAY);
    upkeep.look().unwrap();
    assert_eq!(blobs(), 1);
    assert_eq!(node.read("file"), pattern(LARGE, 2));
}

#[test]
fn settings_that_cannot_be_read_keep_no_other_bucket_from_being_looked_after() {
    let node = Node::new();
    let upkeep = node.upkeep();
    node.set("history=40d");
    let owner = Owner { uid: 1000, gid: 1000 };
    node.db.write(|tx| bucket::create(tx, "other", owner)).unwrap();
    node.db
        .write(|tx| {
            tx.execute("UPDATE settings SET value = 'of a newer release'", [])
                .doing("setting what nobody can read")
        })
        .unwrap();
    assert!(upkeep.look().is_err());
    node.db
        .write(|tx| tx.execute("DELETE FROM settings", []).doing("going back to defaults"))
        .unwrap();
    let pruned: Vec<String> = upkeep.look().unwrap().pruned.into_iter().map(|one| one.0).collect();
    assert_eq!(pruned, ["memories"], "the other one was looked after before");
}

#[test]
fn an_abandoned_branch_is_forgotten_after_30_days_unless_something_needs_it() {
    let node = Node::new();
    let upkeep = node.upkeep();
    node.write("file", &pattern(LARGE, 1));
    let parent = node.fork("parent", false);
    let bucket = node.bucket();
    let new = NewBranch { name: "child", from: &parent, at: None, frozen: false };
    node.db.write(|tx| branch::create(tx, &bucket, &new)).unwrap();
    node.fork("snapshot", true);
    for name in ["parent", "snapshot"] {
        node.db.write(|tx| branch::abandon(tx, &bucket, name)).unwrap();
    }
    let names = || node.branches().into_iter().map(|one| one.name).collect::<Vec<_>>();
    node.clock.advance(29 * DAY);
    assert_eq!(upkeep.look().unwrap().forgotten, 0);
    node.clock.advance(2 * DAY);
    assert_eq!(upkeep.look().unwrap().forgotten, 1);
    assert_eq!(names(), ["main", "parent", "child"], "the child shows what its parent showed");
    node.db.write(|tx| branch::abandon(tx, &bucket, "child")).unwrap();
    node.clock.advance(31 * DAY);
    upkeep.look().unwrap();
    upkeep.look().unwrap();
    assert_eq!(names(), ["main"]);
    node.check_references();
}

#[test]
fn a_removed_bucket_is_forgotten_after_30_days_with_all_that_was_in_it() {
    let node = Node::new();
    let upkeep = node.upkeep();
    let tables = ["inodes", "past", "change", "operations", "settings", "branches", "xattrs"];
    let rows = || tables.map(|table| node.number(&format!("SELECT count(*) FROM {table}")));
    let before = rows();
    let owner = Owner { uid: 1000, gid: 1000 };
    node.db.write(|tx| bucket::create(tx, "other", owner)).unwrap();
    fill(&node, "other");
    node.db.write(|tx| bucket::remove(tx, "other")).unwrap();
    node.clock.advance(29 * DAY);
    upkeep.look().unwrap();
    assert!(rows() > before);
    node.clock.advance(2 * DAY);
    assert_eq!(upkeep.look().unwrap().forgotten, 3, "two branches and the bucket");
    assert_eq!(rows(), before);
    node.check_references();
    let found = node.db.write(|tx| bucket::restore(tx, "other")).map(drop);
    assert!(found.is_err());
}

/// Writes a file into a bucket, three times on two branches.
fn fill(node: &Node, name_of: &str) {
    let bucket = node.db.read(|conn| bucket::find(conn, name_of)).unwrap().unwrap();
    let main = node.db.read(|conn| branch::require(conn, &bucket, branch::MAIN)).unwrap();
    let write = |branch: &Branch, at: &str, seed| {
        let (db, store) = (Arc::clone(&node.db), Arc::clone(&node.store));
        let vfs = Vfs::new(db, store, (&bucket, branch, None), &VfsOptions::default()).unwrap();
        let how = OpenWrite::default();
        let file = vfs.create(&USER, vfs.root(), &name(at), 0o644, how).unwrap().1;
        file.write_at(0, &pattern(LARGE, seed), false).unwrap();
        file.flush().unwrap();
        file.release().unwrap();
        vfs.set_xattr(&USER, file.ino(), (b"user.x", b"y"), XattrEdit::Either).unwrap();
    };
    write(&main, "a", 1);
    let new = NewBranch { name: "try", from: &main, at: None, frozen: false };
    let made = node.db.write(|tx| branch::create(tx, &bucket, &new)).unwrap();
    write(&made, "b", 2);
    node.clock.advance(HOUR);
    write(&main, "c", 3);
}

#[test]
fn a_kill_between_two_transactions_leaves_a_whole_tree_and_the_next_run_goes_on() {
    let mut node = Node::new();
    for round in 0..400_u32 {
        node.write("file", &round.to_le_bytes());
        node.clock.advance(HOUR / 60);
    }
    for at in ["a", "b", "c"] {
        let ino = node.write(at, &pattern(LARGE, 9));
        node.clock.advance(HOUR);
        node.vfs.unlink(&USER, node.vfs.root(), &name(at)).unwrap();
        assert_ne!(ino, node.vfs.root());
    }
    node.settler().settle_now().unwrap();
    node.clock.advance(400 * DAY);
    node.set("history=30d");
    let expected = node.prune(None, true);
    assert_eq!((expected.count.contents, expected.count.removed), (399, 3));
    let (mut count, mut freed_bytes, mut runs) = (PruneCount::default(), 0, 0);
    loop {
        let pruner = Pruner { db: &node.db, store: &node.store, is_held: &|_, _| false };
        let bucket = node.bucket().number;
        let request = PruneRequest { bucket, to_free_bytes: None, dry_run: false };
        let mut go_on = |report: &PruneReport| report.count.is_nothing();
        let report = pruner.run(&request, &node.settings(), &mut go_on).unwrap();
        count += report.count;
        freed_bytes += report.freed_bytes;
        runs += 1;
        node = node.killed_and_started("boot-1");
        node.check_references();
        assert_eq!(node.read("file"), 399_u32.to_le_bytes());
        if !report.stopped {
            break;
        }
    }
    assert_eq!((count, freed_bytes), (expected.count, expected.freed_bytes));
    assert!(runs > 4, "{runs}");
    assert_eq!(node.number("SELECT count(*) FROM past"), 0);
}

#[test]
fn on_a_full_disk_pruning_works_or_leaves_everything_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), Some(c"size=8m"))
        .expect("this test mounts a tmpfs: run it as root");
    let at = dir.path().to_path_buf();
    let node = Node::within(dir);
    for seed in 0..200_u8 {
        node.write("file", &pattern(3000, seed));
        node.clock.advance(HOUR);
    }
    node.settler().settle_now().unwrap();
    node.clock.advance(31 * DAY);
    let filler = std::fs::File::create(at.join("filler")).unwrap();
    let mut filled = 0;
    while rustix::fs::fallocate(&filler, FallocateFlags::empty(), filled, 4096).is_ok() {
        filled += 4096;
    }
    let pruner = Pruner { db: &node.db, store: &node.store, is_held: &|_, _| false };
    let bucket = node.bucket().number;
    let request = PruneRequest { bucket, to_free_bytes: None, dry_run: false };
    let before = node.prune(None, true).count.contents;
    assert!(before > 100);
    match pruner.run(&request, &node.settings(), &mut |_| true) {
        Ok(report) => assert_eq!(report.count.contents, before),
        Err(err) => assert!(err.is_full(), "{err}"),
    }
    assert_eq!(node.read("file"), pattern(3000, 199));
    drop(filler);
    std::fs::remove_file(at.join("filler")).unwrap();
    node.prune(None, false);
    assert!(node.prune(None, true).count.is_nothing());
    node.check_references();
    assert_eq!(node.read("file"), pattern(3000, 199));
    drop(node);
    unmount(at, UnmountFlags::DETACH).unwrap();
}
