//! What dropping references would free.

use std::collections::HashMap;

use rusqlite::Connection;
use tesfs_pathtree::{BlobNumber, DbError, Doing as _};

use crate::{BlobError, BlobHash, BlobRow, BlobState, row::Unsigned};

/// Counts the bytes on disk that go free as references are dropped, and drops none.
///
/// A blob frees its bytes with its last reference; blobs that share a file, with the last
/// reference to any of them. Where references are dropped as well, each has to be told first.
#[derive(Debug, Default)]
pub struct Ledger {
    /// References that are left, of blobs that lost some.
    refs: HashMap<BlobNumber, u64>,
    /// Blobs with references that are left of a file.
    sharers: HashMap<BlobHash, u64>,
}

impl Ledger {
    /// Drops one reference to a blob and returns the bytes that go free with it.
    ///
    /// # Errors
    ///
    /// A failed query.
    pub fn drop_reference(
        &mut self,
        conn: &Connection,
        number: BlobNumber,
    ) -> Result<u64, BlobError> {
        let known = self.refs.get(&number).copied();
        if let Some(refs) = known.filter(|refs| *refs != 1) {
            self.refs.insert(number, refs.saturating_sub(1));
            return Ok(0);
        }
        let Some(row) = BlobRow::find(conn, number)? else { return Ok(0) };
        let left = known.unwrap_or(row.refs).saturating_sub(1);
        self.refs.insert(number, left);
        if left > 0 {
            return Ok(0);
        }
        match (row.state, row.hash) {
            (BlobState::Absent | BlobState::Damaged, _) => Ok(0),
            (BlobState::Local, Some(hash)) => {
                let sharers = match self.sharers.get(&hash) {
                    Some(known) => *known,
                    None => sharers(conn, hash)?,
                };
                let left = sharers.saturating_sub(1);
                self.sharers.insert(hash, left);
                Ok(if left == 0 { row.size_bytes } else { 0 })
            }
            _ => Ok(row.size_bytes),
        }
    }
}

/// Counts the blobs that share a file and have references.
fn sharers(conn: &Connection, hash: BlobHash) -> Result<u64, DbError> {
    conn.prepare_cached(
        "SELECT count(*) FROM blobs
         WHERE hash = ?1 AND data IS NULL AND hash IS NOT NULL AND refs > 0",
    )
    .and_then(|mut stmt| stmt.query_row([hash], |row| row.get::<_, Unsigned>(0)))
    .map(|count| count.0)
    .doing("counting who shares a file")
}
