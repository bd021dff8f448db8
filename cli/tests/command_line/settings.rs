//! Settings of buckets.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::bench::Bench;

/// A daemon that is killed when a test fails.
struct Daemon {
    child: Child,
    /// Open as long as it runs: it may say something at its end.
    stderr: BufReader<ChildStderr>,
}

impl Daemon {
    /// Starts one and waits until it serves.
    fn start(bench: &Bench) -> Self {
        let mut command = bench.command(&["daemon"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut daemon = Self { child, stderr };
        let mut said = daemon.stderr.by_ref().lines().map_while(Result::ok);
        assert!(said.any(|line| line.starts_with("tesfs serves")), "it ended");
        daemon
    }

    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn with_bucket() -> Bench {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "photos"]);
    bench
}

fn settings(bench: &Bench) -> Value {
    bench.json(&["bucket", "show", "photos"])["settings"].clone()
}

#[test]
fn a_new_bucket_shows_its_defaults() {
    let bench = with_bucket();
    let shown = bench.ok(&["bucket", "show", "photos"]);
    let (_, table) = shown.split_once("\n\n").unwrap();
    insta::assert_snapshot!("settings_default", table);
    let default = json!({ "value": "30d,1y daily,monthly", "set": null });
    assert_eq!(settings(&bench)["history"], default);
}

#[test]
fn what_is_set_is_shown_with_its_time_until_it_goes_back_to_the_default() {
    let bench = with_bucket();
    let said = bench.ok(&["bucket", "set", "photos", "history=forever", "transient=*.tmp, ~$*"]);
    insta::assert_snapshot!("settings_set", said);
    let found = settings(&bench);
    assert_eq!(
        (&found["history"]["value"], &found["owners"]["set"]),
        (&"forever".into(), &Value::Null)
    );
    let set = found["history"]["set"].as_str().unwrap();
    assert_eq!(found["transient"], json!({ "value": "*.tmp,~$*", "set": set }));
    let shown = bench.ok(&["bucket", "show", "photos"]);
    assert!(shown.contains("\nhistory        forever        set 20"), "{shown}");
    let said = bench.ok(&["bucket", "set", "photos", "history=forever"]);
    assert_eq!(said, "bucket 'photos' is set so already; nothing changed\n");
    assert_eq!(settings(&bench)["history"]["set"], set, "no new version");
    let changed = bench.json(&["bucket", "set", "photos", "history=default"]);
    let expected = json!({ "key": "history", "from": "forever", "to": "30d,1y daily,monthly" });
    assert_eq!(changed, json!({ "name": "photos", "changed": [expected] }));
    assert_eq!(settings(&bench)["history"]["set"], Value::Null);
}

#[test]
fn a_running_node_sets_and_shows_the_same() {
    let bench = with_bucket();
    let daemon = Daemon::start(&bench);
    bench.ok(&["bucket", "set", "photos", "owners=numeric", "snapshots=daily=7,hourly=24"]);
    let refused = bench.refused(2, &["bucket", "set", "photos", "owners=default", "history=x"]);
    assert!(refused.contains("hint: history takes"), "{refused}");
    let running = settings(&bench);
    daemon.end();
    assert_eq!(running["owners"]["value"], "numeric");
    assert_eq!(running["snapshots"]["value"], "hourly=24,daily=7");
    assert_eq!(settings(&bench), running);
}

#[test]
fn what_cannot_be_set_is_refused_with_what_can_and_nothing_is_set() {
    let bench = with_bucket();
    let before = settings(&bench);
    let cases: [(&str, i32, &[&str]); 12] = [
        ("bad_history", 2, &["photos", "history=30m,daily"]),
        ("bad_order", 2, &["photos", "history=30d,1y monthly,daily"]),
        ("bad_owners", 2, &["photos", "owners=root"]),
        ("bad_snapshots", 2, &["photos", "snapshots=often"]),
        ("bad_sync", 2, &["photos", "sync_on_close=true"]),
        ("bad_transient", 2, &["photos", "transient=*.{tmp,bak}"]),
        ("unknown_near", 2, &["photos", "owners=numeric", "histroy=forever"]),
        ("unknown_far", 2, &["photos", "colour=blue"]),
        ("no_value", 2, &["photos", "history"]),
        ("no_equals", 2, &["photos", "forever"]),
        ("twice", 2, &["photos", "owners=numeric", "history=90d", "history=forever"]),
        ("no_bucket", 3, &["fotos", "history=forever"]),
    ];
    for (name, code, args) in cases {
        let said = bench.refused(code, &[&["bucket", "set"], args].concat());
        insta::assert_snapshot!(format!("settings_{name}"), said);
        assert_eq!(settings(&bench), before, "{name}");
    }
    bench.refused(2, &["bucket", "set", "photos"]);
}
