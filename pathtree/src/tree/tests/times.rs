//! mtime, ctime, birth and atime.

use super::*;

const SECOND: u64 = 1000;

fn set(scratch: &Scratch, ino: Ino, edit: AttributeEdit) -> Inode {
    scratch.change(|tx, view, operation| set_attributes(tx, view, operation, ino, &edit)).unwrap()
}

fn mtime(ns: i64) -> AttributeEdit {
    AttributeEdit { mtime_ns: Some(ns), ..AttributeEdit::default() }
}

/// What changed since: (mtime, ctime).
fn later(scratch: &Scratch, before: &Inode) -> (bool, bool) {
    let now = scratch.stat(before.ino);
    assert_eq!(now.btime_ns(), before.btime_ns());
    assert!(now.mtime_ns() >= before.mtime_ns() && now.ctime_ns() >= before.ctime_ns());
    (now.mtime_ns() > before.mtime_ns(), now.ctime_ns() > before.ctime_ns())
}

#[test]
fn what_is_new_has_one_time() {
    let scratch = Scratch::new();
    scratch.clock.advance(Duration::from_nanos(1_000_123_456));
    let now = scratch.clock.now_ns();
    let file = scratch.create(scratch.root, "f", &new(S_IFREG)).unwrap();
    assert_eq!(file.mtime_ns(), now, "to the nanosecond, as files that are written have it");
    for made in [file, scratch.create(scratch.root, "d", &new(S_IFDIR)).unwrap()] {
        for time in [made.mtime_ns(), made.btime_ns(), made.ctime_ns(), made.atime_ns()] {
            assert!((now - 1_000_000..=now).contains(&time), "the wall's time, within 1 ms");
        }
    }
}

#[test]
fn a_directorys_times_follow_its_edges() {
    let scratch = Scratch::new();
    let root = scratch.root;
    let (one, two) = (scratch.directory(root, "one"), scratch.directory(root, "two"));
    scratch.file(root, "f");
    let linked = scratch.file(root, "g");
    type Step<'a> = (&'a str, &'a [Ino], &'a dyn Fn());
    let steps: &[Step<'_>] = &[
        ("create", &[one], &|| {
            scratch.file(one, "f");
        }),
        ("link", &[two], &|| {
            scratch.link(linked, two, "g").unwrap();
        }),
        ("move", &[one, two], &|| {
            scratch.rename((one, "f"), (two, "f")).unwrap();
        }),
        ("rename", &[two], &|| {
            scratch.rename((two, "f"), (two, "h")).unwrap();
        }),
        ("replace", &[root, two], &|| {
            scratch.rename((root, "f"), (two, "h")).unwrap();
        }),
        ("exchange", &[two], &|| scratch.exchange((two, "g"), (two, "h")).unwrap()),
        ("unlink", &[two], &|| {
            scratch.unlink(two, "g").unwrap();
        }),
        ("mkdir", &[one], &|| {
            scratch.directory(one, "d");
        }),
        ("rmdir", &[one], &|| {
            scratch.remove_directory(one, "d").unwrap();
        }),
        ("chmod", &[], &|| {
            let edit = AttributeEdit { permissions: Some(0o600), ..AttributeEdit::default() };
            set(&scratch, linked, edit);
        }),
    ];
    for (what, touched, step) in steps {
        let before: Vec<Inode> = [root, one, two].map(|ino| scratch.stat(ino)).into();
        scratch.pass(SECOND);
        step();
        for before in &before {
            let is = touched.contains(&before.ino);
            assert_eq!(later(&scratch, before), (is, is), "{what}: directory {}", before.ino);
        }
    }
}

