//! Ctrl-C, SIGTERM and a closed terminal, as something that can be waited for.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::exit::Exit;

/// After so many signals the process ends at once: somebody means it.
const PATIENCE: u32 = 3;

/// Counts the signals that ask this process to end.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    seen: watch::Receiver<u32>,
    stop: Arc<AtomicBool>,
}

impl Signals {
    /// Begins to catch signals, on a thread of its own.
    pub(crate) fn watch() -> io::Result<Self> {
        let (sender, seen) = watch::channel(0);
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        // Registered before this returns: no signal falls between.
        let guard = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        drop(guard);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    flag.store(true, Ordering::Relaxed);
                    sender.send_modify(|count| *count += 1);
                    if *sender.borrow() >= PATIENCE {
                        std::process::exit(i32::from(Exit::Interrupted.code()));
                    }
                }
            });
        })?;
        Ok(Self { seen, stop })
    }

    /// Becomes true with the first signal.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// How many signals came so far.
    pub(crate) fn seen(&self) -> u32 {
        *self.seen.borrow()
    }

    /// Waits for the next signal that this value has not seen yet.
    pub(crate) async fn next(&mut self) {
        // The sender lives as long as the process.
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
