//! What must hold of every tree, and how often a campaign met what it is about.

use super::*;

/// What must hold of a tree, computed from the plain list of versions and by nothing of the module.
pub(super) struct Invariants<'a> {
    directories: BTreeSet<InodeId>,
    /// The greatest version of each edge, and what it leads to.
    places: BTreeMap<EdgeId, (WireStamp, &'a PlaceVersion)>,
    contents: BTreeMap<WireStamp, (InodeId, Content)>,
    /// Everything that some removal named, or that such a version supersedes.
    seen: BTreeSet<WireStamp>,
}

impl<'a> Invariants<'a> {
    pub(super) fn of(all: &'a [Version]) -> Self {
        let mut found = Self {
            directories: BTreeSet::from([root()]),
            places: BTreeMap::new(),
            contents: BTreeMap::new(),
            seen: BTreeSet::new(),
        };
        for Version { stamp, change } in all {
            match change {
                Change::Birth(Kind::Directory) => {
                    found.directories.insert(InodeId(*stamp));
                }
                Change::Birth(Kind::File) => {
                    let content = Content { bases: vec![], hash: None, size_bytes: 0, mtime_ns: 0 };
                    found.contents.insert(*stamp, (InodeId(*stamp), content));
                    found.seen.insert(*stamp);
                }
                Change::Birth(_) | Change::Attributes { .. } => {}
                Change::Place(version) => {
                    let greatest = found.places.entry(version.edge).or_insert((*stamp, version));
                    if *stamp > greatest.0 {
                        *greatest = (*stamp, version);
                    }
                    if let Place::Unlinked { seen } = &version.place {
                        found.seen.extend(seen);
                    }
                }
                Change::Content { inode, content } => {
                    let mut content = content.clone();
                    content.bases.push(inode.0);
                    found.contents.insert(*stamp, (*inode, content));
                }
            }
        }
        found.seen = found.with_superseded(found.seen.clone());
        found
    }

    fn with_superseded(&self, mut versions: BTreeSet<WireStamp>) -> BTreeSet<WireStamp> {
        loop {
            let known = versions.iter().filter_map(|version| self.contents.get(version));
            let bases: Vec<_> = known.flat_map(|(_, content)| content.bases.clone()).collect();
            let before = versions.len();
            versions.extend(bases);
            if versions.len() == before {
                return versions;
            }
        }
    }

    pub(super) fn check(&self, tree: &Tree) -> Met {
        let mut met = Met::default();
        assert_eq!(tree.hidden, BTreeSet::new(), "an orphan");
        let shown = self.walk(tree, &mut met);
        for (edge, (_, version)) in &self.places {
            let is_hung = matches!(version.place, Place::Hung { .. });
            if self.directories.contains(&version.inode) {
                // A removed one may stay for what it holds, or because a later move was a cycle.
                let is_shown = shown.contains(edge) || is_cycle(tree, *edge);
                assert!(!is_hung || is_shown, "{edge:?} is lost");
            } else {
                assert!(!is_hung || shown.contains(edge), "{edge:?} is lost");
                met.files_back += usize::from(!is_hung && shown.contains(edge));
            }
        }
        self.check_contents(tree, &mut met);
        let reasons = tree.lost.iter().map(|lost| lost.reason);
        met.cycles = reasons.clone().filter(|reason| *reason == Reason::Cycle).count();
        met.outranked = reasons.filter(|reason| *reason == Reason::Outranked).count();
        met
    }

    /// Walks from the root: every directory is met once, every edge is, and names are names.
    fn walk(&self, tree: &Tree, met: &mut Met) -> BTreeSet<EdgeId> {
        let mut edges = BTreeSet::new();
        let mut inodes = BTreeSet::new();
        let mut waiting = vec![tree.root];
        let mut directories = 0;
        while let Some(inode) = waiting.pop() {
            directories += 1;
            let directory = &tree.directories[&inode];
            assert!(directory.inodes.iter().all(|inode| inodes.insert(*inode)), "met twice");
            met.directories_merged += directory.inodes.len() - 1;
            for (name, child) in &directory.children {
                assert!(Name::from_bytes(name.as_bytes()).is_ok());
                assert!(child.edges.keys().all(|edge| edges.insert(*edge)), "hangs twice");
                met.conflict_names += usize::from(child.own_name != *name);
                waiting.extend(match child.shows {
                    Shows::Directory(inode) => Some(inode),
                    _ => None,
                });
                for (edge, inode) in &child.edges {
                    let (_, version) = self.places[edge];
                    let is_removed = matches!(version.place, Place::Unlinked { .. });
                    if is_removed && self.directories.contains(inode) {
                        met.kept_directories += 1;
                        let own = |other: &&Child| self.is_in(tree, other, *inode);
                        let Shows::Directory(group) = child.shows else { panic!("no directory") };
                        let held = tree.directories[&group].children.values().any(|it| own(&it));
                        assert!(held, "{inode:?} is kept by nothing");
                    }
                }
            }
        }
        assert_eq!(directories, tree.directories.len(), "a directory that no name leads to");
        edges
    }

