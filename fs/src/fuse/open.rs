//! Opening, flushing and releasing files.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use fuser::{
    BackingId, Errno, FileHandle, FopenFlags, OpenFlags, ReplyCreate, ReplyEmpty, ReplyOpen,
    Request,
};
use tesfs_pathtree::{Chain, Ino};
use tracing::{error, warn};

use super::{
    convert, lease,
    nodes::{Arrival, Content, Flush, NodeId, Notice, Seat, Seating, SightId, Thread},
    notify,
    passthrough::Way,
    shared::Shared,
    shown::{GENERATION, LASTING},
    table::{Coming, NotSeated},
};
use crate::{Attributes, Caller, ContentKey, FsError, OpenFile, OpenWrite, Published, Vfs};

/// How often a reader's open pins anew because something was published meanwhile. Whatever it
/// pinned then was current after the open began, which is all it may ask for.
const PINS_MAX: usize = 4;

/// One open file, as the kernel has it.
pub(super) struct FileInUse {
    pub(super) file: Arc<OpenFile>,
    pub(super) ino: Ino,
    pub(super) node: NodeId,
    /// What it was opened in.
    sight: SightId,
    opener: Thread,
    /// None for a handle that reads and writes past its node.
    pub(super) seat: Option<Seat>,
    pub(super) way: Way,
    /// It was used through the page cache, so that this holds what the node stands for.
    used: AtomicBool,
}

impl FileInUse {
    /// Says whether it writes to what its node is bound to.
    pub(super) fn stores(&self) -> bool {
        self.seat.is_some() && self.file.is_writer()
    }

    /// Returns the filesystem it was opened in.
    pub(super) fn vfs(&self) -> Arc<Vfs> {
        Arc::clone(&self.file.vfs)
    }
}

/// What was kept for a moved open.
pub(super) struct Kept {
    seat: Seat,
    /// The file that it was pinned to.
    file: Option<Arc<OpenFile>>,
    /// What it opens the file in.
    sight: SightId,
    vfs: Arc<Vfs>,
}

/// An open that succeeded: the file, where it sits, and in which sight.
type Opened = (Arc<OpenFile>, Option<Seat>, SightId);

/// Why an open is not answered with a handle.
pub(super) enum Refusal {
    /// It is to come again, by a lookup.
    Moved,
    /// It is to begin anew, in what is shown now.
    Switched,
    /// A mapping of it would store into the bytes of others.
    Busy,
    Failed(FsError),
}

impl From<FsError> for Refusal {
    fn from(err: FsError) -> Self {
        Self::Failed(err)
    }
}

impl Refusal {
    pub(super) fn errno(&self, operation: &'static str) -> Errno {
        match self {
            Self::Moved | Self::Switched => Errno::ESTALE,
            Self::Busy => Errno::EBUSY,
            Self::Failed(err) => convert::errno_at_node(operation, err),
        }
    }
}

impl Shared {
    /// Opens the file behind a node.
    pub(super) fn open(&self, request: &Request, node: NodeId, flags: OpenFlags, reply: ReplyOpen) {
        let ino = match self.ino(node) {
            Ok(ino) => ino,
            Err(errno) => return reply.error(errno),
        };
        let caller = convert::caller(request);
        let how = convert::open_write(flags, &caller);
        let coming = self.coming(request, ino, node, how.is_some());
        self.open_when_shown(caller, coming, how, reply);
    }

    fn open_when_shown(
        &self,
        caller: Caller,
        coming: Coming,
        how: Option<OpenWrite>,
        reply: ReplyOpen,
    ) {
        let open = move |shared: &Self| shared.open_coming(caller, coming, how, reply);
        self.when_shown(Box::new(open));
    }

