//! A few threads that share a list of work, most of which is waiting for the disk.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{BlobError, error::Doing as _};

/// Threads that sync files at once. A journalling filesystem commits the syncs of several threads
/// together: with 4, sealing small files took a fifth of the time that it took with one.
const THREADS: usize = 4;

/// Calls `work` on every item and returns the results in the order of the items.
///
/// # Errors
///
/// A thread that could not be started; items may have been worked on all the same.
pub(crate) fn each<T: Sync, R: Send>(
    name: &'static str,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Result<Vec<R>, BlobError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return;
            };
            let result = work(item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    thread::scope(|scope| -> io::Result<()> {
        for _ in 1..THREADS.min(items.len()) {
            thread::Builder::new().name(name.into()).spawn_scoped(scope, run)?;
        }
        run();
        Ok(())
    })
    .doing("starting a thread", name.as_ref())?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_and_results_are_in_order() {
        let items: Vec<u64> = (0..1000).collect();
        let doubled = each("test", &items, |item| item * 2).unwrap();
        assert!(doubled.iter().zip(&items).all(|(result, item)| *result == item * 2));
        assert_eq!(doubled.len(), 1000);
        assert!(each("test", &[], |item: &u64| *item).unwrap().is_empty());
    }
}
