//! Buckets, without a mount.

use crate::bench::Bench;

#[test]
fn a_bucket_is_made_listed_renamed_removed_and_restored() {
    let bench = Bench::new();
    let said = bench.ok(&["bucket", "create", "photos"]);
    assert_eq!(said, "bucket 'photos' is made; `tesfs mount photos DIR` shows it as a folder\n");
    bench.ok(&["bucket", "rename", "photos", "Our pictures"]);
    let listed = bench.json(&["bucket", "list"]);
    assert_eq!(listed["buckets"][0]["name"], "Our pictures");
    bench.ok(&["bucket", "remove", "Our pictures"]);
    assert_eq!(bench.json(&["bucket", "list"])["buckets"].as_array().unwrap().len(), 0);
    assert_eq!(bench.json(&["bucket", "list", "--all"])["buckets"].as_array().unwrap().len(), 1);
    let said = bench.refused(3, &["bucket", "show", "Our pictures"]);
    assert!(said.contains("bucket restore Our pictures"), "{said}");
    bench.ok(&["bucket", "restore", "Our pictures"]);
    assert_eq!(bench.json(&["bucket", "list"])["buckets"][0]["name"], "Our pictures");
}

#[test]
fn the_table_of_buckets_reads_well() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "photos"]);
    bench.ok(&["bucket", "create", "letters"]);
    bench.write("src/a.txt", "hello");
    bench.ok(&["import", "src", "letters:"]);
    insta::assert_snapshot!(bench.ok(&["bucket", "list"]));
}

#[test]
fn a_taken_name_a_bad_name_and_an_unknown_one_are_refused() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "photos"]);
    insta::assert_snapshot!("bucket_taken", bench.refused(4, &["bucket", "create", "photos"]));
    insta::assert_snapshot!("bucket_bad_name", bench.refused(2, &["bucket", "create", "a/b"]));
    insta::assert_snapshot!("bucket_unknown", bench.refused(3, &["bucket", "show", "fotos"]));
    insta::assert_snapshot!("bucket_strange", bench.refused(3, &["bucket", "remove", "zzz"]));
    insta::assert_snapshot!("bucket_branch", bench.refused(2, &["bucket", "show", "photos@try"]));
    insta::assert_snapshot!("bucket_never", bench.refused(3, &["bucket", "restore", "never"]));
}

#[test]
fn a_bucket_shows_what_is_in_it() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "photos"]);
    bench.write("src/a.txt", "hello");
    bench.write("src/deep/b.txt", "world!");
    bench.ok(&["import", "src", "photos:2024"]);
    let shown = bench.json(&["bucket", "show", "photos"]);
    assert_eq!((&shown["files"], &shown["bytes"]), (&2.into(), &11.into()));
    assert_eq!(shown["mounted_at"], serde_json::Value::Null);
}

#[test]
fn without_a_data_directory_commands_say_how_to_begin() {
    let bench = Bench::new();
    insta::assert_snapshot!(bench.refused(3, &["status"]));
    assert!(!bench.data_dir().exists());
}

#[test]
fn errors_are_json_when_asked_for() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "photos"]);
    let said = bench.refused(3, &["--json", "bucket", "show", "fotos"]);
    let error: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(error["error"]["exit"], "not-found");
    assert_eq!(error["error"]["hint"], "did you mean 'photos'?");
}
