//! Content: publishing a new version of a file's bytes.

use std::cmp::Reverse;

use rusqlite::{Connection, params};

use super::{
    TreeError, View,
    adopt::adopt,
    change::{Facet, FacetVersion, is_seen, keep, record, replace},
    edge::require_inode,
    view::Level,
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BlobNumber, Ino, OperationId, Stamp},
};

/// The bytes of a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewContent {
    /// How many.
    pub size: u64,
    /// Where they are; `None` where there are none.
    pub blob: Option<BlobNumber>,
    /// When they were last written, in Unix nanoseconds.
    pub mtime_ns: i64,
    /// When their writer's file last changed in any way, which stat showed already; `None` if only
    /// publishing makes the change. The kernel's clock may be a tick ahead of the version's stamp.
    pub ctime_ns: Option<i64>,
}

/// A version that was just published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its stamp.
    pub version: Stamp,
    /// The blob of the version it replaced in place, which nothing holds any more.
    pub dropped: Option<BlobNumber>,
}

/// Makes `new` the current content of a file.
///
/// The version it supersedes is its base and stays in history, except where that is `own`: a
/// version that the same open writer published before, which nothing has seen. The new one then
/// takes its place and its base.
///
/// # Errors
///
/// [`TreeError::InodeGone`].
pub fn publish(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    ino: Ino,
    new: &NewContent,
    own: Option<Stamp>,
) -> Result<Published, TreeError> {
    let old = require_inode(tx, view, ino)?;
    adopt(tx, view, ino)?;
    let stamp = tx.next_stamp();
    let in_place = own == Some(old.content) && !is_seen(tx, view, old.content)?;
    let superseded =
        FacetVersion { row: ino, facet: Facet::Content, stamp: old.content, born: old.id.0 };
    let mut dropped = None;
    if in_place {
        replace(tx, view, superseded, stamp)?;
        dropped = old.blob;
    } else {
        keep(tx, view, superseded, stamp)?;
    }
    let base = (!in_place).then_some(old.content);
    tx.prepare_cached(
        "UPDATE inodes SET size = ?3, blob = ?4, mtime_ns = ?5, c_since = ?6, c_actor = ?7,
                           base = iif(?8, base, ?9), base_actor = iif(?8, base_actor, ?10),
                           ctime_ns = max(coalesce(ctime_ns, ?11), ?11)
         WHERE id = ?1 AND branch = ?2",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![
            ino,
            view.branch,
            new.size.cast_signed(),
            new.blob,
            new.mtime_ns,
            stamp.hlc,
            stamp.actor,
            in_place,
            base.map(|base| base.hlc),
            base.map(|base| base.actor),
            new.ctime_ns,
        ])
    })
    .doing("publishing a version")?;
    record(tx, view, stamp, ino, Facet::Content.bit(), operation)?;
    Ok(Published { version: stamp, dropped })
}

/// Lets every version that holds `old` hold `new`, the same bytes in another place, and returns
/// how many there are.
///
/// # Errors
///
/// A failed statement.
pub fn replace_blob(tx: &Tx<'_>, old: BlobNumber, new: BlobNumber) -> Result<usize, TreeError> {
    let versions = references(tx, old)?;
    for sql in [
        "UPDATE inodes SET blob = ?2 WHERE blob = ?1 AND blob IS NOT NULL",
        "UPDATE past SET blob = ?2 WHERE blob = ?1 AND blob IS NOT NULL",
        "UPDATE conflicts SET blob = ?2 WHERE blob = ?1 AND blob IS NOT NULL",
    ] {
        tx.prepare_cached(sql)
            .and_then(|mut stmt| stmt.execute(params![old, new]))
            .doing("moving versions to another blob")?;
    }
    Ok(versions)
}

/// One version of a file's content, current or past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentVersion {
    /// Its stamp.
    pub version: Stamp,
    /// Its size in bytes.
    pub size: u64,
    /// Where its bytes are.
    pub blob: Option<BlobNumber>,
}

/// Counts the versions that hold a blob; a branch's copy of an inherited one is none.
fn references(conn: &Connection, blob: BlobNumber) -> Result<usize, DbError> {
    let count: i64 = conn
        .prepare_cached(
            "SELECT (SELECT count(*) FROM inodes AS i JOIN branches AS b ON b.number = i.branch
                     WHERE i.blob = ?1 AND i.blob IS NOT NULL
                     AND iif(i.c_since = 0, i.born, i.c_since) > coalesce(b.fork, 0))
                  + (SELECT count(*) FROM past WHERE blob = ?1 AND blob IS NOT NULL)
                  + (SELECT count(*) FROM conflicts WHERE blob = ?1 AND blob IS NOT NULL)",
        )
        .and_then(|mut stmt| stmt.query_row([blob], |row| row.get(0)))
        .doing("counting the versions of a blob")?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Returns every version of an inode's content, newest first.
///
/// # Errors
///
/// A failed query.
pub fn contents(conn: &Connection, view: &View, ino: Ino) -> Result<Vec<ContentVersion>, DbError> {
    let mut versions = Vec::new();
    for level in view.levels() {
        versions.extend(contents_on(conn, level, ino)?);
    }
    // A branch's row may be a copy of what an ancestor has.
    versions.sort_by_key(|version| Reverse(version.version));
    versions.dedup_by_key(|version| version.version);
    Ok(versions)
}

fn contents_on(conn: &Connection, level: &Level, ino: Ino) -> Result<Vec<ContentVersion>, DbError> {
    conn.prepare_cached(
        "SELECT iif(c_since = 0, born, c_since) AS since, iif(c_since = 0, born_actor, c_actor),
                size, blob
         FROM inodes WHERE id = ?1 AND branch = ?2 AND target IS NULL
         AND iif(c_since = 0, born, c_since) <= ?3
         UNION ALL
         SELECT since, actor, size, blob FROM past
         WHERE id = ?1 AND branch = ?2 AND facet = 2 AND since <= ?3",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![ino, level.branch, level.through], |row| {
            Ok(ContentVersion {
                version: Stamp { hlc: row.get(0)?, actor: row.get(1)? },
                size: row.get::<_, i64>(2)?.cast_unsigned(),
                blob: row.get(3)?,
            })
        })?
        .collect()
    })
    .doing("reading the versions of a file")
}
