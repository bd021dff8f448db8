//! Merging another branch, undoing and redoing: what the tree decides, with the bytes it asks for.

use std::cell::RefCell;

use tesfs_blobs::{BlobHash, Draft, INLINE_MAX};
use tesfs_pathtree::{
    BlobNumber, OperationId, Tx,
    tree::{
        self, Applied, Bytes, Favour, Merge, MergeError, NewContent, TreeError, UndoError, Undone,
        View,
    },
};

use super::{Touched, Vfs, operations::who, publish::read_all, texts};
use crate::{caller::Caller, error::FsError};

/// Longer texts are not merged line by line.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// Why a merge or an undo failed.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The branches can not be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The operation can not be undone.
    #[error(transparent)]
    Undo(#[from] UndoError),
    /// Bytes could not be read or written, or the filesystem is read-only.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl From<TreeError> for DecideError {
    fn from(err: TreeError) -> Self {
        Self::Fs(err.into())
    }
}

impl From<tesfs_pathtree::DbError> for DecideError {
    fn from(err: tesfs_pathtree::DbError) -> Self {
        Self::Fs(err.into())
    }
}

/// Asks the store what the tree does not know of bytes; keeps the first failure.
struct Asked<'a> {
    vfs: &'a Vfs,
    failed: RefCell<Option<FsError>>,
    /// Files of merged texts: they belong to a version once the transaction is committed.
    drafts: RefCell<Vec<Draft>>,
}

/// Why a transaction ended without a trace.
enum Ended {
    /// It was to say what it would do.
    Rehearsed(Box<Applied>),
    Failed(DecideError),
}

impl<E: Into<DecideError>> From<E> for Ended {
    fn from(err: E) -> Self {
        Self::Failed(err.into())
    }
}

impl Vfs {
    /// Merges another branch or snapshot of the bucket into this branch.
    ///
    /// With `rehearse` nothing is changed; what it says is what would be done.
    ///
    /// # Errors
    ///
    /// The branches can not be merged, this one is read-only, or the disk failed.
    pub fn merge(
        &self,
        caller: &Caller,
        (from, name): (&View, &str),
        favour: Favour,
        rehearse: bool,
    ) -> Result<Applied, DecideError> {
        let (who, what) = (who(caller.uid, caller.session()), format!("merge {name}"));
        let merge = Merge { from, into: &self.view, favour, who: &who, what: &what };
        self.decide(rehearse, |tx, bytes| Ok(tree::merge(tx, &merge, bytes)?))
    }

    /// Undoes an operation; `None` is the newest that is in force.
    ///
    /// # Errors
    ///
    /// There is none, it is undone already, this branch is read-only, or the disk failed.
    pub fn undo(&self, caller: &Caller, which: Option<OperationId>) -> Result<Undone, DecideError> {
        self.put_back(|tx, bytes| {
            tree::undo(tx, &self.view, which, &who(caller.uid, caller.session()), bytes)
        })
    }

    /// Redoes what an undo undid; `None` is the newest undo that is in force.
    ///
    /// # Errors
    ///
    /// As [`Vfs::undo`].
    pub fn redo(&self, caller: &Caller, which: Option<OperationId>) -> Result<Undone, DecideError> {
        self.put_back(|tx, bytes| {
            tree::redo(tx, &self.view, which, &who(caller.uid, caller.session()), bytes)
        })
    }

    /// Undoes the newest operation that is in force, which must be a merge.
    ///
    /// # Errors
    ///
    /// It is none, or as [`Vfs::undo`].
    pub fn abort_merge(&self, caller: &Caller) -> Result<Undone, DecideError> {
        self.put_back(|tx, bytes| {
            tree::abort_merge(tx, &self.view, &who(caller.uid, caller.session()), bytes)
        })
    }

    fn put_back(
        &self,
        put_back: impl FnOnce(&Tx<'_>, &Bytes<'_>) -> Result<Undone, UndoError>,
    ) -> Result<Undone, DecideError> {
        let mut undone = None;
        self.decide(false, |tx, bytes| {
            let done = put_back(tx, bytes)?;
            Ok(undone.insert(done).applied.clone())
        })?;
        Ok(undone.expect("a decision that succeeded was made"))
    }

