//! `conflicts/`: the sides of what is not decided, as files that `diff3` and `cp` can read.
//!
//! Where the tree has `letters/ada.txt`, `letters/ada.txt/` is a folder here with the files `ours`
//! (what the branch had), `theirs` (what came) and `base` (what both began with, as long as history
//! has it). Listings have only what leads to a conflict; a directory without any can be looked up,
//! and is empty. Of several conflicts of one file the oldest has the plain names, the others have
//! their numbers behind them: `theirs-7`. Two places for one file are no bytes, and do not show.

use std::collections::BTreeMap;

use tesfs_pathtree::{
    Ino, Name,
    tree::{self, Conflict, ConflictKind, ConflictSide, Inode, Sides, TreeError},
};

use super::FIRST;
use crate::{
    attributes::{Attributes, DirectoryEntry, FileKind, blocks_of},
    error::FsError,
    open_file::{ContentKey, Role, Source},
    vfs::Vfs,
};

/// The folder's name.
pub(super) const NAME: &str = "conflicts";
/// Set in the numbers of what is in the folder, and none above it but that of all hidden ones.
const BIT: u64 = 1 << 58;
/// Where a number says what it is of; below it is the number of that.
const KIND_SHIFT: u32 = 56;
/// Sides of a conflict that a number has room for.
const SIDES_MAX: u64 = 4;

/// What a number in the folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A directory of the tree; the folder itself is its root.
    Directory(Ino),
    /// The sides of a file, by its oldest conflict.
    File(u64),
    /// One side of a conflict.
    Side(u64, Which),
}

/// Which side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Ours,
    Theirs,
    Base,
}

impl Which {
    const ALL: [Self; 3] = [Self::Ours, Self::Theirs, Self::Base];

    fn word(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
            Self::Base => "base",
        }
    }

    fn of(self, sides: Sides) -> Option<ConflictSide> {
        match self {
            Self::Ours => sides.ours,
            Self::Theirs => sides.theirs,
            Self::Base => sides.base,
        }
    }
}

impl Part {
    /// Returns the number of a part.
    ///
    /// # Errors
    ///
    /// [`FsError::NumbersUsedUp`].
    pub(super) fn number(self) -> Result<Ino, FsError> {
        let (kind, own) = match self {
            Self::Directory(own) => (0, own.0),
            Self::File(conflict) => (1, conflict),
            Self::Side(conflict, which) => (2, conflict * SIDES_MAX + which as u64),
        };
        match own >> KIND_SHIFT {
            0 => Ok(Ino(FIRST | BIT | kind << KIND_SHIFT | own)),
            _ => Err(FsError::NumbersUsedUp),
        }
    }

    /// Returns the part that a number stands for; `None` where it is not in the folder.
    pub(super) fn of(ino: Ino) -> Option<Self> {
        if ino.0 & !(BIT - 1) != FIRST | BIT {
            return None;
        }
        let own = ino.0 & ((1 << KIND_SHIFT) - 1);
        match ino.0 >> KIND_SHIFT & 3 {
            0 => Some(Self::Directory(Ino(own))),
            1 => Some(Self::File(own)),
            2 => {
                let which = usize::try_from(own % SIDES_MAX).ok()?;
                Some(Self::Side(own / SIDES_MAX, *Which::ALL.get(which)?))
            }
            _ => None,
        }
    }
}

impl Vfs {
    pub(super) fn conflict_child(
        &self,
        parent: Ino,
        part: Part,
        name: &Name,
    ) -> Result<Attributes, FsError> {
        let found = match part {
            Part::Directory(own) => self.conflict_entry(own, name)?,
            Part::File(number) => self
                .conflict_sides(number)?
                .into_iter()
                .find(|(called, _)| called == name)
                .map(|(_, part)| part),
            Part::Side(..) => return Err(TreeError::NotADirectory(parent).into()),
        };
        let missing = || TreeError::EdgeNotFound { parent, name: name.clone() };
        self.conflict_attributes(found.ok_or_else(missing)?)
    }

    /// What a name leads to in a directory.
    fn conflict_entry(&self, own: Ino, name: &Name) -> Result<Option<Part>, FsError> {
        if let Some(first) = self.conflicts_called((own, name))?.first() {
            return Ok(Some(Part::File(first.number.cast_unsigned())));
        }
        let found = self.db.read(|conn| tree::lookup(conn, &self.view, own, name))?;
        Ok(found.filter(Inode::is_directory).map(|found| Part::Directory(found.ino)))
    }

    /// The conflicts that show under a name, oldest first.
    fn conflicts_called(&self, at: (Ino, &Name)) -> Result<Vec<Conflict>, FsError> {
        let mut found = self.db.read(|conn| tree::conflicts_at(conn, &self.view, at))?;
        let mut shown = Vec::with_capacity(found.len());
        for conflict in found.drain(..) {
            let home = self.conflict_home(&conflict)?;
            if home.is_some_and(|(parent, name)| (parent, &name) == at) {
                shown.push(conflict);
            }
        }
        Ok(shown)
    }

