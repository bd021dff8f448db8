//! Time as an argument: the wall clock, and the hybrid logical clock that stamps changes.
//!
//! The hybrid clock is that of Kulkarni et al., "Logical Physical Clocks" (2014), in the packing
//! of 48 bits of milliseconds and 16 of counter.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use crate::id::Hlc;

/// Where wall time comes from. Clones share their state.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Returns the machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Returns a clock that stands at `start_ns` (Unix nanoseconds) until it is advanced.
    pub fn manual(start_ns: i64) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start_ns))))
    }

    /// Returns Unix nanoseconds.
    pub fn now_ns(&self) -> i64 {
        match &self.0 {
            Source::System => system_ns(),
            Source::Manual(now_ns) => now_ns.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock forward; the machine's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now_ns) = &self.0 {
            let by_ns = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
            now_ns.fetch_add(by_ns, Ordering::SeqCst);
        }
    }

    /// Sets a manual clock, backwards too: what a person or NTP does to a machine's.
    pub fn set(&self, to_ns: i64) {
        if let Source::Manual(now_ns) = &self.0 {
            now_ns.store(to_ns, Ordering::SeqCst);
        }
    }
}

/// Reads the clock that ext4 takes a file's times from (it moves by ticks of some milliseconds):
/// what the tree dates and what the kernel dates in a draft's file come in the order they happened.
fn system_ns() -> i64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// The hybrid logical clock of one node: every reading is greater than the one before and than
/// everything stored, whatever the wall clock does.
#[derive(Debug)]
pub(crate) struct HybridClock {
    wall: Clock,
    last: AtomicU64,
}

impl HybridClock {
    /// Starts above `last`, the greatest reading that any stored change carries.
    pub(crate) fn starting_above(wall: Clock, last: Hlc) -> Self {
        Self { wall, last: AtomicU64::new(last.0) }
    }

    pub(crate) fn wall(&self) -> &Clock {
        &self.wall
    }

    /// Returns the next reading: max(wall, last + 1).
    pub(crate) fn tick(&self) -> Hlc {
        let wall = Hlc::from_unix_ns(self.wall.now_ns());
        let next = |last: u64| Some(wall.0.max(last + 1));
        let last = self
            .last
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next)
            .expect("the closure always returns a value");
        Hlc(wall.0.max(last + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_grow_when_the_wall_stands_still_or_goes_back() {
        let wall = Clock::manual(1_700_000_000_000_000_000);
        let clock = HybridClock::starting_above(wall.clone(), Hlc(0));
        let first = clock.tick();
        let second = clock.tick();
        wall.set(1_600_000_000_000_000_000);
        let third = clock.tick();
        assert!(first < second && second < third);
        wall.set(1_800_000_000_000_000_000);
        assert_eq!(clock.tick(), Hlc::from_unix_ns(1_800_000_000_000_000_000));
    }

    #[test]
    fn a_start_goes_on_above_what_is_stored() {
        let stored = Hlc::from_unix_ns(1_900_000_000_000_000_000);
        let clock = HybridClock::starting_above(Clock::manual(0), stored);
        assert!(clock.tick() > stored);
    }
}
