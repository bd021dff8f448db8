//! A write transaction: the connection inside it, and what it hands out.

use std::{cell::Cell, ops::Deref};

use rusqlite::Connection;

use super::{Db, DbError, Doing as _, LostNames, outbox};
use crate::{
    clock::HybridClock,
    id::{ActorNumber, Hlc, Ino, Stamp},
};

/// How many inode numbers one update of the node's row reserves.
const INOS_PER_RESERVATION: u64 = 4096;

/// Inode numbers this run may give out without touching the node's row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservation {
    pub(super) next: Ino,
    pub(super) end: Ino,
}

/// What a transaction leaves to the writer when it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct TxState {
    pub(super) event_waits: bool,
    pub(super) stamped: bool,
    pub(super) changed: bool,
}

impl TxState {
    pub(super) fn starting(event_waits: bool) -> Self {
        Self { event_waits, stamped: false, changed: false }
    }
}

/// A write transaction in progress.
///
/// Dereferences to the connection, for statements. Only [`Db::write`](super::Db::write) makes one
/// and only it commits.
pub struct Tx<'c> {
    conn: &'c Connection,
    clock: &'c HybridClock,
    lost_names: &'c LostNames,
    actor: ActorNumber,
    inos: &'c Cell<Reservation>,
    state: Cell<TxState>,
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn
    }
}

impl<'c> Tx<'c> {
    pub(super) fn new(
        db: &'c Db,
        conn: &'c Connection,
        inos: &'c Cell<Reservation>,
        state: TxState,
    ) -> Self {
        let (clock, lost_names) = (&db.clock, &*db.lost_names);
        Self { conn, clock, lost_names, actor: db.actor, inos, state: Cell::new(state) }
    }

    pub(super) fn into_state(self) -> TxState {
        self.state.get()
    }

    /// Returns a new stamp, greater than every one before it.
    pub fn next_stamp(&self) -> Stamp {
        self.update(|state| state.stamped = true);
        Stamp { hlc: self.clock.tick(), actor: self.actor }
    }

    /// Returns the wall clock in Unix nanoseconds.
    pub fn now_ns(&self) -> i64 {
        self.clock.wall().now_ns()
    }

    /// Returns an inode number that no inode of this node ever had.
    ///
    /// # Errors
    ///
    /// A failed update of the node's row.
    pub(crate) fn next_ino(&self) -> Result<Ino, DbError> {
        let mut reservation = self.inos.get();
        if reservation.next >= reservation.end {
            let end = Ino(reservation.next.0 + INOS_PER_RESERVATION);
            self.prepare_cached("UPDATE node SET ino_reserved = ?1 WHERE one = 1")
                .and_then(|mut stmt| stmt.execute([end]))
                .doing("reserving inode numbers")?;
            reservation.end = end;
        }
        let ino = reservation.next;
        reservation.next = Ino(ino.0 + 1);
        self.inos.set(reservation);
        Ok(ino)
    }

    /// Notes that a name of a directory shows until `until` only.
    pub(crate) fn note_lost_name(&self, directory: Ino, until: Hlc) {
        self.lost_names.note(directory, until);
    }

    /// Notes that this transaction wrote to `change`.
    pub(crate) fn note_change(&self) {
        self.update(|state| state.changed = true);
    }

    pub(super) fn has_stamped(&self) -> bool {
        self.state.get().stamped
    }

    /// Publishes one event for the outbox's readers, unless an unread one waits already.
    pub(super) fn announce_change(&self) -> Result<(), DbError> {
        let state = self.state.get();
        if state.changed && !state.event_waits {
            outbox::publish(self)?;
            self.update(|state| state.event_waits = true);
        }
        Ok(())
    }

    /// Notes that the outbox's events were read, so that the next change publishes one again.
    pub(super) fn note_events_read(&self) {
        self.update(|state| state.event_waits = false);
    }

    fn update(&self, change: impl FnOnce(&mut TxState)) {
        let mut state = self.state.get();
        change(&mut state);
        self.state.set(state);
    }
}
