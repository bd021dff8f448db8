//! Forgetting what was removed, once nothing that is kept shows it.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::limits::{Limits, Place};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BlobNumber, BranchNumber, Hlc, Ino, OperationId},
    retention::Superseded,
    tree::{
        View,
        change::Facet,
        inode::{Edge, inode},
        purge::{Traces, delete_traces, edges_of},
        row::{Row, row_on},
    },
};

/// What went with something that is forgotten.
pub(super) struct Erased {
    /// Once for each version that held it.
    pub(super) blobs: Vec<BlobNumber>,
    /// Operations that had a part in it.
    pub(super) operations: BTreeSet<OperationId>,
}

/// Says whether a removed row shows nowhere that is kept, as soon as all is pruned that may go.
pub(super) fn may_be_erased(
    conn: &Connection,
    limits: &Limits<'_>,
    place: Place,
) -> Result<bool, DbError> {
    let Some(view) = limits.view(conn, place.branch)? else { return Ok(false) };
    let Some(row) = row_on(conn, place.branch, place.row)? else { return Ok(false) };
    // What an ancestor has would show again.
    if row.is_live() || row.id == view.root || view.inherits(row.born) {
        return Ok(false);
    }
    let mut ids = vec![row.id];
    if row.target.is_none() {
        if row.nlink != Some(0) || has_conflict(conn, place)? {
            return Ok(false);
        }
        ids.extend(links_to(conn, row.id)?);
    }
    for id in ids {
        let place = Place { row: id, ..place };
        let Some(row) = row_on(conn, place.branch, id)? else { return Ok(false) };
        if row.is_live()
            || is_elsewhere(conn, place)?
            || !limits.may_forget(conn, place, row.edge.version.hlc)?
            || !past_may_go(conn, limits, place)?
        {
            return Ok(false);
        }
    }
    were_in_it(conn, limits, &row)
}

/// Says whether all past versions of a row may go.
fn past_may_go(conn: &Connection, limits: &Limits<'_>, place: Place) -> Result<bool, DbError> {
    let past: Vec<(i64, Superseded)> = conn
        .prepare_cached(
            "SELECT facet, since, until FROM past WHERE id = ?1 AND branch = ?2
             UNION ALL
             SELECT 1, since, until FROM past_xattrs WHERE id = ?1 AND branch = ?2",
        )
        .and_then(|mut stmt| {
            stmt.query_map(params![place.row, place.branch], |row| {
                Ok((row.get(0)?, Superseded { since: row.get(1)?, until: row.get(2)? }))
            })?
            .collect()
        })
        .doing("reading what is left of something removed")?;
    for (facet, version) in past {
        if !limits.may_go_with_all(conn, place, Facet::of(facet), version)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Says whether all may go that remembers to have been in a directory.
fn were_in_it(conn: &Connection, limits: &Limits<'_>, row: &Row) -> Result<bool, DbError> {
    if !row.is_directory() {
        return Ok(true);
    }
    type Left = (Ino, BranchNumber, Hlc, Hlc);
    let left: Vec<Left> = conn
        .prepare_cached(
            "SELECT id, branch, since, until FROM past WHERE parent = ?1 AND parent > 0",
        )
        .and_then(|mut stmt| {
            stmt.query_map([row.id], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect()
        })
        .doing("finding what was in a removed directory")?;
    for (id, branch, since, until) in left {
        let version = Superseded { since, until };
        if !limits.may_go_with_all(conn, Place { branch, row: id }, Facet::Edge, version)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn links_to(conn: &Connection, ino: Ino) -> Result<Vec<Ino>, DbError> {
    conn.prepare_cached("SELECT id FROM inodes WHERE target = ?1")
        .and_then(|mut stmt| stmt.query_map([ino], |row| row.get(0))?.collect())
        .doing("finding the links of something removed")
}

fn is_elsewhere(conn: &Connection, place: Place) -> Result<bool, DbError> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM inodes WHERE id = ?1 AND branch <> ?2)")
        .and_then(|mut stmt| stmt.query_row(params![place.row, place.branch], |row| row.get(0)))
        .doing("asking whether another branch has a row")
}

fn has_conflict(conn: &Connection, place: Place) -> Result<bool, DbError> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM conflicts WHERE branch = ?2 AND id = ?1)")
        .and_then(|mut stmt| stmt.query_row(params![place.row, place.branch], |row| row.get(0)))
        .doing("asking for conflicts of something removed")
}

/// Erases a removed row that [`may_be_erased`], with its links; `None` where somebody has it open,
/// or something that should have gone before is still there.
pub(super) fn erase(
    tx: &Tx<'_>,
    view: &View,
    place: Place,
    is_held: &dyn Fn(BranchNumber, Ino) -> bool,
) -> Result<Option<Erased>, DbError> {
    let Some(row) = row_on(tx, place.branch, place.row)? else { return Ok(None) };
    if is_held(place.branch, row.ino())
        || has_past_in_it(tx, place)?
        || has_past_content(tx, place)?
    {
        return Ok(None);
    }
    let traces = if row.target.is_some() {
        let edge = Edge::of(&row);
        Traces::of_edges(tx, view, &[edge])?
    } else {
        let Some(inode) = inode(tx, view, row.id)? else { return Ok(None) };
        let edges = edges_of(tx, view, row.id)?;
        leave_chain(tx, &row)?;
        Traces::of_inode(tx, view, &inode, &edges)?
    };
    let operations = delete_traces(tx, view, &traces)?;
    Ok(Some(Erased { blobs: traces.blobs, operations }))
}

/// What took the name of an erased file took it from what that had taken it from.
fn leave_chain(tx: &Tx<'_>, row: &Row) -> Result<(), DbError> {
    tx.prepare_cached(
        "UPDATE inodes SET replaces = ?2 WHERE replaces = ?1 AND replaces IS NOT NULL",
    )
    .and_then(|mut stmt| stmt.execute(params![row.id, row.edge.replaces]))
    .doing("leaving a place in a chain of replaced files")?;
    Ok(())
}

fn has_past_in_it(tx: &Tx<'_>, place: Place) -> Result<bool, DbError> {
    tx.prepare_cached("SELECT EXISTS (SELECT 1 FROM past WHERE parent = ?1 AND parent > 0)")
        .and_then(|mut stmt| stmt.query_row([place.row], |row| row.get(0)))
        .doing("asking what was in a removed directory")
}

/// Says whether content of it is still to be pruned: that looks at what a power cut may need.
fn has_past_content(tx: &Tx<'_>, place: Place) -> Result<bool, DbError> {
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM past WHERE id = ?1 AND branch = ?2 AND facet = 2)",
    )
    .and_then(|mut stmt| stmt.query_row(params![place.row, place.branch], |row| row.get(0)))
    .doing("asking what is left of something removed")
}
