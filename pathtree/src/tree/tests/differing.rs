//! What differs between two views.

use super::*;

fn told(scratch: &Scratch, one: &View, other: &View) -> Vec<String> {
    let path = |side: &Option<Side>| match side {
        Some(side) => side.place.names.iter().map(Name::to_string).collect::<Vec<_>>().join("/"),
        None => "-".to_owned(),
    };
    let tell = |difference: &Difference| {
        let content = if difference.may_differ_in_content() { " content" } else { "" };
        let mode = if difference.differs_in_attributes() { " attributes" } else { "" };
        format!("{} > {}{content}{mode}", path(&difference.one), path(&difference.other))
    };
    let found = scratch.db().read(|conn| differences(conn, one, other)).unwrap();
    found.iter().map(tell).collect()
}

#[test]
fn two_branches_differ_in_what_was_done_on_either() {
    let mut scratch = Scratch::new();
    let top = scratch.directory(scratch.root, "d");
    let [a, _, _] = [("a", 1), ("b", 2), ("c", 3)].map(|(n, blob)| scratch.written(top, n, blob));
    scratch.begin();
    let fork = scratch.fork("try", None);
    scratch.unlink(top, "c").unwrap();
    let main = std::mem::replace(&mut scratch.view, fork.clone());
    scratch.begin();
    scratch.publish(a, 4, None);
    scratch.rename((top, "b"), (scratch.root, "moved")).unwrap();
    scratch.written(top, "new", 5);
    let forth = ["d/a > d/a content", "- > d/c content attributes", "- > d/new content attributes"];
    let found = told(&scratch, &main, &fork);
    assert_eq!(found[..3], forth);
    assert_eq!(found[3..], ["d/b > moved"]);
    assert_eq!(told(&scratch, &fork, &main).len(), 4);
    assert_eq!(told(&scratch, &fork, &fork), [""; 0]);
    scratch.view = main;
}

#[test]
fn a_moved_directory_is_one_difference_and_a_replaced_file_is_one() {
    let scratch = Scratch::new();
    let top = scratch.directory(scratch.root, "d");
    scratch.written(top, "a", 1);
    scratch.written(scratch.root, "saved", 2);
    scratch.pass(10);
    let before = scratch.view.at(Hlc::last_of_unix_ns(scratch.clock.now_ns()));
    scratch.pass(10);
    scratch.begin();
    scratch.rename((scratch.root, "d"), (scratch.root, "e")).unwrap();
    scratch.written(scratch.root, ".tmp", 3);
    scratch.rename((scratch.root, ".tmp"), (scratch.root, "saved")).unwrap();
    let now = &scratch.view;
    assert_eq!(told(&scratch, &before, now), ["d > e", "saved > saved content"]);
    assert_eq!(told(&scratch, now, &before), ["e > d", "saved > saved content"]);
}

#[test]
fn what_was_changed_and_changed_back_is_no_difference() {
    let scratch = Scratch::new();
    scratch.written(scratch.root, "a", 1);
    scratch.pass(10);
    let before = scratch.view.at(Hlc::last_of_unix_ns(scratch.clock.now_ns()));
    scratch.pass(10);
    scratch.begin();
    scratch.rename((scratch.root, "a"), (scratch.root, "b")).unwrap();
    scratch.begin();
    scratch.rename((scratch.root, "b"), (scratch.root, "a")).unwrap();
    scratch.written(scratch.root, "gone", 2);
    scratch.begin();
    scratch.unlink(scratch.root, "gone").unwrap();
    assert_eq!(told(&scratch, &before, &scratch.view), [""; 0]);
}

/// What two views do not agree on, as a cache hears of it: the inode, and the names to drop.
fn heard(scratch: &Scratch, one: &View, other: &View) -> Vec<(Ino, Vec<String>)> {
    let heard = scratch.db().read(|conn| {
        let rows = changed_apart(conn, one, other)?;
        rows.into_iter().map(|id| apart(conn, (one, other), id)).collect::<Result<Vec<_>, _>>()
    });
    let all: Vec<Apart> = heard.unwrap().into_iter().flatten().collect();
    for apart in &all {
        assert!(apart.names.iter().all(|(parent, _)| apart.parents.contains(parent)));
    }
    let names = |apart: &Apart| apart.names.iter().map(|(_, name)| name.to_string()).collect();
    all.iter().map(|apart| (apart.ino, names(apart))).collect()
}

#[test]
fn a_cache_hears_of_every_name_that_leads_elsewhere_and_keeps_directories_that_stay() {
    let mut scratch = Scratch::new();
    let (stays, goes) =
        (scratch.directory(scratch.root, "stays"), scratch.directory(scratch.root, "goes"));
    let [a, b, same] = [("a", 1), ("b", 2), ("same", 3)].map(|(n, b)| scratch.written(stays, n, b));
    scratch.begin();
    let fork = scratch.fork("try", None);
    scratch.unlink(stays, "b").unwrap();
    let main = std::mem::replace(&mut scratch.view, fork.clone());
    scratch.begin();
    scratch.publish(a, 4, None);
    scratch.rename((scratch.root, "goes"), (stays, "went")).unwrap();
    scratch.link(same, scratch.root, "further").unwrap();
    let new = scratch.written(stays, "new", 5);
    let closed = AttributeEdit { permissions: Some(0o700), ..AttributeEdit::default() };
    scratch
        .change(|tx, view, operation| set_attributes(tx, view, operation, stays, &closed))
        .unwrap();
    let mut expected = vec![
        (stays, vec![]),
        (goes, vec!["goes".to_owned(), "went".to_owned()]),
        (a, vec!["a".to_owned()]),
        (b, vec!["b".to_owned()]),
        (same, vec!["further".to_owned()]),
        (new, vec!["new".to_owned()]),
    ];
    let sorted = |mut heard: Vec<(Ino, Vec<String>)>| {
        heard.sort();
        heard
    };
    expected.sort();
    assert_eq!(sorted(heard(&scratch, &main, &fork)), expected);
    assert_eq!(sorted(heard(&scratch, &fork, &main)), expected);
    assert_eq!(heard(&scratch, &fork, &fork), []);
    scratch.view = main;
}
