//! Publishing: bases, what an open writer replaces, blobs that are let go.

use super::*;

fn content_rows(scratch: &Scratch, ino: Ino) -> i64 {
    scratch.number(&format!("SELECT count(*) FROM past WHERE facet = 2 AND id = {ino}"))
}

/// Stamp of the version that the current content is based on.
fn base(scratch: &Scratch, ino: Ino) -> Option<Hlc> {
    let sql = format!("SELECT coalesce(base, 0) FROM inodes WHERE id = {ino}");
    Some(Hlc(scratch.number(&sql).cast_unsigned())).filter(|base| base.0 > 0)
}

#[test]
fn each_version_is_based_on_the_one_before() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    let mut before = scratch.stat(file).content;
    for blob in 1..=3 {
        let published = scratch.publish(file, blob, None);
        assert_eq!(published.dropped, None);
        let now = scratch.stat(file);
        assert_eq!(
            (now.content, now.blob, now.size),
            (published.version, Some(BlobNumber(blob)), blob.cast_unsigned() * 10)
        );
        assert_eq!(base(&scratch, file), Some(before.hlc));
        before = published.version;
    }
    assert_eq!(content_rows(&scratch, file), 3, "the empty one and two more, in one operation");
}

#[test]
fn the_first_bytes_of_the_creating_writer_supersede_nothing() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    assert_eq!((content_rows(&scratch, file), base(&scratch, file)), (0, None));
}

#[test]
fn an_open_writer_replaces_its_own_version_and_keeps_its_base() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    let first = scratch.stat(file).content;
    scratch.begin();
    let mut own = scratch.publish(file, 2, None).version;
    for blob in 3..6 {
        let published = scratch.publish(file, blob, Some(own));
        assert_eq!(published.dropped, Some(BlobNumber(blob - 1)));
        own = published.version;
        assert_eq!(base(&scratch, file), Some(first.hlc));
    }
    assert_eq!((content_rows(&scratch, file), scratch.blob(file)), (1, Some(5)));
}

#[test]
fn a_version_that_was_seen_is_no_longer_the_writers_own() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    let own = scratch.publish(file, 1, None).version;
    scratch.see();
    let published = scratch.publish(file, 2, Some(own));
    assert_eq!(published.dropped, None);
    assert_eq!((content_rows(&scratch, file), base(&scratch, file)), (2, Some(own.hlc)));
}

#[test]
fn a_version_that_somebody_else_superseded_is_no_longer_the_writers_own() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    let own = scratch.publish(file, 1, None).version;
    let theirs = scratch.publish(file, 2, None).version;
    let published = scratch.publish(file, 3, Some(own));
    assert_eq!(published.dropped, None);
    assert_eq!((content_rows(&scratch, file), base(&scratch, file)), (3, Some(theirs.hlc)));
}

#[test]
fn a_file_can_be_emptied() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    let nothing = NewContent { size: 0, blob: None, mtime_ns: NOW_NS, ctime_ns: None };
    scratch
        .change(|tx, view, operation| publish(tx, view, operation, file, &nothing, None))
        .unwrap();
    assert_eq!((scratch.stat(file).size, scratch.blob(file)), (0, None));
    assert_eq!(content_rows(&scratch, file), 1);
}

#[test]
fn a_version_shows_the_ctime_that_its_writers_file_showed() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    // By a finer clock than the tree's, which moves by ticks.
    let ctime_ns = scratch.clock.now_ns() + 3_456_789;
    let written = NewContent { size: 0, blob: None, mtime_ns: NOW_NS, ctime_ns: Some(ctime_ns) };
    scratch
        .change(|tx, view, operation| publish(tx, view, operation, file, &written, None))
        .unwrap();
    assert_eq!(scratch.stat(file).ctime_ns(), ctime_ns);
    let fork = scratch.fork("at once", None);
    let there = scratch.db().read(|conn| inode(conn, &fork, file)).unwrap().expect("it shows");
    assert_eq!((there.size, there.nlink), (0, 1), "whichever clock is ahead");
    let restored = scratch.publish(file, 1, None).version;
    assert_eq!(scratch.stat(file).ctime_ns(), restored.hlc.unix_ns());
}

#[test]
fn what_is_gone_can_not_be_published() {
    let scratch = Scratch::new();
    let new = NewContent { size: 1, blob: None, mtime_ns: NOW_NS, ctime_ns: None };
    let refused = scratch
        .change(|tx, view, operation| publish(tx, view, operation, Ino(999_999), &new, None));
    assert!(matches!(refused, Err(TreeError::InodeGone(_))));
}

#[test]
fn the_largest_sizes_read_back() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    let size = i64::MAX.cast_unsigned();
    let huge = NewContent { size, blob: None, mtime_ns: NOW_NS, ctime_ns: None };
    scratch.change(|tx, view, operation| publish(tx, view, operation, file, &huge, None)).unwrap();
    assert_eq!(scratch.stat(file).size, size);
}

#[test]
fn a_blob_that_moves_takes_every_version_with_it() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.publish(file, 2, None);
    scratch.publish(file, 1, None);
    let other = scratch.written(scratch.root, "g", 1);
    scratch.db().write(|tx| replace_blob(tx, BlobNumber(1), BlobNumber(9))).unwrap();
    assert_eq!((scratch.blob(file), scratch.blob(other)), (Some(9), Some(9)));
    assert_eq!(scratch.number("SELECT count(*) FROM past WHERE blob = 1"), 0);
    assert_eq!(scratch.number("SELECT count(*) FROM past WHERE blob = 9"), 1);
}

#[test]
fn uses_of_blobs_are_counted_page_by_page() {
    let scratch = Scratch::new();
    for (file, blobs) in [("a", &[1, 2, 1, 5][..]), ("b", &[2, 3]), ("c", &[1, 7, 9, 9])] {
        let file = scratch.file(scratch.root, file);
        for blob in blobs {
            scratch.publish(file, *blob, None);
        }
    }
    let expected = [(1, 3), (2, 2), (3, 1), (5, 1), (7, 1), (9, 2)];
    for page in 1..8 {
        let mut all = Vec::new();
        loop {
            let after = BlobNumber(all.last().map_or(0, |(blob, _)| *blob));
            let uses = scratch.db().read(|conn| blob_uses(conn, after, page)).unwrap();
            assert!(uses.len() <= page as usize);
            if uses.is_empty() {
                break;
            }
            all.extend(uses.iter().map(|used| (used.blob.0, used.versions)));
        }
        assert_eq!(all, expected, "{page} at a time");
    }
}

#[test]
fn versions_are_told_newest_first() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    scratch.publish(file, 1, None);
    let newest = scratch.publish(file, 2, None).version;
    let told = scratch.db().read(|conn| contents(conn, &scratch.view, file)).unwrap();
    let versions: Vec<_> =
        told.iter().map(|told| (told.blob.map(|blob| blob.0), told.size)).collect();
    assert_eq!(versions, [(Some(2), 20), (Some(1), 10), (None, 0)]);
    assert_eq!((told[0].version, told[2].version), (newest, scratch.stat(file).id.0));
    assert_eq!(scratch.db().read(|conn| contents(conn, &scratch.view, Ino(999_999))).unwrap(), []);
}
