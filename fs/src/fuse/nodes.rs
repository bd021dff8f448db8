//! Which node id stands for what.
//!
//! The kernel keeps one page cache, one size and one set of locks per node id, so a node id stands
//! for one content of an inode at a time: either one published version, read by handles pinned to
//! it, or the inode's line, shared by all handles with write access. An open that does not fit the
//! node it came to is *moved*: it is answered ESTALE, the kernel looks the name up again on the
//! same thread, and that lookup leads this thread to a node that fits.
//!
//! A node comes to stand for another content only while it is *free*: while no handle is at it,
//! neither one with a seat nor a stray, which is there without one. Each of them may keep it bound
//! to a backing file (see [`passthrough`](super::passthrough)), so that a bound node is never free
//! and stands for the content it is bound to, or for nothing any more.
//!
//! A mount shows one *sight* at a time: a branch, or what was. Handles stay in the sight they were
//! opened in, and the nodes they are at with them, so that after a switch the names of whatever is
//! open lead to other nodes.
//!
//! Nearly always an inode has one node, whose number is the inode's, and nothing is kept here.
//!
//! A pure data structure: no lock, no clock, no kernel. Its owner keeps it behind a mutex.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tesfs_pathtree::Ino;

use self::family::{Cache, Family, Node, Stage, Taken};
pub(crate) use self::sights::SightId;

mod family;
mod sights;
#[cfg(test)]
mod tests;

/// Fresh node ids start here, above any inode number.
const FRESH_FROM: u64 = (1 << 62) + 1;

/// Stands in for an inode numbered 1 that is not the root, because node 1 is the root.
const OTHER_ONE: NodeId = NodeId(1 << 62);

/// A moved open comes back within microseconds. One that stays away this long never will (its name
/// was removed meanwhile, or its process died), and its seat is given up.
const MOVE_MAX: Duration = Duration::from_secs(2);

/// How long an open waits for a line that everybody seems to have closed. The kernel does not wait
/// for the release of a closed file, so that it may be opened again before that is known here; and
/// a writer who joined such a line would write over what it published. Long enough for a machine
/// that is busy with other things; whoever is still there after that keeps the file open, by
/// another descriptor or a mapping, and is not waited for again.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_millis(250);

/// How long it waits if somebody was flushed by a process that did not open him: most likely a
/// child that ended, and its parent goes on.
const FLUSH_PATIENCE: Duration = Duration::from_millis(2);

/// How long a writer waits for readers, who go without being flushed: about what the release of a
/// closed file needs to arrive. All others are only opened beside them.
const READER_PATIENCE: Duration = Duration::from_micros(300);

/// Inodes remembered only for what the kernel's page cache holds of them (~300 bytes each). When
/// there are more, all these memories go at once, and a file's next open reads it afresh.
const REMEMBERED_MAX: usize = 16 * 1024;

/// The kernel's handle for one content of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) u64);

impl NodeId {
    /// The mount's root, whatever its inode's number.
    pub(crate) const ROOT: Self = Self(1);
}

/// The thread a request came from; 0 is one that we cannot tell from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Thread(pub(crate) u32);

/// One handle's place at a node, from its admission to its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seat(u64);

/// What a handle reads and writes, and so what its node must stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content<K> {
    /// One published version, read only.
    Version(K),
    /// The inode's line: the version its writers started from and what they wrote since.
    Line,
}

/// Whether read-only handles are kept apart from writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// A read-only handle sees the version it opened.
    Pinned,
    /// Everybody sees the line: one node per inode, and no open is ever moved.
    Live,
}

/// An open that wants a seat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) thread: Thread,
    pub(crate) ino: Ino,
    pub(crate) node: NodeId,
    /// What it opens the inode in.
    pub(crate) sight: SightId,
    /// It was moved once and did not follow, as an open of `/proc/self/fd/N` does not; moving it
    /// again would fail it.
    pub(crate) strayed: bool,
    pub(crate) now: Instant,
}

/// How an open was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seating {
    /// It sits at the node it came to.
    Seated(Seat),
    /// A seat is kept for it at another node: answer ESTALE.
    Moved,
    /// It fits nowhere: serve it past the node's page cache. It is counted at the node.
    Stray,
}

/// Who closed a descriptor of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// The process that opened it.
    ByOpener,
    /// Another one, which inherited or received it.
    ByAnother,
}

