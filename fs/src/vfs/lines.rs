//! The lines in progress: which inodes have writers.

use std::{
    collections::{
        HashMap,
        hash_map::Entry::{Occupied, Vacant},
    },
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tesfs_pathtree::Ino;

use crate::{error::FsError, line::Line};

/// The line of each inode that has writers.
#[derive(Default)]
pub(super) struct Lines {
    /// Protects the table and the counts in it; never held while a line's own lock is awaited.
    table: Mutex<HashMap<Ino, Entry>>,
    /// Counts lines that ended.
    ends: AtomicU64,
}

struct Entry {
    line: Arc<Line>,
    writers: usize,
}

impl Lines {
    /// Joins the line of `ino` as one more writer; `begin` makes it where there is none.
    ///
    /// `begin` runs under the table's lock, so that no other line of the inode can publish between
    /// its look at the current version and the line's beginning.
    pub(super) fn join(
        &self,
        ino: Ino,
        begin: impl FnOnce() -> Result<Line, FsError>,
    ) -> Result<Arc<Line>, FsError> {
        let mut table = self.lock();
        let entry = match table.entry(ino) {
            Occupied(found) => found.into_mut(),
            Vacant(free) => free.insert(Entry { line: Arc::new(begin()?), writers: 0 }),
        };
        entry.writers += 1;
        Ok(Arc::clone(&entry.line))
    }

    /// Returns the line of `ino`, if it has writers.
    pub(super) fn find(&self, ino: Ino) -> Option<Arc<Line>> {
        self.lock().get(&ino).map(|entry| Arc::clone(&entry.line))
    }

    /// Takes one writer from the count and says whether it was the last.
    pub(super) fn leave(&self, ino: Ino) -> bool {
        let mut table = self.lock();
        let Some(entry) = table.get_mut(&ino) else { return false };
        entry.writers = entry.writers.saturating_sub(1);
        entry.writers == 0
    }

    /// Ends the line of `ino`, unless somebody joined meanwhile; says whether it ended.
    pub(super) fn end(&self, ino: Ino) -> bool {
        let mut table = self.lock();
        let is_over = table.get(&ino).is_some_and(|entry| entry.writers == 0);
        if is_over {
            self.ends.fetch_add(1, Ordering::SeqCst);
            table.remove(&ino);
        }
        is_over
    }

    /// Returns how many lines have ended: whoever read a row before one did, and then finds no line,
    /// may have missed what that line published last.
    pub(super) fn ends(&self) -> u64 {
        self.ends.load(Ordering::SeqCst)
    }

    /// Returns every line.
    pub(super) fn all(&self) -> Vec<Arc<Line>> {
        self.lock().values().map(|entry| Arc::clone(&entry.line)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ino, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
