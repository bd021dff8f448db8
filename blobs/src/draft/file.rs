//! The file a draft's bytes are in.

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Front, Syncs};
use crate::{BlobError, FileStamp, error::Doing as _, folders::sync_folder};

/// Numbers of the draft files that this process holds. A file on disk whose number is not in it
/// is nobody's unless a row names it.
pub(super) type Held = Mutex<HashSet<u64>>;

/// A file `drafts/<number>` of this process, open for reading and writing. Clones share it.
///
/// Dropping it leaves the file where it is, since a row may name it; see
/// [`Store::release_draft`](crate::Store::release_draft).
#[derive(Clone, Debug)]
pub struct DraftFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    number: u64,
    path: PathBuf,
    file: Arc<File>,
    /// A row may name it.
    published: AtomicBool,
    /// Nobody else may hold it open, or a mapping of it.
    reusable: AtomicBool,
    /// Its name survives a power cut.
    name_synced: AtomicBool,
    /// Protects what is known of the hash; taken last.
    front: Arc<Mutex<Front>>,
    held: Arc<Held>,
    syncs: Arc<Syncs>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        lock(&self.held).remove(&self.number);
    }
}

impl DraftFile {
    pub(super) fn new(
        number: u64,
        path: PathBuf,
        file: File,
        held: &Arc<Held>,
        syncs: &Arc<Syncs>,
    ) -> Self {
        lock(held).insert(number);
        Self(Arc::new(Inner {
            number,
            path,
            file: Arc::new(file),
            published: AtomicBool::new(false),
            reusable: AtomicBool::new(true),
            name_synced: AtomicBool::new(false),
            front: Arc::new(Mutex::new(Front::new())),
            held: Arc::clone(held),
            syncs: Arc::clone(syncs),
        }))
    }

    /// Returns its number, which no other file of this data directory has while a row names it.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns the file to hand to others (the kernel among them), who may then write to it
    /// unseen: it will not be reused, and its bytes are hashed when it is sealed.
    pub fn file(&self) -> &Arc<File> {
        self.0.reusable.store(false, Ordering::SeqCst);
        self.front().give_up();
        &self.0.file
    }

    /// Returns how the file looks now.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`].
    pub fn stamp(&self) -> Result<FileStamp, BlobError> {
        FileStamp::of(&self.0.file).doing("looking at a draft", self.path())
    }

    /// Returns the file to read from, for as long as somebody wants to.
    pub(crate) fn to_read(&self) -> Arc<File> {
        Arc::clone(&self.0.file)
    }

    /// Returns the file for work that is seen here.
    pub(crate) fn own(&self) -> &File {
        &self.0.file
    }

    pub(crate) fn front(&self) -> MutexGuard<'_, Front> {
        lock(&self.0.front)
    }

    pub(crate) fn front_shared(&self) -> Arc<Mutex<Front>> {
        Arc::clone(&self.0.front)
    }

    /// Makes the bytes and the name survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), BlobError> {
        let synced = self.0.syncs.sync(self.number(), self.own());
        if synced.is_err() {
            // What the disk refused once is not given to somebody else.
            self.0.reusable.store(false, Ordering::SeqCst);
        }
        synced.doing("syncing a draft", self.path())?;
        if !self.0.name_synced.load(Ordering::SeqCst) {
            let folder = self.path().parent().expect("a draft is in a folder");
            sync_folder(folder)?;
            self.0.name_synced.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Notes that a row may name it, so that readers may have opened it by that.
    pub(crate) fn note_published(&self) {
        self.0.reusable.store(false, Ordering::SeqCst);
        self.0.published.store(true, Ordering::SeqCst);
    }

    /// Notes that no row names it any more.
    pub(crate) fn note_unnamed(&self) {
        self.0.published.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_published(&self) -> bool {
        self.0.published.load(Ordering::SeqCst)
    }

    /// Says whether nobody else can write to it or read from it, now or later.
    pub(super) fn is_private(&self) -> bool {
        self.0.reusable.load(Ordering::SeqCst) && Arc::strong_count(&self.0) == 1
    }

    /// Makes it as new, keeping what is known of its name.
    pub(super) fn reset(&self) -> Result<(), BlobError> {
        self.own().set_len(0).doing("emptying a draft", self.path())?;
        *self.front() = Front::new();
        Ok(())
    }
}

/// Locks what stays valid when a thread panics: a set of numbers, or hashes that are checked
/// against the file before they are used.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
