//! Branches and snapshots of a bucket: lines of versions, each over what its parent showed.
//!
//! The idea of branches that are rows over their parent's is Fossil's; a snapshot is a branch that
//! nothing is written to. Making either writes one row, whatever the tree's size.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    bucket::Bucket,
    db::{DbError, Doing as _, Tx},
    id::{BranchNumber, BucketNumber, Hlc, Stamp},
    schedule,
};

/// The first branch of every bucket.
pub const MAIN: &str = "main";
/// Longest name in bytes.
pub const BRANCH_NAME_BYTES_MAX: usize = 64;
/// Branches and snapshots of one bucket that are in use: a bound, not a limit that
/// anybody should meet.
const BRANCHES_MAX: i64 = 100_000;

/// A branch or snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Its local number.
    pub number: BranchNumber,
    /// The bucket it is of.
    pub bucket: BucketNumber,
    /// What people call it.
    pub name: String,
    /// The branch it was forked from, and what it shows of that; `None` for [`MAIN`].
    pub fork: Option<Fork>,
    /// Its id everywhere, and when it was made.
    pub born: Stamp,
    /// Nothing is written to it: it is a snapshot.
    pub frozen: bool,
    /// When it was abandoned, in Unix nanoseconds; `None` while it is in use.
    pub abandoned_ns: Option<i64>,
}

/// Where a branch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Of which branch.
    pub parent: BranchNumber,
    /// What that showed up to this reading.
    pub through: Hlc,
}

/// What a new branch begins with.
#[derive(Clone, Copy, Debug)]
pub struct NewBranch<'a> {
    /// What people call it: unique among the branches and snapshots of the bucket.
    pub name: &'a str,
    /// The branch or snapshot it begins with.
    pub from: &'a Branch,
    /// What that showed up to this reading; `None` for all that it shows now.
    pub at: Option<Hlc>,
    /// It is a snapshot.
    pub frozen: bool,
}

/// Why a branch could not be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    /// No branch or snapshot in use has this name.
    #[error("bucket '{bucket}' has no branch or snapshot named '{name}'")]
    NotFound {
        /// The bucket.
        bucket: String,
        /// What was asked for.
        name: String,
    },
    /// A branch or snapshot in use has this name.
    #[error("bucket '{bucket}' has a {what} named '{name}' already", what = kind(*frozen))]
    NameTaken {
        /// The bucket.
        bucket: String,
        /// What was asked for.
        name: String,
        /// What has the name is a snapshot.
        frozen: bool,
    },
    /// It is in use, and no other of that name was abandoned.
    #[error("no branch or snapshot of '{bucket}' named '{name}' was abandoned")]
    NotAbandoned {
        /// The bucket.
        bucket: String,
        /// What was asked for.
        name: String,
    },
    /// The name breaks a rule.
    #[error("'{name}' is no name for a branch or snapshot: {rule}")]
    BadName {
        /// What was asked for.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// It is what an automatic snapshot is called.
    #[error("'{name}' is what an automatic snapshot is called")]
    Automatic {
        /// What was asked for.
        name: String,
    },
    /// The first branch keeps its name and stays.
    #[error("the branch '{MAIN}' can be neither renamed nor abandoned")]
    IsMain,
    /// At that time there was nothing to begin with.
    #[error("'{name}' did not exist yet at that time")]
    BeforeBirth {
        /// The branch to begin with.
        name: String,
    },
    /// There are too many.
    #[error("a bucket can not have more than {BRANCHES_MAX} branches and snapshots")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

fn kind(frozen: bool) -> &'static str {
    if frozen { "snapshot" } else { "branch" }
}

/// Checks a name: 1 to 64 bytes, no control characters, none of `/ : @`, no leading dot or dash.
///
/// # Errors
///
/// [`BranchError::BadName`] with the rule.
pub fn check_name(name: &str) -> Result<(), BranchError> {
    match crate::bucket::broken_rule(name) {
        Some(rule) => Err(BranchError::BadName { name: name.into(), rule }),
        None => Ok(()),
    }
}

