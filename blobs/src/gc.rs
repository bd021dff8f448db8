//! Garbage: what nothing names any more, after a grace.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use rusqlite::{Connection, params};
use tesfs_pathtree::{BlobNumber, DbError, Doing as _, Tx};

use crate::{
    BlobError, BlobHash, BlobRow, BlobState, GRACE, Miscount, ROWS_PER_TRANSACTION, Store,
    error::Doing as _,
    folders::{OUTBOARD_SUFFIX, list, remove_file},
    row::{Unsigned, blob_row_columns},
    stamp::unix_ns,
    store::{delete_row, names_of_draft},
};

/// Garbage listed one by one in a report; the sums count all of it.
const LISTED_MAX: usize = 10_000;

/// Where a list of rows without a name begins.
const BEFORE_ALL: (i64, BlobNumber) = (i64::MIN, BlobNumber(0));

/// What gc is to do.
#[derive(Clone, Copy, Debug)]
pub struct GcRequest {
    /// How long something must have been without a name.
    pub grace: Duration,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went, or would go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// The first 10,000 pieces.
    pub garbage: Vec<Garbage>,
    /// How many pieces there were.
    pub pieces: u64,
    /// How many bytes that is.
    pub size_bytes: u64,
}

/// One piece of garbage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// What it is.
    pub kind: GarbageKind,
    /// The file, or the number of the row where there is none of its own.
    pub name: String,
    /// Its size; 0 for a row that shares its file with others.
    pub size_bytes: u64,
}

/// Kinds of garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GarbageKind {
    /// A blob that nothing names.
    Blob,
    /// A file in `blobs/` that no row names.
    Orphan,
    /// A file in `recovered/` that was there for 7 days.
    Recovered,
}

impl Store {
    /// Deletes what had no name for longer than the grace: rows first, durably, then their files.
    ///
    /// # Errors
    ///
    /// [`BlobError`]; what was deleted up to then stays deleted, and the next gc goes on.
    pub fn gc(&self, request: &GcRequest) -> Result<GcReport, BlobError> {
        self.gc_after(request, &[])
    }

    /// Does as [`Store::gc`], but a dry run, which may not mend counts, leaves out what has
    /// references after all according to `miscounts`.
    ///
    /// # Errors
    ///
    /// As [`Store::gc`].
    pub fn gc_after(
        &self,
        request: &GcRequest,
        miscounts: &[Miscount],
    ) -> Result<GcReport, BlobError> {
        let mut report = GcReport::default();
        if request.dry_run {
            let spared = self.db().read(|conn| Spared::of(conn, miscounts))?;
            self.report_rows(request, spared, &mut report)?;
        } else {
            self.record_damage()?;
            self.reap_drafts()?;
            self.collect_rows(request, &mut report)?;
        }
        self.collect_orphans(request, &mut report)?;
        self.collect_recovered(request, &mut report)?;
        Ok(report)
    }

    fn collect_rows(&self, request: &GcRequest, report: &mut GcReport) -> Result<(), BlobError> {
        let before_ns = self.time_before(request.grace);
        let mut after = BEFORE_ALL;
        loop {
            let rows = self.db().read(|conn| unreferenced(conn, before_ns, after))?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = (last.unreferenced_ns.unwrap_or(before_ns), last.number);
            let placing = self.lock_placing();
            let unnamed = self.db().write_durable(|tx| delete_unreferenced(tx, &rows))?;
            for (row, names_file) in &unnamed {
                let path = row.hash.filter(|_| *names_file).map(|hash| self.folders().blob(&hash));
                report.add(GarbageKind::Blob, row, path.as_deref());
                if let (Some(path), Some(hash)) = (path, row.hash) {
                    remove_file(&path)?;
                    remove_file(&self.folders().outboard(&hash))?;
                }
                if let Some(draft) = row.draft.filter(|&draft| !self.drafts().holds(draft)) {
                    self.remove_draft(draft)?;
                }
            }
            drop(placing);
        }
    }

