//! Closed handles whose bytes may still be mapped for writing, or that are the last to write to a
//! file which others keep their node bound to.
//!
//! Where the daemon serves a file, a mapping keeps the handle open and its release tells when the
//! last store is made. A mapping of a backing file does not, and nobody tells when it goes. So its
//! handle stays open here, as a writer like any other, and is looked at until the mapping is gone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{lease, nodes::CLOSE_PATIENCE, open::FileInUse, shared::Shared};

/// How often a handle is looked at while it may be only early: the opening of the backing file is
/// closed right behind it, as soon as the process that closes it gets to run.
const FIRST_LOOKS: Duration = Duration::from_micros(500);

/// How long it may take at most to see that a mapping is gone.
const LAST_LOOK: Duration = Duration::from_millis(250);

impl Shared {
    /// Ends a handle that the kernel has closed, once no mapping of it is left.
    pub(super) fn closed(&self, handle: Arc<FileInUse>) {
        if self.may_go(&handle) {
            return self.release(&handle);
        }
        let now = Instant::now();
        if let Some(seat) = handle.seat {
            self.nodes.lock().closed(handle.ino, handle.node, seat, now);
        }
        self.linger(handle, now);
    }

    fn linger(&self, handle: Arc<FileInUse>, since: Instant) {
        let now = Instant::now();
        let age = now.saturating_duration_since(since);
        // Often at first, then at intervals as long as it has lasted.
        let pause = if age < CLOSE_PATIENCE { FIRST_LOOKS } else { age.min(LAST_LOOK) };
        let look = move |shared: &Arc<Self>| match shared.may_go(&handle) {
            true => shared.release(&handle),
            false => shared.linger(handle, since),
        };
        self.later.at(now + pause, Box::new(look));
    }

    /// Takes a closed handle off its node's way, unless bytes that only its line keeps are still
    /// mapped for writing. The mapping holds the backing file only, so that the kernel closes the
    /// handle without it.
    fn may_go(&self, handle: &FileInUse) -> bool {
        self.ways.leave(handle.node, &handle.way, handle.stores(), lease::is_written_elsewhere)
    }
}
