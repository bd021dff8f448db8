//! Verifying the store: are all bytes there, and are they the right ones?

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use rusqlite::{Connection, OptionalExtension as _};
use tesfs_pathtree::{BlobNumber, DbError, Doing as _};

use crate::{
    BlobError, BlobHash, BlobRow, BlobState, FileStamp, ROWS_PER_TRANSACTION, Store,
    error::Doing as _,
    outboard::{hash_and_compare, outboard_is_whole},
    row::Unsigned,
    seal::record_check,
    stamp::FileId,
};

/// Files hashed at once: disks and two cores are busy with that, and a mount beside it still
/// gets its share.
const THREADS: usize = 2;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyDepth {
    /// Rows, the presence of files, sizes.
    Plain,
    /// All of that, and every byte against its hash.
    Full,
}

/// How far a verification or rebuild is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Blobs dealt with.
    pub blobs_done: u64,
    /// Of so many.
    pub blobs_total: u64,
    /// Bytes dealt with.
    pub bytes_done: u64,
    /// Of so many.
    pub bytes_total: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blobs looked at.
    pub blobs: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// What is wrong, in order of number.
    pub findings: Vec<Finding>,
    /// It was cancelled before the end.
    pub cancelled: bool,
}

/// One blob that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The row.
    pub number: BlobNumber,
    /// Its hash, where it is known.
    pub hash: Option<BlobHash>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Its file is not there.
    Missing(PathBuf),
    /// Its bytes are not those that were stored. The file is in quarantine.
    Damaged(PathBuf),
    /// Its draft's file is shorter than the version.
    DraftShort(PathBuf),
    /// Its outboard was missing or damaged, and was made again.
    OutboardMended,
    /// Its outboard is missing; a full verification makes it again.
    OutboardMissing,
}

/// One verification, shared by its threads.
struct Run<'a> {
    store: &'a Store,
    depth: VerifyDepth,
    progress: &'a (dyn Fn(Progress) + Sync),
    cancel: &'a AtomicBool,
    total: Progress,
    blobs_done: AtomicU64,
    bytes_done: AtomicU64,
    feed: Mutex<Feed>,
    found: Mutex<Found>,
}

/// The rows still to be looked at, a page at a time. Taken before the database's lock.
struct Feed {
    page: std::vec::IntoIter<BlobRow>,
    last: BlobNumber,
}

#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    failure: Option<BlobError>,
    /// What was found of each file: rows that share one have it verified once.
    files: HashMap<BlobHash, Option<Problem>>,
}

impl Store {
    /// Verifies every blob with two threads. Damaged files go to quarantine; outboards that are
    /// wrong are made again; files that were found whole may be handed to the kernel again.
    ///
    /// `progress` is called by the threads, often; setting `cancel` ends the work within a piece
    /// of a file. Writers go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`], [`BlobError::Database`]; damage is a finding, not an error.
    pub fn verify(
        &self,
        depth: VerifyDepth,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: &AtomicBool,
    ) -> Result<VerifyReport, BlobError> {
        self.record_damage()?;
        let run = Run {
            store: self,
            depth,
            progress,
            cancel,
            total: self.db().read(totals)?,
            blobs_done: AtomicU64::new(0),
            bytes_done: AtomicU64::new(0),
            feed: Mutex::new(Feed { page: Vec::new().into_iter(), last: BlobNumber(i64::MIN) }),
            found: Mutex::default(),
        };
        let threads = match depth {
            VerifyDepth::Plain => 1,
            VerifyDepth::Full => THREADS,
        };
        thread::scope(|scope| {
            for _ in 0..threads {
                thread::Builder::new()
                    .name("tesfs-verify".into())
                    .spawn_scoped(scope, || run.work())
                    .doing("starting a thread for", self.db().path())?;
            }
            Ok::<(), BlobError>(())
        })?;
        self.record_damage()?;
        let Run { blobs_done, bytes_done, found, .. } = run;
        let Found { mut findings, failure, .. } =
            found.into_inner().unwrap_or_else(PoisonError::into_inner);
        findings.sort_unstable_by_key(|finding| finding.number);
        failure.map_or(Ok(()), Err)?;
        Ok(VerifyReport {
            blobs: blobs_done.into_inner(),
            size_bytes: bytes_done.into_inner(),
            findings,
            cancelled: cancel.load(Ordering::Relaxed),
        })
    }

    /// Verifies one blob.
    ///
    /// # Errors
    ///
    /// [`BlobError::NotFound`], [`BlobError::Io`], [`BlobError::Database`].
    pub fn verify_one(
        &self,
        number: BlobNumber,
        depth: VerifyDepth,
    ) -> Result<Option<Problem>, BlobError> {
        let row = self.db().read(|conn| BlobRow::find(conn, number))?;
        let row = row.ok_or(BlobError::NotFound(number))?;
        let problem = self.check_row(&row, depth, &mut |_| Ok(()))?;
        self.record_damage()?;
        Ok(problem)
    }

