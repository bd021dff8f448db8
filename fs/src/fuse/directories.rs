//! Listing directories: each handle lists what was there when it began, in the order it came.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fuser::{FileAttr, FileType, INodeNo, ReplyDirectory, ReplyDirectoryPlus};
use tesfs_pathtree::Ino;

use super::{
    convert::{self, errno},
    nodes::SightId,
    shared::Shared,
    shown::{GENERATION, LASTING},
    sight::Sight,
};
use crate::{Attributes, Caller, DirectoryEntry, FileKind, FsError, Vfs};

/// One open directory.
pub(super) struct OpenDirectory {
    ino: Ino,
    /// What it was opened in. A listing that began there goes on there; one that begins is of what
    /// is shown then.
    opened_in: (SightId, Arc<Vfs>),
    /// What it lists, taken when the listing begins, and again when it begins again.
    listing: Mutex<Option<Arc<Listing>>>,
}

/// The entries of a directory at one moment, by their edges.
///
/// Offsets are made of the numbers of edges, not of positions: a handle may have read the beginning
/// from the kernel's cache, which another handle filled from an older listing. They are of one sight
/// as well: the kernel puts what follows an offset behind what any handle read up to it, and what it
/// keeps is not to be of two sights.
struct Listing {
    sight: SightId,
    vfs: Arc<Vfs>,
    parent: Ino,
    entries: Vec<DirectoryEntry>,
}

/// Offset behind the last of `.` and `..`; edges follow.
const DOTS: u64 = 2;

/// Where in an offset its sight is: above the edge, and below the sign.
const SIGHT_SHIFT: u32 = 48;
const SIGHTS: u32 = 1 << (63 - SIGHT_SHIFT);
const EDGE_MAX: u64 = (1 << SIGHT_SHIFT) - 1;

