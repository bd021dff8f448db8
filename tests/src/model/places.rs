//! Places of the model: what hangs where, and what a withdrawn file leaves behind.

use std::path::PathBuf;

use super::inode::{Edge, Id};

/// Every edge there is or was.
#[derive(Debug, Default)]
pub(super) struct Places {
    edges: Vec<Edge>,
    versions: usize,
}

impl Places {
    /// Returns the live edge that `name` is in `parent`.
    pub(super) fn find(&self, parent: Id, name: &str) -> Option<usize> {
        self.edges.iter().position(|edge| edge.parent == Some(parent) && edge.name == name)
    }

    pub(super) fn inode(&self, edge: usize) -> Id {
        self.edges[edge].inode
    }

    /// Returns the names in a directory and what they lead to, in the order of their bytes.
    pub(super) fn list(&self, parent: Id) -> Vec<(&'static str, Id)> {
        let live = self.edges.iter().filter(|edge| edge.parent == Some(parent));
        let mut listed: Vec<_> = live.map(|edge| (edge.name, edge.inode)).collect();
        listed.sort_unstable();
        listed
    }

    /// Counts the live edges of an inode.
    pub(super) fn links(&self, inode: Id) -> usize {
        self.edges.iter().filter(|edge| edge.inode == inode && edge.parent.is_some()).count()
    }

    /// Returns where a directory is; the root is at the empty path.
    pub(super) fn path(&self, directory: Id) -> PathBuf {
        let edge = self.edges.iter().find(|edge| edge.inode == directory);
        match edge.and_then(|edge| edge.parent.map(|parent| (parent, edge.name))) {
            Some((parent, name)) => self.path(parent).join(name),
            None => PathBuf::new(),
        }
    }

    /// Says whether `below` is `directory` or somewhere in it.
    pub(super) fn is_within(&self, below: Id, directory: Id) -> bool {
        let above = || self.edges.iter().find(|edge| edge.inode == below)?.parent;
        below == directory || above().is_some_and(|parent| self.is_within(parent, directory))
    }

    pub(super) fn add(&mut self, inode: Id, parent: Id, name: &'static str) {
        self.versions += 1;
        let version = self.versions;
        self.edges.push(Edge { inode, parent: Some(parent), name, replaced: None, version });
    }

    pub(super) fn remove(&mut self, edge: usize) {
        self.versions += 1;
        self.edges[edge].parent = None;
        self.edges[edge].version = self.versions;
    }

    /// Hangs an edge elsewhere; `replaced` had the place before.
    pub(super) fn hang(
        &mut self,
        edge: usize,
        (parent, name): (Id, &'static str),
        replaced: Option<Id>,
    ) {
        self.versions += 1;
        let version = self.versions;
        let inode = self.edges[edge].inode;
        self.edges[edge] = Edge { inode, parent: Some(parent), name, replaced, version };
    }

    /// Lets two edges change places.
    pub(super) fn exchange(&mut self, one: usize, other: usize) {
        let place = |edge: &Edge| (edge.parent.expect("a live edge"), edge.name);
        let (here, there) = (place(&self.edges[one]), place(&self.edges[other]));
        self.hang(one, there, None);
        self.hang(other, here, None);
    }

    /// Takes the names of the inodes that `is_gone` from them; where a name was another inode's
    /// before, that one gets it back.
    pub(super) fn withdraw(&mut self, is_gone: impl Fn(Id) -> bool) {
        while let Some(lost) =
            self.edges.iter().position(|edge| edge.parent.is_some() && is_gone(edge.inode))
        {
            let Edge { parent, name, replaced, .. } = self.edges[lost].clone();
            self.remove(lost);
            let dead = self.edges.iter().enumerate().filter(|(_, edge)| {
                Some(edge.inode) == replaced && edge.parent.is_none() && edge.name == name
            });
            let newest = dead.max_by_key(|(_, edge)| edge.version);
            if let Some((heir, edge)) = newest.map(|(heir, edge)| (heir, edge.clone())) {
                self.hang(heir, (parent.expect("it was live"), name), edge.replaced);
            }
        }
        while let Some(stale) =
            self.edges.iter().position(|edge| edge.replaced.is_some_and(&is_gone))
        {
            let gone = self.edges[stale].replaced;
            let above = self.edges.iter().find(|edge| Some(edge.inode) == gone);
            self.edges[stale].replaced =
                above.and_then(|edge| edge.replaced).filter(|above| Some(*above) != gone);
        }
    }
}