    /// Reports rows as if they were deleted: a file counts where the first of its rows is met,
    /// provided that all of them would go.
    fn report_rows(
        &self,
        request: &GcRequest,
        spared: Spared,
        report: &mut GcReport,
    ) -> Result<(), BlobError> {
        let before_ns = self.time_before(request.grace);
        let Spared { rows: spared, mut files } = spared;
        let mut after = BEFORE_ALL;
        loop {
            let rows = self.db().read(|conn| unreferenced(conn, before_ns, after))?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = (last.unreferenced_ns.unwrap_or(before_ns), last.number);
            for row in rows.iter().filter(|row| !spared.contains(&row.number)) {
                let path = match row.hash.filter(|_| row.state != BlobState::Inline) {
                    Some(hash)
                        if self.db().read(|conn| survivors(conn, hash, before_ns))? == 0
                            && files.insert(hash) =>
                    {
                        Some(self.folders().blob(&hash))
                    }
                    _ => None,
                };
                report.add(GarbageKind::Blob, row, path.as_deref());
            }
        }
    }

    /// Deletes files in `blobs/` that no row names. A folder of files beside an index that knows
    /// none of them is a lost index, not garbage: then nothing is deleted.
    fn collect_orphans(&self, request: &GcRequest, report: &mut GcReport) -> Result<(), BlobError> {
        if !self.db().read(knows_any_file)? {
            return Ok(());
        }
        let before_ns = self.time_before(request.grace);
        for shelf in list(&self.folders().blobs)? {
            let path = shelf.path();
            if !path.is_dir() {
                self.collect_file(&path, None, before_ns, request, report)?;
                continue;
            }
            for entry in list(&path)? {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let hash = name.strip_suffix(OUTBOARD_SUFFIX).unwrap_or(&name).parse().ok();
                self.collect_file(&entry.path(), hash, before_ns, request, report)?;
            }
        }
        Ok(())
    }

    fn collect_file(
        &self,
        path: &Path,
        hash: Option<BlobHash>,
        before_ns: i64,
        request: &GcRequest,
        report: &mut GcReport,
    ) -> Result<(), BlobError> {
        // A seal that is placing this very file would name it in a row that is not there yet.
        let _placing = self.lock_placing();
        let named = match hash {
            Some(hash) => self.db().read(|conn| rows_of(conn, hash))? > 0,
            None => false,
        };
        let Some(meta) = fs::metadata(path).ok().filter(|_| !named) else {
            return Ok(());
        };
        if unix_ns(meta.ctime(), meta.ctime_nsec()) > before_ns {
            return Ok(());
        }
        report.add_file(GarbageKind::Orphan, path, meta.len());
        if request.dry_run { Ok(()) } else { remove_file(path) }
    }

    fn collect_recovered(
        &self,
        request: &GcRequest,
        report: &mut GcReport,
    ) -> Result<(), BlobError> {
        let before_ns = self.time_before(GRACE);
        for file in self.recovered()? {
            let meta = fs::metadata(&file.path).doing("looking at", &file.path)?;
            if unix_ns(meta.ctime(), meta.ctime_nsec()) <= before_ns {
                report.add_file(GarbageKind::Recovered, &file.path, file.size_bytes);
                if !request.dry_run {
                    remove_file(&file.path)?;
                }
            }
        }
        Ok(())
    }

    fn time_before(&self, age: Duration) -> i64 {
        let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        self.db().clock().now_ns().saturating_sub(age_ns)
    }
}

/// What a wrong count makes look like garbage.
struct Spared {
    rows: HashSet<BlobNumber>,
    files: HashSet<BlobHash>,
}

impl Spared {
    fn of(conn: &Connection, miscounts: &[Miscount]) -> Result<Self, DbError> {
        let mut spared = Self { rows: HashSet::new(), files: HashSet::new() };
        for miscount in miscounts.iter().filter(|miscount| miscount.found > 0) {
            spared.rows.insert(miscount.number);
            spared.files.extend(BlobRow::find(conn, miscount.number)?.and_then(|row| row.hash));
        }
        Ok(spared)
    }
}

