//! Listing directories: each handle lists what was there when it began, in the order it came.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fuser::{FileAttr, FileType, INodeNo, ReplyDirectory, ReplyDirectoryPlus};
use tesfs_pathtree::Ino;

use super::{
    convert::{self, errno},
    shared::Shared,
    shown::{GENERATION, LASTING},
};
use crate::{Attributes, Caller, DirectoryEntry, FileKind, FsError};

/// One open directory.
pub(super) struct OpenDirectory {
    ino: Ino,
    /// What it lists, taken when the listing begins, and again when it begins again.
    listing: Mutex<Option<Arc<Listing>>>,
}

/// The entries of a directory at one moment, by their edges.
///
/// Offsets are made of the numbers of edges, not of positions: a handle may have read the beginning
/// from the kernel's cache, which another handle filled from an older listing.
struct Listing {
    parent: Ino,
    entries: Vec<DirectoryEntry>,
}

/// Offset behind the last of `.` and `..`; edges follow.
const DOTS: u64 = 2;

/// One entry of a listing.
enum Listed<'a> {
    Dot(&'static str, Ino),
    Entry(&'a DirectoryEntry),
}

impl OpenDirectory {
    pub(super) fn new(ino: Ino) -> Self {
        Self { ino, listing: Mutex::new(None) }
    }
}

impl Listing {
    fn new(parent: Ino, mut entries: Vec<DirectoryEntry>) -> Self {
        entries.sort_unstable_by_key(|entry| entry.edge);
        Self { parent, entries }
    }

    /// Returns the entries from `offset` on, each with the offset of the next.
    fn from(&self, ino: Ino, offset: u64) -> impl Iterator<Item = (u64, Listed<'_>)> {
        let dots = [(1, Listed::Dot(".", ino)), (DOTS, Listed::Dot("..", self.parent))];
        let offset_of = |entry: &DirectoryEntry| entry.edge.saturating_add(DOTS + 1);
        let begin = self.entries.partition_point(|entry| offset_of(entry) <= offset);
        let dots = dots.into_iter().filter(move |(next, _)| *next > offset);
        dots.chain(
            self.entries[begin..].iter().map(move |entry| (offset_of(entry), Listed::Entry(entry))),
        )
    }
}

impl Shared {
    fn listing(&self, directory: &OpenDirectory, offset: u64) -> Result<Arc<Listing>, FsError> {
        let mut kept = directory.listing.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(listing), true) = (&*kept, offset > 0) {
            return Ok(Arc::clone(listing));
        }
        let parent = self.vfs.parent(directory.ino)?;
        let entries = self.vfs.list(directory.ino)?;
        let listing = Arc::new(Listing::new(parent, entries));
        *kept = Some(Arc::clone(&listing));
        Ok(listing)
    }

    /// Answers with names from `offset` on.
    pub(super) fn list(&self, directory: &OpenDirectory, offset: u64, mut reply: ReplyDirectory) {
        let listing = match self.listing(directory, offset) {
            Ok(listing) => listing,
            Err(err) => return reply.error(errno("readdir", &err)),
        };
        for (next, listed) in listing.from(directory.ino, offset) {
            let is_full = match listed {
                Listed::Dot(name, ino) => {
                    reply.add(INodeNo(ino.0), next, FileType::Directory, name)
                }
                Listed::Entry(entry) => {
                    let kind = convert::file_type(entry.kind);
                    reply.add(INodeNo(entry.ino.0), next, kind, entry.name.as_os_str())
                }
            };
            if is_full {
                break;
            }
        }
        reply.ok();
    }

    /// Answers with names from `offset` on, and what they lead to.
    ///
    /// The kernel keeps what it is given here as if it had looked it up, so each name is looked
    /// up now: the listing may be older. The directory can not change before the answer arrives,
    /// because the kernel holds its lock.
    pub(super) fn list_with_attributes(
        &self,
        caller: &Caller,
        directory: &OpenDirectory,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listing = match self.listing(directory, offset) {
            Ok(listing) => listing,
            Err(err) => return reply.error(errno("readdirplus", &err)),
        };
        for (next, listed) in listing.from(directory.ino, offset) {
            let is_full = match listed {
                Listed::Dot(name, ino) => {
                    let shown = convert::attributes(&only_number(ino), ino.0);
                    reply.add(INodeNo(ino.0), next, name, &LASTING, &shown, GENERATION)
                }
                Listed::Entry(entry) => {
                    let Some((found, hold, shown)) = self.listed(caller, directory.ino, entry)
                    else {
                        continue;
                    };
                    let name = entry.name.as_os_str();
                    let is_full = reply.add(shown.ino, next, name, &hold, &shown, GENERATION);
                    if !is_full {
                        // The kernel takes it for looked up.
                        self.vfs.remember(found);
                    }
                    is_full
                }
            };
            if is_full {
                break;
            }
        }
        reply.ok();
    }

    /// Returns what a name of a listing leads to now; `None` if it is gone.
    fn listed(
        &self,
        caller: &Caller,
        parent: Ino,
        entry: &DirectoryEntry,
    ) -> Option<(Ino, Duration, FileAttr)> {
        let found = self.vfs.lookup(caller, parent, &entry.name).ok()?;
        let lead = self.nodes.lock().listed(found.ino);
        let (entry_holds, attributes_hold, shown) = self.led(&lead, &found).ok()?;
        let hold = entry_holds.min(attributes_hold).min(self.hold_in(parent));
        Some((found.ino, hold, shown))
    }
}

