//! Which database a thread is in a transaction of: who asks it from there must not wait for
//! itself.

use std::cell::Cell;

use super::Db;

thread_local! {
    /// Address of that database; 0 outside of transactions.
    static OF: Cell<usize> = const { Cell::new(0) };
}

/// Marks this thread as being in a transaction, until it is dropped.
pub(super) struct Writing {
    before: usize,
}

impl Writing {
    /// Marks this thread.
    ///
    /// # Panics
    ///
    /// In a transaction of the same database: the inner one would wait for the outer one forever.
    pub(super) fn enter(db: &Db) -> Self {
        assert!(!is_writing(db), "a transaction inside of a transaction");
        Self { before: OF.replace(address(db)) }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        OF.set(self.before);
    }
}

/// Says whether this thread is in a transaction of `db`.
pub(super) fn is_writing(db: &Db) -> bool {
    OF.get() == address(db)
}

fn address(db: &Db) -> usize {
    std::ptr::from_ref(db).addr()
}
