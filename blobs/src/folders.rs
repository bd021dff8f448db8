//! The folders of a data directory that hold bytes, and the paths in them.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::{BlobError, BlobHash, error::Doing as _};

/// Ends the name of an outboard: BLAKE3's tree over chunk groups of 2^4 KiB, in pre-order.
pub(crate) const OUTBOARD_SUFFIX: &str = ".obao4";
/// Ends the name of a file that is still being written.
pub(crate) const UNFINISHED_SUFFIX: &str = ".unfinished";

/// Where the bytes of a node are: `blobs`, `drafts`, `quarantine` and `recovered`, all 0700.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    pub(crate) blobs: PathBuf,
    pub(crate) drafts: PathBuf,
    pub(crate) quarantine: PathBuf,
    pub(crate) recovered: PathBuf,
}

impl Folders {
    /// Makes sure that all of them exist, durably.
    pub(crate) fn ensure(data_dir: &Path) -> Result<Self, BlobError> {
        let folders = Self {
            blobs: data_dir.join("blobs"),
            drafts: data_dir.join("drafts"),
            quarantine: data_dir.join("quarantine"),
            recovered: data_dir.join("recovered"),
        };
        for folder in [&folders.blobs, &folders.drafts, &folders.quarantine, &folders.recovered] {
            ensure_folder(folder)?;
        }
        sync_folder(data_dir)?;
        Ok(folders)
    }

    /// Returns the folder of every blob whose hash begins as `hash` does.
    pub(crate) fn shelf(&self, hash: &BlobHash) -> PathBuf {
        self.blobs.join(format!("{:02x}", hash.as_bytes()[0]))
    }

    pub(crate) fn blob(&self, hash: &BlobHash) -> PathBuf {
        self.shelf(hash).join(hash.to_string())
    }

    pub(crate) fn outboard(&self, hash: &BlobHash) -> PathBuf {
        self.shelf(hash).join(format!("{hash}{OUTBOARD_SUFFIX}"))
    }

    pub(crate) fn draft(&self, number: u64) -> PathBuf {
        self.drafts.join(number.to_string())
    }
}

/// Makes a folder with mode 0700 unless it is there; returns whether it is new.
pub(crate) fn ensure_folder(path: &Path) -> Result<bool, BlobError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(err) => Err(err).doing("making a folder", path),
    }
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> Result<(), BlobError> {
    File::open(path).and_then(|folder| folder.sync_all()).doing("syncing a folder", path)
}

/// Removes a name; one that is gone already is as good.
pub(crate) fn remove_file(path: &Path) -> Result<(), BlobError> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err).doing("removing", path),
        _ => Ok(()),
    }
}

/// Lists a folder; one that is not there is empty.
pub(crate) fn list(path: &Path) -> Result<Vec<fs::DirEntry>, BlobError> {
    match fs::read_dir(path) {
        Ok(entries) => entries.collect::<io::Result<_>>().doing("listing", path),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(err).doing("listing", path),
    }
}
