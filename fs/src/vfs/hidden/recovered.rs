//! `recovered/`: the bytes of drafts that a crash interrupted.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{getegid, geteuid},
};
use tesfs_pathtree::{Ino, Name, tree::TreeError};

use super::FIRST;
use crate::{
    attributes::{Attributes, DirectoryEntry, FileKind, blocks_of},
    error::FsError,
};

/// The folder's name, also in the data directory.
pub(super) const NAME: &str = "recovered";
/// A file's number is that of the file behind it, with this bit.
const FILE_BIT: u64 = 1 << 59;

/// The recovered drafts of a node.
pub(super) struct Recovered {
    dir: PathBuf,
}

impl Recovered {
    pub(super) fn beside(database: &Path) -> Self {
        Self { dir: database.with_file_name(NAME) }
    }

    pub(super) fn lookup(&self, parent: Ino, name: &Name) -> Result<Attributes, FsError> {
        let missing = || TreeError::EdgeNotFound { parent, name: name.clone() }.into();
        let meta = fs::symlink_metadata(self.dir.join(name.as_os_str())).map_err(|_| missing())?;
        if meta.is_file() { Ok(file_attributes(&meta)) } else { Err(missing()) }
    }

    /// Returns the attributes of a folder that has this one's owner and times.
    pub(super) fn folder(&self, ino: Ino, mode: u32) -> Result<Attributes, FsError> {
        let meta = fs::metadata(&self.dir).map_err(|err| self.failed(err))?;
        // One link says of a directory that they are not counted.
        let kind = FileKind::Directory;
        Ok(Attributes { ino, kind, mode, ..file_attributes(&meta) })
    }

    pub(super) fn attributes(&self, ino: Ino) -> Result<Attributes, FsError> {
        Ok(file_attributes(&self.find(ino)?.1))
    }

    pub(super) fn list(&self) -> Result<Vec<DirectoryEntry>, FsError> {
        let entry = |((path, meta), edge): ((PathBuf, Metadata), u64)| {
            let name = Name::parse(path.file_name()?).ok()?;
            Some(DirectoryEntry { edge, name, ino: file_ino(&meta), kind: FileKind::File })
        };
        Ok(self.files()?.into_iter().zip(0..).filter_map(entry).collect())
    }

    /// Opens a recovered file for reading.
    pub(super) fn open(&self, ino: Ino) -> Result<File, FsError> {
        let (path, _) = self.find(ino)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::empty()).map_err(|err| FsError::Io {
            path,
            doing: "opening",
            source: err.into(),
        })?;
        Ok(file.into())
    }

    fn find(&self, ino: Ino) -> Result<(PathBuf, Metadata), FsError> {
        self.files()?
            .into_iter()
            .find(|(_, meta)| file_ino(meta) == ino)
            .ok_or_else(|| TreeError::InodeGone(ino).into())
    }

    fn files(&self) -> Result<Vec<(PathBuf, Metadata)>, FsError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|err| self.failed(err))? {
            let entry = entry.map_err(|err| self.failed(err))?;
            // One that vanished since the listing is not there any more.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_file() {
                files.push((entry.path(), meta));
            }
        }
        files.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(files)
    }

    fn failed(&self, source: io::Error) -> FsError {
        FsError::Io { path: self.dir.clone(), doing: "reading recovered files", source }
    }
}

fn file_ino(meta: &Metadata) -> Ino {
    Ino(FIRST | FILE_BIT | meta.ino() & (FILE_BIT - 1))
}

fn file_attributes(meta: &Metadata) -> Attributes {
    let mtime_ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
    Attributes {
        ino: file_ino(meta),
        kind: FileKind::File,
        mode: 0o400,
        nlink: 1,
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        rdev: 0,
        size: meta.len(),
        blocks: blocks_of(meta.len()),
        atime_ns: mtime_ns,
        mtime_ns,
        ctime_ns: mtime_ns,
        btime_ns: mtime_ns,
    }
}