    /// Returns blobs whose bytes are in quarantine.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`].
    pub fn damaged(&self, conn: &Connection) -> Result<Vec<BlobNumber>, BlobError> {
        let numbers = conn
            .prepare_cached("SELECT number FROM blobs WHERE state = 4 ORDER BY number")
            .and_then(|mut stmt| stmt.query_map([], |row| row.get(0))?.collect())
            .doing("listing damaged blobs")?;
        Ok(numbers)
    }

    fn check_row(
        &self,
        row: &BlobRow,
        depth: VerifyDepth,
        advance: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<Option<Problem>, BlobError> {
        match (row.state, row.hash, row.draft) {
            (BlobState::Inline, hash, _) => self.check_inline(row.number, hash, depth),
            (BlobState::Draft, _, Some(draft)) => self.check_draft(row, draft),
            (BlobState::Local, Some(hash), _) => match depth {
                VerifyDepth::Plain => self.check_presence(hash, row.size_bytes),
                VerifyDepth::Full => self.check_bytes(hash, row.size_bytes, advance),
            },
            (BlobState::Damaged, hash, _) => self.check_damaged(row, hash, depth, advance),
            (BlobState::Absent | BlobState::Draft | BlobState::Local, ..) => Ok(None),
        }
    }

    fn check_inline(
        &self,
        number: BlobNumber,
        hash: Option<BlobHash>,
        depth: VerifyDepth,
    ) -> Result<Option<Problem>, BlobError> {
        if depth == VerifyDepth::Plain {
            return Ok(None);
        }
        let data = self.db().read(|conn| inline_data(conn, number))?;
        // Gone since its row was read: then nothing names it.
        if data.is_none_or(|data| hash == Some(BlobHash::of(&data))) {
            return Ok(None);
        }
        self.db().write(|tx| {
            tx.prepare_cached("UPDATE blobs SET state = 4 WHERE number = ?1")
                .and_then(|mut stmt| stmt.execute([number]))
                .doing("marking a blob damaged")
        })?;
        Ok(Some(Problem::Damaged(self.db().path().into())))
    }

    fn check_draft(&self, row: &BlobRow, draft: u64) -> Result<Option<Problem>, BlobError> {
        let path = self.folders().draft(draft);
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() >= row.size_bytes => Ok(None),
            Ok(_) => Ok(Some(Problem::DraftShort(path))),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                // A seal may have ended since the row was read.
                let now = self.db().read(|conn| BlobRow::find(conn, row.number))?;
                let still = now.is_some_and(|now| now.draft == Some(draft));
                Ok(still.then_some(Problem::Missing(path)))
            }
            Err(err) => Err(err).doing("looking at a draft", &path),
        }
    }

    fn check_presence(
        &self,
        hash: BlobHash,
        size_bytes: u64,
    ) -> Result<Option<Problem>, BlobError> {
        let path = self.folders().blob(&hash);
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() != size_bytes => {
                self.condemn(hash, FileId::read(&meta), path).map(Some)
            }
            Ok(_) if outboard_is_whole(&self.folders().outboard(&hash), size_bytes) => Ok(None),
            Ok(_) => Ok(Some(Problem::OutboardMissing)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Some(self.gone(hash, path))),
            Err(err) => Err(err).doing("looking at a blob", &path),
        }
    }

    /// Looks where the bytes of a damaged blob are now; a good file that somebody put back in
    /// their place makes it whole again.
    fn check_damaged(
        &self,
        row: &BlobRow,
        hash: Option<BlobHash>,
        depth: VerifyDepth,
        advance: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<Option<Problem>, BlobError> {
        let hash = match hash {
            Some(hash) if !self.db().read(|conn| has_data(conn, row.number))? => hash,
            _ => return Ok(Some(Problem::Damaged(self.db().path().into()))),
        };
        let path = self.folders().blob(&hash);
        if depth == VerifyDepth::Plain || !path.exists() {
            return Ok(Some(self.gone(hash, path)));
        }
        let problem = self.check_bytes(hash, row.size_bytes, advance)?;
        if problem.as_ref().is_none_or(|problem| *problem == Problem::OutboardMended) {
            self.db().write(|tx| {
                tx.prepare_cached(
                    "UPDATE blobs SET state = 2 WHERE hash = ?1 AND data IS NULL AND hash IS NOT NULL
                     AND state = 4",
                )
                .and_then(|mut stmt| stmt.execute([hash]))
                .doing("marking a blob whole")
            })?;
        }
        Ok(problem)
    }

    /// Hashes a file of the store and compares its outboard on the way.
    pub(crate) fn check_bytes(
        &self,
        hash: BlobHash,
        size_bytes: u64,
        advance: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<Option<Problem>, BlobError> {
        let path = self.folders().blob(&hash);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(self.gone(hash, path)));
            }
            Err(err) => return Err(err).doing("opening a blob", &path),
        };
        let stamp = FileStamp::of(&file).doing("looking at a blob", &path)?;
        let judged = FileId::of(&file).doing("looking at a blob", &path)?;
        if stamp.size_bytes != size_bytes {
            return self.condemn(hash, judged, path).map(Some);
        }
        let outboard = File::open(self.folders().outboard(&hash)).ok();
        let (found, outboard_good) =
            hash_and_compare(&file, size_bytes, outboard.as_ref(), advance)
                .doing("hashing a blob", &path)?;
        if found != hash {
            return self.condemn(hash, judged, path).map(Some);
        }
        let now_ns = self.db().clock().now_ns();
        self.db().write(|tx| record_check(tx, hash, now_ns, stamp))?;
        if outboard_good {
            return Ok(None);
        }
        let mended = self.quarantine().mend_outboard(hash, &file, size_bytes)?;
        Ok(mended.then_some(Problem::OutboardMended))
    }

    /// Notes that a file is not in its place: in quarantine, or nowhere.
    fn gone(&self, hash: BlobHash, path: PathBuf) -> Problem {
        self.quarantine().note_gone(hash);
        let kept = path.file_name().map(|name| self.folders().quarantine.join(name));
        match kept.filter(|kept| kept.exists()) {
            Some(kept) => Problem::Damaged(kept),
            None => Problem::Missing(path),
        }
    }

    fn condemn(&self, hash: BlobHash, judged: FileId, path: PathBuf) -> Result<Problem, BlobError> {
        Ok(Problem::Damaged(self.quarantine().take(hash, judged)?.unwrap_or(path)))
    }
}

