//! What a file looks like from outside, to tell later whether it is the same and untouched.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
};

/// Size, mtime and ctime of a file: when all three are as before, nobody wrote to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Its size.
    pub size_bytes: u64,
    /// When its bytes last changed, Unix nanoseconds.
    pub mtime_ns: i64,
    /// When it last changed in any way, Unix nanoseconds.
    pub ctime_ns: i64,
}

impl FileStamp {
    /// Returns the stamp of an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|meta| Self::read(&meta))
    }

    pub(crate) fn read(meta: &Metadata) -> Self {
        Self {
            size_bytes: meta.len(),
            mtime_ns: unix_ns(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: unix_ns(meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Which file it is, whatever its name: no other is that while somebody holds it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|meta| Self::read(&meta))
    }

    pub(crate) fn read(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// Joins the two halves of a file time; what does not fit 64 bits (the year 2262) is cut.
pub(crate) fn unix_ns(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