    /// Where the sides of a conflict show: where its file is, or was last, or wants to be.
    fn conflict_home(&self, conflict: &Conflict) -> Result<Option<(Ino, Name)>, FsError> {
        let is_file = |ino| {
            let found = self.db.read(|conn| tree::inode(conn, &self.view, ino))?;
            Ok::<_, FsError>(found.is_some_and(|found| found.is_file()))
        };
        match conflict.kind {
            ConflictKind::Content => {
                Ok(self.db.read(|conn| tree::last_place_of(conn, &self.view, conflict.ino))?)
            }
            ConflictKind::Place => Ok(None),
            ConflictKind::Name => match conflict.rival {
                Some(rival) if is_file(rival)? && is_file(conflict.ino)? => {
                    Ok(conflict.place.clone())
                }
                _ => Ok(None),
            },
        }
    }

    /// The files of a folder: the sides of all conflicts about one file.
    fn conflict_sides(&self, number: u64) -> Result<Vec<(Name, Part)>, FsError> {
        let gone = || TreeError::InodeGone(Part::File(number).number().unwrap_or(Ino(FIRST)));
        let first = self.require_conflict(number, gone)?;
        let (parent, name) = self.conflict_home(&first)?.ok_or_else(gone)?;
        let mut found = Vec::new();
        for (nth, conflict) in self.conflicts_called((parent, &name))?.iter().enumerate() {
            let sides = self.db.read(|conn| tree::sides(conn, &self.view, conflict))?;
            for which in Which::ALL {
                if which.of(sides.clone()).is_none() {
                    continue;
                }
                let called = match nth {
                    0 => which.word().to_owned(),
                    _ => format!("{}-{}", which.word(), conflict.number),
                };
                let part = Part::Side(conflict.number.cast_unsigned(), which);
                found.push((Name::from_bytes(called.as_bytes())?, part));
            }
        }
        Ok(found)
    }

    fn require_conflict(
        &self,
        number: u64,
        gone: impl Fn() -> TreeError,
    ) -> Result<Conflict, FsError> {
        let number = number.cast_signed();
        let found = self.db.read(|conn| tree::conflict(conn, &self.view, number))?;
        Ok(found.ok_or_else(gone)?)
    }

    fn require_side(&self, number: u64, which: Which) -> Result<(Conflict, ConflictSide), FsError> {
        let gone =
            || TreeError::InodeGone(Part::Side(number, which).number().unwrap_or(Ino(FIRST)));
        let conflict = self.require_conflict(number, gone)?;
        let sides = self.db.read(|conn| tree::sides(conn, &self.view, &conflict))?;
        let side = which.of(sides).ok_or_else(gone)?;
        Ok((conflict, side))
    }

    /// Shows a part with the owner of what it is of, and as much of its permissions as is reading.
    pub(super) fn conflict_attributes(&self, part: Part) -> Result<Attributes, FsError> {
        let ino = part.number()?;
        let inode = |ino| {
            let found = self.db.read(|conn| tree::inode(conn, &self.view, ino))?;
            Ok::<_, FsError>(found.ok_or(TreeError::InodeGone(ino))?)
        };
        match part {
            Part::Directory(own) => {
                let shown = Attributes::from(&inode(own)?);
                if shown.kind != FileKind::Directory {
                    return Err(TreeError::InodeGone(ino).into());
                }
                Ok(Attributes { ino, mode: shown.mode & 0o555, nlink: 1, ..shown })
            }
            Part::File(number) => {
                let conflict = self.require_conflict(number, || TreeError::InodeGone(ino))?;
                let shown = Attributes::from(&inode(conflict.ino)?);
                let readable = shown.mode & 0o444;
                let (kind, mode) = (FileKind::Directory, readable | readable >> 2);
                Ok(Attributes { ino, kind, mode, nlink: 1, size: 0, blocks: 0, rdev: 0, ..shown })
            }
            Part::Side(number, which) => {
                let (_, side) = self.require_side(number, which)?;
                Ok(shown_side(ino, &side, &inode(side.ino)?))
            }
        }
    }

    /// Returns the number of the folder that a part is in; `None` is `.tesfs` itself.
    pub(super) fn conflict_parent(&self, part: Part) -> Result<Option<Ino>, FsError> {
        let gone = || TreeError::InodeGone(part.number().unwrap_or(Ino(FIRST)));
        let parent = match part {
            Part::Directory(own) if own == self.root() => return Ok(None),
            Part::Directory(own) => {
                let found = self.db.read(|conn| tree::inode(conn, &self.view, own))?;
                Part::Directory(found.ok_or_else(gone)?.parent)
            }
            Part::File(number) => {
                let conflict = self.require_conflict(number, gone)?;
                let (parent, _) = self.conflict_home(&conflict)?.ok_or_else(gone)?;
                Part::Directory(parent)
            }
            Part::Side(number, _) => {
                let conflict = self.require_conflict(number, gone)?;
                let (parent, name) = self.conflict_home(&conflict)?.ok_or_else(gone)?;
                let all = self.conflicts_called((parent, &name))?;
                Part::File(all.first().ok_or_else(gone)?.number.cast_unsigned())
            }
        };
        Ok(Some(parent.number()?))
    }

