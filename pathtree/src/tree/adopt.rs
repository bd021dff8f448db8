//! Copy on write, row by row: the first change of something on a branch brings its row there.

use rusqlite::params;

use super::{
    View,
    row::{Row, counted_row},
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{Hlc, Ino, Stamp},
};

/// Sees to it that the view's own branch has a row of `id`, a copy of what it inherited.
///
/// A copy is no version: it keeps the stamps it has, which are older than the fork, and holds no
/// reference to a blob that the ancestor's version does not hold for it. Where the branch shows
/// nothing of `id`, nothing is done.
pub(super) fn adopt(tx: &Tx<'_>, view: &View, id: Ino) -> Result<(), DbError> {
    if view.inherited().is_none() || is_own(tx, view, id)? {
        return Ok(());
    }
    match counted_row(tx, view, id)? {
        Some(inherited) => insert(tx, view, &inherited),
        None => Ok(()),
    }
}

fn is_own(tx: &Tx<'_>, view: &View, id: Ino) -> Result<bool, DbError> {
    tx.prepare_cached("SELECT EXISTS (SELECT 1 FROM inodes WHERE id = ?1 AND branch = ?2)")
        .and_then(|mut stmt| stmt.query_row(params![id, view.branch], |row| row.get(0)))
        .doing("looking for a branch's own row")
}

/// Writes a row as it is, on the view's own branch.
pub(super) fn insert(tx: &Tx<'_>, view: &View, row: &Row) -> Result<(), DbError> {
    let (attributes, content) = (row.attributes.as_ref(), row.content.as_ref());
    // A version that is as old as the row is written as zero, which costs no byte.
    let since = |version: Stamp| if version == row.born { (Hlc(0), 0) } else { split(version) };
    let edge = since(row.edge.version);
    let attributes_since = attributes.map(|facet| since(facet.version));
    let content_since = content.map(|facet| since(facet.version));
    let base = content.and_then(|facet| facet.base);
    tx.prepare_cached(
        "INSERT INTO inodes (id, branch, born, born_actor, parent, name, target, replaces,
                             e_since, e_actor, mode, attr, a_since, a_actor,
                             size, blob, mtime_ns, base, base_actor, c_since, c_actor,
                             nlink, ctime_ns, more)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
                 ?19, ?20, ?21, ?22, ?23, ?24)",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![
            row.id,
            view.branch,
            row.born.hlc,
            row.born.actor,
            row.edge.parent,
            row.edge.name,
            row.target,
            row.edge.replaces,
            edge.0,
            edge.1,
            attributes.map(|facet| facet.mode),
            attributes.and_then(|facet| facet.attr.as_deref()),
            attributes_since.map(|since| since.0),
            attributes_since.map(|since| since.1),
            content.map(|facet| facet.size),
            content.and_then(|facet| facet.blob),
            content.map(|facet| facet.mtime_ns),
            base.map(|base| base.hlc),
            base.map(|base| base.actor),
            content_since.map(|since| since.0),
            content_since.map(|since| since.1),
            row.nlink,
            row.ctime_ns,
            row.more,
        ])
    })
    .doing("bringing a row to a branch")?;
    Ok(())
}

fn split(version: Stamp) -> (Hlc, i64) {
    (version.hlc, version.actor.0)
}
