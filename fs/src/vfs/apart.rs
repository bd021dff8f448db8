//! What is otherwise in another filesystem of the same bucket, for whoever showed this one so far.

use std::collections::BTreeSet;

use tesfs_pathtree::{
    Ino,
    tree::{self, Apart},
};

use super::Vfs;
use crate::error::FsError;

impl Vfs {
    /// Returns the rows that may show otherwise in `other`, with every change that was made by now.
    ///
    /// # Errors
    ///
    /// A failed query, or a failed commit of what was left open.
    pub(crate) fn changed_apart(&self, other: &Self) -> Result<BTreeSet<Ino>, FsError> {
        // Readers do not see births that wait for their files' first publish.
        self.db.commit_ahead()?;
        Ok(self.db.read(|conn| tree::changed_apart(conn, &self.view, &other.view))?)
    }

    /// Returns what such rows are here and in `other`.
    ///
    /// # Errors
    ///
    /// A failed query.
    pub(crate) fn apart(&self, other: &Self, rows: &[Ino]) -> Result<Vec<Apart>, FsError> {
        let views = (&self.view, &other.view);
        let apart = self.db.read(|conn| {
            rows.iter().map(|row| tree::apart(conn, views, *row)).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(apart.into_iter().flatten().collect())
    }

    /// Shows in a mount what `before` showed there: no number of `.tesfs` that the kernel knows from
    /// it means anything here.
    pub(crate) fn take_over(&self, before: &Self) {
        self.hidden.begin_behind(&before.hidden);
    }
}