    pub(super) fn list_conflicts(&self, part: Part) -> Result<Vec<DirectoryEntry>, FsError> {
        let entry = |(edge, (name, part)): (u64, (Name, Part))| {
            let kind = match part {
                Part::Side(..) => FileKind::File,
                Part::Directory(_) | Part::File(_) => FileKind::Directory,
            };
            Ok(DirectoryEntry { edge, name, ino: part.number()?, kind })
        };
        let entries = match part {
            Part::Directory(own) => self.conflict_entries(own)?,
            Part::File(number) => self.conflict_sides(number)?,
            Part::Side(..) => return Err(TreeError::NotADirectory(part.number()?).into()),
        };
        (0..).zip(entries).map(entry).collect()
    }

    /// What leads to an open conflict from a directory on.
    fn conflict_entries(&self, own: Ino) -> Result<Vec<(Name, Part)>, FsError> {
        let open = self.db.read(|conn| tree::conflicts(conn, &self.view))?;
        let mut entries: BTreeMap<Name, Part> = BTreeMap::new();
        for conflict in open {
            let Some((mut parent, name)) = self.conflict_home(&conflict)? else { continue };
            let number = conflict.number.cast_unsigned();
            if parent == own {
                let oldest = entries.entry(name).or_insert(Part::File(number));
                if matches!(oldest, Part::File(other) if *other > number) {
                    *oldest = Part::File(number);
                }
                continue;
            }
            // Up to the root, or to the directory that is listed.
            while parent != own && parent != self.root() {
                let above = self.db.read(|conn| tree::names(conn, &self.view, parent))?;
                let Some((next, called)) = above.into_iter().next() else { break };
                if next == own {
                    entries.entry(called).or_insert(Part::Directory(parent));
                }
                parent = next;
            }
        }
        Ok(entries.into_iter().collect())
    }

    /// Opens one side for reading.
    pub(super) fn open_side(&self, number: u64, which: Which) -> Result<Role, FsError> {
        let (_, side) = self.require_side(number, which)?;
        let ino = Part::Side(number, which).number()?;
        let content = ContentKey::of(side.version);
        if side.shows {
            let (source, inode) = self.pin_elsewhere(&self.view, side.ino)?;
            let content = ContentKey::of(inode.content);
            let shown = Box::new(shown_side(ino, &now(&side, &inode), &inode));
            return Ok(Role::Pinned { source, content, shown });
        }
        let inode = self.db.read(|conn| tree::inode(conn, &self.view, side.ino))?;
        let inode = inode.ok_or(TreeError::InodeGone(ino))?;
        let source = match side.blob {
            None => Source::Empty,
            Some(blob) => {
                let reader = self.db.read(|conn| self.store.reader(conn, blob))?;
                // Whoever has it open may write into the very file of that version.
                match self.writing(&self.view, side.ino) {
                    Some(_) => self.private_copy(&reader)?,
                    None => Source::Blob(reader),
                }
            }
        };
        Ok(Role::Pinned { source, content, shown: Box::new(shown_side(ino, &side, &inode)) })
    }

    /// Returns which content a reader of a side would pin now.
    pub(in crate::vfs) fn published_side(&self, ino: Ino) -> Result<Option<ContentKey>, FsError> {
        match Part::of(ino) {
            Some(Part::Side(number, which)) => {
                let (_, side) = self.require_side(number, which)?;
                Ok(Some(ContentKey::of(side.version)))
            }
            _ => Ok(None),
        }
    }
}

/// The side that shows, as it is by now.
fn now(side: &ConflictSide, inode: &Inode) -> ConflictSide {
    let (size, mtime_ns) = (inode.size, inode.mtime_ns());
    ConflictSide { size, mtime_ns, version: inode.content, ..side.clone() }
}

fn shown_side(ino: Ino, side: &ConflictSide, inode: &Inode) -> Attributes {
    let (size, mtime_ns) = (side.size, side.mtime_ns);
    let shown = Attributes::from(inode);
    Attributes {
        ino,
        kind: FileKind::File,
        mode: shown.mode & 0o444,
        nlink: 1,
        rdev: 0,
        size,
        blocks: blocks_of(size),
        mtime_ns,
        ..shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_a_number_of_its_own() {
        let parts = [
            Part::Directory(Ino(1)),
            Part::Directory(Ino(7)),
            Part::File(1),
            Part::File(7),
            Part::Side(1, Which::Ours),
            Part::Side(1, Which::Theirs),
            Part::Side(7, Which::Base),
        ];
        for part in parts {
            let number = part.number().unwrap();
            assert_eq!(Part::of(number), Some(part));
            assert!(super::super::is_hidden(number) && !super::super::looks::is_in_look(number));
        }
        for other in
            [Ino(1), super::super::TOP, super::super::RECOVERED, Ino(FIRST | 1 << 59 | BIT)]
        {
            assert_eq!(Part::of(other), None, "{other}");
        }
        assert!(Part::File(1 << KIND_SHIFT).number().is_err());
    }
}
