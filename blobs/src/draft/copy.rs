//! Copying a base's bytes into a draft, by the kernel where it can.

use std::{fs::File, ops::Range, os::unix::fs::FileExt as _, path::Path};

use rustix::{
    fs::{SeekFrom, copy_file_range, seek},
    io::Errno,
};

use crate::{BlobError, BlobReader, error::Doing as _};

/// How much is verified and copied at once: what a failure in the middle has to repeat.
const PIECE_BYTES: u64 = 4 * 1024 * 1024;
/// How much goes through memory at once where the kernel can not copy.
const BUFFER_BYTES: u64 = 256 * 1024;

/// Copies `range` of `base` to the same place in `file`, piece by piece, and says after each
/// piece up to where it came. Holes of the base stay holes.
///
/// The bytes are verified before they are copied: damage must not get a new hash.
pub(super) fn copy(
    base: &BlobReader,
    file: &File,
    path: &Path,
    range: Range<u64>,
    mut done: impl FnMut(u64),
) -> Result<(), BlobError> {
    let mut at = range.start;
    while at < range.end {
        let data = base.seek_data(at)?.unwrap_or(range.end).min(range.end);
        if data > at {
            done(data);
            at = data;
            continue;
        }
        let end = base.seek_hole(at)?.min(range.end).min(at + PIECE_BYTES).max(at + 1);
        base.verify(at..end)?;
        copy_piece(base, file, path, at..end)?;
        done(end);
        at = end;
    }
    Ok(())
}

fn copy_piece(
    base: &BlobReader,
    file: &File,
    path: &Path,
    piece: Range<u64>,
) -> Result<(), BlobError> {
    let Range { mut start, end } = piece;
    while let Some(source) = base.source().filter(|_| start < end) {
        let len = usize::try_from(end - start).unwrap_or(usize::MAX);
        let (mut from, mut to) = (start, start);
        match copy_file_range(source, Some(&mut from), file, Some(&mut to), len) {
            Ok(0) => break,
            Ok(copied) => start += copied as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => break,
            Err(err) => return Err(err).doing("copying a base into", path),
        }
    }
    let mut buffer = Vec::new();
    while start < end {
        let len = usize::try_from((end - start).min(BUFFER_BYTES)).expect("a buffer's size");
        buffer.resize(len, 0);
        let read = base.read_at(start, &mut buffer)?;
        if read == 0 {
            let (path, size_bytes) = (path.into(), base.size());
            return Err(BlobError::DraftShort { path, found_bytes: start, size_bytes });
        }
        file.write_all_at(&buffer[..read], start).doing("copying a base into", path)?;
        start += read as u64;
    }
    Ok(())
}

/// Returns the first byte at or after `offset` that is no hole of `file`.
pub(crate) fn seek_data(file: &File, offset: u64, path: &Path) -> Result<Option<u64>, BlobError> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        Err(err) => Err(err).doing("looking for data in", path),
    }
}

/// Returns the first byte at or after `offset` that is a hole of `file`, or its end.
pub(crate) fn seek_hole(file: &File, offset: u64, path: &Path) -> Result<u64, BlobError> {
    match seek(file, SeekFrom::Hole(offset)) {
        Ok(at) => Ok(at),
        Err(Errno::NXIO) => Ok(offset),
        Err(err) => Err(err).doing("looking for a hole in", path),
    }
}
