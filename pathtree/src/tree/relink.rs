//! Giving what was removed a name again.

use super::{
    Edge, Inode, TreeError, View,
    edge::{Place, hang, require_free, require_inode, require_open_directory, touch_parent},
    row::row,
};
use crate::{
    db::Tx,
    id::{Ino, OperationId},
    name::Name,
};

/// Hangs a removed file or directory in `parent` again, under `name`: with all that it was, and
/// its history goes on.
///
/// # Errors
///
/// - [`TreeError::InodeGone`]: there is no trace of it, or of `parent`.
/// - [`TreeError::EdgeExists`]: the name is taken, or the inode still has one.
/// - [`TreeError::NotADirectory`]: `parent` can not hold edges.
pub fn relink(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    ino: Ino,
    parent: &Inode,
    name: &Name,
) -> Result<Inode, TreeError> {
    require_open_directory(parent)?;
    let removed = require_inode(tx, view, ino)?;
    if removed.nlink > 0 {
        return Err(TreeError::EdgeExists { parent: removed.parent, name: name.clone() });
    }
    require_free(tx, view, parent.ino, name)?;
    let edge = Edge::of(&row(tx, view, ino)?.ok_or(TreeError::InodeGone(ino))?);
    let directories = i64::from(removed.is_directory());
    let stamp = tx.next_stamp();
    touch_parent(tx, view, parent.ino, stamp, directories)?;
    let place = Place { parent: parent.ino, name: Some(name), replaces: None };
    // A directory has a link of its own besides.
    hang(tx, view, stamp, operation, edge, &place, 1 + directories)?;
    require_inode(tx, view, ino)
}
