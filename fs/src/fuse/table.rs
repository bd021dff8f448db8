//! The nodes of a mount, behind their lock, and the opens that wait for one.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tesfs_pathtree::Ino;

use super::{
    nodes::{Ask, Content, NodeId, Nodes, Seat, Seating, Sharing, SightId, Thread},
    shared::Shared,
};
use crate::{ContentKey, OpenFile};

/// What a node table of this mount holds.
pub(super) type FileNodes = Nodes<ContentKey, Arc<OpenFile>>;

/// The node table, shared by the threads of a mount.
pub(super) struct NodeTable {
    /// Protects all of it. No request is made under it, and nothing else is locked but the ways, by
    /// an assertion.
    table: Mutex<Table>,
}

/// What the lock protects.
pub(super) struct Table {
    nodes: FileNodes,
    waiting: Vec<Waiting>,
    next_number: u64,
    /// Those who wait until a switch has ended, while one goes on.
    held: Option<Vec<Resume>>,
}

/// Somebody who wants a seat at a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coming {
    pub(super) thread: Thread,
    pub(super) ino: Ino,
    pub(super) node: NodeId,
    pub(super) writes: bool,
    pub(super) strayed: bool,
    pub(super) since: Instant,
}

/// Why somebody has to look again before he is seated.
pub(super) enum NotSeated {
    /// The version that he pinned may not be the current one any more.
    Published,
    /// Another sight is shown, or is about to be.
    Switched,
}

impl Coming {
    fn ask(&self, sight: SightId) -> Ask {
        let Self { thread, ino, node, strayed, .. } = *self;
        Ask { thread, ino, node, sight, strayed, now: Instant::now() }
    }
}

/// Goes on with a request that waited.
pub(super) type Resume = Box<dyn FnOnce(&Shared) + Send>;

/// Somebody who waits until those in his way leave a node. No thread waits with him.
struct Waiting {
    number: u64,
    coming: Coming,
    resume: Resume,
}

impl Deref for Table {
    type Target = FileNodes;

    fn deref(&self) -> &FileNodes {
        &self.nodes
    }
}

impl DerefMut for Table {
    fn deref_mut(&mut self) -> &mut FileNodes {
        &mut self.nodes
    }
}

impl Table {
    /// Shows another sight; see [`Nodes::switch`]. Whoever comes to open something waits from now on.
    pub(super) fn begin_switch(&mut self, to: SightId) -> Vec<Ino> {
        self.held.get_or_insert_default();
        self.nodes.switch(to)
    }

    /// Returns those who waited for the end of a switch.
    pub(super) fn end_switch(&mut self) -> Vec<Resume> {
        self.held.take().unwrap_or_default()
    }
}

impl NodeTable {
    pub(super) fn new(root: Ino, sharing: Sharing) -> Self {
        let nodes = Nodes::new(root, sharing);
        Self { table: Mutex::new(Table { nodes, waiting: Vec::new(), next_number: 0, held: None }) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats somebody who opens in `sight`; see [`Nodes::seat`].
    ///
    /// [`NotSeated::Published`] where something was since the table counted `publishes`.
    pub(super) fn seat(
        &self,
        coming: &Coming,
        sight: SightId,
        content: Content<ContentKey>,
        file: Option<&Arc<OpenFile>>,
        publishes: Option<u64>,
    ) -> Result<Seating, NotSeated> {
        let mut table = self.lock();
        if table.held.is_some() || sight != table.sight() {
            return Err(NotSeated::Switched);
        }
        if publishes.is_some_and(|seen| seen != table.publishes()) {
            return Err(NotSeated::Published);
        }
        Ok(table.seat(&coming.ask(sight), content, file.cloned()))
    }

    /// Seats whoever made a file: nobody else knows its node yet, so that it fits, whatever is shown
    /// by now.
    pub(super) fn seat_maker(
        &self,
        coming: &Coming,
        sight: SightId,
        content: Content<ContentKey>,
        file: &Arc<OpenFile>,
    ) -> Option<Seat> {
        let file = (!file.is_writer()).then(|| Arc::clone(file));
        match self.lock().seat(&coming.ask(sight), content, file) {
            Seating::Seated(seat) => Some(seat),
            Seating::Moved | Seating::Stray => None,
        }
    }
}

impl Shared {
    /// Goes on with `resume` when no switch is under way, at once if none is. Before its end the kernel
    /// may believe that a node has the size of what was shown before, and would read no more of it.
    pub(super) fn when_shown(&self, resume: Resume) {
        if let Some(held) = &mut self.nodes.lock().held {
            return held.push(resume);
        }
        resume(self);
    }

    /// Goes on with `resume` when nobody is about to leave the node, at once if nobody is.
    pub(super) fn when_settled(&self, coming: Coming, resume: Resume) {
        let (until, number) = {
            let mut table = self.nodes.lock();
            let now = Instant::now();
            let patience = table.patience(coming.ino, coming.node, coming.writes, now);
            let until = coming.since + patience;
            if until <= now {
                if !patience.is_zero() {
                    table.outstayed(coming.ino, coming.node);
                }
                drop(table);
                return resume(self);
            }
            let number = table.next_number;
            table.next_number += 1;
            table.waiting.push(Waiting { number, coming, resume });
            (until, number)
        };
        self.later.at(
            until,
            Box::new(move |shared| {
                let resuming = Arc::clone(shared);
                shared.aside.run(move || resuming.resume_late(number));
            }),
        );
    }

    /// Gives up a seat, or the place of a stray, and goes on with whoever waited for that.
    pub(super) fn leave(&self, ino: Ino, node: NodeId, seat: Option<Seat>) {
        let resumed: Vec<Waiting> = {
            let mut table = self.nodes.lock();
            table.leave(ino, node, seat);
            debug_assert!(
                !(table.is_free(ino, node) && self.ways.is_bound(node)),
                "a free node is not bound: its next handles may be of another content",
            );
            table.waiting.extract_if(.., |waiting| waiting.coming.ino == ino).collect()
        };
        for Waiting { coming, resume, .. } in resumed {
            self.when_settled(coming, resume);
        }
    }

    /// Goes on with somebody whose patience is over, if he still waits.
    fn resume_late(&self, number: u64) {
        let resumed = {
            let mut table = self.nodes.lock();
            let index = table.waiting.iter().position(|waiting| waiting.number == number);
            index.map(|index| table.waiting.swap_remove(index))
        };
        if let Some(Waiting { coming, resume, .. }) = resumed {
            self.when_settled(coming, resume);
        }
    }
}
