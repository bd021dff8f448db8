//! Applying to a branch what another side changed, each facet on its own, three-way.
//!
//! Merging a branch and undoing an operation are the same question. The base is what both sides
//! began with; *theirs* is what the other branch made of it, or what was before the operation;
//! *ours* is what the branch shows now. Where only one side changed something, that change holds;
//! where both did, the result is a value: one side shows, the other is a [`Conflict`].

mod edges;
mod facets;
mod saved;

use std::collections::HashMap;

use super::{
    TreeError, View,
    alike::Alike,
    conflict::{Conflict, ConflictKind, Found, store_conflict},
    inode::inode,
    row::{Row, row},
    xattr,
};
use crate::{
    db::{DbError, Tx},
    id::{BlobNumber, Ino, OperationId},
    name::Name,
    tree::NewContent,
};

/// What the tree asks about bytes, which it does not know itself.
pub struct Bytes<'a> {
    /// Says whether two blobs hold the same bytes; `None` is no bytes.
    pub same: &'a SameBytes<'a>,
    /// Merges the lines of a text: base, ours, theirs. `None` where that is no text, or not clean.
    /// The blob of what it returns is counted already.
    pub merge: &'a MergeBytes<'a>,
}

/// See [`Bytes::same`].
pub type SameBytes<'a> =
    dyn Fn(&Tx<'_>, Option<BlobNumber>, Option<BlobNumber>) -> Result<bool, DbError> + 'a;
/// See [`Bytes::merge`].
pub type MergeBytes<'a> =
    dyn Fn(&Tx<'_>, [Option<BlobNumber>; 3]) -> Result<Option<NewContent>, DbError> + 'a;

/// Which side shows where both changed the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Favour {
    /// The newer one; the other is a conflict.
    #[default]
    Newest,
    /// What is on the branch; the other stays in the other's history.
    Ours,
    /// What comes; the other stays in history.
    Theirs,
}

/// What was done, and what could not be decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Inodes and links that appeared.
    pub created: u64,
    /// Edges that were removed.
    pub removed: u64,
    /// Edges that hang elsewhere now.
    pub moved: u64,
    /// Files that have other bytes now.
    pub edited: u64,
    /// Of these, texts whose lines were merged.
    pub lines_merged: u64,
    /// Inodes that have other attributes now.
    pub attributes: u64,
    /// What both sides changed.
    pub conflicts: Vec<Conflict>,
    /// What one side removed and the other changed: it stays.
    pub kept: Vec<Ino>,
    /// Names that the merge brought together, and that some systems can not tell apart.
    pub alike: Vec<Alike>,
    /// Blobs that one more version names; the caller counts them in the same transaction.
    pub adopted: Vec<BlobNumber>,
}

impl Applied {
    /// Says whether nothing had to be done.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What the other side changed of one row.
pub(super) struct Delta {
    pub(super) id: Ino,
    /// What both sides began with; `None` where it did not exist.
    pub(super) base: Option<Row>,
    /// What the other side made of it.
    pub(super) theirs: Row,
    /// The other side as a whole: of an undo also what the operation did not change, as it was then.
    pub(super) whole: Option<Row>,
    pub(super) xattrs: Vec<XattrDelta>,
    /// Of a further hard link the inode that it leads to.
    pub(super) led_to: Option<LedTo>,
}

/// An inode behind a further hard link, which has no bytes of its own.
pub(super) struct LedTo {
    /// As both sides began with it.
    pub(super) base: Row,
    /// As the other side has it.
    pub(super) theirs: Row,
}

/// What the other side changed of one extended attribute; `None` is no value.
pub(super) struct XattrDelta {
    pub(super) name: Vec<u8>,
    pub(super) base: Option<Vec<u8>>,
    pub(super) theirs: Option<Vec<u8>>,
}

/// Where a side's changes come from.
pub(super) struct Side<'a> {
    /// Finds a directory as the other side has it: one that something is to hang in.
    pub(super) origin: &'a FindRow<'a>,
    /// Finds a row as both sides began with it.
    pub(super) base: &'a FindRow<'a>,
    pub(super) favour: Favour,
}

/// Finds a row in some state of the tree.
pub(super) type FindRow<'a> = dyn Fn(&Tx<'_>, Ino) -> Result<Option<Row>, DbError> + 'a;

/// One application under way.
struct Apply<'a, 't> {
    tx: &'a Tx<'t>,
    view: &'a View,
    operation: OperationId,
    side: &'a Side<'a>,
    bytes: &'a Bytes<'a>,
    /// Directories of theirs that are one with a directory of ours.
    same: HashMap<Ino, Ino>,
    /// Edges under a name for the time being, and the names they had.
    parked: HashMap<Ino, Name>,
    done: Applied,
}

/// Applies what a side changed to the branch of `view`.
///
/// # Errors
///
/// A failed statement; nothing of it may be committed then.
pub(super) fn apply(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    deltas: Vec<Delta>,
    side: &Side<'_>,
    bytes: &Bytes<'_>,
) -> Result<Applied, TreeError> {
    let mut apply = Apply {
        tx,
        view,
        operation,
        side,
        bytes,
        same: HashMap::new(),
        parked: HashMap::new(),
        done: Applied::default(),
    };
    let mut wishes = Vec::new();
    for delta in deltas {
        wishes.extend(apply.row(delta)?);
    }
    apply.edges(wishes)?;
    Ok(apply.done)
}

impl Apply<'_, '_> {
    /// Applies all of a row but where its edge hangs; returns what is left to do for that.
    fn row(&mut self, mut delta: Delta) -> Result<Option<edges::Wish>, TreeError> {
        let Some(ours) = row(self.tx, self.view, delta.id)? else {
            return self.newcomer(delta);
        };
        if delta.base.is_none() && !self.is_reachable(&ours)? {
            self.begin_with(&mut delta, &ours)?;
        }
        let edited = self.content(&delta, &ours)?;
        self.attributes(&delta, &ours)?;
        self.disarm(delta.whole.as_ref().unwrap_or(&delta.theirs), &ours)?;
        self.wish(&delta, &ours, edited)
    }

    /// Says whether any name leads to an inode, or an edge hangs somewhere.
    fn is_reachable(&self, ours: &Row) -> Result<bool, DbError> {
        match ours.target {
            Some(_) => Ok(ours.is_live()),
            None => Ok(inode(self.tx, self.view, ours.id)?.is_some_and(|found| found.nlink > 0)),
        }
    }

    /// What is left of a merge that was undone is no side of its own: it is what both began with.
    fn begin_with(&self, delta: &mut Delta, ours: &Row) -> Result<(), DbError> {
        delta.base = Some(ours.clone());
        for one in &mut delta.xattrs {
            one.base = xattr(self.tx, self.view, delta.id, &one.name)?;
        }
        Ok(())
    }

    fn conflict(&mut self, found: &Found<'_>) -> Result<(), TreeError> {
        let conflict = store_conflict(self.tx, self.view, self.operation, found)?;
        if found.kind == ConflictKind::Content {
            self.done.adopted.extend(conflict.blob);
        }
        self.done.conflicts.push(conflict);
        Ok(())
    }

    fn same_bytes(&self, one: &Row, other: &Row) -> Result<bool, DbError> {
        let (Some(one), Some(other)) = (&one.content, &other.content) else { return Ok(true) };
        if one.version == other.version || (one.size, one.blob) == (other.size, other.blob) {
            return Ok(true);
        }
        Ok(one.size == other.size && (self.bytes.same)(self.tx, one.blob, other.blob)?)
    }
}
