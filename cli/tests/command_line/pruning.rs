//! Pruning and its words. What is old enough to go is the subject of tests that move the clock.

use crate::bench::Bench;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "photos"]);
    bench.write("one/a.txt", "one");
    bench.ok(&["import", "one", "photos:"]);
    bench.write("one/a.txt", "another");
    bench.ok(&["import", "one", "photos:"]);
    bench
}

#[test]
fn what_is_young_is_not_pruned_whatever_is_asked_for() {
    let bench = bench();
    let nothing = "nothing of 'photos' is over its time (history = 30d,1y daily,monthly)\n";
    assert_eq!(bench.ok(&["history", "prune"]), nothing);
    assert_eq!(bench.ok(&["history", "prune", "photos", "--dry-run"]), nothing);
    let ran = bench.run(&["history", "prune", "photos", "--to-free", "1.5K"]);
    assert_eq!(ran.code, 6, "{}", ran.err);
    assert_eq!(
        ran.out,
        format!(
            "{nothing}1.5 KiB could not be freed: the rest is current, younger than 30 days, or \
             shown by a branch or snapshot\n"
        )
    );
    let answer = bench.json(&["history", "prune", "photos"]);
    assert_eq!((&answer["contents"], &answer["freed_bytes"]), (&0.into(), &0.into()));
    bench.ok(&["verify", "--full"]);
}

#[test]
fn words_that_mean_nothing_are_refused() {
    let bench = bench();
    let err = bench.refused(3, &["history", "prune", "photo"]);
    assert!(err.contains("no bucket named 'photo'") && err.contains("'photos'"), "{err}");
    let err = bench.refused(2, &["history", "prune", "photos@main"]);
    assert!(err.contains("is a branch of a bucket"), "{err}");
    for size in ["much", "-1", "0", "1X"] {
        let err = bench.refused(2, &["history", "prune", "--to-free", size]);
        assert!(err.contains("500M") || err.contains("unexpected"), "{err}");
    }
    let err = bench.refused(2, &["bucket", "set", "photos", "history=7d"]);
    assert!(err.contains("at least 30 days") && err.contains("transient"), "{err}");
}

#[test]
fn names_of_automatic_snapshots_are_not_for_people() {
    let bench = bench();
    for line in [
        &["snapshot", "create", "daily-2026-11-20"][..],
        &["branch", "create", "hourly-2026-11-20T18"],
    ] {
        let err = bench.refused(2, line);
        assert!(err.contains("is what an automatic snapshot is called"), "{err}");
        assert!(err.contains("choose another name"), "{err}");
    }
    bench.ok(&["snapshot", "create", "daily"]);
    assert!(bench.ok(&["snapshot", "list"]).contains("by hand"));
    assert!(bench.json(&["snapshot", "list"])["branches"][0]["automatic"].is_null());
}
