//! Why the database failed, and how an error is shown with its causes.

use std::{error::Error, fmt, path::PathBuf};

use rusqlite::{ErrorCode, ffi::SQLITE_IOERR_SHMSIZE};

/// A failed statement or transaction, with what it was for.
#[derive(Debug, thiserror::Error)]
#[error("node database failed while {doing}")]
pub struct DbError {
    /// What was being done.
    pub doing: &'static str,
    /// SQLite's reason.
    #[source]
    pub source: rusqlite::Error,
}

impl DbError {
    /// Says whether the disk is full.
    pub fn is_full(&self) -> bool {
        // The second one is how SQLite says that the index of its log can not grow.
        let extended = self.source.sqlite_error().map(|err| err.extended_code);
        self.source.sqlite_error_code() == Some(ErrorCode::DiskFull)
            || extended == Some(SQLITE_IOERR_SHMSIZE)
    }
}

/// Says what was being done when a statement failed.
pub trait Doing<T> {
    /// Wraps the error of SQLite with `what`, a phrase like "reading an edge".
    ///
    /// # Errors
    ///
    /// The wrapped error, if there was one.
    fn doing(self, what: &'static str) -> Result<T, DbError>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, DbError> {
        self.map_err(|source| DbError { doing: what, source })
    }
}

/// Why a node database could not be opened. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer release wrote it.
    #[error(
        "{path} was written by a newer tesfs: its {owner} schema has version {found}, this build knows {known}"
    )]
    FromTheFuture {
        /// The file.
        path: PathBuf,
        /// Which crate's tables.
        owner: String,
        /// Version in the file.
        found: u32,
        /// Newest version this build knows.
        known: u32,
    },
    /// It is some other file.
    #[error("{path} is not a node database")]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// It is cut short or damaged.
    #[error("{path} is damaged: {found}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        found: String,
    },
    /// SQLite could not open or prepare it.
    #[error("{path} could not be opened")]
    Database {
        /// The file.
        path: PathBuf,
        /// What was being done, and why it failed.
        #[source]
        source: DbError,
    },
    /// The system gave no randomness for the actor of this run.
    #[error("no randomness for this run's actor: {0}")]
    NoRandomness(getrandom::Error),
}

impl OpenError {
    pub(crate) fn from_db(path: &std::path::Path, source: DbError) -> Self {
        match source.source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase { path: path.into() },
            Some(ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path: path.into(), found: source.source.to_string() }
            }
            _ => Self::Database { path: path.into(), source },
        }
    }
}

/// Shows an error with all its causes, outermost first: `a: b: c`.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(err) = cause {
            write!(f, ": {err}")?;
            cause = err.source();
        }
        Ok(())
    }
}
