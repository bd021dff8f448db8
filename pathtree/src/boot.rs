//! Under which boot of the machine the database was last written.

use rusqlite::Connection;

use crate::db::{DbError, Doing as _, Tx};

/// Returns the boot's id as the last start noted it; empty before the first.
///
/// # Errors
///
/// A failed query.
pub fn noted(conn: &Connection) -> Result<String, DbError> {
    conn.prepare_cached("SELECT boot_id FROM node WHERE one = 1")
        .and_then(|mut stmt| stmt.query_row([], |row| row.get(0)))
        .doing("reading the boot's id")
}

/// Notes the boot's id.
///
/// # Errors
///
/// A failed statement.
pub fn note(tx: &Tx<'_>, boot_id: &str) -> Result<(), DbError> {
    tx.prepare_cached("UPDATE node SET boot_id = ?1 WHERE one = 1")
        .and_then(|mut stmt| stmt.execute([boot_id]))
        .doing("noting the boot's id")?;
    Ok(())
}
