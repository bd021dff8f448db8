//! The workload on the machine's own file system, which keeps every promise.

use super::*;
use crate::{observe, reconcile};

const CALLS: u64 = 6_000;
const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn a_writer_knows_what_a_plain_directory_shows_after_every_operation_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let (root, journal) = (dir.path().join("tree"), dir.path().join("journal"));
    let signals = Signals::default();
    let writer =
        Writer::new(&root, State::default(), Random::new(1), Cut::Kill, &journal, &signals)
            .unwrap();
    let report = thread::scope(|scope| {
        let working = scope.spawn(|| writer.run());
        let enough = || signals.acknowledged.load(Ordering::Acquire) >= CALLS;
        let stopped = || signals.stopped.load(Ordering::Acquire);
        eventually(WITHIN, || (enough() || stopped()).then_some(()));
        signals.stop.store(true, Ordering::Release);
        working.join().unwrap()
    });
    assert!(report.stop.is_none(), "{:?}", report.stop);
    let Counts { fsyncs, directory_fsyncs, rename_overs, links, exchanges, .. } = report.counts;
    let Counts { closes, truncations, copies, .. } = report.counts;
    let counts = [closes, fsyncs, directory_fsyncs, rename_overs, links, exchanges];
    assert!(counts.iter().chain([&truncations, &copies]).all(|count| *count > 0), "{counts:?}");
    let seen = observe(&root).unwrap().unwrap();
    assert!(seen.len() > 10, "{} files", seen.len());
    reconcile(&report.candidates, Some(&seen), Cut::Kill).unwrap();
}
