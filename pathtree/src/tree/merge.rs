//! Merging: what one branch changed since both last knew the same, applied to another.
//!
//! What a branch knows is how far it has seen each branch: its own, what it was forked from, and
//! what was merged into it. What the other knows beyond that are the changes to apply, so a merge
//! costs what changed, and the newest that both know is the [`Base`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::{
    Applied, Bytes, Favour, NewOperation, TreeError, View,
    alike::brought_together,
    apply::{Delta, FindRow, LedTo, Side, XattrDelta, apply},
    base::Base,
    operation::{store_operation, undone_by},
    row::{counted_row, row, rows_to},
    still::hold_still,
    xattr, xattr_names,
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BranchNumber, Hlc, Ino, OperationId},
};

/// What is to be merged.
#[derive(Clone, Copy, Debug)]
pub struct Merge<'a> {
    /// The branch (or snapshot) to take changes from.
    pub from: &'a View,
    /// The branch to apply them to.
    pub into: &'a View,
    /// Which side shows where both changed the same.
    pub favour: Favour,
    /// Who merges, as the operation log shows it.
    pub who: &'a str,
    /// What is done, as the operation log shows it.
    pub what: &'a str,
}

/// Why two branches can not be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// It is the same branch.
    #[error("a branch can not be merged into itself")]
    IntoItself,
    /// They are of different buckets.
    #[error("branches of different buckets can not be merged")]
    OtherBucket,
    /// The tree refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// How far a branch has seen each branch.
type Knowledge = BTreeMap<BranchNumber, Hlc>;

/// Merges one branch into another.
///
/// Merging again without changes in between does nothing.
///
/// # Errors
///
/// [`MergeError::IntoItself`], [`MergeError::OtherBucket`], or the database's.
pub fn merge(tx: &Tx<'_>, merge: &Merge<'_>, bytes: &Bytes<'_>) -> Result<Applied, MergeError> {
    let Merge { from, into, favour, .. } = *merge;
    if from.branch == into.branch {
        return Err(MergeError::IntoItself);
    }
    if from.bucket != into.bucket {
        return Err(MergeError::OtherBucket);
    }
    let first = tx.next_stamp();
    let ours = knowledge(tx, into.branch, first.hlc)?;
    let through = from.levels()[0].through.min(first.hlc);
    let theirs = knowledge(tx, from.branch, through)?;
    let base = base_of(tx, &ours, &theirs)?;
    let deltas = deltas(tx, (from, &base), (&ours, &theirs))?;
    if deltas.is_empty() {
        return Ok(Applied::default());
    }
    let new = NewOperation { who: merge.who, what: merge.what };
    let operation = store_operation(tx, into, first, &new)?;
    let origin = |tx: &Tx<'_>, ino: Ino| row(tx, from, ino);
    let at_base = |tx: &Tx<'_>, ino: Ino| base.row(tx, ino);
    let (origin, at_base): (&FindRow<'_>, &FindRow<'_>) = (&origin, &at_base);
    let side = Side { origin, base: at_base, favour };
    let mut applied = apply(tx, into, operation, deltas, &side, bytes)?;
    applied.alike = brought_together(tx, into, operation)?;
    note(tx, into, from, (through, operation))?;
    // It is a base from now on, and this branch shows what is its: an operation that still runs
    // there must not replace it in place, nor leave no trace of it.
    hold_still(tx, from, through)?;
    Ok(applied)
}

fn note(
    tx: &Tx<'_>,
    into: &View,
    from: &View,
    (through, operation): (Hlc, OperationId),
) -> Result<(), DbError> {
    tx.prepare_cached(
        "INSERT INTO merges (branch, hlc, from_branch, through, operation)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut stmt| {
        let hlc = tx.next_stamp().hlc;
        stmt.execute(params![into.branch, hlc, from.branch, through, operation])
    })
    .doing("noting a merge")?;
    Ok(())
}

/// Returns what a branch knew at a reading.
fn knowledge(conn: &Connection, branch: BranchNumber, at: Hlc) -> Result<Knowledge, DbError> {
    let mut known = Knowledge::new();
    let mut left = vec![(branch, at)];
    while let Some((branch, through)) = left.pop() {
        if known.get(&branch).is_some_and(|known| *known >= through) {
            continue;
        }
        known.insert(branch, through);
        left.extend(inherited_and_merged(conn, branch, through)?);
    }
    Ok(known)
}

