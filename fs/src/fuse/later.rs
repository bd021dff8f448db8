//! Things to do at a time, on a thread of their own.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use super::shared::Shared;

/// What is done; it must not wait for anything itself.
type Job = Box<dyn FnOnce(&Arc<Shared>) + Send>;

/// What is to be done later on. Each request under way and each lingering handle puts in one thing
/// at a time, so that their number is bounded by what the kernel has open.
#[derive(Default)]
pub(super) struct Later {
    /// Protects what is to be done. Nothing else is locked under it.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By time, then by number.
    jobs: BTreeMap<(Instant, u64), Job>,
    next_number: u64,
    has_ended: bool,
}

impl Later {
    /// Does `job` at `time`, unless the mount has ended by then.
    pub(super) fn at(&self, time: Instant, job: Job) {
        let mut state = self.lock();
        if state.has_ended {
            return;
        }
        let number = state.next_number;
        state.next_number += 1;
        state.jobs.insert((time, number), job);
        self.changed.notify_all();
    }

    /// Drops all that is left, and does nothing any more.
    pub(super) fn end(&self) {
        let jobs = {
            let mut state = self.lock();
            state.has_ended = true;
            std::mem::take(&mut state.jobs)
        };
        self.changed.notify_all();
        // Not under the lock: what they hold may be released by this.
        drop(jobs);
    }

    /// Waits for the next thing to do; `None` once it has ended.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.has_ended {
                return None;
            }
            let now = Instant::now();
            state = match state.jobs.first_key_value().map(|((time, _), _)| *time) {
                Some(time) if time <= now => return state.jobs.pop_first().map(|(_, job)| job),
                Some(time) => {
                    let woken = self.changed.wait_timeout(state, time - now);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread, which runs until the mount has ended.
///
/// # Errors
///
/// The system gives no thread.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let later = Arc::clone(&shared.later);
    let shared = Arc::downgrade(shared);
    let run = move || {
        while let Some(job) = later.next() {
            let Some(shared) = shared.upgrade() else { return };
            job(&shared);
        }
    };
    thread::Builder::new().name("fuse-later".into()).spawn(run).map(drop)
}
