//! The VFS core without a mount: what readers and writers see, and what a crash leaves.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod durability;
mod history;
mod merging;
mod node;
mod restoring;
mod settling;
mod upkeep;

use std::{sync::Arc, time::Duration};

use tesfs_blobs::{Allocate, BlobHash};
use tesfs_fs::{
    AttributeChange, FileState, FsError, MakeInode, OpenFile, OpenWrite, Published, RenameMode,
    Settler, SettlerSettings, TimeChange,
};
use tesfs_pathtree::{
    moment,
    tree::{TreeError, XattrEdit},
};

use self::node::{LARGE, Node, USER, all, name, pattern};

#[test]
fn a_closed_file_is_there_after_a_kill() {
    let node = Node::new();
    node.write("small", b"hello");
    node.write("large", &pattern(LARGE, 1));
    let node = node.killed_and_started("boot-1");
    assert_eq!(node.read("small"), b"hello");
    assert_eq!(node.read("large"), pattern(LARGE, 1));
}

#[test]
fn a_reader_keeps_the_version_it_opened() {
    for (old, new) in [(100, 50), (100, LARGE), (LARGE, 10), (LARGE, LARGE), (LARGE, 0)] {
        let node = Node::new();
        let ino = node.write("file", &pattern(old, 1));
        let reader = node.vfs.open_read(&USER, ino).unwrap();
        node.write("file", &pattern(new, 2));
        assert_eq!(all(&reader), pattern(old, 1), "{old} {new}");
        assert_eq!(node.read("file"), pattern(new, 2), "{old} {new}");
        node.vfs.unlink(&USER, node.vfs.root(), &name("file")).unwrap();
        assert_eq!(all(&reader), pattern(old, 1), "{old} {new}");
    }
}

#[test]
fn nobody_sees_a_draft_before_its_flush() {
    let node = Node::new();
    let ino = node.write("file", &pattern(LARGE, 1));
    let writer = node.vfs.open_write(&USER, ino, OpenWrite::default()).unwrap();
    writer.write_at(0, &pattern(LARGE, 2), false).unwrap();
    assert_eq!(node.read("file"), pattern(LARGE, 1));
    assert!(matches!(writer.flush().unwrap(), Published::NewVersion(_)));
    assert_eq!(node.read("file"), pattern(LARGE, 2));
    assert_eq!(writer.flush().unwrap(), Published::Nothing);
}

#[test]
fn a_version_stays_whole_when_its_writer_goes_on() {
    for shared in [false, true] {
        let node = Node::new();
        let writer = node.create("file");
        let backing = shared.then(|| writer.backing().unwrap().unwrap());
        writer.write_at(0, &pattern(LARGE, 1), false).unwrap();
        writer.flush().unwrap();
        let reader = node.vfs.open_read(&USER, writer.ino()).unwrap();
        writer.write_at(10, &pattern(LARGE, 2), false).unwrap();
        assert_eq!(all(&reader), pattern(LARGE, 1), "shared: {shared}");
        writer.flush().unwrap();
        assert_eq!(all(&reader), pattern(LARGE, 1), "shared: {shared}");
        writer.release().unwrap();
        let now = node.read("file");
        assert_eq!(now.len(), LARGE + 10);
        assert_eq!(now[..10], pattern(LARGE, 1)[..10]);
        assert_eq!(now[10..], pattern(LARGE, 2));
        drop(backing);
    }
}

#[test]
fn two_appending_writers_lose_nothing() {
    let node = Node::new();
    let ino = node.write("log", b"");
    let how = OpenWrite { append: true, ..OpenWrite::default() };
    let one = node.vfs.open_write(&USER, ino, how).unwrap();
    let other = node.vfs.open_write(&USER, ino, how).unwrap();
    for _ in 0..100 {
        one.write_at(0, b"one\n", false).unwrap();
        other.write_at(0, b"two\n", false).unwrap();
    }
    one.flush().unwrap();
    one.release().unwrap();
    other.flush().unwrap();
    other.release().unwrap();
    let log = node.read("log");
    assert_eq!(log.len(), 800);
    assert_eq!(log.chunks(4).filter(|line| *line == b"one\n").count(), 100);
}

