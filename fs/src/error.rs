//! Why a filesystem call failed, in the caller's terms.
//!
//! Every [`FsError`] answers two questions: which errno the caller gets, and whether it is news to
//! the operator. Both matches are exhaustive on purpose: a new variant does not compile until
//! somebody has decided both.
#![warn(clippy::wildcard_enum_match_arm)]

use std::{io, path::PathBuf};

use tesfs_blobs::BlobError;
use tesfs_pathtree::{BlobNumber, DbError, Ino, NameError, tree::TreeError};
use tracing::Level;

/// Why a filesystem call failed.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The bytes are no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The tree refuses or failed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Bytes could not be read or written.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The filesystem is read-only.
    #[error("the mount is read-only")]
    ReadOnly,
    /// `.tesfs` and what lies in it belong to the filesystem.
    #[error("the name .tesfs in the root is reserved")]
    Reserved,
    /// What `.tesfs` shows can be copied, but not linked to.
    #[error("inode {0} is shown by .tesfs and can not be linked to from elsewhere")]
    Elsewhere(Ino),
    /// Every number for what `.tesfs` shows was given out, or this inode's is too large for one.
    #[error("there is no number left for what .tesfs shows, until the next mount")]
    NumbersUsedUp,
    /// The caller may not do that.
    #[error("inode {0} may not be changed like that")]
    NotPermitted(Ino),
    /// This filesystem does not do that.
    #[error("{0} is not supported")]
    NotSupported(&'static str),
    /// The request makes no sense.
    #[error("invalid request: {0}")]
    Invalid(&'static str),
    /// The handle does not allow it.
    #[error("the handle of inode {0} was not opened for that")]
    BadHandle(Ino),
    /// Nothing lies at or behind this offset.
    #[error("inode {0} has no data there")]
    NoData(Ino),
    /// A symbolic link was asked for.
    #[error("inode {0} is not a symbolic link")]
    NotASymlink(Ino),
    /// A value or target is too long.
    #[error("{what} of {len_bytes} bytes is too long")]
    TooLong {
        /// What.
        what: &'static str,
        /// How long.
        len_bytes: usize,
    },
    /// A size no file can have.
    #[error("a file can not have {0} bytes")]
    FileTooLarge(u64),
    /// Bytes were to survive a power cut, and somebody wrote to their file during every sync.
    #[error("blob {0} could not be synced: its file keeps changing")]
    KeepsChanging(BlobNumber),
    /// The system refused something on the data directory.
    #[error("{path} failed while {doing}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<DbError> for FsError {
    fn from(err: DbError) -> Self {
        Self::Tree(TreeError::Database(err))
    }
}

impl FsError {
    /// Returns the errno the calling process sees.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Name(NameError::TooLong { .. }) | Self::TooLong { what: "a target", .. } => {
                libc::ENAMETOOLONG
            }
            Self::Name(NameError::Empty) => libc::ENOENT,
            Self::Name(NameError::BadByte | NameError::Dots) | Self::Invalid(_) => libc::EINVAL,
            Self::Tree(err) => tree_errno(err),
            Self::Blob(err) => blob_errno(err),
            Self::ReadOnly => libc::EROFS,
            Self::Reserved | Self::NotPermitted(_) => libc::EPERM,
            Self::Elsewhere(_) => libc::EXDEV,
            Self::NumbersUsedUp => libc::EOVERFLOW,
            Self::NotSupported(_) => libc::EOPNOTSUPP,
            Self::BadHandle(_) => libc::EBADF,
            Self::NoData(_) => libc::ENXIO,
            Self::NotASymlink(_) => libc::EINVAL,
            Self::TooLong { .. } => libc::E2BIG,
            Self::FileTooLarge(_) => libc::EFBIG,
            Self::KeepsChanging(_) => libc::EIO,
            Self::Io { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// Says whether the disk is full.
    pub fn is_full(&self) -> bool {
        self.errno() == libc::ENOSPC
    }

    /// Returns how loudly to log it: a caller's mistake is `DEBUG`, ours and the disk's `ERROR`.
    pub fn level(&self) -> Level {
        match self {
            Self::Name(_)
            | Self::ReadOnly
            | Self::Reserved
            | Self::Elsewhere(_)
            | Self::NotPermitted(_)
            | Self::NotSupported(_)
            | Self::Invalid(_)
            | Self::BadHandle(_)
            | Self::NoData(_)
            | Self::NotASymlink(_)
            | Self::TooLong { .. }
            | Self::FileTooLarge(_) => Level::DEBUG,
            Self::NumbersUsedUp => Level::WARN,
            Self::Tree(TreeError::Database(_))
            | Self::Blob(_)
            | Self::KeepsChanging(_)
            | Self::Io { .. } => Level::ERROR,
            Self::Tree(_) => Level::DEBUG,
        }
    }
}

fn tree_errno(err: &TreeError) -> i32 {
    match err {
        TreeError::EdgeNotFound { .. } => libc::ENOENT,
        TreeError::EdgeExists { .. } => libc::EEXIST,
        TreeError::NotADirectory(_) => libc::ENOTDIR,
        TreeError::IsADirectory(_) => libc::EISDIR,
        TreeError::DirectoryNotEmpty(_) => libc::ENOTEMPTY,
        TreeError::IntoItself { .. } => libc::EINVAL,
        TreeError::InodeGone(_) => libc::ENOENT,
        TreeError::TooManyLinks(_) => libc::EMLINK,
        TreeError::XattrNotFound { .. } => libc::ENODATA,
        TreeError::XattrExists { .. } => libc::EEXIST,
        TreeError::Database(err) if err.is_full() => libc::ENOSPC,
        TreeError::Database(_) => libc::EIO,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other failure of bytes is EIO")]
fn blob_errno(err: &BlobError) -> i32 {
    if err.is_full() {
        return libc::ENOSPC;
    }
    match err {
        BlobError::Io { source, .. } => match source.raw_os_error() {
            Some(errno @ (libc::EDQUOT | libc::EFBIG | libc::EINVAL | libc::EMFILE)) => errno,
            _ => libc::EIO,
        },
        _ => libc::EIO,
    }
}
