//! Withdrawing versions whose bytes a power cut took.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{
    Inode, NewOperation, View,
    change::{Facet, FacetVersion, forget, touch_directory},
    edge::{Place, hang},
    inode::{Edge, edge, inode},
    store_operation,
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BlobNumber, BranchNumber, BucketNumber, Hlc, Ino, Stamp},
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
        let view = view_of(branch);
        let Some(found) = inode(tx, view, ino)? else { continue };
        drop_superseded(tx, view, content_of(&found, version))?;
        withdrawn.push(Withdrawn { ino, branch, version, unlinked: false });
    }
    for (ino, branch) in current_with(tx, blob)? {
        let view = view_of(branch);
        let Some(found) = inode(tx, view, ino)? else { continue };
        forget(tx, view, content_of(&found, found.content))?;
        let unlinked = !restore_base(tx, view, ino)?;
        if unlinked {
            empty(tx, view, &found)?;
            give_names_back(tx, view, ino)?;
        }
        withdrawn.push(Withdrawn { ino, branch, version: found.content, unlinked });
    }
    Ok(withdrawn)
}

/// A blob may be held on any branch; what is done here needs no more of a view.
fn view_of(branch: BranchNumber) -> View {
    View { bucket: BucketNumber(0), branch, root: Ino::NOWHERE }
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
fn drop_superseded(tx: &Tx<'_>, view: View, old: FacetVersion) -> Result<(), DbError> {
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
    for sql in [
        "UPDATE inodes SET base = ?5, base_actor = ?6
         WHERE id = ?1 AND branch = ?2 AND base = ?3 AND base_actor = ?4",
        "UPDATE past SET base = ?5, base_actor = ?6
         WHERE id = ?1 AND branch = ?2 AND facet = 2 AND base = ?3 AND base_actor = ?4",
    ] {
        tx.prepare_cached(sql)
            .and_then(|mut stmt| {
                stmt.execute(params![row, view.branch, stamp.hlc, stamp.actor, base, base_actor])
            })
            .doing("basing a version on another one")?;
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

/// Makes the base of the current content current again; `false` where it has none.
fn restore_base(tx: &Tx<'_>, view: View, ino: Ino) -> Result<bool, DbError> {
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
fn empty(tx: &Tx<'_>, view: View, inode: &Inode) -> Result<(), DbError> {
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

/// An edge with the place it has, or had last.
struct Hung {
    edge: Edge,
    parent: Ino,
    name: Name,
}

impl Hung {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { edge: Edge::read(row)?, parent: row.get(7)?, name: row.get(8)? })
    }

    fn is_live(&self) -> bool {
        self.parent != Ino::NOWHERE
    }
}

fn edges_of(tx: &Tx<'_>, view: View, ino: Ino) -> Result<Vec<Hung>, DbError> {
    let mut edges: Vec<Hung> = tx
        .prepare_cached(
            "SELECT id, born, born_actor, e_since, e_actor, target, replaces, parent, name
             FROM inodes WHERE target = ?1 AND branch = ?2",
        )
        .and_then(|mut stmt| stmt.query_map(params![ino, view.branch], Hung::read)?.collect())
        .doing("finding an inode's further links")?;
    let own = tx
        .prepare_cached(
            "SELECT id, born, born_actor, e_since, e_actor, target, replaces, parent, name
             FROM inodes WHERE id = ?1 AND branch = ?2",
        )
        .and_then(|mut stmt| stmt.query_row(params![ino, view.branch], Hung::read).optional())
        .doing("finding an inode's edge")?;
    edges.extend(own);
    Ok(edges)
}

/// Unlinks an inode everywhere; what its edges had replaced gets the names back, now or when the
/// inode that replaced it goes, too.
fn give_names_back(tx: &Tx<'_>, view: View, ino: Ino) -> Result<(), DbError> {
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
        touch_directory(tx, view, lost.parent, first, 0)?;
        hang(tx, view, first, operation, lost.edge, &Place::NOWHERE, -1)?;
        if let Some(old) = replaced_by(tx, view, lost)? {
            let stamp = tx.next_stamp();
            let replaces = old.replaces;
            let place = Place { parent: lost.parent, name: Some(&lost.name), replaces };
            hang(tx, view, stamp, operation, old, &place, 1)?;
        }
    }
    Ok(())
}

/// Returns the edge from which a lost one took its name, unless the name is taken again.
fn replaced_by(tx: &Tx<'_>, view: View, lost: &Hung) -> Result<Option<Edge>, DbError> {
    let Some(old) = lost.edge.replaces else { return Ok(None) };
    if edge(tx, view, lost.parent, &lost.name)?.is_some() {
        return Ok(None);
    }
    // Only under the name that was taken: with hard links several edges replaced the same inode.
    let taken = |hung: &Hung| !hung.is_live() && hung.name == lost.name;
    let edges = edges_of(tx, view, old)?.into_iter().filter(taken);
    let newest = edges.max_by_key(|hung| hung.edge.version);
    Ok(newest.map(|hung| hung.edge))
}
