//! Pruning: deletes superseded versions whose time is over.
//!
//! A kept version shows from its own time until that of the next kept one, so the history of each
//! facet stays without gaps, and what pins, forks and the ends of kept stretches show stays as it
//! was. Each transaction leaves a whole tree; the next run goes on wherever one ended.

mod abandoned;
mod erase;
mod forget;
mod kept;
mod limits;
mod search;

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension as _, params};

pub use self::{
    abandoned::{
        RowsOfBranch, begin_to_forget, branches_to_forget, buckets_to_forget, forget_bucket,
        forget_rest, forget_rows, operations_of_branch, rows_of_branch,
    },
    forget::{
        DecidedConflict, decided_conflicts, emptied_operations, forget_conflict, forget_operations,
    },
    kept::nearest_kept,
    limits::Pruning,
    search::PruneSearch,
};
use self::{
    erase::erase,
    kept::note_thinned,
    limits::{Limits, Place},
};
use super::{
    View,
    change::{Facet, FacetVersion, forget},
    row::row_on,
    xattr,
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BlobNumber, BranchNumber, Hlc, Ino, OperationId, Stamp},
    retention::Superseded,
};

/// As many are pruned in one transaction: writers wait for it some 10 ms.
const BATCH: u32 = 128;

/// Something that may be pruned: a superseded version, or what was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prunable {
    kind: Kind,
    place: Place,
    /// Since when it is superseded, or removed.
    pub until: Hlc,
    /// The bytes that go with it.
    pub blob: Option<BlobNumber>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Version(Facet, Stamp),
    Xattr(Vec<u8>, Stamp),
    /// A row that hangs nowhere; the flag: of a directory.
    Removed(bool),
}

impl Prunable {
    /// The inode or further link that it is of.
    pub fn row(&self) -> Ino {
        self.place.row
    }
}

/// What was pruned, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneCount {
    /// Versions of the bytes of files.
    pub contents: u64,
    /// Versions of places, attributes and extended attributes.
    pub others: u64,
    /// What was removed, and is forgotten with all that was left of it.
    pub removed: u64,
}

impl PruneCount {
    /// Counts one more.
    pub fn add(&mut self, one: &Prunable) {
        match &one.kind {
            Kind::Version(Facet::Content, _) => self.contents += 1,
            Kind::Version(..) | Kind::Xattr(..) => self.others += 1,
            Kind::Removed(_) => self.removed += 1,
        }
    }

    /// Says whether it is nothing at all.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for PruneCount {
    fn add_assign(&mut self, other: Self) {
        self.contents += other.contents;
        self.others += other.others;
        self.removed += other.removed;
    }
}

/// What one transaction pruned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How much.
    pub count: PruneCount,
    /// Blobs that one version less names, once for each; the caller counts them in the same
    /// transaction.
    pub dropped: Vec<BlobNumber>,
}

/// What pruning has to ask the caller.
pub struct Asked<'a> {
    /// Says whether the bytes of a blob survive a power cut: until then, what its version
    /// superseded may be needed again.
    pub is_settled: &'a dyn Fn(&Tx<'_>, BlobNumber) -> Result<bool, DbError>,
    /// Says whether somebody has an inode open.
    pub is_held: &'a dyn Fn(BranchNumber, Ino) -> bool,
}

/// Prunes what a search found, as far as it still may go; the rest stays for another run.
///
/// # Errors
///
/// A failed statement; nothing of it may be committed then.
pub fn prune(
    tx: &Tx<'_>,
    pruning: &Pruning,
    found: &[Prunable],
    asked: &Asked<'_>,
) -> Result<Pruned, DbError> {
    let limits = Limits::read(tx, pruning)?;
    let mut pruned = Pruned::default();
    let mut touched = BTreeSet::new();
    let mut thinned = BTreeSet::new();
    for one in found {
        let Some(view) = limits.view(tx, one.place.branch)? else { continue };
        if thinned.insert(view.branch) {
            note_thinned(tx, view.branch, &limits.stretches())?;
        }
        let mut prune = Prune { tx, view, limits: &limits, asked, touched: &mut touched };
        let is_gone = match &one.kind {
            Kind::Version(facet, version) => prune.version(one.place, *facet, *version)?,
            Kind::Xattr(name, version) => prune.xattr(one.place, name, *version)?.then(Vec::new),
            Kind::Removed(_) => prune.removed(one.place)?,
        };
        if let Some(blobs) = is_gone {
            pruned.count.add(one);
            pruned.dropped.extend(blobs);
        }
    }
    for operation in touched {
        tx.prepare_cached("UPDATE operations SET pruned = 1 WHERE id = ?1 AND pruned = 0")
            .and_then(|mut stmt| stmt.execute([operation]))
            .doing("noting that an operation can not be undone")?;
    }
    Ok(pruned)
}

