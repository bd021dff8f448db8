//! A small tree in which everything happened that can happen.

use std::{path::Path, time::Duration};

use tesfs_pathtree::{
    BlobNumber, Clock, Db, DbError, DbSettings, DeviceId, Ino, Name, OpenError, OperationId,
    SCHEMA, Synchronous, Tx, boot,
    branch::{self, BranchError, NewBranch},
    bucket::{self, Bucket, Owner},
    outbox,
    tree::{
        self, AttributeEdit, Bytes, Favour, Inode, Merge, NewContent, NewInode, NewOperation,
        Resolution, TreeError, View, XattrEdit,
    },
};

/// 2023-11-14, in Unix nanoseconds.
const NOW_NS: i64 = 1_700_000_000_000_000_000;

pub(crate) fn settings() -> DbSettings {
    DbSettings {
        synchronous: Synchronous::Normal,
        cache_kib: 8 * 1024,
        mmap_bytes: 256 * 1024 * 1024,
        busy_timeout: Duration::from_secs(5),
        wal_pages_max: 4000,
        readers_max: 1,
    }
}

pub(crate) fn open(path: &Path) -> Result<Db, OpenError> {
    Db::open(path, &[SCHEMA], &settings(), Clock::manual(NOW_NS), DeviceId([7; 32]))
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_bytes(text.as_bytes()).unwrap()
}

pub(crate) fn new(mode: u32) -> NewInode<'static> {
    NewInode { mode, uid: 1000, gid: 100, rdev: 0, symlink: None }
}

pub(crate) fn content(blob: i64) -> NewContent {
    NewContent { size: 10, blob: Some(BlobNumber(blob)), mtime_ns: NOW_NS, ctime_ns: None }
}

pub(crate) fn bucket(db: &Db) -> Bucket {
    let owner = Owner { uid: 1000, gid: 100 };
    db.write(|tx| bucket::create(tx, "photos", owner)).unwrap()
}

/// Runs `change` as an operation of its own in the root directory.
pub(crate) fn operation<T>(
    db: &Db,
    view: &View,
    change: impl FnOnce(&Tx<'_>, OperationId, &Inode) -> Result<T, TreeError>,
) -> T {
    db.write(|tx| {
        let new = NewOperation { who: "uid 1000", what: "mount" };
        let operation = tree::store_operation(tx, view, tx.next_stamp(), &new)?;
        let root = tree::inode(tx, view, view.root)?.ok_or(TreeError::InodeGone(view.root))?;
        change(tx, operation, &root)
    })
    .unwrap()
}

/// Lets everything happen: every function that changes a tree is called.
pub(crate) fn grow(db: &Db) -> Bucket {
    let bucket = bucket(db);
    let view = &View::main(&bucket);
    let (file, directory) = operation(db, view, |tx, operation, root| {
        let create = |text: &str, kind: &NewInode<'_>| {
            tree::create(tx, view, operation, root, &name(text), kind)
        };
        let file = create("file", &new(tree::S_IFREG | 0o644))?;
        tree::publish(tx, view, operation, file.ino, &content(1), Some(file.content))?;
        let directory = create("directory", &new(tree::S_IFDIR | 0o755))?;
        let symlink = NewInode { symlink: Some(b"file"), ..new(tree::S_IFLNK | 0o777) };
        create("symlink", &symlink)?;
        create("transient", &new(tree::S_IFREG | 0o644))?;
        tree::unlink(tx, view, operation, root.ino, &name("transient"), |_| false)?;
        create("gone", &new(tree::S_IFREG | 0o644))?;
        create("empty", &new(tree::S_IFDIR | 0o755))?;
        Ok((file, directory))
    });
    operation(db, view, |tx, operation, root| {
        let version = tree::publish(tx, view, operation, file.ino, &content(2), None)?.version;
        tree::publish(tx, view, operation, file.ino, &content(3), Some(version))?;
        let edit = AttributeEdit { mtime_ns: Some(1), ..AttributeEdit::default() };
        tree::set_attributes(tx, view, operation, file.ino, &edit)?;
        tree::touch(tx, view, file.ino)?;
        for value in [b"1", b"2"] {
            let xattr = (&b"user.a"[..], &value[..]);
            tree::set_xattr(tx, view, operation, file.ino, xattr, XattrEdit::Either)?;
        }
        tree::link(tx, view, operation, file.ino, &directory, &name("link"))?;
        tree::unlink(tx, view, operation, root.ino, &name("gone"), |_| false)?;
        tree::remove_directory(tx, view, operation, root.ino, &name("empty"))?;
        let saved = tree::create(tx, view, operation, root, &name("new"), &new(tree::S_IFREG))?;
        tree::publish(tx, view, operation, saved.ino, &content(4), Some(saved.content))?;
        let (from, to) = ((root.ino, &name("new")), (root, &name("file")));
        tree::rename(tx, view, operation, from, to).map(drop)
    });
    operation(db, view, |tx, operation, root| {
        let edit = AttributeEdit { permissions: Some(0o600), ..AttributeEdit::default() };
        tree::set_attributes(tx, view, operation, file.ino, &edit)?;
        let xattr = (&b"user.a"[..], &b"3"[..]);
        tree::set_xattr(tx, view, operation, file.ino, xattr, XattrEdit::Replace)?;
        tree::remove_xattr(tx, view, operation, file.ino, b"user.a")?;
        let (from, to) = ((root.ino, &name("symlink")), (root, &name("directory")));
        tree::exchange(tx, view, operation, from, to)?;
        tree::exchange(tx, view, operation, from, to)?;
        let (from, to) = ((directory.ino, &name("link")), (&directory, &name("moved")));
        tree::rename(tx, view, operation, from, to).map(drop)
    });
    bucket
}

