//! What a node does for its buckets by itself: takes snapshots, prunes history, forgets what was
//! abandoned, deletes bytes that nothing needs.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tesfs_blobs::{GRACE, GcRequest, Store};
use tesfs_pathtree::{
    BlobNumber, Chain, Db, Ino, Period, Tx,
    branch::{self, BranchError, NewBranch},
    bucket::{self, Bucket},
    schedule::{Taken, automatic},
    settings::{self, Settings, SettingsError},
    tree::{self, View},
};

use crate::{
    error::FsError,
    prune::{PruneReport, PruneRequest, Pruner},
    settler::Settler,
};

/// How often it looks. What is due is due for an hour at least.
const INTERVAL: Duration = Duration::from_secs(60);

/// Looks after the buckets of a node, on a thread of its own until it is dropped.
pub struct Upkeep {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What one look did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Names of the snapshots that were taken.
    pub taken: Vec<String>,
    /// Names of those whose time was over.
    pub removed: Vec<String>,
    /// What was pruned of each bucket, by its name.
    pub pruned: Vec<(String, PruneReport)>,
    /// Branches, snapshots and buckets that were forgotten.
    pub forgotten: u64,
}

struct Shared {
    db: Arc<Db>,
    store: Arc<Store>,
    settler: Arc<Settler>,
    /// Protects what was done last; held for a whole look.
    done: Mutex<Done>,
    stop: AtomicBool,
    /// Protects nothing; the condition is `stop`.
    nap: Mutex<()>,
    stopped: Condvar,
}

/// What was done last: not stored, so that a start looks at everything once.
#[derive(Default)]
struct Done {
    /// On which day each bucket was pruned, and by which settings.
    pruned: HashMap<tesfs_pathtree::BucketNumber, (i64, Settings)>,
    /// In which hour the first look was.
    first_hour: Option<i64>,
    /// On which day bytes were deleted.
    collected: Option<i64>,
}

/// Why a look ended early.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The tree, the bytes or the disk failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Settings of a newer release: nothing is done by a guess.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A snapshot could not be taken or removed.
    #[error(transparent)]
    Branch(#[from] BranchError),
}

impl From<tesfs_pathtree::DbError> for UpkeepError {
    fn from(err: tesfs_pathtree::DbError) -> Self {
        Self::Fs(err.into())
    }
}

impl Upkeep {
    /// Starts the thread; its first look is a minute from now.
    ///
    /// # Errors
    ///
    /// The system gave no thread.
    pub fn start(db: Arc<Db>, store: Arc<Store>, settler: Arc<Settler>) -> std::io::Result<Self> {
        let mut upkeep = Self::on_request(db, store, settler);
        let body = Arc::clone(&upkeep.shared);
        upkeep.thread =
            Some(thread::Builder::new().name("upkeep".into()).spawn(move || body.run())?);
        Ok(upkeep)
    }

    /// Returns one without a thread: it does something only in [`Upkeep::look`].
    pub fn on_request(db: Arc<Db>, store: Arc<Store>, settler: Arc<Settler>) -> Self {
        let shared = Shared {
            db,
            store,
            settler,
            done: Mutex::default(),
            stop: AtomicBool::new(false),
            nap: Mutex::default(),
            stopped: Condvar::new(),
        };
        Self { shared: Arc::new(shared), thread: None }
    }

    /// Does what is due now.
    ///
    /// # Errors
    ///
    /// The first [`UpkeepError`]; all else is done that could be.
    pub fn look(&self) -> Result<Looked, UpkeepError> {
        self.shared.look()
    }
}

