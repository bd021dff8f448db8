//! Times in names: `BUCKET@TIME` wherever `BUCKET@BRANCH` can stand.

use std::fs;

use crate::bench::Bench;

/// A bucket whose file was `one`, and then `two`; with the time between.
fn bench() -> (Bench, String) {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "photos"]);
    bench.write("one/a.txt", "one");
    bench.ok(&["import", "one", "photos:"]);
    let between = bench.now();
    bench.write("two/a.txt", "two!");
    bench.ok(&["import", "two", "photos:"]);
    (bench, between)
}

#[track_caller]
fn exported(bench: &Bench, from: &str, to: &str) -> String {
    bench.ok(&["export", &format!("{from}:a.txt"), to]);
    fs::read_to_string(bench.home().join(to)).unwrap()
}

#[test]
fn a_bucket_at_a_time_shows_what_was_there_then() {
    let (bench, between) = bench();
    assert_eq!(exported(&bench, &format!("photos@{between}"), "then"), "one");
    assert_eq!(exported(&bench, "photos@now", "now"), "two!");
    assert_eq!(exported(&bench, &format!("photos@main@{between}"), "main"), "one");
}

#[test]
fn a_branch_begins_with_what_was_there_at_a_time() {
    let (bench, between) = bench();
    bench.ok(&["branch", "create", "old", "--from", &format!("@{between}")]);
    bench.ok(&["snapshot", "create", "as-of", "--from", &between]);
    bench.ok(&["branch", "create", "new", "--from", "main"]);
    assert_eq!(exported(&bench, "photos@old", "old"), "one");
    assert_eq!(exported(&bench, "photos@as-of", "as-of"), "one");
    assert_eq!(exported(&bench, "photos@new", "new"), "two!");
    bench.ok(&["import", "two", "photos@old:"]);
    assert_eq!(exported(&bench, "photos@old", "old-now"), "two!");
    bench.ok(&["verify", "--full"]);
}

#[test]
fn a_branch_whose_name_is_a_time_is_meant_before_the_time() {
    let (bench, between) = bench();
    bench.ok(&["branch", "create", "yesterday", "--from", &format!("@{between}")]);
    assert_eq!(exported(&bench, "photos@yesterday", "branch"), "one");
}

#[test]
fn what_is_no_time_is_refused_with_how_to_say_one() {
    let (bench, _) = bench();
    bench.ok(&["branch", "create", "try"]);
    let shot = |name: &str, exit: i32, line: &[&str]| {
        insta::assert_snapshot!(name, bench.refused(exit, line));
    };
    shot("time_unknown", 3, &["export", "photos@tyr:", "out"]);
    shot("time_of_branch", 2, &["export", "photos@try@never:", "out"]);
    shot("time_to_come", 2, &["export", "photos@2999-01-01:", "out"]);
    let before = bench.refused(3, &["export", "photos@1999-12-31:", "out"]);
    let (before, made) = before.split_once("it was made at 20").unwrap();
    assert!(made.ends_with('\n'), "{made}");
    insta::assert_snapshot!("time_before_the_bucket", before);
    let past = bench.refused(4, &["import", "one", "photos@now:"]);
    assert!(past.contains("nothing can be changed in it"), "{past}");
    assert!(!bench.home().join("out").exists());
}
