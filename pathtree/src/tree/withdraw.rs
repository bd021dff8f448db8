//! Withdrawing versions whose bytes a power cut took.

use rusqlite::params;

use super::{
    Inode, NewOperation, View,
    change::{Facet, FacetVersion, forget, touch_directory},
    edge::{Place, hang},
    inode::{Edge, edge, inode},
    row::{Row, row, rows_to},
    store_operation,
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{ActorNumber, BlobNumber, BranchNumber, Hlc, Ino, Stamp},
    name::Name,
};

/// One version that was withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Whose content it was.
    pub ino: Ino,
    /// On which branch.
    pub branch: BranchNumber,
    /// The version.
    pub version: Stamp,
    /// It had no base, so its inode lost its name as well.
    pub unlinked: bool,
}

/// Withdraws every version that holds `blob`: each falls back to its base, whole.
///
/// A version without a base takes its inode's edges with it; where such an edge had replaced
/// another inode, that one gets its name back. Nothing refers to the blob afterwards.
///
/// # Errors
///
/// A failed statement.
pub fn withdraw_blob(tx: &Tx<'_>, blob: BlobNumber) -> Result<Vec<Withdrawn>, DbError> {
    let mut withdrawn = Vec::new();
    for (ino, branch, version) in superseded_with(tx, blob)? {
        let Some(view) = View::of(tx, branch)? else { continue };
        let Some(found) = inode(tx, &view, ino)? else { continue };
        drop_superseded(tx, &view, content_of(&found, version))?;
        withdrawn.push(Withdrawn { ino, branch, version, unlinked: false });
    }
    let mut copies = Vec::new();
    for (ino, branch) in current_with(tx, blob)? {
        let Some(view) = View::of(tx, branch)? else { continue };
        let Some(found) = inode(tx, &view, ino)? else { continue };
        if view.inherits(found.content) {
            copies.push((found, view));
            continue;
        }
        forget(tx, &view, content_of(&found, found.content))?;
        let unlinked = !restore_base(tx, &view, ino)?;
        if unlinked {
            lose_in_forks(tx, branch, ino, found.content)?;
            empty(tx, &view, &found)?;
            give_names_back(tx, &view, ino)?;
        }
        withdrawn.push(Withdrawn { ino, branch, version: found.content, unlinked });
    }
    withdrawn.extend(drop_conflicts(tx, blob)?);
    for (found, view) in copies {
        if !inherit_content(tx, &view, found.ino)? {
            empty(tx, &view, &found)?;
        }
    }
    Ok(withdrawn)
}

/// Voids the conflicts whose other side was these bytes.
fn drop_conflicts(tx: &Tx<'_>, blob: BlobNumber) -> Result<Vec<Withdrawn>, DbError> {
    let lost: Vec<Withdrawn> = tx
        .prepare_cached(
            "SELECT id, branch, since, actor FROM conflicts WHERE blob = ?1 AND blob IS NOT NULL",
        )
        .and_then(|mut stmt| {
            stmt.query_map([blob], |row| {
                let version = Stamp { hlc: row.get(2)?, actor: row.get(3)? };
                let (ino, branch) = (row.get(0)?, row.get(1)?);
                Ok(Withdrawn { ino, branch, version, unlinked: false })
            })?
            .collect()
        })
        .doing("finding conflicts of a lost blob")?;
    if !lost.is_empty() {
        tx.prepare_cached("DELETE FROM conflicts WHERE blob = ?1 AND blob IS NOT NULL")
            .and_then(|mut stmt| stmt.execute([blob]))
            .doing("voiding conflicts of a lost blob")?;
    }
    Ok(lost)
}

/// Takes the names of an inode on every branch that was forked while `version`, which has no base,
/// was its content, and that did not give it another one.
fn lose_in_forks(
    tx: &Tx<'_>,
    branch: BranchNumber,
    ino: Ino,
    version: Stamp,
) -> Result<(), DbError> {
    let forks = tx
        .prepare_cached("SELECT number FROM branches WHERE parent = ?1 AND parent IS NOT NULL")
        .and_then(|mut stmt| {
            stmt.query_map([branch], |row| row.get(0))?.collect::<Result<Vec<BranchNumber>, _>>()
        })
        .doing("finding the forks of a branch")?;
    for fork in forks {
        // First those that see the version through this one.
        lose_in_forks(tx, fork, ino, version)?;
        let Some(view) = View::of(tx, fork)? else { continue };
        let found = inode(tx, &view, ino)?;
        if let Some(found) = found.filter(|found| found.nlink > 0 && found.content == version) {
            give_names_back(tx, &view, ino)?;
            empty(tx, &view, &found)?;
        }
    }
    Ok(())
}

