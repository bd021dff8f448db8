//! The pool of read connections.

use std::{
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

use super::{DbError, DbSettings, open::open_reader};

/// Read connections, opened on first use and kept; a reader beyond the bound waits for one.
pub(super) struct Readers {
    path: PathBuf,
    settings: DbSettings,
    /// Protects the idle connections; innermost, held for a push or a pop.
    pool: Mutex<Pool>,
    changed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
    /// New readers wait: somebody needs an instant without any.
    paused: bool,
}

impl Readers {
    pub(super) fn new(path: &Path, settings: &DbSettings) -> Self {
        Self {
            path: path.into(),
            settings: settings.clone(),
            pool: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn with<T, E: From<DbError>>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let lease = Lease { conn: Some(self.take()?), readers: self };
        query(lease.conn.as_ref().expect("a lease holds its connection until it is dropped"))
    }

    fn take(&self) -> Result<Connection, DbError> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if !pool.paused {
                if let Some(conn) = pool.idle.pop() {
                    return Ok(conn);
                }
                if pool.open < self.settings.readers_max.max(1) {
                    pool.open += 1;
                    drop(pool);
                    return open_reader(&self.path, &self.settings)
                        .inspect_err(|_| self.forget_one());
                }
            }
            pool = self.changed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn forget_one(&self) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).open -= 1;
        self.changed.notify_all();
    }

    /// Runs `work` while nobody reads; new readers wait meanwhile. Returns `None`, and does
    /// nothing, when those at work do not come to an end within `patience`.
    ///
    /// The caller holds the writer's lock, so there is one pause at a time.
    pub(super) fn while_idle<T>(&self, patience: Duration, work: impl FnOnce() -> T) -> Option<T> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.paused = true;
        let (mut pool, _) = self
            .changed
            .wait_timeout_while(pool, patience, |pool| pool.idle.len() < pool.open)
            .unwrap_or_else(PoisonError::into_inner);
        let done = (pool.idle.len() == pool.open).then(work);
        pool.paused = false;
        drop(pool);
        self.changed.notify_all();
        done
    }
}

/// A connection that goes back to the pool, also when its user panics.
struct Lease<'a> {
    conn: Option<Connection>,
    readers: &'a Readers,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            let mut pool = self.readers.pool.lock().unwrap_or_else(PoisonError::into_inner);
            pool.idle.push(conn);
            // Who pauses waits beside the readers and must not be passed over.
            if pool.paused {
                self.readers.changed.notify_all();
            } else {
                self.readers.changed.notify_one();
            }
        }
    }
}