#[test]
fn an_fsynced_draft_is_published_by_recovery_and_any_other_is_set_aside() {
    for len in [10, LARGE] {
        let node = Node::new();
        let synced = node.create("synced");
        synced.write_at(0, &pattern(len, 1), false).unwrap();
        synced.fsync().unwrap();
        assert_eq!(node.read("synced"), b"", "others see it at close");
        let lost = node.create("lost");
        lost.write_at(0, &pattern(len, 2), false).unwrap();
        // A kill runs no destructor.
        std::mem::forget((synced, lost));
        let node = node.killed_and_started("boot-1");
        assert_eq!(node.read("synced"), pattern(len, 1));
        assert_eq!(node.find("lost"), None, "it was never closed");
        let root = node.vfs.root();
        let top = node.vfs.lookup(&USER, root, &name(".tesfs")).unwrap().ino;
        let recovered = node.vfs.lookup(&USER, top, &name("recovered")).unwrap().ino;
        let files = node.vfs.list(recovered).unwrap();
        assert_eq!(files.len(), 1);
        let reader = node.vfs.open_read(&USER, files[0].ino).unwrap();
        assert_eq!(all(&reader), pattern(len, 2));
    }
}

#[test]
fn a_power_cut_leaves_the_version_before_an_unsettled_one_whole() {
    let node = Node::new();
    node.write("file", &pattern(LARGE, 1));
    let unsealed = node.db.read(|conn| node.store.unsealed(conn, 10)).unwrap();
    node.store.seal(&unsealed).unwrap();
    node.write("file", &pattern(LARGE, 2));
    node.write("new", &pattern(LARGE, 3));
    node.write("saved", &pattern(LARGE, 4));
    node.write("editor", &pattern(LARGE, 5));
    let (root, from, to) = (node.vfs.root(), name("editor"), name("saved"));
    node.vfs.rename(&USER, (root, &from), (root, &to), RenameMode::Replace).unwrap();
    let unsettled = node.db.read(|conn| node.store.unsettled(conn, 10)).unwrap();
    assert_eq!(unsettled.len(), 4);
    let node = node.killed_and_started("boot-2");
    assert_eq!(node.read("file"), pattern(LARGE, 1));
    assert_eq!(node.find("new"), None);
    assert_eq!(node.find("editor"), None);
    // What it replaced was not settled either.
    assert_eq!(node.find("saved"), None);
}

#[test]
fn an_editors_save_that_a_power_cut_took_gives_the_old_file_its_name_back() {
    let node = Node::new();
    node.write("saved", &pattern(LARGE, 1));
    let unsealed = node.db.read(|conn| node.store.unsealed(conn, 10)).unwrap();
    node.store.seal(&unsealed).unwrap();
    node.clock.advance(Duration::from_secs(10));
    node.write("editor", &pattern(LARGE, 2));
    let (root, from, to) = (node.vfs.root(), name("editor"), name("saved"));
    node.vfs.rename(&USER, (root, &from), (root, &to), RenameMode::Replace).unwrap();
    assert_eq!(node.read("saved"), pattern(LARGE, 2));
    let node = node.killed_and_started("boot-2");
    assert_eq!(node.read("saved"), pattern(LARGE, 1));
    assert_eq!(node.find("editor"), None);
}

#[test]
fn an_unlinked_open_file_reads_and_writes_until_its_release() {
    let node = Node::new();
    let file = node.create("gone");
    file.write_at(0, b"before", false).unwrap();
    node.vfs.unlink(&USER, node.vfs.root(), &name("gone")).unwrap();
    file.write_at(6, b" and after", false).unwrap();
    let mut bytes = [0; 16];
    assert_eq!(file.read_at(0, &mut bytes).unwrap(), 16);
    assert_eq!(&bytes, b"before and after");
    assert_eq!(file.attributes().unwrap().nlink, 0);
    file.flush().unwrap();
    file.release().unwrap();
    assert!(matches!(node.vfs.attributes(file.ino()), Err(FsError::Tree(TreeError::InodeGone(_)))));
    assert_eq!(node.vfs.open_files(), 0);
}