/// Refuses names of [automatic](schedule::automatic) snapshots: what has one is removed when the time
/// of an automatic snapshot of that name is over.
///
/// # Errors
///
/// [`BranchError::Automatic`].
pub fn check_not_automatic(name: &str) -> Result<(), BranchError> {
    match schedule::automatic(name) {
        Some(_) => Err(BranchError::Automatic { name: name.into() }),
        None => Ok(()),
    }
}

/// Makes a branch or a snapshot; nothing is copied.
///
/// # Errors
///
/// [`BranchError::BadName`], [`BranchError::NameTaken`], [`BranchError::BeforeBirth`],
/// [`BranchError::TooMany`], or the database's.
pub fn create(tx: &Tx<'_>, bucket: &Bucket, new: &NewBranch<'_>) -> Result<Branch, BranchError> {
    check_name(new.name)?;
    require_free(tx, bucket, new.name)?;
    require_room(tx, bucket)?;
    let born = tx.next_stamp();
    let through = new.at.unwrap_or(born.hlc).min(born.hlc);
    // Of main there is nothing before its root; a branch had its parent's past before.
    if new.from.fork.is_none() && through < new.from.born.hlc {
        return Err(BranchError::BeforeBirth { name: new.from.name.clone() });
    }
    tx.prepare_cached(
        "INSERT INTO branches (bucket, name, root, parent, fork, born, born_actor, frozen)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![
            bucket.number,
            new.name,
            bucket.root,
            new.from.number,
            through,
            born.hlc,
            born.actor,
            new.frozen,
        ])
    })
    .doing("making a branch")?;
    Ok(Branch {
        number: BranchNumber(tx.last_insert_rowid()),
        bucket: bucket.number,
        name: new.name.into(),
        fork: Some(Fork { parent: new.from.number, through }),
        born,
        frozen: new.frozen,
        abandoned_ns: None,
    })
}

macro_rules! branch_columns {
    () => {
        "number, bucket, name, parent, fork, born, born_actor, frozen, abandoned_ns"
    };
}

/// Returns the branch or snapshot in use that has this name.
///
/// # Errors
///
/// A failed query.
pub fn find(conn: &Connection, bucket: &Bucket, name: &str) -> Result<Option<Branch>, DbError> {
    conn.prepare_cached(concat!(
        "SELECT ",
        branch_columns!(),
        " FROM branches WHERE bucket = ?1 AND name = ?2 AND abandoned_ns IS NULL"
    ))
    .and_then(|mut stmt| stmt.query_row(params![bucket.number, name], read).optional())
    .doing("finding a branch")
}

/// The same, where there has to be one.
///
/// # Errors
///
/// [`BranchError::NotFound`], or the database's.
pub fn require(conn: &Connection, bucket: &Bucket, name: &str) -> Result<Branch, BranchError> {
    find(conn, bucket, name)?
        .ok_or_else(|| BranchError::NotFound { bucket: bucket.name.clone(), name: name.into() })
}

/// Returns a branch by its number, an abandoned one, too.
///
/// # Errors
///
/// A failed query.
pub fn by_number(conn: &Connection, number: BranchNumber) -> Result<Option<Branch>, DbError> {
    conn.prepare_cached(concat!("SELECT ", branch_columns!(), " FROM branches WHERE number = ?1"))
        .and_then(|mut stmt| stmt.query_row([number], read).optional())
        .doing("finding a branch")
}

/// Returns every branch and snapshot of a bucket, abandoned ones included, oldest first; not those
/// that are being forgotten.
///
/// # Errors
///
/// A failed query.
pub fn list(conn: &Connection, bucket: &Bucket) -> Result<Vec<Branch>, DbError> {
    conn.prepare_cached(concat!(
        "SELECT ",
        branch_columns!(),
        " FROM branches WHERE bucket = ?1 AND coalesce(abandoned_ns, 1) <> 0 ORDER BY number"
    ))
    .and_then(|mut stmt| stmt.query_map([bucket.number], read)?.collect())
    .doing("listing branches")
}

