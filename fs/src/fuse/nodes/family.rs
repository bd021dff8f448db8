//! The nodes of one inode.

use std::time::{Duration, Instant};

use super::{
    CLOSE_PATIENCE, Content, FLUSH_PATIENCE, FRESH_FROM, Flush, NodeId, READER_PATIENCE, Seat,
    SightId,
};

/// What the kernel's page cache of a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache<K> {
    Unknown,
    Holds(Content<K>),
}

/// A seat that is taken, or kept for an open on its way from another node.
#[derive(Debug)]
pub(super) struct Taken<F> {
    pub(super) seat: Seat,
    /// The file of a handle that is pinned to a version.
    pub(super) file: Option<F>,
    /// The open was answered; false while the seat is only kept for it.
    pub(super) here: bool,
    /// How near its end it is.
    pub(super) stage: Stage,
}

/// How near its end a handle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// In use.
    Open,
    /// Nothing was written through it since its last flush.
    Flushed(Flush),
    /// The kernel closed it, and its bytes seem to be mapped still.
    Closed(Instant),
}

/// One node.
#[derive(Debug)]
pub(super) struct Node<K, F> {
    pub(super) id: NodeId,
    /// What the handles that are here were opened in; means nothing without any.
    pub(super) sight: SightId,
    /// What the handles that sit here have in common; means nothing without seats.
    pub(super) content: Content<K>,
    pub(super) seats: Vec<Taken<F>>,
    /// Handles that are here without a seat. They keep the node bound to the backing file of those
    /// who sat here.
    pub(super) strays: usize,
    pub(super) cache: Cache<K>,
    /// Writes served since the line began.
    pub(super) writes: u64,
    /// The version whose bytes the line had after so many writes.
    pub(super) exact: Option<(K, u64)>,
    /// Lookups the kernel has not forgotten; counted for fresh nodes only.
    pub(super) lookups: u64,
}

impl NodeId {
    /// Says whether this number was made up for the purpose, so that it is no inode's number.
    pub(crate) fn is_fresh(self) -> bool {
        self.0 >= FRESH_FROM
    }
}

impl<K: Copy + Eq, F: Clone> Node<K, F> {
    fn new(id: NodeId) -> Self {
        Self {
            id,
            sight: SightId::FIRST,
            content: Content::Line,
            seats: Vec::new(),
            strays: 0,
            cache: Cache::Unknown,
            writes: 0,
            exact: None,
            lookups: 0,
        }
    }

    /// Says whether nobody sits here.
    pub(super) fn is_vacant(&self) -> bool {
        self.seats.is_empty()
    }

    /// Says whether no handle at all is here, so that the node may come to stand for any content.
    pub(super) fn is_free(&self) -> bool {
        self.is_vacant() && self.strays == 0
    }

    pub(super) fn stands_for(&self, sight: SightId, content: Content<K>) -> bool {
        !self.is_vacant() && self.sight == sight && self.content == content
    }

    pub(super) fn taken_mut(&mut self, seat: Seat) -> Option<&mut Taken<F>> {
        self.seats.iter_mut().find(|taken| taken.seat == seat)
    }

    /// Returns a file that is pinned to the version this node stands for, if it stands for one.
    pub(super) fn pinned(&self) -> Option<F> {
        match self.content {
            Content::Version(_) => self.seats.iter().find_map(|taken| taken.file.clone()),
            Content::Line => None,
        }
    }

    /// Returns how long to wait for everybody who sits here to leave; nothing if somebody stays.
    pub(super) fn patience(&self, now: Instant) -> Duration {
        let stages = || self.seats.iter().map(|taken| taken.stage);
        let stays = |stage| match stage {
            Stage::Open => true,
            Stage::Flushed(_) => false,
            Stage::Closed(since) => now.saturating_duration_since(since) > CLOSE_PATIENCE,
        };
        if self.is_vacant() || self.seats.iter().any(|taken| !taken.here) {
            return Duration::ZERO;
        }
        match self.content {
            Content::Version(_) => READER_PATIENCE,
            Content::Line if stages().any(stays) => Duration::ZERO,
            Content::Line if stages().any(|stage| stage == Stage::Flushed(Flush::ByAnother)) => {
                FLUSH_PATIENCE
            }
            Content::Line => CLOSE_PATIENCE,
        }
    }

