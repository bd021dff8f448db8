//! Conflicts: what a merge or an undo could not decide, kept as values until somebody does.

use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};

use super::{
    View,
    history::{left_last, predecessors},
    inode::edge,
    operation::undone_by,
    row::{Row, row},
    view::NOW,
};
use crate::{
    conflict_name::conflict_name,
    db::{DbError, Doing as _, Tx},
    id::{ActorNumber, BlobNumber, BranchNumber, Hlc, Ino, OperationId, Stamp},
    name::Name,
};

/// What two sides disagree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictKind {
    /// The bytes of a file.
    Content,
    /// Where a file or directory hangs.
    Place,
    /// Which of two files has a name; the younger shows under another one.
    Name,
}

impl ConflictKind {
    fn number(self) -> i64 {
        match self {
            Self::Content => 0,
            Self::Place => 1,
            Self::Name => 2,
        }
    }

    fn of(number: i64) -> Self {
        match number {
            0 => Self::Content,
            1 => Self::Place,
            _ => Self::Name,
        }
    }
}

/// One side of a conflict: the one that does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its number on this node.
    pub number: i64,
    /// Whose other side shows.
    pub ino: Ino,
    /// What the sides disagree on.
    pub kind: ConflictKind,
    /// The merge or undo that found it.
    pub operation: OperationId,
    /// The branch had this side, and what came shows; else this side came.
    pub is_ours: bool,
    /// The version of this side.
    pub version: Stamp,
    /// Its bytes, of [`ConflictKind::Content`].
    pub size: u64,
    /// Where they are.
    pub blob: Option<BlobNumber>,
    /// When they were written, in Unix nanoseconds.
    pub mtime_ns: i64,
    /// Where it would hang, of the others; `None` is nowhere.
    pub place: Option<(Ino, Name)>,
    /// The version that both sides began with, and whose it is, of [`ConflictKind::Content`].
    pub base: Option<(Ino, Stamp)>,
    /// What has the name, of [`ConflictKind::Name`].
    pub rival: Option<Ino>,
}

/// A conflict that was just found.
pub(super) struct Found<'a> {
    pub(super) kind: ConflictKind,
    /// Whose other side shows.
    pub(super) ino: Ino,
    /// The side that does not.
    pub(super) side: &'a Row,
    pub(super) is_ours: bool,
    /// What both began with.
    pub(super) base: Option<&'a Row>,
    pub(super) rival: Option<Ino>,
}

/// Keeps one side as a value.
pub(super) fn store_conflict(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    found: &Found<'_>,
) -> Result<Conflict, DbError> {
    let Found { kind, ino, side, is_ours, base, rival } = *found;
    let content = side.content.as_ref().filter(|_| kind == ConflictKind::Content);
    let base = content.and(base).and_then(|row| Some((row.id, row.content.as_ref()?.version)));
    let version = content.map_or(side.edge.version, |content| content.version);
    let name = Name::from_bytes(&side.edge.name).ok();
    let place = name.filter(|_| kind != ConflictKind::Content && side.is_live());
    tx.prepare_cached(
        "INSERT INTO conflicts (branch, id, kind, operation, since, actor, size, blob, mtime_ns,
                                parent, name, is_ours, base_id, base, base_actor, rival)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![
            view.branch,
            ino,
            kind.number(),
            operation,
            version.hlc,
            version.actor,
            content.map(|content| content.size),
            content.and_then(|content| content.blob),
            content.map(|content| content.mtime_ns),
            place.as_ref().map(|_| side.edge.parent),
            place,
            is_ours,
            base.map(|(ino, _)| ino),
            base.map(|(_, version)| version.hlc),
            base.map(|(_, version)| version.actor),
            rival,
        ])
    })
    .doing("keeping a conflict")?;
    Ok(Conflict {
        number: tx.last_insert_rowid(),
        ino,
        kind,
        operation,
        version,
        size: content.map_or(0, |content| content.size.cast_unsigned()),
        blob: content.and_then(|content| content.blob),
        mtime_ns: content.map_or(0, |content| content.mtime_ns),
        place: place.map(|name| (side.edge.parent, name)),
        is_ours,
        base,
        rival,
    })
}

