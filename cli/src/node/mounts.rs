//! The folders a node shows.

use std::{
    path::{Path, PathBuf},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tesfs_fs::{
    Vfs, VfsOptions,
    fuse::{Mount, MountOptions, Passthrough, Unmount, Unmounted},
};
use tesfs_pathtree::{BranchNumber, BucketNumber, bucket::Bucket};
use tokio::sync::watch;

use crate::{
    commands::switch::SwitchError,
    error::CliError,
    output::plural,
    progress::Progress,
    shown::{Shown, ShownKey},
};

/// How often a wait for open files looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How a bucket is to be mounted, decided in full.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct MountWish {
    pub(crate) read_only: bool,
    pub(crate) allow_other: bool,
    pub(crate) shared_writes: bool,
    pub(crate) suid: bool,
    pub(crate) dev: bool,
    pub(crate) cached: bool,
    pub(crate) threads: usize,
}

/// One folder that shows a bucket.
pub(crate) struct Mounted {
    /// Protects what it shows; innermost. It is of one bucket, whatever it is switched to.
    shown: Mutex<Shown>,
    /// Protects a switch, from its record to its end; and what it showed before, while anything is
    /// open there.
    before: Mutex<Vec<(ShownKey, Weak<Vfs>)>>,
    pub(crate) dir: PathBuf,
    pub(crate) wish: MountWish,
    pub(crate) since_ns: i64,
    mount: Mount,
    /// It is out of the tree of directories, and somebody still uses it.
    detached: AtomicBool,
}

impl MountWish {
    /// How whatever is mounted so is shown.
    pub(crate) fn vfs_options(self) -> VfsOptions {
        let Self { read_only, shared_writes, .. } = self;
        VfsOptions { read_only, shared_writes, zone: jiff::tz::TimeZone::system() }
    }
}

impl Mounted {
    /// What it shows now.
    pub(crate) fn shown(&self) -> Shown {
        self.lock_shown().clone()
    }

    /// Shows something else of its bucket from now on. `record` is to remember that, or what it
    /// shows so far if it could not be switched; one switch goes on at a time. Returns how many
    /// files are open in what it showed.
    ///
    /// # Errors
    ///
    /// Those of `record`, which change nothing; the database failed.
    pub(crate) fn switch(
        &self,
        to: &Shown,
        vfs: &Arc<Vfs>,
        record: impl Fn(&Shown) -> Result<(), CliError>,
    ) -> Result<usize, CliError> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let from = self.shown();
        record(to)?;
        let was = self.mount.shows();
        let open_files = match self.mount.switch(vfs) {
            Ok(open_files) => open_files,
            Err(source) => {
                record(&from)?;
                return Err(CliError::tree("switching", self.dir.display().to_string(), source));
            }
        };
        before.retain(|(key, vfs)| *key != from.key() && vfs.strong_count() > 0);
        before.push((from.key(), was));
        *self.lock_shown() = to.clone();
        Ok(open_files)
    }

    /// Whether files are open for writing in something that it showed before.
    fn writes_in(&self, key: ShownKey) -> bool {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let open = before.iter().filter(|(known, _)| *known == key);
        open.filter_map(|(_, vfs)| vfs.upgrade()).any(|vfs| vfs.has_any_writers())
    }

    fn lock_shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `passthrough` or `cached`.
    pub(crate) fn mode(&self) -> String {
        self.mount.mode().to_string()
    }

    /// A mount that a killed process had left there was taken away first.
    pub(crate) fn was_stale(&self) -> bool {
        self.mount.was_stale()
    }

    /// The bucket's name as it is now among the `known` ones: it may have been renamed since.
    pub(crate) fn bucket_name(&self, known: &[Bucket]) -> String {
        let own = self.shown().bucket;
        let now = known.iter().find(|bucket| bucket.number == own.number);
        now.unwrap_or(&own).name.clone()
    }

    /// Files open in what it shows, and in what it showed before it was switched.
    pub(crate) fn open_files(&self) -> usize {
        self.mount.open_files()
    }

    /// Takes the folder away.
    pub(crate) fn unmount(&self, how: Unmount) -> Result<(), CliError> {
        if self.mount.unmount(how)? == Unmounted::Detached {
            self.detached.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Relaxed)
    }
}

/// The mounted folders.
pub(crate) struct Mounts {
    /// Protects the list only. Detached folders are in it until their last user is gone.
    all: Mutex<Vec<Arc<Mounted>>>,
    /// Those that are being mounted: the kernel may show them before they are in the list.
    /// Protects this list only; taken before `all`.
    starting: Mutex<Vec<(ShownKey, PathBuf)>>,
    /// How many there are, for whoever waits for an end.
    count: watch::Sender<usize>,
}

impl Default for Mounts {
    fn default() -> Self {
        let (all, starting) = (Mutex::default(), Mutex::default());
        Self { all, starting, count: watch::Sender::new(0) }
    }
}

