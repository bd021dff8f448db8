//! Branches: what is inherited stays, whatever happens to the parent afterwards.

use super::*;

fn chmod(scratch: &Scratch, ino: Ino, permissions: u32) {
    let edit = AttributeEdit { permissions: Some(permissions), ..AttributeEdit::default() };
    scratch.change(|tx, view, operation| set_attributes(tx, view, operation, ino, &edit)).unwrap();
}

/// How many references the rule counts for each blob.
fn references(scratch: &Scratch) -> Vec<i64> {
    let sql = format!("{REFERENCES_SQL} ORDER BY 1");
    scratch
        .db()
        .read(|conn| {
            conn.prepare_cached(&sql)
                .and_then(|mut stmt| stmt.query_map([], |row| row.get(0))?.collect())
                .doing("counting references")
        })
        .unwrap()
}

/// Goes on with another view; returns the one before.
fn switch(scratch: &mut Scratch, to: View) -> View {
    let from = std::mem::replace(&mut scratch.view, to);
    scratch.begin();
    from
}

fn blob_on(scratch: &Scratch, view: &View, ino: Ino) -> Option<i64> {
    let found = scratch.db().read(|conn| inode(conn, view, ino)).unwrap();
    found.and_then(|inode| inode.blob).map(|blob| blob.0)
}

fn is_on(scratch: &Scratch, view: &View, text: &str) -> Option<Ino> {
    let found = scratch.db().read(|conn| lookup(conn, view, scratch.root, &name(text))).unwrap();
    found.map(|inode| inode.ino)
}

#[test]
fn what_a_fork_shows_is_not_replaced_in_place() {
    let scratch = Scratch::new();
    let made = scratch.create(scratch.root, "a", &new(S_IFREG | 0o644)).unwrap();
    let first = scratch.publish(made.ino, 1, Some(made.content));
    let fork = scratch.fork("try", None);
    let second = scratch.publish(made.ino, 2, Some(first.version));
    assert_eq!(second.dropped, None);
    chmod(&scratch, made.ino, 0o600);
    scratch.rename((scratch.root, "a"), (scratch.root, "b")).unwrap();
    assert_eq!(blob_on(&scratch, &fork, made.ino), Some(1));
    assert_eq!(is_on(&scratch, &fork, "a"), Some(made.ino));
    let there = scratch.db().read(|conn| inode(conn, &fork, made.ino)).unwrap().unwrap();
    assert_eq!(there.mode & 0o7777, 0o644);
}

#[test]
fn what_one_operation_created_and_unlinked_again_stays_where_a_fork_shows_it() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    let fork = scratch.fork("try", None);
    assert!(!scratch.unlink(scratch.root, "a").unwrap().purged);
    assert_eq!(is_on(&scratch, &fork, "a"), Some(file));
    assert_eq!(is_on(&scratch, &scratch.view, "a"), None);
}

#[test]
fn a_copied_row_holds_no_reference() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    let fork = scratch.fork("try", None);
    let main = switch(&mut scratch, fork);
    chmod(&scratch, file, 0o600);
    assert_eq!(references(&scratch), [1]);
    let moved = scratch.db().write(|tx| replace_blob(tx, BlobNumber(1), BlobNumber(11))).unwrap();
    assert_eq!(moved, 1, "one version, though two rows show it");
    assert_eq!(scratch.blob(file), Some(11));
    scratch.publish(file, 2, None);
    assert_eq!(references(&scratch), [2, 11]);
    let uses = scratch.db().read(|conn| blob_uses(conn, BlobNumber(0), 10)).unwrap();
    assert!(uses.iter().all(|of| of.versions == 1), "{uses:?}");
    switch(&mut scratch, main);
    assert_eq!(scratch.blob(file), Some(11));
}

#[test]
fn a_branchs_version_that_did_not_survive_falls_back_to_what_it_inherited() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    let fork = scratch.fork("try", None);
    scratch.publish(file, 3, None);
    let main = switch(&mut scratch, fork);
    scratch.publish(file, 2, None);
    let withdrawn = scratch.withdraw(2);
    assert!(!withdrawn[0].unlinked);
    assert_eq!(scratch.blob(file), Some(1));
    switch(&mut scratch, main);
    assert_eq!(scratch.blob(file), Some(3));
}

