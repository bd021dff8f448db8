//! The settler: makes what was published survive a power cut, and seals it into the store.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tesfs_blobs::Store;
use tesfs_pathtree::{BlobNumber, Chain, Db, tree};

use crate::{
    error::FsError,
    reserve::Reserve,
    vfs::{Touched, Vfs},
};

/// Blobs taken in one round: what one durable commit may touch.
const BLOBS_PER_ROUND: usize = 1000;

/// When the settler runs.
#[derive(Clone, Copy, Debug)]
pub struct SettlerSettings {
    /// From a publish to the round that settles it: a burst is settled together. At most 5 s.
    pub delay: Duration,
}

/// Settles and seals on a thread of its own until it is dropped.
///
/// A round takes no input: what to do follows from the database alone, so a crash or a second
/// round does no harm.
pub struct Settler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    db: Arc<Db>,
    store: Arc<Store>,
    settings: SettlerSettings,
    reserve: Reserve,
    /// Protects who may be writing; held to copy the list.
    watched: Mutex<Vec<Weak<Vfs>>>,
    stop: AtomicBool,
    /// Protects nothing; the condition is `stop`.
    nap: Mutex<()>,
    stopped: Condvar,
}

impl Settler {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system gave no thread.
    pub fn start(
        db: Arc<Db>,
        store: Arc<Store>,
        settings: SettlerSettings,
    ) -> std::io::Result<Self> {
        let reserve = Reserve::beside(db.path());
        let shared = Arc::new(Shared {
            reserve,
            db,
            store,
            settings,
            watched: Mutex::default(),
            stop: AtomicBool::new(false),
            nap: Mutex::default(),
            stopped: Condvar::new(),
        });
        let body = Arc::clone(&shared);
        let thread = thread::Builder::new().name("settler".into()).spawn(move || body.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Lets the settler know of a filesystem whose writers it must not disturb.
    pub fn watch(&self, vfs: &Arc<Vfs>) {
        let mut watched = self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|known| known.strong_count() > 0);
        watched.push(Arc::downgrade(vfs));
    }

    /// Settles and seals everything that can be, now, and returns how many blobs are sealed by it.
    ///
    /// # Errors
    ///
    /// The disk or the database failed.
    pub fn settle_now(&self) -> Result<usize, FsError> {
        let mut sealed = 0;
        loop {
            let round = self.shared.round()?;
            sealed += round;
            if round == 0 {
                return Ok(sealed);
            }
        }
    }
}

impl Drop for Settler {
    /// Ends the thread after a last round.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        {
            let _nap = self.shared.nap.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.stopped.notify_all();
        }
        self.shared.db.changed().signal();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the settler panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut seen = 0;
        loop {
            let stopping = self.stop.load(Ordering::SeqCst);
            let woken = self.db.changed().seen();
            if woken > seen || stopping {
                seen = woken;
                match self.round() {
                    // A full round: there may be more.
                    Ok(sealed) if sealed >= BLOBS_PER_ROUND => seen = 0,
                    Ok(_) => {}
                    Err(err) => {
                        tracing::error!(error = %Chain(&err), "settling failed, will try again");
                        seen = 0;
                    }
                }
            }
            if stopping {
                return;
            }
            self.db.changed().wait_past(seen, Duration::from_secs(3600));
            self.sleep(self.settings.delay);
        }
    }

    fn sleep(&self, duration: Duration) {
        let nap = self.nap.lock().unwrap_or_else(PoisonError::into_inner);
        let stopping = |(): &mut ()| !self.stop.load(Ordering::SeqCst);
        drop(self.stopped.wait_timeout_while(nap, duration, stopping));
    }

    /// Seals what nobody writes, syncs what somebody does, and makes every commit durable.
    fn round(&self) -> Result<usize, FsError> {
        let watched = self.watched();
        let unsealed = self.db.read(|conn| self.store.unsealed(conn, BLOBS_PER_ROUND))?;
        let (busy, idle): (Vec<_>, Vec<_>) = unsealed
            .into_iter()
            .partition(|blob| watched.iter().any(|vfs| vfs.is_being_written(*blob)));
        let limbo: Vec<_> = watched.iter().map(|vfs| vfs.take_limbo()).collect();
        let mut sealed = 0;
        for (blob, outcome) in self.store.seal(&idle)? {
            match outcome {
                Ok(_) => sealed += 1,
                Err(err) if err.is_full() => {
                    tracing::warn!(%blob, error = %Chain(&err), "no space to seal, will try again");
                }
                Err(err) => {
                    tracing::error!(%blob, error = %Chain(&err), "the bytes of a version are lost");
                    self.withdraw(blob, &watched)?;
                }
            }
        }
        for (blob, err) in self.store.settle(&busy)? {
            tracing::error!(%blob, error = %Chain(&err), "an open file could not be synced");
        }
        self.db.sync()?;
        if let Err(err) = self.reserve.fill() {
            tracing::warn!(error = %Chain(&err), "no space can be kept back for deletions");
        }
        for (vfs, files) in watched.iter().zip(limbo) {
            vfs.empty_limbo(files);
        }
        Ok(sealed)
    }

    /// Lets the versions of a blob whose bytes can not be kept fall back to their bases.
    fn withdraw(&self, blob: BlobNumber, watched: &[Arc<Vfs>]) -> Result<(), FsError> {
        let withdrawn = self.db.write_durable(|tx| {
            let withdrawn = tree::withdraw_blob(tx, blob)?;
            for _ in &withdrawn {
                self.store.withdraw(tx, blob)?;
            }
            Ok::<_, FsError>(withdrawn)
        })?;
        for version in withdrawn {
            tracing::error!(ino = %version.ino, version = %version.version, "version withdrawn");
            for vfs in watched {
                vfs.announce(&Touched::Inode(version.ino));
            }
        }
        Ok(())
    }

    fn watched(&self) -> Vec<Arc<Vfs>> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.iter().filter_map(Weak::upgrade).collect()
    }
}
