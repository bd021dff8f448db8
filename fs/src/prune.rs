//! Pruning a bucket: what its settings, or somebody who needs space, let go of its history.
//!
//! It is done in transactions of some 10 ms each, between which writers go on. Whatever ends it, a
//! kill included, leaves a whole tree, and the next run goes on.

use std::collections::HashSet;

use tesfs_blobs::{BlobError, Ledger, Store};
use tesfs_pathtree::{
    BlobNumber, BranchNumber, BucketNumber, Db, DbError, Hlc, Ino, OperationId, Tx,
    settings::Settings,
    tree::{
        Asked, Prunable, PruneCount, PruneSearch, Pruning, decided_conflicts, emptied_operations,
        forget_conflict, forget_operations, prune,
    },
};

use crate::{error::FsError, reserve::Reserve};

/// What is to be pruned.
#[derive(Clone, Copy, Debug)]
pub struct PruneRequest {
    /// Of which bucket.
    pub bucket: BucketNumber,
    /// Beyond what the rule lets go: so many bytes are to be freed, oldest versions first.
    pub to_free_bytes: Option<u64>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What was pruned, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// How much went.
    pub count: PruneCount,
    /// Bytes on disk that nothing needs any more: what is shared with a kept version frees nothing.
    pub freed_bytes: u64,
    /// Operations that nothing was left of.
    pub operations: u64,
    /// Conflicts that were decided long ago.
    pub conflicts: u64,
    /// All that was superseded up to this reading went, whatever the rule says.
    pub through: Option<Hlc>,
    /// It was told to stop before it was done.
    pub stopped: bool,
}

/// Is asked between two transactions whether to go on.
pub type GoOn<'a> = dyn FnMut(&PruneReport) -> bool + 'a;

/// Prunes the history of buckets.
pub struct Pruner<'a> {
    /// Where the trees are.
    pub db: &'a Db,
    /// Where the bytes are.
    pub store: &'a Store,
    /// Says whether somebody has an inode of a branch open.
    pub is_held: &'a dyn Fn(BranchNumber, Ino) -> bool,
}

