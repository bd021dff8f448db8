//! Sealing: a published draft becomes an immutable file of the store, named by its hash.
//!
//! The order is what a crash needs. The bytes are on the disk before they are hashed, the outboard
//! before the file has its name, the name before the row that promises it, and that row before
//! the draft's name goes. A stop between any two leaves a draft that is sealed again at the next
//! start, and at worst a file in `blobs/` that the repeat finds to be its own.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::PoisonError,
};

use rusqlite::{OptionalExtension as _, params};
use tesfs_pathtree::{BlobNumber, Doing as _, Tx};

use crate::{
    BlobError, BlobHash, BlobRow, BlobState, FileStamp, ROWS_PER_TRANSACTION, Store, crew,
    error::Doing as _,
    folders::{ensure_folder, sync_folder},
    outboard::{Leaves, hash_file},
    quarantine::place_outboard,
    reader::is_recent,
    row::Unsigned,
    stamp::FileId,
};

/// A sealed file can not be written to by mistake.
const SEALED_MODE: u32 = 0o400;

/// What became of a draft that was to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealOutcome {
    /// Its bytes are a file of the store and survive a power cut.
    Sealed {
        /// Their name.
        hash: BlobHash,
        /// They were there already: the row's file is another one than the draft's was.
        shared: bool,
    },
    /// It was not a draft (any more).
    Already,
    /// Nothing names it, so it is about to go.
    Unreferenced,
    /// It has no row.
    Gone,
}

/// How far a batch goes; tests stop it early where a crash could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Drafts synced and hashed, outboards in place.
    Hashed,
    /// Files have their names in the store.
    Placed,
    /// Rows say so, durably.
    Committed,
    /// The drafts' names are gone.
    Unlinked,
    /// Rows know how the files look.
    Stamped,
}

/// A draft whose bytes are durable and hashed.
struct Hashed {
    number: BlobNumber,
    draft: u64,
    size_bytes: u64,
    hash: BlobHash,
    file: File,
}

/// A draft whose bytes have their name in the store.
struct Placed {
    number: BlobNumber,
    draft: u64,
    hash: BlobHash,
    shared: bool,
    /// When the file was verified as a whole.
    checked_ns: i64,
}

pub(crate) type Outcome = (BlobNumber, Result<SealOutcome, BlobError>);

impl Store {
    /// Returns drafts that are versions of something and wait for their seal, oldest first.
    ///
    /// # Errors
    ///
    /// [`BlobError::Database`].
    pub fn unsealed(
        &self,
        conn: &rusqlite::Connection,
        limit: usize,
    ) -> Result<Vec<BlobNumber>, BlobError> {
        let numbers = conn
            .prepare_cached(
                "SELECT number FROM blobs WHERE draft IS NOT NULL AND refs > 0
                 ORDER BY draft LIMIT ?1",
            )
            .and_then(|mut stmt| {
                stmt.query_map([Unsigned(limit as u64)], |row| row.get(0))?.collect()
            })
            .doing("listing unsealed blobs")?;
        Ok(numbers)
    }

    /// Seals drafts that nobody writes to any more: all of a batch become durable in one commit.
    ///
    /// The outcome of each is returned beside its number. An error there concerns that draft
    /// alone: where it [is a loss](BlobError::is_loss) its version should be withdrawn; after any
    /// other (a full disk, too many open files) it stays as it is and the next seal tries again.
    ///
    /// # Errors
    ///
    /// [`BlobError`] when nothing could be made durable; every draft is as before then.
    pub fn seal(&self, numbers: &[BlobNumber]) -> Result<Vec<Outcome>, BlobError> {
        self.record_damage()?;
        let _sealing = self.lock_sealing();
        let mut outcomes = Vec::with_capacity(numbers.len());
        for batch in numbers.chunks(ROWS_PER_TRANSACTION) {
            self.seal_until(Step::Stamped, batch, &mut outcomes)?;
        }
        Ok(outcomes)
    }

