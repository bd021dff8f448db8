//! Pruning: what goes, what stays, and that all that is kept shows what it showed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    model::{Model, Pair, Step, arb_branching_step, config},
    *,
};
use crate::{pattern::Patterns, retention::History};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn pruning(scratch: &Scratch, history: &str) -> Pruning {
    Pruning {
        bucket: scratch.view.bucket,
        history: History::parse(history).unwrap(),
        transient: Patterns::default(),
        through: None,
        now_ns: scratch.clock.now_ns(),
    }
}

/// Everything may be lost to a power cut but these.
const ALL_SETTLED: Asked<'static> = Asked { is_settled: &|_, _| Ok(true), is_held: &|_, _| false };

/// Prunes all that may go, so many in a transaction; opens the database again after each.
fn prune_in_steps(scratch: &mut Scratch, pruning: &Pruning, step: usize) -> Pruned {
    let mut all = Pruned::default();
    let mut search = PruneSearch::default();
    while let Some(found) = scratch.db().read(|conn| search.next(conn, pruning)).unwrap() {
        for few in found.chunks(step) {
            let done = scratch.db().write(|tx| prune(tx, pruning, few, &ALL_SETTLED)).unwrap();
            all.count += done.count;
            all.dropped.extend(done.dropped);
            if step < 1000 {
                scratch.reopen();
                invariants::check(scratch.db(), &main_view(scratch));
            }
        }
    }
    all
}

fn prune_all(scratch: &mut Scratch, pruning: &Pruning) -> Pruned {
    prune_in_steps(scratch, pruning, 1000)
}

fn main_view(scratch: &Scratch) -> View {
    let bucket = scratch.db().read(|conn| bucket::find(conn, "photos")).unwrap().unwrap();
    View::main(&bucket)
}

impl Scratch {
    /// A new content, as an operation of its own, after so much time.
    fn later(&self, millis: u64, ino: Ino, blob: i64) {
        self.pass(millis);
        self.begin();
        self.publish(ino, blob, None);
    }

    fn now(&self) -> Hlc {
        self.db().write(|tx| Ok::<_, TreeError>(tx.next_stamp().hlc)).unwrap()
    }

    fn kept(&self, at: Hlc) -> Option<Hlc> {
        self.db().read(|conn| nearest_kept(conn, &self.view, at)).unwrap()
    }

    fn blob_at(&self, ino: Ino, at: Hlc) -> Option<i64> {
        let found = self.db().read(|conn| inode(conn, &self.view.at(at), ino)).unwrap();
        found.and_then(|found| found.blob).map(|blob| blob.0)
    }

    fn blobs_of(&self, ino: Ino) -> Vec<i64> {
        let versions = self.db().read(|conn| contents(conn, &self.view, ino)).unwrap();
        versions.iter().filter_map(|version| version.blob).map(|blob| blob.0).collect()
    }
}

#[test]
fn the_last_version_of_each_day_stays_and_then_of_each_month() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    let mut readings = Vec::new();
    for blob in 2..100 {
        scratch.later(8 * HOUR_MS, file, blob);
        readings.push((scratch.now(), blob));
    }
    scratch.pass(40 * DAY_MS);
    let rule = pruning(&scratch, "30d,1y daily,monthly");
    let pruned = prune_all(&mut scratch, &rule);
    // Three a day for 33 days, of which the last one stays.
    assert_eq!((pruned.count.contents, pruned.dropped.len()), (65, 65));
    for (at, blob) in &readings {
        let kept = scratch.kept(*at).unwrap();
        assert!(kept <= *at);
        let shown = scratch.blob_at(file, kept);
        let then = readings.iter().rev().find(|(at, _)| *at <= kept).map(|(_, blob)| *blob);
        if then.is_some() {
            assert_eq!(shown, then, "as of {kept}, asked for {blob}");
        }
    }
    assert!(prune_all(&mut scratch, &rule).count.is_nothing(), "once is enough");
    scratch.pass(400 * DAY_MS);
    let rule = pruning(&scratch, "30d,1y daily,monthly");
    prune_all(&mut scratch, &rule);
    assert_eq!(scratch.blobs_of(file).len(), 2, "the current one, and the end of November");
}

