//! Threads for requests that wait for the disk, so that they do not hold up the others.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// Threads: enough to overlap one sync with another, which disks do well.
const THREADS: usize = 2;

/// Requests that may wait here. When there are more, the thread that read the request serves it:
/// then the whole mount goes at the disk's pace.
const WAITING_MAX: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// Where jobs are handed in. The threads end when it is dropped.
pub(super) struct Aside {
    sender: SyncSender<Job>,
}

impl Aside {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Job>(WAITING_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..THREADS {
            let receiver = Arc::clone(&receiver);
            let named = thread::Builder::new().name(format!("fuse-aside-{number}"));
            drop(named.spawn(move || while take(&receiver).map(|job| job()).is_some() {})?);
        }
        Ok(Self { sender })
    }

    /// Runs `job` on one of the threads, or here if too many wait already.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        match self.sender.try_send(Box::new(job)) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job(),
        }
    }
}

/// Waits for a job; the lock is held only by the one thread that waits.
fn take(receiver: &Mutex<Receiver<Job>>) -> Option<Job> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_run_though_more_are_handed_in_than_may_wait() {
        let aside = Aside::start().unwrap();
        let (sender, receiver) = sync_channel(WAITING_MAX * 3);
        for number in 0..WAITING_MAX * 3 {
            let sender = sender.clone();
            aside.run(move || sender.send(number).unwrap());
        }
        let mut done: Vec<usize> = receiver.iter().take(WAITING_MAX * 3).collect();
        done.sort_unstable();
        assert!(done.into_iter().eq(0..WAITING_MAX * 3));
    }
}
