//! The history of one thing, and what had a path last.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Inode, View,
    inode::{edge, inode, lookup, names},
    log::{Event, Places, logged},
    row::{row, rows_to},
    versions::last_place,
    view::Level,
};
use crate::{
    db::{DbError, Doing as _},
    id::{BranchNumber, Hlc, Ino, Stamp},
    name::Name,
};

/// Returns every version of a file or directory that the view shows, newest first: its own, those
/// of its further hard links, and those of the files that it replaced, which editors save by
/// renaming a new file over.
///
/// That a file was removed because its successor took its name is not among them.
///
/// # Errors
///
/// A failed query.
pub fn history(conn: &Connection, view: &View, ino: Ino) -> Result<Vec<Event>, DbError> {
    let mut versions = BTreeSet::new();
    let mut replaced = BTreeSet::new();
    let mut waiting = vec![ino];
    let mut seen = BTreeSet::from([ino]);
    while let Some(ino) = waiting.pop() {
        let mut ids: Vec<Ino> = rows_to(conn, view, ino)?.iter().map(|link| link.id).collect();
        ids.push(ino);
        for id in ids {
            for level in view.levels() {
                versions.extend(stamps(conn, level, id)?.into_iter().map(|stamp| (stamp, id)));
                for old in replaced_by(conn, level, id)? {
                    replaced.insert(old);
                    if seen.insert(old) {
                        waiting.push(old);
                    }
                }
            }
        }
    }
    let mut events = told(conn, view, versions)?;
    // Edges only: the same operation may have written to it before.
    let was_replaced = |event: &Event| {
        let what = event.what;
        let edge_only = what.edge() && !what.content() && !what.created() && !what.attributes();
        edge_only && event.is.is_none() && event.ino != ino && replaced.contains(&event.ino)
    };
    events.retain(|event| !was_replaced(event));
    Ok(events)
}

/// Returns what the versions did, newest first: those of one operation together, but each content
/// on its own.
fn told(
    conn: &Connection,
    view: &View,
    versions: BTreeSet<(Stamp, Ino)>,
) -> Result<Vec<Event>, DbError> {
    let mut places = Places::new(conn, view);
    let mut events: Vec<Event> = Vec::with_capacity(versions.len());
    for (stamp, id) in versions.into_iter().rev() {
        places.forget();
        let Some(logged) = logged(conn, view, id, stamp)? else { continue };
        let newer = events.iter().rposition(|event| event.logged.row == id);
        let newer = newer.filter(|&nth| events[nth].logged.operation == logged.operation);
        let both_content = |nth: usize| events[nth].what.content() && logged.what.content();
        if let Some(nth) = newer.filter(|&nth| !both_content(nth)) {
            places.extend(&mut events[nth], logged)?;
        } else if let Some(event) = places.event(logged)? {
            events.push(event);
        } else if let Some(nth) = newer {
            places.extend(&mut events[nth], logged)?;
        }
    }
    Ok(events)
}

/// Says whether a file is another one, or replaced it, or replaced what replaced it, and so on.
///
/// # Errors
///
/// A failed query.
pub fn succeeds(conn: &Connection, view: &View, ino: Ino, other: Ino) -> Result<bool, DbError> {
    Ok(predecessors(conn, view, ino)?.contains(&other))
}

/// Returns what a file or directory has become: itself while it has a name, else the file that took
/// its last name and its history with it, as editors save. `None` where it was removed.
///
/// # Errors
///
/// A failed query.
pub fn successor(conn: &Connection, view: &View, ino: Ino) -> Result<Option<Inode>, DbError> {
    let found = inode(conn, view, ino)?.filter(|found| found.nlink > 0);
    if found.is_some() {
        return Ok(found);
    }
    let Some(was) = last_place(conn, view, ino)? else { return Ok(None) };
    let Ok(name) = Name::from_bytes(&was.edge.name) else { return Ok(None) };
    match lookup(conn, view, was.edge.parent, &name)? {
        Some(there) if succeeds(conn, view, there.ino, ino)? => Ok(Some(there)),
        _ => Ok(None),
    }
}

/// Returns where a file or directory hangs, or what it has [become](successor); else where it hung
/// last. Of several names it is the first.
///
/// # Errors
///
/// A failed query.
pub fn last_place_of(
    conn: &Connection,
    view: &View,
    ino: Ino,
) -> Result<Option<(Ino, Name)>, DbError> {
    if let Some(found) = successor(conn, view, ino)?
        && let Some(place) = names(conn, view, found.ino)?.into_iter().next()
    {
        return Ok(Some(place));
    }
    let was = last_place(conn, view, ino)?;
    Ok(was.and_then(|was| Some((was.edge.parent, Name::from_bytes(&was.edge.name).ok()?))))
}

/// Returns a file and all whose names it took, directly or not.
pub(super) fn predecessors(
    conn: &Connection,
    view: &View,
    ino: Ino,
) -> Result<BTreeSet<Ino>, DbError> {
    let mut waiting = vec![ino];
    let mut seen = BTreeSet::from([ino]);
    while let Some(next) = waiting.pop() {
        for level in view.levels() {
            for old in replaced_by(conn, level, next)? {
                if seen.insert(old) {
                    waiting.push(old);
                }
            }
        }
    }
    Ok(seen)
}

