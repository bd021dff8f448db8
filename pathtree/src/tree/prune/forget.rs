//! Forgetting operations that nothing is left of, and conflicts that were decided long ago.

use rusqlite::{Connection, params};

use super::{
    BATCH, Pruning,
    limits::{Limits, Place},
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BlobNumber, BranchNumber, Hlc, Ino, OperationId},
    tree::versions::OPERATION_LENGTH_MAX,
};

/// Returns operations of the bucket that began after `after` and of which every change was pruned,
/// oldest first. A merge that still tells what a branch knows is not among them, nor what undid it.
///
/// # Errors
///
/// A failed query.
pub fn emptied_operations(
    conn: &Connection,
    pruning: &Pruning,
    after: OperationId,
) -> Result<Vec<OperationId>, DbError> {
    conn.prepare_cached(
        "SELECT o.id FROM operations AS o CROSS JOIN branches AS b ON b.number = o.branch
         WHERE o.pruned = 1 AND o.id > ?1 AND b.bucket = ?2
           AND NOT EXISTS (SELECT 1 FROM change AS c WHERE c.branch = o.branch
                           AND c.hlc >= o.id AND c.hlc <= o.id + ?3 AND c.operation = o.id)
           AND NOT EXISTS (SELECT 1 FROM merges AS m
                           WHERE m.branch = o.branch AND m.operation = o.id)
           AND NOT EXISTS (SELECT 1 FROM conflicts AS f
                           WHERE f.branch = o.branch AND f.operation = o.id)
           AND NOT EXISTS (SELECT 1 FROM operations AS t WHERE t.id = o.undoes)
         ORDER BY o.id LIMIT ?4",
    )
    .and_then(|mut stmt| {
        let key = params![after, pruning.bucket, OPERATION_LENGTH_MAX, BATCH];
        stmt.query_map(key, |row| row.get(0))?.collect()
    })
    .doing("finding operations that nothing is left of")
}

/// Forgets operations that [`emptied_operations`] found: nothing adds to them any more.
///
/// # Errors
///
/// A failed statement.
pub fn forget_operations(tx: &Tx<'_>, emptied: &[OperationId]) -> Result<(), DbError> {
    for operation in emptied {
        tx.prepare_cached("DELETE FROM operations WHERE id = ?1")
            .and_then(|mut stmt| stmt.execute([operation]))
            .doing("forgetting an operation")?;
    }
    Ok(())
}

/// A conflict that may be forgotten, and the bytes of its other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecidedConflict {
    number: i64,
    /// The bytes of its other side.
    pub blob: Option<BlobNumber>,
    /// When it was decided.
    pub decided: Hlc,
}

/// Returns the conflicts that were decided so long ago that their other side may go.
///
/// # Errors
///
/// A failed query.
pub fn decided_conflicts(
    conn: &Connection,
    pruning: &Pruning,
) -> Result<Vec<DecidedConflict>, DbError> {
    type Decided = (DecidedConflict, BranchNumber, Ino);
    let decided: Vec<Decided> = conn
        .prepare_cached(
            "SELECT f.number, f.blob, f.resolved, f.branch, f.id FROM branches AS b
             CROSS JOIN conflicts AS f ON f.branch = b.number
             WHERE b.bucket = ?1 AND f.resolved IS NOT NULL",
        )
        .and_then(|mut stmt| {
            stmt.query_map([pruning.bucket], |row| {
                let (number, blob, decided) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok((DecidedConflict { number, blob, decided }, row.get(3)?, row.get(4)?))
            })?
            .collect()
        })
        .doing("finding decided conflicts")?;
    let limits = Limits::read(conn, pruning)?;
    let mut found = Vec::new();
    for (conflict, branch, row) in decided {
        if limits.may_forget(conn, Place { branch, row }, conflict.decided)? {
            found.push(conflict);
        }
    }
    Ok(found)
}

/// Forgets a conflict that [`decided_conflicts`] found; returns the blob that one less names now.
///
/// # Errors
///
/// A failed statement.
pub fn forget_conflict(
    tx: &Tx<'_>,
    conflict: &DecidedConflict,
) -> Result<Option<BlobNumber>, DbError> {
    let gone = tx
        .prepare_cached("DELETE FROM conflicts WHERE number = ?1 AND resolved IS NOT NULL")
        .and_then(|mut stmt| stmt.execute([conflict.number]))
        .doing("forgetting a conflict")?;
    if gone > 0 {
        tx.prepare_cached("DELETE FROM resolutions WHERE conflict = ?1")
            .and_then(|mut stmt| stmt.execute([conflict.number]))
            .doing("forgetting who decided a conflict")?;
    }
    Ok(conflict.blob.filter(|_| gone > 0))
}
