use std::thread;
use std::time::{Duration, Instant};

/// How long one look at a condition is put off when it did not hold.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks until `look` finds something, at most for `deadline`.
///
/// Returns `None` when the deadline passed first.
pub fn eventually<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if began.elapsed() >= deadline {
            return None;
        }
        thread::sleep(PAUSE);
    }
}
