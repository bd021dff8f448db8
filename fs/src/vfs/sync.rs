//! What fsync promises: of a file, of a version, of a directory.

use tesfs_blobs::{BlobReader, DraftRecord};
use tesfs_pathtree::{BlobNumber, Ino, tree};

use super::{
    Vfs, hidden,
    publish::{PROMISED, settle},
};
use crate::{
    caller::Caller,
    error::FsError,
    line::{Line, LineState, Synced},
};

/// Versions that are settled for one fsync of a directory: more than the settler ever leaves.
const UNSETTLED_MAX: usize = 1 << 20;

impl Vfs {
    /// Makes the line's bytes, size and name survive a power cut without publishing them: the
    /// draft's file is synced, and a durable record lets recovery publish it.
    pub(crate) fn sync_line(&self, caller: &Caller, line: &Line) -> Result<(), FsError> {
        let mut state = line.lock();
        if !state.is_dirty()? {
            drop(state);
            return self.sync_version(line.ino);
        }
        self.keep_adopted(&mut state)?;
        if state.draft.is_none() && state.base.is_some() {
            // Adopted bytes have no file of their own to record: publish them.
            self.publish_as(caller, line, &mut state, PROMISED)?;
            return Ok(self.db.sync()?);
        }
        if state.frozen && state.shared {
            // The file has a version already, which this writer goes on writing: no record is
            // needed to find it again.
            self.publish_as(caller, line, &mut state, PROMISED)?;
            return Ok(self.db.sync()?);
        }
        let base_stamp = state.version;
        let base = state.base.as_ref().map(BlobReader::number);
        let draft = state.writable(self.store.drafts())?;
        if let Some(base) = base.filter(|_| draft.is_overlay()) {
            // What shows through is as good as the base's own bytes.
            settle(&self.store, base)?;
        }
        #[cfg(not(feature = "broken-fsync-without-bytes"))]
        draft.sync()?;
        let stamp = draft.stamp()?;
        let record = DraftRecord {
            number: draft.draft_file().number(),
            ino: line.ino,
            branch: self.view.branch,
            base: base.filter(|_| draft.is_overlay()),
            base_stamp: Some(base_stamp),
            size_bytes: stamp.size_bytes,
            layout: draft.layout(),
            durable: true,
            name: None,
        };
        let file = draft.draft_file().clone();
        // Until the commit the record before is the one that holds.
        let is_older = |synced: &Synced| synced.file.number() != record.number;
        let older = state.synced.as_ref().filter(|synced| is_older(synced));
        self.db.write_durable(|tx| {
            if let Some(older) = older {
                self.store.forget_draft(tx, older.file.number())?;
            }
            self.store.record_draft(tx, &record)
        })?;
        if let Some(older) = state.synced.replace(Synced { file, stamp }).filter(is_older) {
            self.store.release_draft(older.file)?;
        }
        Ok(())
    }

    /// Makes the current version of an inode survive a power cut.
    pub(crate) fn sync_version(&self, ino: Ino) -> Result<(), FsError> {
        if hidden::is_hidden(ino) {
            return Ok(self.db.sync()?);
        }
        let line = self.lines.find(ino);
        // Held all the while: nothing takes the place of the version that is being synced.
        let mut state = line.as_ref().map(|line| line.lock());
        let (version, row) = self.db.read(|conn| {
            let inode = tree::inode(conn, &self.view, ino)?;
            let blob = inode.as_ref().and_then(|inode| inode.blob);
            let row = blob.map(|blob| self.store.row(conn, blob)).transpose()?;
            Ok::<_, FsError>((inode.map(|inode| inode.content), row.flatten()))
        })?;
        if let Some(row) = row.filter(|row| !row.settled) {
            match &mut state {
                Some(state) if state.publishes_into(row.number) => {
                    self.sync_written(state, row.number)?;
                }
                _ => settle(&self.store, row.number)?,
            }
        }
        self.db.sync()?;
        // Also where there are no bytes: what the line publishes next must not take its place.
        let own = state.as_mut().and_then(|state| state.own.as_mut());
        if let Some(own) = own.filter(|own| Some(own.version) == version) {
            own.settled = true;
        }
        Ok(())
    }

    /// Makes a version survive a power cut into whose file the kernel may be writing: the file
    /// never looks the same before and after a sync, so nobody can wait for that.
    fn sync_written(&self, state: &mut LineState, blob: BlobNumber) -> Result<(), FsError> {
        let Some(draft) = &mut state.draft else { return Ok(()) };
        draft.sync()?;
        Ok(self.db.write(|tx| self.store.mark_settled(tx, blob))?)
    }

    /// Makes every change of names so far survive a power cut, with the bytes of every version that
    /// was closed, and empty files in `directory` that are still open: what fsync of it asks for.
    ///
    /// # Errors
    ///
    /// A failed sync or commit.
    pub fn sync_directory(&self, directory: Ino) -> Result<(), FsError> {
        for line in self.lines.all() {
            let mut state = line.lock();
            match state.own.map(|own| own.blob) {
                // It has its name from now on: what is published later must not take its place.
                Some(None) if self.is_in(line.ino, directory)? => {
                    state.own.iter_mut().for_each(|own| own.settled = true);
                }
                Some(Some(blob)) if state.publishes_into(blob) => {
                    self.sync_written(&mut state, blob)?;
                }
                _ => {}
            }
        }
        let unsettled = self.db.read(|conn| self.store.unsettled(conn, UNSETTLED_MAX))?;
        for (_, outcome) in self.store.settle(&unsettled)? {
            // What changed was published anew meanwhile, or is a line's and synced above.
            outcome?;
        }
        Ok(self.db.sync()?)
    }

    fn is_in(&self, ino: Ino, directory: Ino) -> Result<bool, FsError> {
        Ok(self.names(ino)?.iter().any(|(parent, _)| *parent == directory))
    }
}
