//! Undo: a new operation that puts back what an operation changed, and leaves alone what came after.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::{
    Applied, Bytes, Favour, NewOperation, TreeError, View,
    apply::{Delta, LedTo, Side, XattrDelta, apply},
    change::Facet,
    conflict::refresh_conflicts,
    operation::{merged_from, newest_to_redo, newest_to_undo, operation, store_operation_undoing},
    row::{Row, row},
    versions::{FACETS, Version, changed_by, last_place, put, versions},
    xattr,
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{Hlc, Ino, OperationId, Stamp},
};

/// Why an operation can not be undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// There is none of that id on this branch.
    #[error("there is no operation {0} on this branch")]
    NotFound(OperationId),
    /// There is nothing to undo or redo.
    #[error("there is nothing left to {what}")]
    Nothing {
        /// `undo` or `redo`.
        what: &'static str,
    },
    /// It is undone already.
    #[error("operation {operation} was undone by {by} already")]
    Already {
        /// Which.
        operation: OperationId,
        /// What undid it.
        by: OperationId,
    },
    /// What was before it is not known any more.
    #[error("operation {0} can not be undone: versions that it takes were pruned")]
    Pruned(OperationId),
    /// A merge was to be taken back, and the newest operation is none.
    #[error("the last operation, {0}, is no merge")]
    NotAMerge(OperationId),
    /// The tree refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// What was undone, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The operation that was undone.
    pub operation: OperationId,
    /// The operation that did it.
    pub by: OperationId,
    /// What changed for that.
    pub applied: Applied,
}

/// Undoes an operation; `None` is the newest of the branch that is in force and is no undo itself.
///
/// What came after it and touches nothing of it stays; where both touch one thing, what came after
/// shows and the other is a conflict. Undoing an undo is redoing.
///
/// # Errors
///
/// [`UndoError::NotFound`], [`UndoError::Already`], [`UndoError::Nothing`], [`UndoError::Pruned`],
/// or the database's.
pub fn undo(
    tx: &Tx<'_>,
    view: &View,
    which: Option<OperationId>,
    who: &str,
    bytes: &Bytes<'_>,
) -> Result<Undone, UndoError> {
    let target = match which {
        Some(id) => id,
        None => newest_to_undo(tx, view)?.ok_or(UndoError::Nothing { what: "undo" })?,
    };
    put_back(tx, view, target, &NewOperation { who, what: "undo" }, bytes)
}

/// Undoes the newest operation of the branch that is in force, which must be a merge.
///
/// # Errors
///
/// [`UndoError::NotAMerge`], and those of [`undo`].
pub fn abort_merge(
    tx: &Tx<'_>,
    view: &View,
    who: &str,
    bytes: &Bytes<'_>,
) -> Result<Undone, UndoError> {
    let target = newest_to_undo(tx, view)?.ok_or(UndoError::Nothing { what: "abort" })?;
    if merged_from(tx, view.branch, target)?.is_none() {
        return Err(UndoError::NotAMerge(target));
    }
    put_back(tx, view, target, &NewOperation { who, what: "undo" }, bytes)
}

/// Redoes what an undo undid; `None` is the newest undo that is in force.
///
/// # Errors
///
/// As [`undo`].
pub fn redo(
    tx: &Tx<'_>,
    view: &View,
    which: Option<OperationId>,
    who: &str,
    bytes: &Bytes<'_>,
) -> Result<Undone, UndoError> {
    let undone_by = match which {
        Some(id) => operation(tx, view, id)?.ok_or(UndoError::NotFound(id))?.undone_by,
        None => newest_to_redo(tx, view)?,
    };
    let target = undone_by.ok_or(UndoError::Nothing { what: "redo" })?;
    put_back(tx, view, target, &NewOperation { who, what: "redo" }, bytes)
}

fn put_back(
    tx: &Tx<'_>,
    view: &View,
    target: OperationId,
    new: &NewOperation<'_>,
    bytes: &Bytes<'_>,
) -> Result<Undone, UndoError> {
    let found = operation(tx, view, target)?.ok_or(UndoError::NotFound(target))?;
    if let Some(by) = found.undone_by {
        return Err(UndoError::Already { operation: target, by });
    }
    if found.pruned {
        return Err(UndoError::Pruned(target));
    }
    let deltas = deltas_of(tx, view, target)?;
    let by = store_operation_undoing(tx, view, tx.next_stamp(), new, target)?;
    let origin = |tx: &Tx<'_>, ino: Ino| last_place(tx, view, ino);
    let base = |_: &Tx<'_>, _: Ino| Ok(None);
    let side = Side { origin: &origin, base: &base, favour: Favour::Newest };
    let applied = apply(tx, view, by, deltas, &side, bytes)?;
    // What an undo had undone is in force again, and so on.
    let mut touched = Some(found);
    while let Some(one) = touched {
        refresh_conflicts(tx, one.id)?;
        touched = one.undoes.map(|id| operation(tx, view, id)).transpose()?.flatten();
    }
    Ok(Undone { operation: target, by, applied })
}

