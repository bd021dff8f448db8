//! The tree as a pure function of a set of versions: what devices that exchange versions agree on.
//!
//! [`Versions`] is the set. It takes versions one by one, in any order, each as often as it comes,
//! and [`Versions::tree`] shows them: the same set gives the same tree on every device. There is no
//! clock, no file and no local number in it. The rules, and what they cost, are in
//! `docs/decisions/0006-the-tree-is-a-function-of-its-versions.md`.

mod ancestry;
mod claim;
mod dump;
mod file;
mod frontier;
mod lineage;
mod lost;
mod moves;
mod tree;
mod version;

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use self::moves::Moves;
pub use self::{
    file::{File, FileVersion},
    frontier::Frontier,
    lost::{Lost, Reason},
    tree::{Child, Directory, Shows, Tree},
    version::{
        Actor, Attribute, Change, Content, EdgeId, Field, InodeId, Kind, Place, PlaceVersion,
        Version, WireStamp,
    },
};

/// A set of versions of one branch.
///
/// Two different values under one stamp are the work of a broken or lying device; the greater value
/// counts, everywhere.
#[derive(Clone, Debug)]
pub struct Versions {
    root: InodeId,
    inodes: BTreeMap<InodeId, Facets>,
    moves: Moves,
}

/// Everything that is known of one inode.
#[derive(Clone, Debug, Default)]
struct Facets {
    /// `None` until its birth has arrived.
    kind: Option<Kind>,
    /// The edges that lead to it. Versions of an edge that say it leads elsewhere are another edge's.
    edges: BTreeMap<EdgeId, BTreeMap<WireStamp, PlaceVersion>>,
    attributes: BTreeMap<WireStamp, Vec<Attribute>>,
    contents: BTreeMap<WireStamp, Content>,
}

impl Facets {
    fn is_directory(&self) -> bool {
        self.kind == Some(Kind::Directory)
    }
}

/// The newest value of each field, with the stamp that it was set at.
pub type Attributes = BTreeMap<Field, (WireStamp, Attribute)>;

impl Versions {
    /// Begins an empty set; `root`, which every device derives from the bucket, has no birth.
    pub fn new(root: InodeId) -> Self {
        let facets = Facets { kind: Some(Kind::Directory), ..Facets::default() };
        Self { root, inodes: BTreeMap::from([(root, facets)]), moves: Moves::new(root) }
    }

    /// Adds a version; one that is known already changes nothing.
    ///
    /// A directory's move that is older than others has those undone and redone: many versions at a
    /// time are cheaper through [`Extend`], which does that once.
    pub fn insert(&mut self, version: Version) {
        self.extend([version]);
    }

    fn put(&mut self, Version { stamp, change }: Version) {
        match change {
            Change::Birth(kind) => {
                let facets = self.inodes.entry(InodeId(stamp)).or_default();
                let was_directory = facets.is_directory();
                facets.kind = facets.kind.take().max(Some(kind));
                if facets.kind == Some(Kind::File) {
                    facets.contents.entry(stamp).or_insert_with(|| Content::unwritten(stamp));
                }
                if facets.is_directory() && !was_directory {
                    for (stamp, version) in facets.edges.values().flatten() {
                        self.moves.insert(*stamp, version.clone());
                    }
                }
            }
            Change::Place(version) => {
                let facets = self.inodes.entry(version.inode).or_default();
                let is_new =
                    keep(facets.edges.entry(version.edge).or_default(), stamp, version.clone());
                if is_new && facets.is_directory() {
                    self.moves.insert(stamp, version);
                }
            }
            Change::Attributes { inode, values } => {
                keep(&mut self.inodes.entry(inode).or_default().attributes, stamp, values);
            }
            Change::Content { inode, content } => {
                let contents = &mut self.inodes.entry(inode).or_default().contents;
                // What a birth implies gives way to whatever else is said, whichever comes first.
                let implied = Content::unwritten(stamp);
                if contents.get(&stamp) == Some(&implied) {
                    contents.remove(&stamp);
                }
                if content != implied || !contents.contains_key(&stamp) {
                    keep(contents, stamp, content);
                }
            }
        }
    }

