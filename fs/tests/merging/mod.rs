//! Merges and undos with bytes, and what handles that are open meanwhile see of them.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use tesfs_fs::{OpenWrite, Touched, Vfs, VfsOptions};
use tesfs_pathtree::{
    branch::{self, BranchError, NewBranch},
    tree::{self, Favour, REFERENCES_SQL, conflicts},
};

use crate::node::{LARGE, Node, USER, all, name, pattern};

/// A branch beside the node's `main`.
fn fork(node: &Node) -> Arc<Vfs> {
    let (bucket, main) = (node.vfs.bucket(), node.vfs.branch());
    let made = node.db.write(|tx| {
        let new = NewBranch { name: "try", from: main, at: None, frozen: false };
        branch::create(tx, bucket, &new)
    });
    let made = made.map_err(|err: BranchError| err).unwrap();
    let shown = (bucket, &made, None);
    let (db, store) = (Arc::clone(&node.db), Arc::clone(&node.store));
    Vfs::new(db, store, shown, &VfsOptions::default()).unwrap()
}

fn write(vfs: &Arc<Vfs>, at: &str, bytes: &[u8]) {
    let root = vfs.root();
    let file = match vfs.lookup(&USER, root, &name(at)) {
        Ok(found) => {
            let how = OpenWrite { truncate: true, ..OpenWrite::default() };
            vfs.open_write(&USER, found.ino, how).unwrap()
        }
        Err(_) => vfs.create(&USER, root, &name(at), 0o644, OpenWrite::default()).unwrap().1,
    };
    assert_eq!(file.write_at(0, bytes, false).unwrap(), bytes.len());
    file.flush().unwrap();
    file.release().unwrap();
}

fn read(vfs: &Arc<Vfs>, at: &str) -> Vec<u8> {
    let found = vfs.lookup(&USER, vfs.root(), &name(at)).unwrap();
    all(&vfs.open_read(&USER, found.ino).unwrap())
}

/// Every blob is named as often as its row counts.
fn check(node: &Node) {
    let recount = node.store.recount(REFERENCES_SQL).unwrap();
    assert!(recount.miscounts.is_empty() && recount.dangling.is_empty(), "{recount:?}");
}

/// How many drafts have bytes: what the next start would keep as unfinished, where no row names it.
fn drafts_with_bytes(node: &Node) -> usize {
    let drafts = fs::read_dir(node.dir.path().join("drafts")).unwrap();
    drafts.filter(|draft| draft.as_ref().unwrap().metadata().unwrap().len() > 0).count()
}

fn pass(node: &Node) {
    node.clock.advance(Duration::from_secs(3));
}

#[test]
fn bytes_of_a_branch_are_merged_and_shared() {
    let node = Node::new();
    write(&node.vfs, "large", &pattern(LARGE, 1));
    let there = fork(&node);
    pass(&node);
    write(&there, "large", &pattern(LARGE, 2));
    write(&there, "small", b"new");
    node.settler().settle_now().unwrap();
    let from = (there.view(), "try");
    let rehearsed = node.vfs.merge(&USER, from, Favour::Newest, true).unwrap();
    assert_eq!(read(&node.vfs, "large"), pattern(LARGE, 1), "a rehearsal changes nothing");
    let applied = node.vfs.merge(&USER, from, Favour::Newest, false).unwrap();
    assert_eq!((applied.created, applied.edited), (rehearsed.created, rehearsed.edited));
    assert_eq!(read(&node.vfs, "large"), pattern(LARGE, 2));
    assert_eq!(read(&node.vfs, "small"), b"new");
    check(&node);
    pass(&node);
    node.vfs.undo(&USER, None).unwrap();
    assert_eq!(read(&node.vfs, "large"), pattern(LARGE, 1));
    assert_eq!(node.find("small"), None);
    check(&node);
}

#[test]
fn lines_of_a_text_are_merged_where_that_is_clean() {
    let filler = "a line of a text that is long enough to lie in a file of its own\n".repeat(400);
    for middle in ["middle\n", &filler] {
        let text = |first: &str, last: &str| format!("{first}\n{middle}{last}\n").into_bytes();
        let node = Node::new();
        write(&node.vfs, "text", &text("one", "two"));
        let there = fork(&node);
        write(&there, "text", &text("ONE", "two"));
        write(&node.vfs, "text", &text("one", "TWO"));
        node.settler().settle_now().unwrap();
        let from = (there.view(), "try");
        let before = drafts_with_bytes(&node);
        let rehearsed = node.vfs.merge(&USER, from, Favour::Newest, true).unwrap();
        assert_eq!(rehearsed.lines_merged, 1);
        assert_eq!(drafts_with_bytes(&node), before, "a rehearsal leaves no bytes");
        let applied = node.vfs.merge(&USER, from, Favour::Newest, false).unwrap();
        assert_eq!((applied.lines_merged, applied.conflicts.len()), (1, 0));
        assert_eq!(read(&node.vfs, "text"), text("ONE", "TWO"));
        check(&node);
    }
}