/// Lets a branch's copy of a row show the content that the ancestor shows now.
fn inherit_content(tx: &Tx<'_>, view: &View, ino: Ino) -> Result<bool, DbError> {
    let Some(inherited) = view.inherited() else { return Ok(false) };
    let Some(from) = row(tx, &inherited, ino)? else { return Ok(false) };
    let Some(content) = from.content else { return Ok(false) };
    let since = if content.version == from.born { None } else { Some(content.version) };
    tx.prepare_cached(
        "UPDATE inodes SET size = ?3, blob = ?4, mtime_ns = ?5, base = ?6, base_actor = ?7,
                           c_since = ?8, c_actor = ?9
         WHERE id = ?1 AND branch = ?2",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![
            ino,
            view.branch,
            content.size,
            content.blob,
            content.mtime_ns,
            content.base.map(|base| base.hlc),
            content.base.map(|base| base.actor),
            since.map_or(Hlc(0), |since| since.hlc),
            since.map_or(ActorNumber(0), |since| since.actor),
        ])
    })
    .doing("inheriting a content again")?;
    Ok(true)
}

fn content_of(inode: &Inode, stamp: Stamp) -> FacetVersion {
    FacetVersion { row: inode.ino, facet: Facet::Content, stamp, born: inode.id.0 }
}

type VersionKey = (Ino, BranchNumber, Stamp);

fn superseded_with(tx: &Tx<'_>, blob: BlobNumber) -> Result<Vec<VersionKey>, DbError> {
    tx.prepare_cached(
        "SELECT id, branch, since, actor FROM past WHERE blob = ?1 AND blob IS NOT NULL",
    )
    .and_then(|mut stmt| {
        stmt.query_map([blob], |row| {
            let version = Stamp { hlc: row.get(2)?, actor: row.get(3)? };
            Ok((row.get(0)?, row.get(1)?, version))
        })?
        .collect()
    })
    .doing("finding past versions of a lost blob")
}