/// Returns the stamps of the versions that a row has on a branch.
fn stamps(conn: &Connection, level: &Level, id: Ino) -> Result<Vec<Stamp>, DbError> {
    conn.prepare_cached(
        "SELECT iif(e_since = 0, born, e_since) AS since, iif(e_since = 0, born_actor, e_actor)
         FROM inodes WHERE id = ?1 AND branch = ?2 AND iif(e_since = 0, born, e_since) <= ?3
         UNION ALL SELECT iif(a_since = 0, born, a_since), iif(a_since = 0, born_actor, a_actor)
         FROM inodes WHERE id = ?1 AND branch = ?2 AND iif(a_since = 0, born, a_since) <= ?3
         UNION ALL SELECT iif(c_since = 0, born, c_since), iif(c_since = 0, born_actor, c_actor)
         FROM inodes WHERE id = ?1 AND branch = ?2 AND iif(c_since = 0, born, c_since) <= ?3
         UNION ALL SELECT born, born_actor
         FROM inodes WHERE id = ?1 AND branch = ?2 AND born <= ?3
         UNION ALL SELECT since, actor FROM past WHERE id = ?1 AND branch = ?2 AND since <= ?3
         UNION ALL SELECT since, actor FROM xattrs WHERE id = ?1 AND branch = ?2 AND since <= ?3
         UNION ALL SELECT since, actor FROM past_xattrs WHERE id = ?1 AND branch = ?2 AND since <= ?3",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![id, level.branch, level.through], |row| {
            Ok(Stamp { hlc: row.get(0)?, actor: row.get(1)? })
        })?
        .collect()
    })
    .doing("finding the versions of a row")
}

/// Returns the inodes whose name an edge took on a branch.
fn replaced_by(conn: &Connection, level: &Level, id: Ino) -> Result<Vec<Ino>, DbError> {
    conn.prepare_cached(
        "SELECT replaces FROM inodes WHERE id = ?1 AND branch = ?2 AND replaces IS NOT NULL
         AND iif(e_since = 0, born, e_since) <= ?3
         UNION ALL SELECT replaces FROM past
         WHERE id = ?1 AND branch = ?2 AND facet = 0 AND since <= ?3 AND replaces IS NOT NULL",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![id, level.branch, level.through], |row| row.get(0))?.collect()
    })
    .doing("finding what an edge replaced")
}

/// What has a path, or had it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAt {
    /// What it is.
    pub ino: Ino,
    /// Since which reading it is no longer there; `None` while it is.
    pub gone: Option<Hlc>,
}

/// Returns what has a path in the view, or what had it last; `None` where nothing ever had.
///
/// # Errors
///
/// A failed query.
pub fn last_at(conn: &Connection, view: &View, names: &[Name]) -> Result<Option<LastAt>, DbError> {
    let mut at = LastAt { ino: view.root, gone: None };
    for name in names {
        let live = match at.gone {
            None => lookup(conn, view, at.ino, name)?,
            Some(_) => None,
        };
        at = match live {
            Some(inode) => LastAt { ino: inode.ino, gone: None },
            None => match left_last(conn, view, at.ino, name)? {
                // What was in a removed directory went before it, or with it.
                Some((ino, until)) => LastAt { ino, gone: at.gone.or(Some(until)) },
                None => return Ok(None),
            },
        };
    }
    Ok(Some(at))
}

/// Returns which inode had a name in a directory last, and until when.
pub(super) fn left_last(
    conn: &Connection,
    view: &View,
    directory: Ino,
    name: &Name,
) -> Result<Option<(Ino, Hlc)>, DbError> {
    let Some(level) = view.levels().first() else { return Ok(None) };
    let left = conn
        .prepare_cached(
            "SELECT id, branch, until FROM past WHERE parent = ?1 AND name = ?2 AND parent > 0",
        )
        .and_then(|mut stmt| {
            let mut last = None;
            let mut rows = stmt.query(params![directory, name])?;
            while let Some(row) = rows.next()? {
                let until: Hlc = row.get(2)?;
                if row.get::<_, BranchNumber>(1)? == level.branch && until <= level.through {
                    last = last.max(Some((until, row.get::<_, Ino>(0)?)));
                }
            }
            Ok(last)
        })
        .doing("looking for what had a name")?;
    if let Some((until, id)) = left {
        return Ok(row(conn, view, id)?.map(|row| (row.ino(), until)));
    }
    let Some(inherited) = view.inherited() else { return Ok(None) };
    // What a branch inherited has no past there: it left with the branch's first version of it.
    match edge(conn, &inherited, directory, name)? {
        Some(edge) => Ok(first_on(conn, level, edge.row)?.map(|since| (edge.ino, since))),
        None => left_last(conn, &inherited, directory, name),
    }
}

/// Returns since when a branch has a version of its own of an edge that it inherited.
fn first_on(conn: &Connection, level: &Level, id: Ino) -> Result<Option<Hlc>, DbError> {
    conn.prepare_cached(
        "SELECT coalesce((SELECT min(since) FROM past
                          WHERE id = ?1 AND branch = ?2 AND facet = 0), e_since)
         FROM inodes WHERE id = ?1 AND branch = ?2",
    )
    .and_then(|mut stmt| stmt.query_row(params![id, level.branch], |row| row.get(0)).optional())
    .doing("asking when an edge left")
}
