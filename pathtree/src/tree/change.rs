//! Versions come and go: what is superseded, what is replaced in place, and the log of both.

use rusqlite::{OptionalExtension as _, params};

use super::{View, adopt::adopt};
use crate::{
    db::{DbError, Doing as _, Tx, outbox},
    id::{Ino, OperationId, Stamp},
};

/// One independently versioned part of an inode or edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Facet {
    Edge,
    Attributes,
    Content,
}

impl Facet {
    /// The number in `past.facet`.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Edge => 0,
            Self::Attributes => 1,
            Self::Content => 2,
        }
    }

    /// The facet of a number in `past.facet`.
    pub(super) fn of(number: i64) -> Self {
        match number {
            0 => Self::Edge,
            1 => Self::Attributes,
            _ => Self::Content,
        }
    }

    /// The bit in `change.what`.
    pub(super) fn bit(self) -> i64 {
        1 << self.number()
    }
}

/// What a new inode's row in the log says: all facets, created.
pub(super) const CREATED_ALL: i64 = 1 | 2 | 4 | 8;
/// What a further hard link's row in the log says: an edge, created.
pub(super) const CREATED_EDGE: i64 = 1 | 8;

/// Writes a version to the log.
pub(super) fn record(
    tx: &Tx<'_>,
    view: &View,
    stamp: Stamp,
    row: Ino,
    what: i64,
    operation: OperationId,
) -> Result<(), DbError> {
    tx.note_change();
    tx.prepare_cached(
        "INSERT INTO change (branch, hlc, actor, id, what, operation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![view.branch, stamp.hlc, stamp.actor, row, what, operation])
    })
    .doing("logging a change")?;
    Ok(())
}

/// The current version of one facet of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct FacetVersion {
    pub(super) row: Ino,
    pub(super) facet: Facet,
    pub(super) stamp: Stamp,
    /// When the row was born: a version of that stamp has no predecessor.
    pub(super) born: Stamp,
}

/// Makes room for the version `now` of one facet: the `old` one goes to `past`, or goes for good
/// where the same operation made it and nothing has seen it.
pub(super) fn supersede(
    tx: &Tx<'_>,
    view: &View,
    old: FacetVersion,
    now: Stamp,
    operation: OperationId,
) -> Result<(), DbError> {
    adopt(tx, view, old.row)?;
    if is_replaceable(tx, view, old.row, old.stamp, operation)? {
        replace(tx, view, old, now)
    } else {
        keep(tx, view, old, now)
    }
}

/// Says whether `operation` itself made a version and no consumer has read it from the log.
pub(super) fn is_replaceable(
    tx: &Tx<'_>,
    view: &View,
    row: Ino,
    stamp: Stamp,
    operation: OperationId,
) -> Result<bool, DbError> {
    // An operation's id is the reading of its first change: what is older is not its own.
    if stamp.hlc.0.cast_signed() < operation.0 {
        return Ok(false);
    }
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM change WHERE branch = ?1 AND hlc = ?2 AND actor = ?3
                        AND id = ?4 AND operation = ?5)
",
    )
    .and_then(|mut stmt| {
        let key = params![view.branch, stamp.hlc, stamp.actor, row, operation];
        stmt.query_row(key, |row| row.get(0))
    })
    .doing("asking whose version it is")
    .and_then(|is_own: bool| Ok(is_own && !is_seen(tx, view, stamp)?))
}

/// Says whether a consumer has read this version from the log, or a fork shows it.
pub(super) fn is_seen(tx: &Tx<'_>, view: &View, stamp: Stamp) -> Result<bool, DbError> {
    Ok(stamp.hlc <= outbox::seen_through(tx, view.branch)?)
}

/// Returns the operation that made a version.
pub(super) fn operation_of(
    tx: &Tx<'_>,
    view: &View,
    row: Ino,
    stamp: Stamp,
) -> Result<Option<OperationId>, DbError> {
    tx.prepare_cached(
        "SELECT operation FROM change WHERE branch = ?1 AND hlc = ?2 AND actor = ?3 AND id = ?4",
    )
    .and_then(|mut stmt| {
        stmt.query_row(params![view.branch, stamp.hlc, stamp.actor, row], |row| row.get(0))
            .optional()
    })
    .doing("finding a version's operation")
}

/// Drops a version that the version `now` replaces in place: its predecessor, if it has one, is
/// what shows until then.
pub(super) fn replace(
    tx: &Tx<'_>,
    view: &View,
    old: FacetVersion,
    now: Stamp,
) -> Result<(), DbError> {
    forget(tx, view, old)?;
    if old.stamp != old.born {
        let directory = tx
            .prepare_cached(
                "UPDATE past SET until = ?5
                 WHERE id = ?1 AND branch = ?2 AND facet = ?3 AND until = ?4
                 RETURNING coalesce(parent, 0)",
            )
            .and_then(|mut stmt| {
                let facet = old.facet.number();
                let key = params![old.row, view.branch, facet, old.stamp.hlc, now.hlc];
                stmt.query_row(key, |row| row.get(0)).optional()
            })
            .doing("closing the gap that a version leaves")?;
        note_lost_name(tx, old.facet, directory, now);
    }
    Ok(())
}

