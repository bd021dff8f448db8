//! Reading a blob: its bytes stay as they were when it was opened, and no wrong one is returned.

mod checks;

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension as _};
use tesfs_pathtree::{BlobNumber, Doing as _};

pub(crate) use self::checks::CheckCache;
use self::checks::{Checks, FileIdentity};
use crate::{
    BlobError, BlobHash, BlobState, DraftFile, FileStamp, Store,
    draft::{seek_data, seek_hole},
    error::Doing as _,
    outboard::{GROUP_BYTES, Verdict, verify_groups},
    quarantine::Quarantine,
    row::Unsigned,
    stamp::FileId,
};

/// How long a whole file counts as verified: what one cycle of scrubbing takes.
const SCRUB_PERIOD: Duration = Duration::from_secs(30 * 24 * 3600);

/// An open blob. Clones share it; it holds one file descriptor unless the bytes are in the row.
///
/// It keeps its bytes whatever happens to the blob's row and file.
#[derive(Clone, Debug)]
pub struct BlobReader {
    number: BlobNumber,
    size_bytes: u64,
    hash: Option<BlobHash>,
    bytes: Bytes,
}

#[derive(Clone, Debug)]
enum Bytes {
    Inline(Arc<[u8]>),
    Draft { file: Arc<File>, path: PathBuf, trusted: bool },
    Local(Arc<LocalFile>),
}

/// A file of the store, with what this process already verified of it.
#[derive(Debug)]
struct LocalFile {
    file: Arc<File>,
    path: PathBuf,
    trusted: bool,
    checks: Arc<Checks>,
    /// The outboard, opened by the first read that needs it.
    outboard: Mutex<Option<Arc<File>>>,
    quarantine: Arc<Quarantine>,
}

impl BlobReader {
    /// Returns a reader of bytes that were published just now, through the file they were written
    /// to: nothing has to be opened, so nothing can fail.
    pub fn of_draft(number: BlobNumber, size_bytes: u64, draft: &DraftFile) -> Self {
        let (file, path) = (draft.to_read(), draft.path().into());
        Self { number, size_bytes, hash: None, bytes: Bytes::Draft { file, path, trusted: false } }
    }

    /// Returns the row it reads.
    pub fn number(&self) -> BlobNumber {
        self.number
    }

    /// Returns how many bytes it has.
    pub fn size(&self) -> u64 {
        self.size_bytes
    }

    /// Returns the hash, once it is known.
    pub fn hash(&self) -> Option<BlobHash> {
        self.hash
    }

    /// Returns a file whose bytes are exactly the blob's, for the kernel to read by itself: it
    /// was verified as a whole within the last 30 days and nobody touched it since, or it is a
    /// draft of this run. `None` means: read through [`BlobReader::read_at`].
    pub fn file(&self) -> Option<&Arc<File>> {
        match &self.bytes {
            Bytes::Inline(_) => None,
            Bytes::Draft { file, trusted, .. } => trusted.then_some(file),
            Bytes::Local(local) => local.trusted.then_some(&local.file),
        }
    }

