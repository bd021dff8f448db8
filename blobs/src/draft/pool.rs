//! Draft files made ahead, so that opening a file to write does not wait for the disk.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::{
    Syncs,
    file::{DraftFile, Held, lock},
};
use crate::{BlobError, error::Doing as _, folders::remove_file};

/// Files kept ready at most: four threads that create as fast as they can do not wait for the
/// thread that refills, and as many descriptors are spent.
const READY_MAX: usize = 64;
/// Below this many the refilling thread is woken; often enough to stay ahead, seldom enough that
/// most takes cost no wake-up.
const READY_LOW: usize = READY_MAX / 2;

/// Ready-made draft files, and the numbers of those in use.
///
/// One thread, named `tesfs-drafts`, refills it; dropping the pool ends that thread and removes
/// the files that nobody took.
pub struct DraftPool {
    shared: Arc<Shared>,
    refill: Option<JoinHandle<()>>,
}

struct Shared {
    folder: PathBuf,
    next: AtomicU64,
    held: Arc<Held>,
    syncs: Arc<Syncs>,
    /// Protects the ready files; taken before `held`, and never while the disk works.
    ready: Mutex<Ready>,
    low: Condvar,
}

#[derive(Default)]
struct Ready {
    files: Vec<DraftFile>,
    ended: bool,
}

impl DraftPool {
    /// Starts a pool in `folder` whose files are numbered from `first` on.
    pub(crate) fn start(folder: PathBuf, first: u64) -> Result<Self, BlobError> {
        let shared = Arc::new(Shared {
            folder,
            next: AtomicU64::new(first),
            held: Arc::default(),
            syncs: Arc::default(),
            ready: Mutex::default(),
            low: Condvar::new(),
        });
        let refilled = Arc::clone(&shared);
        let refill = thread::Builder::new()
            .name("tesfs-drafts".into())
            .spawn(move || refilled.refill())
            .doing("starting the thread that refills", &shared.folder)?;
        Ok(Self { shared, refill: Some(refill) })
    }

    /// Returns an empty file that nobody else has.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`] when none was ready and none could be made.
    pub fn take(&self) -> Result<DraftFile, BlobError> {
        let (taken, left) = {
            let mut ready = lock(&self.shared.ready);
            (ready.files.pop(), ready.files.len())
        };
        if left < READY_LOW {
            self.shared.low.notify_one();
        }
        taken.map_or_else(|| self.shared.make(), Ok)
    }

    /// Takes a file back that was never published: it is used again when nobody else can reach
    /// it, else its name is removed. A published one is left to the row that names it.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`] when it could be neither emptied nor removed.
    pub fn give_back(&self, file: DraftFile) -> Result<(), BlobError> {
        if file.is_published() {
            return Ok(());
        }
        if file.is_private() && file.reset().is_ok() {
            let mut ready = lock(&self.shared.ready);
            if ready.files.len() < READY_MAX && !ready.ended {
                ready.files.push(file);
                return Ok(());
            }
        }
        self.syncs().forget(file.number());
        remove_file(file.path())
    }

    /// Opens a file that an earlier run left.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`] when it is not there.
    pub fn reopen(&self, number: u64) -> Result<DraftFile, BlobError> {
        let path = self.shared.folder.join(number.to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .doing("opening a draft", &path)?;
        let draft = DraftFile::new(number, path, file, &self.shared.held, &self.shared.syncs);
        draft.front().give_up();
        Ok(draft)
    }

    /// Returns what is known of syncs that failed.
    pub(crate) fn syncs(&self) -> &Syncs {
        &self.shared.syncs
    }

    /// Says whether this process holds the file `number`.
    pub(crate) fn holds(&self, number: u64) -> bool {
        lock(&self.shared.held).contains(&number)
    }
}

impl Drop for DraftPool {
    fn drop(&mut self) {
        let files = {
            let mut ready = lock(&self.shared.ready);
            ready.ended = true;
            std::mem::take(&mut ready.files)
        };
        self.shared.low.notify_one();
        for file in files {
            if let Err(err) = remove_file(file.path()) {
                tracing::debug!(error = %err, "a ready draft was left behind");
            }
        }
        if let Some(Err(_)) = self.refill.take().map(JoinHandle::join) {
            tracing::error!("the thread that refills the draft pool panicked");
        }
    }
}

impl Shared {
    /// Keeps the list of ready files full until the pool ends.
    fn refill(&self) {
        loop {
            let ready = lock(&self.ready);
            if ready.ended {
                return;
            }
            if ready.files.len() >= READY_MAX {
                let full = |ready: &mut Ready| !ready.ended && ready.files.len() >= READY_LOW;
                drop(self.low.wait_while(ready, full));
                continue;
            }
            drop(ready);
            match self.make() {
                Ok(file) => self.put(file),
                Err(err) => {
                    // A full disk, or no descriptors left. Whoever takes next hears of it.
                    tracing::debug!(error = %err, "no draft file could be made ahead");
                    let ready = lock(&self.ready);
                    if !ready.ended {
                        drop(self.low.wait(ready));
                    }
                }
            }
        }
    }

