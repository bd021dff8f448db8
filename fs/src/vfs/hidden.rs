//! `.tesfs`, the folder at the root of every mount that listings do not show.
//!
//! It holds `at/` (the tree as it was), `branches/` (other branches), `conflicts/` (the sides of what
//! is not decided), `deleted/` (what was removed) and `recovered/` (the bytes of drafts that a crash interrupted). Everything in it is read-only
//! and has numbers of its own: those of the folders are constants, those of what is in a view that
//! is shown are of its [look](looks).

mod at;
mod conflicts;
mod looks;
mod recovered;
mod removed;

use std::{
    path::Path,
    sync::{Arc, PoisonError, Weak},
};

use jiff::tz::TimeZone;
use tesfs_pathtree::{
    Ino, Name,
    branch::{self, Branch},
    tree::{self, Inode, TreeError, View},
};

use self::{
    conflicts::Part,
    looks::{Look, Looks, REMOVED, Showing},
    recovered::Recovered,
};
use super::Vfs;
use crate::{
    attributes::{Attributes, DirectoryEntry, FileKind},
    error::FsError,
    open_file::{ContentKey, Role, Source},
};

/// The reserved name in the root.
pub(super) const NAME: &[u8] = b".tesfs";

/// Numbers from here on are not in the tree.
const FIRST: u64 = 1 << 60;
const TOP: Ino = Ino(FIRST);
const RECOVERED: Ino = Ino(FIRST + 1);
const AT: Ino = Ino(FIRST + 2);
const BRANCHES: Ino = Ino(FIRST + 3);
/// What a listing says of names whose numbers are not made before somebody looks.
const NOT_LOOKED_AT: Ino = Ino(FIRST + 15);

const AT_NAME: &str = "at";
const BRANCHES_NAME: &str = "branches";
const DELETED_NAME: &str = "deleted";

/// Says whether an inode is one of the hidden folder's.
pub(super) fn is_hidden(ino: Ino) -> bool {
    ino.0 >= FIRST
}

/// The hidden folder of one mount.
pub(super) struct Hidden {
    recovered: Recovered,
    looks: Looks,
    zone: TimeZone,
}

/// What a hidden number stands for.
enum Place {
    Top,
    At,
    Branches,
    Recovered,
    RecoveredFile,
    InLook(Arc<Look>, Ino),
    InConflicts(Part),
}

impl Hidden {
    pub(super) fn new(database: &Path, view: &View, zone: TimeZone) -> Self {
        Self { recovered: Recovered::beside(database), looks: Looks::new(view), zone }
    }

    /// Takes the place of `before` in a mount: forgets every number, and gives out none of its.
    #[cfg(feature = "fuse")]
    pub(super) fn begin_behind(&self, before: &Self) {
        self.looks.begin_behind(&before.looks);
    }
}

impl Vfs {
    /// Says whether what is at a number, or what names lead to in it, may change without the
    /// kernel's doing and without anybody's telling it.
    pub fn changes_untold(&self, ino: Ino) -> bool {
        match ino {
            TOP | RECOVERED => false,
            AT | BRANCHES => true,
            _ if !is_hidden(ino) => false,
            _ if Part::of(ino).is_some() => true,
            _ => match self.look(ino) {
                Some((look, _)) => look.showing != Showing::Still,
                None => false,
            },
        }
    }

    /// Notes that the kernel was given the number of an inode by a name, once more.
    ///
    /// What is shown under `.tesfs` keeps its number until the kernel [forgot](Vfs::forget) it as
    /// often, and for a moment where it was never given out.
    pub fn remember(&self, ino: Ino) {
        if is_hidden(ino) {
            self.hidden.looks.remember(ino);
        }
    }

    /// Notes that the kernel forgot so many lookups of an inode.
    pub fn forget(&self, ino: Ino, lookups: u64) {
        if is_hidden(ino) {
            self.hidden.looks.forget(ino, lookups);
        }
    }

    /// Returns the view that an inode is seen in and its number there; `None` for what is in no
    /// tree, like the folders of `.tesfs`.
    pub(super) fn seen(&self, ino: Ino) -> Result<Option<(View, Ino)>, FsError> {
        if !is_hidden(ino) {
            return Ok(Some((self.view.clone(), ino)));
        }
        Ok(match self.place(ino)? {
            Place::InLook(look, own) => Some((look.view.clone(), own)),
            _ => None,
        })
    }

