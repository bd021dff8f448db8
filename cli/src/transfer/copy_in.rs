//! Copies a directory of this machine into a bucket.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    vec,
};

use rustix::fs::{self, FileType, OFlags, Stat};
use tesfs_fs::{Attributes, Caller, FileKind, FsError, MakeInode, Touched, Vfs};
use tesfs_pathtree::{Chain, Ino, Name};

use super::{Counts, DEPTH_MAX, LeftOut, Stop, host, plainly};
use crate::{
    error::CliError,
    place::owner,
    progress::{Progress, Step},
};

/// Directories that are not entered, by device and inode number.
type Forbidden = Vec<(u64, u64)>;

/// A copy into a bucket that is under way.
pub(crate) struct CopyIn<'a> {
    pub(super) vfs: &'a Vfs,
    pub(super) progress: &'a Progress,
    /// Whom the bucket takes for the maker.
    pub(super) me: Caller,
    /// Root keeps owners and makes devices; anybody else's files are his own.
    pub(super) root: bool,
    /// What hard links lead to, by device and inode number.
    links: HashMap<(u64, u64), Ino>,
    forbidden: Forbidden,
    /// Numbers the names that files have until they are whole.
    pub(super) unfinished: u64,
    /// The path at hand, for messages.
    pub(super) path: PathBuf,
    pub(crate) counts: Counts,
    pub(crate) left_out: LeftOut,
    /// All bytes there are to copy; 0 until somebody has counted them.
    total: &'a AtomicU64,
}

/// A directory that is being copied.
struct Frame {
    source: OwnedFd,
    into: Ino,
    stat: Stat,
    names: vec::IntoIter<OsString>,
}

impl<'a> CopyIn<'a> {
    /// A copy into `vfs` that never enters the directories at `forbidden`.
    pub(crate) fn new(
        vfs: &'a Vfs,
        progress: &'a Progress,
        forbidden: &[PathBuf],
        total: &'a AtomicU64,
    ) -> Self {
        let ids = forbidden.iter().filter_map(|path| fs::stat(path).ok());
        Self {
            vfs,
            progress,
            me: owner(),
            root: rustix::process::geteuid().is_root(),
            links: HashMap::new(),
            forbidden: ids.map(|stat| (stat.st_dev, stat.st_ino)).collect(),
            unfinished: 0,
            path: PathBuf::new(),
            counts: Counts::default(),
            left_out: LeftOut::default(),
            total,
        }
    }