/// Returns attributes for `.` and `..`, of which the kernel takes the number and the kind only.
fn only_number(ino: Ino) -> Attributes {
    Attributes {
        ino,
        kind: FileKind::Directory,
        mode: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        blocks: 0,
        atime_ns: 0,
        mtime_ns: 0,
        ctime_ns: 0,
        btime_ns: 0,
    }
}

#[cfg(test)]
mod tests {
    use tesfs_pathtree::Name;

    use super::*;

    fn names(listing: &Listing, offset: u64) -> Vec<(u64, String)> {
        let named = |(next, listed): (u64, Listed<'_>)| match listed {
            Listed::Dot(name, _) => (next, name.to_owned()),
            Listed::Entry(entry) => (next, entry.name.to_string()),
        };
        listing.from(Ino(5), offset).map(named).collect()
    }

    fn entry((edge, name): (u64, &str)) -> DirectoryEntry {
        let name = Name::parse(name.as_ref()).unwrap();
        DirectoryEntry { edge, name, ino: Ino(9), kind: FileKind::File }
    }

    #[test]
    fn a_listing_continues_where_it_stopped() {
        let listing = Listing::new(Ino(1), vec![entry((8, "a")), entry((0, "b"))]);
        let all =
            [(1, "."), (2, ".."), (3, "b"), (11, "a")].map(|(at, name)| (at, name.to_owned()));
        assert_eq!(names(&listing, 0), all);
        for (stop, left) in [(1, 1), (2, 2), (3, 3), (10, 3), (11, 4), (u64::MAX, 4)] {
            assert_eq!(names(&listing, stop), all[left..], "from {stop}");
        }
    }

    #[test]
    fn a_listing_that_began_in_an_older_one_goes_on_behind_what_was_seen() {
        let all = [(4, "a"), (5, "b"), (6, "c"), (7, "d")];
        let older = Listing::new(Ino(1), all.map(entry).into());
        let (next, seen) = names(&older, 0)[3].clone();
        assert_eq!(seen, "b");
        let newer = Listing::new(Ino(1), vec![entry((7, "renamed")), entry((6, "c"))]);
        let left: Vec<String> = names(&newer, next).into_iter().map(|(_, name)| name).collect();
        assert_eq!(left, ["c", "renamed"]);
    }
}