    pub(super) fn hidden_lookup(&self, parent: Ino, name: &Name) -> Result<Attributes, FsError> {
        let missing = || FsError::from(TreeError::EdgeNotFound { parent, name: name.clone() });
        if parent == self.root() {
            return self.hidden_attributes(TOP);
        }
        let look = match self.place(parent)? {
            Place::Top => {
                return self.hidden_attributes(self.top_folder(name)?.ok_or_else(missing)?);
            }
            Place::Recovered => return self.hidden.recovered.lookup(parent, name),
            Place::RecoveredFile => return Err(TreeError::NotADirectory(parent).into()),
            Place::InConflicts(part) => return self.conflict_child(parent, part, name),
            Place::At => self.look_at(name)?,
            Place::Branches => self.look_at_branch(name)?,
            Place::InLook(look, own) if look.showing == Showing::Removed => {
                let found = self.removed_child(&look, own, name)?.ok_or_else(missing)?;
                return self.hidden_attributes(found);
            }
            Place::InLook(look, own) => {
                let found = self.db.read(|conn| tree::lookup(conn, &look.view, own, name))?;
                return shown(&look, &found.ok_or_else(missing)?);
            }
        };
        let look = look.ok_or_else(missing)?;
        let root = look.number(look.view.root)?;
        // Before the bucket was made, or the branch, there was nothing to look at.
        self.hidden_attributes(root).map_err(|err| match err {
            FsError::Tree(TreeError::InodeGone(_)) => missing(),
            other => other,
        })
    }

    pub(super) fn hidden_attributes(&self, ino: Ino) -> Result<Attributes, FsError> {
        match self.place(ino)? {
            Place::Top | Place::At | Place::Branches => self.hidden.recovered.folder(ino, 0o555),
            Place::Recovered => self.hidden.recovered.folder(ino, 0o500),
            Place::RecoveredFile => self.hidden.recovered.attributes(ino),
            Place::InConflicts(part) => self.conflict_attributes(part),
            Place::InLook(look, own) => shown(&look, &self.require_seen(&look, own)?),
        }
    }

    pub(super) fn hidden_parent(&self, ino: Ino) -> Result<Ino, FsError> {
        Ok(match self.place(ino)? {
            Place::Top => self.root(),
            Place::At | Place::Branches | Place::Recovered => TOP,
            Place::RecoveredFile => RECOVERED,
            Place::InConflicts(part) => self.conflict_parent(part)?.unwrap_or(TOP),
            Place::InLook(look, own) if own == look.view.root => match look.showing {
                Showing::Still => AT,
                Showing::Live => BRANCHES,
                Showing::Removed => TOP,
            },
            Place::InLook(look, own) => {
                let parent = self.require_seen(&look, own)?.parent;
                look.number(if parent == Ino(0) { look.view.root } else { parent })?
            }
        })
    }

    pub(super) fn hidden_list(&self, directory: Ino) -> Result<Vec<DirectoryEntry>, FsError> {
        match self.place(directory)? {
            Place::Top => self.list_top(),
            Place::At => self.list_at(),
            Place::Branches => {
                let names = self.other_branches()?.into_iter().map(|branch| branch.name);
                not_looked_at(names)
            }
            Place::Recovered => self.hidden.recovered.list(),
            Place::RecoveredFile => Err(TreeError::NotADirectory(directory).into()),
            Place::InConflicts(part) => self.list_conflicts(part),
            Place::InLook(look, own) if look.showing == Showing::Removed => {
                self.list_removed(&look, own)
            }
            Place::InLook(look, own) => {
                let listed = self.db.read(|conn| tree::list(conn, &look.view, own))?;
                let entry = |entry: tree::Listed| {
                    let kind = FileKind::of_mode(entry.mode);
                    let (edge, ino) = (entry.row.0, look.number(entry.ino)?);
                    Ok(DirectoryEntry { edge, name: entry.name, ino, kind })
                };
                listed.into_iter().map(entry).collect()
            }
        }
    }

    /// Opens what is at a hidden number for reading.
    pub(super) fn open_seen(&self, ino: Ino) -> Result<Role, FsError> {
        match self.place(ino)? {
            Place::RecoveredFile => {
                let shown = Box::new(self.hidden.recovered.attributes(ino)?);
                let source = Source::Plain(Arc::new(self.hidden.recovered.open(ino)?));
                Ok(Role::Pinned { source, content: ContentKey { version: None }, shown })
            }
            Place::InConflicts(Part::Side(number, which)) => self.open_side(number, which),
            Place::InLook(look, own) => {
                let (source, inode) = self.pin_elsewhere(&look.view, own)?;
                let content = ContentKey::of(inode.content);
                Ok(Role::Pinned { source, content, shown: Box::new(shown(&look, &inode)?) })
            }
            _ => Err(TreeError::IsADirectory(ino).into()),
        }
    }

    /// Pins a version that is shown under `.tesfs`, by the line of whoever may be writing into its
    /// file.
    fn pin_elsewhere(&self, view: &View, own: Ino) -> Result<(Source, Inode), FsError> {
        loop {
            if let Some(vfs) = self.writing(view, own) {
                return vfs.pin(view, own, None);
            }
            let pinned = self.pin(view, own, None)?;
            // Who began meanwhile may have published what was pinned, and go on writing into it.
            if self.writing(view, own).is_none() {
                return Ok(pinned);
            }
        }
    }