/// Returns what a branch was forked from, and what was merged into it up to a reading.
fn inherited_and_merged(
    conn: &Connection,
    branch: BranchNumber,
    through: Hlc,
) -> Result<Vec<(BranchNumber, Hlc)>, DbError> {
    type Merged = (BranchNumber, Hlc, Option<OperationId>);
    let found: Vec<Merged> = conn
        .prepare_cached(
            "SELECT parent, min(fork, ?2), NULL FROM branches
             WHERE number = ?1 AND parent IS NOT NULL
             UNION ALL
             SELECT from_branch, through, operation FROM merges WHERE branch = ?1 AND hlc <= ?2",
        )
        .and_then(|mut stmt| {
            stmt.query_map(params![branch, through], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect()
        })
        .doing("reading what a branch knows")?;
    let mut known = Vec::with_capacity(found.len());
    for (from, from_through, operation) in found {
        // A merge that was undone by then brought nothing.
        let is_undone = match operation {
            Some(operation) => undone_by(conn, operation, through)?.is_some(),
            None => false,
        };
        if !is_undone {
            known.push((from, from_through));
        }
    }
    Ok(known)
}

/// Returns the newest states that both know.
fn base_of(conn: &Connection, ours: &Knowledge, theirs: &Knowledge) -> Result<Base, DbError> {
    let both = ours.iter().filter_map(|(branch, our)| {
        let their = theirs.get(branch)?;
        Some((*branch, *our.min(their)))
    });
    let both: Vec<(BranchNumber, Hlc)> = both.collect();
    let mut states = Vec::new();
    for (branch, through) in &both {
        // What another common state knows already is older than that.
        let mut is_older = false;
        for (other, at) in both.iter().filter(|(other, _)| other != branch) {
            let known = knowledge(conn, *other, *at)?;
            is_older |= known.get(branch).is_some_and(|known| known >= through);
        }
        if !is_older {
            states.extend(View::of(conn, *branch)?.map(|view| view.at(*through)));
        }
    }
    Ok(Base { states })
}

/// Returns what the other branch changed beyond what ours knows.
fn deltas(
    tx: &Tx<'_>,
    (from, base): (&View, &Base),
    (ours, theirs): (&Knowledge, &Knowledge),
) -> Result<Vec<Delta>, DbError> {
    let mut ids = BTreeSet::new();
    for (branch, through) in theirs {
        let after = ours.get(branch).copied().unwrap_or(Hlc(0));
        ids.extend(changed(tx, *branch, after, *through)?);
    }
    // An edit may have to bring back a name that was removed on this side only.
    let mut links = BTreeSet::new();
    for id in &ids {
        let further = rows_to(tx, from, *id)?;
        links.extend(further.iter().filter(|link| link.is_live()).map(|link| link.id));
    }
    ids.append(&mut links);
    let mut deltas = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(theirs) = counted_row(tx, from, id)? else { continue };
        let led_to = match theirs.target {
            Some(ino) => {
                let rows = base.row(tx, ino)?.zip(row(tx, from, ino)?);
                rows.map(|(base, theirs)| LedTo { base, theirs })
            }
            None => None,
        };
        let mut names = base.xattr_names(tx, id)?;
        names.extend(xattr_names(tx, from, id)?);
        let mut xattrs = Vec::with_capacity(names.len());
        for name in names {
            let (base, theirs) = (base.xattr(tx, id, &name)?, xattr(tx, from, id, &name)?);
            xattrs.push(XattrDelta { name, base, theirs });
        }
        deltas.push(Delta { id, base: base.row(tx, id)?, theirs, whole: None, xattrs, led_to });
    }
    Ok(deltas)
}

fn changed(
    conn: &Connection,
    branch: BranchNumber,
    after: Hlc,
    through: Hlc,
) -> Result<Vec<Ino>, DbError> {
    conn.prepare_cached("SELECT id FROM change WHERE branch = ?1 AND hlc > ?2 AND hlc <= ?3")
        .and_then(|mut stmt| {
            stmt.query_map(params![branch, after, through], |row| row.get(0))?.collect()
        })
        .doing("reading what a branch changed")
}
