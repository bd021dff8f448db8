//! The outbox: what consumers have not read yet of the log of changes.
//!
//! The log itself is the queue (every version, in stamp order) and a cursor is how far a consumer
//! read. An event in a durable stream says "there is something", in the transaction of the change;
//! a burst of transactions publishes one event, because an unread one says it already. The stream
//! is honker's, and this is the one file that names it.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{DbError, Doing as _, Tx};
use crate::id::{ActorNumber, BranchNumber, Hlc, OperationId, Stamp};

/// The stream that says a tree changed.
const TOPIC: &str = "pathtree.changed";
/// Whose offset in the stream says that events were read: one reader pumps for all consumers.
const READER: &str = "outbox";

/// One version in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of the version.
    pub stamp: Stamp,
    /// The row of the inode or further edge.
    pub id: i64,
    /// Bits: 1 edge, 2 attributes, 4 content, 8 created.
    pub what: i64,
    /// Which operation did it.
    pub operation: OperationId,
}

/// Creates the stream's tables and functions; says whether an event waits unread.
pub(super) fn prepare(conn: &Connection) -> Result<bool, DbError> {
    let honker =
        |err: honker_core::Error| rusqlite::Error::UserFunctionError(err.to_string().into());
    honker_core::attach_honker_functions(conn).doing("attaching the outbox's functions")?;
    honker_core::bootstrap_honker_schema(conn)
        .map_err(honker)
        .doing("creating the outbox's tables")?;
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM _honker_stream WHERE topic = ?1
                        AND offset > honker_stream_get_offset(?2, ?1))",
        [TOPIC, READER],
        |row| row.get(0),
    )
    .doing("looking for unread events")
}

pub(super) fn publish(tx: &Tx<'_>) -> Result<(), DbError> {
    tx.prepare_cached("SELECT honker_stream_publish(?1, NULL, '{}')")
        .and_then(|mut stmt| stmt.query_row([TOPIC], |_| Ok(())))
        .doing("publishing an event")
}

/// Returns up to `count_max` changes of `branch` that `consumer` has not read, oldest first.
///
/// # Errors
///
/// A failed query.
pub fn unread(
    conn: &Connection,
    branch: BranchNumber,
    consumer: &str,
    count_max: u32,
) -> Result<Vec<Change>, DbError> {
    let after = cursor(conn, branch, consumer)?;
    conn.prepare_cached(
        "SELECT hlc, actor, id, what, operation FROM change
         WHERE branch = ?1 AND hlc > ?2 ORDER BY hlc, actor, id LIMIT ?3",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![branch, after, count_max], |row| {
            Ok(Change {
                stamp: Stamp { hlc: row.get(0)?, actor: row.get::<_, ActorNumber>(1)? },
                id: row.get(2)?,
                what: row.get(3)?,
                operation: row.get(4)?,
            })
        })?
        .collect()
    })
    .doing("reading the outbox")
}

/// Moves `consumer`'s cursor to `through` in the transaction that did its work.
///
/// A cursor never goes back. Once every consumer has read everything, the stream's events are
/// marked as read and deleted; until then one stays, so that no change is without an event.
///
/// # Errors
///
/// A failed statement; the cursor then stays.
pub fn advance(
    tx: &Tx<'_>,
    branch: BranchNumber,
    consumer: &str,
    through: Hlc,
) -> Result<(), DbError> {
    tx.prepare_cached(
        "INSERT INTO cursors (branch, consumer, hlc) VALUES (?1, ?2, ?3)
         ON CONFLICT (branch, consumer) DO UPDATE SET hlc = max(hlc, ?3)",
    )
    .and_then(|mut stmt| stmt.execute(params![branch, consumer, through]))
    .doing("moving a cursor")?;
    let behind: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM cursors AS r WHERE EXISTS
                 (SELECT 1 FROM change AS c WHERE c.branch = r.branch AND c.hlc > r.hlc))",
        )
        .and_then(|mut stmt| stmt.query_row([], |row| row.get(0)))
        .doing("looking for consumers that are behind")?;
    if behind {
        return Ok(());
    }
    tx.prepare_cached(
        "SELECT honker_stream_save_offset(?2, ?1, max(offset)) FROM _honker_stream
         WHERE topic = ?1 HAVING max(offset) IS NOT NULL",
    )
    .and_then(|mut stmt| stmt.query_row([TOPIC, READER], |_| Ok(())).optional())
    .doing("marking events as read")?;
    tx.prepare_cached("DELETE FROM _honker_stream WHERE topic = ?1")
        .and_then(|mut stmt| stmt.execute([TOPIC]))
        .doing("pruning read events")?;
    tx.note_events_read();
    Ok(())
}

fn cursor(conn: &Connection, branch: BranchNumber, consumer: &str) -> Result<Hlc, DbError> {
    conn.prepare_cached("SELECT hlc FROM cursors WHERE branch = ?1 AND consumer = ?2")
        .and_then(|mut stmt| stmt.query_row(params![branch, consumer], |row| row.get(0)).optional())
        .map(|hlc| hlc.unwrap_or(Hlc(0)))
        .doing("reading a cursor")
}

/// Returns the greatest reading that any consumer of `branch` has seen, or that a fork of it shows:
/// versions above it may still be replaced in place.
pub(crate) fn seen_through(conn: &Connection, branch: BranchNumber) -> Result<Hlc, DbError> {
    conn.prepare_cached(
        "SELECT max(coalesce((SELECT max(hlc) FROM cursors WHERE branch = ?1), 0),
                    coalesce((SELECT max(fork) FROM branches
                              WHERE parent = ?1 AND parent IS NOT NULL), 0))",
    )
    .and_then(|mut stmt| stmt.query_row([branch], |row| row.get(0)))
    .doing("reading what consumers have seen")
}
