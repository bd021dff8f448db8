//! The one connection that writes, and the transactions on it.

use std::cell::Cell;

use rusqlite::Connection;

use super::{
    Chain, DbError, Doing as _, Synchronous, run, set_synchronous,
    tx::{Reservation, TxState},
};
use crate::{id::Ino, identity::DeviceId};

/// The connection that writes, and what its transactions leave behind.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) inos: Cell<Reservation>,
    /// The actor of this run, until a transaction that stamps something has stored it.
    pub(super) actor_unstored: Option<UnstoredActor>,
    /// An event waits in the outbox's stream, so that no other is needed.
    pub(super) event_waits: bool,
    pub(super) commits: u32,
    /// What was done so far in a transaction that the next one is to join.
    pub(super) left_open: Cell<Option<LeftOpen>>,
}

/// The actor of a run that has stamped nothing yet.
pub(super) struct UnstoredActor {
    pub(super) device: DeviceId,
    pub(super) actor: [u8; 16],
}

/// A transaction that was left open.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeftOpen {
    state: TxState,
    /// What the database says is reserved when it is rolled back.
    reserved: Ino,
}

/// How a transaction ends when its change succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By a commit.
    Commit,
    /// By a commit that waits for the disk although others do not.
    CommitDurably,
    /// By the next one, which joins it.
    LeaveOpen,
}

impl Writer {
    /// Returns what a transaction that begins now starts with.
    pub(super) fn starting_state(&self) -> TxState {
        self.left_open.get().map_or(TxState::starting(self.event_waits), |left| left.state)
    }

    /// Takes back what was left open, if anything was.
    pub(super) fn abandon_left_open(&mut self) {
        let Some(left) = self.left_open.take() else { return };
        if let Err(err) = run(&self.conn, "ROLLBACK") {
            tracing::error!(error = %Chain(&err), "a transaction could not be rolled back");
        }
        self.inos.set(Reservation { end: left.reserved, ..self.inos.get() });
    }

    /// Takes over what a transaction that was committed did.
    pub(super) fn committed(&mut self, state: TxState) {
        self.event_waits = state.event_waits;
        if state.stamped {
            self.actor_unstored = None;
        }
    }
}

/// A transaction that is rolled back when this is dropped before its end: after an error and
/// after a panic alike. Where it joined one that was left open, that one stays.
pub(super) struct OpenTransaction<'a> {
    conn: &'a Connection,
    inos: &'a Cell<Reservation>,
    left_open: &'a Cell<Option<LeftOpen>>,
    joined: Option<LeftOpen>,
    /// What the database says is reserved when this one is rolled back.
    reserved: Ino,
    end: End,
    has_ended: bool,
}

impl<'a> OpenTransaction<'a> {
    pub(super) fn begin(writer: &'a Writer, end: End) -> Result<Self, DbError> {
        let Writer { conn, inos, left_open, .. } = writer;
        let joined = left_open.get();
        let reserved = inos.get().end;
        let open = Self { conn, inos, left_open, joined, reserved, end, has_ended: false };
        if end == End::CommitDurably {
            set_synchronous(conn, Synchronous::Full)?;
        }
        let sql = if joined.is_some() { "SAVEPOINT joined" } else { "BEGIN IMMEDIATE" };
        run(conn, sql).doing("beginning a transaction")?;
        Ok(open)
    }

    pub(super) fn commit(mut self) -> Result<(), DbError> {
        if self.end == End::CommitDurably {
            // A commit that changes nothing is not written, and what is not written is not synced.
            run(self.conn, "UPDATE node SET syncs = syncs + 1 WHERE one = 1")
                .doing("making earlier commits durable")?;
        }
        if let Err(err) = run(self.conn, "COMMIT") {
            // Half of it can not be kept: what was left open goes with the rest.
            if let Some(joined) = self.joined.take() {
                self.reserved = joined.reserved;
            }
            return Err(err).doing("committing");
        }
        self.ended(None);
        Ok(())
    }

    /// Leaves the transaction open for the next one.
    pub(super) fn leave(mut self, state: TxState) -> Result<(), DbError> {
        if self.joined.is_some() {
            run(self.conn, "RELEASE joined").doing("joining a transaction")?;
        }
        let reserved = self.joined.map_or(self.reserved, |joined| joined.reserved);
        self.ended(Some(LeftOpen { state, reserved }));
        Ok(())
    }

    fn ended(&mut self, left_open: Option<LeftOpen>) {
        self.left_open.set(left_open);
        self.reserved = self.inos.get().end;
        self.has_ended = true;
    }

    /// Undoes the change; says what is still left open.
    fn roll_back(&self) -> rusqlite::Result<Option<LeftOpen>> {
        // After a full disk SQLite may have rolled everything back by itself.
        if self.conn.is_autocommit() {
            return Ok(None);
        }
        if self.joined.is_some() {
            let undone = run(self.conn, "ROLLBACK TO joined")
                .and_then(|()| run(self.conn, "RELEASE joined"));
            if undone.is_ok() {
                return Ok(self.joined);
            }
        }
        run(self.conn, "ROLLBACK")?;
        Ok(None)
    }
}

impl Drop for OpenTransaction<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let left = self.roll_back().unwrap_or_else(|err| {
                tracing::error!(error = %Chain(&err), "a transaction could not be rolled back");
                None
            });
            self.left_open.set(left);
            if left.is_none()
                && let Some(joined) = self.joined
            {
                self.reserved = joined.reserved;
            }
            // Numbers given out stay given out, whatever became of their rows.
            self.inos.set(Reservation { end: self.reserved, ..self.inos.get() });
        }
        if self.end == End::CommitDurably
            && let Err(err) = set_synchronous(self.conn, Synchronous::Normal)
        {
            tracing::error!(error = %Chain(&err), "commits wait for the disk from now on");
        }
    }
}
