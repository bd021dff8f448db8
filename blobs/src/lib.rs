//! Immutable bytes named by BLAKE3: the files and rows they are in, and the drafts they come from.
//!
//! Floor 1. Small bytes are in the node database, larger ones in files of the data directory:
//!
//! ```text
//! blobs/ab/ab12…        the bytes, read-only, named by their hash
//! blobs/ab/ab12….obao4  their outboard: BLAKE3's tree, to verify any 16-KiB group
//! drafts/17             bytes being written, or written and not hashed yet
//! quarantine/           damaged files; nothing deletes them
//! recovered/            bytes of drafts that a crash left unpublished, for 7 days
//! ```
//!
//! Bytes come before names and names go before bytes: a crash at any moment leaves, at worst, a
//! file that nothing names. A file is immutable once it has its name in `blobs/`.

mod crew;
mod draft;
mod error;
mod folders;
mod gc;
mod hash;
mod ledger;
mod outboard;
mod quarantine;
mod range_map;
mod reader;
mod rebuild;
mod record;
mod recount;
mod recovery;
mod rewrite;
mod row;
mod seal;
mod settle;
mod stamp;
mod store;
#[cfg(test)]
mod tests;
mod totals;
mod verify;

use std::time::Duration;

use tesfs_pathtree::{Migration, Schema};

pub use crate::{
    draft::{Allocate, Draft, DraftFile, DraftLayout, DraftPool},
    error::BlobError,
    gc::{Garbage, GarbageKind, GcReport, GcRequest},
    hash::{BlobHash, BlobHashError},
    ledger::Ledger,
    reader::BlobReader,
    rebuild::RebuildReport,
    record::DraftRecord,
    recount::{Miscount, RecountReport},
    recovery::{LeftoverDraft, RecoveredFile},
    row::{BlobRow, BlobState},
    seal::SealOutcome,
    settle::SettleOutcome,
    stamp::FileStamp,
    store::Store,
    totals::{Count, Totals},
    verify::{Finding, Problem, Progress, VerifyDepth, VerifyReport},
};

/// Bytes up to this many are kept in the row: publishing a small file is then one transaction.
pub const INLINE_MAX: u64 = 16 * 1024;

/// How long gc leaves what nothing names, unless it is asked for another time.
pub const GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Rows that one background transaction touches at most: writers wait for no longer than that.
const ROWS_PER_TRANSACTION: usize = 1000;

/// The tables of this crate.
pub const SCHEMA: Schema = Schema {
    owner: "blobs",
    migrations: &[Migration {
        version: 1,
        name: "blobs",
        sql: include_str!("../migrations/0001-blobs.sql"),
    }],
};