/// One transaction on one branch.
struct Prune<'a, 't> {
    tx: &'a Tx<'t>,
    view: &'a View,
    limits: &'a Limits<'a>,
    asked: &'a Asked<'a>,
    /// Operations that can not be undone any more.
    touched: &'a mut BTreeSet<OperationId>,
}

/// A superseded version as its row says.
struct Past {
    until: Hlc,
    blob: Option<BlobNumber>,
    base: (Option<Hlc>, Option<i64>),
}

impl Prune<'_, '_> {
    /// Prunes a version of a facet; returns the blob it held, or `None` where it stays.
    fn version(
        &mut self,
        place: Place,
        facet: Facet,
        version: Stamp,
    ) -> Result<Option<Vec<BlobNumber>>, DbError> {
        let Some(past) = self.past(place, facet, version)? else { return Ok(None) };
        let superseded = Superseded { since: version.hlc, until: past.until };
        if !self.limits.may_go(self.tx, place, facet, superseded)? {
            return Ok(None);
        }
        if facet == Facet::Content {
            if !self.is_successor_settled(place, past.until)? {
                return Ok(None);
            }
            self.rebase(place, version, &past)?;
        }
        self.tx
            .prepare_cached(
                "DELETE FROM past
                 WHERE id = ?1 AND branch = ?2 AND facet = ?3 AND since = ?4 AND actor = ?5",
            )
            .and_then(|mut stmt| {
                let number = facet.number();
                stmt.execute(params![place.row, place.branch, number, version.hlc, version.actor])
            })
            .doing("pruning a version")?;
        self.extend_before(place, facet, version, past.until)?;
        self.forget(place, facet, version, past.until)?;
        Ok(Some(past.blob.into_iter().collect()))
    }

    fn past(&self, place: Place, facet: Facet, version: Stamp) -> Result<Option<Past>, DbError> {
        self.tx
            .prepare_cached(
                "SELECT until, blob, base, base_actor FROM past
                 WHERE id = ?1 AND branch = ?2 AND facet = ?3 AND since = ?4 AND actor = ?5",
            )
            .and_then(|mut stmt| {
                let number = facet.number();
                let key = params![place.row, place.branch, number, version.hlc, version.actor];
                stmt.query_row(key, |row| {
                    let base = (row.get(2)?, row.get(3)?);
                    Ok(Past { until: row.get(0)?, blob: row.get(1)?, base })
                })
                .optional()
            })
            .doing("reading a version to prune")
    }

    /// Says whether a power cut can not make a version current again: what superseded it survives
    /// one.
    fn is_successor_settled(&self, place: Place, since: Hlc) -> Result<bool, DbError> {
        let blob: Option<Option<BlobNumber>> = self
            .tx
            .prepare_cached(
                "SELECT blob FROM past
                 WHERE id = ?1 AND branch = ?2 AND facet = 2 AND since = ?3
                 UNION ALL SELECT blob FROM inodes WHERE id = ?1 AND branch = ?2 AND c_since = ?3",
            )
            .and_then(|mut stmt| {
                stmt.query_row(params![place.row, place.branch, since], |row| row.get(0)).optional()
            })
            .doing("reading what superseded a version")?;
        match blob.flatten() {
            Some(blob) => (self.asked.is_settled)(self.tx, blob),
            None => Ok(true),
        }
    }

    /// Bases the successor of a version on its base instead.
    fn rebase(&self, place: Place, version: Stamp, past: &Past) -> Result<(), DbError> {
        let (base, base_actor) = past.base;
        for sql in [
            "UPDATE past SET base = ?5, base_actor = ?6
             WHERE id = ?1 AND branch = ?2 AND facet = 2 AND since = ?7
               AND base = ?3 AND base_actor = ?4",
            "UPDATE inodes SET base = ?5, base_actor = ?6
             WHERE id = ?1 AND branch = ?2 AND c_since = ?7 AND base = ?3 AND base_actor = ?4",
        ] {
            self.tx
                .prepare_cached(sql)
                .and_then(|mut stmt| {
                    stmt.execute(params![
                        place.row,
                        place.branch,
                        version.hlc,
                        version.actor,
                        base,
                        base_actor,
                        past.until,
                    ])
                })
                .doing("basing a version on an older one")?;
        }
        Ok(())
    }

