//! The sides of a conflict: which versions they are, where those were made, and by what.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Conflict, ConflictKind, Inode, View,
    change::Facet,
    history::successor,
    inode::inode,
    log::{Logged, logged},
    operation::merge_of,
    row::{Row, row},
    versions::versions,
};
use crate::{
    db::{DbError, Doing as _},
    id::{BlobNumber, BranchNumber, Ino, OperationId, Stamp},
};

/// One side of a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictSide {
    /// Which file or directory.
    pub ino: Ino,
    /// Which version of it: of its content, else of its place.
    pub version: Stamp,
    /// The branch it was made on, as far as that is known.
    pub branch: Option<BranchNumber>,
    /// What made it, as far as that is known.
    pub operation: Option<OperationId>,
    /// Bytes of its content.
    pub size: u64,
    /// Where they are.
    pub blob: Option<BlobNumber>,
    /// When they were written, in Unix nanoseconds.
    pub mtime_ns: i64,
    /// It is what shows.
    pub shows: bool,
}

/// What disagrees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// What the branch had; `None` where that is removed.
    pub ours: Option<ConflictSide>,
    /// What came; `None` where that is removed.
    pub theirs: Option<ConflictSide>,
    /// What both began with, of [`ConflictKind::Content`]; `None` where that is not kept.
    pub base: Option<ConflictSide>,
    /// Somebody changed what shows, after the conflict was found.
    pub touched: bool,
}

/// Tells the sides of a conflict.
///
/// # Errors
///
/// A failed query.
pub fn sides(conn: &Connection, view: &View, conflict: &Conflict) -> Result<Sides, DbError> {
    let asked = Asked { conn, view, conflict };
    let shows = match conflict.kind {
        ConflictKind::Content | ConflictKind::Place => asked.shown(conflict.ino)?,
        ConflictKind::Name => asked.rival()?,
    };
    let other = match conflict.kind {
        ConflictKind::Content => Some(asked.stored()?),
        ConflictKind::Place => shows.clone().map(|shows| ConflictSide { shows: false, ..shows }),
        ConflictKind::Name => asked.shown(conflict.ino)?,
    };
    let (ours, theirs) = if conflict.is_ours { (other, shows) } else { (shows, other) };
    Ok(Sides { ours, theirs, base: asked.base()?, touched: asked.is_touched()? })
}

struct Asked<'a> {
    conn: &'a Connection,
    view: &'a View,
    conflict: &'a Conflict,
}

