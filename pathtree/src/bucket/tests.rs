//! Buckets: names, removal and return, where they were mounted.

use std::time::Duration;

use super::*;
use crate::{
    clock::Clock,
    db::{Db, DbSettings},
    identity::DeviceId,
    tree::View,
};

const NOW_NS: i64 = 1_700_000_000_000_000_000;
const OWNER: Owner = Owner { uid: 1000, gid: 100 };

struct Scratch {
    _dir: tempfile::TempDir,
    db: Db,
    clock: Clock,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOW_NS);
        let path = dir.path().join("node.db");
        let db =
            Db::open(&path, &[crate::SCHEMA], &DbSettings::SMALL, clock.clone(), DeviceId([7; 32]))
                .unwrap();
        Self { _dir: dir, db, clock }
    }

    fn create(&self, name: &str) -> Result<Bucket, BucketError> {
        self.db.write(|tx| create(tx, name, OWNER))
    }

    fn names(&self) -> Vec<(String, bool)> {
        let all = self.db.read(list).unwrap();
        all.into_iter().map(|bucket| (bucket.name, bucket.removed_ns.is_some())).collect()
    }
}

#[test]
fn a_new_bucket_has_an_empty_root_of_its_owner() {
    let scratch = Scratch::new();
    let one = scratch.create("photos").unwrap();
    let other = scratch.create("music").unwrap();
    assert_eq!(scratch.db.read(|conn| find(conn, "photos")).unwrap(), Some(one.clone()));
    assert_eq!((one.created_ns, one.removed_ns), (NOW_NS, None));
    assert!(one.id != other.id && one.root != other.root && one.main != other.main);
    let view = View::main(&one);
    let root = scratch.db.read(|conn| tree::inode(conn, &view, one.root)).unwrap().unwrap();
    assert!(root.is_directory());
    assert_eq!((root.nlink, root.attr.uid, root.attr.gid), (2, OWNER.uid, OWNER.gid));
    assert_eq!(scratch.db.read(|conn| tree::list(conn, &view, one.root)).unwrap(), []);
    let operations = scratch.db.read(|conn| {
        conn.query_row(
            "SELECT count(*) FROM change AS c JOIN operations AS o ON o.id = c.operation",
            [],
            |row| row.get::<_, i64>(0),
        )
        .doing("counting")
    });
    assert_eq!(operations.unwrap(), 2);
}

#[test]
fn a_name_is_used_once_and_free_after_removal() {
    let scratch = Scratch::new();
    scratch.create("photos").unwrap();
    assert!(matches!(scratch.create("photos"), Err(BucketError::NameTaken { .. })));
    scratch.create("Photos").unwrap();
    scratch.db.write(|tx| remove(tx, "photos")).unwrap();
    assert_eq!(scratch.db.read(|conn| find(conn, "photos")).unwrap(), None);
    scratch.create("photos").unwrap();
    let all = [("Photos", false), ("photos", true), ("photos", false)];
    assert_eq!(scratch.names(), all.map(|(name, removed)| (name.to_owned(), removed)));
}

#[test]
fn names_follow_the_rules() {
    for good in ["a", "Übung 7", "x.y-z_", &"x".repeat(64), "🗻"] {
        check_name(good).unwrap();
    }
    for bad in ["", ".a", "-a", "a/b", "a:b", "a@b", "a\nb", &"x".repeat(65)] {
        assert!(matches!(check_name(bad), Err(BucketError::BadName { .. })), "{bad:?}");
    }
    let scratch = Scratch::new();
    assert!(matches!(scratch.create("a/b"), Err(BucketError::BadName { .. })));
    scratch.create("a").unwrap();
    let refused = scratch.db.write(|tx| rename(tx, "a", "a:b"));
    assert!(matches!(refused, Err(BucketError::BadName { .. })));
}

#[test]
fn a_rename_changes_the_name_alone() {
    let scratch = Scratch::new();
    let before = scratch.create("photos").unwrap();
    scratch.create("music").unwrap();
    scratch.db.write(|tx| rename(tx, "photos", "pictures")).unwrap();
    scratch.db.write(|tx| rename(tx, "pictures", "pictures")).unwrap();
    let after = scratch.db.read(|conn| find(conn, "pictures")).unwrap().unwrap();
    assert_eq!(after, Bucket { name: "pictures".into(), ..before });
    let refused = scratch.db.write(|tx| rename(tx, "pictures", "music"));
    assert!(matches!(refused, Err(BucketError::NameTaken { .. })));
    let refused = scratch.db.write(|tx| rename(tx, "photos", "x"));
    assert!(matches!(refused, Err(BucketError::NotFound { .. })));
}

#[test]
fn the_bucket_removed_last_comes_back() {
    let scratch = Scratch::new();
    for round in 0..2 {
        scratch.create("photos").unwrap();
        scratch.clock.advance(Duration::from_secs(60 * (round + 1)));
        scratch.db.write(|tx| remove(tx, "photos")).unwrap();
    }
    let newest = scratch.db.read(list).unwrap()[1].clone();
    let back = scratch.db.write(|tx| restore(tx, "photos")).unwrap();
    assert_eq!(back, Bucket { removed_ns: None, ..newest });
    assert_eq!(scratch.db.read(|conn| find(conn, "photos")).unwrap(), Some(back));
    let refused = scratch.db.write(|tx| restore(tx, "photos"));
    assert!(matches!(refused, Err(BucketError::NameTaken { .. })));
    let refused = scratch.db.write(|tx| restore(tx, "music"));
    assert!(matches!(refused, Err(BucketError::NotFound { .. })));
    let refused = scratch.db.write(|tx| remove(tx, "music"));
    assert!(matches!(refused, Err(BucketError::NotFound { .. })));
}

#[test]
fn a_folder_remembers_its_bucket_until_that_is_removed() {
    let scratch = Scratch::new();
    let photos = scratch.create("photos").unwrap();
    let music = scratch.create("music").unwrap();
    let path = b"/home/eve/\xff";
    let mounted = || {
        let found = scratch.db.read(|conn| mounted_at(conn, path)).unwrap();
        found.map(|(bucket, branch)| {
            assert_eq!(branch, bucket.main);
            bucket
        })
    };
    let remember = |bucket: &Bucket| {
        scratch.db.write(|tx| remember_mount_point(tx, path, bucket.number, bucket.main)).unwrap();
    };
    assert_eq!(mounted(), None);
    remember(&photos);
    assert_eq!(mounted(), Some(photos.clone()));
    remember(&music);
    remember(&music);
    assert_eq!(mounted(), Some(music.clone()));
    scratch.db.write(|tx| remove(tx, "music")).unwrap();
    assert_eq!(mounted(), None);
    scratch.db.write(|tx| restore(tx, "music")).unwrap();
    assert_eq!(mounted(), Some(music));
    let nowhere =
        scratch.db.write(|tx| remember_mount_point(tx, path, BucketNumber(99), BranchNumber(1)));
    assert!(nowhere.is_err(), "a mount point belongs to a bucket");
}

#[test]
fn a_bucket_without_its_branch_is_an_error_and_not_absent() {
    let scratch = Scratch::new();
    scratch.create("photos").unwrap();
    scratch
        .db
        .write(|tx| tx.execute("UPDATE branches SET name = 'x'", []).doing("losing a branch"))
        .unwrap();
    assert!(scratch.db.read(|conn| find(conn, "photos")).is_err());
}