/// Gives a branch or snapshot another name.
///
/// # Errors
///
/// [`BranchError::NotFound`], [`BranchError::NameTaken`], [`BranchError::BadName`],
/// [`BranchError::IsMain`], or the database's.
pub fn rename(tx: &Tx<'_>, bucket: &Bucket, name: &str, to: &str) -> Result<Branch, BranchError> {
    check_name(to)?;
    let branch = require_forked(tx, bucket, name)?;
    if name != to {
        require_free(tx, bucket, to)?;
    }
    tx.prepare_cached("UPDATE branches SET name = ?2 WHERE number = ?1")
        .and_then(|mut stmt| stmt.execute(params![branch.number, to]))
        .doing("renaming a branch")?;
    Ok(Branch { name: to.into(), ..branch })
}

/// Marks a branch or snapshot as no longer in use; it can be [restored](restore).
///
/// # Errors
///
/// [`BranchError::NotFound`], [`BranchError::IsMain`], or the database's.
pub fn abandon(tx: &Tx<'_>, bucket: &Bucket, name: &str) -> Result<Branch, BranchError> {
    let branch = require_forked(tx, bucket, name)?;
    let now_ns = tx.now_ns();
    tx.prepare_cached("UPDATE branches SET abandoned_ns = ?2 WHERE number = ?1")
        .and_then(|mut stmt| stmt.execute(params![branch.number, now_ns]))
        .doing("abandoning a branch")?;
    Ok(Branch { abandoned_ns: Some(now_ns), ..branch })
}

/// Brings the most recently abandoned branch or snapshot of this name back.
///
/// # Errors
///
/// [`BranchError::NotFound`] or [`BranchError::NotAbandoned`] when none was abandoned,
/// [`BranchError::NameTaken`] when another one
/// has the name by now, or the database's.
pub fn restore(tx: &Tx<'_>, bucket: &Bucket, name: &str) -> Result<Branch, BranchError> {
    let newest = list(tx, bucket)?
        .into_iter()
        .filter(|branch| branch.name == name && branch.abandoned_ns.is_some())
        .max_by_key(|branch| branch.abandoned_ns);
    let Some(newest) = newest else {
        require(tx, bucket, name)?;
        return Err(BranchError::NotAbandoned { bucket: bucket.name.clone(), name: name.into() });
    };
    require_free(tx, bucket, name)?;
    tx.prepare_cached("UPDATE branches SET abandoned_ns = NULL WHERE number = ?1")
        .and_then(|mut stmt| stmt.execute([newest.number]))
        .doing("restoring a branch")?;
    Ok(Branch { abandoned_ns: None, ..newest })
}

fn require_forked(conn: &Connection, bucket: &Bucket, name: &str) -> Result<Branch, BranchError> {
    let branch = require(conn, bucket, name)?;
    if branch.fork.is_none() { Err(BranchError::IsMain) } else { Ok(branch) }
}

fn require_free(conn: &Connection, bucket: &Bucket, name: &str) -> Result<(), BranchError> {
    match find(conn, bucket, name)? {
        Some(taken) => Err(BranchError::NameTaken {
            bucket: bucket.name.clone(),
            name: name.into(),
            frozen: taken.frozen,
        }),
        None => Ok(()),
    }
}

fn require_room(conn: &Connection, bucket: &Bucket) -> Result<(), BranchError> {
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM branches WHERE bucket = ?1 AND abandoned_ns IS NULL")
        .and_then(|mut stmt| stmt.query_row([bucket.number], |row| row.get(0)))
        .doing("counting branches")?;
    if count >= BRANCHES_MAX { Err(BranchError::TooMany) } else { Ok(()) }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Branch> {
    let parent: Option<BranchNumber> = row.get(3)?;
    let through: Option<Hlc> = row.get(4)?;
    Ok(Branch {
        number: row.get(0)?,
        bucket: row.get(1)?,
        name: row.get(2)?,
        fork: parent.zip(through).map(|(parent, through)| Fork { parent, through }),
        born: Stamp { hlc: row.get(5)?, actor: row.get(6)? },
        frozen: row.get(7)?,
        abandoned_ns: row.get(8)?,
    })
}

#[cfg(test)]
mod tests;