/// One entry of a listing.
enum Listed<'a> {
    Dot(&'static str, Ino),
    Entry(&'a DirectoryEntry),
}

impl OpenDirectory {
    pub(super) fn new(ino: Ino, sight: &Sight) -> Self {
        let opened_in = (sight.id, Arc::clone(&sight.vfs));
        Self { ino, opened_in, listing: Mutex::new(None) }
    }
}

impl Listing {
    fn new((sight, vfs): (SightId, &Arc<Vfs>), ino: Ino) -> Result<Self, FsError> {
        let (parent, mut entries) = (vfs.parent(ino)?, vfs.list(ino)?);
        entries.sort_unstable_by_key(|entry| entry.edge);
        Ok(Self { sight, vfs: Arc::clone(vfs), parent, entries })
    }

    /// Returns the entries from `offset` on, each with the offset of the next.
    fn from(&self, ino: Ino, offset: u64) -> impl Iterator<Item = (u64, Listed<'_>)> {
        let dots = [Listed::Dot(".", ino), Listed::Dot("..", self.parent)];
        from(self.sight, dots, &self.entries, offset)
    }
}

/// Returns what a listing has from `offset` on, each with the offset of the next.
fn from<'a>(
    sight: SightId,
    dots: [Listed<'a>; 2],
    entries: &'a [DirectoryEntry],
    offset: u64,
) -> impl Iterator<Item = (u64, Listed<'a>)> {
    let (of_sight, offset) = (tag(sight), offset & EDGE_MAX);
    let offset_of = |entry: &DirectoryEntry| entry.edge.saturating_add(DOTS + 1).min(EDGE_MAX);
    let begin = entries.partition_point(|entry| offset_of(entry) <= offset);
    let dots = (1..).zip(dots).filter(move |(next, _)| *next > offset);
    let entries =
        entries[begin..].iter().map(move |entry| (offset_of(entry), Listed::Entry(entry)));
    dots.chain(entries).map(move |(next, listed)| (of_sight | next, listed))
}

/// Returns what the offsets of a sight have in common.
fn tag(sight: SightId) -> u64 {
    u64::from(sight.0 % SIGHTS) << SIGHT_SHIFT
}

impl Shared {
    fn listing(
        &self,
        sight: &Sight,
        directory: &OpenDirectory,
        offset: u64,
    ) -> Result<Arc<Listing>, FsError> {
        let mut kept = directory.listing.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(listing), true) = (&*kept, offset > 0) {
            return Ok(Arc::clone(listing));
        }
        let (opened_in, vfs) = &directory.opened_in;
        let goes_on = offset > 0 && offset & !EDGE_MAX == tag(*opened_in);
        let of = if goes_on { (*opened_in, vfs) } else { (sight.id, &sight.vfs) };
        let listing = Arc::new(Listing::new(of, directory.ino)?);
        *kept = Some(Arc::clone(&listing));
        Ok(listing)
    }

    /// Answers with names from `offset` on.
    pub(super) fn list(&self, directory: &OpenDirectory, offset: u64, mut reply: ReplyDirectory) {
        let sight = self.sight();
        let listing = match self.listing(&sight, directory, offset) {
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
        let sight = self.sight();
        let listing = match self.listing(&sight, directory, offset) {
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
                    let now = self.listed(&sight, caller, directory.ino, entry);
                    let is_gone = now.is_none() && listing.sight != sight.id;
                    let now = now.or_else(|| is_gone.then(|| self.only_listed(&listing, entry))?);
                    let Some((found, hold, shown)) = now else { continue };
                    let name = entry.name.as_os_str();
                    let is_full = reply.add(shown.ino, next, name, &hold, &shown, GENERATION);
                    if !is_full {
                        // The kernel takes it for looked up.
                        sight.vfs.remember(found);
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
        sight: &Sight,
        caller: &Caller,
        parent: Ino,
        entry: &DirectoryEntry,
    ) -> Option<(Ino, Duration, FileAttr)> {
        let found = sight.vfs.lookup(caller, parent, &entry.name).ok()?;
        let lead = self.nodes.lock().listed(found.ino);
        let (entry_holds, attributes_hold, shown) = self.led(&lead, &found).ok()?;
        let hold = entry_holds.min(attributes_hold).min(self.hold_in(parent));
        Some((found.ino, hold, shown))
    }

    /// Returns what a name led to that is not in what is shown now, for a listing that began before:
    /// the kernel keeps nothing of it.
    fn only_listed(
        &self,
        listing: &Listing,
        entry: &DirectoryEntry,
    ) -> Option<(Ino, Duration, FileAttr)> {
        let node = self.nodes.lock().own(entry.ino);
        let now = self.attributes_at(entry.ino, node);
        let shown = now.or_else(|_| listing.vfs.attributes(entry.ino)).ok()?;
        Some((entry.ino, Duration::ZERO, convert::attributes(&shown, node.0)))
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

    fn names(entries: &[DirectoryEntry], offset: u64) -> Vec<(u64, String)> {
        named(SightId::FIRST, entries, offset)
    }

    fn named(sight: SightId, entries: &[DirectoryEntry], offset: u64) -> Vec<(u64, String)> {
        let named = |(next, listed): (u64, Listed<'_>)| match listed {
            Listed::Dot(name, _) => (next, name.to_owned()),
            Listed::Entry(entry) => (next, entry.name.to_string()),
        };
        let dots = [Listed::Dot(".", Ino(5)), Listed::Dot("..", Ino(1))];
        from(sight, dots, entries, offset).map(named).collect()
    }

    fn entry((edge, name): (u64, &str)) -> DirectoryEntry {
        let name = Name::parse(name.as_ref()).unwrap();
        DirectoryEntry { edge, name, ino: Ino(9), kind: FileKind::File }
    }

    #[test]
    fn a_listing_continues_where_it_stopped() {
        let listing = [entry((0, "b")), entry((8, "a"))];
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
        let older = all.map(entry);
        let (next, seen) = names(&older, 0)[3].clone();
        assert_eq!(seen, "b");
        let newer = [entry((6, "c")), entry((7, "renamed"))];
        let left: Vec<String> = names(&newer, next).into_iter().map(|(_, name)| name).collect();
        assert_eq!(left, ["c", "renamed"]);
    }

    #[test]
    fn no_offset_is_of_two_sights_and_each_goes_on_where_it_stopped() {
        let listing = [entry((0, "b")), entry((8, "a"))];
        let sights = [SightId::FIRST, SightId(1), SightId(SIGHTS - 1)];
        let offsets = sights.map(|sight| named(sight, &listing, 0));
        for (sight, all) in sights.into_iter().zip(&offsets) {
            for (stop, (next, _)) in all.iter().enumerate() {
                assert_eq!(named(sight, &listing, *next), all[stop + 1..]);
                assert!(i64::try_from(*next).is_ok(), "an offset is a positive number");
            }
        }
        let mut all: Vec<u64> = offsets.iter().flatten().map(|(next, _)| *next).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3 * 4);
    }
}
