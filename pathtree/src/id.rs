//! Ids and numbers of the model, one type each: what travels and what stays local never mix.

use std::fmt;

use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};

/// Defines a local row number: an `i64` in the database and never anything else.
macro_rules! row_number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                i64::column_result(value).map(Self)
            }
        }
    };
}

/// Defines an unsigned number kept as a non-negative `i64` in the database.
macro_rules! unsigned_number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                i64::try_from(self.0)
                    .map(ToSqlOutput::from)
                    .map_err(|err| rusqlite::Error::ToSqlConversionFailure(err.into()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let number = i64::column_result(value)?;
                u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
            }
        }
    };
}

unsigned_number! {
    /// This node's number of an inode: what the kernel shows as `st_ino`.
    ///
    /// Stable for the life of the inode, never reused, unique over all buckets of the node, and
    /// never sent to another node (that is [`InodeId`]).
    Ino
}

impl Ino {
    /// The parent of an edge that hangs nowhere: its inode is unlinked.
    pub(crate) const NOWHERE: Self = Self(0);
}

unsigned_number! {
    /// A hybrid logical clock reading: 48 bits of Unix milliseconds, then 16 bits of counter.
    Hlc
}

impl Hlc {
    /// Bits of the counter below the milliseconds.
    pub(crate) const COUNTER_BITS: u32 = 16;
    /// Nanoseconds one counter step stands for, so that times derived from stamps stay ordered
    /// inside a millisecond (65,536 steps of 15 ns are 0.98 ms).
    const STEP_NS: u64 = 15;

    /// Returns the first reading of the millisecond that `unix_ns` lies in.
    pub fn from_unix_ns(unix_ns: i64) -> Self {
        let millis = u64::try_from(unix_ns / 1_000_000).unwrap_or(0);
        Self(millis << Self::COUNTER_BITS)
    }

    /// Returns the last reading of the millisecond that `unix_ns` lies in: what is shown as of it is
    /// all that was there by then, whatever else was done in that millisecond.
    pub fn last_of_unix_ns(unix_ns: i64) -> Self {
        Self(Self::from_unix_ns(unix_ns).0 | ((1 << Self::COUNTER_BITS) - 1))
    }

    /// Returns Unix nanoseconds; order is kept, so a later reading never shows an earlier time.
    /// Readings beyond April 2262 show the last time that nanoseconds can count to.
    pub fn unix_ns(self) -> i64 {
        let millis = self.0 >> Self::COUNTER_BITS;
        let steps = self.0 & ((1 << Self::COUNTER_BITS) - 1);
        let ns = millis.saturating_mul(1_000_000).saturating_add(steps * Self::STEP_NS);
        i64::try_from(ns).unwrap_or(i64::MAX)
    }
}

row_number! {
    /// This node's number of an actor (one run of one node). Rows carry it instead of 16 bytes.
    ActorNumber
}

row_number! {
    /// This node's number of a branch. A branch implies its bucket.
    BranchNumber
}

row_number! {
    /// This node's number of a bucket.
    BucketNumber
}

row_number! {
    /// This node's number of a row in the blob table; the tree treats it as opaque.
    BlobNumber
}

row_number! {
    /// The id of an operation: the HLC of its first change, which is unique on this node.
    OperationId
}

/// Identity and order of a change: when, and by which run of which node.
///
/// The stamp of a thing's first change is its id everywhere ([`InodeId`], [`EdgeId`]): unique,
/// append-only in every index, and comparing ids compares ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// When, in the hybrid logical clock.
    pub hlc: Hlc,
    /// By whom; a local number, which stands for 16 random bytes everywhere else.
    pub actor: ActorNumber,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.hlc, self.actor)
    }
}

/// The id of an inode that is the same on every node: the stamp of its birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub Stamp);

/// The id of an edge that is the same on every node: the stamp of its birth.
///
/// An inode's first edge is born with it and has the same stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(pub Stamp);

/// The 128-bit random id of a bucket, the same on every node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub [u8; 16]);

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketId({self})")
    }
}

impl ToSql for BucketId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_slice()))
    }
}

impl FromSql for BucketId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_derived_from_readings_keep_their_order() {
        let first = Hlc::from_unix_ns(1_700_000_000_123_456_789);
        let last_of_milli = Hlc(first.0 + 65_535);
        let next = Hlc(first.0 + 65_536);
        assert_eq!(Hlc::last_of_unix_ns(1_700_000_000_123_456_789), last_of_milli);
        assert_eq!(first.unix_ns(), 1_700_000_000_123_000_000);
        assert!(first.unix_ns() < last_of_milli.unix_ns());
        assert!(last_of_milli.unix_ns() < next.unix_ns());
        assert_eq!(Hlc::last_of_unix_ns(1_700_000_000_123_456_789), last_of_milli);
    }

    #[test]
    fn a_reading_beyond_what_nanoseconds_count_is_the_last_time() {
        assert_eq!(Hlc(u64::MAX).unix_ns(), i64::MAX);
    }
}
