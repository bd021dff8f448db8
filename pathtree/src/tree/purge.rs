//! Inodes that leave no history: created and unlinked within one operation.

use rusqlite::params;

use super::{
    View,
    change::{is_seen, operation_of},
    inode::{Edge, inode},
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BlobNumber, Hlc, Ino, Stamp},
};

/// Removes every trace of an unlinked inode whose birth and last unlinking are one operation's and
/// were seen by nobody; returns the blobs its versions held, or `None` where it has to stay.
///
/// What a rename replaced stays, too: a power cut may take the bytes of its successor, and then it
/// gets its name back. A directory stays where something else remembers to have been in it.
///
/// # Errors
///
/// A failed statement.
pub fn purge_transient(
    tx: &Tx<'_>,
    view: View,
    ino: Ino,
) -> Result<Option<Vec<BlobNumber>>, DbError> {
    let Some(inode) = inode(tx, view, ino)? else { return Ok(None) };
    let born = inode.id.0;
    if inode.nlink > 0 || ino == view.root || is_seen(tx, view, born)? {
        return Ok(None);
    }
    let Some(birth) = operation_of(tx, view, ino, born)? else { return Ok(None) };
    let edges = edges_of(tx, view, ino)?;
    for edge in &edges {
        if operation_of(tx, view, edge.row, edge.version)? != Some(birth) {
            return Ok(None);
        }
    }
    if is_remembered(tx, view, ino)? {
        return Ok(None);
    }
    let mut blobs: Vec<BlobNumber> = inode.blob.into_iter().collect();
    for Edge { row, .. } in edges {
        blobs.extend(past_blobs(tx, view, row)?);
        for stamp in stamps_of(tx, view, row)? {
            tx.prepare_cached(
                "DELETE FROM change WHERE branch = ?1 AND hlc = ?2 AND actor = ?3 AND id = ?4",
            )
            .and_then(|mut stmt| stmt.execute(params![view.branch, stamp.hlc, stamp.actor, row]))
            .doing("forgetting a transient inode's changes")?;
        }
        for sql in [
            "DELETE FROM past WHERE id = ?1 AND branch = ?2",
            "DELETE FROM inodes WHERE id = ?1 AND branch = ?2",
            "DELETE FROM xattrs WHERE id = ?1 AND branch = ?2",
            "DELETE FROM past_xattrs WHERE id = ?1 AND branch = ?2",
        ] {
            tx.prepare_cached(sql)
                .and_then(|mut stmt| stmt.execute(params![row, view.branch]))
                .doing("forgetting a transient inode")?;
        }
    }
    tx.prepare_cached("DELETE FROM symlinks WHERE id = ?1")
        .and_then(|mut stmt| stmt.execute([ino]))
        .doing("forgetting a transient symbolic link")?;
    Ok(Some(blobs))
}

/// The inode's own edge and its further ones, live or not.
fn edges_of(tx: &Tx<'_>, view: View, ino: Ino) -> Result<Vec<Edge>, DbError> {
    tx.prepare_cached(
        "SELECT id, born, born_actor, e_since, e_actor, target, replaces FROM inodes
         WHERE id = ?1 AND branch = ?2
         UNION ALL
         SELECT id, born, born_actor, e_since, e_actor, target, replaces FROM inodes
         WHERE target = ?1 AND branch = ?2",
    )
    .and_then(|mut stmt| stmt.query_map(params![ino, view.branch], Edge::read)?.collect())
    .doing("finding an inode's edges")
}

/// Says whether another edge replaced this inode, or hung in it once.
fn is_remembered(tx: &Tx<'_>, view: View, ino: Ino) -> Result<bool, DbError> {
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM inodes
                        WHERE replaces = ?1 AND branch = ?2 AND replaces IS NOT NULL)
             OR EXISTS (SELECT 1 FROM past
                        WHERE parent = ?1 AND branch = ?2 AND parent > 0)",
    )
    .and_then(|mut stmt| stmt.query_row(params![ino, view.branch], |row| row.get(0)))
    .doing("asking who remembers an inode")
}

fn past_blobs(tx: &Tx<'_>, view: View, row: Ino) -> Result<Vec<BlobNumber>, DbError> {
    tx.prepare_cached("SELECT blob FROM past WHERE id = ?1 AND branch = ?2 AND blob IS NOT NULL")
        .and_then(|mut stmt| stmt.query_map(params![row, view.branch], |row| row.get(0))?.collect())
        .doing("finding what past versions hold")
}

/// Every stamp under which the log may know a row.
fn stamps_of(tx: &Tx<'_>, view: View, row: Ino) -> Result<Vec<Stamp>, DbError> {
    let stamps: Vec<Stamp> = tx
        .prepare_cached(
            "SELECT born, born_actor FROM inodes WHERE id = ?1 AND branch = ?2
             UNION ALL SELECT e_since, e_actor FROM inodes WHERE id = ?1 AND branch = ?2
             UNION ALL SELECT a_since, a_actor FROM inodes
                       WHERE id = ?1 AND branch = ?2 AND a_since IS NOT NULL
             UNION ALL SELECT c_since, c_actor FROM inodes
                       WHERE id = ?1 AND branch = ?2 AND c_since IS NOT NULL
             UNION ALL SELECT since, actor FROM past WHERE id = ?1 AND branch = ?2
             UNION ALL SELECT since, actor FROM xattrs WHERE id = ?1 AND branch = ?2
             UNION ALL SELECT since, actor FROM past_xattrs WHERE id = ?1 AND branch = ?2",
        )
        .and_then(|mut stmt| {
            stmt.query_map(params![row, view.branch], |row| {
                Ok(Stamp { hlc: row.get(0)?, actor: row.get(1)? })
            })?
            .collect()
        })
        .doing("finding an inode's versions")?;
    Ok(stamps.into_iter().filter(|stamp| stamp.hlc != Hlc(0)).collect())
}
