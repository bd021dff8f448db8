//! What the kernel is shown of inodes: attributes, names, and for how long it may believe them.

use std::{
    ffi::OsStr,
    sync::Arc,
    time::{Duration, Instant},
};

use fuser::{FileAttr, Generation, INodeNo, ReplyAttr, ReplyEntry, Request};
use tesfs_pathtree::Ino;

use super::{
    convert,
    nodes::{Lead, NodeId},
    notify,
    shared::Shared,
};
use crate::{Attributes, FileKind, FsError, OpenFile};

/// How long the kernel may believe what it was told: for good. Every local change goes through
/// it, and of any other it is told.
pub(super) const LASTING: Duration = Duration::from_secs(365 * 24 * 3600);

/// Node ids are never used again for another inode, so all are of one generation.
pub(super) const GENERATION: Generation = Generation(0);

impl Shared {
    /// Returns the inode behind a node.
    ///
    /// # Errors
    ///
    /// ESTALE for a node that was forgotten.
    pub(super) fn ino(&self, node: NodeId) -> Result<Ino, fuser::Errno> {
        self.nodes.lock().ino(node).ok_or(fuser::Errno::ESTALE)
    }

    /// Returns the attributes a node shows: those of the version it stands for, else the inode's.
    pub(super) fn attributes_at(&self, ino: Ino, node: NodeId) -> Result<Attributes, FsError> {
        let pinned = self.nodes.lock().pinned(ino, node);
        match pinned {
            Some(file) => attributes_of(&file),
            None => self.at(node)?.1.attributes(ino),
        }
    }

    /// Returns for how long the attributes of a node hold. Where the kernel writes by itself they
    /// do not: stores through a mapping change them without anybody's being told.
    ///
    /// Those of a fresh node never do. A name that leads to it gives its number for st_ino, and that
    /// would show where one thread looks the name up while another uses attributes that still hold.
    pub(super) fn attributes_hold(&self, ino: Ino, node: NodeId) -> Duration {
        if node.is_fresh() {
            return Duration::ZERO;
        }
        let is_line = self.nodes.lock().is_line(ino, node);
        let is_written = is_line && self.ways.is_bound(node);
        if is_written { Duration::ZERO } else { self.hold_in(ino) }
    }

    /// Returns for how long the kernel may believe what it was told of what is in a directory.
    pub(super) fn hold_in(&self, directory: Ino) -> Duration {
        if self.sight().vfs.changes_untold(directory) { Duration::ZERO } else { LASTING }
    }

    /// Answers where a name leads, or that there is none.
    pub(super) fn look_up(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let (parent, name) = match self.child(parent, name) {
            Ok(child) => child,
            Err(err) => return reply.error(convert::errno("lookup", &err)),
        };
        let sight = self.sight();
        let hold = self.hold_in(parent);
        let found = sight.vfs.lookup(&convert::caller(request), parent, &name);
        let entry = found.and_then(|found| Ok((found.ino, self.entry(request, &found)?)));
        match entry {
            Ok((ino, (entry_holds, attributes_hold, shown))) => {
                sight.vfs.remember(ino);
                let (entry_holds, attributes_hold) =
                    (entry_holds.min(hold), attributes_hold.min(hold));
                reply.entry_with_ttls(&attributes_hold, &entry_holds, &shown, GENERATION);
            }
            Err(err) if err.errno() == libc::ENOENT => {
                reply.entry(&hold, &convert::no_entry(), GENERATION);
            }
            Err(err) => reply.error(convert::errno("lookup", &err)),
        }
    }

    /// Notes that the kernel forgot so many lookups that led to a node.
    pub(super) fn forget(&self, node: NodeId, lookups: u64) {
        let mut nodes = self.nodes.lock();
        let ino = nodes.ino(node);
        nodes.forget(node, lookups);
        drop(nodes);
        if let Some(ino) = ino {
            self.sight().vfs.forget(ino, lookups);
        }
    }

    /// Answers with the attributes of a node.
    pub(super) fn reply_attributes(
        &self,
        reply: ReplyAttr,
        operation: &'static str,
        node: NodeId,
        attributes: Result<Attributes, FsError>,
    ) {
        match attributes {
            Ok(shown) => {
                let hold = self.attributes_hold(shown.ino, node);
                reply.attr(&hold, &convert::attributes(&shown, shown.ino.0));
            }
            Err(err) => reply.error(convert::errno_at_node(operation, &err)),
        }
    }

