//! Conflicts: what a merge or an undo could not decide, kept as values until somebody does.

use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};

use super::{
    View,
    inode::edge,
    row::{Row, row},
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
}

/// Keeps one side as a value.
pub(super) fn store_conflict(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    kind: ConflictKind,
    ino: Ino,
    side: &Row,
) -> Result<Conflict, DbError> {
    let content = side.content.as_ref().filter(|_| kind == ConflictKind::Content);
    let version = content.map_or(side.edge.version, |content| content.version);
    let name = Name::from_bytes(&side.edge.name).ok();
    let place = name.filter(|_| kind != ConflictKind::Content && side.is_live());
    tx.prepare_cached(
        "INSERT INTO conflicts (branch, id, kind, operation, since, actor, size, blob, mtime_ns,
                                parent, name)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
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
    let conflict = store_conflict(tx, view, operation, ConflictKind::Content, ino, &current)?;
    Ok(conflict.blob)
}

/// Returns the open conflicts of a branch, oldest first.
///
/// # Errors
///
/// A failed query.
pub fn conflicts(conn: &Connection, view: &View) -> Result<Vec<Conflict>, DbError> {
    conn.prepare_cached(
        "SELECT number, id, kind, operation, since, actor, size, blob, mtime_ns, parent, name
         FROM conflicts WHERE branch = ?1 AND resolved IS NULL ORDER BY id, number",
    )
    .and_then(|mut stmt| stmt.query_map([view.branch], read)?.collect())
    .doing("listing conflicts")
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

/// Notes that a conflict was decided; its side stays in history.
pub(super) fn mark_resolved(tx: &Tx<'_>, number: i64) -> Result<(), DbError> {
    tx.prepare_cached("UPDATE conflicts SET resolved = ?2 WHERE number = ?1")
        .and_then(|mut stmt| stmt.execute(params![number, tx.next_stamp().hlc]))
        .doing("resolving a conflict")?;
    Ok(())
}

/// Notes that the conflicts an operation left are void: it was undone.
pub(super) fn void_conflicts(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
) -> Result<(), DbError> {
    tx.prepare_cached(
        "UPDATE conflicts SET resolved = ?3
         WHERE branch = ?1 AND operation = ?2 AND resolved IS NULL",
    )
    .and_then(|mut stmt| stmt.execute(params![view.branch, operation, tx.next_stamp().hlc]))
    .doing("voiding an operation's conflicts")?;
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
    })
}