    fn open_coming(
        &self,
        caller: Caller,
        coming: Coming,
        how: Option<OpenWrite>,
        reply: ReplyOpen,
    ) {
        let (ino, node) = (coming.ino, coming.node);
        let (coming, kept) = self.arrive(coming);
        let was_moved_here = kept.is_some();
        let open = move |shared: &Self| {
            let opened = match (how, kept) {
                (None, Some(Kept { seat, file: Some(file), sight, .. })) => {
                    Ok((file, Some(seat), sight))
                }
                (None, kept) => {
                    if let Some(Kept { seat, .. }) = kept {
                        shared.leave(ino, node, Some(seat));
                    }
                    shared.open_reader(&caller, coming)
                }
                (Some(how), kept) => shared.open_writer(&caller, coming, kept, how),
            };
            match opened {
                Ok(opened) => shared.reply_opened(reply, coming, opened, how),
                Err(Refusal::Switched) => shared.open_when_shown(caller, coming, how, reply),
                Err(refusal) => reply.error(refusal.errno("open")),
            }
        };
        if was_moved_here { open(self) } else { self.when_settled(coming, Box::new(open)) }
    }

    fn reply_opened(
        &self,
        reply: ReplyOpen,
        coming: Coming,
        (file, seat, sight): Opened,
        how: Option<OpenWrite>,
    ) {
        let node = coming.node;
        let way = match seat {
            Some(_) => self.enter(&file, node, |backing| reply.open_backing(backing)),
            None if may_store(how) => Way::Direct,
            None => self.ways.enter_direct(node),
        };
        let truncates = how.is_some_and(|how| how.truncate);
        let kill_privileges = how.is_some_and(|how| how.kill_privileges);
        let flags = self.open_flags(&file, node, &way, truncates);
        let opened = (Arc::clone(&file), seat, sight);
        let number = self.keep(opened, coming, way.clone());
        let then = move || match way {
            Way::Cached | Way::Direct => reply.opened(number, flags),
            Way::Passthrough(id) | Way::DirectOver(id) => {
                reply.opened_passthrough(number, flags, &id);
            }
        };
        self.privileges_taken(&file, kill_privileges, then);
    }

    /// Answers with a file that was just made, open.
    pub(super) fn reply_created(
        &self,
        reply: ReplyCreate,
        (sight, made): (SightId, &Attributes),
        coming: Coming,
        file: Arc<OpenFile>,
        seat: Option<Seat>,
    ) {
        let node = coming.node;
        let way = match seat {
            Some(_) => self.enter(&file, node, |backing| reply.open_backing(backing)),
            None => self.ways.enter_direct(node),
        };
        let flags = self.open_flags(&file, node, &way, true);
        if matches!(way, Way::Cached) {
            // Nobody used the node before: there are no other pages.
            self.nodes.lock().cached(made.ino, node);
        }
        let shown = convert::attributes(made, node.0);
        let number = self.keep((file, seat, sight), coming, way.clone());
        match way {
            Way::Cached | Way::Direct => {
                reply.created(&LASTING, &shown, GENERATION, number, flags);
            }
            Way::Passthrough(id) | Way::DirectOver(id) => {
                reply.created_passthrough(&LASTING, &shown, GENERATION, number, flags, &id);
            }
        }
    }

    /// Describes who makes a request.
    pub(super) fn coming(&self, request: &Request, ino: Ino, node: NodeId, writes: bool) -> Coming {
        let thread = convert::thread(request);
        Coming { thread, ino, node, writes, strayed: false, since: Instant::now() }
    }

    /// Gives somebody the seat that was kept for him, if he was moved to this node, and what he
    /// was pinned to; otherwise notes whether he did not follow.
    pub(super) fn arrive(&self, mut coming: Coming) -> (Coming, Option<Kept>) {
        let Coming { thread, ino, node, writes, .. } = coming;
        let (arrival, sight) = {
            let mut nodes = self.nodes.lock();
            let arrival = nodes.arrive(thread, ino, node, writes);
            // It may have been moved before a switch: then it ends where it began.
            let sight = nodes.occupied_by(ino, node).unwrap_or_else(|| nodes.sight());
            (arrival, sight)
        };
        self.release_abandoned();
        coming.strayed = matches!(arrival, Arrival::Strayed);
        let Arrival::Seated(seat, file) = arrival else { return (coming, None) };
        match self.sights.find(sight) {
            Some(vfs) => (coming, Some(Kept { seat, file, sight, vfs })),
            None => {
                self.leave(ino, node, Some(seat));
                coming.strayed = true;
                (coming, None)
            }
        }
    }