#[test]
fn forever_prunes_nothing() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    for blob in 2..10 {
        scratch.later(HOUR_MS, file, blob);
    }
    scratch.unlink(scratch.root, "f").unwrap();
    scratch.pass(4000 * DAY_MS);
    let before = scratch.rows();
    let rule = pruning(&scratch, "forever");
    assert!(prune_all(&mut scratch, &rule).count.is_nothing());
    assert_eq!(scratch.rows(), before);
}

#[test]
fn a_removed_file_goes_entirely_with_all_that_it_had() {
    let mut scratch = Scratch::new();
    let empty = scratch.rows();
    scratch.begin();
    let directory = scratch.directory(scratch.root, "d");
    let file = scratch.written(directory, "f", 1);
    let target: &[u8] = b"f";
    let symlink = NewInode { symlink: Some(target), ..new(S_IFLNK | 0o777) };
    scratch.create(directory, "s", &symlink).unwrap();
    for value in [b"1", b"2"] {
        scratch.pass(HOUR_MS / 10);
        scratch.begin();
        let set = |tx: &Tx<'_>, view: &View, operation| {
            set_xattr(tx, view, operation, file, (b"user.x", value), XattrEdit::Either)
        };
        scratch.change(set).unwrap();
        scratch.publish(file, i64::from(value[0]), None);
    }
    scratch.begin();
    scratch.link(file, scratch.root, "l").unwrap();
    scratch.begin();
    for (parent, name) in [(scratch.root, "l"), (directory, "f"), (directory, "s")] {
        scratch.unlink(parent, name).unwrap();
    }
    scratch.remove_directory(scratch.root, "d").unwrap();
    scratch.pass(29 * DAY_MS);
    let rule = pruning(&scratch, "30d");
    assert!(prune_all(&mut scratch, &rule).count.is_nothing(), "too young");
    scratch.pass(2 * DAY_MS);
    let rule = pruning(&scratch, "30d");
    let mut pruned = prune_in_steps(&mut scratch, &rule, 1);
    assert_eq!(pruned.count.removed, 3, "a file with its further link, a symlink, a directory");
    pruned.dropped.sort();
    assert_eq!(pruned.dropped.iter().map(|blob| blob.0).collect::<Vec<_>>(), [1, 49, 50]);
    assert_eq!(scratch.rows(), empty);
}

#[test]
fn what_somebody_has_open_is_not_forgotten() {
    let scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.begin();
    scratch.unlink_held(scratch.root, "f").unwrap();
    scratch.pass(40 * DAY_MS);
    let rule = pruning(&scratch, "30d");
    let run = |is_held: bool| {
        let held = |_: crate::BranchNumber, ino: Ino| is_held && ino == file;
        let asked = Asked { is_settled: &|_, _| Ok(true), is_held: &held };
        let mut search = PruneSearch::default();
        while let Some(found) = scratch.db().read(|conn| search.next(conn, &rule)).unwrap() {
            scratch.db().write(|tx| prune(tx, &rule, &found, &asked)).unwrap();
        }
    };
    run(true);
    assert_eq!(scratch.stat(file).blob, Some(BlobNumber(1)));
    run(false);
    assert_eq!(scratch.find(file), None);
}

#[test]
fn what_a_power_cut_may_bring_back_stays() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.later(HOUR_MS, file, 2);
    scratch.pass(40 * DAY_MS);
    let rule = pruning(&scratch, "30d");
    let asked = Asked { is_settled: &|_, blob| Ok(blob.0 != 2), is_held: &|_, _| false };
    let mut search = PruneSearch::default();
    while let Some(found) = scratch.db().read(|conn| search.next(conn, &rule)).unwrap() {
        scratch.db().write(|tx| prune(tx, &rule, &found, &asked)).unwrap();
    }
    assert_eq!(scratch.blobs_of(file), [2, 1]);
    scratch.withdraw(2);
    assert_eq!(scratch.blob(file), Some(1));
    scratch.later(HOUR_MS, file, 3);
    scratch.pass(40 * DAY_MS);
    let rule = pruning(&scratch, "30d");
    prune_all(&mut scratch, &rule);
    assert_eq!(scratch.blobs_of(file), [3]);
}