    /// Runs a decision of the tree in one durable transaction, counts the blobs that it names anew,
    /// and tells the kernel what changed.
    pub(super) fn decide(
        &self,
        rehearse: bool,
        decide: impl FnOnce(&Tx<'_>, &Bytes<'_>) -> Result<Applied, DecideError>,
    ) -> Result<Applied, DecideError> {
        if self.options.read_only {
            return Err(FsError::ReadOnly.into());
        }
        let asked = Asked { vfs: self, failed: RefCell::default(), drafts: RefCell::default() };
        let same = |tx: &Tx<'_>, one, other| Ok(asked.note(asked.same(tx, one, other)));
        let merge = |tx: &Tx<'_>, blobs| Ok(asked.note(asked.merge(tx, blobs)));
        let bytes = Bytes { same: &same, merge: &merge };
        let ended = self.db.write_durable(|tx| {
            let applied = decide(tx, &bytes)?;
            if let Some(failed) = asked.failed.borrow_mut().take() {
                return Err(Ended::Failed(failed.into()));
            }
            if rehearse {
                return Err(Ended::Rehearsed(Box::new(applied)));
            }
            for blob in &applied.adopted {
                self.store.add_reference(tx, *blob).map_err(FsError::from)?;
            }
            let touched = tree::touched_by_newest(tx, &self.view)?;
            Ok((applied, touched))
        });
        // Those that no row names after all, because of a failure or a rehearsal, go.
        for draft in asked.drafts.take() {
            self.store.release_draft(draft.into_draft_file()).map_err(FsError::from)?;
        }
        match ended {
            Ok((applied, touched)) => {
                // What callers do next is no part of what they did before.
                self.operations.end_all();
                self.announce_all(touched);
                Ok(applied)
            }
            Err(Ended::Rehearsed(applied)) => Ok(*applied),
            Err(Ended::Failed(err)) => Err(err),
        }
    }

    /// Tells the kernel of inodes that changed, and of the names that led to them or do now.
    fn announce_all(&self, touched: Vec<tree::TouchedRow>) {
        for row in touched {
            for (parent, name) in row.places {
                self.announce(&Touched::Entry { parent, name });
                self.announce(&Touched::Inode(parent));
            }
            self.announce(&Touched::Inode(row.ino));
        }
    }
}

impl Asked<'_> {
    /// Keeps a failure for the end of the transaction; a no instead of an answer does until then.
    fn note<T: Default>(&self, asked: Result<T, FsError>) -> T {
        asked.unwrap_or_else(|err| {
            self.failed.borrow_mut().get_or_insert(err);
            T::default()
        })
    }

    fn same(
        &self,
        tx: &Tx<'_>,
        one: Option<BlobNumber>,
        other: Option<BlobNumber>,
    ) -> Result<bool, FsError> {
        let hash = |blob: Option<BlobNumber>| -> Result<Option<BlobHash>, FsError> {
            let row = blob.map(|blob| self.vfs.store.row(tx, blob)).transpose()?.flatten();
            Ok(row.and_then(|row| row.hash))
        };
        match (one, other) {
            (Some(one), Some(other)) if one == other => Ok(true),
            // What is not hashed yet counts as different: then it is a conflict and not a loss.
            (Some(_), Some(_)) => {
                Ok(hash(one)?.zip(hash(other)?).is_some_and(|(one, other)| one == other))
            }
            (one, other) => Ok(one.is_none() && other.is_none()),
        }
    }

    /// Merges the lines of a text that both sides changed, with the library's algorithm; the
    /// result counts only where it is clean.
    fn merge(
        &self,
        tx: &Tx<'_>,
        blobs: [Option<BlobNumber>; 3],
    ) -> Result<Option<NewContent>, FsError> {
        let mut texts = Vec::with_capacity(blobs.len());
        for blob in blobs {
            let Some(text) = self.text(tx, blob)? else { return Ok(None) };
            texts.push(text);
        }
        let Some(merged) = texts::merge(&texts[0], &texts[1], &texts[2]) else { return Ok(None) };
        let bytes = merged.as_bytes();
        let size = bytes.len() as u64;
        let mtime_ns = self.vfs.db.clock().now_ns();
        let blob = if bytes.is_empty() {
            None
        } else if size <= INLINE_MAX {
            Some(self.vfs.store.insert_inline(tx, bytes)?)
        } else {
            let mut draft = Draft::empty(self.vfs.store.drafts())?;
            let mut written = 0;
            while written < bytes.len() {
                written += draft.write_at(written as u64, &bytes[written..])?;
            }
            draft.sync()?;
            let blob = self.vfs.store.insert_draft(tx, draft.draft_file(), size, true)?;
            self.drafts.borrow_mut().push(draft);
            Some(blob)
        };
        Ok(Some(NewContent { size, blob, mtime_ns, ctime_ns: None }))
    }

    /// Reads a text; `None` where it is none, or too long.
    fn text(&self, tx: &Tx<'_>, blob: Option<BlobNumber>) -> Result<Option<String>, FsError> {
        let Some(blob) = blob else { return Ok(Some(String::new())) };
        let reader = self.vfs.store.reader(tx, blob)?;
        if reader.size() > TEXT_BYTES_MAX {
            return Ok(None);
        }
        let bytes = read_all(|at, buffer| reader.read_at(at, buffer), reader.size())?;
        Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')))
    }
}