    pub(crate) fn seal_until(
        &self,
        last: Step,
        batch: &[BlobNumber],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), BlobError> {
        let mut hashed = Vec::new();
        let results = crew::each("tesfs-seal", batch, |&number| self.hash_draft(number))?;
        for (&number, result) in batch.iter().zip(results) {
            match result {
                Ok(Ok(draft)) => hashed.push(draft),
                Ok(Err(outcome)) => outcomes.push((number, Ok(outcome))),
                Err(err) => outcomes.push((number, Err(err))),
            }
        }
        if last == Step::Hashed || hashed.is_empty() {
            return Ok(());
        }
        let placing = self.lock_placing();
        let placed = self.place_all(hashed, outcomes)?;
        if last == Step::Placed {
            return Ok(());
        }
        self.db().write_durable(|tx| placed.iter().try_for_each(|one| name_sealed(tx, one)))?;
        drop(placing);
        if last == Step::Committed {
            return Ok(());
        }
        for one in &placed {
            self.remove_draft(one.draft)?;
        }
        if last == Step::Unlinked {
            return Ok(());
        }
        // The link count changed, and with it the ctime: only now the files are at rest.
        self.db().write(|tx| placed.iter().try_for_each(|one| self.stamp_sealed(tx, one)))?;
        outcomes.extend(placed.into_iter().map(|Placed { number, hash, shared, .. }| {
            (number, Ok(SealOutcome::Sealed { hash, shared }))
        }));
        Ok(())
    }

    /// Makes a draft's bytes durable, hashes them, and places the outboard.
    fn hash_draft(&self, number: BlobNumber) -> Result<Result<Hashed, SealOutcome>, BlobError> {
        let row = self.db().read(|conn| BlobRow::find(conn, number))?;
        let (draft, size_bytes) = match row {
            None => return Ok(Err(SealOutcome::Gone)),
            Some(BlobRow { refs: 0, .. }) => return Ok(Err(SealOutcome::Unreferenced)),
            Some(BlobRow { draft: Some(draft), size_bytes, .. }) => (draft, size_bytes),
            Some(_) => return Ok(Err(SealOutcome::Already)),
        };
        let path = self.folders().draft(draft);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            // Sealed up to the commit before, and read-only since.
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => File::open(&path),
            opened => opened,
        }
        .doing("opening a draft", &path)?;
        let stamp = FileStamp::of(&file).doing("looking at a draft", &path)?;
        if stamp.size_bytes < size_bytes {
            let found_bytes = stamp.size_bytes;
            return Err(BlobError::DraftShort { path, found_bytes, size_bytes });
        }
        let known = self.take_front(draft).map_or_else(Leaves::default, |front| {
            front.lock().unwrap_or_else(PoisonError::into_inner).take(stamp)
        });
        if stamp.size_bytes > size_bytes {
            // Behind the version's end are bytes that nobody published.
            file.set_len(size_bytes).doing("cutting a draft", &path)?;
        }
        let file = match self.drafts().syncs().sync(draft, &file) {
            Ok(()) => file,
            Err(refused) => self.rewrite_draft(draft, &file, &refused)?,
        };
        let hash = place_outboard(self.folders(), &file, size_bytes, &known, None)?;
        Ok(Ok(Hashed { number, draft, size_bytes, hash, file }))
    }

    /// Gives every file its name in the store. One that fails is reported and left out.
    fn place_all(
        &self,
        hashed: Vec<Hashed>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Vec<Placed>, BlobError> {
        let mut placed = Vec::with_capacity(hashed.len());
        let mut shelves = BTreeSet::new();
        for one in hashed {
            let shelf = self.folders().shelf(&one.hash);
            match self.place(&one) {
                Ok(file) => {
                    shelves.insert(shelf);
                    placed.push(file);
                }
                Err(err) => outcomes.push((one.number, Err(err))),
            }
        }
        for shelf in &shelves {
            sync_folder(shelf)?;
        }
        sync_folder(&self.folders().blobs)?;
        Ok(placed)
    }

    fn place(&self, one: &Hashed) -> Result<Placed, BlobError> {
        let Hashed { number, draft, hash, .. } = *one;
        let (from, to) = (self.folders().draft(draft), self.folders().blob(&hash));
        one.file
            .set_permissions(Permissions::from_mode(SEALED_MODE))
            .doing("making a draft read-only", &from)?;
        ensure_folder(&self.folders().shelf(&hash))?;
        let now_ns = self.db().clock().now_ns();
        let placed = |shared, checked_ns| Placed { number, draft, hash, shared, checked_ns };
        match fs::hard_link(&from, &to) {
            Ok(()) => return Ok(placed(false, now_ns)),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) => return Err(err).doing("naming a blob", &to),
        }
        let theirs = match File::open(&to) {
            // A reader found it damaged meanwhile.
            Err(err) if err.kind() == io::ErrorKind::NotFound => return self.place(one),
            opened => opened.doing("opening a blob", &to)?,
        };
        let (our_id, their_id) = FileId::of(&one.file)
            .and_then(|ours| Ok((ours, FileId::of(&theirs)?)))
            .doing("looking at a blob", &to)?;
        if our_id == their_id {
            return Ok(placed(false, now_ns));
        }
        if let Some(checked_ns) = self.whole_file_checked(hash, one.size_bytes, &theirs, &to)? {
            return Ok(placed(true, checked_ns));
        }
        // What stands there is not these bytes; these are.
        self.quarantine().take(hash, their_id)?;
        place_outboard(self.folders(), &one.file, one.size_bytes, &Leaves::default(), Some(hash))?;
        fs::hard_link(&from, &to).doing("naming a blob", &to)?;
        Ok(placed(false, now_ns))
    }

    /// Says when a file of the store was verified as a whole, and does it now if that is too long
    /// ago; `None` when it is not the bytes of its name.
    fn whole_file_checked(
        &self,
        hash: BlobHash,
        size_bytes: u64,
        file: &File,
        path: &Path,
    ) -> Result<Option<i64>, BlobError> {
        let stamp = FileStamp::of(file).doing("looking at a blob", path)?;
        let now_ns = self.db().clock().now_ns();
        let checked = self.db().read(|conn| last_check(conn, hash, stamp))?;
        if let Some(checked_ns) = checked.filter(|&checked_ns| is_recent(checked_ns, now_ns)) {
            return Ok(Some(checked_ns));
        }
        if stamp.size_bytes != size_bytes {
            return Ok(None);
        }
        let found = hash_file(file, size_bytes, &Leaves::default(), &mut |_| Ok(()))
            .doing("hashing a blob", path)?;
        Ok((found == hash).then_some(now_ns))
    }

    /// Records how a sealed file looks, so that it can be handed to the kernel.
    fn stamp_sealed(&self, tx: &Tx<'_>, one: &Placed) -> Result<(), BlobError> {
        let path = self.folders().blob(&one.hash);
        let Ok(stamp) = File::open(&path).and_then(|file| FileStamp::of(&file)) else {
            return Ok(());
        };
        record_check(tx, one.hash, one.checked_ns, stamp)
    }
}