/// The right to mount one thing at one folder, until it is dropped.
pub(crate) struct Starting {
    mounts: Arc<Mounts>,
    shown: ShownKey,
    dir: PathBuf,
}

impl Drop for Starting {
    fn drop(&mut self) {
        let own = (self.shown, &self.dir);
        self.mounts.lock_starting().retain(|(shown, dir)| (*shown, dir) != own);
    }
}

impl Mounts {
    /// Keeps everybody else from mounting the same, or anything at `dir`, meanwhile.
    ///
    /// # Errors
    ///
    /// Somebody is at it, or was faster.
    pub(crate) fn begin(self: &Arc<Self>, shown: &Shown, dir: &Path) -> Result<Starting, CliError> {
        let mut starting = self.lock_starting();
        let key = shown.key();
        let taken = starting.iter().any(|(other, at)| *other == key || at == dir)
            || self.at(dir).is_some()
            || self.showing(key).is_some();
        if taken {
            return Err(CliError::BucketBusy { bucket: shown.name() });
        }
        self.require_unwritten(shown, None)?;
        starting.push((key, dir.to_owned()));
        Ok(Starting { mounts: Arc::clone(self), shown: key, dir: dir.to_owned() })
    }

    /// Keeps everybody else from showing the same, and from switching `mounted`, meanwhile.
    ///
    /// # Errors
    ///
    /// It is mounted elsewhere, or somebody is at it.
    pub(crate) fn begin_switch(
        self: &Arc<Self>,
        shown: &Shown,
        mounted: &Mounted,
    ) -> Result<Starting, CliError> {
        let mut starting = self.lock_starting();
        let (key, dir) = (shown.key(), mounted.dir.clone());
        if let Some(elsewhere) = self.showing(key) {
            let dir = elsewhere.dir.clone();
            return Err(SwitchError::Elsewhere {
                shown: shown.name(),
                branch: shown.name_in_bucket(),
                dir,
            }
            .into());
        }
        if starting.iter().any(|(other, at)| *other == key || *at == dir) {
            return Err(CliError::BucketBusy { bucket: shown.name() });
        }
        self.require_unwritten(shown, Some(mounted))?;
        starting.push((key, dir.clone()));
        Ok(Starting { mounts: Arc::clone(self), shown: key, dir })
    }

    /// Refuses to show, at `here` or a new folder, what another folder showed before and has open for writing: the kernel
    /// would not hear at one folder of what is written at the other.
    fn require_unwritten(&self, shown: &Shown, here: Option<&Mounted>) -> Result<(), CliError> {
        let all: Vec<_> = self.lock().clone();
        let is_here = |one: &Arc<Mounted>| here.is_some_and(|here| ptr::eq(here, Arc::as_ptr(one)));
        let mut others = all.into_iter().filter(|mounted| !is_here(mounted));
        match others.find(|mounted| mounted.writes_in(shown.key())) {
            None => Ok(()),
            Some(other) => {
                let dir = other.dir.clone();
                Err(SwitchError::WrittenElsewhere { shown: shown.name(), dir }.into())
            }
        }
    }

    /// Mounts `vfs` at `dir` and keeps it until it is taken away, by whomever.
    ///
    /// # Errors
    ///
    /// What the kernel or the folder objects to.
    pub(crate) fn start(
        self: &Arc<Self>,
        shown: &Shown,
        vfs: &Arc<Vfs>,
        dir: &Path,
        wish: MountWish,
        now_ns: i64,
    ) -> Result<Arc<Mounted>, CliError> {
        let options = MountOptions {
            allow_other: wish.allow_other,
            read_only: wish.read_only,
            suid: wish.suid,
            dev: wish.dev,
            passthrough: if wish.cached { Passthrough::Off } else { Passthrough::Auto },
            threads: wish.threads,
            fs_name: format!("tesfs:{}", shown.name()),
        };
        let mount = Mount::start(vfs, dir, &options)?;
        let mounted = Arc::new(Mounted {
            shown: Mutex::new(shown.clone()),
            before: Mutex::default(),
            dir: dir.to_owned(),
            wish,
            since_ns: now_ns,
            mount,
            detached: AtomicBool::new(false),
        });
        {
            let mut all = self.lock();
            all.push(Arc::clone(&mounted));
            self.count.send_replace(all.len());
        }
        self.watch_end(&mounted)?;
        Ok(mounted)
    }

