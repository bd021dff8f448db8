//! A device that changes the tree it sees, as the layers above will.

use super::*;

/// One device: what it has seen, and what it wrote.
#[derive(Clone)]
pub(super) struct Writer {
    actor: u8,
    last: u64,
    pub(super) seen: Versions,
    /// Its own versions, in order.
    pub(super) written: Vec<Version>,
    /// Edges that it removed.
    removed: Vec<(EdgeId, InodeId)>,
}

impl Writer {
    pub(super) fn new(actor: u8) -> Self {
        let seen = Versions::new(root());
        Self { actor, last: START.0, seen, written: Vec::new(), removed: Vec::new() }
    }

    /// Lets the clock stand at `reading` at least.
    pub(super) fn advance(&mut self, reading: u64) {
        self.last = self.last.max(START.0 + reading);
    }

    pub(super) fn receive(&mut self, versions: &[Version]) {
        for version in versions {
            self.last = self.last.max(version.stamp.hlc.0);
        }
        self.seen.extend(versions.iter().cloned());
    }

    /// Hears of everything another has written.
    pub(super) fn hear(&mut self, other: &Self) {
        self.receive(&other.written);
    }

    pub(super) fn tree(&self) -> Tree {
        self.seen.tree()
    }

    /// Finds what a path shows.
    pub(super) fn child(&self, path: &str) -> Child {
        self.tree()
            .at(path)
            .unwrap_or_else(|| panic!("{path} is not there:\n{}", self.tree().dump()))
    }

    fn tick(&mut self) -> WireStamp {
        self.last += 1;
        stamp(self.last, self.actor)
    }

    fn write(&mut self, stamp: WireStamp, change: Change) {
        let version = Version { stamp, change };
        self.seen.insert(version.clone());
        self.written.push(version);
    }

    fn place(&mut self, at: WireStamp, (edge, inode): (EdgeId, InodeId), place: Place) {
        let bases = self.seen.place_heads(inode, edge);
        self.write(at, Change::Place(PlaceVersion { edge, inode, bases, place }));
    }

    fn hang(&mut self, at: WireStamp, edge: (EdgeId, InodeId), slot: &Slot) {
        let (parent, name, replaces) = slot.clone();
        self.place(at, edge, Place::Hung { parent, name, replaces });
    }

    pub(super) fn create(&mut self, parent: InodeId, name: &Name, kind: Kind) -> InodeId {
        let at = self.tick();
        self.write(at, Change::Birth(kind));
        let inode = InodeId(at);
        self.write(at, Change::Attributes { inode, values: vec![Attribute::Permissions(0o644)] });
        self.hang(at, (EdgeId(at), inode), &(parent, name.clone(), None));
        inode
    }

    /// Writes bytes over everything that `bases` name.
    pub(super) fn put(&mut self, inode: InodeId, bases: &[WireStamp], bytes: u8) -> WireStamp {
        let at = self.tick();
        let hash = (bytes > 0).then_some([bytes; 32]);
        let bases = bases.to_vec();
        let content = Content { bases, hash, size_bytes: bytes.into(), mtime_ns: at.hlc.unix_ns() };
        self.write(at, Change::Content { inode, content });
        at
    }

    pub(super) fn set(&mut self, inode: InodeId, values: Vec<Attribute>) {
        let at = self.tick();
        self.write(at, Change::Attributes { inode, values });
    }

    /// Gives an inode a further name.
    pub(super) fn link_inode(&mut self, inode: InodeId, parent: InodeId, name: &Name) {
        let at = self.tick();
        self.hang(at, (EdgeId(at), inode), &(parent, name.clone(), None));
    }

    pub(super) fn remove(&mut self, child: &Child) {
        let seen = match &child.shows {
            Shows::File(file) => file.heads.clone(),
            _ => vec![],
        };
        for (edge, inode) in &child.edges {
            let at = self.tick();
            self.place(at, (*edge, *inode), Place::Unlinked { seen: seen.clone() });
            self.removed.push((*edge, *inode));
        }
    }

