//! One file, of one or several inodes: its live version and its conflict versions.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Attribute, Attributes, Content, Field, InodeId, Versions, WireStamp, ancestry::Ancestry,
};

/// A regular file as it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The inode that shows: that of the live version.
    pub inode: InodeId,
    /// All inodes that are this one file, the oldest first.
    pub inodes: Vec<InodeId>,
    /// The attributes of the inode that shows.
    pub attributes: Attributes,
    /// The greatest of the versions that nothing supersedes.
    pub live: FileVersion,
    /// The others whose bytes differ from the live ones and from each other's, the newest first.
    pub conflicts: Vec<FileVersion>,
    /// Everything that nothing supersedes, also versions with equal bytes, the newest first: the
    /// bases of a version that is written with all of this in sight, and what a removal has seen.
    pub heads: Vec<WireStamp>,
}

/// A content version and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// The inode.
    pub inode: InodeId,
    /// The version.
    pub stamp: WireStamp,
    /// What it says.
    pub content: Content,
}

impl File {
    /// Makes one file of inodes, of which there is at least one.
    pub(super) fn of(versions: &Versions, ancestry: &Ancestry, inodes: BTreeSet<InodeId>) -> Self {
        let contents: BTreeMap<WireStamp, FileVersion> = inodes
            .iter()
            .flat_map(|inode| versions.contents(*inode))
            .map(|version| (version.stamp, version))
            .collect();
        let heads = ancestry.heads(&contents.keys().copied().collect());
        let mut hashes = BTreeSet::new();
        let mut differing = heads
            .iter()
            .map(|head| &contents[head])
            .filter(|version| hashes.insert(version.content.hash))
            .cloned();
        let live = differing.next().expect("a file has the version of its birth, or newer ones");
        let conflicts = differing.collect();
        let inode = live.inode;
        let attributes = versions.attributes(inode);
        Self { inode, inodes: inodes.into_iter().collect(), attributes, live, conflicts, heads }
    }

    /// Returns the modification time in Unix nanoseconds: that of the live version, or what somebody
    /// set after it.
    pub fn mtime_ns(&self) -> i64 {
        match self.attributes.get(&Field::Mtime) {
            Some((stamp, Attribute::Mtime(to_ns))) if *stamp > self.live.stamp => *to_ns,
            _ => self.live.content.mtime_ns,
        }
    }
}
