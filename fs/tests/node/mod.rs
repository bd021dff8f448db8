//! A node without a mount, and without a settler's thread.

use std::{path::Path, sync::Arc, time::Duration};

use tesfs_blobs::Store;
use tesfs_fs::{
    Caller, FsError, OpenFile, OpenWrite, Settler, SettlerSettings, Vfs, VfsOptions, recovery,
};
use tesfs_pathtree::{
    Clock, Db, DbSettings, DeviceId, Ino, Name, branch,
    bucket::{self, Owner},
    tree::TreeError,
};

pub(crate) const USER: Caller = Caller { uid: 1000, gid: 1000, pid: 0 };
pub(crate) const START_NS: i64 = 1_700_000_000_000_000_000;
/// More than fits a row.
pub(crate) const LARGE: usize = 100_000;

pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Clock,
    pub(crate) db: Arc<Db>,
    pub(crate) store: Arc<Store>,
    pub(crate) vfs: Arc<Vfs>,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    pub(crate) fn within(dir: tempfile::TempDir) -> Self {
        let clock = Clock::manual(START_NS);
        let (db, store, vfs) = open(dir.path(), &clock, "boot-1");
        Self { dir, clock, db, store, vfs }
    }

    /// Ends the process without a word and starts again.
    pub(crate) fn killed_and_started(self, boot_id: &str) -> Self {
        let Self { dir, clock, db, store, vfs } = self;
        db.abandon_ahead();
        drop((db, store, vfs));
        let (db, store, vfs) = open(dir.path(), &clock, boot_id);
        Self { dir, clock, db, store, vfs }
    }

    /// A settler that does something when it is told to.
    pub(crate) fn settler(&self) -> Settler {
        let settings = SettlerSettings { delay: Duration::ZERO };
        let (db, store) = (Arc::clone(&self.db), Arc::clone(&self.store));
        let settler = Settler::on_request(db, store, settings);
        settler.watch(&self.vfs);
        settler
    }

    pub(crate) fn create(&self, at: &str) -> Arc<OpenFile> {
        let how = OpenWrite { read: true, ..OpenWrite::default() };
        self.vfs.create(&USER, self.vfs.root(), &name(at), 0o644, how).unwrap().1
    }

    pub(crate) fn write(&self, at: &str, bytes: &[u8]) -> Ino {
        let file = match self.find(at) {
            Some(ino) => {
                let how = OpenWrite { truncate: true, ..OpenWrite::default() };
                self.vfs.open_write(&USER, ino, how).unwrap()
            }
            None => self.create(at),
        };
        assert_eq!(file.write_at(0, bytes, false).unwrap(), bytes.len());
        file.flush().unwrap();
        file.release().unwrap();
        file.ino()
    }

    pub(crate) fn find(&self, at: &str) -> Option<Ino> {
        match self.vfs.lookup(&USER, self.vfs.root(), &name(at)) {
            Ok(found) => Some(found.ino),
            Err(FsError::Tree(TreeError::EdgeNotFound { .. })) => None,
            Err(err) => panic!("{err}"),
        }
    }

    pub(crate) fn read(&self, at: &str) -> Vec<u8> {
        let ino = self.find(at).unwrap();
        all(&self.vfs.open_read(&USER, ino).unwrap())
    }
}

pub(crate) fn open(dir: &Path, clock: &Clock, boot_id: &str) -> (Arc<Db>, Arc<Store>, Arc<Vfs>) {
    let schemas = [tesfs_pathtree::SCHEMA, tesfs_blobs::SCHEMA];
    let (path, device) = (dir.join("node.db"), DeviceId([0; 32]));
    let db = Db::open(&path, &schemas, &DbSettings::SMALL, clock.clone(), device);
    let db = Arc::new(db.unwrap());
    let store = Arc::new(Store::open(Arc::clone(&db), dir).unwrap());
    recovery::recover(&db, &store, boot_id).unwrap();
    let found = db.read(|conn| bucket::find(conn, "memories")).unwrap();
    let bucket = found.unwrap_or_else(|| {
        db.write(|tx| bucket::create(tx, "memories", Owner { uid: 1000, gid: 1000 })).unwrap()
    });
    let options = VfsOptions::default();
    let main = db.read(|conn| branch::require(conn, &bucket, branch::MAIN)).unwrap();
    let shown = (&bucket, &main, None);
    let vfs = Vfs::new(Arc::clone(&db), Arc::clone(&store), shown, &options).unwrap();
    (db, store, vfs)
}

pub(crate) fn name(name: &str) -> Name {
    Name::from_bytes(name.as_bytes()).unwrap()
}

pub(crate) fn all(file: &OpenFile) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    let mut filled = 0;
    loop {
        match file.read_at(filled as u64, &mut bytes[filled..]).unwrap() {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    bytes
}

pub(crate) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
}
