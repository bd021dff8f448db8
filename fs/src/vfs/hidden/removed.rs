//! `deleted/`: what was removed from each directory and can still be read.
//!
//! A directory is shown with the directories in it, in which something may have been removed, and
//! with what was removed from it. Of several things with one name the one that was removed last has
//! the plain name, the others have the time of their removal behind it, and a directory that is
//! there has `now`: so a removed directory keeps its name while it is copied back to its place.

use std::collections::{HashMap, HashSet};

use tesfs_pathtree::{
    Ino, Name, moment,
    tree::{self, Listed, Removed, S_IFDIR, S_IFMT, View},
};

use super::looks::Look;
use crate::{
    attributes::{DirectoryEntry, FileKind},
    error::FsError,
    vfs::Vfs,
};

/// Stands between a name and the time of its removal.
const SEPARATOR: u8 = b'~';
/// Stands there instead of a time, of a directory that was not removed.
const THERE: &str = "now";
/// Removed names of one directory that are listed: those born last. All can be looked up.
const LISTED_MAX: u32 = 10_000;

/// What is shown of one name, before each has a name of its own.
struct Shown {
    edge: Ino,
    ino: Ino,
    kind: FileKind,
    /// When it was removed, in Unix nanoseconds; `None` of a directory that is there.
    removed_ns: Option<i64>,
}

impl Vfs {
    /// Lists what was removed from a directory, and the directories in it.
    pub(super) fn list_removed(
        &self,
        look: &Look,
        directory: Ino,
    ) -> Result<Vec<DirectoryEntry>, FsError> {
        let (there, removed) = self.db.read(|conn| {
            let there = tree::list(conn, &look.view, directory)?;
            Ok::<_, FsError>((there, tree::removed(conn, &look.view, directory, LISTED_MAX)?))
        })?;
        let mut order = Vec::new();
        let mut by_name: HashMap<Name, Vec<Shown>> = HashMap::new();
        let directories = there.into_iter().filter_map(shown_directory);
        for (name, shown) in removed.into_iter().map(shown_removed).chain(directories) {
            let same = by_name.entry(name.clone()).or_default();
            if same.is_empty() {
                order.push(name);
            }
            same.push(shown);
        }
        let mut taken: HashSet<Name> = by_name.keys().cloned().collect();
        let mut entries = Vec::new();
        for name in order {
            let same = by_name.remove(&name).unwrap_or_default();
            for (nth, (own, shown)) in named(&name, same).into_iter().enumerate() {
                // A name that looks like another's with its time hides that one.
                if nth == 0 || taken.insert(own.clone()) {
                    let (edge, ino) = (shown.edge.0, look.number(shown.ino)?);
                    entries.push(DirectoryEntry { edge, name: own, ino, kind: shown.kind });
                }
            }
        }
        Ok(entries)
    }

    /// Returns the number of what `name` leads to in a directory of `deleted/`.
    pub(super) fn removed_child(
        &self,
        look: &Look,
        directory: Ino,
        name: &Name,
    ) -> Result<Option<Ino>, FsError> {
        let bytes = name.as_bytes();
        let ends = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == SEPARATOR);
        let ends = std::iter::once(bytes.len()).chain(ends.map(|(end, _)| end));
        for end in ends {
            let Ok(plain) = Name::from_bytes(&bytes[..end]) else { continue };
            let same = self.of_name(&look.view, directory, &plain)?;
            let found = named(&plain, same).into_iter().find(|(own, _)| own == name);
            if let Some((_, shown)) = found {
                return Ok(Some(look.number(shown.ino)?));
            }
        }
        Ok(None)
    }

    /// Returns everything that has, or had, one name in a directory.
    fn of_name(&self, view: &View, directory: Ino, name: &Name) -> Result<Vec<Shown>, FsError> {
        let (there, removed) = self.db.read(|conn| {
            let there = tree::lookup(conn, view, directory, name)?;
            Ok::<_, FsError>((there, tree::removed_as(conn, view, directory, name)?))
        })?;
        let there = there.filter(tree::Inode::is_directory).map(|inode| Shown {
            edge: inode.ino,
            ino: inode.ino,
            kind: FileKind::Directory,
            removed_ns: None,
        });
        let removed = removed.into_iter().map(|removed| shown_removed(removed).1);
        Ok(removed.chain(there).collect())
    }
}

fn shown_directory(listed: Listed) -> Option<(Name, Shown)> {
    let (edge, ino, kind) = (listed.row, listed.ino, FileKind::Directory);
    let is_directory = listed.mode & S_IFMT == S_IFDIR;
    is_directory.then_some((listed.name, Shown { edge, ino, kind, removed_ns: None }))
}

fn shown_removed(removed: Removed) -> (Name, Shown) {
    let kind = FileKind::of_mode(removed.mode);
    let removed_ns = Some(removed.at.unix_ns());
    (removed.name, Shown { edge: removed.row, ino: removed.ino, kind, removed_ns })
}

/// Gives each of several things that have, or had, one name a name of its own; they come with the
/// last removed first, and what is there last. One whose name gets too long has none.
fn named(plain: &Name, same: Vec<Shown>) -> Vec<(Name, Shown)> {
    let mut seconds: HashMap<String, usize> = HashMap::new();
    let name = |(nth, shown): (usize, Shown)| {
        if nth == 0 {
            return Some((plain.clone(), shown));
        }
        let time = shown.removed_ns.map_or_else(|| THERE.to_owned(), moment::label);
        let again = seconds.entry(time.clone()).or_default();
        *again += 1;
        let suffix = if *again == 1 { time } else { format!("{time}~{again}") };
        let bytes = [plain.as_bytes(), &[SEPARATOR], suffix.as_bytes()].concat();
        Some((Name::from_bytes(&bytes).ok()?, shown))
    };
    same.into_iter().enumerate().filter_map(name).collect()
}
