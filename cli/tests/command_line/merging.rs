//! Merge, conflicts, the operation log, undo and redo, without a mount.

use std::fs;

use crate::bench::Bench;

/// A bucket with a text, and a branch `try` on which another line of it was changed.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "photos"]);
    import(&bench, "photos", "one\nmiddle\nthree\n");
    bench.ok(&["branch", "create", "try"]);
    import(&bench, "photos@try", "ONE\nmiddle\nthree\n");
    bench
}

fn import(bench: &Bench, to: &str, text: &str) {
    let folder = format!("src-{}", blake(text));
    bench.write(&format!("{folder}/a.txt"), text);
    bench.ok(&["import", &folder, &format!("{to}:")]);
}

/// A name that differs for every text.
fn blake(text: &str) -> usize {
    text.bytes().fold(7, |sum, byte| (sum * 31 + usize::from(byte)) % 1_000_003)
}

fn text(bench: &Bench, from: &str) -> String {
    let to = bench.home().join("out.txt");
    if to.exists() {
        fs::remove_file(&to).unwrap();
    }
    bench.ok(&["export", &format!("{from}:a.txt"), "out.txt"]);
    fs::read_to_string(to).unwrap()
}

#[test]
fn a_merge_brings_lines_over_and_undo_takes_them_back() {
    let bench = bench();
    import(&bench, "photos", "one\nmiddle\nTHREE\n");
    let rehearsed = bench.json(&["merge", "try", "--dry-run"]);
    assert_eq!(rehearsed["applied"]["lines_merged"], 1);
    assert_eq!(text(&bench, "photos"), "one\nmiddle\nTHREE\n", "it was a rehearsal");
    let said = bench.ok(&["merge", "try"]);
    assert!(said.starts_with("merged from 'try' into 'main': 1 edited (1 line by line)"), "{said}");
    assert_eq!(text(&bench, "photos"), "ONE\nmiddle\nTHREE\n");
    let again = bench.ok(&["merge", "try"]);
    assert_eq!(again, "'main' has everything that 'try' has already\n");
    bench.ok(&["undo"]);
    assert_eq!(text(&bench, "photos"), "one\nmiddle\nTHREE\n");
    bench.ok(&["redo"]);
    assert_eq!(text(&bench, "photos"), "ONE\nmiddle\nTHREE\n");
    bench.ok(&["merge", "--abort"]);
    assert_eq!(text(&bench, "photos"), "one\nmiddle\nTHREE\n");
    bench.ok(&["verify", "--full"]);
}

#[test]
fn what_both_changed_is_a_conflict_until_somebody_decides() {
    for (keep, shows, files) in
        [("--ours", "ours\n", 1), ("--theirs", "ONE\nmiddle\nthree\n", 1), ("--both", "ours\n", 2)]
    {
        let bench = bench();
        import(&bench, "photos", "ours\n");
        let ran = bench.run(&["merge", "try"]);
        assert_eq!(ran.code, 6, "{}", ran.out);
        let said = bench.ok(&["status"]);
        assert!(said.contains("1 conflict in 'photos' to decide"), "{said}");
        let listed = bench.json(&["conflicts", "list"]);
        assert_eq!(listed["conflicts"][0]["path"], "a.txt");
        let number = listed["conflicts"][0]["number"].to_string();
        bench.ok(&["conflicts", "resolve", &number, keep]);
        assert_eq!(text(&bench, "photos"), shows);
        assert_eq!(bench.json(&["bucket", "show", "photos"])["files"], files);
        assert_eq!(bench.ok(&["conflicts", "list"]), "no conflicts on 'main'\n");
        bench.ok(&["verify", "--full"]);
    }
}

#[test]
fn a_policy_decides_at_once() {
    for (side, shows) in [("--ours", "ours\n"), ("--theirs", "ONE\nmiddle\nthree\n")] {
        let bench = bench();
        import(&bench, "photos", "ours\n");
        bench.ok(&["merge", "try", side]);
        assert_eq!(text(&bench, "photos"), shows);
        assert_eq!(bench.ok(&["conflicts", "list"]), "no conflicts on 'main'\n");
    }
}

#[test]
fn an_operation_is_undone_by_the_name_that_the_log_shows() {
    let bench = bench();
    let log = bench.json(&["op", "log"]);
    let import = log["operations"][0]["id"].as_str().unwrap().to_owned();
    bench.ok(&["undo", &import[..6]]);
    let log = bench.json(&["op", "log"]);
    assert_eq!(log["operations"][0]["undoes"], import);
    assert_eq!(log["operations"][1]["undone_by"], log["operations"][0]["id"]);
    assert_eq!(bench.json(&["bucket", "show", "photos"])["files"], 0);
    let said = bench.refused(4, &["undo", &import]);
    assert!(said.contains("was undone by"), "{said}");
}

#[test]
fn an_operation_tells_what_it_did() {
    let bench = bench();
    bench.ok(&["merge", "try"]);
    let log = bench.json(&["op", "log"]);
    let merge = log["operations"][0]["id"].as_str().unwrap().to_owned();
    let shown = bench.json(&["op", "show", &merge[..6]]);
    assert_eq!(shown["operation"]["what"], "merge try");
    let entries = shown["entries"].as_array().unwrap();
    let text = entries.iter().find(|entry| entry["path"] == "a.txt").unwrap();
    assert_eq!(text["changed"][0], "content");
    assert_eq!(shown["left"], 0);
    let said = bench.ok(&["op", "show", &merge]);
    assert!(said.contains("merge try, by uid") && said.contains("a.txt"), "{said}");
    assert!(bench.refused(3, &["op", "show", "zzz"]).contains("op log"));
}

#[test]
fn what_can_not_be_merged_or_undone_is_refused() {
    let bench = bench();
    let shot = |name: &str, exit: i32, line: &[&str]| {
        insta::assert_snapshot!(name, bench.refused(exit, line));
    };
    shot("merge_itself", 4, &["merge", "main"]);
    shot("merge_unknown", 3, &["merge", "tyr"]);
    shot("merge_into_unknown", 3, &["merge", "try", "--into", "mian"]);
    shot("undo_unknown", 3, &["undo", "zzz"]);
    shot("redo_nothing", 4, &["redo"]);
    shot("conflict_unknown", 3, &["conflicts", "resolve", "7", "--ours"]);
    bench.ok(&["snapshot", "create", "before"]);
    shot("merge_into_a_snapshot", 4, &["merge", "try", "--into", "before"]);
    bench.ok(&["undo"]);
    shot("undo_nothing", 4, &["undo"]);
}
