//! Records of drafts that must be found again after a crash: the table `drafts`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tesfs_pathtree::{ActorNumber, BlobNumber, BranchNumber, Doing as _, Hlc, Ino, Stamp, Tx};

use crate::{BlobError, DraftLayout, Store, row::Unsigned};

/// What the node knows of a draft that is not published yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftRecord {
    /// Its file, `drafts/<number>`.
    pub number: u64,
    /// Whose bytes it has.
    pub ino: Ino,
    /// On which branch.
    pub branch: BranchNumber,
    /// The blob it lies over. The record counts as a reference to it.
    pub base: Option<BlobNumber>,
    /// The version its writers started from.
    pub base_stamp: Option<Stamp>,
    /// Its size.
    pub size_bytes: u64,
    /// How its bytes lie over the base.
    pub layout: DraftLayout,
    /// Whether fsync answered for these bytes, so that recovery publishes them.
    pub durable: bool,
    /// A name to show when the inode is not there.
    pub name: Option<Vec<u8>>,
}

impl Store {
    /// Writes the record of a draft, or writes it again.
    ///
    /// # Errors
    ///
    /// [`BlobError::NotFound`] without its base, [`BlobError::Database`], [`BlobError::Record`].
    pub fn record_draft(&self, tx: &Tx<'_>, record: &DraftRecord) -> Result<(), BlobError> {
        let number = record.number;
        let layout = postcard::to_stdvec(&record.layout)
            .map_err(|source| BlobError::Record { number, source })?;
        // First the new reference, so that a base that stays is not without one in between.
        if let Some(base) = record.base {
            self.add_reference(tx, base)?;
        }
        self.drop_base(tx, number)?;
        tx.prepare_cached(
            "INSERT OR REPLACE INTO drafts
                 (number, ino, branch, base, base_hlc, base_actor, size_bytes, layout, durable, name)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .and_then(|mut stmt| {
            stmt.execute(params![
                Unsigned(number),
                record.ino,
                record.branch,
                record.base,
                record.base_stamp.map(|stamp| stamp.hlc),
                record.base_stamp.map(|stamp| stamp.actor),
                Unsigned(record.size_bytes),
                layout,
                record.durable,
                record.name,
            ])
        })
        .doing("recording a draft")?;
        Ok(())
    }

    /// Returns every record.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`], [`BlobError::Record`].
    pub fn draft_records(&self, conn: &Connection) -> Result<Vec<DraftRecord>, BlobError> {
        let records = conn
            .prepare_cached(
                "SELECT number, ino, branch, base, base_hlc, base_actor, size_bytes, durable, name,
                        layout
                 FROM drafts ORDER BY number",
            )
            .and_then(|mut stmt| {
                stmt.query_map([], read_record)?.collect::<rusqlite::Result<Vec<_>>>()
            })
            .doing("reading the records of drafts")?;
        records.into_iter().map(decode).collect()
    }

    /// Deletes a record; its base loses a reference.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`].
    pub fn forget_draft(&self, tx: &Tx<'_>, number: u64) -> Result<(), BlobError> {
        self.drop_base(tx, number)?;
        tx.prepare_cached("DELETE FROM drafts WHERE number = ?1")
            .and_then(|mut stmt| stmt.execute([Unsigned(number)]))
            .doing("forgetting a draft")?;
        Ok(())
    }

    fn drop_base(&self, tx: &Tx<'_>, number: u64) -> Result<(), BlobError> {
        let base: Option<BlobNumber> = tx
            .prepare_cached("SELECT base FROM drafts WHERE number = ?1")
            .and_then(|mut stmt| stmt.query_row([Unsigned(number)], |row| row.get(0)).optional())
            .map(Option::flatten)
            .doing("reading a draft's base")?;
        base.map_or(Ok(()), |base| self.drop_reference(tx, base))
    }
}

/// Reads a row with its layout still encoded.
fn read_record(row: &Row<'_>) -> rusqlite::Result<(DraftRecord, Vec<u8>)> {
    let stamp: (Option<Hlc>, Option<ActorNumber>) = (row.get(4)?, row.get(5)?);
    let record = DraftRecord {
        number: row.get::<_, Unsigned>(0)?.0,
        ino: row.get(1)?,
        branch: row.get(2)?,
        base: row.get(3)?,
        base_stamp: stamp.0.zip(stamp.1).map(|(hlc, actor)| Stamp { hlc, actor }),
        size_bytes: row.get::<_, Unsigned>(6)?.0,
        durable: row.get(7)?,
        name: row.get(8)?,
        layout: DraftLayout::Whole,
    };
    Ok((record, row.get(9)?))
}

fn decode((mut record, layout): (DraftRecord, Vec<u8>)) -> Result<DraftRecord, BlobError> {
    let number = record.number;
    record.layout =
        postcard::from_bytes(&layout).map_err(|source| BlobError::Record { number, source })?;
    Ok(record)
}
