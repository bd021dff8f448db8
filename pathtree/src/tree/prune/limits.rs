//! What of a bucket's history may go: its rule, and the points in time that have to stay whole.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use rusqlite::{Connection, params};

use crate::{
    db::{DbError, Doing as _},
    id::{BranchNumber, BucketNumber, Hlc, Ino},
    pattern::Patterns,
    period::DAY_NS,
    retention::{DAYS_PROMISED, History, Stretch, Superseded},
    tree::{View, change::Facet, row::row, versions::versions},
};

/// No tree is deeper: what is, went in circles.
const DEPTH_MAX: usize = 4096;

/// What may go of the history of one bucket, and when that is asked.
#[derive(Clone, Debug)]
pub struct Pruning {
    /// The bucket.
    pub bucket: BucketNumber,
    /// Its rule.
    pub history: History,
    /// Paths of which no superseded version is kept.
    pub transient: Patterns,
    /// Beyond the rule: all that was superseded up to this reading, unless something shows it or it
    /// is younger than 30 days.
    pub through: Option<Hlc>,
    /// Unix nanoseconds.
    pub now_ns: i64,
}

/// Where the row of a version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) branch: BranchNumber,
    pub(super) row: Ino,
}

/// A [`Pruning`] with what pins versions against it, as of a transaction.
pub(super) struct Limits<'a> {
    pruning: &'a Pruning,
    branches: BTreeMap<BranchNumber, Pinned>,
    /// Which things are transient, as far as that was asked.
    transient: RefCell<HashMap<(BranchNumber, Ino), Transient>>,
}

struct Pinned {
    /// Once it was asked for.
    view: OnceCell<View>,
    /// What a look at one of these shows has to stay.
    at: BTreeSet<Hlc>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transient {
    No,
    Live,
    Removed,
}

impl<'a> Limits<'a> {
    pub(super) fn read(conn: &Connection, pruning: &'a Pruning) -> Result<Self, DbError> {
        let mut branches = BTreeMap::new();
        let mut pins: BTreeMap<BranchNumber, BTreeSet<Hlc>> = BTreeMap::new();
        for (branch, through) in looks(conn, pruning.bucket)? {
            pins.entry(branch).or_default().insert(through);
        }
        for branch in branches_in_use(conn, pruning.bucket)? {
            let at = pins.remove(&branch).unwrap_or_default();
            branches.insert(branch, Pinned { view: OnceCell::new(), at });
        }
        Ok(Self { pruning, branches, transient: RefCell::default() })
    }

    pub(super) fn branches(&self) -> impl Iterator<Item = BranchNumber> {
        self.branches.keys().copied()
    }

    /// `None` of another bucket's branch, or of one that is about to be forgotten.
    pub(super) fn view(
        &self,
        conn: &Connection,
        branch: BranchNumber,
    ) -> Result<Option<&View>, DbError> {
        let Some(pinned) = self.branches.get(&branch) else { return Ok(None) };
        if pinned.view.get().is_none()
            && let Some(view) = View::of(conn, branch)?
        {
            pinned.view.get_or_init(|| view);
        }
        Ok(pinned.view.get())
    }

    /// What pruning leaves whole, for who looks back later.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        let Pruning { history, through, now_ns, .. } = self.pruning;
        let promised = Hlc::last_of_unix_ns(*now_ns - i64::from(DAYS_PROMISED) * DAY_NS);
        let beyond =
            through.map(|until| Stretch { until: until.min(promised), periods: Vec::new() });
        history.stretches(*now_ns).into_iter().chain(beyond).collect()
    }

    /// Says whether a version of a facet may go; attributes include the extended ones.
    pub(super) fn may_go(
        &self,
        conn: &Connection,
        place: Place,
        facet: Facet,
        version: Superseded,
    ) -> Result<bool, DbError> {
        let Some(pinned) = self.branches.get(&place.branch) else { return Ok(false) };
        let Pruning { history, through, now_ns, .. } = self.pruning;
        if history.may_prune(version, *now_ns, &pinned.at) {
            return Ok(true);
        }
        let is_wanted_gone = through.is_some_and(|through| version.until <= through);
        if is_wanted_gone && version.may_be_freed(*now_ns, &pinned.at) {
            return Ok(true);
        }
        if version.is_pinned(&pinned.at) {
            return Ok(false);
        }
        // Where it was tells whether it is transient: that goes with the last of it.
        let is_transient = self.transient(conn, place)? != Transient::No;
        Ok(is_transient && facet != Facet::Edge)
    }

