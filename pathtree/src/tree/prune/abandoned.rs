//! Forgetting branches that were abandoned, and buckets that were removed, 30 days ago.
//!
//! It is begun by a mark that nothing takes back, goes on in small transactions, and ends with the
//! row of the branch or bucket: a kill in between leaves the rest to the next run.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::BATCH;
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BlobNumber, BranchNumber, BucketNumber, Hlc, Ino, OperationId},
    period::DAY_NS,
    retention::DAYS_PROMISED,
};

/// Rows that are looked at between two transactions.
const SCANNED_MAX: u32 = 10_000;

/// Returns branches and snapshots whose time is over: abandoned 30 days ago, and neither is
/// something forked from them, nor are they what two others were merged from and so have in common.
/// Of a bucket that was removed 30 days ago all.
///
/// # Errors
///
/// A failed query.
pub fn branches_to_forget(conn: &Connection, now_ns: i64) -> Result<Vec<BranchNumber>, DbError> {
    conn.prepare_cached(
        "SELECT b.number FROM branches AS b JOIN buckets AS k ON k.number = b.bucket
         WHERE k.removed_ns <= ?1 OR b.abandoned_ns <= ?1
           AND NOT EXISTS (SELECT 1 FROM branches AS f
                           WHERE f.parent = b.number AND f.parent IS NOT NULL)
           AND (b.abandoned_ns = 0
                OR (SELECT count(DISTINCT m.branch) FROM merges AS m
                    WHERE m.from_branch = b.number) < 2)",
    )
    .and_then(|mut stmt| stmt.query_map([over(now_ns)], |row| row.get(0))?.collect())
    .doing("finding abandoned branches whose time is over")
}

/// Returns removed buckets whose time is over.
///
/// # Errors
///
/// A failed query.
pub fn buckets_to_forget(conn: &Connection, now_ns: i64) -> Result<Vec<BucketNumber>, DbError> {
    conn.prepare_cached("SELECT number FROM buckets WHERE removed_ns <= ?1")
        .and_then(|mut stmt| stmt.query_map([over(now_ns)], |row| row.get(0))?.collect())
        .doing("finding removed buckets whose time is over")
}

fn over(now_ns: i64) -> i64 {
    now_ns.saturating_sub(i64::from(DAYS_PROMISED) * DAY_NS)
}

/// Marks a branch as being forgotten: it can not be restored from here on, and pins nothing.
///
/// # Errors
///
/// A failed statement.
pub fn begin_to_forget(tx: &Tx<'_>, branch: BranchNumber) -> Result<(), DbError> {
    tx.prepare_cached("UPDATE branches SET abandoned_ns = 0 WHERE number = ?1")
        .and_then(|mut stmt| stmt.execute([branch]))
        .doing("beginning to forget a branch")?;
    tx.prepare_cached(
        "UPDATE buckets SET removed_ns = 0 WHERE removed_ns IS NOT NULL
         AND number = (SELECT bucket FROM branches WHERE number = ?1)",
    )
    .and_then(|mut stmt| stmt.execute([branch]))
    .doing("beginning to forget a bucket")?;
    Ok(())
}

/// Some rows of a branch, and where to look for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsOfBranch {
    /// Inodes and further links.
    pub rows: Vec<Ino>,
    /// `None` where there are no more.
    pub next: Option<Ino>,
}

/// Looks for rows of a branch behind `after`; no index leads to them.
///
/// # Errors
///
/// A failed query.
pub fn rows_of_branch(
    conn: &Connection,
    branch: BranchNumber,
    after: Ino,
) -> Result<RowsOfBranch, DbError> {
    let mut found = RowsOfBranch { rows: Vec::new(), next: None };
    if after == Ino(0) && is_untouched_snapshot(conn, branch)? {
        return Ok(found);
    }
    let mut stmt = conn
        .prepare_cached(
            "SELECT id, branch FROM inodes WHERE (id, branch) > (?1, ?2)
             ORDER BY id, branch LIMIT ?3",
        )
        .doing("looking for rows of a branch")?;
    let after = params![after, BranchNumber(i64::MAX), SCANNED_MAX];
    let mut rows = stmt.query(after).doing("looking for rows of a branch")?;
    let mut last = None;
    while let Some(row) = rows.next().doing("looking for rows of a branch")? {
        let (id, of) = row
            .get::<_, Ino>(0)
            .and_then(|id| Ok((id, row.get::<_, BranchNumber>(1)?)))
            .doing("reading a row of a branch")?;
        if of == branch {
            found.rows.push(id);
            if found.rows.len() >= BATCH as usize {
                found.next = Some(id);
                return Ok(found);
            }
        }
        last = Some(id);
    }
    found.next = last;
    Ok(found)
}

/// Whatever comes to a branch is logged there; to a snapshot hardly anything ever does.
fn is_untouched_snapshot(conn: &Connection, branch: BranchNumber) -> Result<bool, DbError> {
    conn.prepare_cached(
        "SELECT frozen = 1 AND NOT EXISTS (SELECT 1 FROM change WHERE branch = ?1)
         FROM branches WHERE number = ?1",
    )
    .and_then(|mut stmt| stmt.query_row([branch], |row| row.get(0)).optional())
    .map(|found| found.unwrap_or(false))
    .doing("asking whether a snapshot has rows")
}