    fn open_reader(&self, caller: &Caller, coming: Coming) -> Result<Opened, Refusal> {
        let ino = coming.ino;
        let (sight, vfs, mut seen) = self.seen();
        let mut file = vfs.open_read(caller, ino)?;
        for pins in 0.. {
            let content = Content::Version(file.content());
            let check = (pins < PINS_MAX).then_some(seen);
            match self.nodes.seat(&coming, sight, content, Some(&file), check) {
                Ok(Seating::Seated(seat)) => return Ok((file, Some(seat), sight)),
                Ok(Seating::Stray) => return Ok((file, None, sight)),
                // The seat that is kept keeps the file, too.
                Ok(Seating::Moved) => return Err(Refusal::Moved),
                Err(NotSeated::Switched) => return Err(Refusal::Switched),
                Err(NotSeated::Published) => seen = self.nodes.lock().publishes(),
            }
            if vfs.published(ino)? != file.content() {
                self.release_file(&file);
                file = vfs.open_read(caller, ino)?;
            }
        }
        unreachable!("the last round is not checked for a publish")
    }

    /// Returns what is shown, and how much was published by now.
    fn seen(&self) -> (SightId, Arc<Vfs>, u64) {
        let nodes = self.nodes.lock();
        let sight = self.sight();
        (sight.id, Arc::clone(&sight.vfs), nodes.publishes())
    }

    fn open_writer(
        &self,
        caller: &Caller,
        coming: Coming,
        kept: Option<Kept>,
        how: OpenWrite,
    ) -> Result<Opened, Refusal> {
        let (seat, sight, vfs) = self.seat_writer(coming, kept)?;
        let (ino, node) = (coming.ino, coming.node);
        if seat.is_none() && may_store(Some(how)) && self.ways.is_bound(node) {
            self.leave(ino, node, None);
            if coming.thread == Thread(0) && self.ways.is_allowed() {
                // Nobody of that pid namespace can ever be moved: let there be no such nodes.
                warn!("processes outside of the pid namespace write here, all files are cached");
                self.ways.disallow();
            }
            return Err(Refusal::Busy);
        }
        let opened = vfs.open_write(caller, ino, how);
        if opened.is_err() {
            self.leave(ino, node, seat);
        } else if how.truncate
            && let Some(seat) = seat
        {
            self.nodes.lock().wrote(ino, node, seat);
        }
        Ok((opened?, seat, sight))
    }

    /// Seats somebody who is about to write, unless a seat was kept for him, and says what he writes
    /// in; without a seat he is to write past the node.
    pub(super) fn seat_writer(
        &self,
        coming: Coming,
        kept: Option<Kept>,
    ) -> Result<(Option<Seat>, SightId, Arc<Vfs>), Refusal> {
        if let Some(Kept { seat, sight, vfs, .. }) = kept {
            return Ok((Some(seat), sight, vfs));
        }
        let (sight, vfs, _) = self.seen();
        match self.nodes.seat(&coming, sight, Content::Line, None, None) {
            Ok(Seating::Seated(seat)) => Ok((Some(seat), sight, vfs)),
            Ok(Seating::Stray) => Ok((None, sight, vfs)),
            Ok(Seating::Moved) => {
                self.move_other_names(&vfs, coming.ino);
                Err(Refusal::Moved)
            }
            Err(NotSeated::Published | NotSeated::Switched) => Err(Refusal::Switched),
        }
    }