/// Remembers that an edge of `directory` is in `past` from `now` on.
fn note_lost_name(tx: &Tx<'_>, facet: Facet, directory: Option<Ino>, now: Stamp) {
    if let Some(directory) = directory.filter(|directory| facet == Facet::Edge && directory.0 > 0) {
        tx.note_lost_name(directory, now.hlc);
    }
}

/// Takes one facet of a version out of the log; a row that says nothing any more goes.
pub(super) fn forget(tx: &Tx<'_>, view: &View, old: FacetVersion) -> Result<(), DbError> {
    let FacetVersion { row, facet, stamp, born } = old;
    let key = params![view.branch, stamp.hlc, stamp.actor, row, facet.bit()];
    // What a birth says in the log never becomes empty: it still says "created".
    if stamp != born {
        let gone = tx
            .prepare_cached(
                "DELETE FROM change WHERE branch = ?1 AND hlc = ?2 AND actor = ?3 AND id = ?4
                 AND what & ~?5 = 0",
            )
            .and_then(|mut stmt| stmt.execute(key))
            .doing("forgetting a logged change")?;
        if gone > 0 {
            return Ok(());
        }
    }
    tx.prepare_cached(
        "UPDATE change SET what = what & ~?5
         WHERE branch = ?1 AND hlc = ?2 AND actor = ?3 AND id = ?4",
    )
    .and_then(|mut stmt| stmt.execute(key))
    .doing("forgetting a part of a logged change")?;
    Ok(())
}

/// Copies the current version of a facet to `past`, visible until `now`. What the branch inherited
/// is kept where it is from.
pub(super) fn keep(tx: &Tx<'_>, view: &View, old: FacetVersion, now: Stamp) -> Result<(), DbError> {
    if view.inherits(old.stamp) {
        return Ok(());
    }
    let sql = match old.facet {
        Facet::Edge => {
            "INSERT INTO past (id, branch, facet, since, actor, until, parent, name, replaces)
             SELECT id, branch, 0, iif(e_since = 0, born, e_since),
                    iif(e_since = 0, born_actor, e_actor), ?3, parent, name, replaces
             FROM inodes WHERE id = ?1 AND branch = ?2
             RETURNING coalesce(parent, 0)"
        }
        Facet::Attributes => {
            "INSERT INTO past (id, branch, facet, since, actor, until, mode, attr)
             SELECT id, branch, 1, iif(a_since = 0, born, a_since),
                    iif(a_since = 0, born_actor, a_actor), ?3, mode, attr
             FROM inodes WHERE id = ?1 AND branch = ?2
             RETURNING coalesce(parent, 0)"
        }
        Facet::Content => {
            "INSERT INTO past (id, branch, facet, since, actor, until,
                               size, blob, mtime_ns, base, base_actor)
             SELECT id, branch, 2, iif(c_since = 0, born, c_since),
                    iif(c_since = 0, born_actor, c_actor), ?3,
                    size, blob, mtime_ns, base, base_actor
             FROM inodes WHERE id = ?1 AND branch = ?2
             RETURNING coalesce(parent, 0)"
        }
    };
    let directory = tx
        .prepare_cached(sql)
        .and_then(|mut stmt| {
            stmt.query_row(params![old.row, view.branch, now.hlc], |row| row.get(0)).optional()
        })
        .doing("keeping a superseded version")?;
    note_lost_name(tx, old.facet, directory, now);
    Ok(())
}

/// Notes in a directory's row that its edges changed at `stamp`; `false` where it is removed.
pub(super) fn touch_directory(
    tx: &Tx<'_>,
    view: &View,
    directory: Ino,
    stamp: Stamp,
    directories_delta: i64,
) -> Result<bool, DbError> {
    adopt(tx, view, directory)?;
    let live = tx
        .prepare_cached(
            "UPDATE inodes SET mtime_ns = ?3, nlink = nlink + ?4
             WHERE id = ?1 AND branch = ?2 AND nlink > 0",
        )
        .and_then(|mut stmt| {
            stmt.execute(params![directory, view.branch, stamp.hlc.unix_ns(), directories_delta])
        })
        .doing("noting a change in a directory")?;
    Ok(live > 0)
}

/// Notes in an inode's row that it has more or fewer live edges since `stamp`, or that something
/// beside its facets changed.
pub(super) fn count_links(
    tx: &Tx<'_>,
    view: &View,
    ino: Ino,
    stamp: Stamp,
    delta: i64,
) -> Result<(), DbError> {
    adopt(tx, view, ino)?;
    tx.prepare_cached(
        "UPDATE inodes SET nlink = nlink + ?4, ctime_ns = ?3 WHERE id = ?1 AND branch = ?2",
    )
    .and_then(|mut stmt| stmt.execute(params![ino, view.branch, stamp.hlc.unix_ns(), delta]))
    .doing("counting an inode's links")?;
    Ok(())
}