    /// Copies what is in the directory `source` into the directory `into`.
    ///
    /// # Errors
    ///
    /// What ends the work: the bucket cannot take more, or an interrupt. What cannot be read is
    /// left out.
    pub(crate) fn directory(&mut self, source: &Path, into: Ino) -> Result<(), CliError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = fs::open(source, flags, fs::Mode::empty());
        let failed = |err: rustix::io::Errno| CliError::File {
            doing: "reading",
            path: source.into(),
            source: err.into(),
        };
        let fd = opened.map_err(failed)?;
        let stat = fs::fstat(&fd).map_err(failed)?;
        self.path = source.to_owned();
        let first = match self.frame(fd, stat, into) {
            Ok(frame) => frame,
            Err(stop) => return self.take(stop),
        };
        let mut frames = vec![first];
        loop {
            let depth = frames.len();
            let Some(frame) = frames.last_mut() else { break };
            let Some(name) = frame.names.next() else {
                let done = frames.pop().expect("the loop saw a last frame");
                let kept = self.keep_attributes(done.into, &done.stat, Some(done.source.as_fd()));
                self.vfs.announce(&Touched::Inode(done.into));
                self.settle(kept)?;
                self.path.pop();
                continue;
            };
            let (source, into) = (frame.source.as_fd(), frame.into);
            self.path.push(&name);
            match self.entry(source, into, &name, depth) {
                Ok(Some(below)) => frames.push(below),
                Ok(None) => {
                    self.path.pop();
                }
                Err(stop) => {
                    self.take(stop)?;
                    self.path.pop();
                }
            }
        }
        Ok(())
    }

    /// Copies one file of this machine to `name` in the directory `into`.
    ///
    /// # Errors
    ///
    /// As [`CopyIn::directory`].
    pub(crate) fn single(&mut self, source: &Path, into: Ino, name: &Name) -> Result<(), CliError> {
        let failed = |source_err: std::io::Error| CliError::File {
            doing: "reading",
            path: source.into(),
            source: source_err,
        };
        let above = source.parent().unwrap_or(Path::new("/"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = fs::open(above, flags, fs::Mode::empty()).map_err(|err| failed(err.into()))?;
        let own_name = source.file_name().unwrap_or_default();
        let stat = host::stat_at(dir.as_fd(), own_name).map_err(failed)?;
        self.path = source.to_owned();
        let kind = host::kind(&stat);
        let result = self.non_directory(dir.as_fd(), into, own_name, name, &stat, kind);
        self.settle(result)
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        into: Ino,
        own_name: &OsStr,
        depth: usize,
    ) -> Result<Option<Frame>, Stop> {
        let counts = self.counts;
        let path = &self.path;
        self.progress.step(|| Step {
            doing: "importing".to_owned(),
            files: counts.files + counts.unchanged,
            bytes: counts.bytes,
            bytes_total: self.bytes_total(),
            current: path.display().to_string(),
        })?;
        let name = Name::parse(own_name).map_err(|err| Stop::Skip(err.to_string()))?;
        let stat = host::stat_at(source, own_name).map_err(unreadable)?;
        let kind = host::kind(&stat);
        if kind != FileType::Directory {
            self.non_directory(source, into, own_name, &name, &stat, kind)?;
            return Ok(None);
        }
        if self.forbidden.contains(&(stat.st_dev, stat.st_ino)) {
            return Err(Stop::Skip("it belongs to this node of tesfs".to_owned()));
        }
        if depth >= DEPTH_MAX {
            return Err(Stop::Skip(format!("more than {DEPTH_MAX} directories deep")));
        }
        let fd = host::open_directory(source, own_name).map_err(unreadable)?;
        let stat = fs::fstat(&fd).map_err(|err| unreadable(err.into()))?;
        let into = match self.look(into, &name)? {
            Some(there) if there.kind == FileKind::Directory => there.ino,
            Some(_) => {
                return Err(Stop::Skip("something else has that name in the bucket".to_owned()));
            }
            None => {
                self.counts.directories += 1;
                // Its own mode comes last, when it is filled.
                let made = self
                    .vfs
                    .make(&self.me, into, &name, &MakeInode::Directory, 0o700)
                    .map_err(|err| self.refused(err))?;
                self.announce(into, &name);
                made.ino
            }
        };
        self.frame(fd, stat, into).map(Some)
    }

    fn frame(&self, source: OwnedFd, stat: Stat, into: Ino) -> Result<Frame, Stop> {
        let names = host::names(source.as_fd()).map_err(unreadable)?.into_iter();
        Ok(Frame { source, into, stat, names })
    }

    fn non_directory(
        &mut self,
        source: BorrowedFd<'_>,
        into: Ino,
        own_name: &OsStr,
        name: &Name,
        stat: &Stat,
        kind: FileType,
    ) -> Result<(), Stop> {
        let there = self.look(into, name)?;
        if there.is_some_and(|there| there.kind == FileKind::Directory) {
            return Err(Stop::Skip("a directory has that name in the bucket".to_owned()));
        }
        let id = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(&ino) = self.links.get(&id)
        {
            return self.hard_link(ino, into, name, there);
        }
        if let Some(there) = there
            && self.is_same_special(&there, source, own_name, stat)?
        {
            self.counts.unchanged += 1;
            self.keep_attributes(there.ino, stat, None)?;
            return Ok(());
        }
        let ino = match kind {
            FileType::RegularFile => self.file(source, into, own_name, name, stat, there)?,
            FileType::Symlink => {
                let target = read_link(source, own_name)?;
                self.counts.symlinks += 1;
                self.replace(into, name, there, &MakeInode::Symlink(target), stat)?
            }
            FileType::Fifo => {
                self.counts.special += 1;
                self.replace(into, name, there, &MakeInode::Fifo, stat)?
            }
            FileType::CharacterDevice | FileType::BlockDevice if !self.root => {
                return Err(Stop::Skip("a device: only root can keep those".to_owned()));
            }
            FileType::CharacterDevice => {
                self.counts.special += 1;
                self.replace(into, name, there, &MakeInode::CharDevice(stat.st_rdev), stat)?
            }
            FileType::BlockDevice => {
                self.counts.special += 1;
                self.replace(into, name, there, &MakeInode::BlockDevice(stat.st_rdev), stat)?
            }
            FileType::Socket => return Err(Stop::Skip("a socket".to_owned())),
            _ => return Err(Stop::Skip("of an unknown kind".to_owned())),
        };
        self.announce(into, name);
        if stat.st_nlink > 1 {
            self.links.insert(id, ino);
        }
        Ok(())
    }

    /// Lets a mount of the bucket know that a name leads elsewhere now.
    fn announce(&self, parent: Ino, name: &Name) {
        self.vfs.announce(&Touched::Entry { parent, name: name.clone() });
    }

    /// Whether the bucket has this symlink, pipe or device already.
    fn is_same_special(
        &self,
        there: &Attributes,
        source: BorrowedFd<'_>,
        own_name: &OsStr,
        stat: &Stat,
    ) -> Result<bool, Stop> {
        let same_kind = there.kind == FileKind::of_mode(stat.st_mode);
        Ok(match there.kind {
            FileKind::Symlink if same_kind => {
                let target = self.vfs.readlink(there.ino).map_err(|err| self.refused(err))?;
                target == read_link(source, own_name)?
            }
            FileKind::Fifo => same_kind,
            FileKind::CharDevice | FileKind::BlockDevice => same_kind && there.rdev == stat.st_rdev,
            _ => false,
        })
    }

    fn hard_link(
        &mut self,
        ino: Ino,
        into: Ino,
        name: &Name,
        there: Option<Attributes>,
    ) -> Result<(), Stop> {
        match there {
            Some(there) if there.ino == ino => return Ok(()),
            Some(_) => self.vfs.unlink(&self.me, into, name).map_err(|err| self.refused(err))?,
            None => {}
        }
        self.vfs.link(&self.me, ino, into, name).map_err(|err| self.refused(err))?;
        self.announce(into, name);
        self.counts.hard_links += 1;
        Ok(())
    }

    /// Makes something that has no bytes of its own, in the place of what is there.
    fn replace(
        &mut self,
        into: Ino,
        name: &Name,
        there: Option<Attributes>,
        what: &MakeInode,
        stat: &Stat,
    ) -> Result<Ino, Stop> {
        if there.is_some() {
            self.vfs.unlink(&self.me, into, name).map_err(|err| self.refused(err))?;
        }
        let mode = stat.st_mode & 0o7777;
        let made =
            self.vfs.make(&self.me, into, name, what, mode).map_err(|err| self.refused(err))?;
        self.keep_attributes(made.ino, stat, None)?;
        Ok(made.ino)
    }

    /// All bytes there are to copy, once they are counted.
    pub(super) fn bytes_total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn look(&self, into: Ino, name: &Name) -> Result<Option<Attributes>, Stop> {
        match self.vfs.lookup(&self.me, into, name) {
            Ok(there) => Ok(Some(there)),
            Err(err) if err.errno() == libc::ENOENT => Ok(None),
            Err(err) => Err(self.refused(err)),
        }
    }

    /// What a refusal of the bucket means: some end the work.
    pub(super) fn refused(&self, err: FsError) -> Stop {
        match err.errno() {
            libc::ENOSPC | libc::EDQUOT | libc::EROFS | libc::EIO => {
                Stop::Fatal(CliError::tree("importing", self.path.display().to_string(), err))
            }
            _ => Stop::Skip(format!("the bucket refuses it: {}", Chain(&err))),
        }
    }

    fn settle(&mut self, result: Result<(), Stop>) -> Result<(), CliError> {
        match result {
            Ok(()) => Ok(()),
            Err(stop) => self.take(stop),
        }
    }

    fn take(&mut self, stop: Stop) -> Result<(), CliError> {
        match stop {
            Stop::Skip(reason) => {
                self.left_out.add(&self.path, reason);
                Ok(())
            }
            Stop::Fatal(err) => Err(err),
        }
    }
}

fn read_link(source: BorrowedFd<'_>, own_name: &OsStr) -> Result<Vec<u8>, Stop> {
    match fs::readlinkat(source, own_name, Vec::new()) {
        Ok(target) => Ok(target.into_bytes()),
        Err(err) => Err(unreadable(err.into())),
    }
}

/// What cannot be read is left out.
#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
pub(super) fn unreadable(err: std::io::Error) -> Stop {
    Stop::Skip(format!("cannot be read: {}", plainly(&err)))
}
