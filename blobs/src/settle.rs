//! Settling: published drafts survive a power cut, sealed or not; and drafts that nothing names
//! any more go.

use std::{fs::File, io, path::PathBuf};

use rusqlite::{Connection, params};
use tesfs_pathtree::{BlobNumber, DbError, Doing as _, Tx};

use crate::{
    BlobError, BlobRow, FileStamp, ROWS_PER_TRANSACTION, Store, crew, error::Doing as _,
    folders::sync_folder, row::Unsigned, store::names_of_draft,
};

/// What became of a blob that was to survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// It does.
    Settled,
    /// Somebody wrote to its file after the sync began: it does not yet.
    Changed,
    /// It has no row: nothing names it any more.
    Gone,
}

/// A draft whose file was synced, as it was before that.
struct Synced {
    number: BlobNumber,
    draft: u64,
    path: PathBuf,
    file: File,
    stamp: FileStamp,
}

pub(crate) type Outcome = (BlobNumber, Result<SettleOutcome, BlobError>);

impl Store {
    /// Returns blobs whose bytes a power cut could still take, oldest first.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`].
    pub fn unsettled(&self, conn: &Connection, limit: usize) -> Result<Vec<BlobNumber>, BlobError> {
        let numbers = conn
            .prepare_cached(
                "SELECT number FROM blobs WHERE settled = 0 AND refs > 0 ORDER BY number LIMIT ?1",
            )
            .and_then(|mut stmt| {
                stmt.query_map([Unsigned(limit as u64)], |row| row.get(0))?.collect()
            })
            .doing("listing unsettled blobs")?;
        Ok(numbers)
    }

    /// Makes drafts survive a power cut: their files are synced first, then their rows, all in one
    /// commit. The outcome of each is returned beside its number; an error there concerns that
    /// draft alone. Files of drafts that nothing names are removed on the way.
    ///
    /// # Errors
    ///
    /// [`BlobError`] when the commit failed; nothing is settled then.
    pub fn settle(&self, numbers: &[BlobNumber]) -> Result<Vec<Outcome>, BlobError> {
        self.record_damage()?;
        let mut outcomes = Vec::with_capacity(numbers.len());
        for batch in numbers.chunks(ROWS_PER_TRANSACTION) {
            let mut synced = Vec::new();
            let results = crew::each("tesfs-settle", batch, |&number| self.sync_unsettled(number))?;
            for (&number, result) in batch.iter().zip(results) {
                match result {
                    Ok(Ok(draft)) => synced.push(draft),
                    Ok(Err(outcome)) => outcomes.push((number, Ok(outcome))),
                    Err(err) => outcomes.push((number, Err(err))),
                }
            }
            if !synced.is_empty() {
                sync_folder(&self.folders().drafts)?;
                let settled: Vec<_> = self.db().write_durable(|tx| {
                    synced.iter().map(|one| settle(tx, one)).collect::<Result<_, _>>()
                })?;
                let numbers = synced.iter().map(|one| one.number);
                outcomes.extend(numbers.zip(settled.into_iter().map(Ok)));
            }
        }
        self.reap_drafts()?;
        Ok(outcomes)
    }

