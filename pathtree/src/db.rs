//! The node database: one SQLite file, one writer at a time, a pool of readers.

mod check;
mod error;
mod lost_names;
mod migrate;
mod open;
pub mod outbox;
mod readers;
mod tx;
mod wake;
mod writer;
mod writing;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::Connection;

pub(crate) use self::lost_names::LostNames;
pub use self::{
    check::CheckDepth,
    error::{Chain, DbError, Doing, OpenError},
    migrate::{Migration, Schema},
    tx::Tx,
    wake::Wake,
};
use self::{
    readers::Readers,
    writer::{End, OpenTransaction, UnstoredActor, Writer},
    writing::{Writing, is_writing},
};
use crate::{
    clock::{Clock, HybridClock},
    id::{ActorNumber, Hlc},
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

impl DbSettings {
    /// Little memory and few connections: for a node of which little is asked, such as a test's.
    pub const SMALL: Self = Self {
        synchronous: Synchronous::Normal,
        cache_kib: 1024,
        mmap_bytes: 0,
        busy_timeout: Duration::from_secs(5),
        wal_pages_max: 1000,
        readers_max: 4,
    };
}

/// The node's database.
///
/// All writing goes through [`Db::write`] and [`Db::write_durable`], under one lock; readers never
/// wait for it.
pub struct Db {
    path: PathBuf,
    /// Closed before the writer, whose close then empties the write-ahead log.
    readers: Readers,
    /// Protects the one connection that writes, and what its transactions leave behind. Taken
    /// after every lock of the crates above.
    writer: Mutex<Writer>,
    clock: HybridClock,
    actor: ActorNumber,
    synchronous: Synchronous,
    wal_bytes_max: u64,
    changed: Wake,
    /// A transaction was left open: what it did shows on the writer's connection only.
    is_left_open: AtomicBool,
    room: OnceLock<Room>,
    losses: AtomicU64,
    lost_names: Arc<LostNames>,
}

/// How the disk's room is watched for what is [left open](Db::write_ahead).
pub struct Room {
    /// Says whether the disk is nearly full.
    pub is_scarce: Box<dyn Fn() -> bool + Send + Sync>,
    /// Gives up space that was kept back for it.
    pub make: Box<dyn Fn() + Send + Sync>,
}

impl Db {
    /// Lets `room` be watched, so that no full disk takes what was acknowledged; the first stays.
    pub fn watch_room(&self, room: Room) {
        // A second one would watch the same disk.
        drop(self.room.set(room));
    }

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

    /// Returns which directories lost names, as far back as `reading` where that can be.
    pub(crate) fn lost_names_since(&self, reading: Hlc) -> Result<Arc<LostNames>, DbError> {
        self.read(|conn| self.lost_names.recall(conn, reading))?;
        Ok(Arc::clone(&self.lost_names))
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
        self.transact(End::Commit, change)
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
        self.transact(End::CommitDurably, change)
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
        self.commit_ahead()?;
        self.readers.with(query)
    }

    /// Runs a short `query` on the writer's connection where that is free, else as [`Db::read`].
    ///
    /// A commit empties the page caches of all other connections, not the writer's own: right
    /// after a change, looking there saves reading those pages again. For a row or two; a long
    /// query would hold up writers. Inside of a transaction, ask that.
    ///
    /// # Errors
    ///
    /// As [`Db::read`].
    pub fn glance<T, E: From<DbError>>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.is_left_open.load(Ordering::Acquire) && !is_writing(self) {
            // Only that connection sees what was left open.
            let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            return query(&writer.conn);
        }
        match self.writer.try_lock() {
            Ok(writer) => query(&writer.conn),
            // A panic in an earlier transaction left nothing behind, see `OpenTransaction`.
            Err(TryLockError::Poisoned(writer)) => query(&writer.into_inner().conn),
            Err(TryLockError::WouldBlock) => self.read(query),
        }
    }

    /// Runs `change` and leaves its transaction open, for the next one to join and commit.
    ///
    /// For a change that promises nothing yet: a file that is being written and was not closed.
    /// Everybody sees it at once; a death of the process takes it. A failed commit takes it, too,
    /// and counts as a [loss](Db::losses).
    ///
    /// # Errors
    ///
    /// Those of `change`; it alone is rolled back then.
    pub fn write_ahead<T, E: From<DbError>>(
        &self,
        change: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.transact(End::LeaveOpen, change)
    }

    /// Commits what [`Db::write_ahead`] left open, if anything was.
    ///
    /// # Errors
    ///
    /// The commit failed: what was left open is lost.
    pub fn commit_ahead(&self) -> Result<(), DbError> {
        if self.is_left_open.load(Ordering::Acquire) && !is_writing(self) {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            self.commit_left_open(&mut writer)?;
        }
        Ok(())
    }

    /// Takes back what [`Db::write_ahead`] left open: what a death of the process does to it.
    pub fn abandon_ahead(&self) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.abandon_left_open();
        self.note_left_open(&writer, true);
    }

    /// Returns how often changes that were left open were lost to a failed commit.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    fn transact<T, E: From<DbError>>(
        &self,
        end: End,
        change: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let _writing = Writing::enter(self);
        // A panic in an earlier transaction left nothing behind: `OpenTransaction` saw to that.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = self.synchronous == Synchronous::Full;
        let end = if end == End::CommitDurably && is_full { End::Commit } else { end };
        if end == End::CommitDurably {
            // What a commit waits for can not be changed inside of a transaction.
            self.commit_left_open(&mut writer)?;
        }
        let had_left_open = writer.left_open.get().is_some();
        let result = self.attempt(&mut writer, end, change);
        self.note_left_open(&writer, had_left_open && result.is_err());
        result
    }

    fn attempt<T, E: From<DbError>>(
        &self,
        writer: &mut Writer,
        end: End,
        change: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let end = self.room_for(writer, end);
        let start = writer.starting_state();
        let open = OpenTransaction::begin(writer, end)?;
        let tx = Tx::new(self, &writer.conn, &writer.inos, start);
        let value = change(&tx)?;
        if let Some(unstored) = writer.actor_unstored.as_ref()
            && tx.has_stamped()
            && !start.stamped
        {
            store_actor(&tx, self.actor, unstored)?;
        }
        tx.announce_change()?;
        let state = tx.into_state();
        if end == End::LeaveOpen {
            open.leave(state)?;
        } else {
            open.commit()?;
            writer.committed(state);
        }
        if state.changed {
            self.changed.signal();
        }
        if end != End::LeaveOpen {
            self.bound_wal(writer);
        }
        Ok(value)
    }

    /// Sees to it that what is left open can be committed: on a disk that is nearly full nothing
    /// more is left open, and what is gets the room that is kept for it.
    fn room_for(&self, writer: &Writer, end: End) -> End {
        let has_left_open = writer.left_open.get().is_some();
        let Some(room) = self.room.get().filter(|_| end == End::LeaveOpen || has_left_open) else {
            return end;
        };
        if !(room.is_scarce)() {
            return end;
        }
        if has_left_open {
            (room.make)();
        }
        if end == End::LeaveOpen { End::Commit } else { end }
    }

    /// Commits what was left open, if anything was.
    fn commit_left_open(&self, writer: &mut Writer) -> Result<(), DbError> {
        if writer.left_open.get().is_none() {
            // A panic may have taken what was there.
            self.note_left_open(writer, self.is_left_open.load(Ordering::Acquire));
            return Ok(());
        }
        let result = self.attempt(writer, End::Commit, |_| Ok(()));
        self.note_left_open(writer, result.is_err());
        result
    }

    fn note_left_open(&self, writer: &Writer, may_be_lost: bool) {
        let is_left_open = writer.left_open.get().is_some();
        self.is_left_open.store(is_left_open, Ordering::Release);
        if may_be_lost && !is_left_open {
            self.losses.fetch_add(1, Ordering::Relaxed);
        }
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

/// Closing keeps what was left open: nobody was told that it might go.
impl Drop for Db {
    fn drop(&mut self) {
        if let Err(err) = self.commit_ahead() {
            tracing::error!(error = %Chain(&err), "what was left open could not be committed");
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