    /// The last writer left: the cache holds what was published, if nothing was written since.
    fn end_line(&mut self) {
        let exact = self.exact.take().filter(|(_, writes)| *writes == self.writes);
        self.writes = 0;
        if self.cache == Cache::Holds(Content::Line) {
            self.cache =
                exact.map_or(Cache::Unknown, |(key, _)| Cache::Holds(Content::Version(key)));
        }
    }
}

/// The nodes of one inode that has something to remember.
#[derive(Debug)]
pub(super) struct Family<K, F> {
    /// The first is the inode's own node, which stays.
    nodes: Vec<Node<K, F>>,
    /// Where the inode's names lead while nobody writes.
    pub(super) home: NodeId,
}

impl<K: Copy + Eq, F: Clone> Family<K, F> {
    pub(super) fn new(own: NodeId) -> Self {
        Self { nodes: vec![Node::new(own)], home: own }
    }

    pub(super) fn own(&self) -> &Node<K, F> {
        self.nodes.first().expect("the own node stays")
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node<K, F>> {
        self.nodes.iter().find(|node| node.id == id)
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node<K, F>> {
        self.nodes.iter_mut().find(|node| node.id == id)
    }

    pub(super) fn add(&mut self, id: NodeId) {
        self.nodes.push(Node::new(id));
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().map(|node| node.id)
    }

    /// Returns where the writers of a sight sit.
    pub(super) fn line(&self, sight: SightId) -> Option<NodeId> {
        self.standing_for(sight, Content::Line)
    }

    /// Returns a node that nobody uses, preferably the inode's own.
    pub(super) fn free(&self) -> Option<NodeId> {
        self.nodes.iter().find(|node| node.is_free()).map(|node| node.id)
    }

    /// Says whether a handle on `content` may sit at `id`.
    pub(super) fn fits(&self, id: NodeId, sight: SightId, content: Content<K>) -> bool {
        let Some(node) = self.node(id) else { return false };
        let is_line_elsewhere =
            content == Content::Line && self.line(sight).is_some_and(|line| line != id);
        node.stands_for(sight, content) || (node.is_free() && !is_line_elsewhere)
    }

    /// Finds where a handle on `content` should sit: with others of its kind, else at a node
    /// that nobody uses, preferably the one the names lead to.
    pub(super) fn find(&self, sight: SightId, content: Content<K>) -> Option<NodeId> {
        let home_is_free = self.node(self.home).is_some_and(Node::is_free);
        self.standing_for(sight, content)
            .or_else(|| home_is_free.then_some(self.home))
            .or_else(|| self.free())
    }

    fn standing_for(&self, sight: SightId, content: Content<K>) -> Option<NodeId> {
        self.nodes.iter().find(|node| node.stands_for(sight, content)).map(|node| node.id)
    }

    /// Takes a seat at `id`, which must fit.
    pub(super) fn take(
        &mut self,
        id: NodeId,
        sight: SightId,
        content: Content<K>,
        taken: Taken<F>,
    ) {
        if let Some(node) = self.node_mut(id) {
            node.sight = sight;
            node.content = content;
            node.seats.push(taken);
        }
    }

    /// Gives up a seat and returns what was there.
    pub(super) fn give_up(&mut self, id: NodeId, seat: Seat) -> Option<Taken<F>> {
        let node = self.node_mut(id)?;
        let index = node.seats.iter().position(|taken| taken.seat == seat)?;
        let taken = node.seats.swap_remove(index);
        if node.is_vacant() && node.content == Content::Line {
            node.end_line();
        }
        Some(taken)
    }

    /// Drops what nobody needs and returns the ids that are gone. Names go home to the inode's
    /// own node once that is free and the kernel has forgotten the one they were moved to.
    pub(super) fn tidy(&mut self) -> Vec<NodeId> {
        let (own, own_is_free) = (self.own().id, self.own().is_free());
        let is_idle = |node: &Node<K, F>| node.id.is_fresh() && node.is_free() && node.lookups == 0;
        if own_is_free && self.node(self.home).is_none_or(is_idle) {
            self.home = own;
        }
        let (home, mut dropped) = (self.home, Vec::new());
        self.nodes.retain(|node| {
            let is_needed = node.id == own || node.id == home || !is_idle(node);
            if !is_needed {
                dropped.push(node.id);
            }
            is_needed
        });
        dropped
    }

    /// Says whether nobody uses any of the nodes and names lead where they always do.
    pub(super) fn is_at_rest(&self) -> bool {
        self.nodes.len() == 1 && self.own().is_free()
    }

    pub(super) fn is_trivial(&self) -> bool {
        self.is_at_rest() && self.own().cache == Cache::Unknown
    }
}
