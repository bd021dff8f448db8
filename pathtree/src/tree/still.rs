//! When a view changed, and holding still what it showed.
//!
//! A version that nothing has seen may be replaced in place by the operation that made it. Whoever
//! looks at a view as of a reading, and wants to see the same again, says so first.

use rusqlite::{Connection, params};

use super::View;
use crate::{
    db::{DbError, Doing as _, Tx, outbox},
    id::Hlc,
};

/// The cursor that says what was looked at.
const LOOKS: &str = "looks";

/// Returns the reading of the newest change that a view shows; `None` where it shows none.
///
/// # Errors
///
/// A failed query.
pub fn last_change(conn: &Connection, view: &View) -> Result<Option<Hlc>, DbError> {
    let mut last = None;
    for level in view.levels() {
        let of_level: Option<Hlc> = conn
            .prepare_cached("SELECT max(hlc) FROM change WHERE branch = ?1 AND hlc <= ?2")
            .and_then(|mut stmt| {
                stmt.query_row(params![level.branch, level.through], |row| row.get(0))
            })
            .doing("looking for a branch's last change")?;
        last = last.max(of_level);
    }
    Ok(last)
}

/// Says whether what a view shows as of `through` can not change any more: a later change is
/// committed, and nothing before that may be replaced in place. Stamps are committed in their order.
///
/// # Errors
///
/// A failed query.
pub fn is_still(conn: &Connection, view: &View, through: Hlc) -> Result<bool, DbError> {
    // In this order: once it is over, no commit adds to what was there by then.
    let is_over = last_change(conn, view)?.is_some_and(|newest| newest > through);
    let last = last_change(conn, &view.at(through))?.unwrap_or(Hlc(0));
    Ok(is_over && last <= outbox::seen_through(conn, view.branch)?)
}

/// Holds still what a view shows as of `through`, or as of now if that is later, and returns the
/// view of it: every later look at it shows the same.
///
/// # Errors
///
/// A failed statement.
pub fn hold_still(tx: &Tx<'_>, view: &View, through: Hlc) -> Result<View, DbError> {
    let still = view.at(through.min(tx.next_stamp().hlc));
    let last = last_change(tx, &still)?.unwrap_or(Hlc(0));
    if last > outbox::seen_through(tx, view.branch)? {
        outbox::advance(tx, view.branch, LOOKS, last)?;
    }
    Ok(still)
}
