//! Extended attributes.

use super::*;

fn set(
    scratch: &Scratch,
    ino: Ino,
    name: &[u8],
    value: &[u8],
    edit: XattrEdit,
) -> Result<(), TreeError> {
    scratch.change(|tx, view, operation| set_xattr(tx, view, operation, ino, (name, value), edit))
}

fn remove(scratch: &Scratch, ino: Ino, name: &[u8]) -> Result<(), TreeError> {
    scratch.change(|tx, view, operation| remove_xattr(tx, view, operation, ino, name))
}

fn value(scratch: &Scratch, ino: Ino, name: &[u8]) -> Option<Vec<u8>> {
    scratch.db().read(|conn| xattr(conn, &scratch.view, ino, name)).unwrap()
}

#[test]
fn values_are_set_replaced_listed_and_removed() {
    let mut scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    let other = scratch.file(scratch.root, "g");
    assert_eq!(value(&scratch, file, b"user.a"), None);
    set(&scratch, file, b"user.b", b"", XattrEdit::Either).unwrap();
    set(&scratch, file, b"user.a", b"1", XattrEdit::Create).unwrap();
    set(&scratch, file, b"user.a", b"2", XattrEdit::Replace).unwrap();
    set(&scratch, other, b"user.c", &[0xff; 70_000], XattrEdit::Either).unwrap();
    scratch.reopen();
    assert_eq!(value(&scratch, file, b"user.a").as_deref(), Some(&b"2"[..]));
    assert_eq!(value(&scratch, file, b"user.b").as_deref(), Some(&b""[..]), "empty is a value");
    assert_eq!(value(&scratch, other, b"user.c").map(|value| value.len()), Some(70_000));
    let names = |ino| scratch.db().read(|conn| xattr_names(conn, &scratch.view, ino)).unwrap();
    assert_eq!(names(file), [b"user.a".to_vec(), b"user.b".to_vec()]);
    remove(&scratch, file, b"user.a").unwrap();
    assert_eq!((value(&scratch, file, b"user.a"), names(file).len()), (None, 1));
}

#[test]
fn create_and_replace_say_what_they_found() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    let missing = set(&scratch, file, b"user.a", b"1", XattrEdit::Replace);
    assert!(matches!(missing, Err(TreeError::XattrNotFound { .. })));
    assert!(matches!(remove(&scratch, file, b"user.a"), Err(TreeError::XattrNotFound { .. })));
    set(&scratch, file, b"user.a", b"1", XattrEdit::Create).unwrap();
    let there = set(&scratch, file, b"user.a", b"2", XattrEdit::Create);
    assert!(matches!(there, Err(TreeError::XattrExists { .. })));
    remove(&scratch, file, b"user.a").unwrap();
    assert!(matches!(remove(&scratch, file, b"user.a"), Err(TreeError::XattrNotFound { .. })));
    set(&scratch, file, b"user.a", b"3", XattrEdit::Create).unwrap();
    let nobody = set(&scratch, Ino(999_999), b"user.a", b"1", XattrEdit::Either);
    assert!(matches!(nobody, Err(TreeError::InodeGone(_))));
}

#[test]
fn values_have_a_past_across_operations_and_none_within_one() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "f");
    let past = |scratch: &Scratch| scratch.number("SELECT count(*) FROM past_xattrs");
    for value in [b"1", b"2", b"3"] {
        set(&scratch, file, b"user.a", value, XattrEdit::Either).unwrap();
    }
    assert_eq!(past(&scratch), 0);
    scratch.begin();
    set(&scratch, file, b"user.a", b"4", XattrEdit::Either).unwrap();
    remove(&scratch, file, b"user.a").unwrap();
    set(&scratch, file, b"user.a", b"5", XattrEdit::Either).unwrap();
    assert_eq!(past(&scratch), 1, "3");
    scratch.see();
    remove(&scratch, file, b"user.a").unwrap();
    assert_eq!(past(&scratch), 2, "3 and 5");
    scratch.begin();
    set(&scratch, file, b"user.a", b"6", XattrEdit::Either).unwrap();
    assert_eq!(past(&scratch), 3, "that there was none is a version, too");
    assert_eq!(scratch.number("SELECT count(*) FROM past_xattrs WHERE value IS NULL"), 1);
}
