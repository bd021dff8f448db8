//! How long it takes to prune, and for how long that keeps writers waiting.
//!
//! `VERSIONS=1000000 cargo test --release -p tesfs-pathtree --test database measure_prune --
//! --ignored --nocapture`; `TMPDIR` chooses the disk.

#![expect(clippy::print_stdout, reason = "figures are what this is for")]

use std::{
    env,
    time::{Duration, Instant},
};

use tesfs_pathtree::{
    Clock, Db, DeviceId, SCHEMA,
    branch::{self, BranchError, NewBranch},
    retention::History,
    tree::{self as core, Asked, PruneCount, PruneSearch, Pruning, TreeError, View},
};

use crate::{
    measure::{Growing, begin},
    tree::{bucket, content, settings},
};

const FILES: usize = 2_500;
const SNAPSHOTS: usize = 100;
const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
#[ignore = "a measurement"]
fn measure_prune() {
    let versions: usize =
        env::var("VERSIONS").map_or(100_000, |text| text.parse().expect("a number"));
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(1_700_000_000_000_000_000);
    let path = dir.path().join("node.db");
    let db = Db::open(&path, &[SCHEMA], &settings(), clock.clone(), DeviceId([7; 32])).unwrap();
    let bucket = bucket(&db);
    let view = View::main(&bucket);
    let mut tree = Growing::new(db, view.clone());
    for _ in 0..FILES {
        tree.create(true);
    }
    let rounds = versions / FILES;
    for round in 0..rounds {
        // Twice a day: one of two goes.
        clock.advance(DAY / 2);
        tree.operation = begin(&tree);
        if round.is_multiple_of((rounds / SNAPSHOTS).max(4)) {
            snapshot(&tree.db, &bucket, &format!("s{round}"));
        }
        for files in tree.files.chunks(1000) {
            tree.db
                .write(|tx| {
                    for (_, _, ino) in files {
                        core::publish(tx, &view, tree.operation, *ino, &content(7), None)?;
                    }
                    Ok::<_, TreeError>(())
                })
                .unwrap();
        }
    }
    clock.advance(40 * DAY);
    println!("{versions} past versions of {FILES} files");
    for rule in ["forever", "30d,1y daily,monthly", "30d", "30d"] {
        run(&tree.db, &bucket, rule, clock.now_ns());
    }
}

fn snapshot(db: &Db, bucket: &tesfs_pathtree::bucket::Bucket, name: &str) {
    db.write(|tx| {
        let from = branch::require(tx, bucket, branch::MAIN)?;
        let new = NewBranch { name, from: &from, at: None, frozen: true };
        branch::create(tx, bucket, &new).map(drop)
    })
    .map_err(|err: BranchError| err)
    .unwrap();
}

fn run(db: &Db, bucket: &tesfs_pathtree::bucket::Bucket, rule: &str, now_ns: i64) {
    let pruning = Pruning {
        bucket: bucket.number,
        history: History::parse(rule).unwrap(),
        transient: tesfs_pathtree::Patterns::default(),
        through: None,
        now_ns,
    };
    let asked = Asked { is_settled: &|_, _| Ok(true), is_held: &|_, _| false };
    let (mut count, mut longest, mut pruned) =
        (PruneCount::default(), Duration::ZERO, Duration::ZERO);
    let began = Instant::now();
    let mut search = PruneSearch::default();
    while let Some(found) = db.read(|conn| search.next(conn, &pruning)).unwrap() {
        if found.is_empty() {
            continue;
        }
        let at = Instant::now();
        count += db.write(|tx| core::prune(tx, &pruning, &found, &asked)).unwrap().count;
        longest = longest.max(at.elapsed());
        pruned += at.elapsed();
    }
    println!(
        "  {rule:<24} {:>9} pruned in {:>7.2} s, {:.2} s of it writing, longest transaction {:.1} ms",
        count.contents,
        began.elapsed().as_secs_f64(),
        pruned.as_secs_f64(),
        longest.as_secs_f64() * 1e3,
    );
}
