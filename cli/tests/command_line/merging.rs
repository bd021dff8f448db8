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

/// The bucket with a conflict about `a.txt`, `main`'s newer.
fn conflicted() -> Bench {
    let bench = bench();
    import(&bench, "photos", "ours\n");
    let ran = bench.run(&["merge", "try"]);
    assert_eq!(ran.code, 6, "{}", ran.out);
    bench
}

fn number(bench: &Bench) -> String {
    bench.json(&["conflicts", "list"])["conflicts"][0]["number"].to_string()
}

const NONE: &str = "no conflicts on 'main'\n";

#[test]
fn what_both_changed_is_a_conflict_until_somebody_decides() {
    for (keep, shows, files) in
        [("--ours", "ours\n", 1), ("--theirs", "ONE\nmiddle\nthree\n", 1), ("--both", "ours\n", 2)]
    {
        let bench = conflicted();
        let said = bench.ok(&["status"]);
        assert!(said.contains("1 conflict in 'photos' to decide"), "{said}");
        let listed = bench.json(&["conflicts", "list"]);
        assert_eq!(listed["conflicts"][0]["path"], "a.txt");
        assert_eq!(listed["conflicts"][0]["shows"], "ours");
        // By its number as by its path.
        let number = number(&bench);
        let which = if keep == "--both" { number.as_str() } else { "photos:a.txt" };
        bench.ok(&["conflicts", "resolve", which, keep]);
        assert_eq!(text(&bench, "photos"), shows);
        assert_eq!(bench.json(&["bucket", "show", "photos"])["files"], files);
        assert_eq!(bench.ok(&["conflicts", "list"]), NONE);
        bench.ok(&["verify", "--full"]);
    }
}

#[test]
fn a_conflict_that_was_decided_is_opened_by_undo_and_closed_by_redo() {
    let bench = conflicted();
    let before = bench.json(&["conflicts", "list"]);
    for keep in ["--ours", "--theirs", "--both"] {
        bench.ok(&["conflicts", "resolve", "photos:a.txt", keep]);
        let decided = text(&bench, "photos");
        let said = bench.ok(&["undo"]);
        assert!(said.starts_with("undone: resolve of "), "{said}");
        assert_eq!(bench.json(&["conflicts", "list"]), before, "{keep}");
        assert_eq!(text(&bench, "photos"), "ours\n");
        bench.ok(&["redo"]);
        assert_eq!(
            (bench.ok(&["conflicts", "list"]).as_str(), text(&bench, "photos")),
            (NONE, decided)
        );
        bench.ok(&["undo"]);
    }
    bench.ok(&["verify", "--full"]);
}

#[test]
fn what_a_person_made_of_a_file_is_the_answer() {
    let bench = conflicted();
    let path = "photos:a.txt";
    let refused = bench.refused(4, &["conflicts", "resolve", path]);
    insta::assert_snapshot!("conflict_untouched", refused);
    import(&bench, "photos", "both of it\n");
    assert_eq!(bench.json(&["conflicts", "show", path])["conflicts"][0]["touched"], true);
    bench.ok(&["conflicts", "resolve", path]);
    assert_eq!(text(&bench, "photos"), "both of it\n");
    assert_eq!(bench.ok(&["conflicts", "list"]), NONE);
    bench.ok(&["undo"]);
    let answer = "another\n".repeat(10_000);
    bench.write("answer.txt", &answer);
    bench.ok(&["conflicts", "resolve", path, "--with", "answer.txt"]);
    assert_eq!(text(&bench, "photos"), answer);
    assert_eq!(bench.ok(&["conflicts", "list"]), NONE);
    bench.ok(&["verify", "--full"]);
}

#[test]
fn the_sides_of_a_conflict_are_told_with_what_differs() {
    let bench = conflicted();
    let shown = bench.json(&["conflicts", "show", "photos:a.txt"]);
    let conflict = &shown["conflicts"][0];
    let told = |side: &str| {
        let side = &conflict[side];
        let hash = side["hash"].as_str().unwrap().len();
        let (branch, what) = (&side["branch"], &side["who"]["what"]);
        format!("{branch} {what} {} {} {hash}", side["bytes"], side["shows"]).replace('"', "")
    };
    assert_eq!(told("ours"), "main mount 5 true 64");
    assert_eq!(told("theirs"), "try mount 17 false 64");
    assert_eq!(told("base"), "main mount 17 false 64");
    assert_eq!(conflict["found_by"]["what"], "merge try");
    let patch = "--- ours/a.txt\n+++ theirs/a.txt\n@@ -1 +1,3 @@\n-ours\n+ONE\n+middle\n+three\n";
    assert_eq!(conflict["patch"], patch);
    let number = number(&bench);
    let all = bench.ok(&["conflicts", "show"]);
    for line in [["conflicts", "show", "photos:a.txt"], ["conflicts", "show", &number]] {
        assert_eq!(bench.ok(&line), all);
    }
    assert!(all.contains(patch.trim_end()) && all.contains("shows"), "{all}");
}

#[test]
fn two_files_of_one_name_are_decided_by_removing_one() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "photos"]);
    bench.ok(&["branch", "create", "try"]);
    import(&bench, "photos@try", "theirs\n");
    import(&bench, "photos", "ours\n");
    assert_eq!(bench.run(&["merge", "try"]).code, 6);
    let listed = bench.json(&["conflicts", "show", "photos:a.txt"]);
    let conflict = &listed["conflicts"][0];
    assert_eq!(conflict["kind"], "name");
    assert_eq!(conflict["theirs"]["path"], "a.txt", "it is older");
    assert!(conflict["ours"]["path"].as_str().unwrap().starts_with("a (conflict "), "{conflict}");
    for (keep, shows) in [("--ours", "ours\n"), ("--theirs", "theirs\n")] {
        bench.ok(&["conflicts", "resolve", "photos:a.txt", keep]);
        assert_eq!(bench.ok(&["cat", "photos:a.txt"]), shows);
        assert_eq!(bench.json(&["bucket", "show", "photos"])["files"], 1);
        bench.ok(&["undo"]);
        assert_eq!(bench.json(&["bucket", "show", "photos"])["files"], 2);
    }
    bench.ok(&["verify", "--full"]);
}