/// Whether an open is one that was moved here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival<F> {
    /// Yes: its seat, and the file it was pinned to when it was moved.
    Seated(Seat, Option<F>),
    /// It was moved elsewhere and came here.
    Strayed,
    /// It was not moved.
    New,
}

/// Where a name leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lead<F> {
    pub(crate) node: NodeId,
    /// The kernel may keep the name; else it must ask every time.
    pub(crate) is_lasting: bool,
    /// A file of the version whose size and times the node shows, if it stands for one.
    pub(crate) pinned: Option<F>,
}

/// What the kernel must be told before a publish is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Nothing: no name leads to an older content.
    Nothing,
    /// All names of the inode must be looked up again.
    Names,
    /// What the kernel caches of this node is out of date.
    Node(NodeId),
}

/// An open on its way to another node.
#[derive(Debug)]
struct Move {
    ino: Ino,
    to: NodeId,
    seat: Seat,
    writes: bool,
    since: Instant,
}

/// The nodes of a mount. `K` identifies a published version, `F` is a file pinned to one.
#[derive(Debug)]
pub(crate) struct Nodes<K, F> {
    root: Ino,
    sharing: Sharing,
    /// What is shown: where names lead is of this one.
    sight: SightId,
    families: HashMap<Ino, Family<K, F>>,
    fresh: HashMap<NodeId, Ino>,
    moves: HashMap<Thread, Move>,
    next_fresh: u64,
    next_seat: u64,
    publishes: u64,
    /// How many families there may be before those at rest are dropped.
    families_max: usize,
    abandoned: Vec<F>,
}

impl<K: Copy + Eq, F: Clone> Nodes<K, F> {
    /// Returns the nodes of a mount that nobody has used yet.
    pub(crate) fn new(root: Ino, sharing: Sharing) -> Self {
        Self {
            root,
            sharing,
            sight: SightId::FIRST,
            families: HashMap::new(),
            fresh: HashMap::new(),
            moves: HashMap::new(),
            next_fresh: FRESH_FROM,
            next_seat: 0,
            publishes: 0,
            families_max: REMEMBERED_MAX,
            abandoned: Vec::new(),
        }
    }

    /// Returns an inode's own node: the one with its number.
    pub(crate) fn own(&self, ino: Ino) -> NodeId {
        match ino {
            _ if ino == self.root => NodeId::ROOT,
            Ino(1) => OTHER_ONE,
            Ino(number) => NodeId(number),
        }
    }

    /// Returns the inode behind a node, unless it is a fresh one that was forgotten.
    pub(crate) fn ino(&self, node: NodeId) -> Option<Ino> {
        match node {
            NodeId::ROOT => Some(self.root),
            OTHER_ONE => Some(Ino(1)),
            _ if node.is_fresh() => self.fresh.get(&node).copied(),
            NodeId(number) => Some(Ino(number)),
        }
    }

    /// Answers a lookup: where `thread` gets to by a name of `ino`. The kernel now knows the node.
    pub(crate) fn look_up(&mut self, thread: Thread, ino: Ino, now: Instant) -> Lead<F> {
        let moved = self.moves.get(&thread).filter(|to| to.ino == ino && !to.is_over(now));
        let moved_to = moved.map(|to| to.to);
        let Some(family) = self.families.get_mut(&ino) else { return self.trivial_lead(ino) };
        let line = family.line(self.sight);
        let id = moved_to.or(line).unwrap_or(family.home);
        let is_lasting = id == family.home && line.is_none_or(|line| line == id);
        let Some(node) = family.node_mut(id) else { return self.trivial_lead(ino) };
        node.lookups += u64::from(id.is_fresh());
        Lead { node: id, is_lasting, pinned: node.pinned() }
    }

    /// Answers for one name of a directory listing, where only own nodes can be given: one that
    /// leads elsewhere is not lasting, so that the kernel looks it up before it uses it.
    pub(crate) fn listed(&self, ino: Ino) -> Lead<F> {
        let Some(family) = self.families.get(&ino) else { return self.trivial_lead(ino) };
        let own = family.own();
        let line = family.line(self.sight);
        let is_lasting = family.home == own.id && line.is_none_or(|line| line == own.id);
        Lead { node: own.id, is_lasting, pinned: own.pinned() }
    }

