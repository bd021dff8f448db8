//! The nodes of a mount, behind their lock.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tesfs_pathtree::Ino;

use super::nodes::{Ask, Content, NodeId, Nodes, Seat, Seating, Sharing, Thread};
use crate::{ContentKey, OpenFile};

/// What a node table of this mount holds.
pub(super) type FileNodes = Nodes<ContentKey, Arc<OpenFile>>;

/// The node table, shared by the threads of a mount.
pub(super) struct NodeTable {
    /// Protects the whole table. Nothing else is locked and no request is made under it.
    nodes: Mutex<FileNodes>,
    left: Condvar,
    waiting: AtomicUsize,
    /// Threads that may wait at once; the others must be there for what is waited for.
    waiting_max: usize,
}

/// An open that wants a seat, before anybody asked for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coming {
    pub(super) thread: Thread,
    pub(super) ino: Ino,
    pub(super) node: NodeId,
    pub(super) strayed: bool,
    pub(super) since: Instant,
}

impl NodeTable {
    /// Returns the table of a mount that `threads` threads serve.
    pub(super) fn new(root: Ino, sharing: Sharing, threads: usize) -> Self {
        Self {
            nodes: Mutex::new(Nodes::new(root, sharing)),
            left: Condvar::new(),
            waiting: AtomicUsize::new(0),
            waiting_max: threads.saturating_sub(1),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, FileNodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats an open, waiting a little for handles that are about to go.
    ///
    /// `None` says that something was published since the table counted `publishes`: whoever
    /// pinned a version before must look whether it is still the current one.
    pub(super) fn seat(
        &self,
        coming: &Coming,
        content: Content<ContentKey>,
        file: Option<&Arc<OpenFile>>,
        publishes: Option<u64>,
    ) -> Option<Seating> {
        let mut nodes = self.lock();
        loop {
            if publishes.is_some_and(|seen| seen != nodes.publishes()) {
                return None;
            }
            let Coming { thread, ino, node, strayed, since } = *coming;
            let now = Instant::now();
            let waited = now.saturating_duration_since(since);
            let may_wait = self.waiting.load(Ordering::Relaxed) < self.waiting_max;
            let waited = may_wait.then_some(waited);
            let ask = Ask { thread, ino, node, strayed, waited, now };
            match nodes.seat(&ask, content, file.cloned()) {
                Seating::Wait => {
                    self.waiting.fetch_add(1, Ordering::Relaxed);
                    let rest = nodes.patience(&ask).saturating_sub(waited.unwrap_or_default());
                    let woken = self.left.wait_timeout(nodes, rest);
                    nodes = woken.unwrap_or_else(PoisonError::into_inner).0;
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                seating => return Some(seating),
            }
        }
    }

    /// Gives up a seat and wakes whoever waits for that.
    pub(super) fn leave(&self, ino: Ino, node: NodeId, seat: Seat) {
        self.lock().leave(ino, node, seat);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.left.notify_all();
        }
    }
}
