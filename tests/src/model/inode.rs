//! Inodes and edges of the model.

use std::collections::BTreeMap;

use super::{file::File, op::Made};

/// An inode of the model; never reused.
pub(super) type Id = usize;

/// What an inode is.
#[derive(Debug)]
pub(super) enum What {
    Directory,
    Symlink(Vec<u8>),
    Fifo,
    File(File),
}

/// One inode, dead or alive.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) what: What,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Known only from when somebody set it to when something changes it.
    pub(super) mtime_ns: Option<i64>,
    pub(super) atime_ns: Option<i64>,
}

impl Inode {
    pub(super) fn new(what: What, mode: u32, (uid, gid): (u32, u32)) -> Self {
        let xattrs = BTreeMap::new();
        Self { what, mode, uid, gid, xattrs, mtime_ns: None, atime_ns: None }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.what, What::Directory)
    }

    pub(super) fn file(&self) -> Option<&File> {
        match &self.what {
            What::File(file) => Some(file),
            What::Directory | What::Symlink(_) | What::Fifo => None,
        }
    }

    pub(super) fn file_mut(&mut self) -> Option<&mut File> {
        match &mut self.what {
            What::File(file) => Some(file),
            What::Directory | What::Symlink(_) | What::Fifo => None,
        }
    }
}

impl What {
    pub(super) fn made(made: Made) -> Self {
        match made {
            Made::File => Self::File(File::new()),
            Made::Directory => Self::Directory,
            Made::Symlink => Self::Symlink(b"a/../target".to_vec()),
            Made::Fifo => Self::Fifo,
        }
    }
}

/// A way to an inode: where it is, or its last name where it was removed.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) inode: Id,
    pub(super) parent: Option<Id>,
    pub(super) name: &'static str,
    /// Whose place it took by a rename.
    pub(super) replaced: Option<Id>,
    /// Grows with every change of any edge.
    pub(super) version: usize,
}
