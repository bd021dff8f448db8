//! A wake: a signal without data, for consumers in this process.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Counts signals; a waiter sees whether any came since it last looked, so none is missed.
#[derive(Debug, Default)]
pub struct Wake {
    signals: Mutex<u64>,
    came: Condvar,
}

impl Wake {
    /// Wakes every waiter.
    pub fn signal(&self) {
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        *signals += 1;
        self.came.notify_all();
    }

    /// Returns how many signals came so far: read it before reading the state they speak of.
    pub fn seen(&self) -> u64 {
        *self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until more than `seen` signals came or `timeout` passed, and returns the new count.
    pub fn wait_past(&self, seen: u64, timeout: Duration) -> u64 {
        let signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        let (signals, _) = self
            .came
            .wait_timeout_while(signals, timeout, |signals| *signals <= seen)
            .unwrap_or_else(PoisonError::into_inner);
        *signals
    }
}
