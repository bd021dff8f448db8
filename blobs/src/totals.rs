//! How much there is, for people.

use rusqlite::Connection;
use tesfs_pathtree::Doing as _;

use crate::{BlobError, BlobState, Store, row::Unsigned};

/// Counts and bytes of blobs, by where their bytes are. What rows share counts for each row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// In rows.
    pub inline: Count,
    /// In drafts that wait for their seal.
    pub drafts: Count,
    /// In files of the store.
    pub local: Count,
    /// Nowhere on this node.
    pub absent: Count,
    /// In quarantine.
    pub damaged: Count,
    /// Of all these, what nothing names any more.
    pub unreferenced: Count,
    /// Bytes that versions need no room for, because an earlier one has the same.
    pub shared_bytes: u64,
}

/// A number of blobs and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub blobs: u64,
    /// How large together.
    pub size_bytes: u64,
}

impl Store {
    /// Counts all blobs. It reads every row, so it is for people who ask, not for the hot path.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`].
    pub fn totals(&self, conn: &Connection) -> Result<Totals, BlobError> {
        let mut totals = Totals::default();
        let rows: Vec<(BlobState, bool, [Unsigned; 3])> = conn
            .prepare_cached(
                "SELECT state, refs = 0, count(*), sum(size_bytes),
                        sum(size_bytes * max(refs - 1, 0)) FROM blobs GROUP BY 1, 2",
            )
            .and_then(|mut stmt| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok((row.get(0)?, row.get(1)?, [row.get(2)?, row.get(3)?, row.get(4)?]))
                };
                stmt.query_map([], read)?.collect()
            })
            .doing("counting blobs")?;
        for (state, unreferenced, counts) in rows {
            let [Unsigned(blobs), Unsigned(size_bytes), Unsigned(shared_bytes)] = counts;
            totals.shared_bytes += shared_bytes;
            let count = Count { blobs, size_bytes };
            totals.of(state).add(count);
            if unreferenced {
                totals.unreferenced.add(count);
            }
        }
        Ok(totals)
    }
}

impl Totals {
    fn of(&mut self, state: BlobState) -> &mut Count {
        match state {
            BlobState::Inline => &mut self.inline,
            BlobState::Draft => &mut self.drafts,
            BlobState::Local => &mut self.local,
            BlobState::Absent => &mut self.absent,
            BlobState::Damaged => &mut self.damaged,
        }
    }
}

impl Count {
    fn add(&mut self, other: Self) {
        self.blobs += other.blobs;
        self.size_bytes += other.size_bytes;
    }
}
