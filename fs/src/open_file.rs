//! Open files: what a handle reads, and what happens when it is flushed, synced and released.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tesfs_blobs::{Allocate, BlobReader, Draft};
use tesfs_pathtree::{Ino, Stamp};

use crate::{attributes::Attributes, caller::Caller, error::FsError, line::Line, vfs::Vfs};

/// Bytes moved at once where a range is copied through memory.
const COPY_BYTES: usize = 1 << 20;

/// Identity of one published content of one inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentKey {
    pub(crate) version: Option<Stamp>,
}

impl ContentKey {
    /// Returns the key of a version.
    pub fn of(version: Stamp) -> Self {
        Self { version: Some(version) }
    }
}

/// How a file is opened for writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenWrite {
    /// The handle may read as well.
    pub read: bool,
    /// The file is emptied first.
    pub truncate: bool,
    /// Every write goes to the end of the line, whatever its offset says.
    pub append: bool,
    /// Every write is durable when it returns.
    pub sync: bool,
    /// The caller may not keep set-user-id and set-group-id bits when it truncates.
    pub kill_privileges: bool,
}

/// What a flush did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The bytes are those that were published before.
    Nothing,
    /// They are a new version.
    NewVersion(ContentKey),
}

/// What to seek for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next byte that is stored.
    Data,
    /// The next hole, or the end.
    Hole,
}

/// Where a read-only handle's bytes are.
pub(crate) enum Source {
    Empty,
    Blob(BlobReader),
    /// A private copy of a version whose own file a writer may still change.
    Copy(Box<Draft>),
    /// A plain file of the data directory.
    Plain(Arc<File>),
}

pub(crate) enum Role {
    /// Reads one version until it is released.
    Pinned { source: Source, content: ContentKey, shown: Box<Attributes> },
    /// Reads and writes the line of its inode.
    OnLine { line: Arc<Line>, how: OpenWrite, writes: bool },
}

/// One open handle of a regular file.
pub struct OpenFile {
    pub(crate) vfs: Arc<Vfs>,
    pub(crate) ino: Ino,
    pub(crate) caller: Caller,
    pub(crate) role: Role,
    pub(crate) released: AtomicBool,
}

impl OpenFile {
    /// Returns the inode.
    pub fn ino(&self) -> Ino {
        self.ino
    }

    /// Says whether the handle has write access.
    pub fn is_writer(&self) -> bool {
        matches!(self.role, Role::OnLine { writes: true, .. })
    }

    /// Says whether the line of this handle began at, or was given, a mode that lends the owner's
    /// rights to whoever executes the file.
    pub fn lends_privileges(&self) -> bool {
        match &self.role {
            Role::OnLine { line, .. } => line.lock().lends_privileges,
            Role::Pinned { .. } => false,
        }
    }

    /// Returns which content the handle reads: the one it pinned, or what its line published last.
    pub fn content(&self) -> ContentKey {
        match &self.role {
            Role::Pinned { content, .. } => *content,
            Role::OnLine { line, .. } => ContentKey::of(line.lock().version),
        }
    }

    /// Returns the attributes as this handle sees them: a reader's size and times are those of
    /// the version it reads.
    ///
    /// # Errors
    ///
    /// [`tesfs_pathtree::tree::TreeError::InodeGone`].
    pub fn attributes(&self) -> Result<Attributes, FsError> {
        match &self.role {
            Role::Pinned { shown, .. } => {
                let now = self.vfs.attributes(self.ino).unwrap_or(**shown);
                Ok(Attributes {
                    size: shown.size,
                    blocks: shown.blocks,
                    mtime_ns: shown.mtime_ns,
                    ..now
                })
            }
            Role::OnLine { .. } => self.vfs.attributes(self.ino),
        }
    }

