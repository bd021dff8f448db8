//! One file's story: where its bytes are and which versions it has.

use tesfs_blobs::{BlobHash, BlobState};
use tesfs_pathtree::{BlobNumber, Ino, Stamp, tree};

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
        let is_dirty = match self.lines.find(ino) {
            Some(line) => line.lock().is_dirty()?,
            None => false,
        };
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
            let stored = match &row {
                None => FileState::Durable,
                Some(row) => match row.state {
                    BlobState::Inline | BlobState::Local => FileState::Durable,
                    BlobState::Draft if row.settled => FileState::Unsealed,
                    BlobState::Draft => FileState::Unsettled,
                    BlobState::Damaged => FileState::Damaged,
                    BlobState::Absent => FileState::Absent,
                },
            };
            Ok(FileStory {
                attributes,
                blob,
                hash: row.and_then(|row| row.hash),
                state: if is_dirty { FileState::Draft } else { stored },
                versions,
            })
        })
    }
}
