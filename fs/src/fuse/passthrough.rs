//! How the handles of a node do their input and output.
//!
//! The kernel allows one way per node at a time: either all its handles go through the page cache,
//! or all of them are bound to one backing file, which the kernel reads and writes by itself.
//! Mixing them fails an open with EIO. A handle past the page cache (direct) goes with both, but on
//! a node with a backing file it must be bound to that file as well.
//!
//! A bound node stands for the content it is bound to: whoever has a seat there means the bytes of
//! its backing file. The node table sees to that, see [`nodes`](super::nodes). A handle has its seat
//! before it enters here, and leaves here before it gives the seat up; only those without a seat,
//! which have bytes of their own, may be what keeps a node bound.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use fuser::BackingId;
use tracing::warn;

use super::nodes::{Content, NodeId};
use crate::ContentKey;

/// How one handle does its input and output.
#[derive(Debug)]
pub(super) enum Way<B = BackingId> {
    /// By the daemon, through the kernel's page cache.
    Cached,
    /// By the kernel, in the backing file.
    Passthrough(Arc<B>),
    /// By the daemon, past the page cache, at a node with a backing file.
    DirectOver(Arc<B>),
    /// By the daemon, past the page cache.
    Direct,
}

impl<B> Clone for Way<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Cached => Self::Cached,
            Self::Passthrough(id) => Self::Passthrough(Arc::clone(id)),
            Self::DirectOver(id) => Self::DirectOver(Arc::clone(id)),
            Self::Direct => Self::Direct,
        }
    }
}

/// The ways of the nodes in use.
#[derive(Debug)]
pub(super) struct Ways<B = BackingId> {
    /// False once the kernel refused: every open is cached from then on.
    is_allowed: AtomicBool,
    /// Protects which node goes which way. Innermost: only the kernel is called under it, for what
    /// it answers at once.
    nodes: Mutex<HashMap<NodeId, InUse<B>>>,
}

#[derive(Debug)]
struct InUse<B> {
    /// `None`: through the page cache.
    bound: Option<Bound<B>>,
    handles: usize,
    /// Those among them that may have left a mapping behind for writing.
    writers: usize,
}

#[derive(Debug)]
struct Bound<B> {
    id: Arc<B>,
    file: Arc<File>,
    /// What the file has the bytes of.
    content: Content<ContentKey>,
}

impl<B> Bound<B> {
    /// Says whether a handle on `content`, whose bytes are in `file`, may use the backing file.
    ///
    /// Of a version there may be several files with the same bytes; but a line has one file, and the
    /// next line of the inode another.
    fn suits(&self, content: Content<ContentKey>, file: &File) -> bool {
        self.content == content && (content != Content::Line || is_same(&self.file, file))
    }
}