impl Run<'_> {
    /// Looks at one row after the other until there is none, or until somebody stops it.
    fn work(&self) {
        let worked = loop {
            if self.is_stopped() {
                break Ok(());
            }
            match self.next_row() {
                Ok(None) => break Ok(()),
                Ok(Some(row)) => {
                    if let Err(err) = self.check(&row) {
                        break Err(err);
                    }
                }
                Err(err) => break Err(err),
            }
        };
        if let Err(err) = worked
            && !self.cancel.load(Ordering::Relaxed)
        {
            lock(&self.found).failure.get_or_insert(err);
        }
    }

    fn next_row(&self) -> Result<Option<BlobRow>, BlobError> {
        let mut feed = lock(&self.feed);
        if feed.page.len() == 0 {
            let last = feed.last;
            let rows =
                self.store.db().read(|conn| BlobRow::page(conn, last, ROWS_PER_TRANSACTION))?;
            feed.last = rows.last().map_or(last, |row| row.number);
            feed.page = rows.into_iter();
        }
        Ok(feed.page.next())
    }

    fn check(&self, row: &BlobRow) -> Result<(), BlobError> {
        let file = row.hash.filter(|_| row.state == BlobState::Local);
        let known = file.and_then(|hash| lock(&self.found).files.get(&hash).cloned());
        let mut hashed = 0;
        let problem = match known {
            Some(problem) => problem,
            None => self.store.check_row(row, self.depth, &mut |bytes| {
                hashed += bytes;
                self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
                (self.progress)(self.so_far());
                if self.is_stopped() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
            })?,
        };
        self.bytes_done.fetch_add(row.size_bytes.saturating_sub(hashed), Ordering::Relaxed);
        self.blobs_done.fetch_add(1, Ordering::Relaxed);
        (self.progress)(self.so_far());
        let mut found = lock(&self.found);
        if let Some(hash) = file {
            found.files.insert(hash, problem.clone());
        }
        found.findings.extend(problem.map(|problem| Finding {
            number: row.number,
            hash: row.hash,
            problem,
        }));
        Ok(())
    }

    fn so_far(&self) -> Progress {
        let blobs_done = self.blobs_done.load(Ordering::Relaxed);
        let bytes_done = self.bytes_done.load(Ordering::Relaxed);
        Progress { blobs_done, bytes_done, ..self.total }
    }

    fn is_stopped(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) || lock(&self.found).failure.is_some()
    }
}

fn totals(conn: &Connection) -> Result<Progress, DbError> {
    conn.prepare_cached("SELECT count(*), coalesce(sum(size_bytes), 0) FROM blobs")
        .and_then(|mut stmt| {
            stmt.query_row([], |row| {
                let (blobs, bytes): (Unsigned, Unsigned) = (row.get(0)?, row.get(1)?);
                Ok(Progress { blobs_total: blobs.0, bytes_total: bytes.0, ..Progress::default() })
            })
        })
        .doing("counting blobs")
}

fn inline_data(conn: &Connection, number: BlobNumber) -> Result<Option<Vec<u8>>, DbError> {
    conn.prepare_cached("SELECT data FROM blobs WHERE number = ?1 AND state = 0")
        .and_then(|mut stmt| stmt.query_row([number], |row| row.get(0)).optional())
        .doing("reading bytes in a row")
}

fn has_data(conn: &Connection, number: BlobNumber) -> Result<bool, DbError> {
    conn.prepare_cached("SELECT data IS NOT NULL FROM blobs WHERE number = ?1")
        .and_then(|mut stmt| stmt.query_row([number], |row| row.get(0)).optional())
        .doing("looking for bytes in a row")
        .map(|found| found.unwrap_or(false))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
