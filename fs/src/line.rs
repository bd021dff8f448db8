//! A line: the private draft of one inode, shared by all its local writers.
//!
//! The first writer begins a line at the version that is current then; the last release ends it.
//! In between every writer reads and writes the same bytes, and each flush publishes them as one
//! whole version.

use std::{
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tesfs_blobs::{Allocate, BlobReader, Draft, DraftFile, DraftPool, FileStamp};
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
    /// The bytes of `version`, where they are in its row and the draft file is shared: a store
    /// through a mapping to a page that was written before changes no time of the file.
    pub(crate) inline: Option<Vec<u8>>,
    /// The last writer has left: the bytes are the version's only.
    pub(crate) has_ended: bool,
    /// What was last fsynced and recorded for recovery, until a publish makes up for it.
    pub(crate) synced: Option<Synced>,
    /// The draft's file was recorded, and a power cut may bring the record back.
    pub(crate) lingers: bool,
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

/// A draft file as a durable record knows it.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(crate) file: DraftFile,
    pub(crate) stamp: FileStamp,
}

/// Times that were set while a draft was dirty; they go with its publish.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PendingTimes {
    pub(crate) atime_ns: Option<i64>,
    /// The modification time, and the draft's stamp for which it holds, where there is a draft.
    pub(crate) mtime: Option<(i64, Option<FileStamp>)>,
    /// When the last of them was set.
    pub(crate) changed_ns: Option<i64>,
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
                inline: None,
                has_ended: false,
                synced: None,
                lingers: false,
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
            // Nobody writes into a version's file, but sealing changes how it looks.
            Some(_) if self.frozen && !self.shared => Ok(false),
            Some(draft) if Some(draft.stamp()?) != self.clean => Ok(true),
            Some(draft) => Ok(!self.is_as_published(draft)?),
            None => Ok(false),
        }
    }

    /// Says whether the draft has the bytes that were published into a row.
    fn is_as_published(&self, draft: &Draft) -> Result<bool, FsError> {
        let Some(published) = &self.inline else { return Ok(true) };
        let mut now = vec![0; published.len()];
        let got = draft.read_at(0, &mut now)?;
        Ok(now[..got] == published[..])
    }

    /// Returns when the bytes were last written, where that is known.
    pub(crate) fn mtime_ns(&self) -> Result<Option<i64>, FsError> {
        let is_dirty = self.is_dirty()?;
        let stamp = self.draft.as_ref().map(Draft::stamp).transpose()?;
        if let Some((set_ns, at)) = self.times.mtime
            && at == stamp
        {
            return Ok(Some(set_ns));
        }
        Ok(stamp.filter(|_| is_dirty).map(|stamp| stamp.mtime_ns))
    }

    /// Returns when the draft's file, or a time of it, was last changed.
    pub(crate) fn ctime_ns(&self) -> Result<Option<i64>, FsError> {
        let stamp = self.draft.as_ref().map(Draft::stamp).transpose()?;
        Ok(stamp.map(|stamp| stamp.ctime_ns).max(self.times.changed_ns))
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
        if data.is_empty() {
            return Ok(0);
        }
        let written = self.writable(pool)?.write_at(offset, data)?;
        // The file's times may be too coarse to tell this write from the last publish.
        self.forced |= written > 0;
        Ok(written)
    }

    /// Changes the size; returns a draft file that is no longer the line's.
    pub(crate) fn set_len(
        &mut self,
        pool: &DraftPool,
        size: u64,
    ) -> Result<Option<DraftFile>, FsError> {
        if size > SIZE_MAX {
            return Err(FsError::FileTooLarge(size));
        }
        if size == 0 && !self.shared {
            return self.truncate(pool);
        }
        let draft = self.writable(pool)?;
        draft.set_len(size)?;
        self.forced = true;
        Ok(None)
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

    /// Lets the line's bytes be those of `reader`, without copying any; returns the draft file
    /// that is no longer the line's.
    ///
    /// Only for a line whose bytes no kernel handle writes directly.
    pub(crate) fn adopt(&mut self, reader: BlobReader) -> Option<DraftFile> {
        let old = self.discard();
        self.base = Some(reader);
        self.clean = None;
        self.forced = true;
        old
    }

    /// Throws the bytes away: the file is empty. Returns the draft file that is no longer the
    /// line's.
    pub(crate) fn truncate(&mut self, pool: &DraftPool) -> Result<Option<DraftFile>, FsError> {
        if self.size()? == 0 && !self.is_dirty()? {
            return Ok(None);
        }
        let mut old = None;
        if self.shared {
            // The kernel holds this very file: its bytes go, not the file.
            self.writable(pool)?.set_len(0)?;
        } else {
            old = self.discard();
            self.base = None;
        }
        self.forced = true;
        Ok(old)
    }

    /// Leaves the draft; returns its file unless a version or a record has it.
    fn discard(&mut self) -> Option<DraftFile> {
        let file = self.draft.take()?.into_draft_file();
        let is_recorded = self.is_recorded(&file);
        let is_published = std::mem::take(&mut self.frozen);
        (!is_recorded && !is_published).then_some(file)
    }

    /// Says whether the record of the last fsync names this file.
    fn is_recorded(&self, file: &DraftFile) -> bool {
        self.synced.as_ref().is_some_and(|synced| synced.file.number() == file.number())
    }

    /// Says whether the draft's bytes are those of the last fsync.
    pub(crate) fn is_synced(&self) -> Result<bool, FsError> {
        let (Some(synced), Some(draft)) = (&self.synced, &self.draft) else { return Ok(false) };
        Ok(self.is_recorded(draft.draft_file()) && draft.stamp()? == synced.stamp)
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
            if let Some((_, at @ None)) = &mut self.times.mtime {
                // The same bytes, now in a file: the time that was set for them still holds.
                *at = self.clean;
            }
            self.lingers = false;
            self.draft = Some(draft);
        }
        Ok(self.draft.as_mut().expect("it was just put there"))
    }
}
