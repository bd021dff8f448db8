//! A row of the table `blobs`.

use rusqlite::{
    Connection, OptionalExtension as _, Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use tesfs_pathtree::{BlobNumber, DbError, Doing as _};

use crate::BlobHash;

/// Where the bytes of a blob are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobState {
    /// In the row.
    Inline,
    /// In a draft's file, which was not hashed yet.
    Draft,
    /// In a file of the store.
    Local,
    /// Nowhere on this node.
    Absent,
    /// In quarantine: they are not the bytes that were stored.
    Damaged,
}

/// What the node knows of a blob, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRow {
    /// The number everything names it by.
    pub number: BlobNumber,
    /// Where its bytes are.
    pub state: BlobState,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// How many places name it.
    pub refs: u64,
    /// Its hash; `None` until it is sealed.
    pub hash: Option<BlobHash>,
    /// The number of its draft file, in state [`BlobState::Draft`].
    pub draft: Option<u64>,
    /// Whether its bytes survive a power cut.
    pub settled: bool,
    /// Since when nothing names it, Unix nanoseconds: gc may delete it after a grace.
    pub unreferenced_ns: Option<i64>,
}

/// Columns of a [`BlobRow`], in the order in which [`BlobRow::read`] takes them.
macro_rules! blob_row_columns {
    () => {
        "number, state, size_bytes, refs, hash, draft, settled, unreferenced_ns"
    };
}
pub(crate) use blob_row_columns;

impl BlobRow {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            state: row.get(1)?,
            size_bytes: row.get::<_, Unsigned>(2)?.0,
            refs: row.get::<_, Unsigned>(3)?.0,
            hash: row.get(4)?,
            draft: row.get::<_, Option<Unsigned>>(5)?.map(|draft| draft.0),
            settled: row.get(6)?,
            unreferenced_ns: row.get(7)?,
        })
    }

    pub(crate) fn find(conn: &Connection, number: BlobNumber) -> Result<Option<Self>, DbError> {
        conn.prepare_cached(concat!(
            "SELECT ",
            blob_row_columns!(),
            " FROM blobs WHERE number = ?1"
        ))
        .and_then(|mut stmt| stmt.query_row([number], Self::read).optional())
        .doing("reading a blob's row")
    }

    /// Returns up to `limit` rows after `after`, in order of number.
    pub(crate) fn page(
        conn: &Connection,
        after: BlobNumber,
        limit: usize,
    ) -> Result<Vec<Self>, DbError> {
        conn.prepare_cached(concat!(
            "SELECT ",
            blob_row_columns!(),
            " FROM blobs WHERE number > ?1 ORDER BY number LIMIT ?2"
        ))
        .and_then(|mut stmt| stmt.query_map((after, Unsigned(limit as u64)), Self::read)?.collect())
        .doing("reading rows of blobs")
    }
}

impl BlobState {
    fn code(self) -> i64 {
        match self {
            Self::Inline => 0,
            Self::Draft => 1,
            Self::Local => 2,
            Self::Absent => 3,
            Self::Damaged => 4,
        }
    }
}

impl ToSql for BlobState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.code().into())
    }
}

impl FromSql for BlobState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match i64::column_result(value)? {
            0 => Ok(Self::Inline),
            1 => Ok(Self::Draft),
            2 => Ok(Self::Local),
            3 => Ok(Self::Absent),
            4 => Ok(Self::Damaged),
            code => Err(FromSqlError::OutOfRange(code)),
        }
    }
}

/// A count of bytes, references or files, kept as a non-negative integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsigned(pub(crate) u64);

impl ToSql for Unsigned {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        i64::try_from(self.0)
            .map(ToSqlOutput::from)
            .map_err(|err| rusqlite::Error::ToSqlConversionFailure(err.into()))
    }
}

impl FromSql for Unsigned {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = i64::column_result(value)?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}