    /// Forgets the folder when it is unmounted, by us or from outside.
    fn watch_end(self: &Arc<Self>, mounted: &Arc<Mounted>) -> Result<(), CliError> {
        let (mounts, mounted) = (Arc::clone(self), Arc::clone(mounted));
        let watch = move || {
            mounted.mount.wait();
            tracing::info!(dir = %mounted.dir.display(), bucket = mounted.shown().name(), "unmounted");
            let mut all = mounts.lock();
            all.retain(|one| !Arc::ptr_eq(one, &mounted));
            // The bucket is closed before anybody hears that its folder is gone.
            drop(mounted);
            mounts.count.send_replace(all.len());
        };
        match thread::Builder::new().name("mount-end".to_owned()).spawn(watch) {
            Ok(_) => Ok(()),
            Err(source) => Err(CliError::Start { doing: "starting a thread", source }),
        }
    }

    /// Every folder, by path.
    pub(crate) fn all(&self) -> Vec<Arc<Mounted>> {
        let mut all: Vec<_> = self.lock().iter().filter(|m| !m.is_detached()).cloned().collect();
        all.sort_by(|a, b| a.dir.cmp(&b.dir));
        all
    }

    /// Where the folders are or are about to be.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        let starting = self.lock_starting();
        let all = self.lock();
        let starting = starting.iter().map(|(_, dir)| dir.clone());
        all.iter().map(|mounted| mounted.dir.clone()).chain(starting).collect()
    }

    /// The folder at exactly `dir`.
    pub(crate) fn at(&self, dir: &Path) -> Option<Arc<Mounted>> {
        self.all().into_iter().find(|mounted| mounted.dir == dir)
    }

    /// A folder that shows a branch of `bucket`, or still did when it was detached: that of
    /// `main` as it is now before others.
    pub(crate) fn of(&self, bucket: BucketNumber) -> Option<Arc<Mounted>> {
        let all = self.lock();
        let all = all.iter().map(|mounted| (mounted.shown(), mounted));
        let of_bucket = all.filter(|(shown, _)| shown.bucket.number == bucket);
        let first = of_bucket.min_by_key(|(shown, _)| (shown.at.is_some(), shown.key()));
        first.map(|(_, mounted)| Arc::clone(mounted))
    }

    /// The folder that shows exactly this, or still did when it was detached.
    pub(crate) fn showing(&self, key: ShownKey) -> Option<Arc<Mounted>> {
        self.lock().iter().find(|mounted| mounted.shown().key() == key).cloned()
    }

    /// A folder that shows a branch, at whatever time, or still did when it was detached.
    pub(crate) fn of_branch(&self, branch: BranchNumber) -> Option<Arc<Mounted>> {
        self.lock().iter().find(|mounted| mounted.shown().branch.number == branch).cloned()
    }

    /// The folder that holds `path`, and the path from its root.
    pub(crate) fn holding(&self, path: &Path) -> Option<(Arc<Mounted>, PathBuf)> {
        let holders = self.all().into_iter().filter(|mounted| path.starts_with(&mounted.dir));
        // A folder can be mounted inside another one: the innermost holds the path.
        let innermost = holders.max_by_key(|mounted| mounted.dir.components().count())?;
        let rest = path.strip_prefix(&innermost.dir).ok()?;
        let rest = rest.to_owned();
        Some((innermost, rest))
    }

    /// How many folders there are, and every change of that.
    pub(crate) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Takes every folder away: politely while files are open and `wait` is not over, then
    /// whatever is open.
    pub(crate) fn end_all(&self, wait: Duration, progress: &Progress, hurry: &dyn Fn() -> bool) {
        let until = Instant::now() + wait;
        let mut told = false;
        for mounted in self.all() {
            while mounted.open_files() > 0 && Instant::now() < until && !hurry() {
                if !told {
                    told = true;
                    let open = plural(mounted.open_files() as u64, "file");
                    let text = format!(
                        "waiting up to {} s for {open} open in {} (once more: do not wait)",
                        wait.as_secs(),
                        mounted.dir.display()
                    );
                    progress.say(text);
                }
                thread::sleep(LOOK_AGAIN);
            }
            let how = if mounted.open_files() > 0 { Unmount::Lazy } else { Unmount::Now };
            let gone = mounted.unmount(how).or_else(|_| mounted.unmount(Unmount::Lazy));
            if let Err(err) = gone {
                tracing::error!(dir = %mounted.dir.display(), error = %err, "could not unmount");
            }
        }
        self.wait_none();
    }

    /// Waits, not for ever, until the folder at `dir` is forgotten.
    pub(crate) fn wait_for_end_at(&self, dir: &Path) {
        const WAIT: Duration = Duration::from_secs(5);
        const LOOK_AGAIN: Duration = Duration::from_millis(1);
        let until = Instant::now() + WAIT;
        while self.at(dir).is_some() && Instant::now() < until {
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits, not for ever, until the threads behind the folders have let go of their trees.
    fn wait_none(&self) {
        const WAIT: Duration = Duration::from_secs(5);
        let until = Instant::now() + WAIT;
        while !self.all().is_empty() && Instant::now() < until {
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn lock_starting(&self) -> MutexGuard<'_, Vec<(ShownKey, PathBuf)>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Mounted>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