#[test]
fn times_set_on_an_open_file_stay_after_its_close() {
    for len in [0, 10, LARGE] {
        let node = Node::new();
        let file = node.create("file");
        file.write_at(0, &pattern(len, 1), false).unwrap();
        let (atime_ns, mtime_ns) = (1_000_000_001, 1_200_000_000_123_456_789);
        let change = AttributeChange {
            atime: Some(TimeChange::At(atime_ns)),
            mtime: Some(TimeChange::At(mtime_ns)),
            ..AttributeChange::default()
        };
        let shown = node.vfs.set_attributes(&USER, file.ino(), &change).unwrap();
        assert_eq!((shown.atime_ns, shown.mtime_ns), (atime_ns, mtime_ns), "{len}");
        file.flush().unwrap();
        file.release().unwrap();
        let shown = node.vfs.attributes(file.ino()).unwrap();
        assert_eq!((shown.atime_ns, shown.mtime_ns), (atime_ns, mtime_ns), "{len}");
    }
}

#[test]
fn truncating_a_path_publishes_at_once() {
    let node = Node::new();
    let ino = node.write("file", &pattern(LARGE, 1));
    for size in [LARGE as u64 - 1, 17, 0, 50_000] {
        let change = AttributeChange { size: Some(size), ..AttributeChange::default() };
        assert_eq!(node.vfs.set_attributes(&USER, ino, &change).unwrap().size, size);
        assert_eq!(node.read("file").len() as u64, size);
    }
    assert!(node.read("file").iter().all(|byte| *byte == 0));
}

#[test]
fn a_copy_of_a_whole_file_shares_its_bytes() {
    let node = Node::new();
    let ino = node.write("one", &pattern(LARGE, 1));
    let from = node.vfs.open_read(&USER, ino).unwrap();
    let to = node.create("two");
    assert_eq!(from.copy_range(0, &to, 0, 1 << 40, false).unwrap(), LARGE as u64);
    to.flush().unwrap();
    assert_eq!(node.read("two"), pattern(LARGE, 1));
    let stories = [ino, to.ino()].map(|ino| node.vfs.story(ino).unwrap());
    assert_eq!(stories[0].blob, stories[1].blob);
    to.write_at(0, b"changed", false).unwrap();
    to.flush().unwrap();
    to.release().unwrap();
    assert_eq!(node.read("one"), pattern(LARGE, 1));
    assert_eq!(&node.read("two")[..7], b"changed");
}

#[test]
fn whatever_changes_the_bytes_takes_the_set_user_id_bit() {
    let node = Node::new();
    let from = node.write("from", &pattern(LARGE, 1));
    let from = node.vfs.open_read(&USER, from).unwrap();
    let change: [&dyn Fn(&OpenFile); 4] = [
        &|file| assert_eq!(file.write_at(0, b"x", true).unwrap(), 1),
        &|file| file.allocate(Allocate::Extend, 0, 10, true).unwrap(),
        &|file| assert_eq!(from.copy_range(0, file, 0, 10, true).unwrap(), 10),
        &|file| assert!(from.copy_range(0, file, 0, 1 << 40, true).unwrap() > 10),
    ];
    for (number, change) in change.iter().enumerate() {
        let file = node.create(&format!("to-{number}"));
        let lend = AttributeChange { mode: Some(0o6777), ..AttributeChange::default() };
        node.vfs.set_attributes(&USER, file.ino(), &lend).unwrap();
        change(&file);
        assert_eq!(file.attributes().unwrap().mode & 0o7777, 0o777, "change {number}");
    }
}

#[test]
fn the_hidden_folder_is_reserved_and_not_listed() {
    let node = Node::new();
    let root = node.vfs.root();
    let made = node.vfs.make(&USER, root, &name(".tesfs"), &MakeInode::Directory, 0o755);
    assert_eq!(made.unwrap_err().errno(), libc::EPERM);
    node.write("file", b"");
    let (from, to) = (name("file"), name(".tesfs"));
    let moved = node.vfs.rename(&USER, (root, &from), (root, &to), RenameMode::Replace);
    assert_eq!(moved.unwrap_err().errno(), libc::EPERM);
    assert!(node.vfs.list(root).unwrap().iter().all(|entry| entry.name != name(".tesfs")));
    let top = node.vfs.lookup(&USER, root, &name(".tesfs")).unwrap();
    let made = node.vfs.make(&USER, top.ino, &name("file"), &MakeInode::File, 0o644);
    assert_eq!(made.unwrap_err().errno(), libc::EROFS);
}

