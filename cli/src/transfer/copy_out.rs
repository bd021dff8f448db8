//! Copies a directory of a bucket to this machine.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::{Path, PathBuf},
    vec,
};

use rustix::{
    fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Uid},
    io::Errno,
};
use tesfs_fs::{Attributes, Caller, DirectoryEntry, FileKind, FsError, OpenFile, Seek, Vfs};
use tesfs_pathtree::{Chain, Ino};

use super::{CHUNK_BYTES, Counts, DEPTH_MAX, LeftOut, Stop, host, plainly};
use crate::{
    error::CliError,
    place::owner,
    progress::{Progress, Step},
};

/// A copy out of a bucket that is under way.
///
/// Everything is made by one name in a directory that this copy made and holds open, and never
/// over something that is there: no name and no swapped directory leads outside.
pub(crate) struct CopyOut<'a> {
    vfs: &'a Vfs,
    progress: &'a Progress,
    me: Caller,
    /// Root keeps owners and makes devices.
    root: bool,
    bytes_total: u64,
    /// Where the copy goes, for messages.
    dest: &'a Path,
    /// Where further names of a file find it: its first path, from the top of the copy.
    links: HashMap<Ino, PathBuf>,
    /// The path at hand, from the top of the copy.
    path: PathBuf,
    pub(crate) counts: Counts,
    pub(crate) left_out: LeftOut,
}

/// A directory that is being copied.
struct Frame {
    dest: OwnedFd,
    from: Attributes,
    entries: vec::IntoIter<DirectoryEntry>,
}

impl<'a> CopyOut<'a> {
    /// A copy out of `vfs`; `bytes_total` is what the progress is measured against.
    pub(crate) fn new(
        vfs: &'a Vfs,
        progress: &'a Progress,
        bytes_total: u64,
        dest: &'a Path,
    ) -> Self {
        Self {
            vfs,
            progress,
            me: owner(),
            root: rustix::process::geteuid().is_root(),
            bytes_total,
            dest,
            links: HashMap::new(),
            path: PathBuf::new(),
            counts: Counts::default(),
            left_out: LeftOut::default(),
        }
    }

    /// Copies what is in the directory `from` into the empty directory `dest`.
    ///
    /// # Errors
    ///
    /// What ends the work: the disk is full, or an interrupt. What cannot be copied is left out.
    pub(crate) fn directory(&mut self, from: Attributes, dest: OwnedFd) -> Result<(), CliError> {
        let top = rustix::io::dup(&dest).map_err(|err| self.io_error("opening", err))?;
        let first = self.frame(from, dest);
        let Some(first) = self.settle(first)? else { return Ok(()) };
        let mut frames = vec![first];
        loop {
            let depth = frames.len();
            let Some(frame) = frames.last_mut() else { break };
            let Some(entry) = frame.entries.next() else {
                let done = frames.pop().expect("the loop saw a last frame");
                let kept = self.keep_attributes(&done.from, done.dest.as_fd());
                self.settle(kept)?;
                self.path.pop();
                continue;
            };
            let dest = frame.dest.as_fd();
            self.path.push(entry.name.as_os_str());
            let copied = self.entry(top.as_fd(), dest, &entry, depth);
            match self.settle(copied)? {
                Some(Some(below)) => frames.push(below),
                Some(None) | None => {
                    self.path.pop();
                }
            }
        }
        fs::syncfs(&top).map_err(|err| self.io_error("making the copy durable", err))
    }