/// Says whether both are open on one file.
fn is_same(one: &File, other: &File) -> bool {
    let identity = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

impl<B> Ways<B> {
    pub(super) fn new(is_allowed: bool) -> Self {
        Self { is_allowed: AtomicBool::new(is_allowed), nodes: Mutex::default() }
    }

    /// Says whether the kernel may be given backing files.
    pub(super) fn is_allowed(&self) -> bool {
        self.is_allowed.load(Ordering::Relaxed)
    }

    /// Stops giving backing files to the kernel.
    pub(super) fn disallow(&self) {
        self.is_allowed.store(false, Ordering::Relaxed);
    }

    /// Chooses the way of one more handle on `content` at `node`. `file` says which file it could be
    /// bound to; it is asked only if the handle will be bound should there be one.
    pub(super) fn enter(
        &self,
        node: NodeId,
        content: Content<ContentKey>,
        file: impl FnOnce() -> Option<Arc<File>>,
        open_backing: impl FnOnce(&File) -> io::Result<B>,
    ) -> Way<B> {
        let writes = content == Content::Line;
        // Not under the lock: it may have to wait until somebody has copied the file.
        let file = if self.may_be_bound(node) { file() } else { None };
        let mut nodes = self.lock();
        if let Some(found) = nodes.get_mut(&node) {
            found.handles += 1;
            found.writers += usize::from(writes);
            return match (&found.bound, file) {
                (None, _) => Way::Cached,
                (Some(bound), Some(file)) if bound.suits(content, &file) => {
                    Way::Passthrough(Arc::clone(&bound.id))
                }
                (Some(bound), _) => Way::DirectOver(Arc::clone(&bound.id)),
            };
        }
        let file = file.filter(|_| self.is_allowed());
        let bound = file.and_then(|file| match open_backing(&file) {
            Ok(id) => Some(Bound { id: Arc::new(id), file, content }),
            Err(err) => {
                warn!(error = %err, "the kernel takes no backing file, all files are cached");
                self.disallow();
                None
            }
        });
        let way = bound.as_ref().map_or(Way::Cached, |to| Way::Passthrough(Arc::clone(&to.id)));
        nodes.insert(node, InUse { bound, handles: 1, writers: usize::from(writes) });
        way
    }

    /// Says whether one more handle at `node` would be bound, as it is now.
    fn may_be_bound(&self, node: NodeId) -> bool {
        match self.lock().get(&node) {
            Some(found) => found.bound.is_some(),
            None => self.is_allowed(),
        }
    }

    /// Chooses the way of a handle that must not use what `node` caches or is bound to.
    pub(super) fn enter_direct(&self, node: NodeId) -> Way<B> {
        match self.lock().get_mut(&node) {
            Some(InUse { bound: Some(bound), handles, .. }) => {
                *handles += 1;
                Way::DirectOver(Arc::clone(&bound.id))
            }
            _ => Way::Direct,
        }
    }

    /// Notes that a handle is gone, and says so; `writes` as it was at its entry. The last handle
    /// takes the backing file along.
    ///
    /// The last writer stays, and its line with it, as long as others keep the node bound to the
    /// line's file, or `is_mapped` says that the file is mapped. That is asked under the lock, so that
    /// of several who leave at once one is the last.
    pub(super) fn leave(
        &self,
        node: NodeId,
        way: &Way<B>,
        writes: bool,
        is_mapped: impl FnOnce(&File) -> bool,
    ) -> bool {
        if matches!(way, Way::Direct) {
            return true;
        }
        let mut nodes = self.lock();
        let Some(found) = nodes.get_mut(&node) else { return true };
        if let Some(bound) = &found.bound
            && writes
            && found.writers == 1
            && (found.handles > 1 || is_mapped(&bound.file))
        {
            return false;
        }
        found.handles -= 1;
        found.writers -= usize::from(writes);
        if found.handles == 0 {
            nodes.remove(&node);
        }
        true
    }

    /// Says whether the handles of `node` are bound to a backing file.
    pub(super) fn is_bound(&self, node: NodeId) -> bool {
        self.lock().get(&node).is_some_and(|found| found.bound.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, InUse<B>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::mpsc::channel, thread, time::Duration};

    use super::*;

    const NODE: NodeId = NodeId(5);
    const VERSION: Content<ContentKey> = Content::Version(ContentKey { version: None });

    /// Returns a file that is no other's.
    fn file() -> Option<Arc<File>> {
        Some(Arc::new(tempfile::tempfile().unwrap()))
    }

    fn enter(ways: &Ways<u32>, file: Option<Arc<File>>, id: u32) -> Way<u32> {
        ways.enter(NODE, Content::Line, || file, |_| Ok(id))
    }

    /// Leaves nothing mapped.
    fn leave(ways: &Ways<u32>, way: &Way<u32>, writes: bool) {
        assert!(ways.leave(NODE, way, writes, |_| false));
    }

    #[test]
    fn all_handles_of_a_node_are_bound_to_one_backing_file() {
        let ways = Ways::new(true);
        let opened = file().unwrap();
        let again = Arc::new(opened.try_clone().unwrap());
        assert!(matches!(enter(&ways, Some(opened), 1), Way::Passthrough(id) if *id == 1));
        assert!(matches!(enter(&ways, Some(again), 2), Way::Passthrough(id) if *id == 1));
    }

    #[test]
    fn a_handle_is_not_bound_to_a_file_of_another_content() {
        let ways = Ways::new(true);
        let first = ways.enter(NODE, VERSION, file, |_| Ok(1));
        ways.enter_direct(NODE);
        leave(&ways, &first, false);
        assert!(matches!(enter(&ways, file(), 2), Way::DirectOver(id) if *id == 1));
    }

    #[test]
    fn the_next_line_is_not_bound_to_the_file_of_the_last_one() {
        let ways = Ways::new(true);
        enter(&ways, file(), 1);
        assert!(matches!(enter(&ways, file(), 2), Way::DirectOver(id) if *id == 1));
    }

    #[test]
    fn readers_of_a_version_are_bound_to_one_file_whichever_they_have_its_bytes_in() {
        let ways = Ways::new(true);
        let read = |id| ways.enter(NODE, VERSION, file, |_| Ok(id));
        assert!(matches!(read(1), Way::Passthrough(id) if *id == 1));
        assert!(matches!(read(2), Way::Passthrough(id) if *id == 1));
        assert!(matches!(enter(&ways, file(), 3), Way::DirectOver(id) if *id == 1));
    }

    #[test]
    fn a_handle_without_a_file_is_direct_where_others_are_bound() {
        let ways = Ways::new(true);
        enter(&ways, file(), 1);
        assert!(matches!(enter(&ways, None, 2), Way::DirectOver(id) if *id == 1));
        assert!(matches!(ways.enter_direct(NODE), Way::DirectOver(id) if *id == 1));
    }

    #[test]
    fn a_node_that_is_cached_stays_so_until_its_last_handle_is_gone() {
        let ways = Ways::new(true);
        let first = enter(&ways, None, 1);
        assert!(matches!(enter(&ways, file(), 2), Way::Cached));
        assert!(matches!(ways.enter_direct(NODE), Way::Direct));
        leave(&ways, &first, true);
        assert!(!ways.is_bound(NODE));
        leave(&ways, &first, true);
        assert!(matches!(enter(&ways, file(), 3), Way::Passthrough(id) if *id == 3));
        assert!(ways.is_bound(NODE));
    }

    #[test]
    fn the_backing_file_stays_until_the_last_handle_is_gone() {
        let ways = Ways::new(true);
        let first = ways.enter(NODE, VERSION, file, |_| Ok(1));
        let direct = ways.enter_direct(NODE);
        leave(&ways, &first, false);
        assert!(ways.is_bound(NODE));
        leave(&ways, &direct, false);
        assert!(!ways.is_bound(NODE));
    }

    #[test]
    fn the_last_writer_stays_while_its_file_is_bound_or_mapped() {
        let ways = Ways::new(true);
        let writers = [enter(&ways, file(), 1), enter(&ways, file(), 1)];
        let direct = ways.enter_direct(NODE);
        let asked = Cell::new(0);
        let leave = |way, writes| {
            ways.leave(NODE, way, writes, |_| {
                asked.set(asked.get() + 1);
                true
            })
        };
        assert!(leave(&writers[0], true));
        assert_eq!(asked.get(), 0, "another writer is there, and is asked in its turn");
        assert!(!leave(&writers[1], true), "it keeps the line whose file the node is bound to");
        assert!(leave(&direct, false));
        assert_eq!(asked.get(), 0);
        assert!(!leave(&writers[1], true));
        assert_eq!(asked.get(), 1);
        assert!(ways.is_bound(NODE));
        assert!(ways.leave(NODE, &writers[1], true, |_| false), "the mapping is gone");
        assert!(!ways.is_bound(NODE));
    }

    #[test]
    fn nobody_waits_for_one_who_waits_for_his_file() {
        const OTHER: NodeId = NodeId(6);
        let ways = Ways::<u32>::new(true);
        let other = ways.enter(OTHER, Content::Line, file, |_| Ok(1));
        let (left, has_left) = channel();
        thread::scope(|scope| {
            let leave = || left.send(ways.leave(OTHER, &other, true, |_| false));
            let way = ways.enter(
                NODE,
                Content::Line,
                || {
                    scope.spawn(leave);
                    assert_eq!(has_left.recv_timeout(Duration::from_secs(5)), Ok(true));
                    file()
                },
                |_| Ok(2),
            );
            assert!(matches!(way, Way::Passthrough(id) if *id == 2));
        });
    }

    #[test]
    fn one_refusal_by_the_kernel_ends_passthrough() {
        let ways = Ways::<u32>::new(true);
        let way = ways
            .enter(NODE, Content::Line, file, |_| Err(io::Error::from_raw_os_error(libc::EPERM)));
        assert!(matches!(way, Way::Cached));
        assert!(!ways.is_allowed());
        assert!(matches!(ways.enter(NodeId(6), Content::Line, file, |_| Ok(1)), Way::Cached));
    }
}