    /// Says whether a child may hang in this inode: the greatest version says so, or does not tell,
    /// because it is a removal or a cycle.
    fn is_in(&self, tree: &Tree, child: &Child, inode: InodeId) -> bool {
        child.edges.keys().any(|edge| match &self.places[edge].1.place {
            Place::Hung { parent, .. } => *parent == inode || is_cycle(tree, *edge),
            Place::Unlinked { .. } => true,
        })
    }

    /// Every content version shows, is a conflict, equals such a one, is superseded by one, or was
    /// seen by whoever removed it; and of `k` versions with different bytes `k - 1` are conflicts.
    fn check_contents(&self, tree: &Tree, met: &mut Met) {
        let mut accounted = self.seen.clone();
        let children = tree.directories.values().flat_map(|directory| directory.children.values());
        for child in children {
            let Shows::File(file) = &child.shows else { continue };
            let inodes: BTreeSet<InodeId> = child.edges.values().copied().collect();
            assert!(inodes.iter().eq(&file.inodes));
            met.files_merged += inodes.len() - 1;
            let own = self.contents.iter().filter(|(_, (inode, _))| inodes.contains(inode));
            let own: BTreeSet<WireStamp> = own.map(|(stamp, _)| *stamp).collect();
            let bases = own.iter().flat_map(|stamp| self.contents[stamp].1.bases.clone()).collect();
            let superseded = self.with_superseded(bases);
            let heads: BTreeSet<WireStamp> = own.difference(&superseded).copied().collect();
            assert!(heads.iter().rev().eq(&file.heads));
            let hashes: BTreeSet<_> = heads.iter().map(|head| self.contents[head].1.hash).collect();
            assert_eq!(Some(&file.live.stamp), heads.last(), "the greatest is live");
            let shown = [&file.live].into_iter().chain(&file.conflicts).map(|it| it.content.hash);
            assert_eq!(shown.clone().count(), hashes.len());
            assert_eq!(shown.collect::<BTreeSet<_>>(), hashes);
            met.conflict_versions += file.conflicts.len();
            met.equal_heads += heads.len() - hashes.len();
            accounted.extend(self.with_superseded(own));
        }
        let lost: Vec<_> = self.contents.keys().filter(|it| !accounted.contains(it)).collect();
        assert!(lost.is_empty(), "lost versions: {lost:?}");
    }
}

/// What a campaign met: where one of these is zero, it has shown nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) versions: usize,
    pub(super) deliveries: usize,
    pub(super) directories_merged: usize,
    pub(super) files_merged: usize,
    pub(super) conflict_names: usize,
    pub(super) conflict_versions: usize,
    pub(super) equal_heads: usize,
    pub(super) kept_directories: usize,
    pub(super) files_back: usize,
    pub(super) cycles: usize,
    pub(super) outranked: usize,
    pub(super) forks: usize,
    pub(super) forks_that_differ: usize,
}

macro_rules! add_all {
    ($met:expr, $other:expr; $($field:ident)*) => { $($met.$field += $other.$field;)* };
}

impl Met {
    pub(super) fn add(&mut self, other: Self) {
        add_all!(self, other; versions deliveries directories_merged files_merged conflict_names
            conflict_versions equal_heads kept_directories files_back cycles outranked forks
            forks_that_differ);
    }
}

fn is_cycle(tree: &Tree, edge: EdgeId) -> bool {
    tree.lost.iter().any(|lost| lost.edge == edge && lost.reason == Reason::Cycle)
}
