//! The settler: makes what was published survive a power cut, and seals it into the store.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tesfs_blobs::{BlobError, Store};
use tesfs_pathtree::{BlobNumber, BranchNumber, BucketNumber, Chain, Db, Ino};

use crate::{
    error::FsError,
    recovery::Lost,
    reserve::Reserve,
    vfs::{Touched, Vfs},
};

/// Blobs sealed in one round, and their bytes unless it is one alone: hashing them takes so little
/// that what was published meanwhile is settled in time.
const BLOBS_PER_ROUND: usize = 64;
const BYTES_PER_ROUND: u64 = 64 * 1024 * 1024;
/// Versions settled in one round: what one durable commit may touch.
const UNSETTLED_PER_ROUND: usize = 1000;

/// How long a writer leaves a published version alone before that is sealed from a copy.
const IDLE: Duration = Duration::from_secs(30);
/// How long after a copy that failed the next is tried: on a full disk each writes until it is.
const RETRY: Duration = Duration::from_secs(30);

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

/// What one round did.
#[derive(Default)]
struct Round {
    sealed: usize,
    /// There is more to do, or to try again.
    again: bool,
    /// What could not be done, and why.
    failed: Failures,
}

/// What failed, of which blob.
type Failures = HashMap<(BlobNumber, &'static str), Failure>;

#[derive(Clone)]
struct Failure {
    why: String,
    at_ns: i64,
}

struct Shared {
    db: Arc<Db>,
    store: Arc<Store>,
    settings: SettlerSettings,
    reserve: Reserve,
    /// Protects who may be writing; held to copy the list.
    watched: Mutex<Vec<Weak<Vfs>>>,
    /// Protects what failed in the last round: it is tried again, and said once.
    said: Mutex<Failures>,
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
        let mut settler = Self::on_request(db, store, settings);
        let body = Arc::clone(&settler.shared);
        let thread = thread::Builder::new().name("settler".into()).spawn(move || body.run())?;
        settler.thread = Some(thread);
        Ok(settler)
    }

    /// Returns a settler without a thread: it does something only in [`Settler::settle_now`].
    pub fn on_request(db: Arc<Db>, store: Arc<Store>, settings: SettlerSettings) -> Self {
        let shared = Arc::new(Shared {
            reserve: Reserve::beside(db.path()),
            db,
            store,
            settings,
            watched: Mutex::default(),
            said: Mutex::default(),
            stop: AtomicBool::new(false),
            nap: Mutex::default(),
            stopped: Condvar::new(),
        });
        Self { shared, thread: None }
    }

    /// Lets the settler know of a filesystem whose writers it must not disturb, and lets all that it
    /// knows of know of each other.
    pub fn watch(&self, vfs: &Arc<Vfs>) {
        let mut watched = lock(&self.shared.watched);
        watched.retain(|known| known.strong_count() > 0);
        for other in watched.iter().filter_map(Weak::upgrade) {
            vfs.meet(&other);
            other.meet(vfs);
        }
        watched.push(Arc::downgrade(vfs));
    }

    /// Lets all that show a bucket know that it was told something new.
    pub fn settings_changed(&self, bucket: BucketNumber) {
        for vfs in self.shared.watched() {
            if vfs.bucket().number == bucket {
                vfs.settings_changed();
            }
        }
    }

    /// Says whether anything shows a branch or snapshot.
    pub fn is_shown(&self, branch: BranchNumber) -> bool {
        self.shared.watched().iter().any(|vfs| vfs.branch().number == branch)
    }

    /// Says whether somebody has an inode open on a branch.
    pub fn is_held(&self, branch: BranchNumber, ino: Ino) -> bool {
        let watched = self.shared.watched();
        watched.iter().any(|vfs| vfs.branch().number == branch && vfs.is_held(ino))
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
            sealed += round.sealed;
            if round.sealed == 0 {
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
            let _nap = lock(&self.shared.nap);
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
        // The run before may have left something.
        let mut pending = true;
        // A full disk stays full for hours: what fails the same way is said once.
        let mut failure = String::new();
        loop {
            let stopping = self.stop.load(Ordering::SeqCst);
            if pending || stopping {
                seen = self.db.changed().seen();
                pending = match self.round() {
                    Ok(round) if round.again && round.sealed > 0 && !stopping => continue,
                    Ok(round) => {
                        failure.clear();
                        round.again
                    }
                    Err(err) => {
                        let error = Chain(&err).to_string();
                        if error != failure {
                            tracing::error!(error, "settling failed, will try again");
                            failure = error;
                        }
                        true
                    }
                };
            }
            if stopping {
                return;
            }
            if !pending {
                self.db.changed().wait_past(seen, Duration::from_secs(3600));
                pending = true;
            }
            self.sleep(self.settings.delay);
        }
    }

    fn sleep(&self, duration: Duration) {
        let nap = lock(&self.nap);
        let stopping = |(): &mut ()| !self.stop.load(Ordering::SeqCst);
        drop(self.stopped.wait_timeout_while(nap, duration, stopping));
    }

    /// Makes what was published survive a power cut, then seals some of what nobody writes.
    fn round(&self) -> Result<Round, FsError> {
        let watched = self.watched();
        let mut round = Round::default();
        self.settle(&watched, &mut round)?;
        let (mut busy, mut idle) = self.unsealed(&watched)?;
        if self.detach_idle(&busy, &watched, &mut round) {
            (busy, idle) = self.unsealed(&watched)?;
        }
        let now = self.first_to_seal(&idle)?;
        let is_all = now.len() == idle.len() && busy.len() + idle.len() < BLOBS_PER_ROUND;
        round.again |= !is_all && !now.is_empty();
        for (blob, outcome) in self.store.seal(now)? {
            match outcome {
                Ok(_) => round.sealed += 1,
                Err(err) if err.is_loss() => self.withdraw(blob, &err, &watched)?,
                Err(err) => {
                    let why = Chain(&err).to_string();
                    let what = if err.is_full() { "no space to seal" } else { "sealing failed" };
                    self.note_failure(&mut round, blob, what, why);
                }
            }
        }
        self.store.record_damage()?;
        if let Err(err) = self.reserve.fill() {
            tracing::warn!(error = %Chain(&err), "no space can be kept back for deletions");
        }
        lock(&self.said).clone_from(&round.failed);
        Ok(round)
    }

    /// Syncs drafts first, then commits durably: rows never outlive their bytes.
    fn settle(&self, watched: &[Arc<Vfs>], round: &mut Round) -> Result<(), FsError> {
        let limbo: Vec<_> = watched.iter().map(|vfs| vfs.take_limbo()).collect();
        let settled = self.settle_published(round);
        for (vfs, files) in watched.iter().zip(limbo) {
            match settled {
                Ok(()) => vfs.empty_limbo(files),
                Err(_) => files.into_iter().for_each(|file| vfs.let_linger(file)),
            }
        }
        settled
    }

    fn settle_published(&self, round: &mut Round) -> Result<(), FsError> {
        let unsettled = self.db.read(|conn| self.store.unsettled(conn, UNSETTLED_PER_ROUND))?;
        for (blob, outcome) in self.store.settle(&unsettled)? {
            // What somebody wrote to meanwhile, or replaced, is settled in a later round.
            let Err(err) = outcome else { continue };
            let what = "the bytes of a version can not be synced";
            self.note_failure(round, blob, what, Chain(&err).to_string());
        }
        Ok(self.db.sync()?)
    }

    /// Gives one version that an idle writer keeps open a file of its own, and says whether it
    /// did: a copy may take its time, and what is published meanwhile waits for it.
    fn detach_idle(&self, busy: &[BlobNumber], watched: &[Arc<Vfs>], round: &mut Round) -> bool {
        const WHAT: &str = "an idle file can not be copied";
        for (blob, vfs) in busy.iter().flat_map(|blob| watched.iter().map(move |vfs| (blob, vfs))) {
            if let Some(failure) = self.recent_failure(*blob, WHAT) {
                round.again = true;
                round.failed.insert((*blob, WHAT), failure);
                continue;
            }
            match vfs.detach_idle(*blob, IDLE) {
                Ok(false) => {}
                Ok(true) => {
                    round.again = true;
                    return true;
                }
                Err(err) => {
                    self.note_failure(round, *blob, WHAT, Chain(&err).to_string());
                    return false;
                }
            }
        }
        false
    }

    /// Returns what is to be sealed: blobs that a writer may still change, and the others.
    fn unsealed(
        &self,
        watched: &[Arc<Vfs>],
    ) -> Result<(Vec<BlobNumber>, Vec<BlobNumber>), FsError> {
        let unsealed = self.db.read(|conn| self.store.unsealed(conn, BLOBS_PER_ROUND))?;
        let is_busy = |blob: &BlobNumber| watched.iter().any(|vfs| vfs.is_being_written(*blob));
        Ok(unsealed.into_iter().partition(is_busy))
    }

    /// Returns those that are sealed before what was published meanwhile is settled.
    fn first_to_seal<'a>(&self, idle: &'a [BlobNumber]) -> Result<&'a [BlobNumber], FsError> {
        let mut left_bytes = BYTES_PER_ROUND;
        self.db.read(|conn| {
            for (index, blob) in idle.iter().enumerate() {
                let size_bytes = self.store.row(conn, *blob)?.map_or(0, |row| row.size_bytes);
                if index > 0 && size_bytes > left_bytes {
                    return Ok(&idle[..index]);
                }
                left_bytes = left_bytes.saturating_sub(size_bytes);
            }
            Ok(idle)
        })
    }

    /// Lets the versions of a blob whose bytes can not be kept fall back to their bases.
    fn withdraw(
        &self,
        blob: BlobNumber,
        why: &BlobError,
        watched: &[Arc<Vfs>],
    ) -> Result<(), FsError> {
        let lost = self.db.write_durable(|tx| {
            // A version that was replaced since it was listed took its file with it: no loss.
            match self.store.row(tx, blob)? {
                Some(row) if row.refs > 0 => Lost::withdraw(tx, &self.store, blob).map(Some),
                _ => Ok(None),
            }
        })?;
        let Some(lost) = lost else { return Ok(()) };
        tracing::error!(%blob, error = %Chain(why), "the bytes of a version are lost");
        lost.set_aside(&self.store)?;
        for version in lost.versions {
            tracing::error!(ino = %version.ino, version = %version.version, "version withdrawn");
            for vfs in watched {
                vfs.announce(&Touched::Inode(version.ino));
            }
        }
        Ok(())
    }

    fn watched(&self) -> Vec<Arc<Vfs>> {
        lock(&self.watched).iter().filter_map(Weak::upgrade).collect()
    }

    /// Notes what has to be tried again, and says so unless the last round did.
    fn note_failure(&self, round: &mut Round, blob: BlobNumber, what: &'static str, why: String) {
        round.again = true;
        let key = (blob, what);
        if lock(&self.said).get(&key).is_none_or(|said| said.why != why) {
            tracing::error!(%blob, error = why, "{what}, will try again");
        }
        round.failed.insert(key, Failure { why, at_ns: self.db.clock().now_ns() });
    }

    /// Returns a failure that is not worth another try yet.
    fn recent_failure(&self, blob: BlobNumber, what: &'static str) -> Option<Failure> {
        let now_ns = self.db.clock().now_ns();
        let is_recent = |failure: &&Failure| {
            u64::try_from(now_ns - failure.at_ns)
                .is_ok_and(|age_ns| Duration::from_nanos(age_ns) < RETRY)
        };
        lock(&self.said).get(&(blob, what)).filter(is_recent).cloned()
    }
}

/// Locks what stays valid when a thread panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
