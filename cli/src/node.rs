//! The node: one data directory, opened, with everything that runs on it.

mod mounts;
mod trees;

use std::{
    env, fs, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tesfs_blobs::Store;
use tesfs_fs::{
    Settler, SettlerSettings, Upkeep,
    recovery::{self, Recovered},
};
use tesfs_pathtree::{
    BranchNumber, Chain, Clock, Db, DeviceId, Identity, Ino, OpenError, bucket, bucket::Bucket,
};

pub(crate) use self::mounts::{MountWish, Mounted};
use self::{mounts::Mounts, trees::Trees};
use crate::{
    config::Config,
    error::CliError,
    lock::Lock,
    output::plural,
    paths::{DATABASE, DataDir},
    progress::Progress,
    shown::ShownError,
    suggest::nearest,
    target::BucketName,
};

/// Says which boot this is, in place of the kernel: for rigs that cut the power.
const BOOT_ID_VARIABLE: &str = "TESFS_BOOT_ID";
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// A running node.
///
/// It owns its data directory (the lock is the last thing it lets go of), and it is what every
/// command runs on, whether it came through the socket or from this process's command line.
pub(crate) struct Node {
    trees: Trees,
    /// `None` when the node has ended.
    settler: Mutex<Option<Arc<Settler>>>,
    /// `None` unless it serves.
    upkeep: Mutex<Option<Upkeep>>,
    mounts: Arc<Mounts>,
    store: Arc<Store>,
    db: Arc<Db>,
    device: DeviceId,
    recovered: Recovered,
    config: Config,
    dir: DataDir,
    clock: Clock,
    began: Instant,
    /// Whether it serves its socket: else it only lives for one command.
    serves: AtomicBool,
    _lock: Lock,
}

impl Node {
    /// Opens the data directory whose `lock` this process holds, and recovers what the last run
    /// left.
    ///
    /// # Errors
    ///
    /// A database that is newer, damaged or none; a full disk; a failed recovery. Nothing is
    /// changed by a refusal.
    pub(crate) fn open(dir: DataDir, lock: Lock, config: Config) -> Result<Arc<Self>, CliError> {
        raise_file_limit();
        // Whatever the node makes is its owner's alone, unless a mode is given.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let clock = Clock::system();
        let settings = config.performance.db_settings();
        let schemas = [tesfs_pathtree::SCHEMA, tesfs_blobs::SCHEMA];
        let device = Identity::open(dir.path())?.device();
        dir.require_database()?;
        let database = dir.join(DATABASE);
        let open = || Db::open(&database, &schemas, &settings, clock.clone(), device);
        let db = loop {
            match open() {
                // What is kept back for deletions is enough to open with.
                Err(OpenError::Database { source, .. })
                    if source.is_full() && tesfs_fs::give_reserve(&database).unwrap_or(false) => {}
                opened => break opened?,
            }
        };
        let db = Arc::new(db);
        let store = Arc::new(Store::open(Arc::clone(&db), dir.path())?);
        let boot_id =
            boot_id().map_err(|source| CliError::Start { doing: "reading the boot id", source })?;
        let recovered = recovery::recover(&db, &store, &boot_id)
            .map_err(|source| CliError::Recovery { source: Box::new(source) })?;
        let started = |source| CliError::Start { doing: "starting the settler", source };
        let delay = config.performance.settle_delay();
        let (for_db, for_store) = (Arc::clone(&db), Arc::clone(&store));
        let settler =
            Settler::start(for_db, for_store, SettlerSettings { delay }).map_err(started)?;
        let settler = Arc::new(settler);
        let trees = Trees::new(&db, &store, &settler);
        Ok(Arc::new(Self {
            trees,
            settler: Mutex::new(Some(settler)),
            upkeep: Mutex::default(),
            mounts: Arc::default(),
            store,
            db,
            device,
            recovered,
            config,
            dir,
            clock,
            began: Instant::now(),
            serves: AtomicBool::new(false),
            _lock: lock,
        }))
    }

    pub(crate) fn dir(&self) -> &DataDir {
        &self.dir
    }

    pub(crate) fn db(&self) -> &Arc<Db> {
        &self.db
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    /// What recovery had to do at the start, in words; `None` when the last run ended in order.
    pub(crate) fn recovery_note(&self) -> Option<String> {
        let done = &self.recovered;
        let parts = [
            (done.published.len(), "published that was fsynced and not closed"),
            (done.withdrawn.len(), "fell back to the version before, because the power was cut"),
            (done.recovered.len(), "of unfinished writes kept under .tesfs/recovered"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", plural(*count as u64, "file")))
            .collect();
        (!parts.is_empty()).then(|| format!("recovered: {}", parts.join("; ")))
    }

    pub(crate) fn mounts(&self) -> &Arc<Mounts> {
        &self.mounts
    }

    pub(crate) fn trees(&self) -> &Trees {
        &self.trees
    }

    /// Says that the node serves its socket from now on, and lets it look after its buckets.
    ///
    /// # Errors
    ///
    /// The system gave no thread.
    pub(crate) fn begin_to_serve(&self) -> io::Result<()> {
        self.serves.store(true, Ordering::Relaxed);
        let Some(settler) = self.settler() else { return Ok(()) };
        let upkeep = Upkeep::start(Arc::clone(&self.db), Arc::clone(&self.store), settler)?;
        *self.upkeep.lock().unwrap_or_else(PoisonError::into_inner) = Some(upkeep);
        Ok(())
    }

    /// Says whether somebody has an inode of a branch open.
    pub(crate) fn is_held(&self, branch: BranchNumber, ino: Ino) -> bool {
        self.settler().is_some_and(|settler| settler.is_held(branch, ino))
    }

    /// Lets the mounts of a bucket know that it was told something new.
    pub(crate) fn settings_changed(&self, bucket: &Bucket) {
        if let Some(settler) = self.settler() {
            settler.settings_changed(bucket.number);
        }
    }

    fn settler(&self) -> Option<Arc<Settler>> {
        self.settler.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the node serves its socket.
    pub(crate) fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }

    /// How long it runs.
    pub(crate) fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns every bucket, removed ones included.
    pub(crate) fn buckets(&self) -> Result<Vec<Bucket>, CliError> {
        Ok(self.db.read(bucket::list)?)
    }

    /// Finds the bucket `name` says, whatever branch it says.
    ///
    /// # Errors
    ///
    /// No such bucket, with the one that was probably meant.
    pub(crate) fn require_bucket(&self, name: &BucketName) -> Result<Bucket, CliError> {
        let Some(found) = self.db.read(|conn| bucket::find(conn, &name.bucket))? else {
            let (removed, known): (Vec<_>, Vec<_>) =
                self.buckets()?.into_iter().partition(|bucket| bucket.removed_ns.is_some());
            let name = name.bucket.clone();
            if removed.iter().any(|bucket| bucket.name == name) {
                return Err(ShownError::BucketRemoved { name }.into());
            }
            let known: Vec<String> = known.into_iter().map(|bucket| bucket.name).collect();
            let nearest = nearest(&name, known.iter().map(String::as_str));
            return Err(ShownError::UnknownBucket { name, nearest, known }.into());
        };
        Ok(found)
    }

    /// Finds the bucket `name` says, for a command that is about all of it.
    ///
    /// # Errors
    ///
    /// As [`Node::require_bucket`], and where it names a branch.
    pub(crate) fn require_whole_bucket(&self, name: &str) -> Result<Bucket, CliError> {
        let name = BucketName::parse(name)?;
        match &name.branch {
            None => self.require_bucket(&name),
            Some(branch) => {
                let (bucket, branch) = (name.bucket.clone(), branch.words.clone());
                Err(ShownError::BranchNamed { bucket, branch }.into())
            }
        }
    }

    /// Makes everything that is published survive a power cut, and seals it into the store.
    ///
    /// # Errors
    ///
    /// The disk or the database failed.
    pub(crate) fn settle(&self) -> Result<(), CliError> {
        match self.settler() {
            Some(settler) => match settler.settle_now() {
                Ok(_) => Ok(()),
                Err(source) => Err(CliError::Settle { source: Box::new(source) }),
            },
            None => Ok(()),
        }
    }

    /// Takes the folders away: open files get the configured time.
    pub(crate) fn end_mounts(&self, progress: &Progress, hurry: &dyn Fn() -> bool) {
        let wait = Duration::from_secs(u64::from(self.config.shutdown.wait_seconds));
        self.mounts.end_all(wait, progress, hurry);
    }

    /// Ends the node in order: open files get the configured time, then the folders are taken
    /// away whatever is open, and what waits for its seal is sealed.
    pub(crate) fn end(&self, progress: &Progress, hurry: &dyn Fn() -> bool) {
        // Ends its thread between two transactions.
        drop(self.upkeep.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.end_mounts(progress, hurry);
        if let Err(err) = self.settle() {
            tracing::error!(error = %Chain(&err), "what was written is not settled");
        }
        self.trees.end();
        let settler = self.settler.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Ends its thread, after a last round.
        drop(settler);
    }
}

fn boot_id() -> io::Result<String> {
    match env::var(BOOT_ID_VARIABLE) {
        Ok(id) if !id.is_empty() => Ok(id),
        _ => Ok(fs::read_to_string(BOOT_ID_FILE)?.trim().to_owned()),
    }
}

/// Open files of a mount are file descriptors of the node, so it takes all it may have.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(err) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(error = %err, "limit of open files not raised");
    }
}