impl Drop for Upkeep {
    /// Ends the thread, between two transactions.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        {
            let _nap = self.shared.nap.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.stopped.notify_all();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the upkeep panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        // What stays wrong is said once.
        let mut failure = String::new();
        while self.sleep() {
            match self.look() {
                Ok(_) => failure.clear(),
                Err(err) => {
                    let error = Chain(&err).to_string();
                    if error != failure {
                        tracing::error!(error, "upkeep failed, will try again");
                        failure = error;
                    }
                }
            }
        }
    }

    /// Waits for the next look; `false` where there is none.
    fn sleep(&self) -> bool {
        let nap = self.nap.lock().unwrap_or_else(PoisonError::into_inner);
        let going_on = |(): &mut ()| self.goes_on();
        drop(self.stopped.wait_timeout_while(nap, INTERVAL, going_on));
        self.goes_on()
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn look(&self) -> Result<Looked, UpkeepError> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut looked = Looked::default();
        let now_ns = self.db.clock().now_ns();
        let mut failed = None;
        for bucket in self.db.read(bucket::list)? {
            if bucket.removed_ns.is_none() && self.goes_on() {
                // What is wrong with one bucket is no reason to neglect the others.
                let result = self.look_after(&bucket, now_ns, &mut done, &mut looked);
                failed = failed.or(result.err());
            }
        }
        self.forget(now_ns, &mut looked)?;
        self.collect(now_ns, &mut done)?;
        failed.map_or(Ok(looked), Err)
    }

    fn look_after(
        &self,
        bucket: &Bucket,
        now_ns: i64,
        done: &mut Done,
        looked: &mut Looked,
    ) -> Result<(), UpkeepError> {
        let settings = self.db.read(|conn| settings::read(conn, bucket.number))?;
        self.snapshots(bucket, &settings, now_ns, looked)?;
        let wanted = (Period::Day.number(now_ns), settings);
        if done.pruned.get(&bucket.number) != Some(&wanted) {
            let report = self.prune(bucket, &wanted.1)?;
            if !report.stopped {
                done.pruned.insert(bucket.number, wanted);
            }
            looked.pruned.push((bucket.name.clone(), report));
        }
        Ok(())
    }

    /// Deletes bytes that nothing needs, once a day; not right after a start, which is when people
    /// wait.
    fn collect(&self, now_ns: i64, done: &mut Done) -> Result<(), FsError> {
        let today = Period::Day.number(now_ns);
        let hour = Period::Hour.number(now_ns);
        let first = *done.first_hour.get_or_insert(hour);
        if hour <= first || done.collected == Some(today) || !self.goes_on() {
            return Ok(());
        }
        let collected = self.store.gc(&GcRequest { grace: GRACE, dry_run: false })?;
        tracing::info!(bytes = collected.size_bytes, "deleted what nothing needs");
        done.collected = Some(today);
        Ok(())
    }

    /// Takes the snapshots of `main` that are due, where something changed since the last of their
    /// kind, and removes those whose time is over and that nobody looks at.
    fn snapshots(
        &self,
        bucket: &Bucket,
        settings: &Settings,
        now_ns: i64,
        looked: &mut Looked,
    ) -> Result<(), UpkeepError> {
        let all = self.db.read(|conn| branch::list(conn, bucket))?;
        let snapshots = all.iter().filter(|one| one.frozen && one.abandoned_ns.is_none());
        let taken: Vec<Taken> = snapshots
            .filter_map(|one| {
                let at_ns = one.fork?.through.unix_ns();
                Some(Taken { name: one.name.clone(), at_ns })
            })
            .collect();
        let due = settings.snapshots.due(&taken, now_ns);
        let Some(main) = all.iter().find(|one| one.number == bucket.main) else { return Ok(()) };
        let view = View::main(bucket);
        let changed = self.db.read(|conn| tree::last_change(conn, &view))?;
        let changed_ns = changed.map_or(i64::MIN, |changed| changed.unix_ns());
        for name in due.take {
            // Somebody who removed it does not want it again.
            let is_there = all.iter().any(|one| one.name == name);
            let kind = automatic(&name);
            let mut of_kind = taken.iter().filter(|one| automatic(&one.name) == kind);
            if is_there || of_kind.any(|one| one.at_ns >= changed_ns) {
                continue;
            }
            let new = NewBranch { name: &name, from: main, at: None, frozen: true };
            self.db.write_durable(|tx| branch::create(tx, bucket, &new))?;
            tracing::info!(bucket = bucket.name, snapshot = name, "snapshot taken");
            looked.taken.push(name);
        }
        for name in due.remove {
            let snapshot = all.iter().find(|one| one.name == name && one.abandoned_ns.is_none());
            if snapshot.is_none_or(|one| self.settler.is_shown(one.number)) {
                continue;
            }
            self.db.write(|tx| branch::abandon(tx, bucket, &name))?;
            tracing::info!(bucket = bucket.name, snapshot = name, "snapshot removed");
            looked.removed.push(name);
        }
        Ok(())
    }

    fn prune(&self, bucket: &Bucket, settings: &Settings) -> Result<PruneReport, FsError> {
        let is_held = |branch, ino: Ino| self.settler.is_held(branch, ino);
        let pruner = Pruner { db: &self.db, store: &self.store, is_held: &is_held };
        let request = PruneRequest { bucket: bucket.number, to_free_bytes: None, dry_run: false };
        let report = pruner.run(&request, settings, &mut |_| self.goes_on())?;
        if !report.count.is_nothing() {
            let (count, freed_bytes) = (report.count, report.freed_bytes);
            tracing::info!(bucket = bucket.name, ?count, freed_bytes, "history pruned");
        }
        Ok(report)
    }

    /// Forgets branches that were abandoned and buckets that were removed 30 days ago.
    fn forget(&self, now_ns: i64, looked: &mut Looked) -> Result<(), FsError> {
        for branch in self.db.read(|conn| tree::branches_to_forget(conn, now_ns))? {
            if self.settler.is_shown(branch) {
                continue;
            }
            self.db.write(|tx| tree::begin_to_forget(tx, branch))?;
            let mut next = Some(Ino(0));
            while let Some(after) = next {
                let found = self.db.read(|conn| tree::rows_of_branch(conn, branch, after))?;
                if !found.rows.is_empty() {
                    self.db.write(|tx| {
                        let blobs = tree::forget_rows(tx, branch, &found.rows)?;
                        self.drop_references(tx, &blobs)
                    })?;
                }
                if !self.goes_on() {
                    return Ok(());
                }
                next = found.next;
            }
            loop {
                let operations = self.db.read(|conn| tree::operations_of_branch(conn, branch))?;
                if operations.is_empty() || !self.goes_on() {
                    break;
                }
                self.db.write(|tx| tree::forget_operations(tx, &operations))?;
            }
            let mut is_over = false;
            while !is_over && self.goes_on() {
                is_over = self.db.write(|tx| {
                    let (blobs, is_over) = tree::forget_rest(tx, branch)?;
                    self.drop_references(tx, &blobs)?;
                    Ok::<_, FsError>(is_over)
                })?;
            }
            looked.forgotten += 1;
        }
        for bucket in self.db.read(|conn| tree::buckets_to_forget(conn, now_ns))? {
            if self.db.write(|tx| tree::forget_bucket(tx, bucket))? {
                looked.forgotten += 1;
            }
        }
        Ok(())
    }

    fn drop_references(&self, tx: &Tx<'_>, blobs: &[BlobNumber]) -> Result<(), FsError> {
        for blob in blobs {
            self.store.drop_reference(tx, *blob)?;
        }
        Ok(())
    }
}
