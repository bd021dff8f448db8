//! Why the tree refuses a change.

use crate::{db::DbError, id::Ino, name::Name};

/// Why a change or a query of the tree failed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// No such name in the directory.
    #[error("no edge named {name} in directory {parent}")]
    EdgeNotFound {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
    },
    /// The name is taken.
    #[error("an edge named {name} exists in directory {parent}")]
    EdgeExists {
        /// The directory.
        parent: Ino,
        /// The name.
        name: Name,
    },
    /// A directory is needed and this is none.
    #[error("inode {0} is not a directory")]
    NotADirectory(Ino),
    /// Something else than a directory is needed.
    #[error("inode {0} is a directory")]
    IsADirectory(Ino),
    /// It still has edges.
    #[error("directory {0} is not empty")]
    DirectoryNotEmpty(Ino),
    /// A directory can not move below itself.
    #[error("directory {directory} can not move below itself into {into}")]
    IntoItself {
        /// What should move.
        directory: Ino,
        /// Where to.
        into: Ino,
    },
    /// Removed, or never there.
    #[error("inode {0} is gone")]
    InodeGone(Ino),
    /// As many hard links as an inode can have.
    #[error("inode {0} has too many hard links")]
    TooManyLinks(Ino),
    /// No such extended attribute.
    #[error("inode {ino} has no extended attribute {}", String::from_utf8_lossy(name))]
    XattrNotFound {
        /// The inode.
        ino: Ino,
        /// The attribute.
        name: Box<[u8]>,
    },
    /// The extended attribute is there already.
    #[error("inode {ino} has an extended attribute {}", String::from_utf8_lossy(name))]
    XattrExists {
        /// The inode.
        ino: Ino,
        /// The attribute.
        name: Box<[u8]>,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}
