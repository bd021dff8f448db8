//! What is kept, mounted, and in need of care.

use std::sync::Arc;

use rustix::fs::statvfs;
use serde::{Deserialize, Serialize};
use tesfs_blobs::BlobError;
use tesfs_pathtree::branch;

use super::bucket::BucketInfo;
use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, bytes, grouped, plural, table},
    progress::Progress,
    target::WirePath,
    time::{Moment, lasting},
};

/// Rows looked at for a count that only matters when it is small.
const COUNTED_MAX: usize = 10_000;

/// Asks for the whole node.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Status {}

/// The whole node.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StatusAnswer {
    pub(crate) version: String,
    pub(crate) data_dir: WirePath,
    pub(crate) device: String,
    /// The process that serves; `None` when no node runs.
    pub(crate) node: Option<Running>,
    pub(crate) disk: Disk,
    pub(crate) stored: Stored,
    pub(crate) buckets: Vec<BucketInfo>,
    pub(crate) mounts: Vec<MountInfo>,
    pub(crate) care: Care,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) uptime_seconds: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Disk {
    pub(crate) bytes_total: u64,
    pub(crate) bytes_free: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct MountInfo {
    pub(crate) dir: WirePath,
    pub(crate) bucket: String,
    pub(crate) branch: String,
    pub(crate) mode: String,
    pub(crate) read_only: bool,
    pub(crate) since: Moment,
    pub(crate) open_files: u64,
}

/// How much all versions of all buckets take.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Stored {
    /// As they are kept: what several versions have in common counts once.
    pub(crate) bytes: u64,
    /// What further versions with the same bytes would take, and do not.
    pub(crate) shared_bytes: u64,
}

/// What is on its way to the store, and what needs somebody's eyes.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Care {
    /// Versions whose bytes are not hashed into the store yet.
    pub(crate) unsealed: u64,
    pub(crate) unsealed_bytes: u64,
    /// Versions that a power cut could still take.
    pub(crate) unsettled: u64,
    pub(crate) damaged: u64,
    pub(crate) damaged_bytes: u64,
    /// Files of unfinished writes, under `.tesfs/recovered`.
    pub(crate) recovered: u64,
    pub(crate) recovered_bytes: u64,
    /// Bytes nothing refers to, which gc collects after their grace.
    pub(crate) unreferenced_bytes: u64,
}

impl Request for Status {
    type Answer = StatusAnswer;
    const PATH: &'static str = "/v1/status";
    const UNTIL_THE_END: bool = true;

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<StatusAnswer, CliError> {
        let mut buckets = Vec::new();
        let known = node.buckets()?;
        for bucket in known.iter().filter(|bucket| bucket.removed_ns.is_none()) {
            buckets.push(BucketInfo::of(node, bucket)?);
        }
        let mounts = node.mounts().all().into_iter().map(|mounted| {
            let shown = mounted.shown();
            MountInfo {
                dir: mounted.dir.as_path().into(),
                bucket: mounted.bucket_name(&known),
                read_only: mounted.wish.read_only || shown.is_past(),
                branch: shown.branch.name,
                mode: mounted.mode(),
                since: Moment(mounted.since_ns),
                open_files: mounted.open_files() as u64,
            }
        });
        let running = Running { pid: std::process::id(), uptime_seconds: node.uptime().as_secs() };
        let (care, stored) = care(node)?;
        Ok(StatusAnswer {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data_dir: node.dir().path().into(),
            device: node.device().to_string(),
            node: node.serves().then_some(running),
            disk: disk(node)?,
            mounts: mounts.collect(),
            buckets,
            stored,
            care,
        })
    }
}

fn disk(node: &Node) -> Result<Disk, CliError> {
    let path = node.dir().path();
    let disk = statvfs(path).map_err(|err| CliError::File {
        doing: "asking for free space",
        path: path.into(),
        source: err.into(),
    })?;
    Ok(Disk {
        bytes_total: disk.f_blocks * disk.f_frsize,
        bytes_free: disk.f_bavail * disk.f_frsize,
    })
}

fn care(node: &Node) -> Result<(Care, Stored), CliError> {
    let store = node.store();
    let (totals, unsettled) = node.db().read(|conn| {
        Ok::<_, BlobError>((store.totals(conn)?, store.unsettled(conn, COUNTED_MAX)?.len()))
    })?;
    let recovered = store.recovered()?;
    let kept = [totals.inline, totals.drafts, totals.local, totals.damaged];
    let kept: u64 = kept.iter().map(|count| count.size_bytes).sum();
    let stored = Stored {
        bytes: kept.saturating_sub(totals.unreferenced.size_bytes),
        shared_bytes: totals.shared_bytes,
    };
    let care = Care {
        unsealed: totals.drafts.blobs,
        unsealed_bytes: totals.drafts.size_bytes,
        unsettled: unsettled as u64,
        damaged: totals.damaged.blobs,
        damaged_bytes: totals.damaged.size_bytes,
        recovered: recovered.len() as u64,
        recovered_bytes: recovered.iter().map(|file| file.size_bytes).sum(),
        unreferenced_bytes: totals.unreferenced.size_bytes,
    };
    Ok((care, stored))
}

