//! Counting: what a branch shows, and who holds which blob.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::{S_IFDIR, S_IFMT, View, contents, inode, list};
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

/// One row for every version, or side of a conflict, that holds a blob, in the column `blob`.
///
/// A branch's copy of what it inherited holds nothing: the ancestor's version does.
pub const REFERENCES_SQL: &str =
    "SELECT i.blob FROM inodes AS i JOIN branches AS b ON b.number = i.branch
     WHERE i.blob IS NOT NULL AND iif(i.c_since = 0, i.born, i.c_since) > coalesce(b.fork, 0)
     UNION ALL SELECT blob FROM past WHERE blob IS NOT NULL
     UNION ALL SELECT blob FROM conflicts WHERE blob IS NOT NULL";

/// Counts what a view shows; reads every row of the tree once.
///
/// # Errors
///
/// A failed query.
pub fn stats(conn: &Connection, view: &View) -> Result<TreeStats, DbError> {
    let mut stats = match view.is_plain() {
        true => count_rows(conn, view)?,
        false => count_shown(conn, view)?,
    };
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

/// Walks over what shows: rows of ancestors show as of a fork.
fn count_shown(conn: &Connection, view: &View) -> Result<TreeStats, DbError> {
    let mut stats = TreeStats { directories: 1, ..TreeStats::default() };
    let mut seen = HashSet::new();
    let mut directories = vec![view.root];
    while let Some(directory) = directories.pop() {
        for entry in list(conn, view, directory)? {
            if entry.mode & S_IFMT == S_IFDIR {
                stats.directories += 1;
                directories.push(entry.ino);
            } else if let Some(found) = inode(conn, view, entry.ino)?
                && (found.nlink < 2 || seen.insert(found.ino))
            {
                stats.files += 1;
                stats.live_bytes += found.size;
            }
        }
    }
    Ok(stats)
}

fn count_rows(conn: &Connection, view: &View) -> Result<TreeStats, DbError> {
    conn.prepare_cached(
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
    .doing("counting a branch")
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
             SELECT blob, versions FROM (SELECT i.blob AS blob, count(*) AS versions
                            FROM inodes AS i CROSS JOIN branches AS b ON b.number = i.branch
                            WHERE i.blob > ?1 AND i.blob IS NOT NULL
                            AND iif(i.c_since = 0, i.born, i.c_since) > coalesce(b.fork, 0)
                            GROUP BY i.blob ORDER BY i.blob LIMIT ?2)
             UNION ALL
             SELECT blob, versions FROM (SELECT blob, count(*) AS versions FROM past
                            WHERE blob > ?1 AND blob IS NOT NULL
                            GROUP BY blob ORDER BY blob LIMIT ?2)
             UNION ALL
             SELECT blob, versions FROM (SELECT blob, count(*) AS versions FROM conflicts
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
pub fn stray_edges(conn: &Connection, view: &View) -> Result<Vec<Ino>, DbError> {
    if !view.is_plain() {
        return stray_edges_shown(conn, view);
    }
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

/// What a branch has no row of is its ancestor's to check.
fn stray_edges_shown(conn: &Connection, view: &View) -> Result<Vec<Ino>, DbError> {
    let edges = conn
        .prepare_cached("SELECT id, parent FROM inodes WHERE branch = ?1 AND parent > 0")
        .and_then(|mut stmt| {
            stmt.query_map([view.branch], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<Vec<(Ino, Ino)>, _>>()
        })
        .doing("reading a branch's own edges")?;
    let mut stray = Vec::new();
    for (edge, parent) in edges {
        let directory = inode(conn, view, parent)?;
        if !directory.is_some_and(|directory| directory.is_directory() && directory.nlink > 0) {
            stray.push(edge);
        }
    }
    Ok(stray)
}

/// Returns how many versions of its content an inode has, the current one included.
///
/// # Errors
///
/// A failed query.
pub fn versions_of(conn: &Connection, view: &View, ino: Ino) -> Result<u64, DbError> {
    Ok(contents(conn, view, ino)?.len() as u64)
}
