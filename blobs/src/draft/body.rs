//! A draft: the bytes that the writers of one inode see, in a file and over a base.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use rustix::{
    fs::{FallocateFlags, fallocate, ioctl_ficlone},
    io::Errno,
};

use tesfs_pathtree::Chain;

use super::{
    DraftFile, DraftLayout, DraftPool,
    copy::{copy, seek_data, seek_hole},
};
use crate::{
    BlobError, BlobReader, DraftRecord, FileStamp, INLINE_MAX, error::Doing as _,
    range_map::RangeMap,
};

/// Zeros are written in pieces of this size where the disk can not make a range zero by itself.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What [`Draft::allocate`] does with a range: fallocate's modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Reserves space; the file grows to the end of the range.
    Extend,
    /// Reserves space, also behind the end; the size stays.
    KeepSize,
    /// Makes the range a hole, which reads as zeros; the size stays.
    PunchHole,
    /// Makes the range zeros; the file grows to its end.
    ZeroRange,
    /// Makes the part of the range inside the file zeros; the size stays.
    ZeroRangeKeepSize,
}

/// The bytes of one line of writers: empty at first, or those of a base.
///
/// Starting over a base never copies it: the disk shares the blocks (reflink), or the file has
/// only what was written (an overlay) until [`Draft::materialize`]. A failed sync, and a failed
/// write for another reason than a lack of space, poison a draft: nothing can be claimed for it.
#[derive(Debug)]
pub struct Draft {
    file: DraftFile,
    body: Body,
    poisoned: bool,
}

/// Where the bytes are. The size is always that of the draft's file.
#[derive(Debug)]
pub(super) enum Body {
    /// All in the draft's file.
    Whole,
    /// Below `base_end`, what is not in `own` is in the base; everything else is in the file.
    /// `base_end` only falls: what was cut off and grown again is zeros.
    Overlay { base: BlobReader, base_end: u64, own: RangeMap },
}

impl Draft {
    /// Starts an empty draft.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`] when no file could be made.
    pub fn empty(pool: &DraftPool) -> Result<Self, BlobError> {
        Ok(Self { file: pool.take()?, body: Body::Whole, poisoned: false })
    }

    /// Starts a draft with the bytes of `base`, in milliseconds whatever its size.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`]; for a small base also what reading it gives.
    pub fn over(pool: &DraftPool, base: &BlobReader) -> Result<Self, BlobError> {
        let mut draft = Self::empty(pool)?;
        let begun = draft.begin_over(base);
        draft.kept_if(begun, pool)
    }

    /// Starts a draft that has all bytes of `base` in its own file.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`], and what reading the base gives; no file is left then.
    pub fn copy_of(pool: &DraftPool, base: &BlobReader) -> Result<Self, BlobError> {
        let mut copy = Self::over(pool, base)?;
        let copied = copy.materialize();
        copy.kept_if(copied, pool)
    }

    /// Opens a draft that an earlier run recorded; `base` is the reader of the record's base.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`] when the file is gone, [`BlobError::NotFound`] when the record has a base
    /// and none was given.
    pub fn reopen(
        pool: &DraftPool,
        record: &DraftRecord,
        base: Option<BlobReader>,
    ) -> Result<Self, BlobError> {
        let file = pool.reopen(record.number)?;
        let body = match (record.layout.overlay(), base) {
            (None, _) => Body::Whole,
            (Some((base_end, own)), Some(base)) => {
                Body::Overlay { base_end: base_end.min(base.size()), base, own }
            }
            (Some(_), None) => {
                let missing = tesfs_pathtree::BlobNumber(0);
                return Err(BlobError::NotFound(record.base.unwrap_or(missing)));
            }
        };
        Ok(Self { file, body, poisoned: false })
    }

    /// Returns its file, for publishing.
    pub fn draft_file(&self) -> &DraftFile {
        &self.file
    }

    /// Ends the draft and returns its file.
    pub fn into_draft_file(self) -> DraftFile {
        self.file
    }

    /// Returns the file whose bytes are the draft's, to hand to others; `None` for an overlay.
    pub fn backing(&self) -> Option<&Arc<File>> {
        (!self.is_overlay()).then(|| self.file.file())
    }

    /// Says whether some bytes are still only in the base.
    pub fn is_overlay(&self) -> bool {
        matches!(self.body, Body::Overlay { .. })
    }

    /// Returns how the bytes lie, for the record.
    pub fn layout(&self) -> DraftLayout {
        DraftLayout::of(&self.body)
    }

    /// Returns the size, writes by others through [`Draft::backing`] included.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`].
    pub fn size(&self) -> Result<u64, BlobError> {
        self.stamp().map(|stamp| stamp.size_bytes)
    }