    /// Reads into `buffer` from `offset` and returns how much; less only at the end.
    ///
    /// # Errors
    ///
    /// [`FsError::BadHandle`] for a write-only handle; failures of the bytes.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        match &self.role {
            Role::Pinned { source, .. } => source.read_at(offset, buffer),
            Role::OnLine { line, .. } => line.lock().read_at(offset, buffer),
        }
    }

    /// Writes `data` at `offset` (at the line's end for an appending handle) and returns how much.
    /// With `kill_privileges` the file loses its set-user-id and set-group-id bits.
    ///
    /// # Errors
    ///
    /// [`FsError::BadHandle`], [`FsError::FileTooLarge`], a full disk.
    pub fn write_at(
        &self,
        offset: u64,
        data: &[u8],
        kill_privileges: bool,
    ) -> Result<usize, FsError> {
        let (line, how) = self.writing()?;
        let written = {
            let mut state = line.lock();
            let at = if how.append { state.size()? } else { offset };
            state.write_at(self.vfs.store().drafts(), at, data)?
        };
        if kill_privileges {
            self.vfs.clear_privileges(&self.caller, self.ino)?;
        }
        if how.sync {
            self.fsync()?;
        }
        Ok(written)
    }

    /// Returns a file whose bytes are this handle's content, for the kernel to use directly.
    ///
    /// All writers of one line get the same file. `None` where the daemon has to serve the handle.
    /// Ask only to use it: a file that was handed out is written without the daemon's knowing.
    ///
    /// # Errors
    ///
    /// A draft could not be made.
    pub fn backing(&self) -> Result<Option<Arc<File>>, FsError> {
        match &self.role {
            Role::Pinned { source: Source::Blob(reader), .. } => Ok(reader.file().cloned()),
            Role::Pinned { source: Source::Copy(draft), .. } => Ok(draft.backing().cloned()),
            Role::Pinned { .. } => Ok(None),
            Role::OnLine { how, .. } if how.sync => Ok(None),
            Role::OnLine { line, .. } => line.lock().backing(self.vfs.store().drafts()),
        }
    }

    /// Publishes what was written, as close(2) wants it; idempotent for duplicated descriptors.
    ///
    /// # Errors
    ///
    /// The version was not published: a full disk, a failed write.
    pub fn flush(&self) -> Result<Published, FsError> {
        match &self.role {
            Role::OnLine { line, writes: true, .. } => {
                let published = self.vfs.publish(&self.caller, line, &mut line.lock())?;
                if published == Published::Nothing {
                    // An empty file that was just created: its birth is promised from now on.
                    self.vfs.commit_birth()?;
                }
                if self.vfs.syncs_on_close() {
                    self.vfs.sync_version(self.ino)?;
                }
                Ok(published)
            }
            Role::OnLine { .. } | Role::Pinned { .. } => Ok(Published::Nothing),
        }
    }

    /// Makes the handle's bytes, size and name survive a power cut.
    ///
    /// # Errors
    ///
    /// They may not: a failed sync. The draft is then poisoned.
    pub fn fsync(&self) -> Result<(), FsError> {
        match &self.role {
            Role::OnLine { line, .. } => self.vfs.sync_line(&self.caller, line),
            Role::Pinned { .. } => self.vfs.sync_version(self.ino),
        }
    }

    /// Ends the handle; stores through a mapping that outlived its close are published now.
    /// Idempotent.
    ///
    /// # Errors
    ///
    /// Late stores could not be published.
    pub fn release(&self) -> Result<(), FsError> {
        if self.released.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let left = match &self.role {
            Role::OnLine { line, .. } => self.vfs.leave_line(&self.caller, line),
            Role::Pinned { .. } => Ok(()),
        };
        self.vfs.release_hold(self.ino)?;
        left
    }

    /// Changes the size; the new end reads as zeros.
    ///
    /// # Errors
    ///
    /// [`FsError::BadHandle`], [`FsError::FileTooLarge`], a full disk.
    pub fn set_len(&self, size: u64) -> Result<(), FsError> {
        let (line, _) = self.writing()?;
        let mut state = line.lock();
        self.vfs.publish_cut(&self.caller, line, &mut state, size)?;
        let old = state.set_len(self.vfs.store().drafts(), size)?;
        old.into_iter().for_each(|file| self.vfs.let_linger(file));
        self.vfs.publish_cut(&self.caller, line, &mut state, u64::MAX)
    }

    /// Reserves, punches or zeroes a range. `kill_privileges`: as for [`OpenFile::write_at`].
    ///
    /// # Errors
    ///
    /// [`FsError::BadHandle`], [`FsError::FileTooLarge`], a full disk.
    pub fn allocate(
        &self,
        mode: Allocate,
        offset: u64,
        len: u64,
        kill_privileges: bool,
    ) -> Result<(), FsError> {
        let (line, _) = self.writing()?;
        if len == 0 {
            return Err(FsError::Invalid("an empty range"));
        }
        if kill_privileges {
            self.vfs.clear_privileges(&self.caller, self.ino)?;
        }
        line.lock().allocate(self.vfs.store().drafts(), mode, offset, len)
    }

    /// Returns the next data or hole at or behind `offset`.
    ///
    /// # Errors
    ///
    /// [`FsError::NoData`] behind the end, and where no more data follows.
    pub fn seek(&self, offset: u64, what: Seek) -> Result<u64, FsError> {
        let (size, data, hole) = match &self.role {
            Role::Pinned { source, shown, .. } => {
                (shown.size, source.seek_data(offset)?, source.seek_hole(offset)?)
            }
            Role::OnLine { line, .. } => {
                let state = line.lock();
                (state.size()?, state.seek_data(offset)?, state.seek_hole(offset)?)
            }
        };
        let found = match what {
            Seek::Data => data,
            Seek::Hole => Some(hole.min(size)),
        };
        found.filter(|_| offset < size).ok_or(FsError::NoData(self.ino))
    }

    /// Copies up to `len` bytes into `out` and returns how many. `kill_privileges` of `out`: as for
    /// [`OpenFile::write_at`].
    ///
    /// A whole version copied into an empty file shares its bytes instead.
    ///
    /// # Errors
    ///
    /// As reading and writing.
    pub fn copy_range(
        &self,
        offset_in: u64,
        out: &Self,
        offset_out: u64,
        len: u64,
        kill_privileges: bool,
    ) -> Result<u64, FsError> {
        if let Some(whole) = self.share_whole(offset_in, out, offset_out, len)? {
            if kill_privileges {
                out.vfs.clear_privileges(&out.caller, out.ino)?;
            }
            return Ok(whole);
        }
        let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(len).unwrap_or(COPY_BYTES))];
        let mut copied = 0;
        while copied < len {
            let want = buffer.len().min(usize::try_from(len - copied).unwrap_or(buffer.len()));
            let got = self.read_at(offset_in + copied, &mut buffer[..want])?;
            if got == 0 {
                break;
            }
            let put = out.write_at(offset_out + copied, &buffer[..got], kill_privileges)?;
            copied += put as u64;
            if put < got {
                break;
            }
        }
        Ok(copied)
    }

    fn share_whole(
        &self,
        offset_in: u64,
        out: &Self,
        offset_out: u64,
        len: u64,
    ) -> Result<Option<u64>, FsError> {
        let Role::Pinned { source: Source::Blob(reader), .. } = &self.role else {
            return Ok(None);
        };
        let (line, _) = out.writing()?;
        let mut state = line.lock();
        let is_whole = offset_in == 0 && offset_out == 0 && len >= reader.size();
        if !is_whole || state.shared || state.size()? > 0 {
            return Ok(None);
        }
        let size = reader.size();
        let old = state.adopt(reader.clone());
        old.into_iter().for_each(|file| self.vfs.let_linger(file));
        Ok(Some(size))
    }

    fn writing(&self) -> Result<(&Arc<Line>, OpenWrite), FsError> {
        match &self.role {
            Role::OnLine { line, how, writes: true } => Ok((line, *how)),
            Role::OnLine { .. } | Role::Pinned { .. } => Err(FsError::BadHandle(self.ino)),
        }
    }
}