    fn put(&self, file: DraftFile) {
        let mut ready = lock(&self.ready);
        if ready.ended {
            drop(ready);
            if let Err(err) = remove_file(file.path()) {
                tracing::debug!(error = %err, "a ready draft was left behind");
            }
            return;
        }
        ready.files.push(file);
    }

    fn make(&self) -> Result<DraftFile, BlobError> {
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let path = self.folder.join(number.to_string());
            match create(&path) {
                Ok(file) => {
                    return Ok(DraftFile::new(number, path, file, &self.held, &self.syncs));
                }
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
                Err(err) => return Err(err).doing("making a draft", &path),
            }
        }
    }
}

fn create(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Returns the numbers of the draft files in a folder.
pub(crate) fn numbers_in(folder: &std::path::Path) -> Result<Vec<u64>, BlobError> {
    let names = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
        .doing("listing", folder)?;
    let names: Vec<std::ffi::OsString> = names;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, os::unix::fs::FileExt as _};

    use super::*;

    fn pool(folder: &tempfile::TempDir) -> DraftPool {
        DraftPool::start(folder.path().into(), 1).unwrap()
    }

    fn dirty(pool: &DraftPool) -> DraftFile {
        let file = pool.take().unwrap();
        file.own().write_all_at(b"secret", 0).unwrap();
        file
    }

    #[test]
    fn a_private_file_is_reused_and_is_empty_again() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder);
        // Enough to use up what is ready, so that the one given back is the next.
        let mut taken: Vec<_> = (0..200).map(|_| pool.take().unwrap()).collect();
        let numbers: HashSet<u64> = taken.iter().map(DraftFile::number).collect();
        assert_eq!(numbers.len(), 200);
        let file = taken.pop().unwrap();
        file.own().write_all_at(b"secret", 0).unwrap();
        let path = file.path().to_owned();
        pool.give_back(file).unwrap();
        assert_eq!(fs::metadata(path).map_or(0, |meta| meta.len()), 0);
    }

    #[test]
    fn a_file_that_somebody_may_hold_is_removed_instead() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder);
        let passed_on = dirty(&pool);
        let elsewhere = Arc::clone(passed_on.file());
        let cloned = dirty(&pool);
        let clone = cloned.clone();
        let paths = [passed_on.path().to_owned(), cloned.path().to_owned()];
        pool.give_back(passed_on).unwrap();
        pool.give_back(cloned).unwrap();
        assert!(paths.iter().all(|path| !path.exists()));
        assert_eq!(elsewhere.metadata().unwrap().len(), 6);
        assert_eq!(clone.stamp().unwrap().size_bytes, 6);
    }

    #[test]
    fn a_published_file_is_left_to_its_row() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder);
        let file = dirty(&pool);
        let path = file.path().to_owned();
        file.note_published();
        pool.give_back(file).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"secret");
    }

    #[test]
    fn the_end_of_the_pool_leaves_no_ready_file() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder);
        let taken = dirty(&pool);
        drop(pool);
        assert_eq!(numbers_in(folder.path()).unwrap(), [taken.number()]);
    }

    #[test]
    fn a_number_on_disk_is_not_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("3"), b"old").unwrap();
        let pool = pool(&folder);
        let taken: Vec<_> = (0..8).map(|_| pool.take().unwrap().number()).collect();
        assert!(!taken.contains(&3));
        assert_eq!(fs::read(folder.path().join("3")).unwrap(), b"old");
    }
}
