//! The store as its callers use it, on a real folder and a real database.

mod damage;
mod drafts;
mod full_disk;
mod gc;
mod model;
mod plans;
mod recovery;
mod rows;
mod seal;
mod settle;
mod verify;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tesfs_pathtree::{BlobNumber, Clock, Db, DbSettings, DeviceId};

use crate::{
    BlobError, BlobHash, BlobReader, BlobRow, Draft, Problem, SCHEMA, SealOutcome, Store,
    VerifyDepth, VerifyReport,
};

/// A node's data directory, opened.
struct Rig {
    folder: tempfile::TempDir,
    clock: Clock,
    store: Option<Store>,
    db: Option<Arc<Db>>,
}

/// Bytes no two of which look alike.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

impl Rig {
    fn new() -> Self {
        // Not before the files that tests make now; then it moves only when a test says so.
        let clock = Clock::manual(Clock::system().now_ns());
        let folder = tempfile::tempdir().unwrap();
        let mut rig = Self { folder, clock, store: None, db: None };
        rig.start();
        rig
    }

    fn start(&mut self) {
        let path = self.data_dir().join("node.db");
        let schemas = [tesfs_pathtree::SCHEMA, SCHEMA];
        let device = DeviceId([7; 32]);
        let db = Db::open(&path, &schemas, &DbSettings::SMALL, self.clock.clone(), device).unwrap();
        let db = Arc::new(db);
        self.store = Some(Store::open(Arc::clone(&db), self.data_dir()).unwrap());
        self.db = Some(db);
    }

    /// Ends the process as far as the store can tell, and starts another.
    fn restart(&mut self) {
        self.store = None;
        self.db = None;
        self.start();
    }

    fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn draft(&self, bytes: &[u8]) -> Draft {
        let mut draft = Draft::empty(self.store().drafts()).unwrap();
        assert_eq!(draft.write_at(0, bytes).unwrap(), bytes.len());
        draft
    }

    fn publish(&self, draft: &Draft) -> BlobNumber {
        let size = draft.size().unwrap();
        self.db()
            .write(|tx| self.store().insert_draft(tx, draft.draft_file(), size, false))
            .unwrap()
    }

    /// Publishes bytes as a draft that nobody holds any more.
    fn published(&self, bytes: &[u8]) -> BlobNumber {
        self.publish(&self.draft(bytes))
    }

    /// Stores bytes as a sealed file.
    fn sealed(&self, bytes: &[u8]) -> BlobNumber {
        let number = self.published(bytes);
        assert!(matches!(self.seal(number), SealOutcome::Sealed { .. }));
        number
    }

    /// The number and the inode of a draft's file.
    fn draft_of(&self, number: BlobNumber) -> (u64, u64) {
        let draft = self.row(number).draft.unwrap();
        (draft, fs::metadata(self.store().folders().draft(draft)).unwrap().ino())
    }

    fn seal(&self, number: BlobNumber) -> SealOutcome {
        let mut outcomes = self.store().seal(&[number]).unwrap();
        assert_eq!(outcomes.len(), 1);
        let (sealed, outcome) = outcomes.remove(0);
        assert_eq!(sealed, number);
        outcome.unwrap()
    }

    fn try_reader(&self, number: BlobNumber) -> Result<BlobReader, BlobError> {
        self.db().read(|conn| self.store().reader(conn, number))
    }

    fn reader(&self, number: BlobNumber) -> BlobReader {
        self.try_reader(number).unwrap()
    }

    fn try_read(&self, number: BlobNumber) -> Result<Vec<u8>, BlobError> {
        let reader = self.try_reader(number)?;
        let mut bytes = vec![0; usize::try_from(reader.size()).unwrap() + 1];
        let read = reader.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn read(&self, number: BlobNumber) -> Vec<u8> {
        self.try_read(number).unwrap()
    }

    fn find(&self, number: BlobNumber) -> Option<BlobRow> {
        self.db().read(|conn| self.store().row(conn, number)).unwrap()
    }

    fn row(&self, number: BlobNumber) -> BlobRow {
        self.find(number).unwrap()
    }

    fn drop_reference(&self, number: BlobNumber) {
        self.db().write(|tx| self.store().drop_reference(tx, number)).unwrap();
    }

    fn verify(&self, depth: VerifyDepth) -> VerifyReport {
        self.store().verify(depth, &|_| {}, &AtomicBool::new(false)).unwrap()
    }

    fn problems(&self, depth: VerifyDepth) -> Vec<(BlobNumber, Problem)> {
        let report = self.verify(depth);
        report.findings.into_iter().map(|finding| (finding.number, finding.problem)).collect()
    }

    fn blob_path(&self, bytes: &[u8]) -> PathBuf {
        self.store().folders().blob(&BlobHash::of(bytes))
    }

    fn outboard_path(&self, bytes: &[u8]) -> PathBuf {
        self.store().folders().outboard(&BlobHash::of(bytes))
    }

    /// Files in one of the folders, by name.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.data_dir().join(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Draft files with bytes in them; the pool's are empty.
    fn full_drafts(&self) -> usize {
        let size = |name: &String| {
            fs::metadata(self.data_dir().join("drafts").join(name)).map_or(0, |meta| meta.len())
        };
        self.files("drafts").iter().filter(|name| size(name) > 0).count()
    }
}

/// Changes a sealed file as a failing disk would.
fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