/// Returns what an operation changed: as it left it, and as it was before.
fn deltas_of(tx: &Tx<'_>, view: &View, operation: OperationId) -> Result<Vec<Delta>, DbError> {
    let mut changed: BTreeMap<Ino, BTreeSet<Stamp>> = BTreeMap::new();
    let mut last = Hlc(0);
    for (id, stamp) in changed_by(tx, view, operation)? {
        changed.entry(id).or_default().insert(stamp);
        last = last.max(stamp.hlc);
    }
    let mut deltas = Vec::with_capacity(changed.len());
    for (id, stamps) in changed {
        // What leaves no history is not there to be put back.
        let Some(like) = row(tx, view, id)? else { continue };
        let (mut base, mut theirs) = (like.clone(), like.clone());
        let mut whole = like.clone();
        let through = stamps.last().map_or(Hlc(0), |stamp| stamp.hlc);
        let mut is_created = false;
        for facet in FACETS {
            let versions = versions(tx, view, &like, facet)?;
            let Some((after, before)) = around(&versions, &stamps) else {
                if let Some(then) = versions.iter().find(|one| one.stamp.hlc <= through) {
                    put(&mut whole, &then.row, facet);
                }
                continue;
            };
            put(&mut whole, before.map_or(&after.row, |before| &before.row), facet);
            put(&mut base, &after.row, facet);
            match before {
                Some(before) => put(&mut theirs, &before.row, facet),
                // It was created: before there was no place, and the rest counts for nothing.
                None => put(&mut theirs, &after.row, facet),
            }
            if before.is_none() && facet == Facet::Edge {
                theirs.edge.parent = Ino::NOWHERE;
                is_created = true;
            }
        }
        // Should it stay because of what came later, it stays with all that it has.
        let xattrs = if is_created { Vec::new() } else { xattrs_of(tx, view, id, &stamps)? };
        deltas.push(Delta {
            id,
            base: Some(base),
            theirs,
            whole: Some(whole),
            xattrs,
            led_to: None,
        });
    }
    for at in 0..deltas.len() {
        let Some(ino) = deltas[at].theirs.target else { continue };
        let same =
            |delta: &Delta| Some(LedTo { base: delta.base.clone()?, theirs: delta.theirs.clone() });
        deltas[at].led_to = match deltas.binary_search_by_key(&ino, |delta| delta.id) {
            Ok(there) => same(&deltas[there]),
            Err(_) => {
                content_by(tx, view, ino, last)?.map(|row| LedTo { base: row.clone(), theirs: row })
            }
        };
    }
    Ok(deltas)
}

/// Returns an inode with the content that it had at a reading.
fn content_by(tx: &Tx<'_>, view: &View, ino: Ino, through: Hlc) -> Result<Option<Row>, DbError> {
    let Some(like) = row(tx, view, ino)? else { return Ok(None) };
    let contents = versions(tx, view, &like, Facet::Content)?;
    Ok(contents.into_iter().find(|version| version.stamp.hlc <= through).map(|version| version.row))
}

/// Of versions, newest first: the newest that has one of the stamps, and the newest before it that
/// has none of them.
fn around<'a>(
    versions: &'a [Version],
    stamps: &BTreeSet<Stamp>,
) -> Option<(&'a Version, Option<&'a Version>)> {
    let newest = versions.iter().position(|version| stamps.contains(&version.stamp))?;
    let before = versions[newest..].iter().find(|version| !stamps.contains(&version.stamp));
    Some((&versions[newest], before))
}

fn xattrs_of(
    tx: &Tx<'_>,
    view: &View,
    id: Ino,
    stamps: &BTreeSet<Stamp>,
) -> Result<Vec<XattrDelta>, DbError> {
    type Value = (Stamp, Option<Vec<u8>>);
    let values: Vec<(Vec<u8>, Value)> = tx
        .prepare_cached(
            "SELECT name, since, actor, value FROM xattrs WHERE id = ?1 AND branch = ?2
             UNION ALL
             SELECT name, since, actor, value FROM past_xattrs WHERE id = ?1 AND branch = ?2",
        )
        .and_then(|mut stmt| {
            stmt.query_map(params![id, view.branch], |row| {
                let stamp = Stamp { hlc: row.get(1)?, actor: row.get(2)? };
                Ok((row.get(0)?, (stamp, row.get(3)?)))
            })?
            .collect()
        })
        .doing("reading the versions of extended attributes")?;
    let mut by_name: BTreeMap<Vec<u8>, Vec<Value>> = BTreeMap::new();
    for (name, value) in values {
        by_name.entry(name).or_default().push(value);
    }
    let mut deltas = Vec::new();
    for (name, mut versions) in by_name {
        versions.sort_by_key(|(stamp, _)| std::cmp::Reverse(*stamp));
        let is_own = |(stamp, _): &Value| stamps.contains(stamp);
        let Some(newest) = versions.iter().position(is_own) else { continue };
        let before = versions[newest..].iter().find(|version| !is_own(version));
        let theirs = match (before, view.inherited()) {
            (Some((_, value)), _) => value.clone(),
            (None, Some(inherited)) => xattr(tx, &inherited, id, &name)?,
            (None, None) => None,
        };
        let base = versions[newest].1.clone();
        deltas.push(XattrDelta { name, base, theirs });
    }
    Ok(deltas)
}
