//! A mount, driven by system calls as any program drives it.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    fs::File,
    io,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fs::{
        AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, SeekFrom, Stat,
        Timespec, Timestamps, Uid, XattrFlags,
    },
    io::Errno,
    process::{getegid, geteuid, umask},
};
use tempfile::TempDir;
use tesfs_fs::fuse::{self, Mount, MountOptions, Passthrough, Unmount};
use tesfs_tests::{
    close,
    model::{Access, Allocate, Answer, Driver, Found, How, Made, RenameMode, Seen, XattrEdit},
};

use crate::node::Node;

/// How long a mount may take to end when nothing uses it.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(10);
/// Threads that serve a mount.
const THREADS: usize = 2;

/// A node with a mount of its own.
pub(crate) struct Mounted {
    mount: Mount,
    node: Node,
    dir: TempDir,
}

impl Mounted {
    /// Mounts a new node. Needs root and /dev/fuse, and panics without.
    pub(crate) fn new(passthrough: Passthrough) -> Self {
        // Modes are compared exactly.
        umask(Mode::empty());
        let node = Node::new((geteuid().as_raw(), getegid().as_raw()));
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = MountOptions {
            allow_other: false,
            read_only: false,
            suid: true,
            dev: true,
            passthrough,
            threads: THREADS,
            fs_name: "model".into(),
        };
        let mount = Mount::start(&node.vfs, dir.path(), &options).expect("root can mount");
        let expected = match passthrough {
            Passthrough::Auto => fuse::Mode::Passthrough,
            Passthrough::Off => fuse::Mode::Cached,
        };
        assert_eq!(mount.mode(), expected, "root's mounts work as they are asked to");
        Self { mount, node, dir }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.dir.path().join(path)
    }

    fn open(&self, at: &Path, flags: OFlags, mode: u32) -> Answer<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(self.at(at), flags, Mode::from_raw_mode(mode));
        file.map(File::from).map_err(Errno::raw_os_error)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let ended = self.mount.unmount(Unmount::Within(UNMOUNT_PATIENCE));
        assert!(ended.is_ok() || thread::panicking(), "{ended:?}: {:?}", self.dir.path());
    }
}

impl Driver for Mounted {
    type Handle = File;

    fn owner(&self) -> (u32, u32) {
        (geteuid().as_raw(), getegid().as_raw())
    }

    fn create(&mut self, at: &Path, mode: u32, how: How) -> Answer<File> {
        self.open(at, flags_of(how) | OFlags::CREATE | OFlags::EXCL, mode)
    }

    fn make(&mut self, at: &Path, what: Made, target: &[u8], mode: u32) -> Answer<()> {
        let (at, mode) = (self.at(at), Mode::from_raw_mode(mode));
        answer(match what {
            Made::File => rustix::fs::mknodat(CWD, at, FileType::RegularFile, mode, 0),
            Made::Directory => rustix::fs::mkdir(at, mode),
            Made::Symlink => rustix::fs::symlink(target, at),
            Made::Fifo => rustix::fs::mknodat(CWD, at, FileType::Fifo, mode, 0),
        })
    }

    fn link(&mut self, from: &Path, to: &Path) -> Answer<()> {
        answer(rustix::fs::linkat(CWD, self.at(from), CWD, self.at(to), AtFlags::empty()))
    }

    fn unlink(&mut self, at: &Path) -> Answer<()> {
        answer(rustix::fs::unlink(self.at(at)))
    }

    fn rmdir(&mut self, at: &Path) -> Answer<()> {
        answer(rustix::fs::rmdir(self.at(at)))
    }

    fn rename(&mut self, from: &Path, to: &Path, mode: RenameMode) -> Answer<()> {
        let flags = match mode {
            RenameMode::Replace => RenameFlags::empty(),
            RenameMode::NoReplace => RenameFlags::NOREPLACE,
            RenameMode::Exchange => RenameFlags::EXCHANGE,
        };
        answer(rustix::fs::renameat_with(CWD, self.at(from), CWD, self.at(to), flags))
    }

    fn open_read(&mut self, at: &Path, _direct: bool) -> Answer<File> {
        self.open(at, OFlags::RDONLY, 0)
    }

