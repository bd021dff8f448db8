//! What somebody who knew one view must not believe of another: for caches.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::{
    View,
    row::{Row, row},
};
use crate::{db::DbError, id::Ino, name::Name};

/// A row that may show otherwise in two views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// The inode.
    pub ino: Ino,
    /// The directories that it hangs in, in either view.
    pub parents: BTreeSet<Ino>,
    /// The names that lead to it in one of the views; of a directory only those that do not in the
    /// other as well, since whoever stands in it is to stay where he is.
    pub names: BTreeSet<(Ino, Name)>,
}

/// Returns how a row shows in two views; nothing where it is in neither.
///
/// # Errors
///
/// A failed query.
pub fn apart(
    conn: &Connection,
    (one, other): (&View, &View),
    id: Ino,
) -> Result<Option<Apart>, DbError> {
    let rows = [row(conn, one, id)?, row(conn, other, id)?];
    let Some(like) = rows.iter().flatten().next() else { return Ok(None) };
    let place = |row: &Option<Row>| {
        let live = row.as_ref().filter(|row| row.is_live())?;
        Some((live.edge.parent, Name::from_bytes(&live.edge.name).ok()?))
    };
    let [in_one, in_other] = [place(&rows[0]), place(&rows[1])];
    let parents = [&in_one, &in_other].into_iter().flatten().map(|(parent, _)| *parent).collect();
    let stays = like.is_directory() && in_one == in_other;
    let names = if stays { BTreeSet::new() } else { in_one.into_iter().chain(in_other).collect() };
    Ok(Some(Apart { ino: like.ino(), parents, names }))
}