    /// Says whether a version of something removed may go with all that is left of it.
    pub(super) fn may_go_with_all(
        &self,
        conn: &Connection,
        place: Place,
        facet: Facet,
        version: Superseded,
    ) -> Result<bool, DbError> {
        if self.may_go(conn, place, facet, version)? {
            return Ok(true);
        }
        let Some(pinned) = self.branches.get(&place.branch) else { return Ok(false) };
        Ok(!version.is_pinned(&pinned.at) && self.transient(conn, place)? == Transient::Removed)
    }

    /// Says whether what was removed at a reading may be forgotten, as far as time goes.
    pub(super) fn may_forget(
        &self,
        conn: &Connection,
        place: Place,
        removed: Hlc,
    ) -> Result<bool, DbError> {
        // It shows nothing, so that nothing pins it and no stretch ends with it.
        let version = Superseded { since: removed, until: removed };
        self.may_go_with_all(conn, place, Facet::Edge, version)
    }

    fn transient(&self, conn: &Connection, place: Place) -> Result<Transient, DbError> {
        if self.pruning.transient == Patterns::default() {
            return Ok(Transient::No);
        }
        let Some(view) = self.view(conn, place.branch)? else { return Ok(Transient::No) };
        let key = (place.branch, place.row);
        if let Some(known) = self.transient.borrow().get(&key) {
            return Ok(*known);
        }
        let found = match last_path(conn, view, place.row)? {
            Some((path, is_live)) if self.pruning.transient.matches(&path) => {
                if is_live {
                    Transient::Live
                } else {
                    Transient::Removed
                }
            }
            _ => Transient::No,
        };
        self.transient.borrow_mut().insert(key, found);
        Ok(found)
    }
}

/// Returns the path that an edge has, or had last, and whether it has it.
fn last_path(conn: &Connection, view: &View, id: Ino) -> Result<Option<(PathBuf, bool)>, DbError> {
    let mut names = Vec::new();
    let mut is_live = true;
    let mut at = id;
    while at != view.root {
        if names.len() > DEPTH_MAX {
            return Ok(None);
        }
        let Some(found) = row(conn, view, at)? else { return Ok(None) };
        let hung = if found.is_live() {
            found
        } else {
            is_live &= at != id;
            let places = versions(conn, view, &found, Facet::Edge)?;
            let last = places.into_iter().map(|version| version.row).find(|row| row.is_live());
            let Some(last) = last else { return Ok(None) };
            last
        };
        names.push(hung.edge.name);
        at = hung.edge.parent;
    }
    let path = names.iter().rev().map(|name| OsStr::from_bytes(name)).collect();
    Ok(Some((path, is_live)))
}

fn branches_in_use(conn: &Connection, bucket: BucketNumber) -> Result<Vec<BranchNumber>, DbError> {
    conn.prepare_cached(
        "SELECT number FROM branches WHERE bucket = ?1 AND coalesce(abandoned_ns, 1) <> 0",
    )
    .and_then(|mut stmt| stmt.query_map([bucket], |row| row.get(0))?.collect())
    .doing("listing the branches of a bucket")
}

/// Returns what is looked at of each branch as of a reading: by forks and snapshots of it, by forks
/// of those, and as the base of the next merge.
fn looks(conn: &Connection, bucket: BucketNumber) -> Result<Vec<(BranchNumber, Hlc)>, DbError> {
    // Who was forked before its parent was sees less of the grandparent than the parent does.
    conn.prepare_cached(
        "WITH RECURSIVE seen (branch, through) AS (
             SELECT parent, fork FROM branches
             WHERE bucket = ?1 AND parent IS NOT NULL AND coalesce(abandoned_ns, 1) <> 0
             UNION
             SELECT m.from_branch, m.through FROM merges AS m
             JOIN branches AS b ON b.number = m.branch WHERE b.bucket = ?1
             UNION
             SELECT b.parent, min(b.fork, seen.through)
             FROM seen JOIN branches AS b ON b.number = seen.branch WHERE b.parent IS NOT NULL)
         SELECT branch, through FROM seen",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![bucket], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    })
    .doing("finding what is looked at")
}
