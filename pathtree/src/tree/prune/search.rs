//! Searching for what may be pruned, without keeping writers waiting.

use rusqlite::{Connection, params};

use super::{
    BATCH, Kind, Prunable, Pruning, erase,
    limits::{Limits, Place},
};
use crate::{
    db::{DbError, Doing as _},
    id::{ActorNumber, BlobNumber, BranchNumber, Hlc, Ino, Stamp},
    retention::Superseded,
    tree::{change::Facet, row::row_on},
};

/// As many rows are read between two looks at what was found.
const SCANNED_MAX: u32 = 10_000;

/// A search for what may be pruned, bit by bit, on as many read connections as there are bits.
#[derive(Clone, Debug, Default)]
pub struct PruneSearch {
    pass: Pass,
}

#[derive(Clone, Debug)]
enum Pass {
    /// After this row of `past`.
    Versions(PastKey),
    /// After this row of `past_xattrs`.
    Xattrs(XattrKey),
    /// After this removed row of this branch.
    Removed(BranchNumber, Ino),
    Done,
}

type PastKey = (Ino, BranchNumber, i64, Stamp);
type XattrKey = (Ino, BranchNumber, Vec<u8>, Stamp);

const NO_STAMP: Stamp = Stamp { hlc: Hlc(0), actor: ActorNumber(-1) };

impl Default for Pass {
    fn default() -> Self {
        Self::Versions((Ino(0), BranchNumber(0), 0, NO_STAMP))
    }
}

impl PruneSearch {
    /// Returns the next that may be pruned, perhaps none yet; `None` at the end.
    ///
    /// # Errors
    ///
    /// A failed query.
    pub fn next(
        &mut self,
        conn: &Connection,
        pruning: &Pruning,
    ) -> Result<Option<Vec<Prunable>>, DbError> {
        let limits = Limits::read(conn, pruning)?;
        let mut found = Vec::new();
        self.pass = match &self.pass {
            Pass::Versions(after) => match search_versions(conn, &limits, after, &mut found)? {
                Some(last) => Pass::Versions(last),
                None => Pass::Xattrs((Ino(0), BranchNumber(0), Vec::new(), NO_STAMP)),
            },
            Pass::Xattrs(after) => match search_xattrs(conn, &limits, after, &mut found)? {
                Some(last) => Pass::Xattrs(last),
                None => removed_after(&limits, BranchNumber(-1)),
            },
            Pass::Removed(branch, after) => {
                match search_removed(conn, &limits, (*branch, *after), &mut found)? {
                    Some(last) => Pass::Removed(*branch, last),
                    None => removed_after(&limits, *branch),
                }
            }
            Pass::Done => return Ok(None),
        };
        Ok(Some(found))
    }
}

fn removed_after(limits: &Limits<'_>, branch: BranchNumber) -> Pass {
    let next = limits.branches().find(|next| *next > branch);
    next.map_or(Pass::Done, |next| Pass::Removed(next, Ino(0)))
}

fn search_versions(
    conn: &Connection,
    limits: &Limits<'_>,
    after: &PastKey,
    found: &mut Vec<Prunable>,
) -> Result<Option<PastKey>, DbError> {
    let (id, branch, facet, version) = after;
    let mut stmt = conn
        .prepare_cached(
            "SELECT id, branch, facet, since, actor, until, blob FROM past
             WHERE (id, branch, facet, since, actor) > (?1, ?2, ?3, ?4, ?5)
             ORDER BY id, branch, facet, since, actor LIMIT ?6",
        )
        .doing("searching for what may be pruned")?;
    let key = params![id, branch, facet, version.hlc, version.actor, SCANNED_MAX];
    let mut rows = stmt.query(key).doing("searching for what may be pruned")?;
    let mut last = None;
    while let Some(row) = rows.next().doing("searching for what may be pruned")? {
        let read = || -> rusqlite::Result<(PastKey, Hlc, Option<BlobNumber>)> {
            let version = Stamp { hlc: row.get(3)?, actor: row.get(4)? };
            Ok(((row.get(0)?, row.get(1)?, row.get(2)?, version), row.get(5)?, row.get(6)?))
        };
        let (key, until, blob) = read().doing("reading what may be pruned")?;
        let (row, branch, number, version) = key;
        last = Some(key);
        let place = Place { branch, row };
        let facet = Facet::of(number);
        let superseded = Superseded { since: version.hlc, until };
        if limits.may_go(conn, place, facet, superseded)? {
            found.push(Prunable { kind: Kind::Version(facet, version), place, until, blob });
            if found.len() >= BATCH as usize {
                break;
            }
        }
    }
    Ok(last)
}

fn search_xattrs(
    conn: &Connection,
    limits: &Limits<'_>,
    after: &XattrKey,
    found: &mut Vec<Prunable>,
) -> Result<Option<XattrKey>, DbError> {
    let (id, branch, name, version) = after;
    let past: Vec<(XattrKey, Hlc)> = conn
        .prepare_cached(
            "SELECT id, branch, name, since, actor, until FROM past_xattrs
             WHERE (id, branch, name, since, actor) > (?1, ?2, ?3, ?4, ?5)
             ORDER BY id, branch, name, since, actor LIMIT ?6",
        )
        .and_then(|mut stmt| {
            let key = params![id, branch, name, version.hlc, version.actor, BATCH];
            stmt.query_map(key, |row| {
                let version = Stamp { hlc: row.get(3)?, actor: row.get(4)? };
                Ok(((row.get(0)?, row.get(1)?, row.get(2)?, version), row.get(5)?))
            })?
            .collect()
        })
        .doing("searching for extended attributes that may be pruned")?;
    let last = past.last().map(|(key, _)| key.clone());
    for ((row, branch, name, version), until) in past {
        let place = Place { branch, row };
        let superseded = Superseded { since: version.hlc, until };
        if limits.may_go(conn, place, Facet::Attributes, superseded)? {
            found.push(Prunable { kind: Kind::Xattr(name, version), place, until, blob: None });
        }
    }
    Ok(last)
}

fn search_removed(
    conn: &Connection,
    limits: &Limits<'_>,
    (branch, after): (BranchNumber, Ino),
    found: &mut Vec<Prunable>,
) -> Result<Option<Ino>, DbError> {
    let removed: Vec<Ino> = conn
        .prepare_cached(
            "SELECT id FROM inodes WHERE branch = ?1 AND parent = 0 AND id > ?2 ORDER BY id LIMIT ?3",
        )
        .and_then(|mut stmt| {
            stmt.query_map(params![branch, after, BATCH], |row| row.get(0))?.collect()
        })
        .doing("searching for what was removed")?;
    for id in &removed {
        let place = Place { branch, row: *id };
        if erase::may_be_erased(conn, limits, place)?
            && let Some(row) = row_on(conn, branch, *id)?
        {
            let kind = Kind::Removed(row.is_directory());
            let blob = row.content.as_ref().and_then(|content| content.blob);
            found.push(Prunable { kind, place, until: row.edge.version.hlc, blob });
        }
    }
    Ok(removed.last().copied())
}
