//! Help as people read it: a changed word shows up in review.

use crate::bench::Bench;

#[test]
fn the_help_of_every_command_is_as_reviewed() {
    let bench = Bench::new();
    let commands: [&[&str]; 24] = [
        &["--help"],
        &["mount", "--help"],
        &["umount", "--help"],
        &["status", "--help"],
        &["log", "--help"],
        &["cat", "--help"],
        &["restore", "--help"],
        &["deleted", "--help"],
        &["diff", "--help"],
        &["daemon", "--help"],
        &["bucket", "--help"],
        &["bucket", "create", "--help"],
        &["bucket", "list", "--help"],
        &["bucket", "show", "--help"],
        &["bucket", "set", "--help"],
        &["bucket", "rename", "--help"],
        &["bucket", "remove", "--help"],
        &["bucket", "restore", "--help"],
        &["import", "--help"],
        &["export", "--help"],
        &["verify", "--help"],
        &["gc", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ];
    for args in commands {
        let name = args.join("_").replace("--", "");
        insta::assert_snapshot!(format!("help_{name}"), bench.ok(args));
    }
}

#[test]
fn help_and_version_touch_nothing() {
    let bench = Bench::new();
    bench.ok(&["--help"]);
    bench.ok(&["--version"]);
    bench.ok(&["completions", "bash"]);
    bench.ok(&["man"]);
    assert!(!bench.data_dir().exists());
}

#[test]
fn a_wrong_command_line_is_usage() {
    let bench = Bench::new();
    insta::assert_snapshot!(bench.refused(2, &["mont", "x"]));
    bench.refused(2, &["import", "only-one"]);
    bench.refused(2, &["mount", "--threads", "0", "x"]);
}