    /// Lets the other names of an inode whose writer was moved be looked up again: the open that
    /// was moved only takes its own name along.
    fn move_other_names(&self, vfs: &Vfs, ino: Ino) {
        match vfs.names(ino) {
            Ok(names) if names.len() > 1 => {
                self.notices.send(notify::Notice::Names(self.names_at(names)));
            }
            Ok(_) => {}
            Err(err) => convert::log("names", &err),
        }
    }

    /// Chooses how a handle with a seat reads and writes.
    fn enter(
        &self,
        file: &OpenFile,
        node: NodeId,
        open_backing: impl FnOnce(&std::fs::File) -> std::io::Result<BackingId>,
    ) -> Way {
        let backing = || match file.backing() {
            // Without leases nobody could tell when a mapping of a closed file goes.
            Ok(Some(backing)) if file.is_writer() && !lease::is_possible(&backing) => None,
            Ok(backing) => backing,
            Err(err) => {
                // Served by the daemon it will say so to whoever writes.
                convert::log("backing", &err);
                None
            }
        };
        let content = match file.is_writer() {
            true => Content::Line,
            false => Content::Version(file.content()),
        };
        self.ways.enter(node, content, backing, open_backing)
    }

    /// Returns the flags of an open, and notes what it does to the kernel's page cache.
    fn open_flags(&self, file: &OpenFile, node: NodeId, way: &Way, truncates: bool) -> FopenFlags {
        // Without write access there is nothing to publish: no request at close.
        let flush = if file.is_writer() { FopenFlags::empty() } else { FopenFlags::FOPEN_NOFLUSH };
        match way {
            Way::Cached if self.keeps_cache(file, node, truncates) => {
                flush | FopenFlags::FOPEN_KEEP_CACHE
            }
            Way::Cached => flush,
            Way::Passthrough(_) => {
                self.nodes.lock().bypassed(file.ino(), node);
                flush
            }
            Way::DirectOver(_) | Way::Direct => flush | FopenFlags::FOPEN_DIRECT_IO,
        }
    }

    fn keeps_cache(&self, file: &OpenFile, node: NodeId, truncates: bool) -> bool {
        let ino = file.ino();
        if truncates {
            return self.nodes.lock().keeps_cache(ino, node, None);
        }
        if !file.is_writer() {
            return self.nodes.lock().keeps_cache(ino, node, Some(file.content()));
        }
        if !self.nodes.lock().has_cache(ino, node) {
            return false;
        }
        // What its line began with, if the line is new; else the table knows better.
        let base = file.vfs.published(ino).ok();
        self.nodes.lock().keeps_cache(ino, node, base)
    }

    fn keep(&self, (file, seat, sight): Opened, coming: Coming, way: Way) -> FileHandle {
        let Coming { thread: opener, ino, node, .. } = coming;
        let used = AtomicBool::new(false);
        self.files.insert(FileInUse { file, ino, node, sight, opener, seat, way, used })
    }

    /// Notes that a handle read or wrote through the daemon.
    pub(super) fn used(&self, handle: &FileInUse) {
        if matches!(handle.way, Way::Cached) && !handle.used.swap(true, Ordering::Relaxed) {
            self.nodes.lock().cached(handle.ino, handle.node);
        }
    }

    /// Notes that a handle wrote through the daemon.
    pub(super) fn wrote(&self, handle: &FileInUse, offset: u64, len: u64) {
        self.used(handle);
        let Some(seat) = handle.seat else {
            return self.wrote_past(handle, offset, len);
        };
        self.nodes.lock().wrote(handle.ino, handle.node, seat);
    }

    /// Tells the line's node of bytes that were written past it.
    fn wrote_past(&self, handle: &FileInUse, offset: u64, len: u64) {
        let line = {
            let mut nodes = self.nodes.lock();
            let line = nodes.line(handle.ino, handle.sight);
            if let Some(node) = line {
                nodes.bypassed(handle.ino, node);
            }
            line
        };
        if let Some(node) = line {
            self.notices.send(notify::Notice::Bytes { node, offset, len });
        }
    }

