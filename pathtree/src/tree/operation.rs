//! Operations: what one command, or one burst on a mount, did.

use rusqlite::params;

use super::View;
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{OperationId, Stamp},
};

/// An operation about to make its first change.
#[derive(Clone, Debug)]
pub struct NewOperation<'a> {
    /// Who: a user and session, as the operation log shows them.
    pub who: &'a str,
    /// What: `mount`, or the command.
    pub what: &'a str,
}

/// Stores the operation that begins with `first` and returns its id.
///
/// # Errors
///
/// A failed statement.
pub fn store_operation(
    tx: &Tx<'_>,
    view: &View,
    first: Stamp,
    new: &NewOperation<'_>,
) -> Result<OperationId, DbError> {
    let id = i64::try_from(first.hlc.0).map(OperationId).expect("48 bits of ms stay below 2^63");
    tx.prepare_cached(
        "INSERT INTO operations (id, branch, actor, who, what) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut stmt| stmt.execute(params![id, view.branch, first.actor, new.who, new.what]))
    .doing("beginning an operation")?;
    Ok(id)
}
