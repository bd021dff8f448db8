//! One file's story: where its bytes are and which versions it has.

use tesfs_blobs::{BlobHash, BlobRow, BlobState};
use tesfs_pathtree::{
    BlobNumber, Ino, Stamp, branch, moment,
    tree::{self, Inode},
};

use super::Vfs;
use crate::{attributes::Attributes, error::FsError};

/// How safe a file's current bytes are on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// A writer has bytes that are not published.
    Draft,
    /// Published; a power cut may still take it.
    Unsettled,
    /// Survives a power cut; not yet hashed into the store.
    Unsealed,
    /// Survives a power cut, and every byte can be verified.
    Durable,
    /// The bytes on disk are not those that were stored.
    Damaged,
    /// The bytes are on other nodes only.
    Absent,
}

impl FileState {
    /// Returns the word for it, as `user.tesfs.state` has it and commands say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Unsettled => "local",
            Self::Unsealed => "durable, not hashed yet",
            Self::Durable => "durable",
            Self::Damaged => "damaged",
            Self::Absent => "absent",
        }
    }
}

/// One version of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionLine {
    /// When and by whom it was published.
    pub version: Stamp,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash, once it is known.
    pub hash: Option<BlobHash>,
    /// It is the current one.
    pub live: bool,
}

/// One file's story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStory {
    /// As stat shows it.
    pub attributes: Attributes,
    /// The blob of its current version.
    pub blob: Option<BlobNumber>,
    /// The hash of its current version, once it is known.
    pub hash: Option<BlobHash>,
    /// How safe that is.
    pub state: FileState,
    /// Its versions, newest first.
    pub versions: Vec<VersionLine>,
}

impl Vfs {
    /// Tells one file's story.
    ///
    /// # Errors
    ///
    /// [`tree::TreeError::InodeGone`].
    pub fn story(&self, ino: Ino) -> Result<FileStory, FsError> {
        let attributes = self.attributes(ino)?;
        let Some((view, own)) = self.seen(ino)? else {
            let state = FileState::Durable;
            return Ok(FileStory { attributes, blob: None, hash: None, state, versions: vec![] });
        };
        let is_dirty = self.is_dirty(ino)?;
        self.db.read(|conn| {
            let contents = tree::contents(conn, &view, own)?;
            let mut versions = Vec::with_capacity(contents.len());
            for (nth, content) in contents.iter().enumerate() {
                let row = content.blob.map(|blob| self.store.row(conn, blob)).transpose()?;
                versions.push(VersionLine {
                    version: content.version,
                    size: content.size,
                    hash: row.flatten().and_then(|row| row.hash),
                    live: nth == 0,
                });
            }
            let blob = contents.first().and_then(|content| content.blob);
            let row = blob.map(|blob| self.store.row(conn, blob)).transpose()?.flatten();
            let stored = stored_state(row.as_ref());
            Ok(FileStory {
                attributes,
                blob,
                hash: row.and_then(|row| row.hash),
                state: if is_dirty { FileState::Draft } else { stored },
                versions,
            })
        })
    }

    /// Returns what is told of an inode by the name of an extended attribute that is not stored:
    /// what stands behind `user.tesfs.`. `None` where nothing is told.
    ///
    /// `hash`, `version` and `state` are of a file's published version; only `state` knows of bytes
    /// that are not published yet.
    pub(super) fn told(&self, ino: Ino, key: &[u8]) -> Result<Option<String>, FsError> {
        let Some((view, own)) = self.seen(ino)? else { return Ok(None) };
        if key == b"branch" {
            let branch = self.db.read(|conn| branch::by_number(conn, view.branch))?;
            return Ok(branch.map(|branch| branch.name));
        }
        let found = self.db.read(|conn| tree::inode(conn, &view, own))?;
        let Some(inode) = found.filter(Inode::is_file) else { return Ok(None) };
        let row = match inode.blob {
            Some(blob) => self.db.read(|conn| self.store.row(conn, blob))?,
            None => None,
        };
        Ok(match key {
            b"hash" if inode.blob.is_none() => Some(BlobHash::of(b"").to_string()),
            b"hash" => row.and_then(|row| row.hash).map(|hash| hash.to_string()),
            b"version" => Some(moment::exact_label(inode.content.hlc.unix_ns())),
            b"state" if self.is_dirty(ino)? => Some(FileState::Draft.word().to_owned()),
            b"state" => Some(stored_state(row.as_ref()).word().to_owned()),
            _ => None,
        })
    }

    /// Says whether a writer has bytes that are not published.
    fn is_dirty(&self, ino: Ino) -> Result<bool, FsError> {
        match self.lines.find(ino) {
            Some(line) => line.lock().is_dirty(),
            None => Ok(false),
        }
    }
}

/// Returns how safe a version's bytes are; one without bytes has no row.
fn stored_state(row: Option<&BlobRow>) -> FileState {
    match row {
        None => FileState::Durable,
        Some(row) => match row.state {
            BlobState::Inline | BlobState::Local => FileState::Durable,
            BlobState::Draft if row.settled => FileState::Unsealed,
            BlobState::Draft => FileState::Unsettled,
            BlobState::Damaged => FileState::Damaged,
            BlobState::Absent => FileState::Absent,
        },
    }
}