    /// Publishes what a handle wrote; close(2) waits for the answer.
    pub(super) fn flush(&self, handle: &FileInUse, closer: Thread, reply: ReplyEmpty) {
        let (ino, node) = (handle.ino, handle.node);
        let writes = self.nodes.lock().writes(ino, node);
        match handle.file.flush() {
            Ok(published) => {
                if let Some(seat) = handle.seat {
                    let flush = flushed_by(handle.opener, closer);
                    self.nodes.lock().flushed(ino, node, seat, flush);
                }
                let line = handle.seat.map(|_| (node, writes));
                match published {
                    Published::Nothing => reply.ok(),
                    Published::NewVersion(key) => {
                        match self.notice((handle.sight, &handle.file.vfs), ino, key, line) {
                            Some(notice) => {
                                self.notices.send_then(notice, Box::new(move || reply.ok()));
                            }
                            None => reply.ok(),
                        }
                    }
                }
            }
            Err(err) => reply.error(convert::errno("flush", &err)),
        }
    }

    /// Returns what the kernel must hear of a version that was published in a sight, so that nobody
    /// finds an older one by name.
    pub(super) fn notice(
        &self,
        (sight, vfs): (SightId, &Vfs),
        ino: Ino,
        key: ContentKey,
        line: Option<(NodeId, u64)>,
    ) -> Option<notify::Notice> {
        let notice = self.nodes.lock().published(ino, sight, key, line);
        match notice {
            Notice::Nothing => None,
            Notice::Node(node) => Some(notify::Notice::Node(node)),
            Notice::Names => match vfs.names(ino) {
                Ok(names) => Some(notify::Notice::Names(self.names_at(names))),
                Err(err) => {
                    convert::log("names", &err);
                    None
                }
            },
        }
    }

    /// Ends a handle.
    ///
    /// Its way has gone first, so that no handle of the next line is bound to this line's file. A
    /// writer then ends its line, late stores being published, before anybody may take its seat.
    pub(super) fn release(&self, handle: &FileInUse) {
        let (ino, node) = (handle.ino, handle.node);
        let is_writer = handle.file.is_writer();
        if is_writer {
            self.release_file(&handle.file);
            self.late_stores(handle);
        }
        self.leave(ino, node, handle.seat);
        if !is_writer {
            self.release_file(&handle.file);
        }
    }

    /// Moves names away from older readers if a writer's release published something.
    fn late_stores(&self, handle: &FileInUse) {
        let (ino, node) = (handle.ino, handle.node);
        if self.nodes.lock().others(ino, node).is_empty() {
            return;
        }
        let vfs = &handle.file.vfs;
        let Ok(key) = vfs.published(ino) else { return };
        let notice = {
            let line = handle.seat.map(|_| (node, self.nodes.lock().writes(ino, node)));
            self.notice((handle.sight, vfs), ino, key, line)
        };
        if let Some(notice) = notice {
            self.notices.send(notice);
        }
    }

    pub(super) fn release_file(&self, file: &OpenFile) {
        if let Err(err) = file.release() {
            error!(ino = %file.ino(), error = %Chain(&err), "late writes of a file are lost");
        }
    }

    /// Releases the files of moved opens that never came back.
    pub(super) fn release_abandoned(&self) {
        let abandoned = self.nodes.lock().abandoned();
        for file in abandoned {
            self.release_file(&file);
        }
    }
}

/// Says whether a handle can be mapped for writing. At a node with a backing file the kernel maps
/// that file, whatever the handle itself writes to.
fn may_store(how: Option<OpenWrite>) -> bool {
    how.is_some_and(|how| how.read)
}

/// Says whether a descriptor was closed by the process that opened it. A closed file has this in
/// common with its opener, unlike one that was inherited.
fn flushed_by(opener: Thread, closer: Thread) -> Flush {
    let is_thread_of_opener =
        || Path::new(&format!("/proc/{}/task/{}", opener.0, closer.0)).exists();
    if opener == closer || is_thread_of_opener() { Flush::ByOpener } else { Flush::ByAnother }
}