impl Asked<'_> {
    /// What an inode has become, and shows.
    fn shown(&self, ino: Ino) -> Result<Option<ConflictSide>, DbError> {
        match successor(self.conn, self.view, ino)? {
            Some(found) => Ok(Some(self.side_of(&found)?)),
            None => Ok(None),
        }
    }

    /// What has the name that both want.
    fn rival(&self) -> Result<Option<ConflictSide>, DbError> {
        match self.conflict.rival {
            Some(ino) => self.shown(ino),
            None => Ok(None),
        }
    }

    fn side_of(&self, found: &Inode) -> Result<ConflictSide, DbError> {
        let version = found.content;
        let made = logged(self.conn, self.view, found.ino, version)?;
        let (branch, operation) = match made {
            // The merge that found the conflict brought it from where it was made.
            Some(made) if made.operation == self.conflict.operation => {
                self.origin(found.ino, made)?
            }
            made => (made.map(|made| made.branch), made.map(|made| made.operation)),
        };
        Ok(ConflictSide {
            ino: found.ino,
            version,
            branch,
            operation,
            size: found.size,
            blob: found.blob,
            mtime_ns: found.mtime_ns(),
            shows: true,
        })
    }

    /// Whether what shows is other than what found the conflict left.
    fn is_touched(&self) -> Result<bool, DbError> {
        let Conflict { ino, kind, rival, .. } = *self.conflict;
        match kind {
            ConflictKind::Content => match successor(self.conn, self.view, ino)? {
                Some(shows) if shows.ino == ino => self.differs(ino, Facet::Content),
                _ => Ok(true),
            },
            ConflictKind::Place => self.differs(ino, Facet::Edge),
            ConflictKind::Name => {
                let rival = rival.map(|rival| self.differs(rival, Facet::Edge)).transpose()?;
                Ok(rival == Some(true) || self.differs(ino, Facet::Edge)?)
            }
        }
    }

    /// Whether a facet of a row is other than what found the conflict left.
    fn differs(&self, id: Ino, facet: Facet) -> Result<bool, DbError> {
        let Some(now) = row(self.conn, self.view, id)? else { return Ok(true) };
        let finding = self.conflict.operation;
        for left in versions(self.conn, self.view, &now, facet)? {
            let is_later = left.stamp.hlc.0.cast_signed() > finding.0;
            let made = logged(self.conn, self.view, id, left.stamp)?;
            if is_later && made.is_none_or(|made| made.operation != finding) {
                continue;
            }
            return Ok(match facet {
                Facet::Content => {
                    let bytes = |row: &Row| row.content.as_ref().map(|one| (one.size, one.blob));
                    bytes(&left.row) != bytes(&now)
                }
                _ => {
                    let place = |row: &Row| (row.edge.parent, row.edge.name.clone());
                    place(&left.row) != place(&now)
                }
            });
        }
        Ok(true)
    }

    /// Where a merge has a content from.
    fn origin(
        &self,
        ino: Ino,
        made: Logged,
    ) -> Result<(Option<BranchNumber>, Option<OperationId>), DbError> {
        let here = (Some(made.branch), Some(made.operation));
        let Some((from, through)) = merge_of(self.conn, made.branch, made.operation)? else {
            return Ok(here);
        };
        let Some(view) = View::of(self.conn, from)?.map(|view| view.at(through)) else {
            return Ok(here);
        };
        let Some(there) = inode(self.conn, &view, ino)? else { return Ok((Some(from), None)) };
        let made = logged(self.conn, &view, ino, there.content)?;
        Ok((Some(from), made.map(|made| made.operation)))
    }

    /// The side that is kept as a value.
    fn stored(&self) -> Result<ConflictSide, DbError> {
        let Conflict { ino, version, size, blob, mtime_ns, .. } = *self.conflict;
        let made = self.made(version)?;
        Ok(ConflictSide {
            ino,
            version,
            branch: made.map(|(branch, _)| branch),
            operation: made.map(|(_, operation)| operation),
            size,
            blob,
            mtime_ns,
            shows: false,
        })
    }

    fn base(&self) -> Result<Option<ConflictSide>, DbError> {
        let Some((ino, version)) = self.conflict.base else { return Ok(None) };
        type Content = (i64, Option<BlobNumber>, i64);
        let found: Option<Content> = self
            .conn
            .prepare_cached(
                "SELECT size, blob, mtime_ns FROM past
                 WHERE id = ?1 AND facet = 2 AND since = ?2 AND actor = ?3
                 UNION ALL SELECT size, blob, mtime_ns FROM inodes
                 WHERE id = ?1 AND iif(c_since = 0, born, c_since) = ?2
                 AND iif(c_since = 0, born_actor, c_actor) = ?3
                 LIMIT 1",
            )
            .and_then(|mut stmt| {
                let key = params![ino, version.hlc, version.actor];
                stmt.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
            })
            .doing("finding what both sides began with")?;
        let Some((size, blob, mtime_ns)) = found else { return Ok(None) };
        let made = self.made(version)?;
        Ok(Some(ConflictSide {
            ino,
            version,
            branch: made.map(|(branch, _)| branch),
            operation: made.map(|(_, operation)| operation),
            size: size.cast_unsigned(),
            blob,
            mtime_ns,
            shows: false,
        }))
    }

    /// Where a version was made, on whichever branch of the bucket, and by what.
    fn made(&self, version: Stamp) -> Result<Option<(BranchNumber, OperationId)>, DbError> {
        self.conn
            .prepare_cached(
                "SELECT c.branch, c.operation FROM branches AS b
                 CROSS JOIN change AS c ON c.branch = b.number
                 WHERE b.bucket = (SELECT bucket FROM branches WHERE number = ?1)
                 AND c.hlc = ?2 AND c.actor = ?3 LIMIT 1",
            )
            .and_then(|mut stmt| {
                let key = params![self.view.branch, version.hlc, version.actor];
                stmt.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .doing("finding where a version was made")
    }
}
