//! The tree that a set of versions shows, directory by directory.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Attributes, EdgeId, InodeId, Kind, Lost, Versions, WireStamp,
    ancestry::Ancestry,
    claim::{Claim, directory_claim, file_claims},
    file::File,
    lineage::Lineage,
    lost::lost,
};
use crate::{conflict_name::conflict_name, name::Name};

/// The tree of a set of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The root directory.
    pub root: InodeId,
    /// Every directory that shows, by the oldest of its inodes; its names lead on.
    pub directories: BTreeMap<InodeId, Directory>,
    /// Edges that hang somewhere and do not show, because what they lead to or what they hang in
    /// has not arrived.
    pub hidden: BTreeSet<EdgeId>,
    /// Changes of places that are not in effect, in the order of edges.
    pub lost: Vec<Lost>,
}

/// A directory as it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// All inodes that are this one directory, the oldest first: new children go into that one.
    pub inodes: Vec<InodeId>,
    /// The attributes of the oldest inode.
    pub attributes: Attributes,
    /// What is in any of the inodes.
    pub children: BTreeMap<Name, Child>,
}

/// What one name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The edges that show as this one, the oldest first, and what each leads to. A rename or a
    /// removal changes every one.
    pub edges: BTreeMap<EdgeId, InodeId>,
    /// The name that they have; it differs where an older child shows under it.
    pub own_name: Name,
    /// What shows under the name.
    pub shows: Shows,
}

/// What an edge leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shows {
    /// A directory, by the oldest of its inodes.
    Directory(InodeId),
    /// A regular file.
    File(File),
    /// A symbolic link or a special file.
    Other {
        /// The oldest of the inodes that are equal.
        inode: InodeId,
        /// What it is.
        kind: Kind,
        /// Its attributes.
        attributes: Attributes,
    },
}

impl Versions {
    /// Computes the tree: the same for the same set of versions, whatever the order in which they
    /// arrived. It takes time in proportion to the whole set.
    pub fn tree(&self) -> Tree {
        Showing::of(self).tree()
    }
}

/// A tree in the making.
struct Showing<'a> {
    versions: &'a Versions,
    ancestry: Ancestry,
    lineage: Lineage,
    /// What hangs in each inode.
    hanging: BTreeMap<InodeId, Vec<Claim<'a>>>,
    hidden: BTreeSet<EdgeId>,
    shown: BTreeSet<EdgeId>,
    directories: BTreeMap<InodeId, Directory>,
}

impl<'a> Showing<'a> {
    fn of(versions: &'a Versions) -> Self {
        let ancestry = Ancestry::of(&versions.inodes);
        let positions = versions.moves.positions();
        let files = versions.inodes.iter().filter(|(_, facets)| !facets.is_directory());
        let claims = files.flat_map(|(inode, facets)| file_claims(*inode, facets, &ancestry));
        let (mut claims, unborn): (Vec<_>, Vec<_>) =
            claims.partition(|claim| versions.inodes[&claim.inode].kind.is_some());
        let kept = kept_directories(versions, &claims);
        let directories = positions
            .iter()
            .filter(|(inode, position)| position.removed.is_none() || kept.contains(inode));
        claims.extend(directories.map(|(inode, position)| directory_claim(*inode, position)));
        let hidden = unborn.iter().chain(&claims).map(|claim| claim.edge).collect();
        let mut hanging: BTreeMap<InodeId, Vec<Claim<'_>>> = BTreeMap::new();
        for claim in claims {
            hanging.entry(claim.parent).or_default().push(claim);
        }
        Self {
            versions,
            lineage: Lineage::of(&versions.inodes, &ancestry),
            ancestry,
            hanging,
            hidden,
            shown: BTreeSet::new(),
            directories: BTreeMap::new(),
        }
    }

    fn tree(mut self) -> Tree {
        let root = self.versions.root;
        let mut waiting = vec![BTreeSet::from([root])];
        while let Some(inodes) = waiting.pop() {
            let oldest = *inodes.first().expect("a directory is of at least one inode");
            let children = self.children(&inodes, &mut waiting);
            let attributes = self.versions.attributes(oldest);
            let inodes = inodes.into_iter().collect();
            self.directories.insert(oldest, Directory { inodes, attributes, children });
        }
        let lost = lost(self.versions, &self.shown);
        let hidden = self.hidden.difference(&self.shown).copied().collect();
        Tree { root, directories: self.directories, hidden, lost }
    }