    /// Lets the version before a pruned one show for its time, too.
    fn extend_before(
        &self,
        place: Place,
        facet: Facet,
        pruned: Stamp,
        until: Hlc,
    ) -> Result<(), DbError> {
        // By its key: a file may have a great many versions.
        let before: Option<Stamp> = self
            .tx
            .prepare_cached(
                "SELECT since, actor FROM past
                 WHERE id = ?1 AND branch = ?2 AND facet = ?3 AND (since, actor) < (?4, ?5)
                 ORDER BY since DESC, actor DESC LIMIT 1",
            )
            .and_then(|mut stmt| {
                let number = facet.number();
                let key = params![place.row, place.branch, number, pruned.hlc, pruned.actor];
                stmt.query_row(key, |row| Ok(Stamp { hlc: row.get(0)?, actor: row.get(1)? }))
                    .optional()
            })
            .doing("finding the version before a pruned one")?;
        let Some(before) = before else { return Ok(()) };
        self.tx
            .prepare_cached(
                "UPDATE past SET until = ?7 WHERE id = ?1 AND branch = ?2 AND facet = ?3
                 AND since = ?4 AND actor = ?5 AND until = ?6",
            )
            .and_then(|mut stmt| {
                stmt.execute(params![
                    place.row,
                    place.branch,
                    facet.number(),
                    before.hlc,
                    before.actor,
                    pruned.hlc,
                    until
                ])
            })
            .doing("closing the gap that a pruned version leaves")?;
        Ok(())
    }

    /// Takes a version out of the log. Neither the operation that made it nor the one that
    /// superseded it can be undone any more.
    fn forget(
        &mut self,
        place: Place,
        facet: Facet,
        version: Stamp,
        until: Hlc,
    ) -> Result<(), DbError> {
        for since in [version.hlc, until] {
            let made_by = self
                .tx
                .prepare_cached(
                    "SELECT operation FROM change WHERE branch = ?1 AND hlc = ?2 AND id = ?3",
                )
                .and_then(|mut stmt| {
                    let key = params![place.branch, since, place.row];
                    stmt.query_row(key, |row| row.get::<_, OperationId>(0)).optional()
                })
                .doing("finding the operation of a pruned version")?;
            self.touched.extend(made_by);
        }
        let Some(row) = row_on(self.tx, place.branch, place.row)? else { return Ok(()) };
        let old = FacetVersion { row: place.row, facet, stamp: version, born: row.born };
        forget(self.tx, self.view, old)
    }

    /// Prunes a value of an extended attribute; says whether it did.
    fn xattr(&mut self, place: Place, name: &[u8], version: Stamp) -> Result<bool, DbError> {
        let until: Option<Hlc> = self
            .tx
            .prepare_cached(
                "SELECT until FROM past_xattrs
                 WHERE id = ?1 AND branch = ?2 AND name = ?3 AND since = ?4 AND actor = ?5",
            )
            .and_then(|mut stmt| {
                let key = params![place.row, place.branch, name, version.hlc, version.actor];
                stmt.query_row(key, |row| row.get(0)).optional()
            })
            .doing("reading an extended attribute to prune")?;
        let Some(until) = until else { return Ok(false) };
        let superseded = Superseded { since: version.hlc, until };
        if !self.limits.may_go(self.tx, place, Facet::Attributes, superseded)? {
            return Ok(false);
        }
        self.tx
            .prepare_cached(
                "DELETE FROM past_xattrs
                 WHERE id = ?1 AND branch = ?2 AND name = ?3 AND since = ?4 AND actor = ?5",
            )
            .and_then(|mut stmt| {
                stmt.execute(params![place.row, place.branch, name, version.hlc, version.actor])
            })
            .doing("pruning an extended attribute")?;
        xattr::close_gap(self.tx, self.view, place.row, name, (version.hlc, until))?;
        self.forget(place, Facet::Attributes, version, until)?;
        Ok(true)
    }

    /// Forgets what was removed; returns the blobs it held, or `None` where it stays.
    fn removed(&mut self, place: Place) -> Result<Option<Vec<BlobNumber>>, DbError> {
        if !erase::may_be_erased(self.tx, self.limits, place)? {
            return Ok(None);
        }
        let erased = erase(self.tx, self.view, place, self.asked.is_held)?;
        Ok(erased.map(|erased| {
            self.touched.extend(erased.operations);
            erased.blobs
        }))
    }
}