/// Asks everything that can be asked.
pub(crate) fn ask(db: &Db, bucket: &Bucket) {
    let view = &View::main(bucket);
    db.read(|conn| {
        let root = view.root;
        let found = tree::lookup(conn, view, root, &name("file"))?.expect("it was saved");
        let directory = tree::lookup(conn, view, root, &name("directory"))?.expect("it is there");
        let old = tree::lookup(conn, view, directory.ino, &name("moved"))?.expect("it moved");
        assert_eq!((found.blob, old.blob), (Some(BlobNumber(4)), Some(BlobNumber(3))));
        assert_eq!((old.mode & 0o7777, old.mtime_ns(), old.nlink), (0o600, 1, 1));
        assert_eq!(tree::list(conn, view, root)?.len(), 3);
        assert_eq!(tree::names(conn, view, old.ino)?, [(directory.ino, name("moved"))]);
        let symlink = tree::lookup(conn, view, root, &name("symlink"))?.expect("it is there");
        assert_eq!(tree::symlink_target(conn, symlink.ino)?.as_deref(), Some(&b"file"[..]));
        assert_eq!(tree::xattr(conn, view, old.ino, b"user.a")?, None);
        assert!(tree::xattr_names(conn, view, old.ino)?.is_empty());
        assert_eq!(tree::versions_of(conn, view, old.ino)?, 2);
        assert_eq!(tree::stats(conn, view)?.files, 3);
        assert!(tree::stray_edges(conn, view)?.is_empty());
        assert!(tree::blob_uses(conn, BlobNumber(0), 10)?.len() >= 3);
        assert!(!outbox::unread(conn, view.branch, "sync", 100)?.is_empty());
        assert!(boot::noted(conn)?.is_empty());
        assert_eq!(bucket::find(conn, "photos")?.as_ref(), Some(bucket));
        assert_eq!(bucket::list(conn)?.len(), 1);
        assert_eq!(bucket::mounted_at(conn, b"/nowhere")?, None);
        Ok::<_, TreeError>(())
    })
    .unwrap();
}

/// Lets a branch go its own way, with a snapshot before and another branch forked in between.
pub(crate) fn branch_out(db: &Db, bucket: &Bucket) {
    let fork = |name: &str, from: &str, frozen: bool| {
        db.write(|tx| {
            let from = branch::require(tx, bucket, from)?;
            let new = NewBranch { name, from: &from, at: None, frozen };
            let made = branch::create(tx, bucket, &new)?;
            Ok::<_, BranchError>(View::of(tx, made.number)?.expect("it was made"))
        })
        .unwrap()
    };
    fork("before", branch::MAIN, true);
    let view = &fork("try", branch::MAIN, false);
    operation(db, view, |tx, operation, root| {
        let file = tree::lookup(tx, view, root.ino, &name("file"))?.expect("it was saved");
        tree::publish(tx, view, operation, file.ino, &content(6), None)?;
        tree::link(tx, view, operation, file.ino, root, &name("again"))?;
        tree::set_xattr(tx, view, operation, file.ino, (b"user.b", b"1"), XattrEdit::Either)?;
        tree::rename(tx, view, operation, (root.ino, &name("symlink")), (root, &name("link")))?;
        tree::create(tx, view, operation, root, &name("new"), &new(tree::S_IFREG | 0o644))?;
        Ok(())
    });
    fork("further", "try", false);
    operation(db, view, |tx, operation, root| {
        tree::unlink(tx, view, operation, root.ino, &name("again"), |_| false)?;
        Ok(())
    });
    decide(db, bucket, view);
    db.write(|tx| {
        branch::rename(tx, bucket, "further", "farther")?;
        branch::abandon(tx, bucket, "farther")?;
        branch::restore(tx, bucket, "farther")
    })
    .unwrap();
}

