//! Renaming: one edge hangs elsewhere, whatever lies below it.

use super::{
    Inode, TreeError, View,
    edge::{Place, hang, require_edge, require_inode, require_open_directory, touch_parent},
    inode::{edge, has_edges, inode},
};
use crate::{
    db::{DbError, Tx},
    id::{Ino, OperationId, Stamp},
    name::Name,
};

/// What a rename did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// What moved.
    pub ino: Ino,
    /// What lost the name to it, with the edges that still lead there.
    pub replaced: Option<(Ino, u32)>,
}

/// Moves the edge `name` of `parent` to `new_name` of `new_parent`, replacing what is there.
///
/// The new name is never absent: one transaction takes it from the old inode and gives it to the
/// mover, whose edge records which inode it replaced. A replaced inode keeps its history.
///
/// # Errors
///
/// - [`TreeError::EdgeNotFound`]: there is nothing to move.
/// - [`TreeError::IntoItself`]: a directory would move below itself.
/// - [`TreeError::NotADirectory`], [`TreeError::IsADirectory`], [`TreeError::DirectoryNotEmpty`]:
///   what is there can not be replaced by the mover.
pub fn rename(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    (parent, name): (Ino, &Name),
    (new_parent, new_name): (&Inode, &Name),
) -> Result<Renamed, TreeError> {
    require_open_directory(new_parent)?;
    let mover = require_edge(tx, view, parent, name)?;
    let moved = require_inode(tx, view, mover.ino)?;
    if moved.is_directory() && parent != new_parent.ino {
        refuse_below_itself(tx, view, moved.ino, new_parent.ino)?;
    }
    let target = edge(tx, view, new_parent.ino, new_name)?;
    if target.is_some_and(|target| target.ino == mover.ino) {
        // Two names of one inode: POSIX asks for nothing to happen.
        return Ok(Renamed { ino: mover.ino, replaced: None });
    }
    let replaced = match target {
        Some(target) => Some((target, require_inode(tx, view, target.ino)?)),
        None => None,
    };
    if let Some((_, old)) = &replaced {
        require_replaceable(tx, view, old, &moved)?;
    }
    let moves = i64::from(moved.is_directory());
    let goes = i64::from(replaced.as_ref().is_some_and(|(_, old)| old.is_directory()));
    let first = tx.next_stamp();
    touch_both(tx, view, first, (parent, -moves), (new_parent.ino, moves - goes))?;
    let mut left = None;
    if let Some((target, old)) = replaced {
        let links = if old.is_directory() { old.nlink } else { 1 };
        hang(tx, view, first, operation, target, &Place::NOWHERE, -i64::from(links))?;
        left = Some((old.ino, old.nlink - links));
    }
    let replaces = left.map(|(ino, _)| ino);
    let place = Place { parent: new_parent.ino, name: Some(new_name), replaces };
    let stamp = tx.next_stamp();
    hang(tx, view, stamp, operation, mover, &place, 0)?;
    Ok(Renamed { ino: moved.ino, replaced: left })
}

/// Lets two edges change places.
///
/// # Errors
///
/// [`TreeError::EdgeNotFound`], [`TreeError::IntoItself`].
pub fn exchange(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    (parent, name): (Ino, &Name),
    (new_parent, new_name): (&Inode, &Name),
) -> Result<(), TreeError> {
    require_open_directory(new_parent)?;
    let one = require_edge(tx, view, parent, name)?;
    let other = require_edge(tx, view, new_parent.ino, new_name)?;
    if one.ino == other.ino {
        return Ok(());
    }
    let moved = require_inode(tx, view, one.ino)?;
    let countermoved = require_inode(tx, view, other.ino)?;
    if moved.is_directory() {
        refuse_below_itself(tx, view, moved.ino, new_parent.ino)?;
    }
    if countermoved.is_directory() {
        refuse_below_itself(tx, view, countermoved.ino, parent)?;
    }
    let moves = i64::from(moved.is_directory()) - i64::from(countermoved.is_directory());
    let stamp = tx.next_stamp();
    touch_both(tx, view, stamp, (parent, -moves), (new_parent.ino, moves))?;
    let there = Place { parent: new_parent.ino, name: Some(new_name), replaces: None };
    hang(tx, view, stamp, operation, one, &there, 0)?;
    let stamp = tx.next_stamp();
    let here = Place { parent, name: Some(name), replaces: None };
    hang(tx, view, stamp, operation, other, &here, 0)?;
    Ok(())
}

/// Notes a move in both directories, with how many directories each gains.
fn touch_both(
    tx: &Tx<'_>,
    view: &View,
    stamp: Stamp,
    (from, from_delta): (Ino, i64),
    (to, to_delta): (Ino, i64),
) -> Result<(), TreeError> {
    if from == to {
        return touch_parent(tx, view, from, stamp, from_delta + to_delta);
    }
    touch_parent(tx, view, from, stamp, from_delta)?;
    touch_parent(tx, view, to, stamp, to_delta)
}

fn require_replaceable(
    tx: &Tx<'_>,
    view: &View,
    old: &Inode,
    mover: &Inode,
) -> Result<(), TreeError> {
    match (mover.is_directory(), old.is_directory()) {
        (true, false) => Err(TreeError::NotADirectory(old.ino)),
        (false, true) => Err(TreeError::IsADirectory(old.ino)),
        (true, true) if has_edges(tx, view, old.ino)? => Err(TreeError::DirectoryNotEmpty(old.ino)),
        _ => Ok(()),
    }
}

fn refuse_below_itself(
    tx: &Tx<'_>,
    view: &View,
    directory: Ino,
    into: Ino,
) -> Result<(), TreeError> {
    match is_below(tx, view, into, directory)? {
        true => Err(TreeError::IntoItself { directory, into }),
        false => Ok(()),
    }
}

/// Walks up from `into`: says whether `directory` is on the way, or is it.
pub(super) fn is_below(
    tx: &Tx<'_>,
    view: &View,
    into: Ino,
    directory: Ino,
) -> Result<bool, DbError> {
    let mut at = into;
    while at != view.root && at != Ino::NOWHERE {
        if at == directory {
            return Ok(true);
        }
        at = inode(tx, view, at)?.map_or(Ino::NOWHERE, |above| above.parent);
    }
    Ok(false)
}