/// Records that the file of a hash was found to be its bytes when it looked like `stamp`.
pub(crate) fn record_check(
    tx: &Tx<'_>,
    hash: BlobHash,
    checked_ns: i64,
    stamp: FileStamp,
) -> Result<(), BlobError> {
    tx.prepare_cached(
        "UPDATE blobs SET checked_ns = ?2, mtime_ns = ?3, ctime_ns = ?4
         WHERE hash = ?1 AND data IS NULL AND hash IS NOT NULL AND state = 2",
    )
    .and_then(|mut stmt| stmt.execute(params![hash, checked_ns, stamp.mtime_ns, stamp.ctime_ns]))
    .doing("recording a verified file")?;
    Ok(())
}

fn last_check(
    conn: &rusqlite::Connection,
    hash: BlobHash,
    stamp: FileStamp,
) -> Result<Option<i64>, tesfs_pathtree::DbError> {
    conn.prepare_cached(
        "SELECT max(checked_ns) FROM blobs
         WHERE hash = ?1 AND data IS NULL AND hash IS NOT NULL AND state = 2
           AND size_bytes = ?2 AND mtime_ns = ?3 AND ctime_ns = ?4",
    )
    .and_then(|mut stmt| {
        let size = Unsigned(stamp.size_bytes);
        stmt.query_row(params![hash, size, stamp.mtime_ns, stamp.ctime_ns], |row| row.get(0))
            .optional()
    })
    .map(Option::flatten)
    .doing("reading when a file was verified")
}

fn name_sealed(tx: &Tx<'_>, one: &Placed) -> Result<(), BlobError> {
    tx.prepare_cached(
        "UPDATE blobs SET state = ?3, hash = ?4, settled = 1, draft = NULL
         WHERE number = ?1 AND draft = ?2",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![one.number, Unsigned(one.draft), BlobState::Local, one.hash])
    })
    .doing("naming a sealed blob")?;
    Ok(())
}
