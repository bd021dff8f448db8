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
    shot("switch_without_a_mount", 3, &["switch", "try"]);
    shot("switch_of_another_folder", 3, &["switch", "try", "one"]);
    bench.ok(&["branch", "abandon", "try"]);
    shot("branch_abandoned", 3, &["export", "photos@try:", "out"]);
    bench.ok(&["bucket", "create", "letters"]);
    shot("branch_of_which_bucket", 2, &["branch", "list"]);
}

#[test]
fn a_removed_snapshot_is_restored() {
    let bench = bench();
    bench.ok(&["snapshot", "create", "then"]);
    bench.ok(&["branch", "create", "try"]);
    bench.ok(&["branch", "abandon", "try"]);
    let said = bench.ok(&["snapshot", "remove", "then"]);
    assert!(said.contains("`tesfs snapshot restore then` brings it back"), "{said}");
    bench.refused(3, &["export", "photos@then:", "out"]);
    let shot = |name: &str, exit: i32, line: &[&str]| {
        insta::assert_snapshot!(name, bench.refused(exit, line));
    };
    shot("snapshot_restored_as_a_branch", 4, &["branch", "restore", "then"]);
    shot("branch_restored_as_a_snapshot", 4, &["snapshot", "restore", "try"]);
    shot("snapshot_never_removed", 3, &["snapshot", "restore", "than"]);
    bench.ok(&["snapshot", "restore", "then"]);
    assert_eq!(exported(&bench, "photos@then", "then.txt"), "one");
}

#[test]
fn what_versions_share_is_told() {
    let bench = bench();
    let shared = |bench: &Bench| bench.json(&["status"])["stored"].clone();
    assert_eq!(shared(&bench)["shared_bytes"], 0);
    bench.write("two/b.txt", "longer than one");
    bench.ok(&["import", "two", "photos:"]);
    bench.ok(&["restore", "photos:b.txt", "--at", "now", "--to", "photos:copy.txt"]);
    let stored = shared(&bench);
    assert_eq!((stored["bytes"].as_u64(), stored["shared_bytes"].as_u64()), (Some(18), Some(15)));
    let said = bench.ok(&["status"]);
    assert!(said.contains("18 B stored for all versions; 15 B more are shared"), "{said}");
}