#[test]
fn lines_that_both_changed_are_a_conflict() {
    let node = Node::new();
    write(&node.vfs, "text", b"one\n");
    let there = fork(&node);
    write(&there, "text", b"theirs\n");
    pass(&node);
    write(&node.vfs, "text", b"ours\n");
    let applied = node.vfs.merge(&USER, (there.view(), "try"), Favour::Newest, false).unwrap();
    assert_eq!(applied.conflicts.len(), 1);
    assert_eq!(read(&node.vfs, "text"), b"ours\n");
    check(&node);
}

#[test]
fn equal_bytes_in_different_blobs_are_no_conflict() {
    let node = Node::new();
    let there = fork(&node);
    for at in ["small", "large"] {
        let bytes = pattern(if at == "small" { 10 } else { LARGE }, 1);
        write(&there, at, &bytes);
        write(&node.vfs, at, &bytes);
    }
    node.settler().settle_now().unwrap();
    let applied = node.vfs.merge(&USER, (there.view(), "try"), Favour::Newest, false).unwrap();
    assert!(applied.conflicts.is_empty(), "{applied:?}");
    assert_eq!(node.vfs.list_with_attributes(node.vfs.root()).unwrap().len(), 2);
    check(&node);
}

#[test]
fn what_a_merge_brought_while_a_file_was_written_is_a_conflict_and_no_loss() {
    let node = Node::new();
    write(&node.vfs, "file", b"base");
    let there = fork(&node);
    pass(&node);
    write(&there, "file", b"theirs");
    let ino = node.find("file").unwrap();
    let writer = node.vfs.open_write(&USER, ino, OpenWrite::default()).unwrap();
    let reader = node.vfs.open_read(&USER, ino).unwrap();
    writer.write_at(0, b"ours", false).unwrap();
    node.vfs.merge(&USER, (there.view(), "try"), Favour::Newest, false).unwrap();
    assert_eq!(node.read("file"), b"theirs", "nothing of the writer's is published yet");
    assert_eq!(all(&reader), b"base", "a reader keeps what it opened");
    writer.flush().unwrap();
    writer.release().unwrap();
    assert_eq!(node.read("file"), b"ours");
    let kept = node.db.read(|conn| conflicts(conn, node.vfs.view())).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].size, 6);
    check(&node);
}

#[test]
fn what_was_undone_is_told_to_whoever_caches_it() {
    let node = Node::new();
    write(&node.vfs, "file", b"one");
    pass(&node);
    node.vfs.unlink(&USER, node.vfs.root(), &name("file")).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&told);
    node.vfs.observe(Arc::new(move |touched| list.lock().unwrap().push(touched.clone())));
    node.vfs.undo(&USER, None).unwrap();
    let entry = Touched::Entry { parent: node.vfs.root(), name: name("file") };
    assert!(told.lock().unwrap().contains(&entry));
    assert_eq!(node.read("file"), b"one");
}

#[test]
fn changes_right_after_an_undo_are_an_operation_of_their_own() {
    let node = Node::new();
    write(&node.vfs, "file", b"one");
    node.vfs.undo(&USER, None).unwrap();
    assert_eq!(node.find("file"), None);
    write(&node.vfs, "other", b"two");
    node.vfs.undo(&USER, None).unwrap();
    assert_eq!(node.find("other"), None);
    let log = node.db.read(|conn| tree::operations(conn, node.vfs.view(), None, 10)).unwrap();
    let words: Vec<&str> = log.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(words, ["undo", "mount", "undo", "mount", "create a bucket"]);
}

#[test]
fn a_conflict_is_decided_with_the_bytes_of_any_file() {
    for size in [0, 20, LARGE] {
        let node = Node::new();
        write(&node.vfs, "file", b"base");
        let there = fork(&node);
        pass(&node);
        write(&there, "file", b"theirs");
        write(&node.vfs, "file", b"ours");
        node.vfs.merge(&USER, (there.view(), "try"), Favour::Newest, false).unwrap();
        let open = || node.db.read(|conn| conflicts(conn, node.vfs.view())).unwrap();
        let answer = tempfile::NamedTempFile::new().unwrap();
        fs::write(answer.path(), pattern(size, 7)).unwrap();
        let gone = answer.path().with_extension("gone");
        let refused = node.vfs.resolve_with(&USER, &open(), &gone).unwrap_err();
        assert!(refused.to_string().contains("gone"), "{refused}");
        assert_eq!((open().len(), node.read("file")), (1, b"ours".to_vec()));
        node.vfs.resolve_with(&USER, &open(), answer.path()).unwrap();
        assert_eq!((open().len(), node.read("file")), (0, pattern(size, 7)));
        check(&node);
        node.vfs.undo(&USER, None).unwrap();
        assert_eq!((open().len(), node.read("file")), (1, b"ours".to_vec()));
        check(&node);
        node.vfs.redo(&USER, None).unwrap();
        assert_eq!((open().len(), node.read("file")), (0, pattern(size, 7)));
        check(&node);
    }
}
