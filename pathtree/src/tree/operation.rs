//! Operations: what one command, or one burst on a mount, did.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{View, versions::changed_by, view::NOW};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{ActorNumber, BranchNumber, Hlc, OperationId, Stamp},
};

/// An operation about to make its first change.
#[derive(Clone, Debug)]
pub struct NewOperation<'a> {
    /// Who: a user and session, as the operation log shows them.
    pub who: &'a str,
    /// What: `mount`, or the command.
    pub what: &'a str,
}

/// An operation of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id: when it began.
    pub id: OperationId,
    /// Which run of which node did it.
    pub actor: ActorNumber,
    /// Who, as [`NewOperation::who`].
    pub who: String,
    /// What, as [`NewOperation::what`].
    pub what: String,
    /// The operation that it undid, if it is an undo (or a redo, which undoes an undo).
    pub undoes: Option<OperationId>,
    /// The operation in force that undid it.
    pub undone_by: Option<OperationId>,
    /// A part of what it did, or of what was before it, was pruned.
    pub pruned: bool,
}

/// Stores the operation that begins with `first` and returns its id.
///
/// # Errors
///
/// A failed statement.
pub fn store_operation(
    tx: &Tx<'_>,
    view: &View,
    first: Stamp,
    new: &NewOperation<'_>,
) -> Result<OperationId, DbError> {
    store(tx, view, first, new, None)
}

/// The same for an operation that undoes another one.
pub(super) fn store_operation_undoing(
    tx: &Tx<'_>,
    view: &View,
    first: Stamp,
    new: &NewOperation<'_>,
    undoes: OperationId,
) -> Result<OperationId, DbError> {
    store(tx, view, first, new, Some(undoes))
}

fn store(
    tx: &Tx<'_>,
    view: &View,
    first: Stamp,
    new: &NewOperation<'_>,
    undoes: Option<OperationId>,
) -> Result<OperationId, DbError> {
    let id = i64::try_from(first.hlc.0).map(OperationId).expect("48 bits of ms stay below 2^63");
    tx.prepare_cached(
        "INSERT INTO operations (id, branch, actor, who, what, undoes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![id, view.branch, first.actor, new.who, new.what, undoes])
    })
    .doing("beginning an operation")?;
    Ok(id)
}

macro_rules! operation_columns {
    () => {
        "o.id, o.actor, o.who, o.what, o.undoes, o.pruned"
    };
}

/// Returns an operation of the view's own branch.
///
/// # Errors
///
/// A failed query.
pub fn operation(
    conn: &Connection,
    view: &View,
    id: OperationId,
) -> Result<Option<Operation>, DbError> {
    let found = conn
        .prepare_cached(concat!(
            "SELECT ",
            operation_columns!(),
            " FROM operations AS o WHERE o.id = ?1 AND o.branch = ?2"
        ))
        .and_then(|mut stmt| stmt.query_row(params![id, view.branch], read).optional())
        .doing("reading an operation")?;
    found.map(|found| with_undone_by(conn, found)).transpose()
}

/// Returns up to `count_max` operations of the view's own branch that began before `before`,
/// newest first.
///
/// # Errors
///
/// A failed query.
pub fn operations(
    conn: &Connection,
    view: &View,
    before: Option<OperationId>,
    count_max: u32,
) -> Result<Vec<Operation>, DbError> {
    let found: Vec<Operation> = conn
        .prepare_cached(concat!(
            "SELECT ",
            operation_columns!(),
            " FROM operations AS o WHERE o.id < ?1 AND o.id > 0 AND o.branch = ?2
             ORDER BY o.id DESC LIMIT ?3"
        ))
        .and_then(|mut stmt| {
            let before = before.map_or(i64::MAX, |before| before.0);
            stmt.query_map(params![before, view.branch, count_max], read)?.collect()
        })
        .doing("listing operations")?;
    found.into_iter().map(|found| with_undone_by(conn, found)).collect()
}

