//! Deciding a conflict: one side, the other, both, or what a person made of them.

use super::{
    Conflict, ConflictKind, Inode, NewContent, NewInode, TreeError, View,
    conflict::{free_conflict_name, mark_resolved},
    create,
    edge::require_inode,
    history::successor,
    inode::{edge, inode},
    names, publish, relink, remove_directory, rename, unlink,
    versions::last_place,
};
use crate::{
    db::Tx,
    id::{BlobNumber, Ino, OperationId},
    name::Name,
};

/// How a conflict is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The side that the branch had.
    Ours,
    /// The side that came.
    Theirs,
    /// What shows, and the other side beside it.
    Both,
    /// What is there now, as somebody left it.
    AsItIs,
    /// These bytes, of [`ConflictKind::Content`]; their blob is counted already.
    With(NewContent),
}

/// Decides a conflict. A side that is not kept stays in history.
///
/// Of a content, what has the file's name by now gets the bytes: editors save by renaming a new
/// file over the old one. Of a name, the file of the side that is not kept is removed.
///
/// Returns the blob that one more version names.
///
/// # Errors
///
/// - [`TreeError::EdgeExists`], [`TreeError::IntoItself`]: the other side's place can not be had.
/// - [`TreeError::DirectoryNotEmpty`]: of a name, what is not kept is a directory with things in it.
/// - [`TreeError::InodeGone`]: the directory it was in is gone.
pub fn resolve(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    conflict: &Conflict,
    how: Resolution,
) -> Result<Option<BlobNumber>, TreeError> {
    let decision = Decision { tx, view, operation, conflict };
    let keeps_other = match how {
        Resolution::Ours => Some(conflict.is_ours),
        Resolution::Theirs => Some(!conflict.is_ours),
        Resolution::Both | Resolution::AsItIs | Resolution::With(_) => None,
    };
    let mut adopted = None;
    match (conflict.kind, how) {
        (_, Resolution::AsItIs) => {}
        (_, Resolution::With(content)) => {
            publish(tx, view, operation, decision.file()?, &content, None)?;
        }
        (ConflictKind::Content, Resolution::Both) => {
            let beside = match successor(tx, view, conflict.ino)? {
                Some(shows) => decision.beside(&shows)?,
                None => decision.file()?,
            };
            publish(tx, view, operation, beside, &content_of(conflict), None)?;
            adopted = conflict.blob;
        }
        (ConflictKind::Content, _) if keeps_other == Some(true) => {
            publish(tx, view, operation, decision.file()?, &content_of(conflict), None)?;
            adopted = conflict.blob;
        }
        (ConflictKind::Place, _) if keeps_other == Some(true) => decision.move_there()?,
        (ConflictKind::Name, _) if keeps_other == Some(true) => {
            if let Some((parent, name)) = &conflict.place {
                decision.remove(*parent, name)?;
                decision.move_there()?;
            }
        }
        (ConflictKind::Name, _) if keeps_other == Some(false) => {
            if let Some((parent, name)) = names(tx, view, conflict.ino)?.first() {
                decision.remove(*parent, name)?;
            }
        }
        _ => {}
    }
    mark_resolved(tx, conflict.number, operation)?;
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

struct Decision<'a, 't> {
    tx: &'a Tx<'t>,
    view: &'a View,
    operation: OperationId,
    conflict: &'a Conflict,
}

impl Decision<'_, '_> {
    /// Returns what has the file's name by now; where it was removed since, it comes back.
    fn file(&self) -> Result<Ino, TreeError> {
        let (tx, view, ino) = (self.tx, self.view, self.conflict.ino);
        if let Some(shows) = successor(tx, view, ino)? {
            return Ok(shows.ino);
        }
        let was = last_place(tx, view, ino)?.ok_or(TreeError::InodeGone(ino))?;
        let parent = require_inode(tx, view, was.edge.parent)?;
        let name = Name::from_bytes(&was.edge.name).map_err(|_| TreeError::InodeGone(ino))?;
        relink(tx, view, self.operation, ino, &parent, &name)?;
        Ok(ino)
    }

    /// Makes a file for the other side, next to the one that shows.
    fn beside(&self, shows: &Inode) -> Result<Ino, TreeError> {
        let Self { tx, view, operation, conflict } = *self;
        let all = names(tx, view, shows.ino)?;
        let (parent, name) = all.first().ok_or(TreeError::InodeGone(shows.ino))?;
        let aside = free_conflict_name(tx, view, (*parent, name), conflict.version)?;
        let parent = require_inode(tx, view, *parent)?;
        let (uid, gid) = (shows.attr.uid, shows.attr.gid);
        let new = NewInode { mode: shows.mode, uid, gid, rdev: 0, symlink: None };
        Ok(create(tx, view, operation, &parent, &aside, &new)?.ino)
    }

    /// Removes what has a name, if anything has it.
    fn remove(&self, parent: Ino, name: &Name) -> Result<(), TreeError> {
        let Self { tx, view, operation, .. } = *self;
        let Some(there) = edge(tx, view, parent, name)? else { return Ok(()) };
        match inode(tx, view, there.ino)?.is_some_and(|found| found.is_directory()) {
            true => remove_directory(tx, view, operation, parent, name)?,
            // It may be open.
            false => unlink(tx, view, operation, parent, name, |_| true)?,
        };
        Ok(())
    }

    /// Moves what shows to where the other side has it; where that removed it, it stays.
    fn move_there(&self) -> Result<(), TreeError> {
        let Self { tx, view, operation, conflict } = *self;
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
}
