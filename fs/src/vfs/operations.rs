//! Which operation a change belongs to: one burst of one caller.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tesfs_pathtree::{
    OperationId, Tx,
    tree::{NewOperation, View, store_operation},
};

use crate::{caller::Caller, error::FsError};

/// A pause of this length ends an operation.
const GAP_NS: i64 = 2_000_000_000;
/// No operation lasts longer.
const LENGTH_NS: i64 = 600_000_000_000;
/// Callers remembered at once; ended operations make room.
const CALLERS_MAX: usize = 1024;

/// User and session; the user alone where the session is unknown.
type Key = (u32, Option<i32>);

/// The operations in progress on one mount.
#[derive(Default)]
pub(super) struct Operations {
    /// Protects the table; held for a look, and for the statement that begins an operation.
    current: Mutex<HashMap<Key, Current>>,
}

struct Current {
    id: OperationId,
    first_ns: i64,
    last_ns: i64,
    /// What the database had lost when it began: it may be among what was lost since.
    losses: u64,
}

impl Operations {
    /// Returns the caller's operation, and whether this transaction begins it.
    pub(super) fn current(
        &self,
        tx: &Tx<'_>,
        view: &View,
        caller: &Caller,
        losses: u64,
    ) -> Result<(OperationId, bool), FsError> {
        let session = caller.session();
        let key = (caller.uid, session);
        let now_ns = tx.now_ns();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = current
            .get_mut(&key)
            .filter(|running| running.goes_on(now_ns) && running.losses == losses)
        {
            running.last_ns = now_ns;
            return Ok((running.id, false));
        }
        if current.len() >= CALLERS_MAX {
            current.retain(|_, running| running.goes_on(now_ns));
        }
        if current.len() >= CALLERS_MAX {
            current.clear();
        }
        let who = who(caller.uid, session);
        let new = NewOperation { who: &who, what: "mount" };
        let id = store_operation(tx, view, tx.next_stamp(), &new)?;
        current.insert(key, Current { id, first_ns: now_ns, last_ns: now_ns, losses });
        Ok((id, true))
    }

    /// Ends every operation: whoever goes on begins another one.
    pub(super) fn end_all(&self) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Forgets an operation whose first transaction failed.
    pub(super) fn forget(&self, id: OperationId) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.retain(|_, running| running.id != id);
    }
}

/// The words of the operation log for a user and a session.
pub(super) fn who(uid: u32, session: Option<i32>) -> String {
    match session {
        Some(session) => format!("uid {uid} session {session}"),
        None => format!("uid {uid}"),
    }
}

impl Current {
    fn goes_on(&self, now_ns: i64) -> bool {
        // A clock that was set back says nothing of how long it has been.
        (0..=GAP_NS).contains(&now_ns.saturating_sub(self.last_ns))
            && now_ns.saturating_sub(self.first_ns) <= LENGTH_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_or_a_clock_that_is_set_back_ends_an_operation() {
        let last_ns = 1_700_000_000_000_000_000;
        let running = Current { id: OperationId(1), first_ns: last_ns, last_ns, losses: 0 };
        assert!(running.goes_on(last_ns) && running.goes_on(last_ns + GAP_NS));
        assert!(!running.goes_on(last_ns + GAP_NS + 1));
        assert!(!running.goes_on(last_ns - 1));
        let long = Current { first_ns: last_ns - LENGTH_NS, ..running };
        assert!(long.goes_on(last_ns) && !long.goes_on(last_ns + 1));
    }
}