#[test]
fn a_file_tells_its_story_by_names_that_are_not_listed() {
    let node = Node::new();
    let settler = node.settler();
    let told = |ino, key: &str| match node.vfs.xattr(ino, format!("user.tesfs.{key}").as_bytes()) {
        Ok(value) => String::from_utf8(value).unwrap(),
        Err(err) => format!("errno {}", err.errno()),
    };
    let unknown = format!("errno {}", libc::ENODATA);
    let (root, hash) = (node.vfs.root(), BlobHash::of(&pattern(LARGE, 1)).to_string());
    let ino = node.write("file", &pattern(LARGE, 1));
    assert_eq!((told(ino, "state"), told(ino, "hash")), ("local".into(), unknown.clone()));
    settler.settle_now().unwrap();
    assert_eq!((told(ino, "state"), told(ino, "hash")), ("durable".into(), hash.clone()));
    let published = node.vfs.story(ino).unwrap().versions[0].version.hlc.unix_ns();
    assert_eq!(told(ino, "version"), moment::exact_label(published));
    let writer = node.vfs.open_write(&USER, ino, OpenWrite::default()).unwrap();
    writer.write_at(0, b"new", false).unwrap();
    assert_eq!((told(ino, "state"), told(ino, "hash")), ("draft".into(), hash));
    writer.release().unwrap();
    let empty = node.write("empty", b"");
    assert_eq!(told(empty, "hash"), BlobHash::of(b"").to_string());
    let top = node.vfs.lookup(&USER, root, &name(".tesfs")).unwrap().ino;
    assert_eq!((told(ino, "branch"), told(root, "branch")), ("main".into(), "main".into()));
    for (ino, key) in [
        (root, "hash"),
        (root, "version"),
        (root, "state"),
        (ino, "other"),
        (ino, ""),
        (top, "branch"),
    ] {
        assert_eq!(told(ino, key), unknown, "{key}");
    }
    assert_eq!(node.vfs.list_xattrs(ino).unwrap(), [b""; 0]);
    for key in ["hash", "branch", "other"] {
        let key = format!("user.tesfs.{key}");
        let set = node.vfs.set_xattr(&USER, ino, (key.as_bytes(), b"1"), XattrEdit::Either);
        assert_eq!(set.unwrap_err().errno(), libc::EPERM);
        let removed = node.vfs.remove_xattr(&USER, ino, key.as_bytes());
        assert_eq!(removed.unwrap_err().errno(), libc::EPERM);
    }
}

#[test]
fn a_rewritten_file_keeps_its_history() {
    let node = Node::new();
    let ino = node.write("file", b"one");
    node.clock.advance(Duration::from_secs(10));
    node.write("file", b"two");
    node.write("file", &pattern(LARGE, 3));
    let story = node.vfs.story(ino).unwrap();
    let sizes: Vec<u64> = story.versions.iter().map(|version| version.size).collect();
    assert_eq!(sizes, [LARGE as u64, 3, 3]);
}

#[test]
fn a_version_that_an_idle_writer_keeps_open_is_sealed_from_a_copy() {
    let node = Node::new();
    let delay = Duration::from_secs(1);
    let settler =
        Settler::start(Arc::clone(&node.db), Arc::clone(&node.store), SettlerSettings { delay })
            .unwrap();
    settler.watch(&node.vfs);
    let writer = node.create("file");
    let backing = writer.backing().unwrap().unwrap();
    writer.write_at(0, &pattern(LARGE, 1), false).unwrap();
    writer.flush().unwrap();
    // Files have the machine's times: a manual clock far ahead makes them long ago.
    node.clock.set(i64::MAX / 2);
    settler.settle_now().unwrap();
    assert_eq!(node.vfs.story(writer.ino()).unwrap().state, FileState::Durable);
    writer.write_at(0, &pattern(LARGE, 2), false).unwrap();
    assert_eq!(node.read("file"), pattern(LARGE, 1));
    writer.flush().unwrap();
    writer.release().unwrap();
    assert_eq!(node.read("file"), pattern(LARGE, 2));
    assert_eq!(node.vfs.story(writer.ino()).unwrap().versions.len(), 2);
    drop(backing);
}

#[test]
fn an_empty_file_that_was_created_and_closed_is_there_after_a_kill() {
    let node = Node::new();
    let file = node.create("empty");
    file.flush().unwrap();
    // A kill runs no destructor.
    std::mem::forget(file);
    let node = node.killed_and_started("boot-1");
    assert_eq!(node.read("empty"), b"");
}

