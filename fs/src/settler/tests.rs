//! What one round does, and leaves to the next.

use tesfs_blobs::{BlobState, Draft, SCHEMA};
use tesfs_pathtree::{Clock, DbSettings, DeviceId};

use super::*;

struct Rig {
    _dir: tempfile::TempDir,
    db: Arc<Db>,
    store: Arc<Store>,
    settler: Settler,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let schemas = [tesfs_pathtree::SCHEMA, SCHEMA];
        let (path, device) = (dir.path().join("node.db"), DeviceId([0; 32]));
        let db = Db::open(&path, &schemas, &DbSettings::SMALL, Clock::system(), device).unwrap();
        let db = Arc::new(db);
        let store = Arc::new(Store::open(Arc::clone(&db), dir.path()).unwrap());
        let settings = SettlerSettings { delay: Duration::from_secs(1) };
        let settler = Settler::on_request(Arc::clone(&db), Arc::clone(&store), settings);
        Self { _dir: dir, db, store, settler }
    }

    /// Returns drafts in the order in which they will be sealed: the pool gives them in any.
    fn drafts<const N: usize>(&self) -> [Draft; N] {
        let mut drafts = [(); N].map(|()| Draft::empty(self.store.drafts()).unwrap());
        drafts.sort_unstable_by_key(|draft| draft.draft_file().number());
        drafts
    }

    /// Publishes bytes like no others, most of them a hole.
    fn published(&self, mut draft: Draft, size_bytes: u64) -> BlobNumber {
        draft.set_len(size_bytes).unwrap();
        draft.write_at(0, &draft.draft_file().number().to_le_bytes()).unwrap();
        let file = draft.draft_file();
        self.db.write(|tx| self.store.insert_draft(tx, file, size_bytes, false)).unwrap()
    }

    /// Says whether a blob is settled, and whether it is sealed.
    fn state(&self, blob: BlobNumber) -> (bool, bool) {
        let row = self.db.read(|conn| self.store.row(conn, blob)).unwrap().unwrap();
        (row.settled, row.state == BlobState::Local)
    }
}

#[test]
fn what_is_published_while_many_bytes_wait_for_their_seal_is_settled_before_they_are_sealed() {
    let rig = Rig::new();
    let [a, b, c, d, last] = rig.drafts();
    let large = [(a, 70), (b, 40), (c, 20), (d, 20)];
    let large = large.map(|(draft, mib)| rig.published(draft, mib << 20));
    let sealed = || large.map(|blob| rig.state(blob).1);
    let round = rig.settler.shared.round().unwrap();
    assert!(round.again);
    assert!(large.iter().all(|blob| rig.state(*blob).0));
    assert_eq!(sealed(), [true, false, false, false], "one of any size");
    let late = rig.published(last, 100_000);
    rig.settler.shared.round().unwrap();
    assert_eq!(rig.state(late), (true, false));
    assert_eq!(sealed(), [true, true, true, false]);
    assert_eq!(rig.settler.settle_now().unwrap(), 2);
    assert_eq!(rig.state(late), (true, true));
}
