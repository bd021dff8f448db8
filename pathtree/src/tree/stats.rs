//! Counting: what a branch shows, and who holds which blob.

use rusqlite::{Connection, params};

use super::{S_IFDIR, S_IFMT, View};
use crate::{
    db::{DbError, Doing as _},
    id::{BlobNumber, Ino},
};

/// What a branch holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeStats {
    /// Live inodes that are no directories.
    pub files: u64,
    /// Live directories, the root included.
    pub directories: u64,
    /// Bytes of all live files.
    pub live_bytes: u64,
    /// Superseded versions of contents.
    pub past_versions: u64,
    /// Their bytes, each version counted whole.
    pub past_bytes: u64,
}

/// How many versions hold a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobUse {
    /// The blob.
    pub blob: BlobNumber,
    /// Versions that hold it, on all branches.
    pub versions: u64,
}

/// One row for every version that holds a blob, in the column `blob`.
pub const REFERENCES_SQL: &str = "SELECT blob FROM inodes WHERE blob IS NOT NULL
     UNION ALL SELECT blob FROM past WHERE blob IS NOT NULL";

/// Counts a branch; reads every row of the tree once.
///
/// # Errors
///
/// A failed query.
pub fn stats(conn: &Connection, view: View) -> Result<TreeStats, DbError> {
    let mut stats = conn
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE mode & ?2 <> ?3),
                    count(*) FILTER (WHERE mode & ?2 = ?3),
                    coalesce(sum(size) FILTER (WHERE mode & ?2 <> ?3), 0)
             FROM inodes WHERE branch = ?1 AND target IS NULL AND nlink > 0",
        )
        .and_then(|mut stmt| {
            stmt.query_row(params![view.branch, S_IFMT, S_IFDIR], |row| {
                Ok(TreeStats {
                    files: row.get::<_, i64>(0)?.cast_unsigned(),
                    directories: row.get::<_, i64>(1)?.cast_unsigned(),
                    live_bytes: row.get::<_, i64>(2)?.cast_unsigned(),
                    ..TreeStats::default()
                })
            })
        })
        .doing("counting a branch")?;
    (stats.past_versions, stats.past_bytes) = conn
        .prepare_cached(
            "SELECT count(*), coalesce(sum(size), 0) FROM past WHERE branch = ?1 AND facet = 2",
        )
        .and_then(|mut stmt| {
            stmt.query_row([view.branch], |row| {
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
            })
        })
        .doing("counting a branch's history")?;
    Ok(stats)
}

/// Returns, for up to `count_max` blobs above `after`, how many versions hold each.
///
/// # Errors
///
/// A failed query.
pub fn blob_uses(
    conn: &Connection,
    after: BlobNumber,
    count_max: u32,
) -> Result<Vec<BlobUse>, DbError> {
    conn.prepare_cached(
        "SELECT blob, sum(versions) FROM (
             SELECT blob, versions FROM (SELECT blob, count(*) AS versions FROM inodes
                            WHERE blob > ?1 AND blob IS NOT NULL
                            GROUP BY blob ORDER BY blob LIMIT ?2)
             UNION ALL
             SELECT blob, versions FROM (SELECT blob, count(*) AS versions FROM past
                            WHERE blob > ?1 AND blob IS NOT NULL
                            GROUP BY blob ORDER BY blob LIMIT ?2))
         GROUP BY blob ORDER BY blob LIMIT ?2",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![after, count_max], |row| {
            Ok(BlobUse { blob: row.get(0)?, versions: row.get::<_, i64>(1)?.cast_unsigned() })
        })?
        .collect()
    })
    .doing("counting the versions of each blob")
}

/// Returns the inodes whose parent is no live directory: there should be none.
///
/// # Errors
///
/// A failed query.
pub fn stray_edges(conn: &Connection, view: View) -> Result<Vec<Ino>, DbError> {
    conn.prepare_cached(
        "SELECT e.id FROM inodes AS e
         WHERE e.branch = ?1 AND e.parent > 0 AND NOT EXISTS
             (SELECT 1 FROM inodes AS p
              WHERE p.id = e.parent AND p.branch = e.branch AND p.mode & ?2 = ?3 AND p.nlink > 0)
         LIMIT 1000",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![view.branch, S_IFMT, S_IFDIR], |row| row.get(0))?.collect()
    })
    .doing("looking for edges without a directory")
}

/// Returns how many versions of its content an inode has, the current one included.
///
/// # Errors
///
/// A failed query.
pub fn versions_of(conn: &Connection, view: View, ino: Ino) -> Result<u64, DbError> {
    conn.prepare_cached("SELECT 1 + count(*) FROM past WHERE id = ?1 AND branch = ?2 AND facet = 2")
        .and_then(|mut stmt| stmt.query_row(params![ino, view.branch], |row| row.get::<_, i64>(0)))
        .map(i64::cast_unsigned)
        .doing("counting an inode's versions")
}