impl Show for StatusAnswer {
    fn show(&self) -> String {
        let node = match &self.node {
            Some(node) => {
                format!("process {}, running for {}", node.pid, lasting(node.uptime_seconds))
            }
            None => "not running (`tesfs mount DIR` starts it)".to_owned(),
        };
        let disk =
            format!("{} free of {}", bytes(self.disk.bytes_free), bytes(self.disk.bytes_total));
        let head = [
            ("data", format!("{} ({disk})", self.data_dir)),
            ("node", node),
            ("device", self.device.chars().take(16).collect()),
        ];
        let mut lines: Vec<String> =
            head.iter().map(|(label, value)| format!("{label:<8}{value}")).collect();
        lines.push(String::new());
        lines.push(self.bucket_table());
        if self.stored.shared_bytes > 0 {
            let (stored, shared) = (bytes(self.stored.bytes), bytes(self.stored.shared_bytes));
            lines.push(format!("{stored} stored for all versions; {shared} more are shared"));
        }
        if self.mounts.iter().any(|mount| mount.open_files > 0) {
            let open = self.mounts.iter().filter(|mount| mount.open_files > 0);
            lines.push(String::new());
            lines.extend(
                open.map(|m| format!("{} open in {}", plural(m.open_files, "file"), m.dir)),
            );
        }
        lines.push(String::new());
        for bucket in self.buckets.iter().filter(|bucket| bucket.conflicts > 0) {
            let (count, name) = (plural(bucket.conflicts, "conflict"), &bucket.name);
            lines.push(format!(
                "{count} in '{name}' to decide: `tesfs conflicts list --bucket {name}`"
            ));
        }
        lines.extend(self.care.lines());
        lines.join("\n")
    }
}

impl MountInfo {
    /// Where, and how.
    fn place(&self) -> String {
        let read_only = if self.read_only { ", read-only" } else { "" };
        format!("{} ({}{read_only})", self.dir, self.mode)
    }
}

impl StatusAnswer {
    fn bucket_table(&self) -> String {
        if self.buckets.is_empty() {
            return "no buckets yet; `tesfs mount DIR` or `tesfs bucket create NAME` makes one"
                .to_owned();
        }
        let mut rows = Vec::new();
        for bucket in &self.buckets {
            let of_bucket = self.mounts.iter().filter(|mount| mount.bucket == bucket.name);
            let (main, others): (Vec<_>, Vec<_>) =
                of_bucket.partition(|mount| mount.branch == branch::MAIN);
            rows.push(vec![
                bucket.name.clone(),
                grouped(bucket.files),
                bytes(bucket.bytes),
                grouped(bucket.past_versions),
                main.first().map_or_else(|| "-".to_owned(), |mount| mount.place()),
            ]);
            for mount in main.iter().skip(1).chain(&others) {
                let shown = format!("{}@{}", bucket.name, mount.branch);
                let nothing = String::new;
                rows.push(vec![shown, nothing(), nothing(), nothing(), mount.place()]);
            }
        }
        let header = ["bucket", "files", "size", "earlier versions", "mounted at"];
        table(&header, &[1, 2, 3], rows)
    }
}

impl Care {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.damaged > 0 {
            lines.push(format!(
                "DAMAGED  {} ({}); `tesfs verify` names the files",
                plural(self.damaged, "blob"),
                bytes(self.damaged_bytes)
            ));
        }
        if self.recovered > 0 {
            lines.push(format!(
                "recovered: {} of unfinished writes ({}) under .tesfs/recovered, kept for 7 days",
                plural(self.recovered, "file"),
                bytes(self.recovered_bytes)
            ));
        }
        if self.unsealed > 0 {
            lines.push(format!(
                "{} ({}) not hashed into the store yet, {} not settled",
                plural(self.unsealed, "version"),
                bytes(self.unsealed_bytes),
                self.unsettled
            ));
        }
        if self.unreferenced_bytes > 0 {
            lines.push(format!("{} wait for `tesfs gc`", bytes(self.unreferenced_bytes)));
        }
        if lines.is_empty() {
            lines.push("all is well".to_owned());
        }
        lines
    }
}