    /// Reads at `offset`; less than asked for only at the end.
    ///
    /// The first read of each 16-KiB group in this process verifies it, so inside a transaction it
    /// keeps writers waiting.
    ///
    /// # Errors
    ///
    /// [`BlobError::Damaged`] when the bytes are not those that were stored (they are in
    /// quarantine then), [`BlobError::DraftShort`], [`BlobError::Io`].
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobError> {
        let left = self.size_bytes.saturating_sub(offset);
        let len = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..len];
        if len == 0 {
            return Ok(0);
        }
        let (file, path) = match &self.bytes {
            Bytes::Inline(bytes) => {
                let at = usize::try_from(offset).expect("inside bytes that are in memory");
                buffer.copy_from_slice(&bytes[at..at + len]);
                return Ok(len);
            }
            Bytes::Draft { file, path, .. } => (file, path),
            Bytes::Local(local) => {
                self.verify(offset..offset + len as u64)?;
                (&local.file, &local.path)
            }
        };
        let read = read_full(file, offset, buffer).doing("reading a blob", path)?;
        if read < len {
            let (path, found_bytes) = (path.clone(), offset + read as u64);
            return Err(BlobError::DraftShort { path, found_bytes, size_bytes: self.size_bytes });
        }
        Ok(len)
    }

    /// Returns the first byte at or after `offset` that may be something else than a hole.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`].
    pub fn seek_data(&self, offset: u64) -> Result<Option<u64>, BlobError> {
        if offset >= self.size_bytes {
            return Ok(None);
        }
        match self.source_and_path() {
            None => Ok(Some(offset)),
            Some((file, path)) => {
                Ok(seek_data(file, offset, path)?.filter(|&at| at < self.size_bytes))
            }
        }
    }

    /// Returns the first byte at or after `offset` that is a hole; the end counts as one.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`].
    pub fn seek_hole(&self, offset: u64) -> Result<u64, BlobError> {
        match self.source_and_path() {
            Some((file, path)) if offset < self.size_bytes => {
                Ok(seek_hole(file, offset, path)?.min(self.size_bytes))
            }
            _ => Ok(self.size_bytes),
        }
    }

    /// Makes sure that a range was verified in this process.
    pub(crate) fn verify(&self, range: Range<u64>) -> Result<(), BlobError> {
        let (Bytes::Local(local), Some(hash)) = (&self.bytes, self.hash) else {
            return Ok(());
        };
        let groups = range.start / GROUP_BYTES..range.end.div_ceil(GROUP_BYTES);
        while let Some(run) = local.checks.unverified(groups.clone()) {
            match local.look(hash, self.size_bytes, run.clone())? {
                Verdict::Good => local.checks.mark(run),
                Verdict::BytesDamaged => return Err(self.quarantine(local, hash)),
                Verdict::OutboardDamaged => {
                    // Only the whole file can say now whether its bytes are good.
                    *lock(&local.outboard) = None;
                    if !local.quarantine.mend_outboard(hash, &local.file, self.size_bytes)? {
                        return Err(self.quarantine(local, hash));
                    }
                    local.checks.mark(0..self.size_bytes.div_ceil(GROUP_BYTES));
                }
            }
        }
        Ok(())
    }

    /// Returns the file to copy from; its bytes are only good where [`BlobReader::verify`] said so.
    pub(crate) fn source(&self) -> Option<&File> {
        self.source_and_path().map(|(file, _)| file)
    }

    fn source_and_path(&self) -> Option<(&File, &Path)> {
        match &self.bytes {
            Bytes::Inline(_) => None,
            Bytes::Draft { file, path, .. } => Some((file, path)),
            Bytes::Local(local) => Some((&local.file, &local.path)),
        }
    }

    fn quarantine(&self, local: &LocalFile, hash: BlobHash) -> BlobError {
        let judged = FileId::of(&local.file).doing("looking at a blob", &local.path);
        match judged.and_then(|judged| local.quarantine.take(hash, judged)) {
            Ok(path) => {
                let path = path.unwrap_or_else(|| local.path.clone());
                BlobError::Damaged { number: self.number, path }
            }
            Err(err) => err,
        }
    }
}

impl LocalFile {
    fn look(
        &self,
        hash: BlobHash,
        size_bytes: u64,
        groups: Range<u64>,
    ) -> Result<Verdict, BlobError> {
        let path = self.quarantine.folders().outboard(&hash);
        let outboard = {
            let mut opened = lock(&self.outboard);
            match &*opened {
                Some(outboard) => Arc::clone(outboard),
                None => match File::open(&path) {
                    Ok(file) => Arc::clone(opened.insert(Arc::new(file))),
                    Err(err) if err.kind() == io::ErrorKind::NotFound => {
                        return Ok(Verdict::OutboardDamaged);
                    }
                    Err(err) => return Err(err).doing("opening an outboard", &path),
                },
            }
        };
        verify_groups(hash, size_bytes, &self.file, &outboard, groups)
            .doing("verifying a blob", &self.path)
    }
}

/// What [`Store::reader`] needs of a row.
struct OpenRow {
    state: BlobState,
    size_bytes: u64,
    hash: Option<BlobHash>,
    draft: Option<u64>,
    checked: Option<(i64, FileStamp)>,
    data: Option<Vec<u8>>,
}

impl Store {
    /// Opens a blob for reading and pins its bytes.
    ///
    /// # Errors
    ///
    /// [`BlobError::NotFound`], [`BlobError::Missing`], [`BlobError::Damaged`],
    /// [`BlobError::Absent`], [`BlobError::Io`], [`BlobError::Database`].
    pub fn reader(&self, conn: &Connection, number: BlobNumber) -> Result<BlobReader, BlobError> {
        let row = open_row(conn, number)?;
        match self.open_bytes(number, row) {
            // A seal removed the draft's name after the row was read: the row says more now.
            Err(BlobError::Missing { .. }) => self.open_bytes(number, open_row(conn, number)?),
            opened => opened,
        }
    }

