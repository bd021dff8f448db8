//! All versions of one facet of a row, as a view shows them.

use rusqlite::{Connection, params};

use super::{
    View,
    change::Facet,
    operation::operations,
    row::{Row, read_attributes, read_content, read_edge, row, row_on},
};
use crate::{
    db::{DbError, Doing as _},
    id::{Hlc, Ino, OperationId, Stamp},
    name::Name,
};

/// One version of one facet: a row that has it, whatever else it has.
pub(super) struct Version {
    pub(super) stamp: Stamp,
    pub(super) row: Row,
}

/// Returns the versions of a facet, newest first. `like` is what the view shows of the row.
pub(super) fn versions(
    conn: &Connection,
    view: &View,
    like: &Row,
    facet: Facet,
) -> Result<Vec<Version>, DbError> {
    let mut found: Vec<Version> = Vec::new();
    for level in view.levels() {
        if let Some(current) = row_on(conn, level.branch, like.id)?
            && let Some(stamp) = stamp_of(&current, facet)
            && stamp.hlc <= level.through
        {
            found.push(with(like, &current, facet, stamp));
        }
        let past = conn
            .prepare_cached(
                "SELECT since, actor, parent, name, replaces, mode, attr, size, blob, mtime_ns,
                        base, base_actor FROM past
                 WHERE id = ?1 AND branch = ?2 AND facet = ?3 AND since <= ?4",
            )
            .and_then(|mut stmt| {
                let key = params![like.id, level.branch, facet.number(), level.through];
                stmt.query_map(key, |row| {
                    let mut version = like.clone();
                    let stamp = Stamp { hlc: row.get(0)?, actor: row.get(1)? };
                    match facet {
                        Facet::Edge => version.edge = read_edge(row)?,
                        Facet::Attributes => version.attributes = Some(read_attributes(row)?),
                        Facet::Content => version.content = Some(read_content(row)?),
                    }
                    Ok(Version { stamp, row: version })
                })?
                .collect::<Result<Vec<_>, _>>()
            })
            .doing("reading the versions of a facet")?;
        found.extend(past);
    }
    // A branch's row may be a copy of what an ancestor has.
    found.sort_by_key(|version| std::cmp::Reverse(version.stamp));
    found.dedup_by_key(|version| version.stamp);
    Ok(found)
}

/// Returns a row with the place it had last, should it have none now.
pub(super) fn last_place(conn: &Connection, view: &View, id: Ino) -> Result<Option<Row>, DbError> {
    let Some(like) = row(conn, view, id)? else { return Ok(None) };
    if like.is_live() {
        return Ok(Some(like));
    }
    let places = versions(conn, view, &like, Facet::Edge)?;
    Ok(places.into_iter().map(|version| version.row).find(Row::is_live))
}

/// The version of a row's facet.
pub(super) fn stamp_of(row: &Row, facet: Facet) -> Option<Stamp> {
    match facet {
        Facet::Edge => Some(row.edge.version),
        Facet::Attributes => row.attributes.as_ref().map(|facet| facet.version),
        Facet::Content => row.content.as_ref().map(|facet| facet.version),
    }
}

fn with(like: &Row, from: &Row, facet: Facet, stamp: Stamp) -> Version {
    let mut row = like.clone();
    put(&mut row, from, facet);
    Version { stamp, row }
}

/// Gives a row another row's version of a facet.
pub(super) fn put(row: &mut Row, from: &Row, facet: Facet) {
    match facet {
        Facet::Edge => row.edge = from.edge.clone(),
        Facet::Attributes => row.attributes.clone_from(&from.attributes),
        Facet::Content => row.content.clone_from(&from.content),
    }
}

/// A row that an operation changed, and where its edge hung or hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedRow {
    /// The inode.
    pub ino: Ino,
    /// The directories and names that led to it.
    pub places: Vec<(Ino, Name)>,
}

/// Returns what the newest operation of a branch touched, for caches.
///
/// # Errors
///
/// A failed query.
pub fn touched_by_newest(conn: &Connection, view: &View) -> Result<Vec<TouchedRow>, DbError> {
    let newest = operations(conn, view, None, 1)?;
    let Some(newest) = newest.first() else { return Ok(Vec::new()) };
    let mut ids: Vec<Ino> =
        changed_by(conn, view, newest.id)?.into_iter().map(|(id, _)| id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut touched = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(like) = row(conn, view, id)? else { continue };
        let edges = versions(conn, view, &like, Facet::Edge)?;
        let place = |version: &Version| {
            let name = Name::from_bytes(&version.row.edge.name).ok()?;
            version.row.is_live().then_some((version.row.edge.parent, name))
        };
        // The one it has now, and the one it had before the operation.
        let mut places: Vec<(Ino, Name)> = edges.iter().take(3).filter_map(place).collect();
        places.dedup();
        touched.push(TouchedRow { ino: like.ino(), places });
    }
    Ok(touched)
}

/// Every facet, to go through all.
pub(super) const FACETS: [Facet; 3] = [Facet::Edge, Facet::Attributes, Facet::Content];

/// No operation lasts longer, in readings: ten minutes, and its last pause.
pub(super) const OPERATION_LENGTH_MAX: i64 = 605_000 << Hlc::COUNTER_BITS;

/// The inodes and links that the log names for an operation, oldest change first.
pub(super) fn changed_by(
    conn: &Connection,
    view: &View,
    operation: OperationId,
) -> Result<Vec<(Ino, Stamp)>, DbError> {
    let last = operation.0 + OPERATION_LENGTH_MAX;
    conn.prepare_cached(
        "SELECT id, hlc, actor FROM change
         WHERE branch = ?1 AND hlc >= ?2 AND hlc <= ?3 AND operation = ?2",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![view.branch, operation, last], |row| {
            Ok((row.get(0)?, Stamp { hlc: row.get(1)?, actor: row.get(2)? }))
        })?
        .collect()
    })
    .doing("reading what an operation changed")
}
