//! A draft that the disk refused is written again.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use crate::{BlobError, Store, draft::DraftFile, error::Doing as _, folders::sync_folder};

/// How much is copied at once.
const COPY_BYTES: usize = 1024 * 1024;

impl Store {
    /// Writes the bytes of a draft to a new file, durably, that takes the draft's name; `refused`
    /// is why. Only under the lock of sealing, and while nobody writes into the draft's file.
    pub(crate) fn rewrite_draft(
        &self,
        draft: u64,
        file: &File,
        refused: &io::Error,
    ) -> Result<File, BlobError> {
        let path = self.folders().draft(draft);
        tracing::warn!(path = %path.display(), error = %refused, "a draft is written again");
        let again = self.drafts().take()?;
        let copied = rewrite(file, &again, &path);
        if copied.is_ok() {
            self.drafts().syncs().forget(draft);
        } else {
            self.drafts().give_back(again)?;
        }
        copied
    }
}

fn rewrite(from: &File, to: &DraftFile, path: &Path) -> Result<File, BlobError> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    loop {
        let read = crate::reader::read_full(from, at, &mut buffer).doing("reading", path)?;
        if read == 0 {
            break;
        }
        to.own().write_all_at(&buffer[..read], at).doing("writing again", to.path())?;
        at += read as u64;
    }
    to.sync()?;
    // Not to be emptied and used again: from the rename on it is the draft.
    let file = to.file().try_clone().doing("writing again", to.path())?;
    fs::rename(to.path(), path).doing("writing again", to.path())?;
    sync_folder(path.parent().expect("a draft is in a folder"))?;
    Ok(file)
}
