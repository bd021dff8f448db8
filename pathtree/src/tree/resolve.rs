//! Deciding a conflict: one side, the other, or both.

use super::{
    Conflict, ConflictKind, NewContent, NewInode, TreeError, View,
    conflict::{free_conflict_name, mark_resolved},
    create,
    edge::require_inode,
    inode::edge,
    names, publish, rename,
};
use crate::{
    db::Tx,
    id::{BlobNumber, Ino, OperationId},
};

/// Which side of a conflict is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// What shows.
    Ours,
    /// The other side.
    Theirs,
    /// What shows, and the other side beside it.
    Both,
}

/// Decides a conflict. The side that is not kept stays in history.
///
/// Returns the blob that one more version names.
///
/// # Errors
///
/// [`TreeError::EdgeExists`], [`TreeError::IntoItself`]: the other side's place can not be had.
pub fn resolve(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    conflict: &Conflict,
    how: Resolution,
) -> Result<Option<BlobNumber>, TreeError> {
    let mut adopted = None;
    match (how, conflict.kind) {
        (Resolution::Ours, _) | (Resolution::Both, ConflictKind::Place | ConflictKind::Name) => {}
        (Resolution::Theirs, ConflictKind::Content) => {
            publish(tx, view, operation, conflict.ino, &content_of(conflict), None)?;
            adopted = conflict.blob;
        }
        (Resolution::Both, ConflictKind::Content) => {
            let beside = beside(tx, view, operation, conflict)?;
            publish(tx, view, operation, beside, &content_of(conflict), None)?;
            adopted = conflict.blob;
        }
        (Resolution::Theirs, ConflictKind::Place | ConflictKind::Name) => {
            move_there(tx, view, operation, conflict)?;
        }
    }
    mark_resolved(tx, conflict.number)?;
    Ok(adopted)
}

fn content_of(conflict: &Conflict) -> NewContent {
    NewContent {
        size: conflict.size,
        blob: conflict.blob,
        mtime_ns: conflict.mtime_ns,
        ctime_ns: None,
    }
}

/// Makes a file for the other side, next to the one that shows.
fn beside(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    conflict: &Conflict,
) -> Result<Ino, TreeError> {
    let shows = require_inode(tx, view, conflict.ino)?;
    let all = names(tx, view, conflict.ino)?;
    let (parent, name) = all.first().cloned().ok_or(TreeError::InodeGone(conflict.ino))?;
    let aside = free_conflict_name(tx, view, (parent, &name), conflict.version)?;
    let parent = require_inode(tx, view, parent)?;
    let (uid, gid) = (shows.attr.uid, shows.attr.gid);
    let new = NewInode { mode: shows.mode, uid, gid, rdev: 0, symlink: None };
    Ok(create(tx, view, operation, &parent, &aside, &new)?.ino)
}

/// Moves what shows to where the other side has it; where that removed it, it stays.
fn move_there(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    conflict: &Conflict,
) -> Result<(), TreeError> {
    let Some((parent, name)) = &conflict.place else { return Ok(()) };
    let all = names(tx, view, conflict.ino)?;
    let (from, old) = all.first().ok_or(TreeError::InodeGone(conflict.ino))?;
    if edge(tx, view, *parent, name)?.is_some() {
        return Err(TreeError::EdgeExists { parent: *parent, name: name.clone() });
    }
    let parent = require_inode(tx, view, *parent)?;
    rename(tx, view, operation, (*from, old), (&parent, name))?;
    Ok(())
}
