//! The tree, function by function, and against a model; after every test its invariants hold.

mod branching;
mod content;
mod differing;
mod edges;
mod history;
mod invariants;
mod laws;
mod log;
mod merging;
mod model;
mod naive;
mod pruning;
mod purging;
mod relinking;
mod remerging;
mod removed;
mod renaming;
mod resolving;
mod still;
mod times;
mod undoing;
mod withdrawing;
mod xattrs;

use std::{cell::Cell, time::Duration};

use super::*;
use crate::{
    branch::{self, BranchError, NewBranch},
    bucket::{self, Owner},
    clock::Clock,
    db::{Db, DbSettings, Doing as _, Tx, outbox},
    id::{BlobNumber, Hlc, Ino, OperationId, Stamp},
    identity::DeviceId,
    name::Name,
};

/// 2023-11-14, in Unix nanoseconds.
const NOW_NS: i64 = 1_700_000_000_000_000_000;

/// Blobs of a test are the same bytes when they have the same number; none is a text.
const NUMBERS: Bytes<'static> =
    Bytes { same: &|_, one, other| Ok(one == other), merge: &|_, _| Ok(None) };

/// A bucket in a database of its own, and the operation that changes belong to.
struct Scratch {
    dir: tempfile::TempDir,
    /// `None` only while it is opened again.
    db: Option<Db>,
    clock: Clock,
    view: View,
    root: Ino,
    operation: Cell<OperationId>,
    /// A test broke the tree by intention.
    broken: Cell<bool>,
}

fn open(dir: &tempfile::TempDir, clock: &Clock) -> Db {
    let path = dir.path().join("node.db");
    Db::open(&path, &[crate::SCHEMA], &DbSettings::SMALL, clock.clone(), DeviceId([7; 32])).unwrap()
}

fn name(text: &str) -> Name {
    Name::from_bytes(text.as_bytes()).unwrap()
}