impl GcReport {
    fn add(&mut self, kind: GarbageKind, row: &BlobRow, path: Option<&Path>) {
        match (path, row.hash, row.draft) {
            (Some(path), ..) => self.add_file(kind, path, row.size_bytes),
            (None, Some(_), None) if row.state != BlobState::Inline => {
                self.push(kind, format!("blob {}", row.number), 0);
            }
            _ => self.push(kind, format!("blob {}", row.number), row.size_bytes),
        }
    }

    fn add_file(&mut self, kind: GarbageKind, path: &Path, size_bytes: u64) {
        self.push(kind, path.display().to_string(), size_bytes);
    }

    fn push(&mut self, kind: GarbageKind, name: String, size_bytes: u64) {
        self.pieces += 1;
        self.size_bytes += size_bytes;
        if self.garbage.len() < LISTED_MAX {
            self.garbage.push(Garbage { kind, name, size_bytes });
        }
    }
}

/// Returns the next rows without a name since `before_ns` or longer, oldest first.
fn unreferenced(
    conn: &Connection,
    before_ns: i64,
    after: (i64, BlobNumber),
) -> Result<Vec<BlobRow>, DbError> {
    conn.prepare_cached(concat!(
        "SELECT ",
        blob_row_columns!(),
        " FROM blobs
         WHERE unreferenced_ns IS NOT NULL AND unreferenced_ns <= ?1
           AND (unreferenced_ns, number) > (?2, ?3)
         ORDER BY unreferenced_ns, number LIMIT ?4"
    ))
    .and_then(|mut stmt| {
        let limit = Unsigned(ROWS_PER_TRANSACTION as u64);
        stmt.query_map(params![before_ns, after.0, after.1, limit], BlobRow::read)?.collect()
    })
    .doing("listing unreferenced blobs")
}

/// Deletes the rows that are still without a name; returns them, each with whether it was the
/// last to name its file.
fn delete_unreferenced(tx: &Tx<'_>, rows: &[BlobRow]) -> Result<Vec<(BlobRow, bool)>, BlobError> {
    let mut deleted = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(mut row) = BlobRow::find(tx, row.number)?.filter(|row| row.refs == 0) else {
            continue;
        };
        delete_row(tx, row.number)?;
        if let Some(draft) = row.draft
            && names_of_draft(tx, draft)? > 0
        {
            row.draft = None;
        }
        let last = match row.hash.filter(|_| row.state != BlobState::Inline) {
            Some(hash) => rows_of(tx, hash)? == 0,
            None => false,
        };
        deleted.push((row, last));
    }
    Ok(deleted)
}

/// Counts the rows that share the file of a hash.
fn rows_of(conn: &Connection, hash: BlobHash) -> Result<u64, DbError> {
    conn.prepare_cached(
        "SELECT count(*) FROM blobs WHERE hash = ?1 AND data IS NULL AND hash IS NOT NULL",
    )
    .and_then(|mut stmt| stmt.query_row([hash], |row| row.get::<_, Unsigned>(0)))
    .map(|count| count.0)
    .doing("asking who names a file")
}

/// Counts the rows of a hash that stay: named, or without a name for less than the grace.
fn survivors(conn: &Connection, hash: BlobHash, before_ns: i64) -> Result<u64, DbError> {
    conn.prepare_cached(
        "SELECT count(*) FROM blobs
         WHERE hash = ?1 AND data IS NULL AND hash IS NOT NULL
           AND coalesce(unreferenced_ns > ?2, 1)",
    )
    .and_then(|mut stmt| stmt.query_row(params![hash, before_ns], |row| row.get::<_, Unsigned>(0)))
    .map(|count| count.0)
    .doing("asking who names a file")
}

fn knows_any_file(conn: &Connection) -> Result<bool, DbError> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM blobs WHERE data IS NULL AND hash IS NOT NULL)",
    )
    .and_then(|mut stmt| stmt.query_row([], |row| row.get(0)))
    .doing("asking whether files are known")
}
