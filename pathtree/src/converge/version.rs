//! What devices exchange: versions, and the ids in them that mean the same everywhere.

use std::fmt;

use crate::{id::Hlc, name::Name};

/// One run of one node, as it is known everywhere: 16 random bytes drawn at its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor(pub [u8; 16]);

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actor({self})")
    }
}

/// Identity and order of a change, as it travels: [`crate::Stamp`] with the actor's own bytes.
///
/// Readings of the clock decide, bytes of the actor break ties. What a device writes has a greater
/// stamp than everything the device had seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireStamp {
    /// When, in the hybrid logical clock.
    pub hlc: Hlc,
    /// By whom.
    pub actor: Actor,
}

impl fmt::Display for WireStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.hlc, self.actor)
    }
}

impl fmt::Debug for WireStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An inode, as it travels: the stamp of its birth, as [`crate::InodeId`] is with local numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub WireStamp);

/// An edge, as it travels: the stamp of its birth, as [`crate::EdgeId`] is with local numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(pub WireStamp);

/// One value of one facet of one thing, or the birth of an inode.
///
/// The changes of one stamp belong to different facets: an inode, its first edge and its first
/// attributes are born with one stamp. No two content versions have one stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its identity, and its place in the order of all versions.
    pub stamp: WireStamp,
    /// What it says.
    pub change: Change,
}

/// What a version says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is an inode of this kind; its id is the version's stamp.
    Birth(Kind),
    /// Where an edge hangs.
    Place(PlaceVersion),
    /// Some attributes of an inode; those that are not named stay as they are.
    Attributes {
        /// Whose they are.
        inode: InodeId,
        /// At most one value for each field.
        values: Vec<Attribute>,
    },
    /// The bytes of a regular file.
    Content {
        /// Whose they are.
        inode: InodeId,
        /// What they are.
        content: Content,
    },
}

/// What an inode is from its birth on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file. Its birth is its first content version, without bytes and without bases,
    /// unless there is another one of that stamp.
    File,
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: Box<[u8]>,
    },
    /// A fifo, socket or device node.
    Special {
        /// Type bits, as in `st_mode`.
        type_bits: u32,
        /// Device number of a device node, otherwise 0.
        rdev: u64,
    },
    /// A directory. It is the greatest kind: what once was one stays one.
    Directory,
}

/// One version of where an edge hangs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceVersion {
    /// Which edge.
    pub edge: EdgeId,
    /// What it leads to; the same in every version of an edge.
    pub inode: InodeId,
    /// The versions of this edge that the writer had seen and nothing superseded yet.
    pub bases: Vec<WireStamp>,
    /// Where it hangs.
    pub place: Place,
}

/// Where an edge hangs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Under a name in a directory.
    Hung {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Name,
        /// The inode that it took the name from, where a file was renamed over a file.
        replaces: Option<InodeId>,
    },
    /// Nowhere.
    Unlinked {
        /// Of a file: the content versions that whoever removed it had seen and nothing superseded
        /// (what those supersede is seen as well, and the birth is). Of anything else: none.
        seen: Vec<WireStamp>,
    },
}

/// One version of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// The content versions that it supersedes, also those of other inodes. Only older ones count,
    /// and the birth of its own inode always does.
    pub bases: Vec<WireStamp>,
    /// BLAKE3 hash of the bytes; `None` where there are none.
    pub hash: Option<[u8; 32]>,
    /// How many bytes there are.
    pub size_bytes: u64,
    /// When they were written, in Unix nanoseconds.
    pub mtime_ns: i64,
}

impl Content {
    /// Returns what a file born at `stamp` has until somebody writes it.
    pub(super) fn unwritten(stamp: WireStamp) -> Self {
        Self { bases: vec![], hash: None, size_bytes: 0, mtime_ns: stamp.hlc.unix_ns() }
    }
}

/// A value of one field of an inode's attributes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// Permission bits, without the type.
    Permissions(u32),
    /// Owning user, as a number of the device that wrote it.
    Uid(u32),
    /// Owning group, likewise.
    Gid(u32),
    /// A modification time that somebody set, in Unix nanoseconds: it holds until newer content.
    Mtime(i64),
    /// An extended attribute.
    Xattr {
        /// Its name.
        name: Box<[u8]>,
        /// Its value; `None` where it was removed.
        value: Option<Box<[u8]>>,
    },
}

/// What an [`Attribute`] is a value of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Permission bits.
    Permissions,
    /// Owning user.
    Uid,
    /// Owning group.
    Gid,
    /// Modification time.
    Mtime,
    /// The extended attribute of this name.
    Xattr(Box<[u8]>),
}

impl Attribute {
    /// Returns what this is a value of.
    pub fn field(&self) -> Field {
        match self {
            Self::Permissions(_) => Field::Permissions,
            Self::Uid(_) => Field::Uid,
            Self::Gid(_) => Field::Gid,
            Self::Mtime(_) => Field::Mtime,
            Self::Xattr { name, .. } => Field::Xattr(name.clone()),
        }
    }
}