    fn open_write(&mut self, at: &Path, how: How, truncate: bool) -> Answer<File> {
        let cut = if truncate { OFlags::TRUNC } else { OFlags::empty() };
        self.open(at, flags_of(how) | cut, 0)
    }

    fn access(&self, _handle: &File) -> Access {
        match self.mount.mode() {
            fuse::Mode::Passthrough => Access::Either,
            fuse::Mode::Cached => Access::Served,
        }
    }

    fn read(&mut self, handle: &File) -> Answer<Vec<u8>> {
        let mut bytes = vec![0; 256 * 1024];
        let mut filled = 0;
        loop {
            match handle.read_at(&mut bytes[filled..], filled as u64).map_err(errno)? {
                0 => break,
                more => filled += more,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write(&mut self, handle: &File, offset: u64, data: &[u8]) -> Answer<()> {
        handle.write_all_at(data, offset).map_err(errno)
    }

    fn resize(&mut self, handle: &File, size: u64) -> Answer<()> {
        answer(rustix::fs::ftruncate(handle, size))
    }

    fn resize_path(&mut self, at: &Path, size: u64) -> Answer<()> {
        truncate(&self.at(at), size).map_err(errno)
    }

    fn allocate(&mut self, handle: &File, mode: Allocate, offset: u64, len: u64) -> Answer<()> {
        let flags = match mode {
            Allocate::Extend => FallocateFlags::empty(),
            Allocate::KeepSize => FallocateFlags::KEEP_SIZE,
            Allocate::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            Allocate::ZeroRange => FallocateFlags::ZERO_RANGE,
            Allocate::ZeroRangeKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        };
        answer(rustix::fs::fallocate(handle, flags, offset, len))
    }

    fn copy(&mut self, from: (&File, u64), to: (&File, u64), len: u64) -> Answer<u64> {
        let (mut start, mut end, mut left) = (from.1, to.1, len);
        while left > 0 {
            let want = usize::try_from(left).expect("ranges are small");
            let copied =
                rustix::fs::copy_file_range(from.0, Some(&mut start), to.0, Some(&mut end), want);
            match answer(copied)? {
                0 => break,
                copied => left -= copied as u64,
            }
        }
        Ok(len - left)
    }

    fn seek(&mut self, handle: &File, offset: u64) -> Answer<Found> {
        let seek = |to| match rustix::fs::seek(handle, to) {
            Ok(at) => Ok(Some(at)),
            Err(Errno::NXIO) => Ok(None),
            Err(err) => Err(err.raw_os_error()),
        };
        Ok(Found { data: seek(SeekFrom::Data(offset))?, hole: seek(SeekFrom::Hole(offset))? })
    }

    /// Any close of a descriptor flushes, not only the last.
    fn flush(&mut self, handle: &File) -> Answer<()> {
        close(handle.try_clone().map_err(errno)?).map_err(errno)
    }

    fn fsync(&mut self, handle: &File) -> Answer<()> {
        handle.sync_all().map_err(errno)
    }

    fn release(&mut self, handle: File) -> Answer<()> {
        close(handle).map_err(errno)
    }

    fn stat_handle(&mut self, handle: &File) -> Answer<Seen> {
        answer(rustix::fs::fstat(handle)).map(|stat| seen(&stat))
    }

    fn chmod(&mut self, at: &Path, mode: u32) -> Answer<()> {
        answer(rustix::fs::chmod(self.at(at), Mode::from_raw_mode(mode)))
    }

    fn chown(&mut self, at: &Path, uid: Option<u32>, gid: Option<u32>) -> Answer<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        answer(rustix::fs::chownat(CWD, self.at(at), uid, gid, AtFlags::SYMLINK_NOFOLLOW))
    }

    fn set_times(&mut self, at: &Path, atime_ns: i64, mtime_ns: i64) -> Answer<()> {
        let times =
            Timestamps { last_access: timespec(atime_ns), last_modification: timespec(mtime_ns) };
        answer(rustix::fs::utimensat(CWD, self.at(at), &times, AtFlags::SYMLINK_NOFOLLOW))
    }

    fn set_xattr(&mut self, at: &Path, name: &str, value: &[u8], edit: XattrEdit) -> Answer<()> {
        let flags = match edit {
            XattrEdit::Either => XattrFlags::empty(),
            XattrEdit::Create => XattrFlags::CREATE,
            XattrEdit::Replace => XattrFlags::REPLACE,
        };
        answer(rustix::fs::lsetxattr(self.at(at), name, value, flags))
    }

    fn remove_xattr(&mut self, at: &Path, name: &str) -> Answer<()> {
        answer(rustix::fs::lremovexattr(self.at(at), name))
    }

    fn stat(&mut self, at: &Path) -> Answer<Seen> {
        answer(rustix::fs::lstat(self.at(at))).map(|stat| seen(&stat))
    }

    fn list(&mut self, at: &Path) -> Answer<Vec<Vec<u8>>> {
        let entries = self.at(at).read_dir().map_err(errno)?;
        let name = |entry: io::Result<std::fs::DirEntry>| {
            Ok(entry.map_err(errno)?.file_name().as_bytes().to_vec())
        };
        let mut names = entries.map(name).collect::<Answer<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn read_link(&mut self, at: &Path) -> Answer<Vec<u8>> {
        answer(rustix::fs::readlink(self.at(at), Vec::new())).map(CString::into_bytes)
    }

    fn xattrs(&mut self, at: &Path) -> Answer<BTreeMap<Vec<u8>, Vec<u8>>> {
        let at = self.at(at);
        let mut buffer = [0; 1024];
        let len = answer(rustix::fs::llistxattr(&at, &mut buffer))?;
        let names = buffer[..len].split_inclusive(|byte| *byte == 0);
        let value = |name: &[u8]| {
            let name = CStr::from_bytes_with_nul(name).expect("names end with a zero");
            let mut value = [0; 64];
            let len = answer(rustix::fs::lgetxattr(&at, name, &mut value))?;
            Ok((name.to_bytes().to_vec(), value[..len].to_vec()))
        };
        names.map(value).collect()
    }

    fn pause(&mut self, time: Duration) {
        self.node.clock.advance(time);
    }

    fn seal(&mut self) {
        self.node.settle();
    }

    fn collect(&mut self) {
        self.node.collect();
    }

    fn crash(&mut self, _handles: Vec<File>, _power_cut: bool) {
        unreachable!("a mount ends with its process; the kill campaign does that");
    }

    fn check(&mut self, at_rest: bool) -> Result<(), String> {
        self.node.check(at_rest)
    }

    fn rest(&mut self) {
        self.node.wait_for_releases();
    }
}

fn flags_of(how: How) -> OFlags {
    let append = if how.append { OFlags::APPEND } else { OFlags::empty() };
    let sync = if how.sync { OFlags::SYNC } else { OFlags::empty() };
    OFlags::RDWR | append | sync
}

/// Cuts a file by its path, which opens nothing.
#[expect(unsafe_code, reason = "no safe wrapper of truncate(2) goes by the path")]
fn truncate(at: &Path, size: u64) -> io::Result<()> {
    let path = CString::new(at.as_os_str().as_bytes()).expect("paths of the model have no zeros");
    let size = i64::try_from(size).expect("sizes of the model are small");
    // SAFETY: the path ends with a zero and lives through the call.
    match unsafe { libc::truncate(path.as_ptr(), size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn timespec(ns: i64) -> Timespec {
    const NS: i64 = 1_000_000_000;
    Timespec { tv_sec: ns.div_euclid(NS), tv_nsec: ns.rem_euclid(NS) }
}

fn seen(stat: &Stat) -> Seen {
    let ns = |seconds: i64, ns: u64| seconds * 1_000_000_000 + i64::try_from(ns).unwrap_or(0);
    Seen {
        ino: stat.st_ino,
        mode: stat.st_mode,
        nlink: stat.st_nlink,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: stat.st_size.cast_unsigned(),
        atime_ns: ns(stat.st_atime, stat.st_atime_nsec),
        mtime_ns: ns(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn answer<T>(result: Result<T, Errno>) -> Answer<T> {
    result.map_err(Errno::raw_os_error)
}

#[expect(clippy::needless_pass_by_value, reason = "that is how map_err hands it over")]
fn errno(err: io::Error) -> i32 {
    err.raw_os_error().unwrap_or(libc::EIO)
}