    /// Copies one file to `name` in `dest`, where nothing of that name is.
    ///
    /// # Errors
    ///
    /// As [`CopyOut::directory`].
    pub(crate) fn single(
        &mut self,
        from: &Attributes,
        dest: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<(), CliError> {
        self.path = name.into();
        let copied = self.non_directory(dest, name, from);
        self.settle(copied)?;
        fs::syncfs(dest).map_err(|err| self.io_error("making the copy durable", err))
    }

    fn entry(
        &mut self,
        top: BorrowedFd<'_>,
        dest: BorrowedFd<'_>,
        entry: &DirectoryEntry,
        depth: usize,
    ) -> Result<Option<Frame>, Stop> {
        self.tell()?;
        let name = entry.name.as_os_str();
        let from = self.vfs.attributes(entry.ino).map_err(|err| unreadable(&err))?;
        if from.kind == FileKind::Directory {
            if depth >= DEPTH_MAX {
                return Err(Stop::Skip(format!("more than {DEPTH_MAX} directories deep")));
            }
            fs::mkdirat(dest, name, Mode::RWXU).map_err(|err| self.refused(err))?;
            let below = host::open_directory(dest, name).map_err(|err| self.refused_io(&err))?;
            self.counts.directories += 1;
            return self.frame(from, below).map(Some);
        }
        if from.nlink > 1 {
            if let Some(first) = self.links.get(&from.ino)
                && fs::linkat(top, first, dest, name, AtFlags::empty()).is_ok()
            {
                self.counts.hard_links += 1;
                return Ok(None);
            }
            self.non_directory(dest, name, &from)?;
            self.links.insert(from.ino, self.path.clone());
            return Ok(None);
        }
        self.non_directory(dest, name, &from).map(|()| None)
    }

    fn frame(&self, from: Attributes, dest: OwnedFd) -> Result<Frame, Stop> {
        let entries = self.vfs.list(from.ino).map_err(|err| unreadable(&err))?.into_iter();
        Ok(Frame { dest, from, entries })
    }

    fn non_directory(
        &mut self,
        dest: BorrowedFd<'_>,
        name: &OsStr,
        from: &Attributes,
    ) -> Result<(), Stop> {
        match from.kind {
            FileKind::File => return self.file(dest, name, from),
            FileKind::Symlink => {
                let target = self.vfs.readlink(from.ino).map_err(|err| unreadable(&err))?;
                fs::symlinkat(OsStr::from_bytes(&target), dest, name)
                    .map_err(|err| self.refused(err))?;
                self.counts.symlinks += 1;
            }
            FileKind::Fifo => self.make_node(dest, name, FileType::Fifo, 0)?,
            FileKind::CharDevice | FileKind::BlockDevice if !self.root => {
                return Err(Stop::Skip("a device: only root can make those".to_owned()));
            }
            FileKind::CharDevice => {
                self.make_node(dest, name, FileType::CharacterDevice, from.rdev)?;
            }
            FileKind::BlockDevice => {
                self.make_node(dest, name, FileType::BlockDevice, from.rdev)?;
            }
            FileKind::Socket => return Err(Stop::Skip("a socket".to_owned())),
            FileKind::Directory => return Err(Stop::Skip("a directory".to_owned())),
        }
        self.keep_attributes_at(dest, name, from)
    }

    fn make_node(
        &mut self,
        dest: BorrowedFd<'_>,
        name: &OsStr,
        kind: FileType,
        rdev: u64,
    ) -> Result<(), Stop> {
        fs::mknodat(dest, name, kind, Mode::RUSR | Mode::WUSR, rdev)
            .map_err(|err| self.refused(err))?;
        self.counts.special += 1;
        Ok(())
    }

    fn file(&mut self, dest: BorrowedFd<'_>, name: &OsStr, from: &Attributes) -> Result<(), Stop> {
        let source = self.vfs.open_read(&self.me, from.ino).map_err(|err| unreadable(&err))?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let made = host::open_at(dest, name, flags).map_err(|err| self.refused_io(&err))?;
        let out = File::from(made);
        let copied = self.copy_bytes(&source, &out);
        if let Err(err) = source.release() {
            tracing::debug!(error = %Chain(&err), "file not closed");
        }
        if let Err(stop) = copied {
            // Half a file is worse than none.
            if let Err(err) = fs::unlinkat(dest, name, AtFlags::empty()) {
                tracing::warn!(error = %err, "unfinished file not removed");
            }
            return Err(stop);
        }
        self.keep_attributes(from, out.as_fd())?;
        self.counts.files += 1;
        Ok(())
    }

    /// Copies the runs of data; what lies between stays a hole. Every byte is verified on the way.
    fn copy_bytes(&mut self, source: &OpenFile, out: &File) -> Result<(), Stop> {
        let size = source.attributes().map_err(|err| unreadable(&err))?.size;
        let mut buffer =
            vec![0; CHUNK_BYTES.min(usize::try_from(size).unwrap_or(CHUNK_BYTES).max(1))];
        let mut offset = 0;
        while offset < size {
            offset = match source.seek(offset, Seek::Data) {
                Ok(start) => start,
                Err(err) if err.errno() == libc::ENXIO => break,
                Err(err) => return Err(unreadable(&err)),
            };
            let end = source.seek(offset, Seek::Hole).map_err(|err| unreadable(&err))?.min(size);
            while offset < end {
                let left = usize::try_from(end - offset).unwrap_or(CHUNK_BYTES);
                let want = left.min(buffer.len());
                let read =
                    source.read_at(offset, &mut buffer[..want]).map_err(|err| unreadable(&err))?;
                if read == 0 {
                    return Err(Stop::Skip("it is shorter than it should be".to_owned()));
                }
                out.write_all_at(&buffer[..read], offset).map_err(|err| self.refused_io(&err))?;
                offset += read as u64;
                self.counts.bytes += read as u64;
                self.tell()?;
            }
        }
        out.set_len(size).map_err(|err| self.refused_io(&err))
    }

    /// Gives an open file or directory the attributes of what it was copied from.
    fn keep_attributes(&mut self, from: &Attributes, dest: BorrowedFd<'_>) -> Result<(), Stop> {
        if self.root {
            fs::fchown(dest, Some(uid(from)), Some(gid(from))).map_err(|err| self.refused(err))?;
        }
        self.keep_xattrs(from.ino, dest)?;
        // After the owner, because a change of that takes set-user-id bits away.
        fs::fchmod(dest, Mode::from_raw_mode(from.mode)).map_err(|err| self.refused(err))?;
        let times = host::times(from.atime_ns, from.mtime_ns);
        fs::futimens(dest, &times).map_err(|err| self.refused(err))
    }

    /// The same for what cannot be opened: symlinks, pipes, devices.
    fn keep_attributes_at(
        &mut self,
        dest: BorrowedFd<'_>,
        name: &OsStr,
        from: &Attributes,
    ) -> Result<(), Stop> {
        let here = AtFlags::SYMLINK_NOFOLLOW;
        if self.root {
            fs::chownat(dest, name, Some(uid(from)), Some(gid(from)), here)
                .map_err(|err| self.refused(err))?;
        }
        if from.kind != FileKind::Symlink {
            // The name was made a moment ago and is no symlink.
            fs::chmodat(dest, name, Mode::from_raw_mode(from.mode), AtFlags::empty())
                .map_err(|err| self.refused(err))?;
        }
        let times = host::times(from.atime_ns, from.mtime_ns);
        fs::utimensat(dest, name, &times, here).map_err(|err| self.refused(err))
    }

    fn keep_xattrs(&mut self, ino: Ino, dest: BorrowedFd<'_>) -> Result<(), Stop> {
        for name in self.vfs.list_xattrs(ino).map_err(|err| unreadable(&err))? {
            let value = match self.vfs.xattr(ino, &name) {
                Ok(value) => value,
                Err(err) if err.errno() == libc::ENODATA => continue,
                Err(err) => return Err(unreadable(&err)),
            };
            if let Err(err) = host::set_xattr(dest, &name, &value) {
                let name = String::from_utf8_lossy(&name);
                let reason = format!("its attribute {name} was not kept: {}", plainly(&err));
                self.left_out.add(&self.path, reason);
            }
        }
        Ok(())
    }

    fn tell(&self) -> Result<(), Stop> {
        Ok(self.progress.step(|| Step {
            doing: "exporting".to_owned(),
            files: self.counts.files,
            bytes: self.counts.bytes,
            bytes_total: self.bytes_total,
            current: self.path.display().to_string(),
        })?)
    }

    fn refused(&self, err: Errno) -> Stop {
        self.refused_io(&err.into())
    }

    /// What a refusal of the destination means: some end the work.
    fn refused_io(&self, err: &std::io::Error) -> Stop {
        match Errno::from_io_error(err) {
            Some(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO)) => {
                Stop::Fatal(self.io_error("exporting", errno))
            }
            _ => Stop::Skip(format!("cannot be written: {}", plainly(err))),
        }
    }