/// Deletes rows of a branch with all their versions; returns the blobs these held, once for each.
///
/// # Errors
///
/// A failed statement.
pub fn forget_rows(
    tx: &Tx<'_>,
    branch: BranchNumber,
    rows: &[Ino],
) -> Result<Vec<BlobNumber>, DbError> {
    let mut blobs = Vec::new();
    for row in rows {
        // What was inherited is held by the ancestor's version.
        let held: Vec<BlobNumber> = tx
            .prepare_cached(
                "SELECT i.blob FROM inodes AS i JOIN branches AS b ON b.number = i.branch
                 WHERE i.id = ?1 AND i.branch = ?2 AND i.blob IS NOT NULL
                   AND iif(i.c_since = 0, i.born, i.c_since) > coalesce(b.fork, 0)
                 UNION ALL
                 SELECT blob FROM past WHERE id = ?1 AND branch = ?2 AND blob IS NOT NULL",
            )
            .and_then(|mut stmt| stmt.query_map(params![row, branch], |row| row.get(0))?.collect())
            .doing("reading what a forgotten row holds")?;
        blobs.extend(held);
        for sql in [
            "DELETE FROM past WHERE id = ?1 AND branch = ?2",
            "DELETE FROM xattrs WHERE id = ?1 AND branch = ?2",
            "DELETE FROM past_xattrs WHERE id = ?1 AND branch = ?2",
            "DELETE FROM inodes WHERE id = ?1 AND branch = ?2",
            "DELETE FROM symlinks WHERE id = ?1 AND ?2 IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM inodes WHERE id = ?1)",
        ] {
            tx.prepare_cached(sql)
                .and_then(|mut stmt| stmt.execute(params![row, branch]))
                .doing("forgetting a row of a branch")?;
        }
    }
    Ok(blobs)
}

/// Deletes some of what is left of a branch that has neither rows nor operations any more, at last
/// the branch; says which blobs that held, and whether it was the last.
///
/// # Errors
///
/// A failed statement.
pub fn forget_rest(tx: &Tx<'_>, branch: BranchNumber) -> Result<(Vec<BlobNumber>, bool), DbError> {
    if forget_log(tx, branch)? {
        return Ok((Vec::new(), false));
    }
    tx.prepare_cached(
        "DELETE FROM resolutions WHERE conflict IN (SELECT number FROM conflicts WHERE branch = ?1)",
    )
    .and_then(|mut stmt| stmt.execute([branch]))
    .doing("forgetting who decided the conflicts of a branch")?;
    let blobs = tx
        .prepare_cached("DELETE FROM conflicts WHERE branch = ?1 RETURNING blob")
        .and_then(|mut stmt| {
            stmt.query_map([branch], |row| row.get(0))?
                .collect::<Result<Vec<Option<BlobNumber>>, _>>()
        })
        .doing("forgetting the conflicts of a branch")?;
    for sql in [
        "DELETE FROM merges WHERE branch = ?1",
        "DELETE FROM merges WHERE from_branch = ?1",
        "DELETE FROM cursors WHERE branch = ?1",
        "DELETE FROM thinned WHERE branch = ?1",
        "DELETE FROM mount_points WHERE branch = ?1",
        "DELETE FROM branches WHERE number = ?1",
    ] {
        tx.prepare_cached(sql)
            .and_then(|mut stmt| stmt.execute([branch]))
            .doing("forgetting a branch")?;
    }
    Ok((blobs.into_iter().flatten().collect(), true))
}

/// Deletes the oldest part of a branch's log; says whether there was any.
fn forget_log(tx: &Tx<'_>, branch: BranchNumber) -> Result<bool, DbError> {
    let last: Option<Hlc> = tx
        .prepare_cached(
            "SELECT max(hlc) FROM (SELECT hlc FROM change WHERE branch = ?1 ORDER BY hlc LIMIT ?2)",
        )
        .and_then(|mut stmt| {
            stmt.query_row(params![branch, i64::from(BATCH) * 4], |row| row.get(0))
        })
        .doing("reading the log of a forgotten branch")?;
    let Some(last) = last else { return Ok(false) };
    tx.prepare_cached("DELETE FROM change WHERE branch = ?1 AND hlc <= ?2")
        .and_then(|mut stmt| stmt.execute(params![branch, last]))
        .doing("forgetting the log of a branch")?;
    Ok(true)
}

/// Returns some operations of a branch; no index leads to them.
///
/// # Errors
///
/// A failed query.
pub fn operations_of_branch(
    conn: &Connection,
    branch: BranchNumber,
) -> Result<Vec<OperationId>, DbError> {
    conn.prepare_cached("SELECT id FROM operations WHERE branch = ?1 LIMIT ?2")
        .and_then(|mut stmt| {
            stmt.query_map(params![branch, i64::from(BATCH) * 4], |row| row.get(0))?.collect()
        })
        .doing("finding the operations of a forgotten branch")
}

/// Deletes a removed bucket that has no branches any more; says whether it did.
///
/// # Errors
///
/// A failed statement.
pub fn forget_bucket(tx: &Tx<'_>, bucket: BucketNumber) -> Result<bool, DbError> {
    let has_branches: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM branches WHERE bucket = ?1)")
        .and_then(|mut stmt| stmt.query_row([bucket], |row| row.get(0)))
        .doing("asking for branches of a removed bucket")?;
    if has_branches {
        return Ok(false);
    }
    for sql in [
        "DELETE FROM settings WHERE bucket = ?1",
        "DELETE FROM past_settings WHERE bucket = ?1",
        "DELETE FROM mount_points WHERE bucket = ?1",
        "DELETE FROM buckets WHERE number = ?1",
    ] {
        tx.prepare_cached(sql)
            .and_then(|mut stmt| stmt.execute([bucket]))
            .doing("forgetting a bucket")?;
    }
    Ok(true)
}
