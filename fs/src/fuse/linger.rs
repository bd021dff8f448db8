//! Closed handles whose bytes are still mapped for writing.
//!
//! Where the daemon serves a file, a mapping keeps the handle open and its release tells when the
//! last store is made. A mapping of a backing file does not, and nobody tells when it goes. So its
//! handle stays open here, as a writer like any other, and is looked at until the mapping is gone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{lease, nodes::CLOSE_PATIENCE, open::FileInUse, passthrough::Way, shared::Shared};

/// How often a handle is looked at while it may be only early: the opening of the backing file is
/// closed right behind it, as soon as the process that closes it gets to run.
const FIRST_LOOKS: Duration = Duration::from_micros(500);

/// How long it may take at most to see that a mapping is gone.
const LAST_LOOK: Duration = Duration::from_millis(250);

impl Shared {
    /// Ends a handle that the kernel has closed, once no mapping of it is left.
    pub(super) fn closed(&self, handle: Arc<FileInUse>) {
        if !self.is_mapped(&handle) {
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
        let look = move |shared: &Arc<Self>| match shared.is_mapped(&handle) {
            true => shared.linger(handle, since),
            false => shared.release(&handle),
        };
        self.later.at(now + pause, Box::new(look));
    }

    /// Says whether the bytes of a closed handle are still mapped for writing. The mapping holds
    /// the backing file only, so that the kernel closes the handle without it.
    fn is_mapped(&self, handle: &FileInUse) -> bool {
        let is_bound = matches!(handle.way, Way::Passthrough(_) | Way::DirectOver(_));
        if !handle.file.is_writer() || !is_bound {
            return false;
        }
        // Another handle of the same line will be asked in its turn.
        let last = self.ways.last_backing(handle.node);
        last.is_some_and(|file| lease::is_written_elsewhere(&file))
    }
}
