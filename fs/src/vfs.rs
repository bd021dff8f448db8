//! The VFS core: every rule about the filesystem, for every adapter.

#[cfg(feature = "fuse")]
mod apart;
mod attributes;
#[cfg(feature = "broken-publish-before-bytes")]
mod broken;
mod deciding;
mod hidden;
mod lines;
mod merging;
mod namespace;
mod open;
mod operations;
mod publish;
mod restore;
mod story;
mod sync;
mod texts;
mod xattr;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::tz::TimeZone;
use rustix::fs::statvfs;
use tesfs_blobs::{DraftFile, Store};
use tesfs_pathtree::{
    Chain, Db, Hlc, Ino, NAME_BYTES_MAX, Name, OperationId, Room, Tx,
    branch::Branch,
    bucket::Bucket,
    settings,
    tree::{self, Inode, TreeError, View},
};

use self::{hidden::Hidden, lines::Lines, operations::Operations};
pub use self::{
    merging::DecideError,
    restore::{Restore, Restored},
    story::{FileState, FileStory, VersionLine},
};
use crate::{attributes::FsStats, caller::Caller, error::FsError, reserve::Reserve};

/// How a bucket is shown.
#[derive(Clone, Debug)]
pub struct VfsOptions {
    /// Every change is refused.
    pub read_only: bool,
    /// Local read-only handles see the live draft instead of the version they opened.
    pub shared_writes: bool,
    /// Whose days and clock times the names in `.tesfs/at` are.
    pub zone: TimeZone,
}

impl Default for VfsOptions {
    fn default() -> Self {
        Self { read_only: false, shared_writes: false, zone: TimeZone::UTC }
    }
}

/// Something the kernel may have cached that changed without its doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// What a name leads to.
    Entry {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
    },
    /// An inode's attributes or content.
    Inode(Ino),
}

/// Is told what changed without the kernel's doing.
type Observer = Arc<dyn Fn(&Touched) + Send + Sync>;

/// One bucket as a filesystem. All methods may be called from any thread.
pub struct Vfs {
    me: Weak<Self>,
    db: Arc<Db>,
    store: Arc<Store>,
    bucket: Bucket,
    branch: Branch,
    view: View,
    options: VfsOptions,
    operations: Operations,
    lines: Lines,
    /// Protects who holds which inode open; innermost but for the database.
    holds: Mutex<Holds>,
    /// Draft files whose bytes a recovery could still need: free after the next durable commit.
    limbo: Mutex<Vec<DraftFile>>,
    hidden: Hidden,
    /// Protects which other branches of the bucket this process shows; held to copy or change it.
    others: Mutex<Vec<Weak<Self>>>,
    reserve: Reserve,
    /// A close waits until what was written survives a power cut.
    sync_on_close: AtomicBool,
    /// Protects who is told of changes; held to copy or replace it.
    observer: Mutex<Option<Observer>>,
}

/// Which inodes are open, and which of them lost their last name meanwhile.
#[derive(Default)]
struct Holds {
    handles: HashMap<Ino, usize>,
    unlinked: HashSet<Ino>,
}