    /// Returns how the file looks: when it differs from the last publish, the draft is dirty.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`].
    pub fn stamp(&self) -> Result<FileStamp, BlobError> {
        self.file.stamp()
    }

    /// Makes every later write, sync and materialize fail.
    pub fn poison(&mut self) {
        self.poisoned = true;
    }

    /// Says whether an earlier failure forbids any claim about the bytes.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Reads at `offset`; less than asked for only at the end.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`], and what reading the base gives.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobError> {
        let Body::Overlay { base, base_end, own } = &self.body else {
            return read_full(&self.file, offset, buffer);
        };
        let end = self.size()?.min(offset.saturating_add(buffer.len() as u64));
        let (mut at, mut filled) = (offset, 0);
        while at < end {
            let (is_own, run_end) = run_at(own, *base_end, at, end);
            let len = usize::try_from(run_end - at).expect("a run lies inside the buffer");
            let part = &mut buffer[filled..filled + len];
            let read =
                if is_own { read_full(&self.file, at, part)? } else { base.read_at(at, part)? };
            filled += read;
            at += read as u64;
            if read < len {
                break;
            }
        }
        Ok(filled)
    }

    /// Writes at `offset` and returns how many bytes; fewer than given when the disk filled up
    /// on the way. A gap behind the end becomes zeros.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`] when nothing could be written, [`BlobError::Poisoned`].
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize, BlobError> {
        self.refuse_poisoned()?;
        let mut written = 0;
        let mut failure = None;
        while written < bytes.len() {
            match self.file.own().write_at(&bytes[written..], offset + written as u64) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => {
                    failure = Some(err);
                    break;
                }
            }
        }
        self.file.front().wrote(self.file.own(), offset, &bytes[..written]);
        self.claim(offset..offset + written as u64);
        match failure {
            Some(err) => {
                self.poisoned |= !is_refusal(&err);
                if written > 0 && !self.poisoned {
                    return Ok(written);
                }
                Err(err).doing("writing to a draft", self.file.path())
            }
            None => Ok(written),
        }
    }

    /// Sets the size; bytes that this adds are zeros.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`], [`BlobError::Poisoned`].
    pub fn set_len(&mut self, size_bytes: u64) -> Result<(), BlobError> {
        self.refuse_poisoned()?;
        self.file.front().resized(size_bytes);
        self.resize_file(size_bytes)?;
        if let Body::Overlay { base_end, own, .. } = &mut self.body {
            *base_end = size_bytes.min(*base_end);
            own.truncate(size_bytes);
        }
        Ok(())
    }

    /// Reserves space for a range, or makes it zeros.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`], [`BlobError::Poisoned`].
    pub fn allocate(&mut self, mode: Allocate, offset: u64, len: u64) -> Result<(), BlobError> {
        self.refuse_poisoned()?;
        let range = offset..offset.saturating_add(len);
        let flags = match mode {
            Allocate::Extend => FallocateFlags::empty(),
            Allocate::KeepSize => FallocateFlags::KEEP_SIZE,
            Allocate::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            Allocate::ZeroRange => FallocateFlags::ZERO_RANGE,
            Allocate::ZeroRangeKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        };
        let zeroes = !matches!(mode, Allocate::Extend | Allocate::KeepSize);
        if zeroes {
            self.file.front().touch(&range);
        }
        match fallocate(self.file.own(), flags, offset, len) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => self.allocate_by_hand(mode, &range)?,
            Err(err) => return Err(err).doing("reserving space in a draft", self.file.path()),
        }
        if zeroes {
            self.claim(range);
        }
        Ok(())
    }

    /// Returns the first byte at or after `offset` that may be something else than a hole.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`].
    pub fn seek_data(&self, offset: u64) -> Result<Option<u64>, BlobError> {
        let size = self.size()?;
        let mut at = offset;
        while at < size {
            let (end, data, _) = self.look(at, size)?;
            match data {
                Some(data) if data < end => return Ok(Some(data)),
                _ => at = end,
            }
        }
        Ok(None)
    }

    /// Returns the first byte at or after `offset` that is a hole; the end counts as one.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`].
    pub fn seek_hole(&self, offset: u64) -> Result<u64, BlobError> {
        let size = self.size()?;
        let mut at = offset;
        while at < size {
            let (end, _, hole) = self.look(at, size)?;
            if hole < end {
                return Ok(hole);
            }
            at = end;
        }
        Ok(size)
    }

    /// Brings all bytes of the base into the draft's file. After an error it goes on where it
    /// stopped.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`], [`BlobError::Poisoned`], and what reading the base gives.
    pub fn materialize(&mut self) -> Result<(), BlobError> {
        self.refuse_poisoned()?;
        let Body::Overlay { base, base_end, own } = &mut self.body else {
            return Ok(());
        };
        while let Some(gap) = own.gap(0, *base_end) {
            let start = gap.start;
            copy(base, self.file.own(), self.file.path(), gap, |end| own.insert(start..end))?;
        }
        self.body = Body::Whole;
        Ok(())
    }

    /// Makes the bytes, the size and the file's name survive a power cut. What an overlay shows
    /// of its base needs the record of its layout as well.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`], which poisons the draft, and [`BlobError::Poisoned`].
    pub fn sync(&mut self) -> Result<(), BlobError> {
        self.refuse_poisoned()?;
        let synced = self.file.sync();
        self.poisoned = synced.is_err();
        synced
    }

    fn begin_over(&mut self, base: &BlobReader) -> Result<(), BlobError> {
        if base.size() <= INLINE_MAX {
            let mut bytes = vec![0; usize::try_from(base.size()).expect("INLINE_MAX fits")];
            let read = base.read_at(0, &mut bytes)?;
            return self.write_all(0, &bytes[..read]);
        }
        self.file.front().give_up();
        // Bytes that nobody verified must not get a new hash: `file` is only there when they are
        // known to be good.
        let shares_blocks =
            base.file().is_some_and(|source| ioctl_ficlone(self.file.own(), source).is_ok());
        if !shares_blocks {
            self.resize_file(base.size())?;
            let (base_end, own) = (base.size(), RangeMap::default());
            self.body = Body::Overlay { base: base.clone(), base_end, own };
        }
        Ok(())
    }

    /// Gives the file back where a draft that nothing names failed to begin.
    fn kept_if(self, begun: Result<(), BlobError>, pool: &DraftPool) -> Result<Self, BlobError> {
        let Err(err) = begun else { return Ok(self) };
        if let Err(left) = pool.give_back(self.file) {
            tracing::warn!(error = %Chain(&left), "a draft file stays behind");
        }
        Err(err)
    }

    fn write_all(&mut self, offset: u64, bytes: &[u8]) -> Result<(), BlobError> {
        let mut written = 0;
        while written < bytes.len() {
            written += self.write_at(offset + written as u64, &bytes[written..])?;
        }
        Ok(())
    }

    /// Notes that the bytes of a range are in the file now.
    fn claim(&mut self, range: Range<u64>) {
        if let Body::Overlay { base_end, own, .. } = &mut self.body {
            own.insert(range.start..range.end.min(*base_end));
        }
    }

    fn resize_file(&self, size_bytes: u64) -> Result<(), BlobError> {
        self.file.own().set_len(size_bytes).doing("resizing a draft", self.file.path())
    }

    /// Does what a disk without fallocate can not: zeros are written, space is not reserved.
    fn allocate_by_hand(&mut self, mode: Allocate, range: &Range<u64>) -> Result<(), BlobError> {
        let size = self.size()?;
        let grows = matches!(mode, Allocate::Extend | Allocate::ZeroRange);
        if !matches!(mode, Allocate::Extend | Allocate::KeepSize) {
            let mut at = range.start;
            let end = range.end.min(size);
            while at < end {
                let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS.len());
                self.write_all(at, &ZEROS[..len])?;
                at += len as u64;
            }
        }
        if grows && range.end > size {
            self.set_len(range.end)?;
        }
        Ok(())
    }

    /// Looks at the run of bytes that begins at `at`, in the file it is in: where the run ends,
    /// and where it has its first data and its first hole.
    fn look(&self, at: u64, size: u64) -> Result<(u64, Option<u64>, u64), BlobError> {
        let (file, path) = (self.file.own(), self.file.path());
        match &self.body {
            Body::Overlay { base, base_end, own } => match run_at(own, *base_end, at, size) {
                (false, end) => Ok((end, base.seek_data(at)?, base.seek_hole(at)?)),
                (true, end) => Ok((end, seek_data(file, at, path)?, seek_hole(file, at, path)?)),
            },
            Body::Whole => Ok((size, seek_data(file, at, path)?, seek_hole(file, at, path)?)),
        }
    }

    fn refuse_poisoned(&self) -> Result<(), BlobError> {
        if self.poisoned {
            return Err(BlobError::Poisoned { path: self.file.path().into() });
        }
        Ok(())
    }
}

/// Returns whether the run that begins at `at` is in the draft's file, and where it ends.
fn run_at(own: &RangeMap, base_end: u64, at: u64, limit: u64) -> (bool, u64) {
    if at >= base_end {
        return (true, limit);
    }
    own.run_at(at, limit.min(base_end))
}

/// Says whether a write was refused with nothing lost: no space, or a place no file reaches.
fn is_refusal(err: &io::Error) -> bool {
    let errno = Errno::from_io_error(err);
    matches!(errno, Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::INVAL))
}

fn read_full(file: &DraftFile, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobError> {
    crate::reader::read_full(file.own(), offset, buffer).doing("reading a draft", file.path())
}