    fn io_error(&self, doing: &'static str, err: Errno) -> CliError {
        // A single file's path is its name, which the destination ends with already.
        let path = match self.dest.is_dir() {
            true => self.dest.join(&self.path),
            false => self.dest.to_owned(),
        };
        CliError::File { doing, path, source: err.into() }
    }

    fn settle<T>(&mut self, result: Result<T, Stop>) -> Result<Option<T>, CliError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Stop::Skip(reason)) => {
                self.left_out.add(&self.path, reason);
                Ok(None)
            }
            Err(Stop::Fatal(err)) => Err(err),
        }
    }
}

/// Opens the empty directory at `path`, or makes it.
///
/// # Errors
///
/// Something is there, or the directory above it is missing.
pub(crate) fn empty_directory(path: &Path) -> Result<OwnedFd, CliError> {
    let failed =
        |err: Errno| CliError::File { doing: "making", path: path.into(), source: err.into() };
    match fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(Errno::NOTDIR) => return Err(CliError::DestNotEmpty { path: path.into() }),
        Err(err) => return Err(failed(err)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let dest = match fs::open(path, flags, Mode::empty()) {
        Ok(dest) => dest,
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return Err(CliError::DestNotEmpty { path: path.into() });
        }
        Err(err) => return Err(failed(err)),
    };
    let names = host::names(dest.as_fd()).map_err(|source| CliError::File {
        doing: "reading",
        path: path.into(),
        source,
    })?;
    if names.is_empty() { Ok(dest) } else { Err(CliError::DestNotEmpty { path: path.into() }) }
}

fn uid(from: &Attributes) -> Uid {
    Uid::from_raw(from.uid)
}

fn gid(from: &Attributes) -> Gid {
    Gid::from_raw(from.gid)
}

fn unreadable(err: &FsError) -> Stop {
    Stop::Skip(format!("cannot be read: {}", Chain(err)))
}
