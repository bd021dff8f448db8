//! Rebuilding the rows of files from the files: each names itself.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rusqlite::params;
use tesfs_pathtree::{Doing as _, Tx};

use crate::{
    BlobError, BlobHash, FileStamp, Progress, Store,
    error::Doing as _,
    folders::list,
    outboard::{Leaves, hash_and_compare},
    quarantine::place_outboard,
    row::Unsigned,
    seal::record_check,
    stamp::FileId,
};

/// What a rebuild found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Files whose bytes are those of their names.
    pub good: u64,
    /// Rows that were made for them. Nothing names them before a recount.
    pub added: u64,
    /// Rows that said absent or damaged and have their bytes again.
    pub restored: u64,
    /// Outboards that were made again.
    pub outboards: u64,
    /// Where files are now whose bytes were not those of their names.
    pub quarantined: Vec<PathBuf>,
    /// It was cancelled before the end.
    pub cancelled: bool,
}

impl Store {
    /// Hashes every file in `blobs/` and makes sure that rows know it.
    ///
    /// # Errors
    ///
    /// [`BlobError`]; what was found up to then stays, and a repeat begins anew.
    pub fn rebuild(
        &self,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: &AtomicBool,
    ) -> Result<RebuildReport, BlobError> {
        self.record_damage()?;
        let files = self.named_files()?;
        let mut so_far = Progress {
            blobs_total: files.len() as u64,
            bytes_total: files.iter().map(|(_, _, size_bytes)| size_bytes).sum(),
            ..Progress::default()
        };
        let mut report = RebuildReport::default();
        for (hash, path, size_bytes) in files {
            let before = so_far.bytes_done;
            let mut advance = |bytes| {
                so_far.bytes_done += bytes;
                progress(so_far);
                let stop = cancel.load(Ordering::Relaxed);
                if stop { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
            };
            let rebuilt = self.rebuild_file(hash, &path, size_bytes, &mut advance, &mut report);
            if cancel.load(Ordering::Relaxed) {
                report.cancelled = true;
                break;
            }
            rebuilt?;
            so_far.bytes_done = before + size_bytes;
            so_far.blobs_done += 1;
            progress(so_far);
        }
        self.record_damage()?;
        Ok(report)
    }

    /// Lists files whose name is a hash, with their sizes.
    fn named_files(&self) -> Result<Vec<(BlobHash, PathBuf, u64)>, BlobError> {
        let mut files = Vec::new();
        for shelf in list(&self.folders().blobs)?.iter().filter(|shelf| shelf.path().is_dir()) {
            for entry in list(&shelf.path())? {
                let path = entry.path();
                let name = entry.file_name();
                let Some(hash) = name.to_str().and_then(|name| name.parse::<BlobHash>().ok())
                else {
                    continue;
                };
                // A file on the wrong shelf is found by nobody, so it is not a blob.
                if path == self.folders().blob(&hash) {
                    let size = fs::metadata(&path).doing("looking at", &path)?.len();
                    files.push((hash, path, size));
                }
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn rebuild_file(
        &self,
        hash: BlobHash,
        path: &Path,
        size_bytes: u64,
        advance: &mut dyn FnMut(u64) -> io::Result<()>,
        report: &mut RebuildReport,
    ) -> Result<(), BlobError> {
        let file = File::open(path).doing("opening a blob", path)?;
        let stamp = FileStamp::of(&file).doing("looking at a blob", path)?;
        let outboard = File::open(self.folders().outboard(&hash)).ok();
        let (found, outboard_good) =
            hash_and_compare(&file, size_bytes, outboard.as_ref(), advance)
                .doing("hashing a blob", path)?;
        if found != hash {
            let judged = FileId::of(&file).doing("looking at a blob", path)?;
            report.quarantined.extend(self.quarantine().take(hash, judged)?);
            return Ok(());
        }
        if !outboard_good {
            place_outboard(self.folders(), &file, size_bytes, &Leaves::default(), Some(hash))?;
            report.outboards += 1;
        }
        report.good += 1;
        let (added, restored) = self.db().write(|tx| self.adopt(tx, hash, size_bytes, stamp))?;
        report.added += added;
        report.restored += restored;
        Ok(())
    }

    /// Makes sure that a row knows a good file; returns how many were added and restored.
    fn adopt(
        &self,
        tx: &Tx<'_>,
        hash: BlobHash,
        size_bytes: u64,
        stamp: FileStamp,
    ) -> Result<(u64, u64), BlobError> {
        let restored = tx
            .prepare_cached(
                "UPDATE blobs SET state = 2, settled = 1
                 WHERE hash = ?1 AND data IS NULL AND hash IS NOT NULL AND state IN (3, 4)",
            )
            .and_then(|mut stmt| stmt.execute([hash]))
            .doing("restoring a blob")?;
        let known: bool = tx
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM blobs
                                WHERE hash = ?1 AND data IS NULL AND hash IS NOT NULL)",
            )
            .and_then(|mut stmt| stmt.query_row([hash], |row| row.get(0)))
            .doing("asking who names a file")?;
        if !known {
            let (number, size) = (self.next_number(), Unsigned(size_bytes));
            tx.prepare_cached(
                "INSERT INTO blobs (number, state, size_bytes, refs, settled, hash, unreferenced_ns)
                 VALUES (?1, 2, ?2, 0, 1, ?3, ?4)",
            )
            .and_then(|mut stmt| stmt.execute(params![number, size, hash, tx.now_ns()]))
            .doing("adding a blob")?;
        }
        record_check(tx, hash, tx.now_ns(), stamp)?;
        Ok((u64::from(!known), restored as u64))
    }
}