/// Merges, undoes and redoes, with a conflict that is then resolved.
fn decide(db: &Db, bucket: &Bucket, branch: &View) {
    let bytes = Bytes { same: &|_, one, other| Ok(one == other), merge: &|_, _| Ok(None) };
    let (from, favour) = (&View::main(bucket), Favour::Newest);
    operation(db, from, |tx, operation, root| {
        let file = tree::lookup(tx, from, root.ino, &name("file"))?.expect("it is there");
        tree::publish(tx, from, operation, file.ino, &content(7), None)?;
        Ok(())
    });
    let what = Merge { from, into: branch, favour, who: "uid 1000", what: "merge" };
    db.write(|tx| tree::merge(tx, &what, &bytes)).unwrap();
    db.write(|tx| tree::undo(tx, branch, None, "uid 1000", &bytes)).unwrap();
    db.write(|tx| tree::redo(tx, branch, None, "uid 1000", &bytes)).unwrap();
    db.write(|tx| tree::undo(tx, branch, None, "uid 1000", &bytes)).unwrap();
    db.write(|tx| tree::merge(tx, &what, &bytes)).unwrap();
    let open = db.read(|conn| tree::conflicts(conn, branch)).unwrap();
    assert_eq!(db.read(|conn| tree::conflict_count(conn, branch.branch)).unwrap(), 1);
    let (base, found) = db
        .read(|conn| {
            let base = tree::sides(conn, branch, &open[0])?.base;
            let at = (branch.root, &name("file"));
            assert_eq!(tree::conflict(conn, branch, open[0].number)?.as_ref(), Some(&open[0]));
            Ok::<_, DbError>((base, tree::conflicts_at(conn, branch, at)?))
        })
        .unwrap();
    assert!(base.is_some() && found == open);
    operation(db, branch, |tx, operation, _| {
        tree::resolve(tx, branch, operation, &open[0], Resolution::Both)?;
        Ok(())
    });
    db.write(|tx| tree::undo(tx, branch, None, "uid 1000", &bytes)).unwrap();
    db.write(|tx| tree::undo(tx, branch, None, "uid 1000", &bytes)).unwrap();
    db.write(|tx| tree::undo(tx, from, None, "uid 1000", &bytes)).unwrap();
}

/// Asks what can be asked of branches.
pub(crate) fn ask_branches(db: &Db, bucket: &Bucket) {
    let names = |branch: &str| {
        db.read(|conn| {
            let branch = branch::require(conn, bucket, branch)?;
            let view = View::of(conn, branch.number)?.expect("it is there");
            let listed = tree::list(conn, &view, view.root)?;
            assert!(tree::stray_edges(conn, &view)?.is_empty());
            let file = tree::lookup(conn, &view, view.root, &name("file"))?.expect("it is there");
            let versions = tree::contents(conn, &view, file.ino)?.len();
            let names: Vec<String> =
                listed.into_iter().map(|entry| entry.name.to_string()).collect();
            Ok::<_, BranchError>((names.join(" "), versions))
        })
        .unwrap()
    };
    assert_eq!(names("before"), ("directory file symlink".into(), 1));
    assert_eq!(names("try").0, "directory file link new");
    assert!(names("try").1 > 2, "one was published, others were merged and put back");
    assert_eq!(names("farther"), ("again directory file link new".into(), 2));
    assert_eq!(db.read(|conn| branch::list(conn, bucket)).unwrap().len(), 4);
}

/// Calls what is called for the whole node: recovery, purging, buckets, cursors.
pub(crate) fn maintain(db: &Db, bucket: &Bucket) {
    let view = &View::main(bucket);
    db.write_durable(|tx| {
        tree::replace_blob(tx, BlobNumber(1), BlobNumber(11))?;
        for blob in [2, 3, 4] {
            tree::withdraw_blob(tx, BlobNumber(blob))?;
        }
        tree::purge_transient(tx, view, Ino(999_999))?;
        boot::note(tx, "a boot")?;
        outbox::advance(tx, view.branch, "sync", tx.next_stamp().hlc)?;
        bucket::remember_mount_point(tx, b"/mnt", bucket.number, bucket.main)?;
        bucket::rename(tx, "photos", "pictures")?;
        bucket::remove(tx, "pictures")?;
        bucket::restore(tx, "pictures")?;
        Ok::<_, Box<dyn std::error::Error>>(())
    })
    .unwrap();
}
