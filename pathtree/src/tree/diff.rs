//! What differs between two views of one bucket.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::{
    Inode, View,
    inode::inode,
    log::{Located, Places},
    row::row,
    view::NOW,
};
use crate::{
    db::{DbError, Doing as _},
    id::{BranchNumber, Hlc, Ino},
    name::Name,
};

/// Something in one of two views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Where it is.
    pub place: Located,
    /// What it is.
    pub inode: Inode,
}

/// Something that differs between two views: it is in both and not the same, or in one only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// In the first view.
    pub one: Option<Side>,
    /// In the second.
    pub other: Option<Side>,
}

impl Difference {
    /// Says whether it has another name or is in another directory.
    pub fn is_moved(&self) -> bool {
        let place = |side: &Option<Side>| side.as_ref().map(|side| side.place.names.clone());
        self.one.is_some() && self.other.is_some() && place(&self.one) != place(&self.other)
    }

    /// Says whether its bytes may be others: two versions can have the same bytes in two places.
    pub fn may_differ_in_content(&self) -> bool {
        let content = |side: &Option<Side>| {
            side.as_ref()
                .filter(|side| !side.inode.is_directory())
                .map(|side| (side.inode.blob, side.inode.size))
        };
        content(&self.one) != content(&self.other)
    }

    /// Says whether its type, permissions or owners are others.
    pub fn differs_in_attributes(&self) -> bool {
        let attributes = |side: &Option<Side>| {
            side.as_ref().map(|side| (side.inode.mode, side.inode.attr.uid, side.inode.attr.gid))
        };
        attributes(&self.one) != attributes(&self.other)
    }

    fn path(&self) -> &[Name] {
        let side = self.other.as_ref().or(self.one.as_ref());
        side.map_or(&[], |side| &side.place.names)
    }
}

/// Returns what differs between two views of one bucket, by path; of a directory that moved only
/// that. Costs what was changed on either since they showed the same, whatever the tree's size.
///
/// # Errors
///
/// A failed query.
pub fn differences(
    conn: &Connection,
    one: &View,
    other: &View,
) -> Result<Vec<Difference>, DbError> {
    let ids = changed_apart(conn, one, other)?;
    let (mut in_one, mut in_other) = (Places::new(conn, one), Places::new(conn, other));
    let mut found = Vec::new();
    for id in ids {
        let difference = Difference {
            one: side(conn, one, id, &mut in_one)?,
            other: side(conn, other, id, &mut in_other)?,
        };
        found.push(difference);
    }
    let mut found = paired(found);
    found.retain(|difference| {
        difference.one.is_some() != difference.other.is_some()
            || difference.is_moved()
            || difference.may_differ_in_content()
            || difference.differs_in_attributes()
    });
    found.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(found)
}

/// Returns the rows of which only one of two views shows the newest change, each once.
///
/// # Errors
///
/// A failed query.
pub fn changed_apart(
    conn: &Connection,
    one: &View,
    other: &View,
) -> Result<BTreeSet<Ino>, DbError> {
    let mut ids = BTreeSet::new();
    for (branch, (from, to)) in ranges(one, other) {
        ids.extend(changed_between(conn, branch, from, to)?);
    }
    Ok(ids)
}

/// Which readings of each branch only one of the views shows.
fn ranges(one: &View, other: &View) -> BTreeMap<BranchNumber, (Hlc, Hlc)> {
    let through = |view: &View, branch| {
        view.levels().iter().find(|level| level.branch == branch).map_or(Hlc(0), |at| at.through)
    };
    let branches = one.levels().iter().chain(other.levels()).map(|level| level.branch);
    branches
        .map(|branch| {
            let (a, b) = (through(one, branch), through(other, branch));
            (branch, (a.min(b), a.max(b)))
        })
        .collect()
}

fn changed_between(
    conn: &Connection,
    branch: BranchNumber,
    from: Hlc,
    to: Hlc,
) -> Result<Vec<Ino>, DbError> {
    conn.prepare_cached("SELECT id FROM change WHERE branch = ?1 AND hlc > ?2 AND hlc <= ?3")
        .and_then(|mut stmt| stmt.query_map(params![branch, from, to], |row| row.get(0))?.collect())
        .doing("reading what changed on a branch")
}

/// Returns what a row is in a view; `None` where it hangs nowhere.
fn side(
    conn: &Connection,
    view: &View,
    id: Ino,
    places: &mut Places<'_>,
) -> Result<Option<Side>, DbError> {
    let Some(place) = places.place(id, NOW)? else { return Ok(None) };
    let Some(ino) = row(conn, view, id)?.map(|row| row.ino()) else { return Ok(None) };
    Ok(inode(conn, view, ino)?.map(|inode| Side { place, inode }))
}

/// Makes one difference of what left a path and what is there instead: so do editors save.
fn paired(found: Vec<Difference>) -> Vec<Difference> {
    let mut came: BTreeMap<Vec<Name>, Side> = BTreeMap::new();
    let mut rest = Vec::with_capacity(found.len());
    for difference in found {
        match difference {
            Difference { one: None, other: Some(side) } => {
                came.insert(side.place.names.clone(), side);
            }
            Difference { one: None, other: None } => {}
            both => rest.push(both),
        }
    }
    for difference in &mut rest {
        if difference.other.is_none()
            && let Some(one) = &difference.one
        {
            difference.other = came.remove(&one.place.names);
        }
    }
    rest.extend(came.into_values().map(|side| Difference { one: None, other: Some(side) }));
    rest
}
