//! Changes by name and of attributes, with what they mean for the nodes of an inode.

use std::{ffi::OsStr, sync::Arc, time::Duration};

use fuser::{Errno, INodeNo, OpenFlags, ReplyAttr, ReplyCreate, ReplyEmpty, ReplyEntry, Request};
use tesfs_pathtree::{Ino, Name};

use super::{
    convert::{self, errno},
    nodes::{Content, NodeId},
    notify,
    open::{FileInUse, Kept, Refusal},
    shared::Shared,
    sight::Sight,
    table::Coming,
};
use crate::{AttributeChange, Attributes, Caller, FsError, MakeInode, OpenFile, Vfs};

impl Shared {
    /// Makes something and answers with its name.
    pub(super) fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        what: &MakeInode,
        mode: u32,
        reply: ReplyEntry,
    ) {
        let sight = self.sight();
        let made = self.child(parent, name).and_then(|(parent, name)| {
            let caller = convert::caller(request);
            sight.vfs.make(&caller, parent, &name, what, mode & 0o7777)
        });
        self.reply_entry(request, reply, "make", made);
    }

    /// Makes a file and opens it.
    pub(super) fn create(
        &self,
        request: &Request,
        (parent, name): (Ino, &Name),
        mode: u32,
        flags: OpenFlags,
        reply: ReplyCreate,
    ) {
        let caller = convert::caller(request);
        let sight = self.sight();
        match sight.make_open(&caller, (parent, name), mode, flags) {
            Ok((made, file)) => {
                let own = self.nodes.lock().own(made.ino);
                let coming = self.coming(request, made.ino, own, file.is_writer());
                let content = match file.is_writer() {
                    true => Content::Line,
                    false => Content::Version(file.content()),
                };
                let seat = self.nodes.seat_maker(&coming, sight.id, content, &file);
                self.reply_created(reply, (sight.id, &made), coming, file, seat);
            }
            // Somebody else was faster: the kernel looks again and opens that file.
            Err(err) if err.errno() == libc::EEXIST && flags.0 & libc::O_EXCL == 0 => {
                reply.error(Errno::ESTALE);
            }
            Err(err) => reply.error(errno("create", &err)),
        }
    }

    /// Changes attributes and answers with them.
    pub(super) fn set_attributes(
        &self,
        request: &Request,
        node: NodeId,
        change: &AttributeChange<'_>,
        handle: Option<&FileInUse>,
        reply: ReplyAttr,
    ) {
        let (ino, vfs) = match self.at(node) {
            Ok(at) => at,
            Err(err) => return reply.error(errno("setattr", &err)),
        };
        if change.size.is_some() && !handle.is_some_and(|handle| handle.file.is_writer()) {
            let change = AttributeChange { file: None, ..*change };
            let coming = self.coming(request, ino, node, true);
            return self.resize_when_shown(convert::caller(request), coming, change, reply);
        }
        let vfs = handle.filter(|_| change.size.is_some()).map_or(vfs, |handle| handle.vfs());
        let changed = vfs.set_attributes(&convert::caller(request), ino, change);
        if let Some(handle) = handle.filter(|_| change.size.is_some()) {
            self.wrote(handle, 0, 0);
        }
        let shown = changed.and_then(|changed| self.shown_at(ino, node, changed));
        self.reply_changed(reply, (ino, &vfs), node, shown);
    }

    /// Answers with the attributes of a node in a filesystem, once its siblings show no older ones.
    ///
    /// The kernel believes this answer although it was told meanwhile that attributes are out of
    /// date: after a switch they do not hold.
    fn reply_changed(
        &self,
        reply: ReplyAttr,
        (ino, vfs): (Ino, &Arc<Vfs>),
        node: NodeId,
        shown: Result<Attributes, FsError>,
    ) {
        match shown {
            Ok(shown) => {
                let is_shown = Arc::ptr_eq(vfs, &self.sight().vfs);
                let hold = if is_shown { self.attributes_hold(ino, node) } else { Duration::ZERO };
                let shown = convert::attributes(&shown, ino.0);
                self.attributes_changed(ino, node, move || reply.attr(&hold, &shown));
            }
            Err(err) => reply.error(convert::errno_at_node("setattr", &err)),
        }
    }

    fn resize_when_shown(
        &self,
        caller: Caller,
        coming: Coming,
        change: AttributeChange<'static>,
        reply: ReplyAttr,
    ) {
        self.when_shown(Box::new(move |shared| {
            let (coming, kept) = shared.arrive(coming);
            let was_moved_here = kept.is_some();
            let resize =
                move |shared: &Self| shared.resize_by_name(caller, coming, kept, change, reply);
            match was_moved_here {
                true => resize(shared),
                false => shared.when_settled(coming, Box::new(resize)),
            }
        }));
    }

    /// Changes a size without a handle: a short visit of a writer, which publishes at once.
    fn resize_by_name(
        &self,
        caller: Caller,
        coming: Coming,
        kept: Option<Kept>,
        change: AttributeChange<'static>,
        reply: ReplyAttr,
    ) {
        let (ino, node) = (coming.ino, coming.node);
        let (seat, sight, vfs) = match self.seat_writer(coming, kept) {
            Ok(seated) => seated,
            Err(Refusal::Switched) => {
                return self.resize_when_shown(caller, coming, change, reply);
            }
            Err(refusal) => return reply.error(refusal.errno("setattr")),
        };
        let changed = vfs.set_attributes(&caller, ino, &change);
        let line = seat.map(|_| (node, 0));
        let published = changed.is_ok().then(|| vfs.published(ino).ok()).flatten();
        let notice = published.and_then(|key| self.notice((sight, &vfs), ino, key, line));
        if seat.is_some() {
            self.nodes.lock().bypassed(ino, node);
        }
        self.leave(ino, node, seat);
        let shown = changed.and_then(|changed| self.shown_at(ino, node, changed));
        match notice {
            Some(notice) => {
                let shared = self.me.upgrade().expect("a mount that serves is alive");
                let then = move || shared.reply_changed(reply, (ino, &vfs), node, shown);
                self.notices.send_then(notice, Box::new(then));
            }
            None => self.reply_changed(reply, (ino, &vfs), node, shown),
        }
    }

    /// Does `then` once the kernel knows that a write may have taken set-user-id bits: of a mode
    /// that it did not change itself it only asks when it is told to, and it would go on executing
    /// by the one it knows.
    pub(super) fn privileges_taken(
        &self,
        file: &OpenFile,
        kill_privileges: bool,
        then: impl FnOnce() + Send + 'static,
    ) {
        if !kill_privileges || !file.lends_privileges() {
            return then();
        }
        let nodes = self.nodes.lock().all(file.ino());
        self.notices.send_then(notify::Notice::Attributes(nodes), Box::new(then));
    }

    /// Returns what a node shows of an inode that has `changed` attributes.
    fn shown_at(&self, ino: Ino, node: NodeId, changed: Attributes) -> Result<Attributes, FsError> {
        if self.nodes.lock().pinned(ino, node).is_none() {
            return Ok(changed);
        }
        self.attributes_at(ino, node)
    }

    /// Returns the inode that a name leads to, if more than one node shows it: its link count
    /// changes when the name goes, of which the kernel knows for one node only.
    pub(super) fn divided(&self, caller: &Caller, parent: Ino, name: &Name) -> Option<Ino> {
        if !self.nodes.lock().are_divided() {
            return None;
        }
        self.sight().vfs.lookup(caller, parent, name).ok().map(|found| found.ino)
    }

    /// Answers that names changed, by which `divided` may have lost one.
    pub(super) fn reply_names_changed(
        &self,
        reply: ReplyEmpty,
        operation: &'static str,
        changed: Result<Option<Ino>, FsError>,
    ) {
        match changed {
            Ok(None) => reply.ok(),
            // The node that the name led to is told as well: which one it was is not known here.
            Ok(Some(divided)) => {
                let nodes = self.nodes.lock().all(divided);
                let then = Box::new(move || reply.ok());
                self.notices.send_then(notify::Notice::Attributes(nodes), then);
            }
            Err(err) => reply.error(errno(operation, &err)),
        }
    }
}

impl Sight {
    fn make_open(
        &self,
        caller: &Caller,
        (parent, name): (Ino, &Name),
        mode: u32,
        flags: OpenFlags,
    ) -> Result<(Attributes, Arc<OpenFile>), FsError> {
        if let Some(how) = convert::open_write(flags, caller) {
            return self.vfs.create(caller, parent, name, mode, how);
        }
        let made = self.vfs.make(caller, parent, name, &MakeInode::File, mode)?;
        let file = self.vfs.open_read(caller, made.ino)?;
        Ok((made, file))
    }
}
