//! What an earlier run left behind: drafts that nothing names, and the folder they are kept in.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::PathBuf,
};

use rusqlite::Connection;

use crate::{
    BlobError, DraftRecord, Store,
    draft::numbers_in,
    error::Doing as _,
    folders::{list, remove_file, sync_folder},
    quarantine::move_unique,
    stamp::unix_ns,
    store::names_of_draft,
};

/// Longest name in `recovered/`, with room for a number behind it.
const NAME_BYTES_MAX: usize = 240;

/// A draft file with bytes that no version and no promise names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftoverDraft {
    /// Its number.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// When it was last written to, Unix nanoseconds.
    pub mtime_ns: i64,
    /// What was written down of it, if anything.
    pub record: Option<DraftRecord>,
}

/// A file in `recovered/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredFile {
    /// Its name.
    pub name: OsString,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// When its bytes were last written, Unix nanoseconds.
    pub mtime_ns: i64,
}

impl Store {
    /// Returns the drafts of earlier runs that have bytes and that no blob and no durable record
    /// names. Empty ones, and those that were sealed up to the removal of their name, are removed.
    ///
    /// # Errors
    ///
    /// [`BlobError`].
    pub fn leftover_drafts(&self, conn: &Connection) -> Result<Vec<LeftoverDraft>, BlobError> {
        let records = self.draft_records(conn)?;
        let mut records: HashMap<u64, DraftRecord> =
            records.into_iter().map(|record| (record.number, record)).collect();
        let mut leftovers = Vec::new();
        let mut numbers = numbers_in(&self.folders().drafts)?;
        numbers.retain(|&number| !self.is_of_this_run(number));
        numbers.sort_unstable();
        for number in numbers {
            let record = records.remove(&number);
            let named = names_of_draft(conn, number)? - u64::from(record.is_some());
            if named > 0 || record.as_ref().is_some_and(|record| record.durable) {
                continue;
            }
            let path = self.folders().draft(number);
            let meta = fs::metadata(&path).doing("looking at a draft", &path)?;
            // A seal that came as far as its commit made it read-only; its bytes are in the store.
            let sealed = meta.nlink() > 1 || meta.mode() & 0o200 == 0;
            if meta.len() == 0 || sealed {
                remove_file(&path)?;
                continue;
            }
            let (size_bytes, mtime_ns) = (meta.len(), unix_ns(meta.mtime(), meta.mtime_nsec()));
            leftovers.push(LeftoverDraft { number, path, size_bytes, mtime_ns, record });
        }
        Ok(leftovers)
    }

    /// Moves a draft file to `recovered/` under a name like `name`, and returns where it is. The
    /// holes of an overlay are zeros there.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`].
    pub fn move_to_recovered(&self, draft: u64, name: &OsStr) -> Result<PathBuf, BlobError> {
        let from = self.folders().draft(draft);
        let folder = &self.folders().recovered;
        let moved = move_unique(&from, folder, &plain_name(name, draft))?;
        let path = moved
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .doing("recovering", &from)?;
        self.drafts().syncs().forget(draft);
        sync_folder(folder)?;
        Ok(path)
    }

    /// Lists `recovered/` by name.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`].
    pub fn recovered(&self) -> Result<Vec<RecoveredFile>, BlobError> {
        let mut files = Vec::new();
        for entry in list(&self.folders().recovered)? {
            let path = entry.path();
            let meta = entry.metadata().doing("looking at", &path)?;
            let mtime_ns = unix_ns(meta.mtime(), meta.mtime_nsec());
            files.push(RecoveredFile {
                name: entry.file_name(),
                path,
                size_bytes: meta.len(),
                mtime_ns,
            });
        }
        files.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(files)
    }
}

/// Makes a file name of whatever the name of an inode was.
fn plain_name(name: &OsStr, draft: u64) -> OsString {
    let mut bytes = name.as_bytes().to_vec();
    bytes.truncate(NAME_BYTES_MAX);
    bytes.iter_mut().filter(|byte| matches!(byte, b'/' | 0)).for_each(|byte| *byte = b'_');
    match bytes.as_slice() {
        b"" | b"." | b".." => format!("draft-{draft}").into(),
        _ => OsString::from_vec(bytes),
    }
}
