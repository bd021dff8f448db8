//! Branches and snapshots, without a mount: what is on them is imported and exported.

use std::fs;

use crate::bench::Bench;

/// A bucket with one file.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "photos"]);
    bench.write("one/a.txt", "one");
    bench.ok(&["import", "one", "photos:"]);
    bench
}

fn exported(bench: &Bench, from: &str, to: &str) -> String {
    bench.ok(&["export", &format!("{from}:a.txt"), to]);
    fs::read_to_string(bench.home().join(to)).unwrap()
}

#[test]
fn what_is_imported_into_a_branch_shows_on_no_other() {
    let bench = bench();
    bench.ok(&["snapshot", "create", "before"]);
    bench.ok(&["branch", "create", "try"]);
    bench.write("two/a.txt", "two");
    bench.ok(&["import", "two", "photos@try:"]);
    assert_eq!(exported(&bench, "photos", "main.txt"), "one");
    assert_eq!(exported(&bench, "photos@try", "try.txt"), "two");
    bench.ok(&["import", "two", "photos:"]);
    assert_eq!(exported(&bench, "photos@before", "before.txt"), "one");
    bench.ok(&["verify", "--full"]);
}

#[test]
fn a_branch_is_listed_renamed_abandoned_and_restored() {
    let bench = bench();
    bench.ok(&["branch", "create", "try"]);
    bench.ok(&["branch", "create", "further", "--from", "try"]);
    bench.ok(&["branch", "rename", "try", "tried"]);
    let names = |bench: &Bench, line: &[&str]| {
        let listed = bench.json(line)["branches"].as_array().unwrap().clone();
        let name = |one: &serde_json::Value| format!("{} of {}", one["name"], one["from"]);
        listed.iter().map(name).collect::<Vec<_>>().join(", ").replace('"', "")
    };
    let all = "main of null, tried of main, further of tried";
    assert_eq!(names(&bench, &["branch", "list"]), all);
    bench.ok(&["branch", "abandon", "tried"]);
    assert_eq!(names(&bench, &["branch", "list"]), "main of null, further of tried");
    assert_eq!(exported(&bench, "photos@further", "a"), "one", "its parent is only out of sight");
    bench.ok(&["branch", "restore", "tried"]);
    assert_eq!(names(&bench, &["branch", "list"]), all);
}

#[test]
fn what_is_no_branch_is_refused_and_nothing_changes() {
    let bench = bench();
    bench.ok(&["branch", "create", "try"]);
    bench.ok(&["snapshot", "create", "before"]);
    let shot = |name: &str, exit: i32, line: &[&str]| {
        insta::assert_snapshot!(name, bench.refused(exit, line));
    };
    shot("branch_unknown", 3, &["branch", "abandon", "tyr"]);
    shot("branch_main", 4, &["branch", "abandon", "main"]);
    shot("branch_taken", 4, &["branch", "create", "try"]);
    shot("branch_taken_by_a_snapshot", 4, &["branch", "create", "before"]);
    shot("branch_bad_name", 2, &["branch", "create", "a@b"]);
    shot("branch_from_nowhere", 3, &["branch", "create", "new", "--from", "nowhere"]);
    shot("branch_is_a_snapshot", 4, &["branch", "abandon", "before"]);
    shot("snapshot_is_a_branch", 4, &["snapshot", "remove", "try"]);
    shot("snapshot_written_to", 4, &["import", "one", "photos@before:"]);
    shot("branch_never_abandoned", 4, &["branch", "restore", "try"]);
    bench.ok(&["branch", "abandon", "try"]);
    shot("branch_abandoned", 3, &["export", "photos@try:", "out"]);
    bench.ok(&["bucket", "create", "letters"]);
    shot("branch_of_which_bucket", 2, &["branch", "list"]);
}
