//! The open buckets of a node: one [`Vfs`] each, shared by its mount and by commands.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tesfs_blobs::Store;
use tesfs_fs::{Settler, Vfs, VfsOptions};
use tesfs_pathtree::{BucketNumber, Db, bucket::Bucket};

use crate::error::CliError;

/// Every bucket that is open.
///
/// A bucket is open once at most: its drafts live in its [`Vfs`], and two of them would not see
/// each other's writers.
pub(crate) struct Trees {
    db: Arc<Db>,
    store: Arc<Store>,
    /// `None` when the node has ended.
    settler: Mutex<Option<Arc<Settler>>>,
    /// Protects the map only; taken before any lock of the floors below.
    open: Mutex<OpenTrees>,
}

type OpenTrees = HashMap<BucketNumber, Weak<Vfs>>;

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

    /// Opens `bucket` for a command: as its mount has it, else writable and unchecked.
    pub(crate) fn for_command(&self, bucket: &Bucket) -> Result<Arc<Vfs>, CliError> {
        let mut open = self.lock();
        if let Some(vfs) = open.get(&bucket.number).and_then(Weak::upgrade) {
            return Ok(vfs);
        }
        self.begin(&mut open, bucket, VfsOptions::default())
    }

    /// Opens `bucket` for a mount with `options`.
    ///
    /// # Errors
    ///
    /// A command has the bucket open with other options.
    pub(crate) fn for_mount(
        &self,
        bucket: &Bucket,
        options: VfsOptions,
    ) -> Result<Arc<Vfs>, CliError> {
        let mut open = self.lock();
        if let Some(vfs) = open.get(&bucket.number).and_then(Weak::upgrade) {
            if same(vfs.options(), &options) {
                return Ok(vfs);
            }
            return Err(CliError::BucketBusy { bucket: bucket.name.clone() });
        }
        self.begin(&mut open, bucket, options)
    }

    /// Says whether a mount or a command has the bucket open.
    pub(crate) fn is_open(&self, bucket: BucketNumber) -> bool {
        self.lock().get(&bucket).is_some_and(|vfs| vfs.strong_count() > 0)
    }

    fn begin(
        &self,
        open: &mut OpenTrees,
        bucket: &Bucket,
        options: VfsOptions,
    ) -> Result<Arc<Vfs>, CliError> {
        let vfs = Vfs::new(Arc::clone(&self.db), Arc::clone(&self.store), bucket, &options)
            .map_err(|source| CliError::tree("opening the bucket", bucket.name.clone(), source))?;
        let settler = self.settler.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settler) = settler.as_ref() {
            settler.watch(&vfs);
        }
        open.insert(bucket.number, Arc::downgrade(&vfs));
        Ok(vfs)
    }

    fn lock(&self) -> MutexGuard<'_, OpenTrees> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same(a: &VfsOptions, b: &VfsOptions) -> bool {
    (a.read_only, a.shared_writes) == (b.read_only, b.shared_writes)
}