    /// Answers with a new name, which leads to the inode `found`.
    ///
    /// The kernel takes the node id it is given here for st_ino as well, until it asks for
    /// attributes: so those of a fresh node do not hold.
    pub(super) fn reply_entry(
        &self,
        request: &Request,
        reply: ReplyEntry,
        operation: &'static str,
        found: Result<Attributes, FsError>,
    ) {
        match found.and_then(|found| self.entry(request, &found)) {
            Ok((entry_holds, attributes_hold, shown)) => {
                reply.entry_with_ttls(&attributes_hold, &entry_holds, &shown, GENERATION);
            }
            Err(err) => reply.error(convert::errno(operation, &err)),
        }
    }

    /// Answers with a new name of an inode that was linked through `node`.
    pub(super) fn reply_linked(
        &self,
        request: &Request,
        reply: ReplyEntry,
        (ino, node): (Ino, NodeId),
        made: Result<Attributes, FsError>,
    ) {
        match made.and_then(|made| self.entry(request, &made)) {
            Ok((entry_holds, attributes_hold, shown)) => {
                self.attributes_changed(ino, node, move || {
                    reply.entry_with_ttls(&attributes_hold, &entry_holds, &shown, GENERATION);
                });
            }
            Err(err) => reply.error(convert::errno("link", &err)),
        }
    }

    fn entry(
        &self,
        request: &Request,
        found: &Attributes,
    ) -> Result<(Duration, Duration, FileAttr), FsError> {
        if found.kind != FileKind::File {
            let node = self.nodes.lock().own(found.ino);
            return Ok((LASTING, LASTING, convert::attributes(found, node.0)));
        }
        self.lead_away(found.ino)?;
        let now = Instant::now();
        let lead = self.nodes.lock().look_up(convert::thread(request), found.ino, now);
        let (entry_holds, attributes_hold, shown) = self.led(&lead, found)?;
        Ok((entry_holds, attributes_hold, shown))
    }

    /// Leads the names of an inode away from who reads an older version of it, where nobody was told
    /// of the newer one.
    fn lead_away(&self, ino: Ino) -> Result<(), FsError> {
        let is_alone = {
            let nodes = self.nodes.lock();
            nodes.is_free(ino, nodes.own(ino)) && !nodes.are_divided()
        };
        let sight = self.sight();
        if is_alone || !sight.vfs.changes_untold(ino) {
            return Ok(());
        }
        let key = sight.vfs.published(ino)?;
        // The kernel keeps nothing of such names and attributes, so that it needs no notice.
        self.nodes.lock().published(ino, sight.id, key, None);
        Ok(())
    }

    /// Returns how a name is shown that leads where `lead` says.
    pub(super) fn led(
        &self,
        lead: &Lead<Arc<OpenFile>>,
        found: &Attributes,
    ) -> Result<(Duration, Duration, FileAttr), FsError> {
        let entry_holds = if lead.is_lasting { LASTING } else { Duration::ZERO };
        let attributes_hold = self.attributes_hold(found.ino, lead.node);
        let shown = match &lead.pinned {
            Some(file) => attributes_of(file)?,
            // The own node may be left to a writer of another sight.
            None if !lead.is_lasting => self.attributes_at(found.ino, lead.node)?,
            None => *found,
        };
        Ok((entry_holds, attributes_hold, convert::attributes(&shown, lead.node.0)))
    }

    /// Does `then` once no node of an inode but `node`, of which the kernel knows by itself, shows
    /// attributes from before a change.
    pub(super) fn attributes_changed(
        &self,
        ino: Ino,
        node: NodeId,
        then: impl FnOnce() + Send + 'static,
    ) {
        let others = self.nodes.lock().others(ino, node);
        if others.is_empty() {
            return then();
        }
        self.notices.send_then(notify::Notice::Attributes(others), Box::new(then));
    }
}

/// Returns the attributes of the version that a handle is pinned to.
fn attributes_of(file: &OpenFile) -> Result<Attributes, FsError> {
    let (ino, vfs) = (file.ino(), &file.vfs);
    let mut shown = file.attributes()?;
    // Times may be set on a version that is still the current one. Its size is its own, though:
    // a writer may begin at any moment.
    if !vfs.has_writers(ino) && vfs.published(ino)? == file.content() {
        let now = vfs.attributes(ino)?;
        if !vfs.has_writers(ino) {
            shown.mtime_ns = now.mtime_ns;
        }
    }
    Ok(shown)
}
