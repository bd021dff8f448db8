//! Counting references anew from the places that hold them.

use rusqlite::{Connection, params};
use tesfs_pathtree::{BlobNumber, DbError, Doing as _, Tx};

use crate::{BlobError, ROWS_PER_TRANSACTION, Store, row::Unsigned};

/// Differences between what was counted and what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecountReport {
    /// Rows with a wrong count.
    pub miscounts: Vec<Miscount>,
    /// Numbers that something names and no row has.
    pub dangling: Vec<BlobNumber>,
}

/// A row whose count of references was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miscount {
    /// The row.
    pub number: BlobNumber,
    /// What it said.
    pub counted: u64,
    /// How many there are.
    pub found: u64,
}

impl Store {
    /// Compares every count with the references there are, and mends what differs.
    ///
    /// Writers go on meanwhile: what is mended is the difference at one moment, which later
    /// references do not change.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`].
    pub fn recount(&self, references_sql: &str) -> Result<RecountReport, BlobError> {
        let report = self.count(references_sql)?;
        for batch in report.miscounts.chunks(ROWS_PER_TRANSACTION) {
            self.db().write(|tx| batch.iter().try_for_each(|miscount| mend(tx, miscount)))?;
        }
        Ok(report)
    }

    /// Compares every count with the references there are, and changes nothing.
    ///
    /// `references_sql` is a SELECT with one column, `blob`, and a row for each reference. Records
    /// of drafts are counted here.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`].
    pub fn count(&self, references_sql: &str) -> Result<RecountReport, BlobError> {
        let references = format!(
            "SELECT blob FROM ({references_sql})
             UNION ALL SELECT base FROM drafts WHERE base IS NOT NULL"
        );
        let miscounts = self.db().read(|conn| miscounts(conn, &references))?;
        let dangling = self.db().read(|conn| dangling(conn, &references))?;
        Ok(RecountReport { miscounts, dangling })
    }
}

/// One statement, so that counts and references are those of one moment.
fn miscounts(conn: &Connection, references: &str) -> Result<Vec<Miscount>, DbError> {
    conn.prepare_cached(&format!(
        "WITH found (blob, count) AS (SELECT blob, count(*) FROM ({references}) GROUP BY blob)
         SELECT number, refs, coalesce(count, 0)
         FROM blobs LEFT JOIN found ON found.blob = blobs.number
         WHERE refs <> coalesce(count, 0) ORDER BY number"
    ))
    .and_then(|mut stmt| {
        stmt.query_map([], |row| {
            Ok(Miscount {
                number: row.get(0)?,
                counted: row.get::<_, Unsigned>(1)?.0,
                found: row.get::<_, Unsigned>(2)?.0,
            })
        })?
        .collect()
    })
    .doing("counting references")
}

fn dangling(conn: &Connection, references: &str) -> Result<Vec<BlobNumber>, DbError> {
    conn.prepare_cached(&format!(
        "SELECT DISTINCT blob FROM ({references}) AS named
         WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE number = named.blob) ORDER BY blob"
    ))
    .and_then(|mut stmt| stmt.query_map([], |row| row.get(0))?.collect())
    .doing("looking for dangling references")
}

fn mend(tx: &Tx<'_>, miscount: &Miscount) -> Result<(), BlobError> {
    let (found, counted) = (Unsigned(miscount.found), Unsigned(miscount.counted));
    tx.prepare_cached(
        "UPDATE blobs SET refs = max(0, refs + ?2 - ?3),
                unreferenced_ns = iif(refs + ?2 - ?3 > 0, NULL, coalesce(unreferenced_ns, ?4))
         WHERE number = ?1",
    )
    .and_then(|mut stmt| stmt.execute(params![miscount.number, found, counted, tx.now_ns()]))
    .doing("mending a count of references")?;
    Ok(())
}
