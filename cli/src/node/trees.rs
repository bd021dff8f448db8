//! The open branches of a node: one [`Vfs`] each, shared by its mount and by commands.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tesfs_blobs::Store;
use tesfs_fs::{Settler, Vfs, VfsOptions};
use tesfs_pathtree::{BucketNumber, Db};

use crate::{
    error::CliError,
    shown::{Shown, ShownKey},
};

/// Every branch that is open.
///
/// A branch is open once at most: its drafts live in its [`Vfs`], and two of them would not see
/// each other's writers.
pub(crate) struct Trees {
    db: Arc<Db>,
    store: Arc<Store>,
    /// `None` when the node has ended.
    settler: Mutex<Option<Arc<Settler>>>,
    /// Protects the map only; taken before any lock of the floors below.
    open: Mutex<OpenTrees>,
}

/// By what [`Shown::key`] says.
type OpenTrees = HashMap<ShownKey, Weak<Vfs>>;

impl Trees {
    pub(crate) fn new(db: &Arc<Db>, store: &Arc<Store>, settler: &Arc<Settler>) -> Self {
        Self {
            db: Arc::clone(db),
            store: Arc::clone(store),
            settler: Mutex::new(Some(Arc::clone(settler))),
            open: Mutex::default(),
        }
    }

    /// Lets go of the settler, so that its thread can end.
    pub(crate) fn end(&self) {
        drop(self.settler.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Opens a branch for a command: as its mount has it, else writable and unchecked.
    pub(crate) fn for_command(&self, shown: &Shown) -> Result<Arc<Vfs>, CliError> {
        let mut open = self.lock();
        if let Some(vfs) = open.get(&shown.key()).and_then(Weak::upgrade) {
            return Ok(vfs);
        }
        self.begin(&mut open, shown, &VfsOptions::default())
    }

    /// Opens a branch for a mount with `options`.
    ///
    /// # Errors
    ///
    /// A command has it open with other options.
    pub(crate) fn for_mount(
        &self,
        shown: &Shown,
        options: &VfsOptions,
    ) -> Result<Arc<Vfs>, CliError> {
        let mut open = self.lock();
        if let Some(vfs) = open.get(&shown.key()).and_then(Weak::upgrade) {
            if same(vfs.options(), options, shown) {
                return Ok(vfs);
            }
            return Err(CliError::BucketBusy { bucket: shown.name() });
        }
        self.begin(&mut open, shown, options)
    }

    /// Says whether a mount or a command has any branch of the bucket open.
    pub(crate) fn is_open(&self, bucket: BucketNumber) -> bool {
        let open: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        open.iter().any(|vfs| vfs.bucket().number == bucket)
    }

    fn begin(
        &self,
        open: &mut OpenTrees,
        shown: &Shown,
        options: &VfsOptions,
    ) -> Result<Arc<Vfs>, CliError> {
        open.retain(|_, vfs| vfs.strong_count() > 0);
        let (db, store) = (Arc::clone(&self.db), Arc::clone(&self.store));
        let Shown { bucket, branch, at } = shown;
        let vfs = Vfs::new(db, store, (bucket, branch, *at), options)
            .map_err(|source| CliError::tree("opening the bucket", shown.name(), source))?;
        let settler = self.settler.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settler) = settler.as_ref() {
            settler.watch(&vfs);
        }
        open.insert(shown.key(), Arc::downgrade(&vfs));
        Ok(vfs)
    }

    fn lock(&self) -> MutexGuard<'_, OpenTrees> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whether a mount with the options `asked` may share what is open.
fn same(open: &VfsOptions, asked: &VfsOptions, shown: &Shown) -> bool {
    let read_only = asked.read_only || shown.is_past();
    (open.read_only, open.shared_writes) == (read_only, asked.shared_writes)
}
