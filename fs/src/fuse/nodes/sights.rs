//! The nodes of a mount that shows one sight after another.

use tesfs_pathtree::Ino;

use super::{NodeId, Nodes};

#[cfg(test)]
mod tests;

/// One of the filesystems that a mount shows, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SightId(pub(crate) u32);

impl SightId {
    /// What the mount shows first.
    pub(crate) const FIRST: Self = Self(0);
}

impl<K: Copy + Eq, F: Clone> Nodes<K, F> {
    /// Returns what is shown.
    pub(crate) fn sight(&self) -> SightId {
        self.sight
    }

    /// Shows `to` from now on, and returns the inodes whose names lead to another node since.
    ///
    /// Where anything is open of what was shown so far, the node is left to it. An open that was moved
    /// still comes to the seat that is kept for it.
    pub(crate) fn switch(&mut self, to: SightId) -> Vec<Ino> {
        // Whoever pinned a version looks again: it may be another one now.
        self.publishes += 1;
        let from = std::mem::replace(&mut self.sight, to);
        let mut led_away = Vec::new();
        for (ino, family) in &mut self.families {
            let led = family.line(from).unwrap_or(family.home);
            let home = family.line(to).or_else(|| family.free()).unwrap_or_else(|| {
                let id = NodeId(self.next_fresh);
                self.next_fresh += 1;
                self.fresh.insert(id, *ino);
                family.add(id);
                id
            });
            family.home = home;
            if led != home {
                led_away.push(*ino);
            }
        }
        led_away
    }

    /// Returns the sight that whoever has an inode open at `node` is in; `None` if nobody has.
    pub(crate) fn occupied_by(&self, ino: Ino, node: NodeId) -> Option<SightId> {
        let found = self.families.get(&ino)?.node(node)?;
        (!found.is_free()).then_some(found.sight)
    }
}