/// Keeps the current content of a file as one side of a conflict: writers that began with an older
/// one are about to publish theirs. Returns its blob, which one more version names now.
///
/// # Errors
///
/// A failed statement.
pub fn keep_as_conflict(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    ino: Ino,
) -> Result<Option<BlobNumber>, DbError> {
    let Some(current) = row(tx, view, ino)? else { return Ok(None) };
    let (kind, side, base) = (ConflictKind::Content, &current, None);
    let found = Found { kind, ino, side, is_ours: false, base, rival: None };
    Ok(store_conflict(tx, view, operation, &found)?.blob)
}

macro_rules! conflict_columns {
    () => {
        "number, id, kind, operation, since, actor, size, blob, mtime_ns, parent, name, is_ours, \
         base_id, base, base_actor, rival"
    };
}

/// Returns the open conflicts of a branch, file by file.
///
/// # Errors
///
/// A failed query.
pub fn conflicts(conn: &Connection, view: &View) -> Result<Vec<Conflict>, DbError> {
    conn.prepare_cached(concat!(
        "SELECT ",
        conflict_columns!(),
        " FROM conflicts WHERE branch = ?1 AND resolved IS NULL ORDER BY id, number"
    ))
    .and_then(|mut stmt| stmt.query_map([view.branch], read)?.collect())
    .doing("listing conflicts")
}

/// Returns the open conflicts of what has a name in a directory, and of whatever else claims that
/// name, oldest first.
///
/// What has the name, or had it last, counts for every file that it replaced, as editors save.
///
/// # Errors
///
/// A failed query.
pub fn conflicts_at(
    conn: &Connection,
    view: &View,
    (parent, name): (Ino, &Name),
) -> Result<Vec<Conflict>, DbError> {
    let mut found: Vec<Conflict> = conn
        .prepare_cached(concat!(
            "SELECT ",
            conflict_columns!(),
            " FROM conflicts WHERE branch = ?1 AND resolved IS NULL AND kind = 2
             AND parent = ?2 AND name = ?3"
        ))
        .and_then(|mut stmt| stmt.query_map(params![view.branch, parent, name], read)?.collect())
        .doing("listing the conflicts about a name")?;
    let there = match edge(conn, view, parent, name)? {
        Some(there) => Some((there.row(), there.ino)),
        None => left_last(conn, view, parent, name)?.map(|(ino, _)| (ino, ino)),
    };
    if let Some((row, ino)) = there {
        let mut ids = predecessors(conn, view, ino)?;
        ids.insert(row);
        for id in ids {
            found.extend(conflicts_of(conn, view, id)?);
        }
    }
    found.sort_by_key(|conflict| conflict.number);
    found.dedup_by_key(|conflict| conflict.number);
    Ok(found)
}

/// Returns an open conflict of a branch by its number.
///
/// # Errors
///
/// A failed query.
pub fn conflict(conn: &Connection, view: &View, number: i64) -> Result<Option<Conflict>, DbError> {
    conn.prepare_cached(concat!(
        "SELECT ",
        conflict_columns!(),
        " FROM conflicts WHERE number = ?2 AND branch = ?1 AND resolved IS NULL"
    ))
    .and_then(|mut stmt| stmt.query_row(params![view.branch, number], read).optional())
    .doing("finding a conflict by its number")
}

fn conflicts_of(conn: &Connection, view: &View, id: Ino) -> Result<Vec<Conflict>, DbError> {
    conn.prepare_cached(concat!(
        "SELECT ",
        conflict_columns!(),
        " FROM conflicts WHERE branch = ?1 AND id = ?2 AND resolved IS NULL"
    ))
    .and_then(|mut stmt| stmt.query_map(params![view.branch, id], read)?.collect())
    .doing("listing the conflicts of a file")
}

/// Counts the open conflicts of a branch.
///
/// # Errors
///
/// A failed query.
pub fn conflict_count(conn: &Connection, branch: BranchNumber) -> Result<u64, DbError> {
    conn.prepare_cached("SELECT count(*) FROM conflicts WHERE branch = ?1 AND resolved IS NULL")
        .and_then(|mut stmt| stmt.query_row([branch], |row| row.get::<_, i64>(0)))
        .map(i64::cast_unsigned)
        .doing("counting conflicts")
}

/// Notes that an operation decided a conflict; its side stays in history.
pub(super) fn mark_resolved(
    tx: &Tx<'_>,
    number: i64,
    operation: OperationId,
) -> Result<(), DbError> {
    tx.prepare_cached("INSERT OR IGNORE INTO resolutions (conflict, operation) VALUES (?1, ?2)")
        .and_then(|mut stmt| stmt.execute(params![number, operation]))
        .doing("noting who decided a conflict")?;
    refresh(tx, number)
}