impl Source {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        match self {
            Self::Empty => Ok(0),
            Self::Blob(reader) => Ok(reader.read_at(offset, buffer)?),
            Self::Copy(draft) => Ok(draft.read_at(offset, buffer)?),
            Self::Plain(file) => file.read_at(buffer, offset).map_err(|source| FsError::Io {
                path: "recovered file".into(),
                doing: "reading",
                source,
            }),
        }
    }

    fn seek_data(&self, offset: u64) -> Result<Option<u64>, FsError> {
        match self {
            Self::Empty => Ok(None),
            Self::Blob(reader) => Ok(reader.seek_data(offset)?),
            Self::Copy(draft) => Ok(draft.seek_data(offset)?),
            Self::Plain(_) => Ok(Some(offset)),
        }
    }

    fn seek_hole(&self, offset: u64) -> Result<u64, FsError> {
        match self {
            Self::Empty => Ok(offset),
            Self::Blob(reader) => Ok(reader.seek_hole(offset)?),
            Self::Copy(draft) => Ok(draft.seek_hole(offset)?),
            Self::Plain(_) => Ok(u64::MAX),
        }
    }
}

impl Drop for OpenFile {
    /// A handle that nobody released is released here, so that a lost one does no harm.
    fn drop(&mut self) {
        if let Err(err) = self.release() {
            tracing::error!(ino = %self.ino, error = %tesfs_pathtree::Chain(&err),
                "the last stores of a handle could not be published");
        }
    }
}