#[test]
fn a_snapshot_keeps_what_it_shows() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.later(HOUR_MS / 60, file, 2);
    scratch.begin();
    let at = scratch.now();
    let snapshot = scratch.fork("then", None);
    scratch.later(HOUR_MS / 60, file, 3);
    scratch.begin();
    scratch.unlink(scratch.root, "f").unwrap();
    scratch.pass(40 * DAY_MS);
    let mut rule = pruning(&scratch, "30d");
    rule.through = Some(scratch.now());
    let pruned = prune_all(&mut scratch, &rule);
    assert_eq!(pruned.dropped, [BlobNumber(1)], "3 is of the file, which a snapshot shows");
    let shown = scratch.db().read(|conn| inode(conn, &snapshot, file)).unwrap();
    assert_eq!(shown.and_then(|shown| shown.blob), Some(BlobNumber(2)));
    assert_eq!(scratch.kept(at), None, "it was a moment before");
    assert!(scratch.kept(Hlc(scratch.now().0)).is_some());
}

#[test]
fn more_than_the_rule_goes_where_that_is_wanted_but_nothing_young() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    let mut ends = Vec::new();
    for blob in 2..=10 {
        scratch.later(DAY_MS, file, blob);
        ends.push(scratch.now());
    }
    scratch.pass(28 * DAY_MS + 12 * HOUR_MS);
    let mut rule = pruning(&scratch, "forever");
    rule.through = Some(ends[2]);
    prune_all(&mut scratch, &rule);
    assert_eq!(scratch.blobs_of(file), [10, 9, 8, 7, 6, 5, 4]);
    rule.through = Some(scratch.now());
    prune_all(&mut scratch, &rule);
    assert_eq!(scratch.blobs_of(file), [10, 9, 8], "superseded less than 30 days ago");
    assert_eq!(scratch.kept(ends[1]), None);
    assert_eq!(scratch.kept(ends[7]), Some(ends[7]));
}

#[test]
fn transient_files_keep_no_earlier_versions() {
    let mut scratch = Scratch::new();
    let directory = scratch.directory(scratch.root, "d");
    let (kept, live) =
        (scratch.written(directory, "a.txt", 1), scratch.written(directory, "a.tmp", 2));
    let gone = scratch.written(directory, "b.tmp", 3);
    scratch.later(1, kept, 11);
    scratch.later(1, live, 12);
    scratch.later(1, gone, 13);
    scratch.pass(1);
    scratch.begin();
    scratch.unlink(directory, "b.tmp").unwrap();
    let mut rule = pruning(&scratch, "forever");
    rule.transient = Patterns::parse("*.tmp").unwrap();
    let mut pruned = prune_all(&mut scratch, &rule);
    pruned.dropped.sort();
    assert_eq!(pruned.dropped.iter().map(|blob| blob.0).collect::<Vec<_>>(), [2, 3, 13]);
    assert_eq!(scratch.blobs_of(kept), [11, 1]);
    assert_eq!(scratch.blobs_of(live), [12]);
    assert_eq!(scratch.find(gone), None);
}

#[test]
fn an_operation_whose_versions_are_gone_is_not_undone_and_is_forgotten_when_empty() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "f", 1);
    scratch.later(HOUR_MS / 60, file, 2);
    let second = scratch.operation.get();
    scratch.later(HOUR_MS / 60, file, 3);
    let third = scratch.operation.get();
    scratch.pass(31 * DAY_MS);
    scratch.later(HOUR_MS / 60, file, 4);
    let fourth = scratch.operation.get();
    let rule = pruning(&scratch, "30d");
    prune_all(&mut scratch, &rule);
    for pruned in [second, third] {
        let undone = scratch.undo(Some(pruned));
        assert!(matches!(undone, Err(UndoError::Pruned(id)) if id == pruned), "{undone:?}");
    }
    let emptied = |after| {
        scratch.db().read(|conn| emptied_operations(conn, &rule, OperationId(after))).unwrap()
    };
    assert_eq!(emptied(0), [second]);
    assert_eq!(emptied(second.0), []);
    scratch.db().write(|tx| forget_operations(tx, &emptied(0))).unwrap();
    assert!(matches!(scratch.undo(Some(second)), Err(UndoError::NotFound(_))));
    scratch.undo(Some(fourth)).unwrap();
    assert_eq!(scratch.blob(file), Some(3));
}

