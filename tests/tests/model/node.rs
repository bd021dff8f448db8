//! A node without its command: database, store and core over one data directory.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tempfile::TempDir;
use tesfs_blobs::{GcRequest, Store, VerifyDepth};
use tesfs_fs::{FsError, Settler, SettlerSettings, Vfs, VfsOptions, recovery};
use tesfs_pathtree::{
    Chain, CheckDepth, Clock, Db, DbSettings, DeviceId, branch,
    bucket::{self, Owner},
    tree,
};
use tesfs_tests::eventually;

/// How long the last handles may take to be released after their close.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// What runs over a data directory.
pub(crate) struct Node {
    pub(crate) vfs: Arc<Vfs>,
    pub(crate) store: Arc<Store>,
    pub(crate) db: Arc<Db>,
    pub(crate) clock: Clock,
    pub(crate) dir: TempDir,
    owner: (u32, u32),
}

impl Node {
    /// Starts a node of its own, whose tree belongs to `owner`.
    pub(crate) fn new(owner: (u32, u32)) -> Self {
        // Times of draft files are the machine's, and are compared with this clock's.
        let clock = Clock::manual(Clock::system().now_ns());
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self::start(dir, clock, owner, 1)
    }

    /// Starts the same node over a copy of its data directory.
    pub(crate) fn restarted(&self, dir: TempDir, boot: u32) -> Self {
        Self::start(dir, self.clock.clone(), self.owner, boot)
    }

    fn start(dir: TempDir, clock: Clock, (uid, gid): (u32, u32), boot: u32) -> Self {
        let schemas = [tesfs_pathtree::SCHEMA, tesfs_blobs::SCHEMA];
        let file = dir.path().join("node.db");
        let db = Db::open(&file, &schemas, &DbSettings::SMALL, clock.clone(), DeviceId([0; 32]));
        let db = Arc::new(db.expect("the database opens"));
        let store = Arc::new(Store::open(Arc::clone(&db), dir.path()).expect("the store opens"));
        recovery::recover(&db, &store, &format!("boot {boot}")).expect("recovery succeeds");
        let found = db.read(|conn| bucket::find(conn, "memories")).expect("a readable database");
        let bucket = found.unwrap_or_else(|| {
            db.write(|tx| bucket::create(tx, "memories", Owner { uid, gid })).expect("a new bucket")
        });
        let main = db.read(|conn| branch::require(conn, &bucket, branch::MAIN)).expect("a branch");
        let shown = (&bucket, &main, None);
        let vfs = Vfs::new(Arc::clone(&db), Arc::clone(&store), shown, &VfsOptions::default());
        Self { vfs: vfs.expect("the bucket shows"), store, db, clock, dir, owner: (uid, gid) }
    }

    /// Settles and seals what can be.
    pub(crate) fn settle(&self) {
        let settings = SettlerSettings { delay: Duration::ZERO };
        let (db, store) = (Arc::clone(&self.db), Arc::clone(&self.store));
        let settler = Settler::on_request(db, store, settings);
        settler.watch(&self.vfs);
        settler.settle_now().expect("the disk works");
    }

    /// Deletes what nothing names.
    pub(crate) fn collect(&self) {
        self.store.gc(&GcRequest { grace: Duration::ZERO, dry_run: false }).expect("gc works");
    }

    /// Says what is wrong behind the tree. `at_rest`, nothing is open and everything is settled.
    pub(crate) fn check(&self, at_rest: bool) -> Result<(), String> {
        let mut findings = self.findings().map_err(|err| Chain(&err).to_string())?;
        if at_rest {
            findings.extend(self.leftovers().map_err(|err| Chain(&err).to_string())?);
        }
        if findings.is_empty() { Ok(()) } else { Err(findings.join("; ")) }
    }

    fn findings(&self) -> Result<Vec<String>, FsError> {
        let mut findings = self.db.check(CheckDepth::Quick)?;
        let stray = self.db.read(|conn| tree::stray_edges(conn, self.vfs.view()))?;
        findings.extend(stray.iter().map(|ino| format!("stray edge {ino}")));
        let recount = self.store.recount(tree::REFERENCES_SQL)?;
        findings.extend(recount.miscounts.iter().map(|wrong| format!("{wrong:?}")));
        findings.extend(recount.dangling.iter().map(|blob| format!("dangling {blob}")));
        Ok(findings)
    }

    fn leftovers(&self) -> Result<Vec<String>, FsError> {
        let mut findings = Vec::new();
        let report = self.store.verify(VerifyDepth::Full, &|_| {}, &AtomicBool::new(false))?;
        findings.extend(report.findings.iter().map(|finding| format!("{finding:?}")));
        let drafts = self.drafts();
        let filled = drafts.iter().filter(|path| fs::metadata(path).is_ok_and(|it| it.len() > 0));
        findings.extend(filled.map(|path| format!("{} stays behind", path.display())));
        let records = self.db.read(|conn| self.store.draft_records(conn))?;
        findings.extend(records.iter().map(|record| format!("{record:?} stays behind")));
        if self.vfs.open_files() > 0 {
            findings.push(format!("{} files are open", self.vfs.open_files()));
        }
        Ok(findings)
    }

    /// Waits until everything that was closed is released, too.
    pub(crate) fn wait_for_releases(&self) {
        let closed = eventually(RELEASE_PATIENCE, || (self.vfs.open_files() == 0).then_some(()));
        assert!(closed.is_some(), "closed handles are released");
    }

    fn drafts(&self) -> Vec<PathBuf> {
        files(&self.dir.path().join("drafts"))
    }
}

/// Lists a folder.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder of the store");
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