/// Opens and closes the conflicts that an operation found or decided, which was just done, undone
/// or redone.
pub(super) fn refresh_conflicts(tx: &Tx<'_>, operation: OperationId) -> Result<(), DbError> {
    let numbers: Vec<i64> = tx
        .prepare_cached(
            "SELECT number FROM conflicts WHERE operation = ?1
             UNION ALL SELECT conflict FROM resolutions WHERE operation = ?1",
        )
        .and_then(|mut stmt| stmt.query_map([operation], |row| row.get(0))?.collect())
        .doing("finding the conflicts of an operation")?;
    numbers.into_iter().try_for_each(|number| refresh(tx, number))
}

/// A conflict is open while what found it is in force and nothing that decided it is.
fn refresh(tx: &Tx<'_>, number: i64) -> Result<(), DbError> {
    let found: Option<OperationId> = tx
        .prepare_cached("SELECT operation FROM conflicts WHERE number = ?1")
        .and_then(|mut stmt| stmt.query_row([number], |row| row.get(0)).optional())
        .doing("finding a conflict")?;
    let Some(found) = found else { return Ok(()) };
    let decided: Vec<OperationId> = tx
        .prepare_cached("SELECT operation FROM resolutions WHERE conflict = ?1")
        .and_then(|mut stmt| stmt.query_map([number], |row| row.get(0))?.collect())
        .doing("finding who decided a conflict")?;
    let mut is_open = undone_by(tx, found, NOW)?.is_none();
    for operation in decided {
        is_open = is_open && undone_by(tx, operation, NOW)?.is_some();
    }
    let closed = (!is_open).then(|| tx.next_stamp().hlc);
    tx.prepare_cached(
        "UPDATE conflicts SET resolved = ?2
         WHERE number = ?1 AND (resolved IS NULL) <> (?2 IS NULL)",
    )
    .and_then(|mut stmt| stmt.execute(params![number, closed]))
    .doing("opening or closing a conflict")?;
    Ok(())
}

/// Returns the first conflict name of what was born or written at `by` that is free in a directory.
pub(super) fn free_conflict_name(
    conn: &Connection,
    view: &View,
    (parent, name): (Ino, &Name),
    by: Stamp,
) -> Result<Name, DbError> {
    let actor = actor_of(conn, by.actor)?;
    let mut attempt = 1;
    loop {
        let aside = conflict_name(name, by.hlc, &actor, attempt);
        if edge(conn, view, parent, &aside)?.is_none() {
            return Ok(aside);
        }
        attempt += 1;
    }
}

/// Returns the 16 bytes that an actor's number stands for.
fn actor_of(conn: &Connection, actor: ActorNumber) -> Result<[u8; 16], DbError> {
    let found: Option<[u8; 16]> = conn
        .prepare_cached("SELECT actor FROM actors WHERE number = ?1")
        .and_then(|mut stmt| stmt.query_row([actor], |row| row.get(0)).optional())
        .doing("reading an actor")?;
    // This run's is stored with its first transaction.
    Ok(found.unwrap_or_default())
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<Conflict> {
    let parent: Option<Ino> = row.get(9)?;
    let name: Option<Name> = row.get(10)?;
    let since: Hlc = row.get(4)?;
    Ok(Conflict {
        number: row.get(0)?,
        ino: row.get(1)?,
        kind: ConflictKind::of(row.get(2)?),
        operation: row.get(3)?,
        version: Stamp { hlc: since, actor: row.get(5)? },
        size: row.get::<_, Option<i64>>(6)?.unwrap_or(0).cast_unsigned(),
        blob: row.get(7)?,
        mtime_ns: row.get::<_, Option<i64>>(8)?.unwrap_or(0),
        place: parent.zip(name),
        is_ours: row.get(11)?,
        base: base(row.get(12)?, row.get(13)?, row.get(14)?),
        rival: row.get(15)?,
    })
}

fn base(ino: Option<Ino>, hlc: Option<Hlc>, actor: Option<ActorNumber>) -> Option<(Ino, Stamp)> {
    Some((ino?, Stamp { hlc: hlc?, actor: actor? }))
}
