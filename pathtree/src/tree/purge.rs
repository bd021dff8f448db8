//! Inodes that leave no history: created and unlinked within one operation.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{
    Inode, S_IFLNK, S_IFMT, View,
    change::{is_replaceable, operation_of},
    inode::{Edge, inode},
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BlobNumber, Ino, OperationId, Stamp},
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
    view: &View,
    ino: Ino,
) -> Result<Option<Vec<BlobNumber>>, DbError> {
    let Some(inode) = inode(tx, view, ino)? else { return Ok(None) };
    if inode.nlink > 0 || ino == view.root {
        return Ok(None);
    }
    let Some(birth) = operation_of(tx, view, ino, inode.id.0)? else { return Ok(None) };
    purge(tx, view, birth, &inode, None)
}

/// The same for an inode that is about to lose its last live edge, `cut`, to `operation`: where
/// it leaves no trace, there is no need to unlink it first.
pub(super) fn purge_instead(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    inode: &Inode,
    cut: Edge,
) -> Result<Option<Vec<BlobNumber>>, DbError> {
    purge(tx, view, operation, inode, Some(cut))
}

fn purge(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    inode: &Inode,
    cut: Option<Edge>,
) -> Result<Option<Vec<BlobNumber>>, DbError> {
    if !is_replaceable(tx, view, inode.ino, inode.id.0, operation)? {
        return Ok(None);
    }
    let edges = edges_of(tx, view, inode.ino)?;
    for edge in edges.iter().filter(|edge| cut.is_none_or(|cut| cut.row != edge.row)) {
        if operation_of(tx, view, edge.row, edge.version)? != Some(operation) {
            return Ok(None);
        }
    }
    if is_remembered(tx, view, inode.ino)? {
        return Ok(None);
    }
    let traces = Traces::of_inode(tx, view, inode, &edges)?;
    delete_traces(tx, view, &traces)?;
    Ok(Some(traces.blobs))
}

/// Every row that speaks of an inode, or of some of its edges.
pub(super) struct Traces {
    edges: Vec<Ino>,
    logged: BTreeSet<(Ino, Stamp)>,
    /// The inode, and whether it is a symbolic link; `None` where it stays.
    inode: Option<(Ino, bool)>,
    /// What its versions hold, once for each.
    pub(super) blobs: Vec<BlobNumber>,
}

impl Traces {
    /// Those of edges alone.
    pub(super) fn of_edges(tx: &Tx<'_>, view: &View, edges: &[Edge]) -> Result<Self, DbError> {
        let mut traces =
            Self { edges: vec![], logged: BTreeSet::new(), inode: None, blobs: vec![] };
        for edge in edges {
            traces.edges.push(edge.row);
            traces.logged.extend([(edge.row, edge.id.0), (edge.row, edge.version)]);
            for (stamp, blob) in past_versions(tx, view, edge.row)? {
                traces.logged.insert((edge.row, stamp));
                traces.blobs.extend(blob);
            }
        }
        Ok(traces)
    }

    /// Those of an inode with all of its edges.
    pub(super) fn of_inode(
        tx: &Tx<'_>,
        view: &View,
        inode: &Inode,
        edges: &[Edge],
    ) -> Result<Self, DbError> {
        let mut traces = Self::of_edges(tx, view, edges)?;
        let xattrs = xattr_versions(tx, view, inode.ino)?;
        let stamps = xattrs.into_iter().chain([inode.attributes, inode.content]);
        traces.logged.extend(stamps.map(|stamp| (inode.ino, stamp)));
        traces.blobs.splice(0..0, inode.blob);
        traces.inode = Some((inode.ino, inode.mode & S_IFMT == S_IFLNK));
        Ok(traces)
    }
}

/// Deletes every row that speaks of something; returns the operations that did it.
pub(super) fn delete_traces(
    tx: &Tx<'_>,
    view: &View,
    traces: &Traces,
) -> Result<BTreeSet<OperationId>, DbError> {
    let mut operations = BTreeSet::new();
    for (row, stamp) in &traces.logged {
        let operation = tx
            .prepare_cached(
                "DELETE FROM change WHERE branch = ?1 AND hlc = ?2 AND actor = ?3 AND id = ?4
                 RETURNING operation",
            )
            .and_then(|mut stmt| {
                let key = params![view.branch, stamp.hlc, stamp.actor, row];
                stmt.query_map(key, |row| row.get(0))?.collect::<Result<Vec<OperationId>, _>>()
            })
            .doing("forgetting an inode's changes")?;
        operations.extend(operation);
    }
    for row in &traces.edges {
        for sql in [
            "DELETE FROM past WHERE id = ?1 AND branch = ?2",
            "DELETE FROM inodes WHERE id = ?1 AND branch = ?2",
        ] {
            tx.prepare_cached(sql)
                .and_then(|mut stmt| stmt.execute(params![row, view.branch]))
                .doing("forgetting an inode")?;
        }
    }
    let Some((ino, is_symlink)) = traces.inode else { return Ok(operations) };
    for sql in [
        "DELETE FROM xattrs WHERE id = ?1 AND branch = ?2",
        "DELETE FROM past_xattrs WHERE id = ?1 AND branch = ?2",
    ] {
        tx.prepare_cached(sql)
            .and_then(|mut stmt| stmt.execute(params![ino, view.branch]))
            .doing("forgetting an inode's extended attributes")?;
    }
    if is_symlink {
        tx.prepare_cached("DELETE FROM symlinks WHERE id = ?1")
            .and_then(|mut stmt| stmt.execute([ino]))
            .doing("forgetting a symbolic link")?;
    }
    Ok(operations)
}

/// The inode's own edge and its further ones, live or not.
pub(super) fn edges_of(tx: &Tx<'_>, view: &View, ino: Ino) -> Result<Vec<Edge>, DbError> {
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
fn is_remembered(tx: &Tx<'_>, view: &View, ino: Ino) -> Result<bool, DbError> {
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM inodes
                        WHERE replaces = ?1 AND branch = ?2 AND replaces IS NOT NULL)
             OR EXISTS (SELECT 1 FROM past
                        WHERE parent = ?1 AND branch = ?2 AND parent > 0)",
    )
    .and_then(|mut stmt| stmt.query_row(params![ino, view.branch], |row| row.get(0)))
    .doing("asking who remembers an inode")
}

fn past_versions(
    tx: &Tx<'_>,
    view: &View,
    row: Ino,
) -> Result<Vec<(Stamp, Option<BlobNumber>)>, DbError> {
    tx.prepare_cached("SELECT since, actor, blob FROM past WHERE id = ?1 AND branch = ?2")
        .and_then(|mut stmt| {
            stmt.query_map(params![row, view.branch], |row| {
                Ok((Stamp { hlc: row.get(0)?, actor: row.get(1)? }, row.get(2)?))
            })?
            .collect()
        })
        .doing("finding past versions of an inode")
}

fn xattr_versions(tx: &Tx<'_>, view: &View, ino: Ino) -> Result<Vec<Stamp>, DbError> {
    tx.prepare_cached(
        "SELECT since, actor FROM xattrs WHERE id = ?1 AND branch = ?2
         UNION ALL SELECT since, actor FROM past_xattrs WHERE id = ?1 AND branch = ?2",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![ino, view.branch], |row| {
            Ok(Stamp { hlc: row.get(0)?, actor: row.get(1)? })
        })?
        .collect()
    })
    .doing("finding versions of extended attributes")
}