#[test]
fn only_a_merge_is_aborted() {
    let bench = conflicted();
    bench.ok(&["conflicts", "resolve", "photos:a.txt", "--theirs"]);
    let log = bench.json(&["op", "log"]);
    let id = |nth: usize| log["operations"][nth]["id"].as_str().unwrap().to_owned();
    let said = bench.refused(4, &["merge", "--abort"]);
    assert!(said.contains("is no merge: it is `resolve` of 20") && said.contains(&id(0)), "{said}");
    assert!(said.contains(&format!("hint: `tesfs undo {}` takes the last merge back", id(1))));
    assert_eq!(text(&bench, "photos"), "ONE\nmiddle\nthree\n", "nothing was done");
    bench.ok(&["undo"]);
    bench.ok(&["merge", "--abort"]);
    assert_eq!(bench.ok(&["conflicts", "list"]), NONE);
    let said = bench.refused(4, &["merge", "--abort"]);
    assert!(said.contains("it is `mount`") && said.contains("no merge is in force"), "{said}");
    assert_eq!(text(&bench, "photos"), "ours\n");
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
    shot("conflict_nowhere", 3, &["conflicts", "resolve", "photos:a.txt", "--ours"]);
    shot("conflict_shown_nowhere", 3, &["conflicts", "show", "photos:no/such"]);
    shot("conflict_two_ways", 2, &["conflicts", "resolve", "1", "--ours", "--both"]);
    bench.ok(&["snapshot", "create", "before"]);
    shot("merge_into_a_snapshot", 4, &["merge", "try", "--into", "before"]);
    bench.ok(&["undo"]);
    shot("undo_nothing", 4, &["undo"]);
}

#[test]
fn what_can_not_be_decided_is_refused_and_nothing_changes() {
    let bench = conflicted();
    let shot = |name: &str, exit: i32, line: &[&str]| {
        insta::assert_snapshot!(name, bench.refused(exit, line));
    };
    let path = "photos:a.txt";
    shot("conflict_mistyped", 3, &["conflicts", "resolve", "photos:A.txt", "--ours"]);
    shot("conflict_mistyped_number", 3, &["conflicts", "show", "99"]);
    shot("conflict_with_nothing", 3, &["conflicts", "resolve", path, "--with", "nowhere.txt"]);
    bench.write("folder/x", "");
    shot("conflict_with_a_folder", 4, &["conflicts", "resolve", path, "--with", "folder"]);
    bench.ok(&["snapshot", "create", "then"]);
    shot("conflict_of_a_snapshot", 3, &["conflicts", "resolve", "photos@then:a.txt", "--ours"]);
    assert_eq!(bench.json(&["conflicts", "list"])["conflicts"].as_array().unwrap().len(), 1);
    assert_eq!(text(&bench, "photos"), "ours\n");
}

#[test]
fn names_that_differ_only_in_case_are_warned_about_and_kept() {
    let bench = bench();
    bench.write("there/A.txt", "there");
    bench.write("there/sub/e\u{301}t\u{e9}", "there");
    bench.ok(&["import", "there", "photos@try:"]);
    bench.write("here/sub/\u{e9}t\u{e9}", "here");
    bench.write("here/README", "here");
    bench.ok(&["import", "here", "photos:"]);
    bench.write("more/readme", "there");
    bench.ok(&["import", "more", "photos@try:"]);
    let rehearsed = bench.json(&["merge", "try", "--dry-run"]);
    let told = |answer: &serde_json::Value| answer["applied"]["alike"].as_array().unwrap().clone();
    assert_eq!(told(&rehearsed).len(), 3, "{rehearsed}");
    let said = bench.ok(&["merge", "try"]);
    assert!(said.contains("warning: 3 pairs of names that"), "{said}");
    assert!(said.contains("'README' and 'readme' in / differ only in case"), "{said}");
    assert!(said.contains("in sub have the same letters in two encodings"), "{said}");
    let names = ["README", "readme", "a.txt", "A.txt", "sub/\u{e9}t\u{e9}", "sub/e\u{301}t\u{e9}"];
    for path in names {
        bench.ok(&["cat", &format!("photos:{path}")]);
    }
}

#[test]
fn the_log_says_what_a_merge_brought() {
    let bench = bench();
    bench.write("more/new/b.txt", "new");
    bench.ok(&["import", "more", "photos@try:"]);
    bench.ok(&["merge", "try"]);
    let changed = |path: &str| {
        let log = bench.json(&["log", path]);
        log["file"]["versions"][0]["changed"].to_string().replace('"', "")
    };
    assert_eq!(changed("photos:new/b.txt"), "[merged from try]");
    assert_eq!(changed("photos:a.txt"), "[content,merged from try]");
    for line in [bench.ok(&["log", "photos:new"]), bench.ok(&["op", "show", &newest(&bench)])] {
        assert!(line.contains("new/b.txt  3 B  merged from try\n"), "{line}");
        assert!(!line.contains("restored"), "{line}");
    }
}

/// The id of the newest operation.
fn newest(bench: &Bench) -> String {
    let log = bench.json(&["op", "log"]);
    log["operations"][0]["id"].as_str().unwrap().to_owned()
}