    /// Returns every version, each once: those of an inode together. The content that a file is born
    /// with is among them.
    pub fn iter(&self) -> impl Iterator<Item = Version> {
        self.inodes.iter().flat_map(move |(inode, facets)| {
            let inode = *inode;
            let birth = facets.kind.iter().filter(move |_| inode != self.root);
            let birth = birth.map(move |kind| (inode.0, Change::Birth(kind.clone())));
            let places = facets.edges.values().flatten();
            let places = places.map(|(stamp, version)| (*stamp, Change::Place(version.clone())));
            let attributes = facets.attributes.iter().map(move |(stamp, values)| {
                (*stamp, Change::Attributes { inode, values: values.clone() })
            });
            let contents = facets.contents.iter().map(move |(stamp, content)| {
                (*stamp, Change::Content { inode, content: content.clone() })
            });
            let all = birth.chain(places).chain(attributes).chain(contents);
            all.map(|(stamp, change)| Version { stamp, change })
        })
    }

    /// Returns the frontier of what is here: what a fork at this moment shows.
    pub fn frontier(&self) -> Frontier {
        let mut frontier = Frontier::default();
        self.iter().for_each(|version| frontier.include(version.stamp));
        frontier
    }

    /// Returns the versions inside of a frontier: their tree is that of the fork or the snapshot,
    /// whatever arrives later.
    #[must_use]
    pub fn within(&self, frontier: &Frontier) -> Self {
        let mut inside = Self::new(self.root);
        inside.extend(self.iter().filter(|version| frontier.contains(version.stamp)));
        inside
    }

    /// Returns the content versions of an inode, the oldest first: its history.
    pub fn contents(&self, inode: InodeId) -> impl DoubleEndedIterator<Item = FileVersion> {
        let contents = self.inodes.get(&inode).map(|facets| facets.contents.iter());
        let version = move |(stamp, content): (&WireStamp, &Content)| FileVersion {
            inode,
            stamp: *stamp,
            content: content.clone(),
        };
        contents.into_iter().flatten().map(version)
    }

    /// Returns the versions of an edge that nothing supersedes, the oldest first: the bases of the
    /// next. `inode` is what the edge leads to.
    pub fn place_heads(&self, inode: InodeId, edge: EdgeId) -> Vec<WireStamp> {
        let edges = self.inodes.get(&inode).map(|facets| &facets.edges);
        edges.and_then(|edges| edges.get(&edge)).map(place_heads).unwrap_or_default()
    }

    /// Returns the newest value of each of an inode's attributes.
    pub fn attributes(&self, inode: InodeId) -> Attributes {
        let mut attributes = Attributes::new();
        for (stamp, values) in self.inodes.get(&inode).iter().flat_map(|facets| &facets.attributes)
        {
            let set = values.iter().map(|value| (value.field(), (*stamp, value.clone())));
            attributes.extend(set);
        }
        attributes
    }
}

impl Extend<Version> for Versions {
    fn extend<I: IntoIterator<Item = Version>>(&mut self, versions: I) {
        versions.into_iter().for_each(|version| self.put(version));
        self.moves.redo();
    }
}

fn place_heads(places: &BTreeMap<WireStamp, PlaceVersion>) -> Vec<WireStamp> {
    let older = |(stamp, version): (&WireStamp, &PlaceVersion)| {
        version.bases.iter().filter(|base| *base < stamp).copied().collect::<Vec<_>>()
    };
    let superseded: BTreeSet<WireStamp> = places.iter().flat_map(older).collect();
    places.keys().filter(|stamp| !superseded.contains(stamp)).copied().collect()
}

/// Keeps a value, the greater where there are two; says whether it is news.
fn keep<T: Ord>(values: &mut BTreeMap<WireStamp, T>, stamp: WireStamp, value: T) -> bool {
    match values.entry(stamp) {
        Entry::Vacant(vacant) => {
            vacant.insert(value);
            true
        }
        Entry::Occupied(mut occupied) => {
            let is_greater = value > *occupied.get();
            if is_greater {
                occupied.insert(value);
            }
            is_greater
        }
    }
}

#[cfg(test)]
mod tests;
