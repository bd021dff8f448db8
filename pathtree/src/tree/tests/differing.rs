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
