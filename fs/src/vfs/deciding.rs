//! Deciding conflicts, also with bytes from elsewhere.

use std::{fs::File, io::Read as _, path::Path};

use tesfs_blobs::{Draft, INLINE_MAX};
use tesfs_pathtree::{
    BlobNumber, Tx,
    tree::{self, Applied, Conflict, NewContent, NewOperation, Resolution},
};

use super::{Vfs, merging::DecideError, operations::who};
use crate::{caller::Caller, error::FsError};

/// Bytes that are copied at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// Bytes that are to become a version, before the transaction that makes them one.
enum Gathered {
    /// They go into the database.
    Small(Vec<u8>),
    /// They are in a file of their own.
    Large { draft: Draft, size: u64 },
}

impl Vfs {
    /// Decides conflicts of this branch, all of them the same way, in one operation.
    ///
    /// # Errors
    ///
    /// The other side's place can not be had, this branch is read-only, or the disk failed.
    pub fn resolve(
        &self,
        caller: &Caller,
        conflicts: &[Conflict],
        how: Resolution,
    ) -> Result<(), DecideError> {
        let new = NewOperation { who: &who(caller.uid, caller.session()), what: "resolve" };
        self.decide(false, |tx, _| {
            let operation = tree::store_operation(tx, &self.view, tx.next_stamp(), &new)?;
            let mut applied = Applied::default();
            for conflict in conflicts {
                applied.adopted.extend(tree::resolve(tx, &self.view, operation, conflict, how)?);
            }
            Ok(applied)
        })?;
        Ok(())
    }

    /// Decides the conflicts of one file with the bytes of a file of this machine, which may be in
    /// a mounted folder.
    ///
    /// # Errors
    ///
    /// As [`Vfs::resolve`], and where the file can not be read.
    pub fn resolve_with(
        &self,
        caller: &Caller,
        conflicts: &[Conflict],
        from: &Path,
    ) -> Result<(), DecideError> {
        // Read before the transaction: a mount that serves the file may have to write.
        let gathered = self.gather_file(from)?;
        let mtime_ns = self.db.clock().now_ns();
        let new = NewOperation { who: &who(caller.uid, caller.session()), what: "resolve" };
        let decided = self.decide(false, |tx, _| {
            let operation = tree::store_operation(tx, &self.view, tx.next_stamp(), &new)?;
            let (blob, size) = self.insert(tx, &gathered)?;
            let content = NewContent { size, blob, mtime_ns, ctime_ns: None };
            let mut how = Resolution::With(content);
            for conflict in conflicts {
                tree::resolve(tx, &self.view, operation, conflict, how)?;
                // They are the answer to all.
                how = Resolution::AsItIs;
            }
            Ok(Applied::default())
        });
        if let Gathered::Large { draft, .. } = gathered {
            let file = draft.into_draft_file();
            match &decided {
                Ok(_) => self.store.release_draft(file).map_err(FsError::from)?,
                Err(_) => self.store.drafts().give_back(file).map_err(FsError::from)?,
            }
        }
        decided?;
        Ok(())
    }

    fn gather_file(&self, from: &Path) -> Result<Gathered, FsError> {
        let failed = |doing| move |source| FsError::Io { path: from.to_owned(), doing, source };
        let mut file = File::open(from).map_err(failed("opening"))?;
        let mut small = Vec::new();
        let most = INLINE_MAX + 1;
        file.by_ref().take(most).read_to_end(&mut small).map_err(failed("reading"))?;
        if small.len() as u64 <= INLINE_MAX {
            return Ok(Gathered::Small(small));
        }
        let mut draft = Draft::empty(self.store.drafts())?;
        let mut chunk = small;
        let mut size = 0;
        while !chunk.is_empty() {
            let mut written = 0;
            while written < chunk.len() {
                written += draft.write_at(size + written as u64, &chunk[written..])?;
            }
            size += written as u64;
            chunk.clear();
            file.by_ref().take(CHUNK_BYTES).read_to_end(&mut chunk).map_err(failed("reading"))?;
        }
        draft.sync()?;
        Ok(Gathered::Large { draft, size })
    }

    fn insert(
        &self,
        tx: &Tx<'_>,
        gathered: &Gathered,
    ) -> Result<(Option<BlobNumber>, u64), FsError> {
        Ok(match gathered {
            Gathered::Small(bytes) if bytes.is_empty() => (None, 0),
            Gathered::Small(bytes) => {
                (Some(self.store.insert_inline(tx, bytes)?), bytes.len() as u64)
            }
            Gathered::Large { draft, size } => {
                (Some(self.store.insert_draft(tx, draft.draft_file(), *size, true)?), *size)
            }
        })
    }
}
