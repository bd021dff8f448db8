//! Which files are one file, because they replaced one another or supersede each other's versions.

use std::collections::BTreeMap;

use super::{Facets, InodeId, Kind, WireStamp, ancestry::Ancestry, claim::last_hung};

/// A union of inodes, each represented by the oldest.
///
/// Two regular files are related where the last place of one says that it replaced the other, and
/// where a content version of one names a version of the other as its base; and so on through
/// what those are related to, also inodes that are removed.
pub(super) struct Lineage(BTreeMap<InodeId, InodeId>);

impl Lineage {
    pub(super) fn of(inodes: &BTreeMap<InodeId, Facets>, ancestry: &Ancestry) -> Self {
        let mut lineage = Self(BTreeMap::new());
        let files = || inodes.iter().filter(|(_, facets)| facets.kind == Some(Kind::File));
        let owners: BTreeMap<WireStamp, InodeId> = files()
            .flat_map(|(inode, facets)| facets.contents.keys().map(|stamp| (*stamp, *inode)))
            .collect();
        for (inode, facets) in files() {
            for hung in facets.edges.values().filter_map(last_hung) {
                if let Some(replaced) = hung.replaces {
                    lineage.join(*inode, replaced);
                }
            }
            let bases = facets.contents.keys().flat_map(|stamp| ancestry.bases(*stamp));
            for owner in bases.filter_map(|base| owners.get(base)) {
                lineage.join(*inode, *owner);
            }
        }
        lineage
    }

    fn join(&mut self, one: InodeId, other: InodeId) {
        let (one, other) = (self.oldest(one), self.oldest(other));
        if one != other {
            self.0.insert(one.max(other), one.min(other));
        }
    }

    /// Returns the oldest inode that this one is related to: itself, if there is no older.
    pub(super) fn oldest(&self, mut inode: InodeId) -> InodeId {
        while let Some(older) = self.0.get(&inode) {
            inode = *older;
        }
        inode
    }
}