    fn open_bytes(&self, number: BlobNumber, row: OpenRow) -> Result<BlobReader, BlobError> {
        let size_bytes = row.size_bytes;
        let bytes = match (row.state, row.hash) {
            (BlobState::Inline, hash) => {
                let data = row.data.unwrap_or_default();
                if hash != Some(BlobHash::of(&data)) || data.len() as u64 != size_bytes {
                    let path = self.db().path().into();
                    return Err(BlobError::Damaged { number, path });
                }
                Bytes::Inline(data.into())
            }
            (BlobState::Draft, _) => {
                let draft = row.draft.expect("the schema gives every draft row its draft");
                let path = self.folders().draft(draft);
                let file = open_file(number, &path)?;
                let found = FileStamp::of(&file).doing("looking at a draft", &path)?.size_bytes;
                let trusted = self.is_of_this_run(draft) && found == size_bytes;
                Bytes::Draft { file: Arc::new(file), path, trusted }
            }
            (BlobState::Local, Some(hash)) => {
                Bytes::Local(Arc::new(self.open_local(number, hash, size_bytes, row.checked)?))
            }
            (BlobState::Damaged, _) => {
                let path = self.folders().quarantine.clone();
                return Err(BlobError::Damaged { number, path });
            }
            (BlobState::Absent | BlobState::Local, hash) => {
                return Err(BlobError::Absent { number, hash });
            }
        };
        Ok(BlobReader { number, size_bytes, hash: row.hash, bytes })
    }

    fn open_local(
        &self,
        number: BlobNumber,
        hash: BlobHash,
        size_bytes: u64,
        checked: Option<(i64, FileStamp)>,
    ) -> Result<LocalFile, BlobError> {
        let path = self.folders().blob(&hash);
        let file = open_file(number, &path)?;
        let meta = file.metadata().doing("looking at a blob", &path)?;
        let (inode, stamp) = (meta.ino(), FileStamp::read(&meta));
        if stamp.size_bytes != size_bytes {
            let path = self.quarantine().take(hash, FileId::read(&meta))?.unwrap_or(path);
            return Err(BlobError::Damaged { number, path });
        }
        let groups = size_bytes.div_ceil(GROUP_BYTES);
        let now_ns = self.db().clock().now_ns();
        Ok(LocalFile {
            trusted: checked.is_some_and(|(at_ns, then)| then == stamp && is_recent(at_ns, now_ns)),
            checks: self.checks().of(hash, FileIdentity { inode, stamp }, groups),
            file: Arc::new(file),
            path,
            outboard: Mutex::default(),
            quarantine: Arc::clone(self.quarantine()),
        })
    }
}

/// Says whether a whole file that was verified at `checked_ns` still counts as that. A check in
/// the future (the clock was set back) does not.
pub(crate) fn is_recent(checked_ns: i64, now_ns: i64) -> bool {
    u64::try_from(now_ns.saturating_sub(checked_ns))
        .is_ok_and(|age_ns| Duration::from_nanos(age_ns) <= SCRUB_PERIOD)
}

fn open_row(conn: &Connection, number: BlobNumber) -> Result<OpenRow, BlobError> {
    conn.prepare_cached(
        "SELECT state, size_bytes, hash, draft, checked_ns, mtime_ns, ctime_ns, data
         FROM blobs WHERE number = ?1",
    )
    .and_then(|mut stmt| {
        stmt.query_row([number], |row| {
            let size_bytes = row.get::<_, Unsigned>(1)?.0;
            let stamp = (row.get(4)?, row.get(5)?, row.get(6)?);
            let checked = match stamp {
                (Some(at_ns), Some(mtime_ns), Some(ctime_ns)) => {
                    Some((at_ns, FileStamp { size_bytes, mtime_ns, ctime_ns }))
                }
                _ => None,
            };
            Ok(OpenRow {
                state: row.get(0)?,
                size_bytes,
                hash: row.get(2)?,
                draft: row.get::<_, Option<Unsigned>>(3)?.map(|draft| draft.0),
                checked,
                data: row.get(7)?,
            })
        })
        .optional()
    })
    .doing("opening a blob")?
    .ok_or(BlobError::NotFound(number))
}

fn open_file(number: BlobNumber, path: &Path) -> Result<File, BlobError> {
    match File::open(path) {
        Ok(file) => Ok(file),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            Err(BlobError::Missing { number, path: path.into() })
        }
        Err(err) => Err(err).doing("opening", path),
    }
}

/// Fills the buffer from `offset` on, as far as the file goes.
pub(crate) fn read_full(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(filled)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
