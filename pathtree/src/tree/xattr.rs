//! Extended attributes: small values under names, each with versions of its own.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    TreeError, View,
    change::{Facet, FacetVersion, count_links, forget, is_replaceable, record},
    edge::require_inode,
    view::Level,
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BranchNumber, Hlc, Ino, OperationId, Stamp},
};

/// Whether setting may create, replace or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrEdit {
    /// Either.
    Either,
    /// Only where it is absent.
    Create,
    /// Only where it is present.
    Replace,
}

/// Since when a value is as it is, and the value; `None` where it was removed.
type Version = (Hlc, Option<Vec<u8>>);

/// Returns a value.
///
/// # Errors
///
/// A failed query.
pub fn xattr(
    conn: &Connection,
    view: &View,
    ino: Ino,
    name: &[u8],
) -> Result<Option<Vec<u8>>, DbError> {
    Ok(xattr_version(conn, view, ino, name)?.and_then(|(_, value)| value))
}

/// Returns the version of a value that shows; `None` where there never was one.
pub(super) fn xattr_version(
    conn: &Connection,
    view: &View,
    ino: Ino,
    name: &[u8],
) -> Result<Option<Version>, DbError> {
    for level in view.levels() {
        if let Some(version) = version_at(conn, level, ino, name)? {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// Returns what one branch says of a value, as of the view's reading of it.
fn version_at(
    conn: &Connection,
    level: &Level,
    ino: Ino,
    name: &[u8],
) -> Result<Option<Version>, DbError> {
    let current = conn
        .prepare_cached(
            "SELECT since, value FROM xattrs WHERE id = ?1 AND branch = ?2 AND name = ?3",
        )
        .and_then(|mut stmt| {
            stmt.query_row(params![ino, level.branch, name], |row| {
                Ok((row.get::<_, Hlc>(0)?, row.get(1)?))
            })
            .optional()
        })
        .doing("reading an extended attribute")?;
    match current {
        None => return Ok(None),
        Some(version) if version.0 <= level.through => return Ok(Some(version)),
        Some(_) => {}
    }
    conn.prepare_cached(
        "SELECT since, value FROM past_xattrs
         WHERE id = ?1 AND branch = ?2 AND name = ?3 AND since <= ?4 AND until > ?4",
    )
    .and_then(|mut stmt| {
        let key = params![ino, level.branch, name, level.through];
        stmt.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()
    })
    .doing("reading an extended attribute's past")
}

/// Returns the names in use.
///
/// # Errors
///
/// A failed query.
pub fn xattr_names(conn: &Connection, view: &View, ino: Ino) -> Result<Vec<Vec<u8>>, DbError> {
    let mut names = BTreeSet::new();
    for level in view.levels() {
        names.extend(names_at(conn, level.branch, ino)?);
    }
    let mut set = Vec::with_capacity(names.len());
    for name in names {
        if xattr(conn, view, ino, &name)?.is_some() {
            set.push(name);
        }
    }
    Ok(set)
}

fn names_at(conn: &Connection, branch: BranchNumber, ino: Ino) -> Result<Vec<Vec<u8>>, DbError> {
    conn.prepare_cached("SELECT name FROM xattrs WHERE id = ?1 AND branch = ?2")
        .and_then(|mut stmt| stmt.query_map(params![ino, branch], |row| row.get(0))?.collect())
        .doing("listing extended attributes")
}

/// Sets a value.
///
/// # Errors
///
/// [`TreeError::XattrExists`] and [`TreeError::XattrNotFound`] as `edit` says.
pub fn set_xattr(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    ino: Ino,
    (name, value): (&[u8], &[u8]),
    edit: XattrEdit,
) -> Result<(), TreeError> {
    let there = xattr(tx, view, ino, name)?.is_some();
    match edit {
        XattrEdit::Create if there => {
            return Err(TreeError::XattrExists { ino, name: name.into() });
        }
        XattrEdit::Replace if !there => {
            return Err(TreeError::XattrNotFound { ino, name: name.into() });
        }
        XattrEdit::Either | XattrEdit::Create | XattrEdit::Replace => {}
    }
    store(tx, view, operation, ino, name, Some(value))
}

/// Removes a value.
///
/// # Errors
///
/// [`TreeError::XattrNotFound`].
pub fn remove_xattr(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    ino: Ino,
    name: &[u8],
) -> Result<(), TreeError> {
    if xattr(tx, view, ino, name)?.is_none() {
        return Err(TreeError::XattrNotFound { ino, name: name.into() });
    }
    store(tx, view, operation, ino, name, None)
}

fn store(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    ino: Ino,
    name: &[u8],
    value: Option<&[u8]>,
) -> Result<(), TreeError> {
    let inode = require_inode(tx, view, ino)?;
    let stamp = tx.next_stamp();
    if let Some(current) = current_version(tx, view, ino, name)? {
        if is_replaceable(tx, view, ino, current, operation)? {
            let facet = Facet::Attributes;
            let old = FacetVersion { row: ino, facet, stamp: current, born: inode.id.0 };
            forget(tx, view, old)?;
            close_gap(tx, view, ino, name, (current.hlc, stamp.hlc))?;
        } else {
            keep(tx, view, ino, name, stamp.hlc)?;
        }
    }
    tx.prepare_cached(
        "INSERT INTO xattrs (id, branch, name, value, since, actor) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id, branch, name) DO UPDATE SET value = ?4, since = ?5, actor = ?6",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![ino, view.branch, name, value, stamp.hlc, stamp.actor])
    })
    .doing("setting an extended attribute")?;
    count_links(tx, view, ino, stamp, 0)?;
    record(tx, view, stamp, ino, Facet::Attributes.bit(), operation)?;
    Ok(())
}

fn current_version(
    tx: &Tx<'_>,
    view: &View,
    ino: Ino,
    name: &[u8],
) -> Result<Option<Stamp>, DbError> {
    tx.prepare_cached("SELECT since, actor FROM xattrs WHERE id = ?1 AND branch = ?2 AND name = ?3")
        .and_then(|mut stmt| {
            stmt.query_row(params![ino, view.branch, name], |row| {
                Ok(Stamp { hlc: row.get(0)?, actor: row.get(1)? })
            })
            .optional()
        })
        .doing("reading an extended attribute's version")
}

/// What a replaced value had superseded shows until the new one's time.
pub(super) fn close_gap(
    tx: &Tx<'_>,
    view: &View,
    ino: Ino,
    name: &[u8],
    (from, until): (Hlc, Hlc),
) -> Result<(), DbError> {
    tx.prepare_cached(
        "UPDATE past_xattrs SET until = ?5
         WHERE id = ?1 AND branch = ?2 AND name = ?3 AND until = ?4",
    )
    .and_then(|mut stmt| stmt.execute(params![ino, view.branch, name, from, until]))
    .doing("closing the gap that a value leaves")?;
    Ok(())
}

fn keep(tx: &Tx<'_>, view: &View, ino: Ino, name: &[u8], until: Hlc) -> Result<(), DbError> {
    tx.prepare_cached(
        "INSERT INTO past_xattrs (id, branch, name, since, actor, until, value)
         SELECT id, branch, name, since, actor, ?4, value FROM xattrs
         WHERE id = ?1 AND branch = ?2 AND name = ?3",
    )
    .and_then(|mut stmt| stmt.execute(params![ino, view.branch, name, until]))
    .doing("keeping an extended attribute's past")?;
    Ok(())
}
