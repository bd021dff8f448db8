//! Hashing while writing: what is known of a draft that is written front to back.

use std::{fs::File, ops::Range, os::unix::fs::FileExt as _};

use crate::{
    FileStamp,
    outboard::{GROUP_BYTES, GROUP_LEN, Leaves},
};

/// Groups hashed ahead at most: 16 MiB of hashes, the leaves of 8 GiB. A larger file is read
/// again when it is sealed.
const LEAVES_MAX: u64 = 512 * 1024;

/// The hashed front of a draft. Bytes behind it may change as they like; a change inside it ends
/// the hashing for good.
#[derive(Debug)]
pub(crate) struct Front {
    leaves: Leaves,
    /// Bytes written without a gap from the start.
    written: u64,
    usable: bool,
    /// The file as it was when it was last published.
    published: Option<FileStamp>,
}

impl Front {
    /// Begins at an empty file.
    pub(crate) fn new() -> Self {
        Self { leaves: Leaves::default(), written: 0, usable: true, published: None }
    }

    /// Ends the hashing: somebody may write what is not seen here.
    pub(crate) fn give_up(&mut self) {
        *self = Self { usable: false, ..Self::new() };
    }

    /// Notes that bytes in `range` are about to change.
    pub(crate) fn touch(&mut self, range: &Range<u64>) {
        if range.start < self.hashed_bytes() && !range.is_empty() {
            self.give_up();
        }
    }

    /// Notes that the file was cut or grown to `size_bytes`.
    pub(crate) fn resized(&mut self, size_bytes: u64) {
        self.touch(&(size_bytes..u64::MAX));
        self.written = self.written.min(size_bytes);
    }

    /// Notes that `bytes` were written at `offset`, and hashes the groups that this completes.
    pub(crate) fn wrote(&mut self, file: &File, offset: u64, bytes: &[u8]) {
        self.touch(&(offset..offset + bytes.len() as u64));
        if !self.usable || offset > self.written {
            return;
        }
        self.written = self.written.max(offset + bytes.len() as u64);
        // What may still end up in a row is hashed there.
        if self.written <= GROUP_BYTES {
            return;
        }
        while self.written - self.hashed_bytes() >= GROUP_BYTES {
            let group = self.hashed_bytes();
            let ahead = group.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
            if let Some(bytes) = ahead.and_then(|at| bytes.get(at..at + GROUP_LEN)) {
                self.leaves.push(bytes);
            } else {
                let mut bytes = [0; GROUP_LEN];
                match file.read_exact_at(&mut bytes, group) {
                    Ok(()) => self.leaves.push(&bytes),
                    Err(_) => return self.give_up(),
                }
            }
            if self.leaves.len() > LEAVES_MAX {
                return self.give_up();
            }
        }
    }

    /// Notes the file as it is published.
    pub(crate) fn published(&mut self, stamp: FileStamp) {
        self.published = Some(stamp);
    }

    /// Takes the leaves, when the file is still as it was published.
    pub(crate) fn take(&mut self, now: FileStamp) -> Leaves {
        let same =
            |then: FileStamp| (then.size_bytes, then.mtime_ns) == (now.size_bytes, now.mtime_ns);
        let known = self.usable && self.published.is_some_and(same);
        let front = std::mem::replace(self, Self::new());
        self.give_up();
        if known { front.leaves } else { Leaves::default() }
    }

    /// Returns how much memory the hashes take.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.leaves.len() * 32
    }

    fn hashed_bytes(&self) -> u64 {
        self.leaves.len() * GROUP_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlobHash, outboard::hash_file};

    /// Writes pieces and hashes the result once with what the front knows and once without.
    fn check(pieces: &[(u64, usize)], known_groups: u64) {
        let file = tempfile::tempfile().unwrap();
        let mut front = Front::new();
        for (index, &(offset, len)) in pieces.iter().enumerate() {
            let bytes = vec![u8::try_from(index + 1).unwrap(); len];
            file.write_all_at(&bytes, offset).unwrap();
            front.wrote(&file, offset, &bytes);
        }
        let stamp = FileStamp::of(&file).unwrap();
        front.published(stamp);
        let leaves = front.take(stamp);
        assert_eq!(leaves.len(), known_groups, "{pieces:?}");
        let size = stamp.size_bytes;
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(
            hash_file(&file, size, &leaves, &mut |_| Ok(())).unwrap(),
            BlobHash::of(&bytes),
            "{pieces:?}"
        );
    }

    #[test]
    fn front_to_back_writes_leave_only_the_tail_to_hash() {
        check(&[(0, 4096), (4096, 4096), (8192, 40_000)], 2);
        check(&[(0, 131_072), (131_072, 131_072), (262_144, 1)], 16);
        check(&[(0, 100), (100, 16_284), (16_384, 16_384)], 2);
    }

    #[test]
    fn the_unhashed_tail_may_change_and_the_hashed_front_may_not() {
        check(&[(0, 40_000), (33_000, 10_000)], 2);
        check(&[(0, 40_000), (100_000, 10)], 2);
        check(&[(0, 40_000), (0, 1)], 0);
        check(&[(100, 40_000)], 0);
    }

    #[test]
    fn bytes_that_may_end_up_in_a_row_are_not_hashed_twice() {
        check(&[(0, 16_384)], 0);
    }

    #[test]
    fn a_file_that_changed_after_its_publish_is_not_trusted() {
        let file = tempfile::tempfile().unwrap();
        let mut front = Front::new();
        file.write_all_at(&[1; 40_000], 0).unwrap();
        front.wrote(&file, 0, &[1; 40_000]);
        let stamp = FileStamp::of(&file).unwrap();
        front.published(stamp);
        assert_eq!(front.take(FileStamp { mtime_ns: stamp.mtime_ns + 1, ..stamp }).len(), 0);
    }
}
