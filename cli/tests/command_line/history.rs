//! What was: `log`, the bytes of each version, and how it comes back.

use std::process::Stdio;

use crate::bench::Bench;

/// A bucket with `letters/ada.txt` in three versions, the last removed again by hand.
pub(crate) fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "notes"]);
    for text in ["dear", "dear Ada", "dear Ada, hello"] {
        bench.write("src/letters/ada.txt", text);
        bench.ok(&["import", "src", "notes:"]);
    }
    bench
}

/// What a file's log says of each version: its name, what changed, its size, its branch.
fn told(bench: &Bench, path: &str) -> Vec<String> {
    let log = bench.json(&["log", path]);
    let versions = log["file"]["versions"].as_array().unwrap().clone();
    let tell = |one: &serde_json::Value| {
        let version = one["version"].as_str().unwrap_or("-");
        let changed: Vec<&str> =
            one["changed"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let branch = one["branch"].as_str().unwrap();
        format!("{version} {} {} {branch}", changed.join("+"), one["bytes"])
    };
    versions.iter().map(tell).collect()
}

#[test]
fn the_log_of_a_file_has_every_version_newest_first() {
    let bench = bench();
    let told = told(&bench, "notes:letters/ada.txt");
    let said: Vec<&str> = told.iter().map(String::as_str).collect();
    assert!(said[0].starts_with("v3 content"), "{said:?}");
    assert!(said[1].starts_with("v2 content"), "{said:?}");
    assert!(said[2].starts_with("v1 created"), "{said:?}");
    let log = bench.json(&["log", "notes:letters/ada.txt", "--limit", "1"]);
    let newest = &log["file"]["versions"][0];
    assert_eq!(newest["hash"].as_str().unwrap().len(), 64);
    assert_eq!((newest["bytes"].as_u64(), log["file"]["left"].as_u64()), (Some(15), Some(2)));
    assert_eq!(newest["who"]["this_device"], true);
}

#[test]
fn the_log_of_a_branch_goes_on_with_its_parents() {
    let bench = bench();
    bench.ok(&["branch", "create", "try"]);
    bench.write("src/letters/ada.txt", "on a branch");
    bench.ok(&["import", "src", "notes@try:"]);
    let branches = |path: &str| {
        let ends = |line: String| line.rsplit(' ').next().unwrap_or_default().to_owned();
        told(&bench, path).into_iter().map(ends).collect::<Vec<_>>()
    };
    assert_eq!(branches("notes@try:letters/ada.txt"), ["try", "main", "main", "main"]);
    assert_eq!(branches("notes:letters/ada.txt"), ["main", "main", "main"]);
}

#[test]
fn the_log_of_a_folder_is_grouped_by_what_was_done() {
    let bench = bench();
    let log = bench.json(&["log"]);
    let operations = log["folder"]["operations"].as_array().unwrap();
    let paths: Vec<&str> = operations
        .iter()
        .flat_map(|one| one["entries"].as_array().unwrap())
        .map(|entry| entry["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths.iter().filter(|path| **path == "letters/ada.txt").count(), 3, "{paths:?}");
    let limited = bench.json(&["log", "notes:letters", "--limit", "2"]);
    assert_eq!(limited["folder"]["operations"].as_array().unwrap().len(), 2);
    assert_eq!(limited["folder"]["more"], true);
}

#[test]
fn what_has_no_log_is_refused() {
    let bench = bench();
    insta::assert_snapshot!("log_nowhere", bench.refused(3, &["log", "notes:letters/adda.txt"]));
    insta::assert_snapshot!("log_before", {
        let said = bench.refused(3, &["log", "notes@2001-01-01:letters"]);
        said.split("it was made").next().unwrap_or_default().to_owned()
    });
}

#[test]
fn cat_writes_the_bytes_of_any_version_and_nothing_else() {
    let bench = bench();
    let path = "notes:letters/ada.txt";
    assert_eq!(bench.ok(&["cat", path]), "dear Ada, hello");
    assert_eq!(bench.ok(&["cat", path, "--version", "v1"]), "dear");
    assert_eq!(bench.ok(&["cat", path, "--version", "2", "--json"]), "dear Ada");
    let log = bench.json(&["log", path]);
    let hash = log["file"]["versions"][2]["hash"].as_str().unwrap();
    assert_eq!(bench.ok(&["cat", path, "--version", &hash[..8]]), "dear");
    let between = bench.now();
    bench.write("src/letters/ada.txt", "later");
    bench.ok(&["import", "src", "notes:"]);
    assert_eq!(bench.ok(&["cat", path]), "later");
    assert_eq!(bench.ok(&["cat", path, "--at", &between]), "dear Ada, hello");
    assert_eq!(bench.ok(&["cat", &format!("notes@{between}:letters/ada.txt")]), "dear Ada, hello");
    bench.ok(&["snapshot", "create", "kept"]);
    assert_eq!(bench.ok(&["cat", path, "--at", "kept"]), "later");
}

#[test]
fn cat_of_a_large_file_is_whole_and_may_be_left_early() {
    let bench = bench();
    let large: Vec<u8> =
        (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    bench.write("large/large.bin", &large);
    bench.ok(&["import", "large", "notes:"]);
    let output = bench.command(&["cat", "notes:large.bin"]).output().unwrap();
    assert!(output.stdout == large, "{} bytes", output.stdout.len());
    let mut command = bench.command(&["cat", "notes:large.bin"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn versions_that_are_none_are_refused() {
    let bench = bench();
    let shot = |name: &str, exit: i32, line: &[&str]| {
        insta::assert_snapshot!(name, bench.refused(exit, line));
    };
    let path = "notes:letters/ada.txt";
    shot("version_unknown", 3, &["cat", path, "--version", "v9"]);
    shot("version_of_another_file", 3, &["cat", path, "--version", "0123456789"]);
    shot("version_no_word", 2, &["cat", path, "--version", "newest"]);
    shot("cat_a_folder", 4, &["cat", "notes:letters"]);
    shot("cat_two_ways", 2, &["cat", path, "--version", "v1", "--at", "yesterday"]);
}

#[test]
fn an_earlier_version_is_restored_as_a_new_one() {
    let bench = bench();
    let path = "notes:letters/ada.txt";
    let said = bench.ok(&["restore", path, "--version", "v1"]);
    assert!(said.starts_with("restored 'notes:letters/ada.txt' as it was at 20"), "{said}");
    assert!(said.ends_with(": 1 file\n"), "{said}");
    assert_eq!(bench.ok(&["cat", path]), "dear");
    let told = told(&bench, path);
    assert!(told[0].starts_with("v4 content"), "{told:?}");
    assert_eq!(told.len(), 4, "what was there meanwhile stays: {told:?}");
    let again = bench.ok(&["restore", path, "--version", "v1"]);
    assert!(again.ends_with(" already\n"), "{again}");
    let newest = &bench.json(&["log"])["folder"]["operations"][0];
    assert_eq!(newest["who"]["what"], "restore");
    assert_eq!(newest["count"], 1);
    bench.ok(&["verify", "--full"]);
}

#[test]
fn a_folder_is_restored_as_of_a_time_or_beside() {
    let bench = bench();
    let between = bench.now();
    bench.write("src/letters/ada.txt", "later");
    bench.write("src/letters/bob.txt", "dear Bob");
    bench.ok(&["import", "src", "notes:"]);
    bench.ok(&["restore", "notes:letters", "--at", &between, "--to", "notes:then/letters"]);
    assert_eq!(bench.ok(&["cat", "notes:then/letters/ada.txt"]), "dear Ada, hello");
    assert_eq!(bench.ok(&["cat", "notes:letters/ada.txt"]), "later");
    bench.refused(3, &["cat", "notes:then/letters/bob.txt"]);
    bench.ok(&["restore", &format!("notes@{between}:letters")]);
    assert_eq!(bench.ok(&["cat", "notes:letters/ada.txt"]), "dear Ada, hello");
    assert_eq!(bench.ok(&["cat", "notes:letters/bob.txt"]), "dear Bob");
    bench.ok(&["verify", "--full"]);
}

#[test]
fn what_can_not_be_restored_is_refused_and_nothing_changes() {
    let bench = bench();
    bench.write("src/letters/bob.txt", "dear Bob");
    bench.ok(&["import", "src", "notes:"]);
    bench.ok(&["snapshot", "create", "kept"]);
    let shot = |name: &str, exit: i32, line: &[&str]| {
        insta::assert_snapshot!(name, bench.refused(exit, line));
    };
    let path = "notes:letters/ada.txt";
    shot("restore_what", 2, &["restore", path]);
    shot("restore_nothing", 3, &["restore", "notes:letters/adda.txt"]);
    let bob = "notes:letters/bob.txt";
    shot("restore_onto", 4, &["restore", path, "--version", "v1", "--to", bob]);
    shot(
        "restore_below_a_file",
        4,
        &["restore", path, "--version", "v1", "--to", &format!("{bob}/x")],
    );
    shot("restore_to_a_snapshot", 4, &["restore", path, "--version", "v1", "--to", "notes@kept:x"]);
    assert_eq!(bench.ok(&["cat", bob]), "dear Bob");
    assert_eq!(bench.ok(&["deleted"]), "nothing was removed from notes:\n");
}

#[test]
fn a_hash_that_begins_several_versions_is_refused_with_them() {
    let bench = bench();
    // The hashes of both begin with 0f4c.
    for text in ["131", "251"] {
        bench.write("src/letters/ada.txt", text);
        bench.ok(&["import", "src", "notes:"]);
    }
    let path = "notes:letters/ada.txt";
    insta::assert_snapshot!(
        "version_ambiguous",
        bench.refused(2, &["cat", path, "--version", "0f4c"])
    );
}

#[test]
fn two_states_are_compared_line_by_line_or_by_size_and_hash() {
    let bench = bench();
    bench.write("src/letters/lines.txt", "one\ntwo\nthree\n");
    bench.write("src/letters/raw.bin", b"\xff\x00\x01");
    bench.ok(&["import", "src", "notes:"]);
    bench.ok(&["branch", "create", "try"]);
    bench.write("src/letters/lines.txt", "one\n2\nthree\n");
    bench.write("src/letters/raw.bin", b"\xff\x00\x02\x03");
    bench.write("src/new.txt", "new\n");
    bench.ok(&["import", "src", "notes@try:"]);
    insta::assert_snapshot!("diff_branches", bench.ok(&["diff", "main", "try"]));
    insta::assert_snapshot!("diff_stat", bench.ok(&["diff", "notes", "notes@try", "--stat"]));
    insta::assert_snapshot!("diff_back", bench.ok(&["diff", "try", "main", "notes:new.txt"]));
    let same = bench.ok(&["diff", "main", "now", "notes:letters"]);
    assert!(same.starts_with("nothing differs between notes and notes@20"), "{same}");
}

#[test]
fn states_that_can_not_be_compared_are_refused() {
    let bench = bench();
    bench.ok(&["bucket", "create", "photos"]);
    insta::assert_snapshot!("diff_buckets", bench.refused(2, &["diff", "notes", "photos"]));
    let unknown = bench.refused(3, &["diff", "main", "tyr", "--bucket", "notes"]);
    insta::assert_snapshot!("diff_unknown", unknown);
}

#[test]
fn cat_of_what_was_removed_says_when_and_how_to_see_it() {
    let bench = bench();
    for _ in 0..3 {
        bench.ok(&["undo"]);
    }
    let path = "notes:letters/ada.txt";
    let said = bench.refused(3, &["cat", path]);
    assert!(said.contains("'letters/ada.txt' in bucket 'notes' was removed, 20"), "{said}");
    let at = said.split("--at ").nth(1).unwrap().split('`').next().unwrap();
    assert!(bench.ok(&["cat", path, "--at", at]).starts_with("dear"));
    bench.ok(&["restore", path]);
    assert!(bench.ok(&["cat", path]).starts_with("dear"));
}
