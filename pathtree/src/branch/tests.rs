//! Branches and snapshots: names, forks, abandoning and return.

use std::time::Duration;

use super::*;
use crate::{
    bucket::{self, Owner},
    clock::Clock,
    db::{Db, DbSettings},
    identity::DeviceId,
    tree::{self, NewInode, NewOperation, S_IFREG, TreeError, View, lookup},
};

const NOW_NS: i64 = 1_700_000_000_000_000_000;

struct Scratch {
    _dir: tempfile::TempDir,
    db: Db,
    clock: Clock,
    bucket: Bucket,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOW_NS);
        let path = dir.path().join("node.db");
        let settings = DbSettings::SMALL;
        let device = DeviceId([7; 32]);
        let db = Db::open(&path, &[crate::SCHEMA], &settings, clock.clone(), device).unwrap();
        let owner = Owner { uid: 1000, gid: 100 };
        let bucket = db.write(|tx| bucket::create(tx, "photos", owner)).unwrap();
        Self { _dir: dir, db, clock, bucket }
    }

    fn fork(&self, name: &str, from: &str, at: Option<Hlc>) -> Result<Branch, BranchError> {
        self.db.write(|tx| {
            let from = require(tx, &self.bucket, from)?;
            create(tx, &self.bucket, &NewBranch { name, from: &from, at, frozen: false })
        })
    }

    fn write<T>(
        &self,
        change: impl FnOnce(&Tx<'_>) -> Result<T, BranchError>,
    ) -> Result<T, BranchError> {
        self.db.write(change)
    }

    fn view(&self, name: &str) -> View {
        self.db
            .read(|conn| {
                let branch = require(conn, &self.bucket, name)?;
                Ok::<_, BranchError>(View::of(conn, branch.number)?.unwrap())
            })
            .unwrap()
    }

    /// Creates a file on a branch.
    fn file(&self, branch: &str, text: &str) {
        let view = &self.view(branch);
        let name = crate::Name::from_bytes(text.as_bytes()).unwrap();
        self.db
            .write(|tx| {
                let new = NewOperation { who: "a test", what: "mount" };
                let operation = tree::store_operation(tx, view, tx.next_stamp(), &new)?;
                let root = tree::inode(tx, view, view.root)?.expect("a root");
                let file = NewInode { mode: S_IFREG, uid: 0, gid: 0, rdev: 0, symlink: None };
                tree::create(tx, view, operation, &root, &name, &file)?;
                Ok::<_, TreeError>(())
            })
            .unwrap();
    }

    fn shows(&self, branch: &str, text: &str) -> bool {
        let view = &self.view(branch);
        let name = crate::Name::from_bytes(text.as_bytes()).unwrap();
        self.db.read(|conn| lookup(conn, view, view.root, &name)).unwrap().is_some()
    }

    fn rows(&self) -> i64 {
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            self.db
                .read(|conn| conn.query_row(&sql, [], |row| row.get::<_, i64>(0)).doing("counting"))
                .unwrap()
        };
        ["branches", "inodes", "past", "change", "operations"].map(count).iter().sum()
    }
}

#[test]
fn making_a_branch_writes_one_row_and_shows_what_was_there() {
    let scratch = Scratch::new();
    scratch.file("main", "a");
    let rows = scratch.rows();
    scratch.fork("try", "main", None).unwrap();
    assert_eq!(scratch.rows(), rows + 1);
    scratch.file("main", "b");
    scratch.file("try", "c");
    assert!(scratch.shows("try", "a") && !scratch.shows("try", "b") && scratch.shows("try", "c"));
    assert!(scratch.shows("main", "a") && scratch.shows("main", "b"));
    assert!(!scratch.shows("main", "c"));
}

#[test]
fn a_branch_can_begin_at_a_time_and_not_before_there_was_anything() {
    let scratch = Scratch::new();
    scratch.clock.advance(Duration::from_secs(10));
    scratch.file("main", "a");
    let then = Hlc::from_unix_ns(scratch.clock.now_ns() + 1_000_000_000);
    scratch.clock.advance(Duration::from_secs(10));
    scratch.file("main", "b");
    scratch.fork("try", "main", Some(then)).unwrap();
    assert!(scratch.shows("try", "a") && !scratch.shows("try", "b"));
    let before = Hlc::from_unix_ns(NOW_NS - 1_000_000_000);
    let refused = scratch.fork("old", "main", Some(before));
    assert!(matches!(refused, Err(BranchError::BeforeBirth { .. })), "{refused:?}");
}

#[test]
fn a_name_is_used_once_for_branches_and_snapshots_alike() {
    let scratch = Scratch::new();
    scratch.fork("try", "main", None).unwrap();
    for taken in ["try", "main"] {
        let refused = scratch.fork(taken, "main", None);
        assert!(matches!(refused, Err(BranchError::NameTaken { .. })), "{refused:?}");
    }
    for bad in ["", "a/b", "a@b", "a:b", ".a", "-a", "a\n", &"a".repeat(65)] {
        let refused = scratch.fork(bad, "main", None);
        assert!(matches!(refused, Err(BranchError::BadName { .. })), "{bad:?}: {refused:?}");
    }
    let unknown = scratch.fork("new", "nowhere", None);
    assert!(matches!(unknown, Err(BranchError::NotFound { .. })));
}

#[test]
fn an_abandoned_branch_comes_back_with_what_was_on_it() {
    let scratch = Scratch::new();
    scratch.fork("try", "main", None).unwrap();
    scratch.file("try", "a");
    scratch.write(|tx| abandon(tx, &scratch.bucket, "try")).unwrap();
    assert!(scratch.db.read(|conn| find(conn, &scratch.bucket, "try")).unwrap().is_none());
    let again = scratch.write(|tx| abandon(tx, &scratch.bucket, "try"));
    assert!(matches!(again, Err(BranchError::NotFound { .. })));
    scratch.write(|tx| restore(tx, &scratch.bucket, "try")).unwrap();
    assert!(scratch.shows("try", "a"));
    scratch.write(|tx| abandon(tx, &scratch.bucket, "try")).unwrap();
    scratch.fork("try", "main", None).unwrap();
    let taken = scratch.write(|tx| restore(tx, &scratch.bucket, "try"));
    assert!(matches!(taken, Err(BranchError::NameTaken { .. })));
}

#[test]
fn main_keeps_its_name_and_stays() {
    let scratch = Scratch::new();
    let renamed = scratch.write(|tx| rename(tx, &scratch.bucket, "main", "trunk"));
    assert!(matches!(renamed, Err(BranchError::IsMain)));
    let abandoned = scratch.write(|tx| abandon(tx, &scratch.bucket, "main"));
    assert!(matches!(abandoned, Err(BranchError::IsMain)));
    scratch.fork("try", "main", None).unwrap();
    scratch.write(|tx| rename(tx, &scratch.bucket, "try", "tried")).unwrap();
    let taken = scratch.write(|tx| rename(tx, &scratch.bucket, "tried", "main"));
    assert!(matches!(taken, Err(BranchError::NameTaken { .. })));
}