#[test]
fn a_merge_finds_its_base_after_pruning() {
    let mut scratch = Scratch::new();
    let (file, other) =
        (scratch.written(scratch.root, "f", 1), scratch.written(scratch.root, "g", 2));
    scratch.begin();
    let branch = scratch.fork("try", None);
    let main = scratch.view.clone();
    scratch.later(1000, file, 3);
    scratch.view = branch.clone();
    scratch.later(1000, other, 4);
    scratch.later(1000, other, 5);
    scratch.view = main.clone();
    scratch.begin();
    scratch.merge(&branch, Favour::Newest).unwrap();
    scratch.view = branch.clone();
    scratch.later(1000, other, 6);
    scratch.later(1000, other, 7);
    scratch.view = main.clone();
    scratch.later(1000, file, 8);
    scratch.pass(400 * DAY_MS);
    let rule = pruning(&scratch, "30d");
    assert_eq!(prune_all(&mut scratch, &rule).count.contents, 3);
    scratch.begin();
    let applied = scratch.merge(&branch, Favour::Newest).unwrap();
    assert_eq!(applied.conflicts, []);
    assert_eq!((scratch.blob(file), scratch.blob(other)), (Some(8), Some(7)));
}

/// How often each blob is referred to.
fn references(scratch: &Scratch) -> BTreeMap<i64, i64> {
    let sql = format!("SELECT blob, count(*) FROM ({REFERENCES_SQL}) GROUP BY blob");
    let counted = scratch.db().read(|conn| {
        conn.prepare_cached(&sql)
            .and_then(|mut stmt| {
                stmt.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
            })
            .doing("counting references")
    });
    counted.unwrap()
}

/// What a branch showed after each step.
type Instants = Vec<(Hlc, Model)>;

/// Every point in time that is still whole shows what it showed.
fn compare_kept(pair: &Pair, view: &View, instants: &Instants) {
    for (at, _) in instants {
        let kept = pair.scratch.db().read(|conn| nearest_kept(conn, view, *at)).unwrap();
        let Some(kept) = kept else { continue };
        assert!(kept <= *at);
        if let Some((_, model)) = instants.iter().rev().find(|(then, _)| *then <= kept) {
            pair.compare(&view.at(kept), model, false);
        }
    }
}

fn arb_rule() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "30d",
        "30d,1y daily,monthly",
        "30d,60d daily,weekly",
        "30d,90d weekly,monthly",
        "40d,yearly",
        "forever",
    ])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn all_that_is_kept_shows_what_it_showed_before_pruning(
        steps in prop::collection::vec((arb_branching_step(), 0..60_u64), 1..50),
        rules in prop::collection::vec((arb_rule(), 0..100_u64, 0..4_u64), 1..3),
        few in 1..4_usize,
    ) {
        let mut pair = Pair::new();
        for (step, hours) in &steps {
            pair.take(step);
            let now = pair.scratch.now();
            pair.instants.push((now, pair.model.clone()));
            // What one operation replaces of its own is in no history.
            pair.own = None;
            pair.scratch.pass(hours * HOUR_MS);
            pair.scratch.begin();
        }
        for (rule, days, beyond) in rules {
            pair.scratch.pass(days * DAY_MS);
            let mut rule = pruning(&pair.scratch, rule);
            if beyond == 0 {
                rule.through = pair.instants.get(few).map(|(at, _)| *at);
            }
            let mut before = references(&pair.scratch);
            let pruned = prune_in_steps(&mut pair.scratch, &rule, few * 40);
            for blob in pruned.dropped {
                let count = before.get_mut(&blob.0).expect("it was counted");
                *count -= 1;
            }
            before.retain(|_, count| *count > 0);
            prop_assert_eq!(references(&pair.scratch), before);
            pair.compare(&pair.scratch.view, &pair.model, true);
            compare_kept(&pair, &pair.scratch.view, &pair.instants);
            for line in &pair.lines {
                pair.compare(&line.view, &line.model, true);
                compare_kept(&pair, &line.view, &line.instants);
            }
            let main = main_view(&pair.scratch);
            invariants::check(pair.scratch.db(), &main);
            let again = prune_in_steps(&mut pair.scratch, &rule, 1000);
            prop_assert_eq!(again.count.contents, 0, "{:?}", again);
        }
        pair.take(&Step::Reopen);
    }
}