#[test]
fn a_new_file_that_was_rewritten_before_it_was_settled_goes_with_a_power_cut() {
    for shared in [false, true] {
        let node = Node::new();
        let first = node.create("file");
        let backing = shared.then(|| first.backing().unwrap().unwrap());
        first.write_at(0, &pattern(LARGE, 1), false).unwrap();
        first.flush().unwrap();
        // The kernel tells of the release later than of the next open.
        let how = OpenWrite { truncate: true, ..OpenWrite::default() };
        let second = node.vfs.open_write(&USER, first.ino(), how).unwrap();
        first.release().unwrap();
        second.write_at(0, &pattern(LARGE - 9, 2), false).unwrap();
        second.flush().unwrap();
        second.release().unwrap();
        assert_eq!(node.read("file"), pattern(LARGE - 9, 2));
        drop(backing);
        let node = node.killed_and_started("boot-2");
        assert_eq!(node.find("file"), None, "shared: {shared}");
    }
}

#[test]
fn bytes_adopted_from_a_version_that_is_gone_are_kept() {
    for synced in [false, true] {
        for written in [false, true] {
            let node = Node::new();
            let source = node.create("source");
            source.write_at(0, &pattern(LARGE, 1), false).unwrap();
            source.flush().unwrap();
            let pinned = node.vfs.open_read(&USER, source.ino()).unwrap();
            let copy = node.create("copy");
            assert_eq!(pinned.copy_range(0, &copy, 0, LARGE as u64, false).unwrap(), LARGE as u64);
            let mut expected = pattern(LARGE, 1);
            if written {
                copy.write_at(7, b"changed", false).unwrap();
                expected[7..14].copy_from_slice(b"changed");
            }
            // The writer's own version is replaced: nothing but the copy has its bytes.
            source.write_at(0, &pattern(LARGE, 2), false).unwrap();
            source.flush().unwrap();
            if synced {
                copy.fsync().unwrap();
            }
            copy.flush().unwrap();
            copy.release().unwrap();
            drop(pinned);
            let node = node.killed_and_started(if synced { "boot-2" } else { "boot-1" });
            assert_eq!(node.read("copy"), expected, "synced: {synced}, written: {written}");
        }
    }
}

#[test]
fn an_empty_file_that_was_fsynced_is_what_a_power_cut_leaves() {
    let node = Node::new();
    let file = node.create("file");
    file.fsync().unwrap();
    file.write_at(0, &pattern(LARGE, 1), false).unwrap();
    file.flush().unwrap();
    file.release().unwrap();
    let node = node.killed_and_started("boot-2");
    assert_eq!(node.read("file"), b"");
}

#[test]
fn an_fsync_after_a_reopening_survives_a_power_cut() {
    for late_release in [false, true] {
        let node = Node::new();
        let first = node.create("file");
        first.write_at(0, &pattern(LARGE, 1), false).unwrap();
        first.fsync().unwrap();
        first.write_at(100, &pattern(50, 2), false).unwrap();
        first.flush().unwrap();
        if !late_release {
            first.release().unwrap();
        }
        let second = node.vfs.open_write(&USER, first.ino(), OpenWrite::default()).unwrap();
        if late_release {
            first.release().unwrap();
        }
        second.write_at(0, &pattern(2 * LARGE, 3), false).unwrap();
        second.fsync().unwrap();
        std::mem::forget(second);
        let node = node.killed_and_started("boot-2");
        assert_eq!(node.read("file"), pattern(2 * LARGE, 3), "late: {late_release}");
    }
}

#[test]
fn an_fsynced_file_that_was_closed_without_a_name_is_there_when_it_gets_the_name_back() {
    for len in [10, LARGE] {
        let node = Node::new();
        let old = node.create("old");
        old.write_at(0, &pattern(len, 1), false).unwrap();
        old.fsync().unwrap();
        node.write("new", &pattern(LARGE, 2));
        let (root, from, to) = (node.vfs.root(), name("new"), name("old"));
        node.vfs.rename(&USER, (root, &from), (root, &to), RenameMode::Replace).unwrap();
        old.flush().unwrap();
        old.release().unwrap();
        let node = node.killed_and_started("boot-2");
        assert_eq!(node.read("old"), pattern(len, 1));
    }
}
