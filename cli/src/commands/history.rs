//! Prunes the history of a bucket.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesfs_fs::{PruneReport, PruneRequest, Pruner};
use tesfs_pathtree::settings;

use crate::{
    control::Request,
    error::CliError,
    exit::Exit,
    node::Node,
    output::{Show, bytes, grouped, table},
    progress::{Progress, Step},
    shown::Context,
    time::Moment,
};

/// Prunes what the settings of a bucket let go, and more where space is asked for.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Prune {
    pub(crate) place: Context,
    /// `None`: the one whose folder the command was given in, else the only one.
    pub(crate) bucket: Option<String>,
    pub(crate) to_free: Option<u64>,
    pub(crate) dry_run: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PruneAnswer {
    pub(crate) bucket: String,
    /// The setting `history`.
    pub(crate) rule: String,
    pub(crate) dry_run: bool,
    /// Earlier bytes of files.
    pub(crate) contents: u64,
    /// Earlier names, attributes and extended attributes.
    pub(crate) others: u64,
    /// Removed files and folders, of which nothing is left.
    pub(crate) removed: u64,
    pub(crate) conflicts: u64,
    pub(crate) operations: u64,
    /// What no version needs any more.
    pub(crate) freed_bytes: u64,
    /// What was asked for.
    pub(crate) to_free_bytes: Option<u64>,
    /// Everything that was superseded by then went, whatever the rule says.
    pub(crate) through: Option<Moment>,
}

impl PruneAnswer {
    /// Bytes that could not be freed.
    fn missing_bytes(&self) -> u64 {
        self.to_free_bytes.unwrap_or(0).saturating_sub(self.freed_bytes)
    }
}

impl Show for PruneAnswer {
    fn show(&self) -> String {
        let Self { bucket, rule, dry_run, .. } = self;
        let rows = [
            ("earlier bytes of files", self.contents),
            ("earlier names and attributes", self.others),
            ("removed files and folders", self.removed),
            ("decided conflicts", self.conflicts),
            ("operations of which nothing is left", self.operations),
        ];
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| vec![what.to_owned(), grouped(count)])
            .collect();
        let mut text = if rows.is_empty() {
            format!("nothing of '{bucket}' is over its time (history = {rule})")
        } else {
            let would = if *dry_run { "would go" } else { "went" };
            let freed = if *dry_run { "would be freed" } else { "freed" };
            let freed = format!("{} {freed}", bytes(self.freed_bytes));
            let table = table(&["what", would], &[1], rows);
            format!("{table}\n{freed}; the disk gets them back 7 days later, by `tesfs gc`")
        };
        if let Some(through) = self.through {
            text += &format!("\nbeyond history = {rule}, all that was replaced by {through}");
        }
        if self.missing_bytes() > 0 {
            let missing = bytes(self.missing_bytes());
            text += &format!(
                "\n{missing} could not be freed: the rest is current, younger than 30 days, or \
                 shown by a branch or snapshot"
            );
        }
        text
    }

    fn exit(&self) -> Exit {
        if self.missing_bytes() > 0 { Exit::Partial } else { Exit::Success }
    }
}

impl Request for Prune {
    type Answer = PruneAnswer;
    const PATH: &'static str = "/v1/history/prune";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<PruneAnswer, CliError> {
        let bucket = match &self.bucket {
            Some(name) => node.require_whole_bucket(name)?,
            None => node.here(&self.place)?.bucket,
        };
        let settings = node.db().read(|conn| settings::read(conn, bucket.number))?;
        let is_held = |branch, ino| node.is_held(branch, ino);
        let pruner = Pruner { db: node.db(), store: node.store(), is_held: &is_held };
        let request = PruneRequest {
            bucket: bucket.number,
            to_free_bytes: self.to_free,
            dry_run: self.dry_run,
        };
        let mut stopped = Ok(());
        let mut go_on = |report: &PruneReport| {
            stopped = progress.step(|| Step {
                doing: "pruning".to_owned(),
                files: report.count.contents + report.count.removed,
                bytes: report.freed_bytes,
                ..Step::default()
            });
            stopped.is_ok()
        };
        let report = pruner
            .run(&request, &settings, &mut go_on)
            .map_err(|source| CliError::tree("pruning", bucket.name.clone(), source))?;
        stopped?;
        Ok(PruneAnswer {
            bucket: bucket.name,
            rule: settings.history.to_string(),
            dry_run: self.dry_run,
            contents: report.count.contents,
            others: report.count.others,
            removed: report.count.removed,
            conflicts: report.conflicts,
            operations: report.operations,
            freed_bytes: report.freed_bytes,
            to_free_bytes: self.to_free,
            through: report.through.map(|through| Moment(through.unix_ns())),
        })
    }
}
