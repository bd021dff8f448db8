//! Buckets: named trees, each with its own history, members and secret.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    branch,
    db::{DbError, Doing as _, Tx},
    id::{BranchNumber, BucketId, BucketNumber, Ino},
    tree,
};

/// Longest name of a bucket in bytes: it is typed, shown in tables and stands in paths.
pub const BUCKET_NAME_BYTES_MAX: usize = 64;

/// How many buckets one node keeps, removed ones included.
const BUCKETS_MAX: i64 = 10_000;

/// A bucket of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its local number.
    pub number: BucketNumber,
    /// Its id everywhere.
    pub id: BucketId,
    /// What people call it.
    pub name: String,
    /// Its branch `main`.
    pub main: BranchNumber,
    /// The root directory.
    pub root: Ino,
    /// When it was created, in Unix nanoseconds.
    pub created_ns: i64,
    /// When it was removed, in Unix nanoseconds; `None` while it is in use.
    pub removed_ns: Option<i64>,
}

/// Who owns the root directory of a new bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
}

/// Why a bucket could not be created, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// No bucket in use has this name.
    #[error("no bucket named '{name}'")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// A bucket in use has this name.
    #[error("a bucket named '{name}' exists already")]
    NameTaken {
        /// What was asked for.
        name: String,
    },
    /// The name breaks a rule.
    #[error("'{name}' is no name for a bucket: {rule}")]
    BadName {
        /// What was asked for.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// There are too many.
    #[error("this node keeps {BUCKETS_MAX} buckets already")]
    TooMany,
    /// The system gave no randomness.
    #[error("no randomness for a new bucket: {0}")]
    NoRandomness(getrandom::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Checks a name: 1 to 64 bytes, no control characters, none of `/ : @`, no leading dot or dash.
///
/// # Errors
///
/// [`BucketError::BadName`] with the rule.
pub fn check_name(name: &str) -> Result<(), BucketError> {
    match broken_rule(name) {
        Some(rule) => Err(BucketError::BadName { name: name.into(), rule }),
        None => Ok(()),
    }
}

/// Returns the rule that a name for a bucket, branch or snapshot breaks.
pub(crate) fn broken_rule(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > BUCKET_NAME_BYTES_MAX {
        Some("it has more than 64 bytes")
    } else if name.starts_with(['.', '-']) {
        Some("it begins with a dot or a dash")
    } else if name.contains(['/', ':', '@']) {
        Some("it contains one of / : @")
    } else if name.chars().any(char::is_control) {
        Some("it contains a control character")
    } else {
        None
    }
}

/// Creates an empty bucket with its branch `main`, its root directory and the secret of epoch 0.
///
/// # Errors
///
/// [`BucketError::BadName`], [`BucketError::NameTaken`], [`BucketError::TooMany`], or the
/// database's.
pub fn create(tx: &Tx<'_>, name: &str, owner: Owner) -> Result<Bucket, BucketError> {
    check_name(name)?;
    require_free(tx, name)?;
    let count: i64 = tx
        .prepare_cached("SELECT count(*) FROM buckets")
        .and_then(|mut stmt| stmt.query_row([], |row| row.get(0)))
        .doing("counting buckets")?;
    if count >= BUCKETS_MAX {
        return Err(BucketError::TooMany);
    }
    let mut id = [0; 16];
    let mut secret = [0; 32];
    getrandom::fill(&mut id).map_err(BucketError::NoRandomness)?;
    getrandom::fill(&mut secret).map_err(BucketError::NoRandomness)?;
    let id = BucketId(id);
    tx.prepare_cached(
        "INSERT INTO buckets (bucket_id, name, secret, created_ns) VALUES (?1, ?2, ?3, ?4)",
    )
    .and_then(|mut stmt| stmt.execute(params![id, name, secret.as_slice(), tx.now_ns()]))
    .doing("creating a bucket")?;
    let number = BucketNumber(tx.last_insert_rowid());
    let root = tx.next_ino()?;
    let born = tx.next_stamp();
    tx.prepare_cached(
        "INSERT INTO branches (bucket, name, root, born, born_actor, frozen)
         VALUES (?1, ?2, ?3, ?4, ?5, 0)",
    )
    .and_then(|mut stmt| stmt.execute(params![number, branch::MAIN, root, born.hlc, born.actor]))
    .doing("creating a bucket's branch")?;
    let main = BranchNumber(tx.last_insert_rowid());
    tree::create_root(tx, (number, main), (root, born), owner)?;
    find(tx, name)?.ok_or_else(|| BucketError::NotFound { name: name.into() })
}

macro_rules! bucket_columns {
    () => {
        "b.number, b.bucket_id, b.name, b.created_ns, b.removed_ns, m.number, m.root"
    };
}

/// Returns the bucket in use that has this name.
///
/// # Errors
///
/// A failed query.
pub fn find(conn: &Connection, name: &str) -> Result<Option<Bucket>, DbError> {
    conn.prepare_cached(concat!(
        "SELECT ",
        bucket_columns!(),
        " FROM buckets AS b LEFT JOIN branches AS m ON m.bucket = b.number AND m.name = 'main'
                                     AND m.abandoned_ns IS NULL
         WHERE b.name = ?1 AND b.removed_ns IS NULL"
    ))
    .and_then(|mut stmt| stmt.query_row([name], read).optional())
    .doing("finding a bucket")
}

/// Returns every bucket, removed ones included, by name; not those that are being forgotten.
///
/// # Errors
///
/// A failed query.
pub fn list(conn: &Connection) -> Result<Vec<Bucket>, DbError> {
    conn.prepare_cached(concat!(
        "SELECT ",
        bucket_columns!(),
        " FROM buckets AS b LEFT JOIN branches AS m ON m.bucket = b.number AND m.name = 'main'
                                     AND m.abandoned_ns IS NULL
         WHERE coalesce(b.removed_ns, 1) <> 0 ORDER BY b.name, b.number"
    ))
    .and_then(|mut stmt| stmt.query_map([], read)?.collect())
    .doing("listing buckets")
}

/// Gives a bucket another name.
///
/// # Errors
///
/// [`BucketError::NotFound`], [`BucketError::NameTaken`], [`BucketError::BadName`], or the
/// database's.
pub fn rename(tx: &Tx<'_>, name: &str, to: &str) -> Result<(), BucketError> {
    check_name(to)?;
    let bucket = require(tx, name)?;
    if name != to {
        require_free(tx, to)?;
    }
    tx.prepare_cached("UPDATE buckets SET name = ?2 WHERE number = ?1")
        .and_then(|mut stmt| stmt.execute(params![bucket.number, to]))
        .doing("renaming a bucket")?;
    Ok(())
}

/// Marks a bucket as removed; it can be [restored](restore) until it is forgotten, 30 days later.
///
/// # Errors
///
/// [`BucketError::NotFound`], or the database's.
pub fn remove(tx: &Tx<'_>, name: &str) -> Result<Bucket, BucketError> {
    let bucket = require(tx, name)?;
    tx.prepare_cached("UPDATE buckets SET removed_ns = ?2 WHERE number = ?1")
        .and_then(|mut stmt| stmt.execute(params![bucket.number, tx.now_ns()]))
        .doing("removing a bucket")?;
    Ok(bucket)
}

/// Brings the most recently removed bucket of this name back.
///
/// # Errors
///
/// [`BucketError::NotFound`] when none was removed, [`BucketError::NameTaken`] when another one
/// has the name by now, or the database's.
pub fn restore(tx: &Tx<'_>, name: &str) -> Result<Bucket, BucketError> {
    require_free(tx, name)?;
    let newest = list(tx)?
        .into_iter()
        .filter(|bucket| bucket.name == name)
        .max_by_key(|bucket| bucket.removed_ns)
        .ok_or_else(|| BucketError::NotFound { name: name.into() })?;
    tx.prepare_cached("UPDATE buckets SET removed_ns = NULL WHERE number = ?1")
        .and_then(|mut stmt| stmt.execute([newest.number]))
        .doing("restoring a bucket")?;
    Ok(Bucket { removed_ns: None, ..newest })
}

/// Returns the bucket that was last mounted at `path` and is still in use, and which branch of it.
///
/// # Errors
///
/// A failed query.
pub fn mounted_at(
    conn: &Connection,
    path: &[u8],
) -> Result<Option<(Bucket, BranchNumber)>, DbError> {
    conn.prepare_cached(concat!(
        "SELECT ",
        bucket_columns!(),
        ", coalesce(p.branch, m.number) FROM mount_points AS p JOIN buckets AS b ON b.number = p.bucket
         LEFT JOIN branches AS m ON m.bucket = b.number AND m.name = 'main'
                                     AND m.abandoned_ns IS NULL
         WHERE p.path = ?1 AND b.removed_ns IS NULL"
    ))
    .and_then(|mut stmt| {
        stmt.query_row([path], |row| Ok((read(row)?, row.get(7)?))).optional()
    })
    .doing("finding what was mounted there")
}

/// Remembers that `path` shows a branch of `bucket`, for [`mounted_at`].
///
/// # Errors
///
/// A failed statement.
pub fn remember_mount_point(
    tx: &Tx<'_>,
    path: &[u8],
    bucket: BucketNumber,
    branch: BranchNumber,
) -> Result<(), DbError> {
    tx.prepare_cached(
        "INSERT INTO mount_points (path, bucket, branch) VALUES (?1, ?2, ?3)
         ON CONFLICT (path) DO UPDATE SET bucket = ?2, branch = ?3",
    )
    .and_then(|mut stmt| stmt.execute(params![path, bucket, branch]))
    .doing("remembering a mount point")?;
    Ok(())
}

fn require(conn: &Connection, name: &str) -> Result<Bucket, BucketError> {
    find(conn, name)?.ok_or_else(|| BucketError::NotFound { name: name.into() })
}

fn require_free(conn: &Connection, name: &str) -> Result<(), BucketError> {
    match find(conn, name)? {
        Some(_) => Err(BucketError::NameTaken { name: name.into() }),
        None => Ok(()),
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Bucket> {
    Ok(Bucket {
        number: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        created_ns: row.get(3)?,
        removed_ns: row.get(4)?,
        main: row.get(5)?,
        root: row.get(6)?,
    })
}

#[cfg(test)]
mod tests;