fn new(mode: u32) -> NewInode<'static> {
    NewInode { mode, uid: 1000, gid: 100, rdev: 0, symlink: None }
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOW_NS);
        let db = open(&dir, &clock);
        let owner = Owner { uid: 1000, gid: 100 };
        let bucket = db.write(|tx| bucket::create(tx, "photos", owner)).unwrap();
        let (view, root) = (View::main(&bucket), bucket.root);
        let operation = Cell::new(OperationId(0));
        let broken = Cell::new(false);
        let scratch = Self { dir, db: Some(db), clock, view, root, operation, broken };
        scratch.begin();
        scratch
    }

    /// Closes the database and opens it again.
    fn reopen(&mut self) {
        self.db = None;
        self.db = Some(open(&self.dir, &self.clock));
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open again when reopen returns")
    }

    /// Begins another operation; what follows belongs to that.
    fn begin(&self) -> OperationId {
        let new = NewOperation { who: "a test", what: "mount" };
        let id =
            self.db().write(|tx| store_operation(tx, &self.view, tx.next_stamp(), &new)).unwrap();
        self.operation.set(id);
        id
    }

    /// Lets wall time pass.
    fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&Tx<'_>, &View, OperationId) -> Result<T, TreeError>,
    ) -> Result<T, TreeError> {
        self.db().write(|tx| change(tx, &self.view, self.operation.get()))
    }

    fn create(&self, parent: Ino, text: &str, what: &NewInode<'_>) -> Result<Inode, TreeError> {
        self.change(|tx, view, operation| {
            let parent = inode(tx, view, parent)?.ok_or(TreeError::InodeGone(parent))?;
            create(tx, view, operation, &parent, &name(text), what)
        })
    }

    fn file(&self, parent: Ino, text: &str) -> Ino {
        self.create(parent, text, &new(S_IFREG | 0o644)).unwrap().ino
    }

    fn directory(&self, parent: Ino, text: &str) -> Ino {
        self.create(parent, text, &new(S_IFDIR | 0o755)).unwrap().ino
    }

    fn link(&self, ino: Ino, parent: Ino, text: &str) -> Result<Inode, TreeError> {
        self.change(|tx, view, operation| {
            let parent = inode(tx, view, parent)?.ok_or(TreeError::InodeGone(parent))?;
            link(tx, view, operation, ino, &parent, &name(text))
        })
    }

    fn unlink(&self, parent: Ino, text: &str) -> Result<Unlinked, TreeError> {
        self.change(|tx, view, operation| {
            unlink(tx, view, operation, parent, &name(text), |_| false)
        })
    }

    fn unlink_held(&self, parent: Ino, text: &str) -> Result<Unlinked, TreeError> {
        self.change(|tx, view, operation| {
            unlink(tx, view, operation, parent, &name(text), |_| true)
        })
    }

    fn remove_directory(&self, parent: Ino, text: &str) -> Result<Unlinked, TreeError> {
        self.change(|tx, view, operation| {
            remove_directory(tx, view, operation, parent, &name(text))
        })
    }

    fn rename(&self, from: (Ino, &str), to: (Ino, &str)) -> Result<Renamed, TreeError> {
        self.change(|tx, view, operation| {
            let parent = inode(tx, view, to.0)?.ok_or(TreeError::InodeGone(to.0))?;
            let (old, new) = (name(from.1), name(to.1));
            rename(tx, view, operation, (from.0, &old), (&parent, &new))
        })
    }

    fn exchange(&self, from: (Ino, &str), to: (Ino, &str)) -> Result<(), TreeError> {
        self.change(|tx, view, operation| {
            let parent = inode(tx, view, to.0)?.ok_or(TreeError::InodeGone(to.0))?;
            let (old, new) = (name(from.1), name(to.1));
            exchange(tx, view, operation, (from.0, &old), (&parent, &new))
        })
    }

    /// Forks a branch off the current one; returns its view.
    fn fork(&self, name: &str, at: Option<Hlc>) -> View {
        self.db()
            .write(|tx| {
                let bucket = bucket::find(tx, "photos")?.expect("it was created");
                let from = branch::by_number(tx, self.view.branch)?.expect("it is there");
                let new = NewBranch { name, from: &from, at, frozen: false };
                let made = branch::create(tx, &bucket, &new)?;
                Ok::<_, BranchError>(View::of(tx, made.number)?.expect("it was made"))
            })
            .unwrap()
    }

    /// Publishes ten bytes for every unit of the blob's number.
    fn publish(&self, ino: Ino, blob: i64, own: Option<Stamp>) -> Published {
        let new = NewContent {
            size: blob.cast_unsigned() * 10,
            blob: Some(BlobNumber(blob)),
            mtime_ns: self.clock.now_ns(),
            ctime_ns: None,
        };
        self.change(|tx, view, operation| publish(tx, view, operation, ino, &new, own)).unwrap()
    }

    /// A file whose creating writer published `blob` at its first close.
    fn written(&self, parent: Ino, text: &str, blob: i64) -> Ino {
        let made = self.create(parent, text, &new(S_IFREG | 0o644)).unwrap();
        self.publish(made.ino, blob, Some(made.content));
        made.ino
    }

    fn purge(&self, ino: Ino) -> Option<Vec<BlobNumber>> {
        self.db().write(|tx| purge_transient(tx, &self.view, ino)).unwrap()
    }

    fn withdraw(&self, blob: i64) -> Vec<Withdrawn> {
        self.db().write(|tx| withdraw_blob(tx, BlobNumber(blob))).unwrap()
    }

    /// Lets a consumer read everything so far.
    fn see(&self) {
        self.db()
            .write(|tx| outbox::advance(tx, self.view.branch, "sync", tx.next_stamp().hlc))
            .unwrap();
    }

    fn stat(&self, ino: Ino) -> Inode {
        self.find(ino).expect("the inode is there")
    }

    fn find(&self, ino: Ino) -> Option<Inode> {
        self.db().read(|conn| inode(conn, &self.view, ino)).unwrap()
    }

    fn lookup(&self, parent: Ino, text: &str) -> Option<Ino> {
        let found = self.db().read(|conn| lookup(conn, &self.view, parent, &name(text))).unwrap();
        found.map(|inode| inode.ino)
    }

    fn list(&self, directory: Ino) -> Vec<(String, Ino)> {
        let listed = self.db().read(|conn| list(conn, &self.view, directory)).unwrap();
        listed.into_iter().map(|entry| (entry.name.to_string(), entry.ino)).collect()
    }

    fn names(&self, ino: Ino) -> Vec<(Ino, String)> {
        let mut names = self.db().read(|conn| names(conn, &self.view, ino)).unwrap();
        names.sort();
        names.into_iter().map(|(parent, name)| (parent, name.to_string())).collect()
    }

    fn blob(&self, ino: Ino) -> Option<i64> {
        self.stat(ino).blob.map(|blob| blob.0)
    }

    /// Runs a query that gives one number.
    fn number(&self, sql: &str) -> i64 {
        self.db()
            .read(|conn| conn.query_row(sql, [], |row| row.get(0)).doing("asking for a number"))
            .unwrap()
    }

    /// How many rows each table has that remembers anything of a tree.
    fn undo(&self, which: Option<OperationId>) -> Result<Undone, UndoError> {
        self.db().write(|tx| undo(tx, &self.view, which, "a test", &NUMBERS))
    }

    fn redo(&self) -> Result<Undone, UndoError> {
        self.db().write(|tx| redo(tx, &self.view, None, "a test", &NUMBERS))
    }

    /// Merges another branch into the current one.
    fn merge(&self, from: &View, favour: Favour) -> Result<Applied, MergeError> {
        let what = Merge { from, into: &self.view, favour, who: "a test", what: "merge" };
        self.db().write(|tx| merge(tx, &what, &NUMBERS))
    }

    /// Does something on another branch.
    fn on<T>(&mut self, branch: &View, change: impl FnOnce(&Self) -> T) -> T {
        let back = std::mem::replace(&mut self.view, branch.clone());
        self.begin();
        let done = change(self);
        self.view = back;
        self.begin();
        done
    }

    fn conflicts(&self) -> Vec<Conflict> {
        self.db().read(|conn| conflicts(conn, &self.view)).unwrap()
    }

    fn rows(&self) -> Vec<(&'static str, i64)> {
        ["inodes", "past", "change", "xattrs", "past_xattrs", "symlinks"]
            .map(|table| (table, self.number(&format!("SELECT count(*) FROM {table}"))))
            .to_vec()
    }
}

/// Every test ends with a look at the whole tree.
impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.broken.get() && self.view.is_plain() {
            invariants::check(self.db(), &self.view);
        }
    }
}
