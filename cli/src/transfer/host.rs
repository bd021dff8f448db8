//! This machine's files, reached from an open directory by one name at a time.
//!
//! Nothing here follows a symlink, so that no name, link or swapped directory leads outside the
//! tree that was named.

use std::{
    ffi::{CStr, CString, OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
};

use rustix::{
    fs::{
        self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Stat, Timespec,
        Timestamps, XattrFlags,
    },
    io::Errno,
};

/// The largest value an extended attribute can have on Linux.
const XATTR_BYTES_MAX: usize = 64 * 1024;
const NS_PER_S: i64 = 1_000_000_000;

/// Opens `name` of `dir` without following anything.
pub(super) fn open_at(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode =
        if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o600) } else { Mode::empty() };
    match fs::openat2(dir, name, flags, mode, stay) {
        // A kernel or a sandbox without openat2: a single name cannot lead far either.
        Err(Errno::NOSYS | Errno::PERM) => Ok(fs::openat(dir, name, flags, mode)?),
        result => Ok(result?),
    }
}

/// Opens a directory.
pub(super) fn open_directory(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    open_at(dir, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// The names in a directory, in order.
pub(super) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Looks at `name` of `dir` itself, not at what it points to.
pub(super) fn stat_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Stat> {
    Ok(fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Modification time in Unix nanoseconds.
pub(super) fn mtime_ns(stat: &Stat) -> i64 {
    stat.st_mtime
        .saturating_mul(NS_PER_S)
        .saturating_add_unsigned(u64::from(nsec(stat.st_mtime_nsec)))
}

/// Access time in Unix nanoseconds.
pub(super) fn atime_ns(stat: &Stat) -> i64 {
    stat.st_atime
        .saturating_mul(NS_PER_S)
        .saturating_add_unsigned(u64::from(nsec(stat.st_atime_nsec)))
}

fn nsec(raw: impl TryInto<u32>) -> u32 {
    raw.try_into().unwrap_or(0)
}

/// The two times as the system takes them.
pub(super) fn times(atime_ns: i64, mtime_ns: i64) -> Timestamps {
    let spec =
        |ns: i64| Timespec { tv_sec: ns.div_euclid(NS_PER_S), tv_nsec: ns.rem_euclid(NS_PER_S) };
    Timestamps { last_access: spec(atime_ns), last_modification: spec(mtime_ns) }
}

/// Whether two looks at a file saw the same content.
pub(super) fn same_content(a: &Stat, b: &Stat) -> bool {
    (a.st_size, mtime_ns(a)) == (b.st_size, mtime_ns(b))
        && (a.st_ctime, a.st_ctime_nsec) == (b.st_ctime, b.st_ctime_nsec)
}

/// A run of bytes that is there: what lies between runs is a hole.
pub(super) struct Run {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The first run of data of `file` at or after `offset`; a file system that knows no holes says
/// that all is data.
pub(super) fn data_run(file: &File, offset: u64, size: u64) -> io::Result<Option<Run>> {
    if offset >= size {
        return Ok(None);
    }
    let start = match fs::seek(file, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(Run { start: offset, end: size })),
        Err(err) => return Err(err.into()),
    };
    let end = match fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) => end.min(size),
        Err(Errno::INVAL | Errno::NXIO | Errno::OPNOTSUPP) => size,
        Err(err) => return Err(err.into()),
    };
    Ok((start < size).then_some(Run { start, end }))
}

/// The names of the extended attributes of an open file.
pub(super) fn xattr_names(file: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut list = vec![0; XATTR_BYTES_MAX];
    let length = match fs::flistxattr(file, &mut list) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(err) => return Err(err.into()),
    };
    let names = list[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// The value of an extended attribute; `None` when it went away meanwhile.
pub(super) fn xattr(file: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; XATTR_BYTES_MAX];
    match fs::fgetxattr(file, name, &mut value) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// Sets an extended attribute.
pub(super) fn set_xattr(file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty())?)
}
