//! Words on the command line and in the configuration that mean nothing.

use crate::bench::Bench;

#[test]
fn an_unknown_bucket_is_refused_with_the_nearest_one() {
    let bench = Bench::with_bucket();
    let commands = [
        &["mount", "kepe", "folder"][..],
        &["import", "kept", "kepe:"],
        &["export", "kepe:", "back"],
        &["status", "kepe:note.txt"],
        &["verify", "kepe:"],
        &["bucket", "show", "kepe"],
        &["bucket", "rename", "kepe", "new"],
        &["bucket", "remove", "kepe"],
        &["history", "prune", "kepe"],
    ];
    for args in commands {
        bench.run(args).refused(3, "no bucket named 'kepe'", "did you mean 'keep'?");
    }
    assert!(!bench.at("folder").exists() && !bench.at("back").exists());
    let ran = bench.run(&["mount", "xyzzy", "folder"]);
    ran.refused(3, "no bucket named 'xyzzy'", "the buckets here: keep");
    bench.nothing_is_lost();
}

#[test]
fn an_unknown_branch_is_refused_with_the_one_there_is() {
    let bench = Bench::with_bucket();
    let message = "bucket 'keep' has no branch or snapshot 'mian'";
    bench.run(&["mount", "keep@mian", "folder"]).refused(3, message, "did you mean 'main'?");
    bench.run(&["export", "keep@mian:", "back"]).refused(3, message, "did you mean 'main'?");
    bench.nothing_is_lost();
}

#[test]
fn an_unknown_path_is_refused_with_the_nearest_name() {
    let bench = Bench::with_bucket();
    for args in [&["export", "keep:nota.txt", "back"][..], &["status", "keep:nota.txt"]] {
        let ran = bench.run(args);
        ran.refused(3, "no 'nota.txt' in bucket 'keep'", "did you mean 'note.txt'?");
    }
    let ran = bench.run(&["verify", "keep:below/nothing/at/all"]);
    let hint = "`tesfs mount keep DIR` shows what there is";
    ran.refused(3, "no 'below/nothing/at/all' in bucket 'keep'", hint);
    let ran = bench.run(&["export", "keep:note.txt/below", "back"]);
    ran.refused(4, "'note.txt' in bucket 'keep' is no directory", hint);
    bench.nothing_is_lost();
}

#[test]
fn a_bucket_that_cannot_be_is_refused_by_rule() {
    let bench = Bench::with_bucket();
    for (name, rule) in
        [("a/b", "one of / : @"), (".hidden", "begins with a dot"), ("", "is empty")]
    {
        let ran = bench.run(&["bucket", "create", name]);
        ran.refused(2, &format!("'{name}' is no name for a bucket: it "), "letters");
        assert!(ran.err.contains(rule), "{ran:#?}");
    }
    let long = "n".repeat(65);
    bench.run(&["bucket", "create", &long]).refused(2, "more than 64 bytes", "letters");
    bench.run(&["bucket", "create", "keep"]).refused(4, "'keep' exists already", "another name");
    assert_eq!(bench.buckets(), ["keep"]);
}

#[test]
fn a_typo_in_the_configuration_is_named_with_its_line_and_the_nearest_key() {
    let bench = Bench::with_bucket();
    let config = bench.write("tesfs.toml", "[performance]\n\nsyncronous = \"full\"\n");
    let path = config.display().to_string();
    for args in [&["status"][..], &["mount", "folder"], &["daemon"]] {
        let ran = bench.run(&[&["--config", &path], args].concat());
        let message = format!("unknown key `syncronous` in line 3 of {path}");
        ran.refused(2, &message, "did you mean 'synchronous'?");
    }
    let wrong = [
        ("[mount]\nread_only = 3\n", "line 2 of"),
        ("[performance]\nreaders_max = 0\n", "`readers_max` in"),
        ("[performance\n", "line 1 of"),
        ("[[mounts]]\nbucket = \"keep\"\n", "line 1 of"),
    ];
    for (text, message) in wrong {
        bench.write("tesfs.toml", text);
        let ran = bench.run(&["--config", &path, "status"]);
        ran.refused(2, message, "docs/CONFIG.md");
        assert!(ran.err.contains(&path), "{ran:#?}");
    }
    bench.write("tesfs.toml", b"\xff\xfe");
    bench.run(&["--config", &path, "status"]).refused(2, &path, "--config");
    bench.run(&["--config", "missing.toml", "status"]).refused(2, "missing.toml", "--config");
    assert!(!bench.at("folder").exists());
    bench.nothing_is_lost();
}

#[test]
fn a_command_that_does_not_exist_is_refused_with_the_nearest_one() {
    let bench = Bench::with_bucket();
    let ran = bench.run(&["mout", "folder"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.err.contains("mout") && ran.err.contains("'mount'"), "{ran:#?}");
}
