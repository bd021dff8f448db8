//! Closed handles whose bytes are still mapped for writing.
//!
//! Where the daemon serves a file, a mapping keeps the handle open and its release tells when the
//! last store is made. A mapping of a backing file does not, and nobody tells when it goes. So its
//! handle stays open here, as a writer like any other, and is looked at until the mapping is gone.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use super::{nodes::CLOSED_PATIENCE, open::FileInUse, shared::Shared};

/// How often a handle is looked at while it may be only early: the opening of the backing file is
/// closed right behind it, as soon as the process that closes it gets to run.
const FIRST_LOOKS: Duration = Duration::from_micros(500);

/// How long it may take at most to see that a mapping is gone.
const LAST_LOOK: Duration = Duration::from_millis(250);

/// The handles that linger.
#[derive(Default)]
pub(super) struct Lingering {
    /// Protects who lingers. Nothing else is locked under it.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    handles: Vec<Linger>,
    has_ended: bool,
}

struct Linger {
    handle: Arc<FileInUse>,
    since: Instant,
    look_at: Instant,
}

impl Lingering {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, handle: Arc<FileInUse>, since: Instant) {
        let now = Instant::now();
        let age = now.saturating_duration_since(since);
        // Often at first, then at intervals as long as it has lasted.
        let pause = if age < CLOSED_PATIENCE { FIRST_LOOKS } else { age.min(LAST_LOOK) };
        self.lock().handles.push(Linger { handle, since, look_at: now + pause });
        self.changed.notify_all();
    }

    /// Waits until handles are to be looked at and takes them; `None` once it has ended.
    fn due(&self) -> Option<Vec<Linger>> {
        let mut state = self.lock();
        loop {
            if state.has_ended {
                return None;
            }
            let now = Instant::now();
            let due: Vec<Linger> =
                state.handles.extract_if(.., |linger| linger.look_at <= now).collect();
            if !due.is_empty() {
                return Some(due);
            }
            let next = state.handles.iter().map(|linger| linger.look_at).min();
            state = match next {
                Some(next) => {
                    let woken = self.changed.wait_timeout(state, next.duration_since(now));
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Shared {
    /// Keeps a closed handle until its mappings are gone.
    pub(super) fn linger(&self, handle: Arc<FileInUse>) {
        let now = Instant::now();
        if let Some(seat) = handle.seat {
            self.nodes.lock().closed(handle.ino, handle.node, seat, now);
        }
        self.lingering.add(handle, now);
    }

    /// Releases all that lingers: the mount has ended.
    pub(super) fn release_lingering(&self) {
        let handles = {
            let mut state = self.lingering.lock();
            state.has_ended = true;
            std::mem::take(&mut state.handles)
        };
        self.lingering.changed.notify_all();
        for linger in handles {
            self.release(&linger.handle);
        }
    }
}

/// Starts the thread that looks, until the mount has ended.
///
/// # Errors
///
/// The system gives no thread.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let lingering = Arc::clone(&shared.lingering);
    let shared = Arc::downgrade(shared);
    let run = move || {
        while let Some(due) = lingering.due() {
            let Some(shared) = Weak::upgrade(&shared) else { return };
            for Linger { handle, since, .. } in due {
                if shared.is_mapped(&handle) {
                    lingering.add(handle, since);
                } else {
                    shared.release(&handle);
                }
            }
        }
    };
    thread::Builder::new().name("fuse-linger".into()).spawn(run).map(drop)
}
