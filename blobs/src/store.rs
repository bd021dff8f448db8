//! The store: rows that name bytes, and how often they are named.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use rusqlite::{Connection, OptionalExtension as _, params};
use tesfs_pathtree::{BlobNumber, Db, DbError, Doing as _, Tx};

use crate::{
    BlobError, BlobHash, BlobRow, BlobState, DraftFile, DraftPool, INLINE_MAX,
    draft::{Front, numbers_in},
    folders::{Folders, remove_file},
    quarantine::Quarantine,
    reader::CheckCache,
    row::Unsigned,
};

/// Memory for the hashes of drafts that wait for their seal. What does not fit is hashed again.
const FRONTS_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The blobs of a node: their rows, their files, and the drafts they come from.
///
/// One process opens a data directory at a time. Row methods take the caller's transaction;
/// everything that touches files is called outside of one.
pub struct Store {
    db: Arc<Db>,
    folders: Folders,
    pool: DraftPool,
    /// The next row's number. Only grows, so that a number is not met again in this process.
    next_number: AtomicI64,
    /// Draft files from this number on were made by this process.
    first_draft: u64,
    checks: CheckCache,
    quarantine: Arc<Quarantine>,
    fronts: Mutex<Fronts>,
    /// Held by the one seal at a time. Taken before `placing`.
    sealing: Mutex<()>,
    /// Held while names appear in `blobs/` and the row says so, and while names vanish there
    /// because no row does. Taken before the database's lock.
    placing: Mutex<()>,
}

/// What is known of the hashes of published drafts, by draft number.
#[derive(Default)]
struct Fronts {
    known: HashMap<u64, (Arc<Mutex<Front>>, u64)>,
    bytes: u64,
}

impl Store {
    /// Opens the store of a data directory and makes its folders if they are not there.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`], [`BlobError::Database`].
    pub fn open(db: Arc<Db>, data_dir: &Path) -> Result<Self, BlobError> {
        let folders = Folders::ensure(data_dir)?;
        let (number, named) = db.read(greatest_numbers)?;
        let on_disk = numbers_in(&folders.drafts)?.into_iter().max().unwrap_or(0);
        let first_draft = named.max(on_disk) + 1;
        Ok(Self {
            pool: DraftPool::start(folders.drafts.clone(), first_draft)?,
            quarantine: Arc::new(Quarantine::new(folders.clone())),
            next_number: AtomicI64::new(number + 1),
            first_draft,
            folders,
            db,
            checks: CheckCache::default(),
            fronts: Mutex::default(),
            sealing: Mutex::default(),
            placing: Mutex::default(),
        })
    }

    /// Returns the draft files.
    pub fn drafts(&self) -> &DraftPool {
        &self.pool
    }

    /// Stores small bytes in a row, named once.
    ///
    /// # Panics
    ///
    /// With more than [`INLINE_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`].
    pub fn insert_inline(&self, tx: &Tx<'_>, bytes: &[u8]) -> Result<BlobNumber, BlobError> {
        assert!(bytes.len() as u64 <= INLINE_MAX, "{} bytes do not belong in a row", bytes.len());
        let number = self.next_number();
        tx.prepare_cached(
            "INSERT INTO blobs (number, state, size_bytes, refs, settled, hash, data)
             VALUES (?1, 0, ?2, 1, 1, ?3, ?4)",
        )
        .and_then(|mut stmt| {
            let size = Unsigned(bytes.len() as u64);
            stmt.execute(params![number, size, BlobHash::of(bytes), bytes])
        })
        .doing("storing bytes in a row")?;
        Ok(number)
    }

