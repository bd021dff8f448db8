//! Which content versions supersede which.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facets, InodeId, WireStamp};

/// The bases of every content version, with the birth of its inode. Only older ones count, so that
/// there are no circles.
pub(super) struct Ancestry(BTreeMap<WireStamp, Vec<WireStamp>>);

impl Ancestry {
    pub(super) fn of(inodes: &BTreeMap<InodeId, Facets>) -> Self {
        let mut bases: BTreeMap<WireStamp, Vec<WireStamp>> = BTreeMap::new();
        for (inode, facets) in inodes {
            for (stamp, content) in &facets.contents {
                let known = content.bases.iter().chain([&inode.0]);
                bases.entry(*stamp).or_default().extend(known.filter(|base| *base < stamp));
            }
        }
        Self(bases)
    }

    /// What one version supersedes directly.
    pub(super) fn bases(&self, version: WireStamp) -> &[WireStamp] {
        self.0.get(&version).map_or(&[], Vec::as_slice)
    }

    /// Returns these versions and everything that they supersede.
    pub(super) fn closure(&self, versions: impl Iterator<Item = WireStamp>) -> BTreeSet<WireStamp> {
        let mut found = BTreeSet::new();
        let mut waiting: Vec<WireStamp> = versions.collect();
        while let Some(version) = waiting.pop() {
            if found.insert(version) {
                waiting.extend(self.bases(version));
            }
        }
        found
    }

    /// Returns those of `versions` that no other of them supersedes, also by way of versions of
    /// other inodes; the greatest first.
    pub(super) fn heads(&self, versions: &BTreeSet<WireStamp>) -> Vec<WireStamp> {
        let bases = versions.iter().flat_map(|version| self.bases(*version)).copied();
        let superseded = self.closure(bases);
        versions.iter().rev().filter(|version| !superseded.contains(version)).copied().collect()
    }
}
