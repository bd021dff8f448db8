//! A line: the private draft of one inode, shared by all its local writers.
//!
//! The first writer begins a line at the version that is current then; the last release ends it.
//! In between every writer reads and writes the same bytes, and each flush publishes them as one
//! whole version.

use std::{
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tesfs_blobs::{Allocate, BlobReader, Draft, DraftPool, FileStamp};
use tesfs_pathtree::{BlobNumber, Ino, Stamp, tree::Inode};

use crate::{attributes::lends_privileges, error::FsError};

/// The largest size a file can be given: what a signed 64-bit offset reaches.
const SIZE_MAX: u64 = i64::MAX as u64;

/// The line of one inode.
pub(crate) struct Line {
    pub(crate) ino: Ino,
    /// Protects the bytes and what is known of them. Taken after the table of lines is released,
    /// before the database's writer.
    state: Mutex<LineState>,
}

/// What a line holds.
pub(crate) struct LineState {
    /// The version that was current when the line began, or that it published last.
    pub(crate) version: Stamp,
    /// The bytes of that version, while there is no draft or it only overlays them.
    pub(crate) base: Option<BlobReader>,
    /// The line's own bytes, once a writer needed some.
    pub(crate) draft: Option<Draft>,
    /// The draft file's stamp when its bytes were those of `version`.
    pub(crate) clean: Option<FileStamp>,
    /// The bytes differ from `version` although no write says so: truncated on open, or adopted.
    pub(crate) forced: bool,
    /// What this line published, which its next publish may replace.
    pub(crate) own: Option<Own>,
    /// The draft file is named by a published version: a write through the daemon starts anew.
    pub(crate) frozen: bool,
    /// The kernel writes into the draft file directly.
    pub(crate) shared: bool,
    /// The draft file's stamp when it was last fsynced and recorded for recovery.
    pub(crate) synced: Option<FileStamp>,
    /// Executing the file lends its owner's rights, which a write takes away: the daemon has to
    /// see every write.
    pub(crate) lends_privileges: bool,
    /// Times somebody set on bytes that are still to be published.
    pub(crate) times: PendingTimes,
}

/// A version that this line published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) version: Stamp,
    pub(crate) blob: Option<BlobNumber>,
    /// Its bytes survive a power cut together with its row, or are known to be on disk.
    pub(crate) settled: bool,
}

/// Times that were set while a draft was dirty; they go with its publish.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PendingTimes {
    pub(crate) atime_ns: Option<i64>,
    /// The modification time, and the draft's stamp for which it holds.
    pub(crate) mtime: Option<(i64, FileStamp)>,
}

