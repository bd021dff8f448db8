//! Files whose bytes are not what they should be: kept, out of the way, never deleted.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tesfs_pathtree::{Doing as _, Tx};

use crate::{
    BlobError, BlobHash, Store,
    error::Doing as _,
    folders::{Folders, UNFINISHED_SUFFIX, sync_folder},
    outboard::{Leaves, write_outboard},
    stamp::FileId,
};

/// Moves damaged files away and remembers which rows have to say so.
///
/// A reader finds damage where it must not write to the database, so the rows follow at the next
/// [`Store::record_damage`]; until then opening such a blob finds no file, which is as much EIO.
#[derive(Debug)]
pub(crate) struct Quarantine {
    folders: Folders,
    /// Protects the hashes whose rows do not say "damaged" yet; held while files are moved.
    unrecorded: Mutex<BTreeSet<BlobHash>>,
}

impl Quarantine {
    pub(crate) fn new(folders: Folders) -> Self {
        Self { folders, unrecorded: Mutex::default() }
    }

    pub(crate) fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Moves the file of a hash and its outboard away; returns where the file is now, `None` when
    /// somebody moved it before. A file in its place that is not `damaged` is not judged by that.
    pub(crate) fn take(
        &self,
        hash: BlobHash,
        damaged: FileId,
    ) -> Result<Option<PathBuf>, BlobError> {
        let path = self.folders.blob(&hash);
        let mut unrecorded = self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::metadata(&path) {
            Ok(meta) if FileId::read(&meta) != damaged => return Ok(None),
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                return Err(err).doing("looking at a blob", &path);
            }
            Ok(_) | Err(_) => {}
        }
        unrecorded.insert(hash);
        let moved = move_aside(&self.folders.quarantine, &path)?;
        if let Some(path) = &moved {
            move_aside(&self.folders.quarantine, &self.folders.outboard(&hash))?;
            sync_folder(&self.folders.quarantine)?;
            tracing::error!(%hash, path = %path.display(), "a damaged blob was put in quarantine");
        }
        Ok(moved)
    }

    /// Notes that the file of a hash is not in its place.
    pub(crate) fn note_gone(&self, hash: BlobHash) {
        self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner).insert(hash);
    }

    /// Writes the outboard of a file again, if its bytes are those of the hash; says whether.
    pub(crate) fn mend_outboard(
        &self,
        hash: BlobHash,
        file: &File,
        size_bytes: u64,
    ) -> Result<bool, BlobError> {
        let found =
            place_outboard(&self.folders, file, size_bytes, &Leaves::default(), Some(hash))?;
        if found == hash {
            tracing::warn!(%hash, "a damaged outboard was made again");
        }
        Ok(found == hash)
    }
}

impl Store {
    /// Makes the rows of damaged files say so. Called by every background job; not inside a
    /// transaction.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`].
    pub fn record_damage(&self) -> Result<(), BlobError> {
        let unrecorded = {
            let hashes = &self.quarantine().unrecorded;
            std::mem::take(&mut *hashes.lock().unwrap_or_else(PoisonError::into_inner))
        };
        if unrecorded.is_empty() {
            return Ok(());
        }
        let recorded = self.db().write(|tx| mark_damaged(tx, self.folders(), &unrecorded));
        if recorded.is_err() {
            let hashes = &self.quarantine().unrecorded;
            hashes.lock().unwrap_or_else(PoisonError::into_inner).extend(unrecorded);
        }
        recorded
    }
}

/// Marks the rows of files that went to quarantine, unless a good file is back in their place.
fn mark_damaged(
    tx: &Tx<'_>,
    folders: &Folders,
    hashes: &BTreeSet<BlobHash>,
) -> Result<(), BlobError> {
    for hash in hashes.iter().filter(|hash| !folders.blob(hash).exists()) {
        tx.prepare_cached(
            "UPDATE blobs SET state = 4, checked_ns = NULL
             WHERE hash = ?1 AND data IS NULL AND hash IS NOT NULL AND state = 2",
        )
        .and_then(|mut stmt| stmt.execute([hash]))
        .doing("marking a blob damaged")?;
    }
    Ok(())
}

/// Hashes a file and puts the outboard of what was found into its place, durably; with `only` it
/// is put there just for that hash. Returns what was found.
pub(crate) fn place_outboard(
    folders: &Folders,
    file: &File,
    size_bytes: u64,
    known: &Leaves,
    only: Option<BlobHash>,
) -> Result<BlobHash, BlobError> {
    let unfinished = unfinished_name(folders);
    let target = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .doing("making an outboard", &unfinished)?;
    let hashed = write_outboard(file, size_bytes, known, &target)
        .and_then(|hash| target.sync_all().map(|()| hash));
    let hash = match hashed {
        Ok(hash) => hash,
        Err(err) => {
            crate::folders::remove_file(&unfinished)?;
            return Err(err).doing("hashing into", &unfinished);
        }
    };
    if only.is_some_and(|only| only != hash) {
        crate::folders::remove_file(&unfinished)?;
        return Ok(hash);
    }
    crate::folders::ensure_folder(&folders.shelf(&hash))?;
    let place = folders.outboard(&hash);
    fs::rename(&unfinished, &place).doing("placing an outboard", &place)?;
    Ok(hash)
}

/// Names an unfinished outboard: no two of this process share one, and what a crash left is
/// written over or collected.
fn unfinished_name(folders: &Folders) -> PathBuf {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    folders.blobs.join(format!("{number}{UNFINISHED_SUFFIX}"))
}

/// Moves a file into `folder` under its own name, with a number when that is taken.
fn move_aside(folder: &Path, path: &Path) -> Result<Option<PathBuf>, BlobError> {
    let Some(name) = path.file_name() else {
        return Ok(None);
    };
    move_unique(path, folder, name)
}

/// Moves a file to a name in `folder` that was free; `None` when the file is gone.
pub(crate) fn move_unique(
    from: &Path,
    folder: &Path,
    name: &std::ffi::OsStr,
) -> Result<Option<PathBuf>, BlobError> {
    for attempt in 1_u32.. {
        let mut free = name.to_owned();
        if attempt > 1 {
            free.push(format!(".{attempt}"));
        }
        let target = folder.join(free);
        // A hard link refuses a name that is taken, which rename does not.
        match fs::hard_link(from, &target) {
            Ok(()) => {
                fs::remove_file(from).doing("moving away", from)?;
                return Ok(Some(target));
            }
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err).doing("moving away", from),
        }
    }
    Ok(None)
}