impl Pruner<'_> {
    /// Prunes as `request` says, by the `settings` of the bucket.
    ///
    /// # Errors
    ///
    /// The database failed; what was pruned until then stays pruned, and the tree is whole.
    pub fn run(
        &self,
        request: &PruneRequest,
        settings: &Settings,
        go_on: &mut GoOn<'_>,
    ) -> Result<PruneReport, FsError> {
        let mut pruning = Pruning {
            bucket: request.bucket,
            history: settings.history.clone(),
            transient: settings.transient.clone(),
            through: None,
            now_ns: self.db.clock().now_ns(),
        };
        let mut report = PruneReport::default();
        if let Some(bytes) = request.to_free_bytes {
            pruning.through = self.through_for(&pruning, bytes, go_on)?;
            report.through = pruning.through;
        }
        if request.dry_run {
            self.rehearse(&pruning, &mut report, go_on)?;
        } else {
            self.prune(&pruning, &mut report, go_on)?;
        }
        Ok(report)
    }

    fn rehearse(
        &self,
        pruning: &Pruning,
        report: &mut PruneReport,
        go_on: &mut GoOn<'_>,
    ) -> Result<(), FsError> {
        let mut ledger = Ledger::default();
        let mut drop = |report: &mut PruneReport, blob: Option<BlobNumber>| {
            let Some(blob) = blob else { return Ok(()) };
            let freed = self.db.read(|conn| ledger.drop_reference(conn, blob))?;
            report.freed_bytes += freed;
            Ok::<_, BlobError>(())
        };
        let mut search = PruneSearch::default();
        while let Some(found) = self.db.read(|conn| search.next(conn, pruning))? {
            for one in &found {
                report.count.add(one);
                drop(report, one.blob)?;
            }
            if !go_on(report) {
                report.stopped = true;
                return Ok(());
            }
        }
        for conflict in self.db.read(|conn| decided_conflicts(conn, pruning))? {
            report.conflicts += 1;
            drop(report, conflict.blob)?;
        }
        Ok(())
    }

    fn prune(
        &self,
        pruning: &Pruning,
        report: &mut PruneReport,
        go_on: &mut GoOn<'_>,
    ) -> Result<(), FsError> {
        let mut search = PruneSearch::default();
        while let Some(found) = self.db.read(|conn| search.next(conn, pruning))? {
            if !found.is_empty() {
                self.batch(pruning, &found, report)?;
            }
            if !go_on(report) {
                report.stopped = true;
                return Ok(());
            }
        }
        for conflict in self.db.read(|conn| decided_conflicts(conn, pruning))? {
            report.freed_bytes += self.write(|tx| {
                let blob = forget_conflict(tx, &conflict)?;
                self.drop_references(tx, blob.as_slice())
            })?;
            report.conflicts += 1;
        }
        let mut last = OperationId(0);
        loop {
            let emptied = self.db.read(|conn| emptied_operations(conn, pruning, last))?;
            let Some(newest) = emptied.last() else { break };
            last = *newest;
            self.write(|tx| Ok(forget_operations(tx, &emptied)?))?;
            report.operations += emptied.len() as u64;
            if !go_on(report) {
                report.stopped = true;
                break;
            }
        }
        Ok(())
    }

    fn batch(
        &self,
        pruning: &Pruning,
        found: &[Prunable],
        report: &mut PruneReport,
    ) -> Result<(), FsError> {
        let asked =
            Asked { is_settled: &|tx, blob| self.is_settled(tx, blob), is_held: self.is_held };
        let (count, freed_bytes) = self.write(|tx| {
            let pruned = prune(tx, pruning, found, &asked)?;
            Ok((pruned.count, self.drop_references(tx, &pruned.dropped)?))
        })?;
        report.count += count;
        report.freed_bytes += freed_bytes;
        Ok(())
    }

    /// Deletes something; on a full disk with the space that is kept for that.
    fn write<T>(&self, change: impl Fn(&Tx<'_>) -> Result<T, FsError>) -> Result<T, FsError> {
        loop {
            match self.db.write(&change) {
                Err(err)
                    if err.is_full() && Reserve::beside(self.db.path()).give().unwrap_or(false) => {
                }
                done => return done,
            }
        }
    }

    /// Drops references and returns the bytes that go free.
    fn drop_references(&self, tx: &Tx<'_>, blobs: &[BlobNumber]) -> Result<u64, FsError> {
        let mut freed_bytes = 0;
        for blob in blobs {
            freed_bytes += Ledger::default().drop_reference(tx, *blob)?;
            self.store.drop_reference(tx, *blob)?;
        }
        Ok(freed_bytes)
    }

    fn is_settled(&self, tx: &Tx<'_>, blob: BlobNumber) -> Result<bool, DbError> {
        match self.store.row(tx, blob) {
            Ok(row) => Ok(row.is_some_and(|row| row.settled)),
            Err(BlobError::Database(err)) => Err(err),
            Err(_) => Ok(false),
        }
    }

    /// Returns up to which reading all has to go for so many bytes, or as many as there are beyond
    /// the rule; `None` where the rule frees them by itself.
    fn through_for(
        &self,
        pruning: &Pruning,
        bytes: u64,
        go_on: &mut GoOn<'_>,
    ) -> Result<Option<Hlc>, FsError> {
        let key = |one: &Prunable| one.blob.map(|blob| (blob, one.until, one.row()));
        let (mut by_rule, mut ledger, mut freed) = (HashSet::new(), Ledger::default(), 0);
        let mut beyond = Vec::new();
        let everything =
            Pruning { through: Some(Hlc::last_of_unix_ns(pruning.now_ns)), ..pruning.clone() };
        for limits in [pruning, &everything] {
            let mut search = PruneSearch::default();
            while let Some(found) = self.db.read(|conn| search.next(conn, limits))? {
                for one in found.iter().filter_map(key) {
                    if limits.through.is_some() {
                        if !by_rule.contains(&one) {
                            beyond.push((one.1, one.0));
                        }
                    } else if by_rule.insert(one) {
                        freed += self.db.read(|conn| ledger.drop_reference(conn, one.0))?;
                    }
                }
                if freed >= bytes || !go_on(&PruneReport::default()) {
                    return Ok(None);
                }
            }
        }
        beyond.sort_unstable();
        let mut through = None;
        for (until, blob) in beyond {
            if freed >= bytes {
                break;
            }
            freed += self.db.read(|conn| ledger.drop_reference(conn, blob))?;
            through = Some(until);
        }
        Ok(through)
    }
}