impl Line {
    /// Begins a line at an inode's current version, whose bytes are `base`.
    pub(crate) fn starting(inode: &Inode, base: Option<BlobReader>) -> Self {
        Self {
            ino: inode.ino,
            state: Mutex::new(LineState {
                version: inode.content,
                base,
                draft: None,
                clean: None,
                forced: false,
                own: None,
                frozen: false,
                shared: false,
                synced: None,
                lends_privileges: lends_privileges(inode.mode),
                times: PendingTimes::default(),
            }),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineState {
    /// Says whether the kernel may write into the file that this published blob is in.
    pub(crate) fn publishes_into(&self, blob: BlobNumber) -> bool {
        self.frozen && self.shared && self.own.is_some_and(|own| own.blob == Some(blob))
    }

    /// Returns the size of the live bytes.
    pub(crate) fn size(&self) -> Result<u64, FsError> {
        match &self.draft {
            Some(draft) => Ok(draft.size()?),
            None => Ok(self.base.as_ref().map_or(0, BlobReader::size)),
        }
    }

    /// Says whether the bytes differ from the version they would supersede.
    pub(crate) fn is_dirty(&self) -> Result<bool, FsError> {
        if self.forced {
            return Ok(true);
        }
        match &self.draft {
            Some(draft) => Ok(Some(draft.stamp()?) != self.clean),
            None => Ok(false),
        }
    }

    /// Returns when the bytes were last written, where they are a draft's.
    pub(crate) fn mtime_ns(&self) -> Result<Option<i64>, FsError> {
        let Some(draft) = &self.draft else { return Ok(None) };
        let stamp = draft.stamp()?;
        if let Some((set_ns, at)) = self.times.mtime
            && at == stamp
        {
            return Ok(Some(set_ns));
        }
        Ok((self.forced || Some(stamp) != self.clean).then_some(stamp.mtime_ns))
    }

    /// Returns when the draft's file last changed in any way.
    pub(crate) fn draft_ctime_ns(&self) -> Result<Option<i64>, FsError> {
        let stamp = self.draft.as_ref().map(Draft::stamp).transpose()?;
        Ok(stamp.map(|stamp| stamp.ctime_ns))
    }

    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        match (&self.draft, &self.base) {
            (Some(draft), _) => Ok(draft.read_at(offset, buffer)?),
            (None, Some(base)) => Ok(base.read_at(offset, buffer)?),
            (None, None) => Ok(0),
        }
    }

    pub(crate) fn write_at(
        &mut self,
        pool: &DraftPool,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, FsError> {
        let end = offset.saturating_add(data.len() as u64);
        if end > SIZE_MAX {
            return Err(FsError::FileTooLarge(end));
        }
        Ok(self.writable(pool)?.write_at(offset, data)?)
    }

    pub(crate) fn set_len(&mut self, pool: &DraftPool, size: u64) -> Result<(), FsError> {
        if size > SIZE_MAX {
            return Err(FsError::FileTooLarge(size));
        }
        if size == 0 && !self.shared {
            self.truncate(pool)?;
            return Ok(());
        }
        let draft = self.writable(pool)?;
        draft.set_len(size)?;
        self.forced = true;
        Ok(())
    }

    pub(crate) fn allocate(
        &mut self,
        pool: &DraftPool,
        mode: Allocate,
        offset: u64,
        len: u64,
    ) -> Result<(), FsError> {
        let end = offset.saturating_add(len);
        if end > SIZE_MAX {
            return Err(FsError::FileTooLarge(end));
        }
        self.writable(pool)?.allocate(mode, offset, len)?;
        self.forced = true;
        Ok(())
    }

    pub(crate) fn seek_data(&self, offset: u64) -> Result<Option<u64>, FsError> {
        match (&self.draft, &self.base) {
            (Some(draft), _) => Ok(draft.seek_data(offset)?),
            (None, Some(base)) => Ok(base.seek_data(offset)?),
            (None, None) => Ok(None),
        }
    }

    pub(crate) fn seek_hole(&self, offset: u64) -> Result<u64, FsError> {
        match (&self.draft, &self.base) {
            (Some(draft), _) => Ok(draft.seek_hole(offset)?),
            (None, Some(base)) => Ok(base.seek_hole(offset)?),
            (None, None) => Ok(offset),
        }
    }

    /// Lets the line's bytes be those of `reader`, without copying any.
    ///
    /// Only for a line whose bytes no kernel handle writes directly.
    pub(crate) fn adopt(&mut self, reader: BlobReader) -> Option<Draft> {
        let old = self.draft.take();
        self.base = Some(reader);
        self.clean = None;
        self.frozen = false;
        self.forced = true;
        old
    }

    /// Throws the bytes away: the file is empty.
    pub(crate) fn truncate(&mut self, pool: &DraftPool) -> Result<(), FsError> {
        if self.size()? == 0 && !self.is_dirty()? {
            return Ok(());
        }
        if self.shared {
            // The kernel holds this very file: its bytes go, not the file.
            self.writable(pool)?.set_len(0)?;
        } else {
            // The old draft file belongs to its version, or goes with the last reference to it.
            self.draft = None;
            self.frozen = false;
            self.base = None;
        }
        self.forced = true;
        Ok(())
    }

    /// Returns the file whose bytes are the line's, for the kernel to write into directly.
    ///
    /// `None` where there is none: the draft would be an overlay.
    pub(crate) fn backing(&mut self, pool: &DraftPool) -> Result<Option<Arc<File>>, FsError> {
        if self.lends_privileges {
            return Ok(None);
        }
        let draft = self.writable(pool)?;
        let file = draft.backing().cloned();
        self.shared |= file.is_some();
        Ok(file)
    }

    /// Returns the draft for writing: begins one over the base, or over what was published.
    pub(crate) fn writable(&mut self, pool: &DraftPool) -> Result<&mut Draft, FsError> {
        if self.frozen && !self.shared {
            self.draft = None;
            self.frozen = false;
        }
        if self.draft.is_none() {
            let draft = match &self.base {
                Some(base) => Draft::over(pool, base)?,
                None => Draft::empty(pool)?,
            };
            self.clean = Some(draft.stamp()?);
            self.synced = None;
            self.draft = Some(draft);
        }
        Ok(self.draft.as_mut().expect("it was just put there"))
    }
}