#[test]
fn a_branch_of_a_branch_as_of_before_its_fork_shows_what_was_there_then() {
    let scratch = Scratch::new();
    let early = scratch.file(scratch.root, "early");
    let before = scratch.db().write(|tx| Ok::<_, TreeError>(tx.next_stamp().hlc)).unwrap();
    scratch.begin();
    scratch.file(scratch.root, "late");
    let fork = scratch.fork("try", None);
    let mut scratch = scratch;
    switch(&mut scratch, fork);
    let view = scratch.fork("back", Some(before));
    assert_eq!(is_on(&scratch, &view, "early"), Some(early));
    assert_eq!(is_on(&scratch, &view, "late"), None);
}

#[test]
fn an_inherited_version_that_did_not_survive_is_lost_on_the_branch_as_well() {
    let mut scratch = Scratch::new();
    let old = scratch.written(scratch.root, "a", 1);
    scratch.begin();
    let file = scratch.written(scratch.root, "b", 2);
    scratch.rename((scratch.root, "b"), (scratch.root, "a")).unwrap();
    let untouched = scratch.fork("untouched", None);
    let touched = scratch.fork("touched", None);
    let edited = scratch.fork("edited", None);
    let main = switch(&mut scratch, touched.clone());
    chmod(&scratch, file, 0o600);
    let deeper = scratch.fork("deeper", None);
    switch(&mut scratch, edited.clone());
    scratch.publish(file, 3, None);
    switch(&mut scratch, main.clone());
    assert!(scratch.withdraw(2)[0].unlinked);
    for view in [&main, &untouched, &touched, &deeper] {
        assert_eq!(is_on(&scratch, view, "a"), Some(old), "{view:?}");
        assert_eq!(blob_on(&scratch, view, file), None);
    }
    assert_eq!(is_on(&scratch, &edited, "a"), Some(file), "it has bytes of its own");
    assert_eq!(blob_on(&scratch, &edited, file), Some(3));
    assert_eq!(references(&scratch), [1, 3]);
}

#[test]
fn a_superseded_version_that_did_not_survive_is_lost_where_a_fork_shows_it() {
    let scratch = Scratch::new();
    let old = scratch.written(scratch.root, "a", 1);
    scratch.begin();
    let file = scratch.written(scratch.root, "b", 2);
    scratch.rename((scratch.root, "b"), (scratch.root, "a")).unwrap();
    let fork = scratch.fork("try", None);
    scratch.publish(file, 3, None);
    scratch.withdraw(2);
    assert_eq!(is_on(&scratch, &scratch.view, "a"), Some(file));
    assert_eq!(is_on(&scratch, &fork, "a"), Some(old));
}

#[test]
fn an_attribute_removed_on_a_branch_stays_on_its_parent() {
    let mut scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    let set = |scratch: &Scratch, value: &[u8]| {
        scratch.change(|tx, view, operation| {
            set_xattr(tx, view, operation, file, (b"user.a", value), XattrEdit::Either)
        })
    };
    set(&scratch, b"1").unwrap();
    let fork = scratch.fork("try", None);
    let main = switch(&mut scratch, fork.clone());
    scratch
        .change(|tx, view, operation| remove_xattr(tx, view, operation, file, b"user.a"))
        .unwrap();
    let value = |view: &View| scratch.db().read(|conn| xattr(conn, view, file, b"user.a")).unwrap();
    assert_eq!((value(&main), value(&fork)), (Some(b"1".to_vec()), None));
    let listed = scratch.db().read(|conn| xattr_names(conn, &fork, file)).unwrap();
    assert!(listed.is_empty());
}

#[test]
fn a_directory_on_a_branch_has_the_links_and_time_of_the_fork() {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    scratch.directory(directory, "e");
    let before = scratch.stat(directory);
    let fork = scratch.fork("try", None);
    scratch.pass(1000);
    scratch.directory(directory, "f");
    scratch.remove_directory(directory, "e").unwrap();
    scratch.pass(1000);
    scratch.directory(directory, "g");
    let there = scratch.db().read(|conn| inode(conn, &fork, directory)).unwrap().unwrap();
    assert_eq!((there.nlink, there.mtime_ns()), (before.nlink, before.mtime_ns()));
    assert_eq!(there.ctime_ns(), before.ctime_ns());
}