/// The newest operation of the branch that is in force and is neither undo nor redo.
pub(super) fn newest_to_undo(
    conn: &Connection,
    view: &View,
) -> Result<Option<OperationId>, DbError> {
    find_newest(conn, view, |one| {
        let may_be = one.undoes.is_none() && one.what != "recover";
        Ok(may_be && changed_anything(conn, view, one.id)?)
    })
}

/// The newest undo of the branch that is in force and is no redo.
pub(super) fn newest_to_redo(
    conn: &Connection,
    view: &View,
) -> Result<Option<OperationId>, DbError> {
    // Also one that put nothing back: it may have opened a conflict, or made a merge void.
    find_newest(conn, view, |one| Ok(one.undoes.is_some() && one.what == "undo"))
}

fn find_newest(
    conn: &Connection,
    view: &View,
    is_it: impl Fn(&Operation) -> Result<bool, DbError>,
) -> Result<Option<OperationId>, DbError> {
    const PAGE: u32 = 64;
    let mut before = None;
    loop {
        let page = operations(conn, view, before, PAGE)?;
        let Some(last) = page.last() else { return Ok(None) };
        before = Some(last.id);
        for one in page {
            if one.undone_by.is_none() && is_it(&one)? {
                return Ok(Some(one.id));
            }
        }
    }
}

/// What an operation did may have left no trace, or was the birth of the bucket; a merge counts, and
/// the decision of a conflict.
fn changed_anything(conn: &Connection, view: &View, id: OperationId) -> Result<bool, DbError> {
    let changed = changed_by(conn, view, id)?;
    if changed.iter().any(|(ino, _)| *ino != view.root) || changed.len() > 1 {
        return Ok(true);
    }
    if merged_from(conn, view.branch, id)?.is_some() {
        return Ok(true);
    }
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM resolutions WHERE operation = ?1)")
        .and_then(|mut stmt| stmt.query_row([id], |row| row.get(0)))
        .doing("asking whether an operation decided a conflict")
}

/// Returns the branch (or snapshot) that an operation of `branch` merged into it; `None` of every
/// operation that was no merge.
///
/// # Errors
///
/// A failed query.
pub fn merged_from(
    conn: &Connection,
    branch: BranchNumber,
    operation: OperationId,
) -> Result<Option<BranchNumber>, DbError> {
    Ok(merge_of(conn, branch, operation)?.map(|(from, _)| from))
}

/// Returns the branch that a merge took from, and up to which reading.
pub(super) fn merge_of(
    conn: &Connection,
    branch: BranchNumber,
    operation: OperationId,
) -> Result<Option<(BranchNumber, Hlc)>, DbError> {
    // A merge is noted right after its last change: nothing before its id, and little after.
    conn.prepare_cached(
        "SELECT from_branch, through FROM merges WHERE branch = ?1 AND hlc >= ?2 AND operation = ?2
         ORDER BY hlc LIMIT 1",
    )
    .and_then(|mut stmt| {
        stmt.query_row(params![branch, operation], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    })
    .doing("asking whether an operation was a merge")
}

fn with_undone_by(conn: &Connection, found: Operation) -> Result<Operation, DbError> {
    let undone_by = undone_by(conn, found.id, NOW)?;
    Ok(Operation { undone_by, ..found })
}

/// Returns the operation that had undone this one by a reading and was not undone itself by then.
pub(super) fn undone_by(
    conn: &Connection,
    id: OperationId,
    through: Hlc,
) -> Result<Option<OperationId>, DbError> {
    let undos: Vec<OperationId> = conn
        .prepare_cached(
            "SELECT id FROM operations WHERE undoes = ?1 AND undoes IS NOT NULL AND id <= ?2",
        )
        .and_then(|mut stmt| stmt.query_map(params![id, through], |row| row.get(0))?.collect())
        .doing("asking whether an operation is undone")?;
    for undo in undos {
        if undone_by(conn, undo, through)?.is_none() {
            return Ok(Some(undo));
        }
    }
    Ok(None)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Operation> {
    Ok(Operation {
        id: row.get(0)?,
        actor: row.get(1)?,
        who: row.get(2)?,
        what: row.get(3)?,
        undoes: row.get(4)?,
        undone_by: None,
        pruned: row.get(5)?,
    })
}