    /// Names what hangs in any of `inodes`; the directories among it wait for their turn.
    fn children(
        &mut self,
        inodes: &BTreeSet<InodeId>,
        waiting: &mut Vec<BTreeSet<InodeId>>,
    ) -> BTreeMap<Name, Child> {
        let mut by_name: BTreeMap<&Name, Vec<Claim<'a>>> = BTreeMap::new();
        for claim in inodes.iter().filter_map(|inode| self.hanging.remove(inode)).flatten() {
            self.shown.insert(claim.edge);
            by_name.entry(claim.name).or_default().push(claim);
        }
        let mut children = BTreeMap::new();
        let mut younger = Vec::new();
        for (name, claims) in by_name {
            let mut claimants = self.claimants(claims, waiting).into_iter();
            let oldest = claimants.next().expect("a name is claimed by somebody");
            children.insert(name.clone(), oldest.child);
            younger.extend(claimants);
        }
        for Claimant { age: (_, edge), child } in younger {
            let mut names = (1..).map(|attempt| {
                conflict_name(&child.own_name, edge.0.hlc, &edge.0.actor.0, attempt)
            });
            let name = names.find(|name| !children.contains_key(name));
            children.insert(name.expect("there is always a further number"), child);
        }
        children
    }

    /// Makes one claimant of the claims that show as one, and puts the oldest first.
    fn claimants(
        &self,
        claims: Vec<Claim<'a>>,
        waiting: &mut Vec<BTreeSet<InodeId>>,
    ) -> Vec<Claimant> {
        let mut files = Vec::new();
        let mut alike: BTreeMap<&Kind, Vec<Claim<'a>>> = BTreeMap::new();
        for claim in claims {
            match self.versions.inodes[&claim.inode].kind.as_ref().expect("only what is born shows")
            {
                Kind::File => files.push(claim),
                kind => alike.entry(kind).or_default().push(claim),
            }
        }
        let mut claimants = self.files(files);
        for (kind, claims) in alike {
            let inodes = inodes(&claims);
            let inode = *inodes.first().expect("somebody claims it");
            let shows = match kind {
                Kind::Directory => {
                    waiting.push(inodes);
                    Shows::Directory(inode)
                }
                kind => {
                    let attributes = self.versions.attributes(inode);
                    Shows::Other { inode, kind: kind.clone(), attributes }
                }
            };
            claimants.push(self.claimant(claims, shows));
        }
        claimants.sort_unstable_by_key(|claimant| claimant.age);
        claimants
    }

    /// Makes one file of the claims to related inodes, and of files with equal bytes.
    fn files(&self, claims: Vec<Claim<'a>>) -> Vec<Claimant> {
        let file = |claims: &[Claim<'_>]| File::of(self.versions, &self.ancestry, inodes(claims));
        let mut related: BTreeMap<InodeId, Vec<Claim<'a>>> = BTreeMap::new();
        for claim in claims {
            related.entry(self.lineage.oldest(claim.inode)).or_default().push(claim);
        }
        let mut equal: BTreeMap<Option<[u8; 32]>, Vec<Claim<'a>>> = BTreeMap::new();
        for claims in related.into_values() {
            equal.entry(file(&claims).live.content.hash).or_default().extend(claims);
        }
        let shows = |claims: Vec<Claim<'a>>| {
            let shows = Shows::File(file(&claims));
            self.claimant(claims, shows)
        };
        equal.into_values().map(shows).collect()
    }

    fn claimant(&self, claims: Vec<Claim<'a>>, shows: Shows) -> Claimant {
        let age = claims.iter().map(|claim| self.age(claim)).min().expect("somebody claims it");
        let own_name = claims[0].name.clone();
        let edges = claims.into_iter().map(|claim| (claim.edge, claim.inode)).collect();
        Claimant { age, child: Child { edges, own_name, shows } }
    }

    /// An edge is as old as its birth; what replaced a file is as old as that, so that saving a
    /// file does not cost it its name.
    fn age(&self, claim: &Claim<'_>) -> (WireStamp, EdgeId) {
        let replaced = claim.replaces.map(|replaced| self.lineage.oldest(replaced).0);
        (replaced.into_iter().fold(claim.edge.0, WireStamp::min), claim.edge)
    }
}

/// A child and how old its claim to the name is.
struct Claimant {
    age: (WireStamp, EdgeId),
    child: Child,
}

fn inodes(claims: &[Claim<'_>]) -> BTreeSet<InodeId> {
    claims.iter().map(|claim| claim.inode).collect()
}

/// Returns the removed directories that something keeps: a file, a directory that is not removed,
/// or one that is kept itself hangs in them.
fn kept_directories(versions: &Versions, files: &[Claim<'_>]) -> BTreeSet<InodeId> {
    let positions = versions.moves.positions();
    let live = positions.values().filter(|position| position.removed.is_none());
    let mut kept = BTreeSet::new();
    let parents = files.iter().map(|claim| claim.parent);
    for parent in parents.chain(live.map(|position| position.parent)) {
        let mut at = parent;
        while let Some(position) = positions.get(&at) {
            if position.removed.is_none() || !kept.insert(at) {
                break;
            }
            at = position.parent;
        }
    }
    kept
}
