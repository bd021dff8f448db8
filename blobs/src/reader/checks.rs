//! Which groups of which files this process verified already.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{BlobHash, FileStamp};

/// Files remembered at most. A bitmap has a bit per 16 KiB, so 1,024 files of 1 GiB take 8 MiB.
const FILES_MAX: usize = 1024;

/// The groups of one file that were found good.
#[derive(Debug)]
pub(super) struct Checks {
    bits: Box<[AtomicU64]>,
    /// Groups not verified yet.
    left: AtomicU64,
}

impl Checks {
    fn new(groups: u64) -> Self {
        let words = usize::try_from(groups.div_ceil(64)).expect("a bitmap fits in memory");
        Self {
            bits: std::iter::repeat_with(AtomicU64::default).take(words).collect(),
            left: AtomicU64::new(groups),
        }
    }

    /// Returns the first run of groups in `range` that were not verified.
    pub(super) fn unverified(&self, range: Range<u64>) -> Option<Range<u64>> {
        if self.left.load(Ordering::Acquire) == 0 {
            return None;
        }
        let start = range.clone().find(|&group| !self.is_verified(group))?;
        let end = (start..range.end).find(|&group| self.is_verified(group)).unwrap_or(range.end);
        Some(start..end)
    }

    /// Notes that groups were found good.
    pub(super) fn mark(&self, range: Range<u64>) {
        for group in range {
            let (word, bit) = place(group);
            if self.bits[word].fetch_or(bit, Ordering::AcqRel) & bit == 0 {
                self.left.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    fn is_verified(&self, group: u64) -> bool {
        let (word, bit) = place(group);
        self.bits[word].load(Ordering::Acquire) & bit != 0
    }
}

fn place(group: u64) -> (usize, u64) {
    (usize::try_from(group / 64).expect("inside the bitmap"), 1 << (group % 64))
}

/// One file on disk, untouched: what was verified of another says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    pub(super) inode: u64,
    pub(super) stamp: FileStamp,
}

/// The checks of the files used last.
#[derive(Debug, Default)]
pub(crate) struct CheckCache(Mutex<Files>);

#[derive(Debug, Default)]
struct Files {
    entries: HashMap<BlobHash, Entry>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    identity: FileIdentity,
    checks: Arc<Checks>,
    last_use: u64,
}

impl CheckCache {
    /// Returns the checks of the file of `hash`; a file that changed starts again.
    pub(super) fn of(&self, hash: BlobHash, identity: FileIdentity, groups: u64) -> Arc<Checks> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.uses += 1;
        let last_use = files.uses;
        if let Some(entry) = files.entries.get_mut(&hash)
            && entry.identity == identity
        {
            entry.last_use = last_use;
            return Arc::clone(&entry.checks);
        }
        if files.entries.len() >= FILES_MAX {
            files.forget_oldest_half();
        }
        let checks = Arc::new(Checks::new(groups));
        let entry = Entry { identity, checks: Arc::clone(&checks), last_use };
        files.entries.insert(hash, entry);
        checks
    }
}

impl Files {
    fn forget_oldest_half(&mut self) {
        let mut uses: Vec<u64> = self.entries.values().map(|entry| entry.last_use).collect();
        let middle = uses.len() / 2;
        let (_, &mut median, _) = uses.select_nth_unstable(middle);
        self.entries.retain(|_, entry| entry.last_use >= median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(inode: u64) -> FileIdentity {
        FileIdentity { inode, stamp: FileStamp { size_bytes: 1, mtime_ns: 0, ctime_ns: 0 } }
    }

    #[test]
    fn runs_are_what_is_left_between_verified_groups() {
        let checks = Checks::new(200);
        checks.mark(10..20);
        checks.mark(15..70);
        assert_eq!(checks.unverified(0..200), Some(0..10));
        assert_eq!(checks.unverified(10..200), Some(70..200));
        assert_eq!(checks.unverified(12..60), None);
        checks.mark(0..200);
        assert_eq!(checks.left.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_changed_file_is_verified_again() {
        let cache = CheckCache::default();
        let hash = BlobHash::of(b"x");
        cache.of(hash, identity(1), 4).mark(0..4);
        assert_eq!(cache.of(hash, identity(1), 4).unverified(0..4), None);
        assert_eq!(cache.of(hash, identity(2), 4).unverified(0..4), Some(0..4));
    }

    #[test]
    fn the_files_used_last_are_the_ones_remembered() {
        let cache = CheckCache::default();
        let hash = |number: usize| BlobHash::of(&number.to_le_bytes());
        cache.of(hash(0), identity(1), 4).mark(0..4);
        for number in 1..5000 {
            cache.of(hash(number), identity(1), 4);
            cache.of(hash(0), identity(1), 4);
        }
        assert!(cache.0.lock().unwrap().entries.len() <= FILES_MAX);
        assert_eq!(cache.of(hash(0), identity(1), 4).unverified(0..4), None);
    }
}
