//! Why work on blobs failed, with the file it failed on.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use tesfs_pathtree::{BlobNumber, DbError};

use crate::BlobHash;

/// Why work on a blob or a draft failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk refused, or the data directory is not as it was left.
    #[error("{doing} failed on {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The node database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// No row has this number: whoever names it names nothing.
    #[error("blob {0} is not in the node database")]
    NotFound(BlobNumber),
    /// The bytes on disk are not those that were stored. They are in `quarantine/`.
    #[error("blob {number} is damaged: {path} does not hold the bytes that were stored")]
    Damaged {
        /// The blob.
        number: BlobNumber,
        /// Where the bytes were, or are in quarantine.
        path: PathBuf,
    },
    /// The file of the blob is gone from the data directory.
    #[error("blob {number} is missing: {path} is not there")]
    Missing {
        /// The blob.
        number: BlobNumber,
        /// Where it should be.
        path: PathBuf,
    },
    /// The bytes are not on this node.
    #[error("the bytes of blob {number} are not on this node")]
    Absent {
        /// The blob.
        number: BlobNumber,
        /// Its hash, to ask others for it.
        hash: Option<BlobHash>,
    },
    /// An earlier write or fsync of this draft failed, so nothing may be claimed for it.
    #[error("an earlier write to draft {path} failed")]
    Poisoned {
        /// The draft's file.
        path: PathBuf,
    },
    /// A draft file is shorter than the version that was published from it.
    #[error("draft {path} has {found_bytes} bytes, its version has {size_bytes}")]
    DraftShort {
        /// The draft's file.
        path: PathBuf,
        /// What it has.
        found_bytes: u64,
        /// What the version has.
        size_bytes: u64,
    },
    /// A record of a draft can not be read; another release may have written it.
    #[error("the record of draft {number} can not be read")]
    Record {
        /// The draft.
        number: u64,
        /// Why.
        #[source]
        source: postcard::Error,
    },
}

impl BlobError {
    /// Says whether the disk (or the quota) is full: nothing is lost, and the same call works
    /// again when there is space.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(Errno::from_io_error(source), Some(Errno::NOSPC | Errno::DQUOT))
            }
            Self::Database(err) => err.is_full(),
            _ => false,
        }
    }

    /// Says whether a published draft's bytes are known to be lost. Other failures (too many open
    /// files, no memory, a disk that does not answer) may pass, and lose nothing.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            other => other.is_damage(),
        }
    }

    /// Says whether stored bytes are damaged or gone, which is news to the operator.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Missing { .. } | Self::DraftShort { .. })
    }
}

/// Says what was being done, to which file, when the system refused.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, BlobError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, BlobError> {
        self.map_err(|source| BlobError::Io { doing, path: path.into(), source })
    }
}

impl<T> Doing<T> for rustix::io::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, BlobError> {
        self.map_err(io::Error::from).doing(doing, path)
    }
}
