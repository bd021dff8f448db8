//! What was removed from a directory and can still be read.

use rusqlite::{Connection, params};

use super::{
    S_IFDIR, S_IFMT, View, inode,
    row::{Row, row},
};
use crate::{
    db::{DbError, Doing as _},
    id::{Hlc, Ino},
    name::Name,
};

/// As many removals of one name as anybody is shown: a bound, not a limit to meet.
const OF_NAME_MAX: u32 = 1000;

/// A name that was removed from a directory, and what it led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The row of the edge.
    pub row: Ino,
    /// The name it had.
    pub name: Name,
    /// What it led to; no other name leads there any more.
    pub ino: Ino,
    /// Type and permission bits of that.
    pub mode: u32,
    /// When it was removed.
    pub at: Hlc,
}

impl Removed {
    /// Says whether it was a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }
}

/// Returns what was removed from `directory`, whether that is there or not; the last removed first.
///
/// What another file took the name of is not among it: it is an earlier version of that name. Of
/// more than `count_max` names those of the most recently born are looked at.
///
/// # Errors
///
/// A failed query.
pub fn removed(
    conn: &Connection,
    view: &View,
    directory: Ino,
    count_max: u32,
) -> Result<Vec<Removed>, DbError> {
    let has_ancestors = view.levels().len() > 1;
    let ids = conn
        .prepare_cached(
            "SELECT p.id FROM past AS p WHERE p.parent = ?1 AND p.parent > 0
                    AND EXISTS (SELECT 1 FROM inodes AS n WHERE n.id = p.id AND n.parent = 0)
             UNION
             SELECT e.id FROM inodes AS e WHERE ?2 AND e.parent = ?1 AND e.parent > 0
                    AND EXISTS (SELECT 1 FROM inodes AS n WHERE n.id = e.id AND n.parent = 0)
             ORDER BY 1 DESC LIMIT ?3",
        )
        .and_then(|mut stmt| {
            let key = params![directory, has_ancestors, count_max];
            stmt.query_map(key, |row| row.get(0))?.collect::<Result<Vec<Ino>, _>>()
        })
        .doing("looking for what was removed from a directory")?;
    gone(conn, view, directory, ids)
}

/// The same of one name.
///
/// # Errors
///
/// A failed query.
pub fn removed_as(
    conn: &Connection,
    view: &View,
    directory: Ino,
    name: &Name,
) -> Result<Vec<Removed>, DbError> {
    let has_ancestors = view.levels().len() > 1;
    let ids = conn
        .prepare_cached(
            "SELECT p.id FROM past AS p WHERE p.parent = ?1 AND p.name = ?2 AND p.parent > 0
                    AND EXISTS (SELECT 1 FROM inodes AS n WHERE n.id = p.id AND n.parent = 0)
             UNION
             SELECT e.id FROM inodes AS e
             WHERE ?3 AND e.parent = ?1 AND e.name = ?2 AND e.parent > 0
                    AND EXISTS (SELECT 1 FROM inodes AS n WHERE n.id = e.id AND n.parent = 0)
             ORDER BY 1 DESC LIMIT ?4",
        )
        .and_then(|mut stmt| {
            let key = params![directory, name, has_ancestors, OF_NAME_MAX];
            stmt.query_map(key, |row| row.get(0))?.collect::<Result<Vec<Ino>, _>>()
        })
        .doing("looking for what a removed name led to")?;
    let mut found = gone(conn, view, directory, ids)?;
    found.retain(|removed| removed.name == *name);
    Ok(found)
}

/// Returns those of some rows whose edge was removed from `directory`, the last one first.
fn gone(
    conn: &Connection,
    view: &View,
    directory: Ino,
    ids: Vec<Ino>,
) -> Result<Vec<Removed>, DbError> {
    let mut found = Vec::new();
    for id in ids {
        let Some(now) = row(conn, view, id)?.filter(|row| !row.is_live()) else { continue };
        let at = now.edge.version.hlc;
        let Some(last) = row(conn, &view.at(Hlc(at.0.saturating_sub(1))), id)? else { continue };
        if last.edge.parent != directory || is_replaced(conn, &now)? {
            continue;
        }
        let led_to = inode(conn, view, now.ino())?.filter(|inode| inode.nlink == 0);
        let name = Name::from_bytes(&last.edge.name).ok();
        if let (Some(inode), Some(name)) = (led_to, name) {
            found.push(Removed { row: id, name, ino: inode.ino, mode: inode.mode, at });
        }
    }
    found.sort_by_key(|removed| std::cmp::Reverse((removed.at, removed.row)));
    Ok(found)
}

/// Says whether another inode took the place of what an edge leads to.
fn is_replaced(conn: &Connection, edge: &Row) -> Result<bool, DbError> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM inodes WHERE replaces = ?1 AND replaces IS NOT NULL)",
    )
    .and_then(|mut stmt| stmt.query_row([edge.ino()], |row| row.get(0)))
    .doing("asking whether an inode was replaced")
}