    /// Returns a file of the version a node stands for, if it stands for one.
    pub(crate) fn pinned(&self, ino: Ino, node: NodeId) -> Option<F> {
        self.families.get(&ino)?.node(node)?.pinned()
    }

    /// Says whether a node stands for a line of its inode.
    pub(crate) fn is_line(&self, ino: Ino, node: NodeId) -> bool {
        let found = self.families.get(&ino).and_then(|all| all.node(node));
        found.is_some_and(|found| found.stands_for(found.sight, Content::Line))
    }

    /// Returns the node of the line of an inode in a sight, if it has writers.
    pub(crate) fn line(&self, ino: Ino, sight: SightId) -> Option<NodeId> {
        self.families.get(&ino)?.line(sight)
    }

    /// Says whether no handle is at a node.
    pub(crate) fn is_free(&self, ino: Ino, node: NodeId) -> bool {
        self.families.get(&ino).and_then(|all| all.node(node)).is_none_or(Node::is_free)
    }

    /// Says whether any inode has more than one node.
    pub(crate) fn are_divided(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Returns the nodes of `ino` besides `node`, if names or handles may lead to more than one.
    pub(crate) fn others(&self, ino: Ino, node: NodeId) -> Vec<NodeId> {
        let Some(family) = self.families.get(&ino) else { return Vec::new() };
        family.ids().filter(|id| *id != node).collect()
    }

    /// Returns all nodes of `ino`.
    pub(crate) fn all(&self, ino: Ino) -> Vec<NodeId> {
        match self.families.get(&ino) {
            Some(family) => family.ids().collect(),
            None => vec![self.own(ino)],
        }
    }

    /// Counts publishes, so that an open can tell whether one came between.
    pub(crate) fn publishes(&self) -> u64 {
        self.publishes
    }

    /// Begins an open: gives it the seat that was kept for it, if it was moved to this node.
    pub(crate) fn arrive(
        &mut self,
        thread: Thread,
        ino: Ino,
        node: NodeId,
        writes: bool,
    ) -> Arrival<F> {
        let Some(moved) = self.moves.remove(&thread) else { return Arrival::New };
        if (moved.ino, moved.to, moved.writes) == (ino, node, writes)
            && let Some(found) = self.families.get_mut(&ino).and_then(|all| all.node_mut(node))
            && let Some(taken) = found.taken_mut(moved.seat)
        {
            taken.here = true;
            return Arrival::Seated(moved.seat, taken.file.clone());
        }
        self.abandon(&moved);
        if moved.ino == ino { Arrival::Strayed } else { Arrival::New }
    }

    /// Seats an open at the node it came to, or keeps a seat for it where it fits.
    ///
    /// `file` is what a reader is pinned to; the seat keeps it.
    pub(crate) fn seat(&mut self, ask: &Ask, content: Content<K>, file: Option<F>) -> Seating {
        self.expire(ask.now);
        let content = if self.sharing == Sharing::Live { Content::Line } else { content };
        let seat = Seat(self.next_seat);
        let family = self.family(ask.ino);
        let here = family.fits(ask.node, ask.sight, content);
        let to = if here {
            ask.node
        } else if ask.strayed || ask.thread == Thread(0) {
            if let Some(node) = family.node_mut(ask.node) {
                if node.is_free() {
                    node.sight = ask.sight;
                }
                node.strays += 1;
            }
            return Seating::Stray;
        } else {
            self.node_for(ask.ino, ask.sight, content)
        };
        self.next_seat += 1;
        let taken = Taken { seat, file, here, stage: Stage::Open };
        self.family(ask.ino).take(to, ask.sight, content, taken);
        if here {
            return Seating::Seated(seat);
        }
        let writes = content == Content::Line;
        self.moves.insert(ask.thread, Move { ino: ask.ino, to, seat, writes, since: ask.now });
        Seating::Moved
    }

    /// Gives a seat up, or the place of a stray: its handle was released, or its open failed.
    pub(crate) fn leave(&mut self, ino: Ino, node: NodeId, seat: Option<Seat>) {
        let Some(family) = self.families.get_mut(&ino) else { return };
        match seat {
            // The handle that sat there still has the file.
            Some(seat) => drop(family.give_up(node, seat)),
            None => {
                if let Some(found) = family.node_mut(node) {
                    found.strays = found.strays.saturating_sub(1);
                }
            }
        }
        self.tidy(ino);
    }

    /// Takes the files of moved opens that never came back, so that they can be released.
    pub(crate) fn abandoned(&mut self) -> Vec<F> {
        std::mem::take(&mut self.abandoned)
    }

    /// Notes that a handle wrote through the daemon.
    pub(crate) fn wrote(&mut self, ino: Ino, node: NodeId, seat: Seat) {
        if let Some(found) = self.families.get_mut(&ino).and_then(|all| all.node_mut(node)) {
            found.writes += 1;
            if let Some(taken) = found.taken_mut(seat) {
                taken.stage = Stage::Open;
            }
        }
    }

    /// Returns how many writes a node's line has seen.
    pub(crate) fn writes(&self, ino: Ino, node: NodeId) -> u64 {
        self.families.get(&ino).and_then(|all| all.node(node)).map_or(0, |found| found.writes)
    }

    /// Notes that a handle was flushed.
    pub(crate) fn flushed(&mut self, ino: Ino, node: NodeId, seat: Seat, flush: Flush) {
        let found = self.families.get_mut(&ino).and_then(|all| all.node_mut(node));
        if let Some(taken) = found.and_then(|found| found.taken_mut(seat)) {
            taken.stage = Stage::Flushed(flush);
        }
    }

    /// Notes that the kernel closed a handle that keeps its seat for a while.
    pub(crate) fn closed(&mut self, ino: Ino, node: NodeId, seat: Seat, now: Instant) {
        let found = self.families.get_mut(&ino).and_then(|all| all.node_mut(node));
        if let Some(taken) = found.and_then(|found| found.taken_mut(seat)) {
            taken.stage = Stage::Closed(now);
        }
    }

    /// Returns how long somebody who comes to a node is to wait for those in his way to leave.
    pub(crate) fn patience(&self, ino: Ino, node: NodeId, writes: bool, now: Instant) -> Duration {
        let found = self.families.get(&ino).and_then(|all| all.node(node));
        // Readers are in each other's way only while names lead to an older version's node.
        let in_the_way = found.filter(|found| writes || found.content == Content::Line);
        match in_the_way {
            Some(found) if self.sharing == Sharing::Pinned => found.patience(now),
            _ => Duration::ZERO,
        }
    }

    /// Notes that somebody waited in vain: who sits at the node stays.
    pub(crate) fn outstayed(&mut self, ino: Ino, node: NodeId) {
        let found = self.families.get_mut(&ino).and_then(|all| all.node_mut(node));
        for taken in found.map(|found| &mut found.seats).into_iter().flatten() {
            if matches!(taken.stage, Stage::Flushed(_)) {
                taken.stage = Stage::Open;
            }
        }
    }

    /// Notes that `key` is published, `line` being the node it was written at after `writes`
    /// writes, and says what the kernel must hear.
    ///
    /// Names that lead to a node of older readers move away from it. Of what is published in a sight
    /// that is not shown no name is to hear.
    pub(crate) fn published(
        &mut self,
        ino: Ino,
        sight: SightId,
        key: K,
        line: Option<(NodeId, u64)>,
    ) -> Notice {
        self.publishes += 1;
        let is_shown = sight == self.sight;
        let Some(family) = self.families.get_mut(&ino) else {
            return match line {
                None if is_shown => Notice::Node(self.own(ino)),
                _ => Notice::Nothing,
            };
        };
        if let Some((id, writes)) = line
            && let Some(node) = family.node_mut(id)
        {
            node.exact = Some((key, writes));
        }
        let home = family.home;
        if !is_shown || line.is_some_and(|(id, _)| id == home) {
            return Notice::Nothing;
        }
        let is_old = |node: &Node<K, F>| !node.is_vacant() && node.content != Content::Version(key);
        match family.node(home) {
            Some(node) if node.is_vacant() => return Notice::Node(home),
            // Writers there started from an older version and stay with it.
            Some(node) if is_old(node) && node.content != Content::Line => {}
            _ => return Notice::Nothing,
        }
        let to = match line {
            Some((id, _)) => id,
            None => self.node_for(ino, sight, Content::Version(key)),
        };
        self.family(ino).home = to;
        Notice::Names
    }

    /// Says whether the kernel may keep its page cache for a handle that is opened through it,
    /// and notes that it does not otherwise. `content` of a writer is the version it starts from.
    pub(crate) fn keeps_cache(&mut self, ino: Ino, node: NodeId, content: Option<K>) -> bool {
        let Some(found) = self.families.get_mut(&ino).and_then(|all| all.node_mut(node)) else {
            return false;
        };
        let is_same = content.is_some_and(|key| found.cache == Cache::Holds(Content::Version(key)));
        if found.content != Content::Line {
            if !is_same {
                found.cache = Cache::Unknown;
            }
            return is_same;
        }
        if found.exact.is_none() && found.writes == 0 {
            found.exact = content.map(|key| (key, 0));
        }
        let keeps = is_same || found.cache == Cache::Holds(Content::Line);
        found.cache = if keeps { Cache::Holds(Content::Line) } else { Cache::Unknown };
        keeps
    }

    /// Says whether a handle's open may find something to keep in the kernel's page cache.
    pub(crate) fn has_cache(&self, ino: Ino, node: NodeId) -> bool {
        let found = self.families.get(&ino).and_then(|all| all.node(node));
        found.is_some_and(|found| found.cache != Cache::Unknown)
    }

    /// Notes that the kernel's page cache now holds what the node stands for: a handle that was
    /// opened through it has been used, so the pages from before its open are gone.
    pub(crate) fn cached(&mut self, ino: Ino, node: NodeId) {
        if let Some(found) = self.families.get_mut(&ino).and_then(|all| all.node_mut(node))
            && !found.is_vacant()
        {
            found.cache = Cache::Holds(found.content);
        }
    }

    /// Notes that what the kernel's page cache holds is unknown: bytes went past it.
    pub(crate) fn bypassed(&mut self, ino: Ino, node: NodeId) {
        if let Some(found) = self.families.get_mut(&ino).and_then(|all| all.node_mut(node)) {
            (found.cache, found.exact) = (Cache::Unknown, None);
        }
    }

    /// The kernel forgot `lookups` lookups of a node.
    pub(crate) fn forget(&mut self, node: NodeId, lookups: u64) {
        let Some(ino) = self.ino(node) else { return };
        let Some(found) = self.families.get_mut(&ino).and_then(|all| all.node_mut(node)) else {
            return;
        };
        found.lookups = found.lookups.saturating_sub(lookups);
        if found.is_free() && found.lookups == 0 {
            found.cache = Cache::Unknown;
        }
        self.tidy(ino);
    }

    fn trivial_lead(&self, ino: Ino) -> Lead<F> {
        Lead { node: self.own(ino), is_lasting: true, pinned: None }
    }

    fn family(&mut self, ino: Ino) -> &mut Family<K, F> {
        if self.families.len() >= self.families_max {
            self.families.retain(|_, family| !family.is_at_rest());
            // Twice what is in use, so that the sweep is paid for by as many openings.
            self.families_max = REMEMBERED_MAX.max(self.families.len() * 2);
        }
        let own = self.own(ino);
        self.families.entry(ino).or_insert_with(|| Family::new(own))
    }

    /// Returns the node where a handle on `content` should sit, a fresh one if there is none.
    fn node_for(&mut self, ino: Ino, sight: SightId, content: Content<K>) -> NodeId {
        if let Some(found) = self.family(ino).find(sight, content) {
            return found;
        }
        let id = NodeId(self.next_fresh);
        self.next_fresh += 1;
        self.fresh.insert(id, ino);
        self.family(ino).add(id);
        id
    }

    /// Gives up the seats of moved opens that are not coming back.
    fn expire(&mut self, now: Instant) {
        let over = self.moves.extract_if(|_, moved| moved.is_over(now)).map(|(_, moved)| moved);
        for moved in over.collect::<Vec<_>>() {
            self.abandon(&moved);
        }
    }

    fn abandon(&mut self, moved: &Move) {
        if let Some(family) = self.families.get_mut(&moved.ino) {
            let file = family.give_up(moved.to, moved.seat).and_then(|taken| taken.file);
            self.abandoned.extend(file);
            self.tidy(moved.ino);
        }
    }

    fn tidy(&mut self, ino: Ino) {
        let Some(family) = self.families.get_mut(&ino) else { return };
        for id in family.tidy() {
            self.fresh.remove(&id);
        }
        if family.is_trivial() {
            self.families.remove(&ino);
        }
    }
}

impl Move {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > MOVE_MAX
    }
}
