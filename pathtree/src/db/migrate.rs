//! Brings the tables of every crate up to date, all together or not at all.

use std::path::Path;

use rusqlite::Connection;

use super::error::{DbError, Doing as _, OpenError};

/// The tables of one crate.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The crate, as in `tesfs-<owner>`.
    pub owner: &'static str,
    /// Its steps, oldest first, numbered from 1.
    pub migrations: &'static [Migration],
}

/// One step of a schema. A released step is never edited.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number.
    pub version: u32,
    /// Its name, as in the file's.
    pub name: &'static str,
    /// What it runs.
    pub sql: &'static str,
}

impl Schema {
    fn newest(&self) -> u32 {
        self.migrations.last().map_or(0, |last| last.version)
    }
}

/// Where each owner's schema stands.
const VERSIONS_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_versions (
    owner   TEXT    NOT NULL PRIMARY KEY,  -- the crate whose tables these are
    version INTEGER NOT NULL               -- number of its newest applied step
) STRICT";

/// Refuses a database that a newer release or another program wrote; reads only.
pub(super) fn refuse_foreign(
    conn: &Connection,
    path: &Path,
    schemas: &[Schema],
) -> Result<(), OpenError> {
    let failed = |err| OpenError::from_db(path, err);
    let (tables, is_ours): (i64, bool) = conn
        .query_row(
            "SELECT count(*), coalesce(max(name = 'schema_versions'), 0) FROM sqlite_schema",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .doing("reading the schema")
        .map_err(failed)?;
    if !is_ours {
        // A first start that was killed early leaves a file without any table.
        return match tables {
            0 => Ok(()),
            _ => Err(OpenError::NotADatabase { path: path.into() }),
        };
    }
    for (owner, found) in versions(conn).map_err(failed)? {
        let known = schemas.iter().find(|schema| schema.owner == owner).map_or(0, Schema::newest);
        if found > known {
            return Err(OpenError::FromTheFuture { path: path.into(), owner, found, known });
        }
    }
    Ok(())
}

fn versions(conn: &Connection) -> Result<Vec<(String, u32)>, DbError> {
    conn.prepare_cached("SELECT owner, version FROM schema_versions")
        .and_then(|mut stmt| stmt.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .doing("reading the versions of schemas")
}

/// Applies every missing step in one transaction and returns how many there were.
pub(super) fn migrate(conn: &Connection, schemas: &[Schema]) -> Result<usize, DbError> {
    conn.execute_batch("BEGIN IMMEDIATE").doing("beginning a migration")?;
    let applied = apply(conn, schemas);
    if applied.is_ok() {
        conn.execute_batch("COMMIT").doing("committing a migration")?;
    } else if !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK").doing("rolling a migration back")?;
    }
    applied
}

fn apply(conn: &Connection, schemas: &[Schema]) -> Result<usize, DbError> {
    conn.execute_batch(VERSIONS_TABLE).doing("creating the table of versions")?;
    let found = versions(conn)?;
    let mut applied = 0;
    for schema in schemas {
        let found = found.iter().find(|(owner, _)| owner == schema.owner).map_or(0, |(_, at)| *at);
        for step in schema.migrations.iter().filter(|step| step.version > found) {
            conn.execute_batch(step.sql).doing("applying a migration")?;
            conn.execute(
                "INSERT INTO schema_versions (owner, version) VALUES (?1, ?2)
                 ON CONFLICT (owner) DO UPDATE SET version = ?2",
                (schema.owner, step.version),
            )
            .doing("recording a migration")?;
            tracing::debug!(owner = schema.owner, version = step.version, step.name, "migrated");
            applied += 1;
        }
    }
    Ok(applied)
}
