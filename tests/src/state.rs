//! What a writer was promised so far.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

/// Number of a file of one writer; it stays with the file through renames and links.
pub type FileId = u64;

/// The whole content of a version, shared between the states that remember it.
pub type Bytes = Arc<Vec<u8>>;

/// Bytes written at an offset.
#[derive(Clone, Debug)]
pub struct Piece {
    pub offset: usize,
    pub bytes: Bytes,
}

/// What a file holds at least, whatever happens to the power.
#[derive(Clone, Debug)]
pub enum Floor {
    /// Neither fsync nor a power-safe version: the file may be absent.
    Nothing,
    /// This version, whole.
    Whole(Bytes),
    /// Every byte of `fsynced`, except where a write of the same handle came later.
    Fsynced { fsynced: Bytes, later: Vec<Piece> },
}

/// One file: its floor, and the versions that closes added on top of it.
#[derive(Clone, Debug)]
pub struct File {
    pub floor: Floor,
    /// Closed versions since the floor, oldest first. A kill keeps the last, a power cut any.
    pub versions: Vec<Bytes>,
    /// What it may be as well: the file as it was before a close without a name. Should the name
    /// come back, that version was seen by nobody.
    pub otherwise: Option<Arc<Self>>,
    /// It had two names at once.
    pub linked: bool,
    /// A change of its names was acknowledged: it is there after a kill, if empty.
    pub born: bool,
}

/// What a rename replaced: where the file it brought is withdrawn without a base, this comes back.
#[derive(Clone, Debug)]
pub struct Replaced {
    pub at: String,
    pub file: FileId,
    /// What that file had replaced itself, at the same name.
    pub below: Option<Arc<Self>>,
    /// What the edge had replaced before, at another name.
    pub before: Option<Arc<Self>>,
    /// The edge that replaced it moved on: it may come back, and need not.
    pub moved: bool,
}

impl Replaced {
    /// This, and what the same edge had replaced before.
    pub fn and_earlier(&self) -> impl Iterator<Item = &Self> {
        iter::successors(Some(self), |one| one.before.as_deref())
    }

    fn moved(self: Arc<Self>) -> Arc<Self> {
        Arc::new(Self { moved: true, ..Arc::unwrap_or_clone(self) })
    }
}

impl File {
    /// A file that was created and not closed yet.
    #[must_use]
    pub fn created() -> Self {
        Self {
            floor: Floor::Nothing,
            versions: Vec::new(),
            otherwise: None,
            linked: false,
            born: false,
        }
    }

    /// The content every new reader must see, if that is certain.
    #[must_use]
    pub fn current(&self) -> Option<Bytes> {
        match (self.versions.last(), &self.floor) {
            (Some(version), _) => Some(Arc::clone(version)),
            (None, Floor::Whole(version)) => Some(Arc::clone(version)),
            (None, Floor::Nothing | Floor::Fsynced { .. }) => None,
        }
    }

    /// Lets the version that is current survive a power cut; says whether it is certain which.
    fn settle(&mut self) -> bool {
        let Some(current) = self.current() else { return false };
        self.floor = Floor::Whole(current);
        self.versions.clear();
        true
    }

    /// Settles the file whichever it is, the one it was before a close without a name, or since.
    fn settle_either(&mut self) {
        self.settle();
        if let Some(otherwise) = &mut self.otherwise {
            Arc::make_mut(otherwise).settle_either();
        }
    }
}

/// Names and files of one writer after some acknowledged operation.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub names: BTreeMap<String, FileId>,
    /// Of names that came by a rename over another file.
    pub replaced: BTreeMap<String, Arc<Replaced>>,
    /// Files that have a name, and files that lost it to a rename (they may come back).
    pub files: BTreeMap<FileId, File>,
}