    /// Moves every edge of a child, over what is there.
    pub(super) fn rename(&mut self, child: &Child, parent: InodeId, name: &Name) {
        let tree = self.tree();
        let over = tree.directories.values().find(|at| at.inodes.contains(&parent));
        let over = over.and_then(|at| at.children.get(name)).filter(|over| *over != child);
        let replaces = over.and_then(|over| match &over.shows {
            Shows::File(file) => Some(file.inode),
            _ => None,
        });
        if let Some(over) = over {
            self.remove(over);
        }
        for (edge, inode) in &child.edges {
            let at = self.tick();
            self.hang(at, (*edge, *inode), &(parent, name.clone(), replaces));
        }
    }

    /// Hangs an edge again that was removed.
    pub(super) fn restore(&mut self, parent: InodeId, name: &Name) {
        if let Some(edge) = self.removed.pop() {
            let at = self.tick();
            self.hang(at, edge, &(parent, name.clone(), None));
        }
    }
}

type Slot = (InodeId, Name, Option<InodeId>);

/// The same by paths, for tests that tell a story.
impl Writer {
    pub(super) fn directory(&self, path: &str) -> InodeId {
        match path {
            "" => root(),
            _ => match self.child(path).shows {
                Shows::Directory(inode) => inode,
                shows => panic!("{path} is {shows:?}"),
            },
        }
    }

    fn slot(&self, path: &str) -> (InodeId, Name) {
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
        (self.directory(parent), name(last))
    }

    pub(super) fn mkdir(&mut self, path: &str) -> InodeId {
        let (parent, name) = self.slot(path);
        self.create(parent, &name, Kind::Directory)
    }

    /// Creates a file with some bytes.
    pub(super) fn create_file(&mut self, path: &str, bytes: u8) -> InodeId {
        let (parent, name) = self.slot(path);
        let inode = self.create(parent, &name, Kind::File);
        self.put(inode, &[], bytes);
        inode
    }

    /// Writes into the file that shows.
    pub(super) fn edit(&mut self, path: &str, bytes: u8) -> WireStamp {
        let file = self.file(path);
        self.put(file.inode, &file.heads, bytes)
    }

    /// Saves as editors do: a new file, renamed over the old one.
    pub(super) fn save(&mut self, path: &str, bytes: u8) -> InodeId {
        let inode = self.create_file("tmp", bytes);
        self.mv("tmp", path);
        inode
    }

    pub(super) fn mv(&mut self, from: &str, to: &str) {
        let (parent, name) = self.slot(to);
        self.rename(&self.child(from), parent, &name);
    }

    pub(super) fn link(&mut self, from: &str, to: &str) {
        let (parent, name) = self.slot(to);
        self.link_inode(self.file(from).inode, parent, &name);
    }

    pub(super) fn rm(&mut self, path: &str) {
        self.remove(&self.child(path));
    }

    pub(super) fn file(&self, path: &str) -> File {
        match self.child(path).shows {
            Shows::File(file) => file,
            shows => panic!("{path} is {shows:?}"),
        }
    }
}

impl Tree {
    /// Finds what a path shows.
    pub(super) fn at(&self, path: &str) -> Option<Child> {
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = match parent {
            "" => self.root,
            _ => match self.at(parent)?.shows {
                Shows::Directory(inode) => inode,
                _ => return None,
            },
        };
        self.directories[&parent].children.get(&name(last)).cloned()
    }

    /// The names in a directory of the root, or in the root (`""`).
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let directory = match path {
            "" => self.root,
            _ => match self.at(path).map(|child| child.shows) {
                Some(Shows::Directory(inode)) => inode,
                shows => panic!("{path} is {shows:?}"),
            },
        };
        self.directories[&directory].children.keys().map(Name::to_string).collect()
    }

    pub(super) fn file(&self, path: &str) -> File {
        match self.at(path).map(|child| child.shows) {
            Some(Shows::File(file)) => file,
            shows => panic!("{path} is {shows:?}:\n{}", self.dump()),
        }
    }
}
