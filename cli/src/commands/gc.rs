//! Deletes bytes that nothing refers to any more.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesfs_blobs::{GRACE, GarbageKind, GcRequest};
use tesfs_pathtree::tree;

use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, bytes, plural},
    progress::Progress,
};

/// Collects what nothing refers to.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Gc {
    pub(crate) dry_run: bool,
}

/// What was collected, or would be.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct GcAnswer {
    pub(crate) dry_run: bool,
    pub(crate) pieces: u64,
    pub(crate) bytes: u64,
    /// The first of them.
    pub(crate) garbage: Vec<Piece>,
    /// Counts of references that were wrong; they are right now, but for a dry run.
    pub(crate) miscounts: u64,
    /// What nothing refers to is kept this long.
    pub(crate) grace_days: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Piece {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

impl Show for GcAnswer {
    fn show(&self) -> String {
        let mut lines = Vec::new();
        if self.miscounts > 0 {
            let did = if self.dry_run { "would be corrected" } else { "corrected" };
            lines.push(format!("{} {did}", plural(self.miscounts, "count of reference")));
        }
        if self.pieces == 0 {
            let kept = format!("what nothing refers to is kept for {} days", self.grace_days);
            lines.push(format!("nothing to collect ({kept})"));
            return lines.join("\n");
        }
        let did = if self.dry_run { "would be collected" } else { "collected" };
        lines.push(format!("{} ({}) {did}", plural(self.pieces, "piece"), bytes(self.bytes)));
        if self.dry_run {
            let pieces = self.garbage.iter();
            lines.extend(
                pieces.map(|p| format!("  {:<10}{:>12}  {}", p.kind, bytes(p.bytes), p.name)),
            );
        }
        lines.join("\n")
    }
}

impl Request for Gc {
    type Answer = GcAnswer;
    const PATH: &'static str = "/v1/gc";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<GcAnswer, CliError> {
        progress.go_on()?;
        // A wrong count must not make anything garbage: it is taken from the tree first.
        let (store, references) = (node.store(), tree::REFERENCES_SQL);
        let recount =
            if self.dry_run { store.count(references)? } else { store.recount(references)? };
        progress.go_on()?;
        let request = GcRequest { grace: GRACE, dry_run: self.dry_run };
        let report = store.gc_after(&request, &recount.miscounts)?;
        let garbage = report.garbage.into_iter().map(|garbage| Piece {
            kind: match garbage.kind {
                GarbageKind::Blob => "blob",
                GarbageKind::Orphan => "orphan",
                GarbageKind::Recovered => "recovered",
            }
            .to_owned(),
            name: garbage.name,
            bytes: garbage.size_bytes,
        });
        Ok(GcAnswer {
            dry_run: self.dry_run,
            pieces: report.pieces,
            bytes: report.size_bytes,
            garbage: garbage.collect(),
            miscounts: recount.miscounts.len() as u64,
            grace_days: GRACE.as_secs() / 86_400,
        })
    }
}