impl Vfs {
    /// Shows a branch or snapshot of a bucket, as it is now or was at a reading; what was and what
    /// is frozen can only be read.
    ///
    /// # Errors
    ///
    /// The bucket's root can not be read.
    pub fn new(
        db: Arc<Db>,
        store: Arc<Store>,
        (bucket, branch, at): (&Bucket, &Branch, Option<Hlc>),
        options: &VfsOptions,
    ) -> Result<Arc<Self>, FsError> {
        let view = db.read(|conn| {
            let view = View::of(conn, branch.number)?.ok_or(TreeError::InodeGone(bucket.root))?;
            let view = at.map_or(view.clone(), |at| view.at(at));
            tree::inode(conn, &view, view.root)?.ok_or(TreeError::InodeGone(view.root))?;
            Ok::<_, TreeError>(view)
        })?;
        let view = view.remembering(&db)?;
        let read_only = options.read_only || branch.frozen || at.is_some();
        let options = VfsOptions { read_only, ..options.clone() };
        let hidden = Hidden::new(db.path(), &view, options.zone.clone());
        let reserve = Reserve::beside(db.path());
        let sync_on_close = AtomicBool::new(syncs_on_close(&db, bucket));
        watch_room(&db);
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            db,
            store,
            bucket: bucket.clone(),
            branch: branch.clone(),
            view,
            options,
            operations: Operations::default(),
            lines: Lines::default(),
            holds: Mutex::default(),
            limbo: Mutex::default(),
            hidden,
            others: Mutex::default(),
            reserve,
            sync_on_close,
            observer: Mutex::default(),
        }))
    }

    /// Returns the root directory.
    pub fn root(&self) -> Ino {
        self.view.root
    }

    /// Returns the bucket that is shown.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Returns the branch or snapshot that is shown.
    pub fn branch(&self) -> &Branch {
        &self.branch
    }

    /// Returns what is shown, for queries of the tree.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Returns how the bucket is shown.
    pub fn options(&self) -> &VfsOptions {
        &self.options
    }

    /// Lets `observer` know of changes that do not come through the kernel, in place of whoever did
    /// before: one mount at a time shows this, and another one may later.
    pub fn observe(&self, observer: Arc<dyn Fn(&Touched) + Send + Sync>) {
        *self.lock_observer() = Some(observer);
    }

    /// Tells the observer that something changed without the kernel's doing.
    pub fn announce(&self, touched: &Touched) {
        let observer = self.lock_observer().clone();
        if let Some(observer) = observer {
            observer(touched);
        }
    }

    fn lock_observer(&self) -> MutexGuard<'_, Option<Observer>> {
        self.observer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every operation that is in progress: whoever goes on begins another one.
    #[cfg(feature = "fuse")]
    pub(crate) fn end_operations(&self) {
        self.operations.end_all();
    }

    /// Lets this filesystem know of another one of the node, whose writers may be at work on what is
    /// shown under `.tesfs` here.
    pub(crate) fn meet(&self, other: &Arc<Self>) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|known| known.strong_count() > 0);
        if other.bucket.number == self.bucket.number {
            others.push(Arc::downgrade(other));
        }
    }

    /// Takes over what the bucket was told since.
    pub(crate) fn settings_changed(&self) {
        let wanted = syncs_on_close(&self.db, &self.bucket);
        self.sync_on_close.store(wanted, Ordering::Relaxed);
    }

    /// Says whether a close waits until what was written survives a power cut.
    pub(crate) fn syncs_on_close(&self) -> bool {
        self.sync_on_close.load(Ordering::Relaxed)
    }

    /// Returns how many files are open.
    pub fn open_files(&self) -> usize {
        self.lock_holds().handles.values().sum()
    }

    /// Returns the state of the disk that the data directory is on.
    ///
    /// # Errors
    ///
    /// The system's refusal.
    pub fn statfs(&self) -> Result<FsStats, FsError> {
        let dir = self.db.path().parent().unwrap_or(Path::new("."));
        let disk = statvfs(dir).map_err(|err| FsError::Io {
            path: dir.into(),
            doing: "asking for free space",
            source: err.into(),
        })?;
        Ok(FsStats {
            block_bytes: u32::try_from(disk.f_frsize).unwrap_or(4096),
            blocks: disk.f_blocks,
            blocks_free: disk.f_bfree,
            blocks_available: disk.f_bavail,
            files: disk.f_files,
            files_free: disk.f_ffree,
            name_bytes_max: u32::try_from(NAME_BYTES_MAX).expect("255 fits"),
        })
    }

    /// Runs a change of the tree in one transaction, as part of its caller's operation.
    fn change<T>(
        &self,
        caller: &Caller,
        change: impl FnOnce(&Tx<'_>, OperationId) -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        self.change_by(caller, |change| self.db.write(change), change)
    }

    /// The same, for a change that promises nothing before a later one: see [`Db::write_ahead`].
    fn change_ahead<T>(
        &self,
        caller: &Caller,
        change: impl FnOnce(&Tx<'_>, OperationId) -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        self.change_by(caller, |change| self.db.write_ahead(change), change)
    }

    fn change_by<T>(
        &self,
        caller: &Caller,
        write: impl FnOnce(&mut dyn FnMut(&Tx<'_>) -> Result<T, FsError>) -> Result<T, FsError>,
        change: impl FnOnce(&Tx<'_>, OperationId) -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        if self.options.read_only {
            return Err(FsError::ReadOnly);
        }
        let mut begun = None;
        let losses = self.db.losses();
        let mut change = Some(change);
        let result = write(&mut |tx| {
            let (operation, is_new) = self.operations.current(tx, &self.view, caller, losses)?;
            begun = is_new.then_some(operation);
            change.take().expect("a transaction runs its change once")(tx, operation)
        });
        if let Some(operation) = begun.filter(|_| result.is_err()) {
            self.operations.forget(operation);
        }
        result
    }

    /// Runs a change that deletes something; on a full disk it gets the space kept back for it.
    fn delete<T>(
        &self,
        caller: &Caller,
        change: impl Fn(&Tx<'_>, OperationId) -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        loop {
            match self.change(caller, &change) {
                Err(err) if err.is_full() && self.reserve.give().unwrap_or(false) => {
                    tracing::warn!("the disk is full: the reserve serves deletions");
                }
                other => return other,
            }
        }
    }

    fn require_inode(&self, ino: Ino) -> Result<Inode, FsError> {
        let found = self.db.glance(|conn| tree::inode(conn, &self.view, ino))?;
        Ok(found.ok_or(TreeError::InodeGone(ino))?)
    }

    fn require_directory(&self, tx: &Tx<'_>, ino: Ino) -> Result<Inode, FsError> {
        let found = tree::inode(tx, &self.view, ino)?.ok_or(TreeError::InodeGone(ino))?;
        if found.is_directory() { Ok(found) } else { Err(TreeError::NotADirectory(ino).into()) }
    }

    fn lock_holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one more open handle.
    fn hold(&self, ino: Ino) {
        *self.lock_holds().handles.entry(ino).or_default() += 1;
    }

    /// Notes one open handle less; an inode that lost its last name meanwhile may leave for good.
    fn unhold(&self, ino: Ino) -> Result<(), FsError> {
        let doomed = {
            let mut holds = self.lock_holds();
            let left = match holds.handles.get_mut(&ino) {
                Some(count) => {
                    *count -= 1;
                    *count
                }
                None => 0,
            };
            if left > 0 {
                return Ok(());
            }
            holds.handles.remove(&ino);
            holds.unlinked.remove(&ino)
        };
        if !doomed {
            return Ok(());
        }
        self.db.write(|tx| {
            for blob in tree::purge_transient(tx, &self.view, ino)?.unwrap_or_default() {
                self.store.drop_reference(tx, blob)?;
            }
            Ok::<_, FsError>(())
        })
    }

    /// Says whether somebody has an inode open.
    pub(crate) fn is_held(&self, ino: Ino) -> bool {
        self.lock_holds().handles.contains_key(&ino)
    }

    /// Frees the draft files that waited for a durable commit; call it right after one.
    pub(crate) fn empty_limbo(&self, before: Vec<DraftFile>) {
        for file in before {
            if let Err(err) = self.store.release_draft(file) {
                tracing::warn!(error = %Chain(&err), "a draft file stays behind");
            }
        }
    }

    /// Keeps a draft file whose bytes a recovery could still need.
    pub(crate) fn let_linger(&self, file: DraftFile) {
        self.limbo.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }

    /// Returns the draft files that the next durable commit sets free.
    pub(crate) fn take_limbo(&self) -> Vec<DraftFile> {
        std::mem::take(&mut *self.limbo.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Vfs {
    /// Frees what waits for a durable commit: the next start would call it unfinished.
    fn drop(&mut self) {
        let limbo = self.take_limbo();
        if limbo.is_empty() {
            return;
        }
        match self.db.sync() {
            Ok(()) => self.empty_limbo(limbo),
            Err(err) => {
                tracing::warn!(error = %Chain(&err), "draft files stay behind");
            }
        }
    }
}

/// Keeps births that were left to their files' first publish from being lost on a full disk.
fn watch_room(db: &Db) {
    let (asked, given) = (Reserve::beside(db.path()), Reserve::beside(db.path()));
    db.watch_room(Room {
        is_scarce: Box::new(move || asked.is_scarce()),
        make: Box::new(move || {
            if let Err(err) = given.give() {
                tracing::warn!(error = %err, "the reserve could not be given");
            }
        }),
    });
}

/// Reads what a bucket says about its closes; a value of a newer release is no reason to refuse it.
fn syncs_on_close(db: &Db, bucket: &Bucket) -> bool {
    match db.read(|conn| settings::read(conn, bucket.number)) {
        Ok(settings) => settings.sync_on_close,
        Err(err) => {
            tracing::warn!(bucket = bucket.name, error = %Chain(&err), "settings are not read");
            false
        }
    }
}
