//! The node database: one SQLite file, one writer at a time, a pool of readers.

mod check;
mod error;
mod migrate;
mod open;
pub mod outbox;
mod readers;
mod tx;
mod wake;

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, TryLockError},
    time::Duration,
};

use rusqlite::Connection;

pub use self::{
    check::CheckDepth,
    error::{Chain, DbError, Doing, OpenError},
    migrate::{Migration, Schema},
    tx::Tx,
    wake::Wake,
};
use self::{
    readers::Readers,
    tx::{Reservation, TxState},
};
use crate::{
    clock::{Clock, HybridClock},
    id::{ActorNumber, Ino},
    identity::DeviceId,
};

/// How many commits pass between looks at the size of the write-ahead log.
const COMMITS_PER_WAL_CHECK: u32 = 64;
/// How long a cut of the log waits for readers to come to rest: a writer waits meanwhile.
const WAL_CUT_PATIENCE: Duration = Duration::from_millis(100);
/// The log is cut by force at this multiple of the size at which SQLite checkpoints by itself.
const WAL_FORCED_FACTOR: u64 = 3;
/// SQLite's page size here; 4 KiB measured best for rows of this size.
const PAGE_BYTES: u64 = 4096;

/// What an ordinary commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Nothing: it survives the death of the process, a power cut may take it.
    Normal,
    /// The disk: for media whose power is not to be trusted.
    Full,
}

/// How the database is opened; the defaults live where an operator reads them.
#[derive(Clone, Debug)]
pub struct DbSettings {
    /// What an ordinary commit waits for.
    pub synchronous: Synchronous,
    /// Page cache of each connection.
    pub cache_kib: u32,
    /// How much of the file is mapped.
    pub mmap_bytes: u64,
    /// How long a connection waits for another process's lock.
    pub busy_timeout: Duration,
    /// Pages of the write-ahead log (4 KiB each) after which a checkpoint runs.
    pub wal_pages_max: u32,
    /// Read connections kept open at most; a further reader waits for one.
    pub readers_max: usize,
}

/// The node's database.
///
/// All writing goes through [`Db::write`] and [`Db::write_durable`], under one lock; readers never
/// wait for it.
pub struct Db {
    path: PathBuf,
    /// Protects the one connection that writes, and what its transactions leave behind. Taken
    /// after every lock of the crates above.
    writer: Mutex<Writer>,
    readers: Readers,
    clock: HybridClock,
    actor: ActorNumber,
    synchronous: Synchronous,
    wal_bytes_max: u64,
    changed: Wake,
}

struct Writer {
    conn: Connection,
    inos: Cell<Reservation>,
    /// The actor of this run, until a transaction that stamps something has stored it.
    actor_unstored: Option<UnstoredActor>,
    /// An event waits in the outbox's stream, so that no other is needed.
    event_waits: bool,
    commits: u32,
}

struct UnstoredActor {
    device: DeviceId,
    actor: [u8; 16],
}

impl Db {
    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the wall clock that stamps derive from.
    pub fn clock(&self) -> &Clock {
        self.clock.wall()
    }

    /// Returns this run's actor.
    pub fn actor(&self) -> ActorNumber {
        self.actor
    }

    /// Returns what is signalled after every commit that changed a tree.
    pub fn changed(&self) -> &Wake {
        &self.changed
    }

    /// Runs `change` in one transaction and commits it; an error rolls everything back.
    ///
    /// When this returns, the commit survives the death of the process. A power cut may take it,
    /// and then everything after it, until a later [`Db::write_durable`].
    ///
    /// # Errors
    ///
    /// Those of `change`, and a [`DbError`] of the transaction itself.
    pub fn write<T, E: From<DbError>>(
        &self,
        change: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.transact(Durable::No, change)
    }

    /// The same as [`Db::write`], but this commit and every one before it also survive a power
    /// cut when this returns.
    ///
    /// # Errors
    ///
    /// As [`Db::write`].
    pub fn write_durable<T, E: From<DbError>>(
        &self,
        change: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.transact(Durable::Yes, change)
    }

    /// Makes every commit so far survive a power cut.
    ///
    /// # Errors
    ///
    /// A failed commit or sync.
    pub fn sync(&self) -> Result<(), DbError> {
        self.write_durable(|_| Ok(()))
    }