    fn sync_unsettled(
        &self,
        number: BlobNumber,
    ) -> Result<Result<Synced, SettleOutcome>, BlobError> {
        let draft = match self.unsettled_draft(number)? {
            Ok(draft) => draft,
            Err(outcome) => return Ok(Err(outcome)),
        };
        let path = self.folders().draft(draft);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(err) => {
                // A seal or a removal may have ended since the row was read.
                return match self.unsettled_draft(number)? {
                    Ok(_) => Err(err).doing("opening a draft", &path),
                    Err(outcome) => Ok(Err(outcome)),
                };
            }
        };
        let stamp = FileStamp::of(&file).doing("looking at a draft", &path)?;
        match self.drafts().syncs().sync(draft, &file) {
            Ok(()) => Ok(Ok(Synced { number, draft, path, file, stamp })),
            // The kernel may write into the file: no other can take its place yet.
            Err(refused) if self.drafts().holds(draft) => {
                Err(refused).doing("syncing a draft", &path)
            }
            Err(refused) => self.settle_again(number, &refused),
        }
    }

    /// Writes a draft that the disk refused and nobody holds once more.
    fn settle_again(
        &self,
        number: BlobNumber,
        refused: &io::Error,
    ) -> Result<Result<Synced, SettleOutcome>, BlobError> {
        let _sealing = self.lock_sealing();
        // A seal may have done it meanwhile.
        let draft = match self.unsettled_draft(number)? {
            Ok(draft) => draft,
            Err(outcome) => return Ok(Err(outcome)),
        };
        let path = self.folders().draft(draft);
        let file = File::open(&path).doing("opening a draft", &path)?;
        let file = self.rewrite_draft(draft, &file, refused)?;
        let stamp = FileStamp::of(&file).doing("looking at a draft", &path)?;
        Ok(Ok(Synced { number, draft, path, file, stamp }))
    }

    /// Returns the draft that is to be settled for a blob, or why there is none.
    fn unsettled_draft(&self, number: BlobNumber) -> Result<Result<u64, SettleOutcome>, BlobError> {
        let row = self.db().read(|conn| BlobRow::find(conn, number))?;
        Ok(match row {
            None => Err(SettleOutcome::Gone),
            Some(BlobRow { settled: false, draft: Some(draft), .. }) => Ok(draft),
            Some(_) => Err(SettleOutcome::Settled),
        })
    }

    /// Removes drafts that nothing names any more: their rows durably first, then their files, so
    /// that a power cut never brings back a row without its bytes.
    pub(crate) fn reap_drafts(&self) -> Result<(), BlobError> {
        loop {
            if self.db().read(unreferenced_drafts)?.is_empty() {
                return Ok(());
            }
            let reaped = self.db().write_durable(delete_unreferenced)?;
            for &draft in &reaped {
                drop(self.take_front(draft));
                // A file that a line still holds is that line's to release.
                if !self.drafts().holds(draft) {
                    self.remove_draft(draft)?;
                }
            }
        }
    }
}

/// Marks a draft settled unless somebody wrote to its file after the sync began.
fn settle(tx: &Tx<'_>, one: &Synced) -> Result<SettleOutcome, BlobError> {
    let now = FileStamp::of(&one.file).doing("looking at a draft", &one.path)?;
    if (now.size_bytes, now.mtime_ns) != (one.stamp.size_bytes, one.stamp.mtime_ns) {
        return Ok(SettleOutcome::Changed);
    }
    let settled = tx
        .prepare_cached("UPDATE blobs SET settled = 1 WHERE number = ?1 AND draft = ?2")
        .and_then(|mut stmt| stmt.execute(params![one.number, Unsigned(one.draft)]))
        .doing("settling a blob")?;
    // Sealed meanwhile, which settles it as well, or gone.
    let is_there = settled > 0 || BlobRow::find(tx, one.number)?.is_some();
    Ok(if is_there { SettleOutcome::Settled } else { SettleOutcome::Gone })
}

fn unreferenced_drafts(conn: &Connection) -> Result<Vec<(BlobNumber, u64)>, DbError> {
    conn.prepare_cached(
        "SELECT number, draft FROM blobs WHERE draft IS NOT NULL AND refs = 0 LIMIT ?1",
    )
    .and_then(|mut stmt| {
        stmt.query_map([Unsigned(ROWS_PER_TRANSACTION as u64)], |row| {
            Ok((row.get(0)?, row.get::<_, Unsigned>(1)?.0))
        })?
        .collect()
    })
    .doing("listing unreferenced drafts")
}

/// Deletes rows of unreferenced drafts; returns the draft files that no row names any more.
fn delete_unreferenced(tx: &Tx<'_>) -> Result<Vec<u64>, BlobError> {
    let mut unnamed = Vec::new();
    for (number, draft) in unreferenced_drafts(tx)? {
        crate::store::delete_row(tx, number)?;
        if names_of_draft(tx, draft)? == 0 {
            unnamed.push(draft);
        }
    }
    Ok(unnamed)
}
