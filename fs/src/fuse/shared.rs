//! What the threads of one mount share.

use std::{
    ffi::OsStr,
    sync::{Arc, Mutex, Weak},
};

use arc_swap::Guard;

use fuser::INodeNo;
use tesfs_pathtree::{Ino, Name};

use super::{
    aside::Aside,
    convert,
    directories::OpenDirectory,
    handles::Handles,
    later::Later,
    nodes::NodeId,
    notify::{Notice, Notices},
    open::FileInUse,
    passthrough::Ways,
    sight::{InUse, Sight, Sights},
    table::NodeTable,
};
use crate::{FsError, Vfs};

/// What one mount's threads share.
pub(super) struct Shared {
    pub(super) me: Weak<Self>,
    pub(super) sights: Sights,
    /// Protects a switch; taken before every other lock, and by no request. Tells when no request
    /// has what is shown, once it is not.
    pub(super) switching: Mutex<Option<InUse>>,
    pub(super) nodes: NodeTable,
    pub(super) ways: Ways,
    pub(super) files: Handles<FileInUse>,
    pub(super) directories: Handles<OpenDirectory>,
    pub(super) notices: Notices,
    pub(super) aside: Aside,
    pub(super) later: Arc<Later>,
}

impl Shared {
    /// Returns what is shown. To be kept until all that is known of it to the kernel was answered,
    /// and not while anything is waited for.
    pub(super) fn sight(&self) -> Guard<Arc<Sight>> {
        self.sights.now()
    }

    /// Returns an inode that the kernel asks for by its node, and the filesystem that is meant: the
    /// one in which it is open at that node, else what is shown.
    pub(super) fn at(&self, node: NodeId) -> Result<(Ino, Arc<Vfs>), FsError> {
        let nodes = self.nodes.lock();
        let ino = nodes.ino(node).ok_or(FsError::Invalid("a node that was forgotten"))?;
        let sight = self.sight();
        let other = nodes.occupied_by(ino, node).filter(|id| *id != sight.id);
        let vfs = other.and_then(|id| self.sights.find(id));
        Ok((ino, vfs.unwrap_or_else(|| Arc::clone(&sight.vfs))))
    }

    /// Passes on to the kernel what changes in a filesystem without the kernel's doing.
    pub(super) fn observe(&self, sight: &Sight) {
        let (id, notices) = (sight.id, self.notices.clone());
        let pass_on = move |touched: &crate::Touched| {
            notices.send(Notice::Touched(id, touched.clone()));
        };
        sight.vfs.observe(Arc::new(pass_on));
    }

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