    /// Names the file of a draft, once, as a version of `size_bytes`; it waits for its seal.
    ///
    /// `durable` says that the file was synced since its last write. The bytes must all be in the
    /// file (see [`Draft::materialize`](crate::Draft::materialize)).
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`], [`BlobError::Io`].
    pub fn insert_draft(
        &self,
        tx: &Tx<'_>,
        draft: &DraftFile,
        size_bytes: u64,
        durable: bool,
    ) -> Result<BlobNumber, BlobError> {
        let number = self.next_number();
        // Before the row: from here on the file is not reused, whether this commits or not.
        draft.note_published();
        self.keep_front(draft)?;
        tx.prepare_cached(
            "INSERT INTO blobs (number, state, size_bytes, refs, settled, draft)
             VALUES (?1, 1, ?2, 1, ?3, ?4)",
        )
        .and_then(|mut stmt| {
            let (size, draft) = (Unsigned(size_bytes), Unsigned(draft.number()));
            stmt.execute(params![number, size, durable, draft])
        })
        .doing("naming a draft")?;
        Ok(number)
    }

    /// Publishes the same draft file again: a later version of the same line replaces its own.
    ///
    /// # Errors
    ///
    /// [`BlobError::NotFound`] when the row is gone or sealed, [`BlobError::Database`],
    /// [`BlobError::Io`].
    pub fn update_draft(
        &self,
        tx: &Tx<'_>,
        number: BlobNumber,
        draft: &DraftFile,
        size_bytes: u64,
        durable: bool,
    ) -> Result<(), BlobError> {
        self.keep_front(draft)?;
        let changed = tx
            .prepare_cached(
                "UPDATE blobs SET size_bytes = ?3, settled = ?4
                 WHERE number = ?1 AND draft = ?2",
            )
            .and_then(|mut stmt| {
                let (draft, size) = (Unsigned(draft.number()), Unsigned(size_bytes));
                stmt.execute(params![number, draft, size, durable])
            })
            .doing("publishing a draft again")?;
        require_one(changed, number)
    }

    /// Notes that the bytes of a draft survive a power cut (its file was synced); they do once
    /// the transaction is durable.
    ///
    /// # Errors
    ///
    /// [`BlobError::NotFound`], [`BlobError::Database`].
    pub fn mark_settled(&self, tx: &Tx<'_>, number: BlobNumber) -> Result<(), BlobError> {
        let changed = tx
            .prepare_cached("UPDATE blobs SET settled = 1 WHERE number = ?1")
            .and_then(|mut stmt| stmt.execute([number]))
            .doing("settling a blob")?;
        require_one(changed, number)
    }

    /// Counts one more place that names a blob.
    ///
    /// # Errors
    ///
    /// [`BlobError::NotFound`], [`BlobError::Database`].
    pub fn add_reference(&self, tx: &Tx<'_>, number: BlobNumber) -> Result<(), BlobError> {
        let changed = tx
            .prepare_cached(
                "UPDATE blobs SET refs = refs + 1, unreferenced_ns = NULL WHERE number = ?1",
            )
            .and_then(|mut stmt| stmt.execute([number]))
            .doing("counting a reference")?;
        require_one(changed, number)
    }

    /// Counts one place less. What nothing names any more goes at once when its bytes are in the
    /// row, at the next settle when it is a draft, and after gc's grace when it is a file.
    ///
    /// # Errors
    ///
    /// [`BlobError::NotFound`], [`BlobError::Database`].
    pub fn drop_reference(&self, tx: &Tx<'_>, number: BlobNumber) -> Result<(), BlobError> {
        let left = tx
            .prepare_cached(
                "UPDATE blobs SET refs = refs - 1,
                        unreferenced_ns = iif(refs = 1, ?2, unreferenced_ns)
                 WHERE number = ?1 RETURNING refs, state",
            )
            .and_then(|mut stmt| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok((row.get::<_, Unsigned>(0)?, row.get::<_, BlobState>(1)?))
                };
                stmt.query_row(params![number, tx.now_ns()], read).optional()
            })
            .doing("dropping a reference")?;
        match left {
            None => Err(BlobError::NotFound(number)),
            Some((Unsigned(0), BlobState::Inline)) => delete_row(tx, number),
            Some(_) => Ok(()),
        }
    }

    /// Drops a reference to a version that a power cut or an error took back. When nothing names
    /// its draft any more the row goes at once, and the number of the draft file is returned: the
    /// caller moves it to `recovered/` after the commit.
    ///
    /// # Errors
    ///
    /// [`BlobError::NotFound`], [`BlobError::Database`].
    pub fn withdraw(&self, tx: &Tx<'_>, number: BlobNumber) -> Result<Option<u64>, BlobError> {
        self.drop_reference(tx, number)?;
        let row = BlobRow::find(tx, number)?;
        let Some(draft) = row.filter(|row| row.refs == 0).and_then(|row| row.draft) else {
            return Ok(None);
        };
        delete_row(tx, number)?;
        let names = names_of_draft(tx, draft)?;
        Ok((names == 0).then_some(draft))
    }

    /// Returns what is known of a blob.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`].
    pub fn row(&self, conn: &Connection, number: BlobNumber) -> Result<Option<BlobRow>, BlobError> {
        Ok(BlobRow::find(conn, number)?)
    }

    /// Takes back the file of a line that ended. It is used again when it was never published and
    /// nobody else can hold it, removed when no row names it, and left to its row otherwise.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`], [`BlobError::Database`].
    pub fn release_draft(&self, draft: DraftFile) -> Result<(), BlobError> {
        if draft.is_published() {
            let number = draft.number();
            if self.db.read(|conn| names_of_draft(conn, number))? == 0 {
                draft.note_unnamed();
            }
        }
        self.pool.give_back(draft)
    }

    /// Removes the file of a draft that no row names any more and nobody holds.
    pub(crate) fn remove_draft(&self, draft: u64) -> Result<(), BlobError> {
        self.pool.syncs().forget(draft);
        remove_file(&self.folders.draft(draft))
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    pub(crate) fn folders(&self) -> &Folders {
        &self.folders
    }

    pub(crate) fn checks(&self) -> &CheckCache {
        &self.checks
    }

    pub(crate) fn quarantine(&self) -> &Arc<Quarantine> {
        &self.quarantine
    }

    /// Says whether a draft file was made by this process, so that its bytes were never at rest.
    pub(crate) fn is_of_this_run(&self, draft: u64) -> bool {
        draft >= self.first_draft
    }

    pub(crate) fn next_number(&self) -> BlobNumber {
        BlobNumber(self.next_number.fetch_add(1, Ordering::SeqCst))
    }

    pub(crate) fn lock_sealing(&self) -> MutexGuard<'_, ()> {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_placing(&self) -> MutexGuard<'_, ()> {
        self.placing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is known of the hash of a published draft.
    pub(crate) fn take_front(&self, draft: u64) -> Option<Arc<Mutex<Front>>> {
        let mut fronts = self.fronts.lock().unwrap_or_else(PoisonError::into_inner);
        let (front, bytes) = fronts.known.remove(&draft)?;
        fronts.bytes -= bytes;
        Some(front)
    }

    /// Remembers what is known of a draft's hash as of now.
    fn keep_front(&self, draft: &DraftFile) -> Result<(), BlobError> {
        let stamp = draft.stamp()?;
        let bytes = {
            let mut front = draft.front();
            front.published(stamp);
            front.memory_bytes()
        };
        let replaced = self.take_front(draft.number());
        let mut fronts = self.fronts.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > 0 && fronts.bytes + bytes <= FRONTS_BYTES_MAX {
            fronts.bytes += bytes;
            fronts.known.insert(draft.number(), (draft.front_shared(), bytes));
        }
        drop(fronts);
        drop(replaced);
        Ok(())
    }
}

/// Returns how many rows name a draft file: a blob, or a draft to be found after a crash.
pub(crate) fn names_of_draft(conn: &Connection, draft: u64) -> Result<u64, DbError> {
    conn.prepare_cached(
        "SELECT (SELECT count(*) FROM blobs WHERE draft = ?1)
              + (SELECT count(*) FROM drafts WHERE number = ?1)",
    )
    .and_then(|mut stmt| stmt.query_row([Unsigned(draft)], |row| row.get::<_, Unsigned>(0)))
    .map(|names| names.0)
    .doing("asking who names a draft")
}

pub(crate) fn delete_row(tx: &Tx<'_>, number: BlobNumber) -> Result<(), BlobError> {
    tx.prepare_cached("DELETE FROM blobs WHERE number = ?1")
        .and_then(|mut stmt| stmt.execute([number]))
        .doing("deleting a blob's row")?;
    Ok(())
}

fn require_one(changed: usize, number: BlobNumber) -> Result<(), BlobError> {
    if changed == 0 { Err(BlobError::NotFound(number)) } else { Ok(()) }
}

/// Returns the greatest number of a blob, and of a draft file that a row names.
fn greatest_numbers(conn: &Connection) -> Result<(i64, u64), DbError> {
    conn.prepare_cached(
        "SELECT (SELECT coalesce(max(number), 0) FROM blobs),
                max((SELECT coalesce(max(draft), 0) FROM blobs WHERE draft IS NOT NULL),
                    (SELECT coalesce(max(number), 0) FROM drafts))",
    )
    .and_then(|mut stmt| stmt.query_row([], |row| Ok((row.get(0)?, row.get::<_, Unsigned>(1)?.0))))
    .doing("reading the greatest numbers")
}