impl State {
    /// The file that `name` leads to.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&File> {
        self.files.get(self.names.get(name)?)
    }

    /// The file with number `id`, which the caller knows to exist.
    pub fn file_mut(&mut self, id: FileId) -> &mut File {
        self.files.get_mut(&id).expect("a writer names only files it made")
    }

    /// Does a name lead to the file with number `id`?
    #[must_use]
    pub fn is_named(&self, id: FileId) -> bool {
        self.names.values().any(|named| *named == id)
    }

    /// Closes a handle that wrote: `content` is a version from now on.
    ///
    /// Where no name leads to the file, nobody sees that version: should the name come back, the
    /// file may as well be what it was before.
    pub fn close(&mut self, id: FileId, content: Bytes) {
        let named = self.is_named(id);
        let file = self.file_mut(id);
        if !named {
            file.otherwise = Some(Arc::new(file.clone()));
        }
        file.versions.push(content);
    }

    /// Fsyncs a handle that wrote: `content` survives a power cut, also where no name leads to
    /// the file and a withdrawal gives it one back.
    pub fn fsync(&mut self, id: FileId, content: Bytes) {
        let file = self.file_mut(id);
        file.floor = Floor::Fsynced { fsynced: content, later: Vec::new() };
        file.versions.clear();
        file.otherwise = None;
    }

    /// Fsyncs a handle that wrote nothing: the version it would go on from survives a power cut.
    /// Says whether that is certain.
    pub fn fsync_clean(&mut self, id: FileId) -> bool {
        let file = self.file_mut(id);
        file.otherwise = None;
        file.settle()
    }

    /// Fsyncs `directory`: every change so far survives a power cut, the bytes of every closed
    /// version included. Nothing is said of the bytes of `writing`, whose handle has written since;
    /// a file in `directory` that was never closed is there, at least empty.
    pub fn fsync_directory(&mut self, directory: &str, writing: Option<FileId>) {
        for (_, file) in self.files.iter_mut().filter(|(id, _)| Some(**id) != writing) {
            file.settle_either();
        }
        let is_in = |name: &str| name.rfind('/').map_or("", |end| &name[..=end]) == directory;
        for (_, id) in self.names.iter().filter(|(name, _)| is_in(name)) {
            let file = self.files.get_mut(id).expect("a writer names only files it made");
            if matches!(file.floor, Floor::Nothing) && file.versions.is_empty() {
                file.floor = Floor::Whole(Bytes::default());
            }
        }
    }

    /// Moves `from` over `to` as rename(2) does.
    pub fn rename(&mut self, from: &str, to: &str) {
        let Some(id) = self.names.get(from).copied() else { return };
        let old = self.names.get(to).copied();
        if old == Some(id) {
            return; // two names of one file: rename(2) does nothing
        }
        self.names.remove(from);
        self.names.insert(to.to_owned(), id);
        self.file_mut(id).born = true;
        let before = self.replaced.remove(from).map(Replaced::moved);
        let below = self.replaced.remove(to);
        let at = to.to_owned();
        let replaced = match old {
            Some(file) => Some(Arc::new(Replaced { at, file, below, before, moved: false })),
            None => before,
        };
        if let Some(replaced) = replaced {
            self.replaced.insert(to.to_owned(), replaced);
        }
    }

    /// Gives the file that `from` leads to a second name.
    pub fn link(&mut self, from: &str, to: &str) {
        let Some(id) = self.names.get(from).copied() else { return };
        self.names.insert(to.to_owned(), id);
        let file = self.file_mut(id);
        (file.linked, file.born) = (true, true);
    }

    /// Takes a name away.
    pub fn unlink(&mut self, name: &str) {
        self.names.remove(name);
        self.replaced.remove(name);
    }

    /// Swaps what two names lead to.
    pub fn exchange(&mut self, one: &str, other: &str) {
        let (Some(first), Some(second)) =
            (self.names.get(one).copied(), self.names.get(other).copied())
        else {
            return;
        };
        if first == second {
            return; // nothing moves
        }
        self.names.insert(one.to_owned(), second);
        self.names.insert(other.to_owned(), first);
        self.file_mut(first).born = true;
        self.file_mut(second).born = true;
        let (mine, theirs) = (self.replaced.remove(one), self.replaced.remove(other));
        self.replaced.extend(mine.map(|replaced| (other.to_owned(), replaced.moved())));
        self.replaced.extend(theirs.map(|replaced| (one.to_owned(), replaced.moved())));
    }
}