fn current_with(tx: &Tx<'_>, blob: BlobNumber) -> Result<Vec<(Ino, BranchNumber)>, DbError> {
    tx.prepare_cached("SELECT id, branch FROM inodes WHERE blob = ?1 AND blob IS NOT NULL")
        .and_then(|mut stmt| {
            stmt.query_map([blob], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .doing("finding versions of a lost blob")
}

/// Takes a superseded version out of the chain: its successor is based on its base from now on,
/// and its predecessor shows for its time.
fn drop_superseded(tx: &Tx<'_>, view: &View, old: FacetVersion) -> Result<(), DbError> {
    let FacetVersion { row, stamp, .. } = old;
    let (until, base, base_actor): (Hlc, Option<Hlc>, Option<i64>) = tx
        .prepare_cached(
            "SELECT until, base, base_actor FROM past
             WHERE id = ?1 AND branch = ?2 AND facet = 2 AND since = ?3 AND actor = ?4",
        )
        .and_then(|mut stmt| {
            let key = params![row, view.branch, stamp.hlc, stamp.actor];
            stmt.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        })
        .doing("reading a past version")?;
    rebase(tx, row, stamp, (base, base_actor))?;
    if base.is_none() {
        lose_in_forks(tx, view.branch, row, stamp)?;
    }
    tx.prepare_cached(
        "DELETE FROM past
         WHERE id = ?1 AND branch = ?2 AND facet = 2 AND since = ?3 AND actor = ?4",
    )
    .and_then(|mut stmt| stmt.execute(params![row, view.branch, stamp.hlc, stamp.actor]))
    .doing("withdrawing a past version")?;
    tx.prepare_cached(
        "UPDATE past SET until = ?4 WHERE id = ?1 AND branch = ?2 AND facet = 2 AND until = ?3",
    )
    .and_then(|mut stmt| stmt.execute(params![row, view.branch, stamp.hlc, until]))
    .doing("closing the gap that a version leaves")?;
    forget(tx, view, old)
}

/// Bases what was based on `stamp` on its base instead, on whichever branch.
fn rebase(
    tx: &Tx<'_>,
    row: Ino,
    stamp: Stamp,
    (base, base_actor): (Option<Hlc>, Option<i64>),
) -> Result<(), DbError> {
    for sql in [
        "UPDATE inodes SET base = ?4, base_actor = ?5
         WHERE id = ?1 AND base = ?2 AND base_actor = ?3",
        "UPDATE past SET base = ?4, base_actor = ?5
         WHERE id = ?1 AND facet = 2 AND base = ?2 AND base_actor = ?3",
    ] {
        tx.prepare_cached(sql)
            .and_then(|mut stmt| {
                stmt.execute(params![row, stamp.hlc, stamp.actor, base, base_actor])
            })
            .doing("basing a version on another one")?;
    }
    Ok(())
}

/// Makes the base of the current content current again; `false` where it has none.
fn restore_base(tx: &Tx<'_>, view: &View, ino: Ino) -> Result<bool, DbError> {
    let (version, base): (Stamp, Option<Stamp>) =
        match row(tx, view, ino)?.and_then(|row| row.content) {
            Some(content) => (content.version, content.base),
            None => return Ok(false),
        };
    let base_key = (base.map(|base| base.hlc), base.map(|base| base.actor.0));
    rebase(tx, ino, version, base_key)?;
    if base.is_some_and(|base| view.inherits(base)) {
        return inherit_content(tx, view, ino);
    }
    let restored = tx
        .prepare_cached(
            "UPDATE inodes SET (size, blob, mtime_ns, c_since, c_actor, base, base_actor) =
                 (SELECT p.size, p.blob, p.mtime_ns, p.since, p.actor, p.base, p.base_actor
                  FROM past AS p
                  WHERE p.id = ?1 AND p.branch = ?2 AND p.facet = 2
                    AND p.since = inodes.base AND p.actor = inodes.base_actor)
             WHERE id = ?1 AND branch = ?2 AND EXISTS
                 (SELECT 1 FROM past AS p
                  WHERE p.id = ?1 AND p.branch = ?2 AND p.facet = 2
                    AND p.since = inodes.base AND p.actor = inodes.base_actor)",
        )
        .and_then(|mut stmt| stmt.execute(params![ino, view.branch]))
        .doing("falling back to a base")?;
    if restored == 0 {
        return Ok(false);
    }
    tx.prepare_cached(
        "DELETE FROM past WHERE id = ?1 AND branch = ?2 AND facet = 2 AND (since, actor) =
             (SELECT c_since, c_actor FROM inodes WHERE id = ?1 AND branch = ?2)",
    )
    .and_then(|mut stmt| stmt.execute(params![ino, view.branch]))
    .doing("taking a base out of the past")?;
    Ok(true)
}

/// Leaves an inode with the empty content that it was born with.
fn empty(tx: &Tx<'_>, view: &View, inode: &Inode) -> Result<(), DbError> {
    let born = inode.id.0;
    tx.prepare_cached(
        "UPDATE inodes SET size = 0, blob = NULL, mtime_ns = ?3, base = NULL, base_actor = NULL,
                           c_since = 0, c_actor = 0
         WHERE id = ?1 AND branch = ?2",
    )
    .and_then(|mut stmt| stmt.execute(params![inode.ino, view.branch, born.hlc.unix_ns()]))
    .doing("withdrawing an only version")?;
    tx.prepare_cached(
        "UPDATE change SET what = what | ?5
         WHERE branch = ?1 AND hlc = ?2 AND actor = ?3 AND id = ?4",
    )
    .and_then(|mut stmt| {
        let bit = Facet::Content.bit();
        stmt.execute(params![view.branch, born.hlc, born.actor, inode.ino, bit])
    })
    .doing("logging an empty content again")?;
    Ok(())
}

/// Every edge of an inode, live or not.
fn edges_of(tx: &Tx<'_>, view: &View, ino: Ino) -> Result<Vec<Row>, DbError> {
    let mut edges = rows_to(tx, view, ino)?;
    edges.extend(row(tx, view, ino)?);
    Ok(edges)
}

/// Unlinks an inode everywhere; what its edges had replaced gets the names back, now or when the
/// inode that replaced it goes, too.
fn give_names_back(tx: &Tx<'_>, view: &View, ino: Ino) -> Result<(), DbError> {
    let edges = edges_of(tx, view, ino)?;
    let heir = edges.iter().filter(|hung| !hung.is_live()).find_map(|hung| hung.edge.replaces);
    tx.prepare_cached(
        "UPDATE inodes SET replaces = ?3
         WHERE replaces = ?1 AND branch = ?2 AND replaces IS NOT NULL",
    )
    .and_then(|mut stmt| stmt.execute(params![ino, view.branch, heir]))
    .doing("leaving a place in a chain of replaced inodes")?;
    for lost in edges.iter().filter(|hung| hung.is_live()) {
        let first = tx.next_stamp();
        let new = NewOperation { who: "node", what: "recover" };
        let operation = store_operation(tx, view, first, &new)?;
        touch_directory(tx, view, lost.edge.parent, first, 0)?;
        hang(tx, view, first, operation, Edge::of(lost), &Place::NOWHERE, -1)?;
        if let Some(old) = replaced_by(tx, view, lost)? {
            let stamp = tx.next_stamp();
            let replaces = old.replaces;
            let name = Name::from_bytes(&lost.edge.name).ok();
            let place = Place { parent: lost.edge.parent, name: name.as_ref(), replaces };
            hang(tx, view, stamp, operation, old, &place, 1)?;
        }
    }
    Ok(())
}

/// Returns the edge from which a lost one took its name, unless the name is taken again.
fn replaced_by(tx: &Tx<'_>, view: &View, lost: &Row) -> Result<Option<Edge>, DbError> {
    let Some(old) = lost.edge.replaces else { return Ok(None) };
    let Ok(name) = Name::from_bytes(&lost.edge.name) else { return Ok(None) };
    if edge(tx, view, lost.edge.parent, &name)?.is_some() {
        return Ok(None);
    }
    // Only under the name that was taken: with hard links several edges replaced the same inode.
    let taken = |hung: &Row| !hung.is_live() && hung.edge.name == lost.edge.name;
    let edges = edges_of(tx, view, old)?.into_iter().filter(taken);
    let newest = edges.max_by_key(|hung| hung.edge.version);
    Ok(newest.map(|hung| Edge::of(&hung)))
}