    /// Returns where an inode is open for writing: on the branch that is looked at, else on any.
    fn writing(&self, view: &View, own: Ino) -> Option<Arc<Self>> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = others.iter().chain([&self.me]).filter_map(Weak::upgrade);
        all.filter(|vfs| vfs.has_writers(own)).max_by_key(|vfs| vfs.view.branch == view.branch)
    }

    fn place(&self, ino: Ino) -> Result<Place, FsError> {
        Ok(match ino {
            TOP => Place::Top,
            AT => Place::At,
            BRANCHES => Place::Branches,
            RECOVERED => Place::Recovered,
            _ => match self.look(ino) {
                Some((look, own)) => Place::InLook(look, own),
                None if looks::is_in_look(ino) => return Err(TreeError::InodeGone(ino).into()),
                None => Part::of(ino).map_or(Place::RecoveredFile, Place::InConflicts),
            },
        })
    }

    fn look(&self, ino: Ino) -> Option<(Arc<Look>, Ino)> {
        self.hidden.looks.find(ino, self.db.clock().now_ns())
    }

    fn top_folder(&self, name: &Name) -> Result<Option<Ino>, FsError> {
        Ok(match name.as_bytes() {
            of if of == AT_NAME.as_bytes() => Some(AT),
            of if of == BRANCHES_NAME.as_bytes() => Some(BRANCHES),
            of if of == conflicts::NAME.as_bytes() => Some(Part::Directory(self.root()).number()?),
            of if of == DELETED_NAME.as_bytes() => Some(looks::number(REMOVED, self.root())?),
            of if of == recovered::NAME.as_bytes() => Some(RECOVERED),
            _ => None,
        })
    }

    fn list_top(&self) -> Result<Vec<DirectoryEntry>, FsError> {
        [AT_NAME, BRANCHES_NAME, conflicts::NAME, DELETED_NAME, recovered::NAME]
            .into_iter()
            .zip(0..)
            .map(|(name, edge)| {
                let name = Name::from_bytes(name.as_bytes())?;
                let ino = self.top_folder(&name)?.unwrap_or(NOT_LOOKED_AT);
                Ok(DirectoryEntry { edge, name, ino, kind: FileKind::Directory })
            })
            .collect()
    }

    /// Returns a branch in use, if it is another one than is mounted here.
    fn look_at_branch(&self, name: &Name) -> Result<Option<Arc<Look>>, FsError> {
        let Ok(text) = std::str::from_utf8(name.as_bytes()) else { return Ok(None) };
        let found = self.db.read(|conn| branch::find(conn, &self.bucket, text))?;
        let is_other = |branch: &Branch| !branch.frozen && branch.number != self.branch.number;
        self.look_at_all_of(found.filter(is_other).as_ref(), Showing::Live)
    }

    /// Returns the look at all that a branch or snapshot shows.
    fn look_at_all_of(
        &self,
        branch: Option<&Branch>,
        showing: Showing,
    ) -> Result<Option<Arc<Look>>, FsError> {
        let Some(branch) = branch else { return Ok(None) };
        let Some(view) = self.db.read(|conn| View::of(conn, branch.number))? else {
            return Ok(None);
        };
        let now_ns = self.db.clock().now_ns();
        Ok(Some(self.hidden.looks.at((branch.number, None), (view, showing), now_ns)?))
    }

    fn other_branches(&self) -> Result<Vec<Branch>, FsError> {
        let mut branches = self.branches_in_use()?;
        branches.retain(|branch| !branch.frozen && branch.number != self.branch.number);
        Ok(branches)
    }

    fn branches_in_use(&self) -> Result<Vec<Branch>, FsError> {
        let mut branches = self.db.read(|conn| branch::list(conn, &self.bucket))?;
        branches.retain(|branch| branch.abandoned_ns.is_none());
        Ok(branches)
    }

    fn require_seen(&self, look: &Look, own: Ino) -> Result<Inode, FsError> {
        let found = self.db.read(|conn| tree::inode(conn, &look.view, own))?;
        Ok(found.ok_or(TreeError::InodeGone(own))?)
    }
}

/// Shows an inode of a look.
fn shown(look: &Look, inode: &Inode) -> Result<Attributes, FsError> {
    let mut shown = Attributes { ino: look.number(inode.ino)?, ..Attributes::from(inode) };
    if look.showing == Showing::Removed {
        // Programs take a file without links for one that vanishes while they read it.
        shown.nlink = 1;
    }
    Ok(shown)
}

/// Lists folders whose numbers are not made yet.
fn not_looked_at(names: impl IntoIterator<Item = String>) -> Result<Vec<DirectoryEntry>, FsError> {
    let entry = |(name, edge): (String, u64)| {
        let name = Name::from_bytes(name.as_bytes())?;
        Ok(DirectoryEntry { edge, name, ino: NOT_LOOKED_AT, kind: FileKind::Directory })
    };
    names.into_iter().zip(0..).map(entry).collect()
}
