//! What the threads of one mount share.

use std::{
    ffi::OsStr,
    sync::{Arc, Weak},
};

use fuser::INodeNo;
use tesfs_pathtree::{Ino, Name};

use super::{
    aside::Aside, convert, directories::OpenDirectory, handles::Handles, later::Later,
    nodes::NodeId, notify::Notices, open::FileInUse, passthrough::Ways, table::NodeTable,
};
use crate::{FsError, Vfs};

/// What one mount's threads share.
pub(super) struct Shared {
    pub(super) me: Weak<Self>,
    pub(super) vfs: Arc<Vfs>,
    pub(super) nodes: NodeTable,
    pub(super) ways: Ways,
    pub(super) files: Handles<FileInUse>,
    pub(super) directories: Handles<OpenDirectory>,
    pub(super) notices: Notices,
    pub(super) aside: Aside,
    pub(super) later: Arc<Later>,
}

impl Shared {
    /// Returns names as notices want them: the directories by their nodes.
    pub(super) fn names_at(&self, names: Vec<(Ino, Name)>) -> Vec<(NodeId, Name)> {
        let nodes = self.nodes.lock();
        names.into_iter().map(|(parent, name)| (nodes.own(parent), name)).collect()
    }

    pub(super) fn child(&self, parent: INodeNo, name: &OsStr) -> Result<(Ino, Name), FsError> {
        Ok((self.inode(parent)?, convert::name(name)?))
    }

    /// Returns the inode behind a node, which the kernel only asks for while it knows it.
    pub(super) fn inode(&self, node: INodeNo) -> Result<Ino, FsError> {
        self.nodes.lock().ino(NodeId(node.0)).ok_or(FsError::Invalid("a node that was forgotten"))
    }
}
