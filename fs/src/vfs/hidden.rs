//! `.tesfs`, the folder at the root of every mount that listings do not show.
//!
//! It holds `recovered/`: the bytes of drafts that a crash interrupted. Everything in it is
//! read-only and has inode numbers of its own.

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

use crate::{
    attributes::{Attributes, DirectoryEntry, FileKind, blocks_of},
    error::FsError,
};

/// The reserved name in the root.
pub(super) const NAME: &[u8] = b".tesfs";
/// The folder of recovered drafts in it, and in the data directory.
const RECOVERED: &str = "recovered";

/// Numbers from here on are not in the tree.
const FIRST: u64 = 1 << 60;
const TOP_INO: Ino = Ino(FIRST);
const RECOVERED_INO: Ino = Ino(FIRST + 1);
/// A recovered file's number is that of the file behind it with this bit.
const FILE_BIT: u64 = 1 << 61;
/// Bits of a number that remain for that.
const FILE_MASK: u64 = FIRST - 1;

/// Says whether an inode is one of the hidden folder's.
pub(super) fn is_hidden(ino: Ino) -> bool {
    ino.0 >= FIRST
}

/// The hidden folder of one mount.
pub(super) struct Hidden {
    recovered: PathBuf,
}

impl Hidden {
    pub(super) fn new(database: &Path) -> Self {
        Self { recovered: database.with_file_name(RECOVERED) }
    }

    pub(super) fn lookup(
        &self,
        root: Ino,
        parent: Ino,
        name: &Name,
    ) -> Result<Attributes, FsError> {
        let missing = || TreeError::EdgeNotFound { parent, name: name.clone() }.into();
        if parent == root {
            return self.attributes(root, TOP_INO);
        }
        match parent {
            TOP_INO if name.as_bytes() == RECOVERED.as_bytes() => {
                self.attributes(root, RECOVERED_INO)
            }
            RECOVERED_INO => {
                let path = self.recovered.join(name.as_os_str());
                let meta = fs::symlink_metadata(&path).map_err(|_| missing())?;
                if meta.is_file() { Ok(file_attributes(&meta)) } else { Err(missing()) }
            }
            _ => Err(missing()),
        }
    }

    pub(super) fn attributes(&self, _root: Ino, ino: Ino) -> Result<Attributes, FsError> {
        match ino {
            TOP_INO | RECOVERED_INO => {
                let meta = fs::metadata(&self.recovered).map_err(|err| self.failed(err))?;
                Ok(directory_attributes(ino, &meta))
            }
            _ => Ok(file_attributes(&self.find(ino)?.1)),
        }
    }

    pub(super) fn parent(&self, root: Ino, ino: Ino) -> Ino {
        match ino {
            TOP_INO => root,
            RECOVERED_INO => TOP_INO,
            _ => RECOVERED_INO,
        }
    }

    pub(super) fn list(&self, directory: Ino) -> Result<Vec<DirectoryEntry>, FsError> {
        match directory {
            TOP_INO => Ok(vec![DirectoryEntry {
                edge: 0,
                name: Name::from_bytes(RECOVERED.as_bytes())?,
                ino: RECOVERED_INO,
                kind: FileKind::Directory,
            }]),
            RECOVERED_INO => Ok(self
                .files()?
                .into_iter()
                .zip(0..)
                .filter_map(|((path, meta), edge)| {
                    let name = Name::parse(path.file_name()?).ok()?;
                    Some(DirectoryEntry { edge, name, ino: file_ino(&meta), kind: FileKind::File })
                })
                .collect()),
            _ => Err(TreeError::NotADirectory(directory).into()),
        }
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
        for entry in fs::read_dir(&self.recovered).map_err(|err| self.failed(err))? {
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
        FsError::Io { path: self.recovered.clone(), doing: "reading recovered files", source }
    }
}

fn file_ino(meta: &Metadata) -> Ino {
    Ino(FILE_BIT | meta.ino() & FILE_MASK)
}

fn directory_attributes(ino: Ino, meta: &Metadata) -> Attributes {
    Attributes { ino, kind: FileKind::Directory, mode: 0o500, nlink: 2, ..file_attributes(meta) }
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