    /// Runs `query` on a pooled read connection; each statement sees what is committed when it
    /// starts.
    ///
    /// # Errors
    ///
    /// Those of `query`, and a [`DbError`] when a connection can not be opened.
    pub fn read<T, E: From<DbError>>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.readers.with(query)
    }

    /// Runs a short `query` on the writer's connection where that is free, else as [`Db::read`].
    ///
    /// A commit empties the page caches of all other connections, not the writer's own: right
    /// after a change, looking there saves reading those pages again. For a row or two; a long
    /// query would hold up writers.
    ///
    /// # Errors
    ///
    /// As [`Db::read`].
    pub fn glance<T, E: From<DbError>>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        match self.writer.try_lock() {
            Ok(writer) => query(&writer.conn),
            // A panic in an earlier transaction left nothing behind, see `OpenTransaction`.
            Err(TryLockError::Poisoned(writer)) => query(&writer.into_inner().conn),
            Err(TryLockError::WouldBlock) => self.read(query),
        }
    }

    fn transact<T, E: From<DbError>>(
        &self,
        durable: Durable,
        change: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // A panic in an earlier transaction left nothing behind: `OpenTransaction` saw to that.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Writer { conn, inos, actor_unstored, event_waits, .. } = &mut *writer;
        let durable = if self.synchronous == Synchronous::Full { Durable::No } else { durable };
        let open = OpenTransaction::begin(conn, inos, durable)?;
        let tx = Tx::new(conn, &self.clock, self.actor, inos, TxState::starting(*event_waits));
        let value = change(&tx)?;
        if let Some(unstored) = actor_unstored.as_ref().filter(|_| tx.has_stamped()) {
            store_actor(&tx, self.actor, unstored)?;
        }
        tx.announce_change()?;
        let state = tx.into_state();
        open.commit()?;
        *event_waits = state.event_waits;
        if state.stamped {
            *actor_unstored = None;
        }
        if state.changed {
            self.changed.signal();
        }
        self.bound_wal(&mut writer);
        Ok(value)
    }

    /// Cuts the write-ahead log when readers kept SQLite's own checkpoints from doing it.
    fn bound_wal(&self, writer: &mut Writer) {
        writer.commits = writer.commits.wrapping_add(1);
        if !writer.commits.is_multiple_of(COMMITS_PER_WAL_CHECK) {
            return;
        }
        let size = std::fs::metadata(open::log_of(&self.path)).map_or(0, |meta| meta.len());
        if size <= self.wal_bytes_max {
            return;
        }
        // SQLite cuts the log only at an instant at which nobody reads from it. Among many short
        // readers that instant may never come by itself, so new ones wait for it here.
        let cut = self.readers.while_idle(WAL_CUT_PATIENCE, || {
            writer.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        });
        match cut {
            Some(Ok(_)) => {}
            Some(Err(err)) => {
                tracing::warn!(error = %Chain(&err), "the write-ahead log could not be cut");
            }
            None => tracing::debug!(size, "a long reader keeps the write-ahead log from a cut"),
        }
    }
}

/// Whether a commit waits for the disk although others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durable {
    No,
    Yes,
}

/// A transaction that is rolled back when this is dropped before its commit: after an error and
/// after a panic alike.
struct OpenTransaction<'a> {
    conn: &'a Connection,
    inos: &'a Cell<Reservation>,
    /// What the database says is reserved when this one is rolled back.
    reserved: Ino,
    durable: Durable,
}

impl<'a> OpenTransaction<'a> {
    fn begin(
        conn: &'a Connection,
        inos: &'a Cell<Reservation>,
        durable: Durable,
    ) -> Result<Self, DbError> {
        let open = Self { conn, inos, reserved: inos.get().end, durable };
        if durable == Durable::Yes {
            set_synchronous(conn, Synchronous::Full)?;
        }
        run(conn, "BEGIN IMMEDIATE").doing("beginning a transaction")?;
        Ok(open)
    }

    fn commit(mut self) -> Result<(), DbError> {
        if self.durable == Durable::Yes {
            // A commit that changes nothing is not written, and what is not written is not synced.
            run(self.conn, "UPDATE node SET syncs = syncs + 1 WHERE one = 1")
                .doing("making earlier commits durable")?;
        }
        run(self.conn, "COMMIT").doing("committing")?;
        self.reserved = self.inos.get().end;
        Ok(())
    }
}

impl Drop for OpenTransaction<'_> {
    fn drop(&mut self) {
        // After a full disk SQLite has rolled back by itself.
        if !self.conn.is_autocommit()
            && let Err(err) = run(self.conn, "ROLLBACK")
        {
            tracing::error!(error = %Chain(&err), "a transaction could not be rolled back");
        }
        // Numbers given out stay given out, whatever became of their rows.
        self.inos.set(Reservation { end: self.reserved, ..self.inos.get() });
        if self.durable == Durable::Yes
            && let Err(err) = set_synchronous(self.conn, Synchronous::Normal)
        {
            tracing::error!(error = %Chain(&err), "commits wait for the disk from now on");
        }
    }
}

/// Runs a statement without parameters or rows through the statement cache.
fn run(conn: &Connection, sql: &'static str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute([]).map(drop)
}

/// Not through the statement cache: SQLite obeys this pragma while it compiles it.
fn set_synchronous(conn: &Connection, to: Synchronous) -> Result<(), DbError> {
    let sql = match to {
        Synchronous::Normal => "PRAGMA synchronous = NORMAL",
        Synchronous::Full => "PRAGMA synchronous = FULL",
    };
    conn.execute_batch(sql).doing("choosing what a commit waits for")
}

fn store_actor(tx: &Tx<'_>, number: ActorNumber, unstored: &UnstoredActor) -> Result<(), DbError> {
    tx.prepare_cached("INSERT INTO actors (number, device, actor) VALUES (?1, ?2, ?3)")
        .and_then(|mut stmt| {
            stmt.execute((number, unstored.device.0.as_slice(), unstored.actor.as_slice()))
        })
        .doing("storing this run's actor")?;
    Ok(())
}

#[cfg(test)]
mod tests;