#[test]
fn a_files_times_follow_what_is_done_to_it() {
    let scratch = Scratch::new();
    let root = scratch.root;
    let file = scratch.written(root, "f", 1);
    let chmod = AttributeEdit { permissions: Some(0o600), ..AttributeEdit::default() };
    let chown = AttributeEdit { uid: Some(7), ..AttributeEdit::default() };
    let atime = AttributeEdit { atime_ns: Some(5), ..AttributeEdit::default() };
    type Step<'a> = (&'a str, (bool, bool), &'a dyn Fn());
    let steps: &[Step<'_>] = &[
        ("publish", (true, true), &|| {
            scratch.publish(file, 2, None);
        }),
        ("chmod", (false, true), &|| {
            set(&scratch, file, chmod);
        }),
        ("chown", (false, true), &|| {
            set(&scratch, file, chown);
        }),
        ("atime", (false, true), &|| {
            set(&scratch, file, atime);
        }),
        ("link", (false, true), &|| {
            scratch.link(file, root, "g").unwrap();
        }),
        ("rename", (false, true), &|| {
            scratch.rename((root, "f"), (root, "h")).unwrap();
        }),
        ("further", (false, true), &|| {
            scratch.rename((root, "g"), (root, "i")).unwrap();
        }),
        ("unlink", (false, true), &|| {
            scratch.unlink(root, "i").unwrap();
        }),
        ("xattr", (false, true), &|| {
            scratch
                .change(|tx, view, operation| {
                    let (name, value) = (b"user.a", b"1");
                    set_xattr(tx, view, operation, file, (name, value), XattrEdit::Either)
                })
                .unwrap();
        }),
        ("touch", (false, true), &|| scratch.change(|tx, view, _| touch(tx, view, file)).unwrap()),
        ("nothing", (false, false), &|| {
            set(&scratch, file, AttributeEdit::default());
        }),
        ("another file", (false, false), &|| {
            scratch.file(root, "other");
        }),
    ];
    for (what, expected, step) in steps {
        let before = scratch.stat(file);
        scratch.pass(SECOND);
        step();
        assert_eq!(later(&scratch, &before), *expected, "{what}");
    }
}

#[test]
fn a_set_time_holds_until_there_are_new_bytes() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.pass(SECOND);
    for to_ns in [0, -1, i64::MIN, i64::MAX, 1_234_567_890_123_456_789] {
        let shown = set(&scratch, file, mtime(to_ns));
        assert_eq!((shown.mtime_ns(), scratch.stat(file).mtime_ns()), (to_ns, to_ns));
        assert!(shown.ctime_ns() > NOW_NS, "ctime can not be set");
    }
    let chmod = AttributeEdit { permissions: Some(0o600), ..AttributeEdit::default() };
    assert_eq!(set(&scratch, file, chmod).mtime_ns(), 1_234_567_890_123_456_789);
    scratch.pass(SECOND);
    scratch.publish(file, 2, None);
    assert_eq!(scratch.stat(file).mtime_ns(), scratch.clock.now_ns());
    set(&scratch, file, mtime(1));
    assert_eq!(scratch.stat(file).mtime_ns(), 1, "also in the millisecond of the bytes");
}

#[test]
fn a_directorys_set_time_holds_until_an_edge_changes() {
    let scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    assert_eq!(set(&scratch, directory, mtime(1)).mtime_ns(), 1);
    assert_eq!(scratch.stat(directory).mtime_ns(), 1);
    scratch.file(directory, "f");
    assert!(scratch.stat(directory).mtime_ns() >= NOW_NS);
}

#[test]
fn an_access_time_is_what_somebody_set() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    let atime = AttributeEdit { atime_ns: Some(-5), ..AttributeEdit::default() };
    set(&scratch, file, atime);
    scratch.publish(file, 1, None);
    assert_eq!(scratch.stat(file).atime_ns(), -5);
}

#[test]
fn attributes_change_one_by_one_and_the_type_never() {
    let mut scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    let edit = AttributeEdit {
        permissions: Some(0o170_777 | 0o6000),
        gid: Some(5),
        ..AttributeEdit::default()
    };
    let shown = set(&scratch, file, edit);
    assert_eq!((shown.mode, shown.attr.uid, shown.attr.gid), (S_IFREG | 0o6777, 1000, 5));
    scratch.reopen();
    assert_eq!(scratch.stat(file), shown);
    let missing = scratch
        .change(|tx, view, operation| set_attributes(tx, view, operation, Ino(999_999), &edit));
    assert!(matches!(missing, Err(TreeError::InodeGone(_))));
}
