//! Makes, lists, renames, removes and restores buckets.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesfs_pathtree::{
    branch,
    bucket::{self, Bucket},
    tree::{self, View},
};

use super::settings::SettingsInfo;
use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, bytes, grouped, plural, table},
    progress::Progress,
    target::WirePath,
    time::{Moment, days_after},
};

/// How long a removed bucket can be restored, in days.
const KEPT_DAYS: i64 = 30;

/// One bucket, as it is listed and shown.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct BucketInfo {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) created: Moment,
    /// When it was removed; `None` while it is in use.
    pub(crate) removed: Option<Moment>,
    pub(crate) files: u64,
    pub(crate) directories: u64,
    /// Bytes of its files as they are now.
    pub(crate) bytes: u64,
    /// Superseded versions that are kept.
    pub(crate) past_versions: u64,
    /// Their bytes, each version counted whole.
    pub(crate) past_bytes: u64,
    /// Branches in use, `main` included.
    pub(crate) branches: u64,
    pub(crate) snapshots: u64,
    /// What is not decided, on all branches.
    pub(crate) conflicts: u64,
    pub(crate) mounted_at: Option<WirePath>,
}

impl BucketInfo {
    pub(crate) fn of(node: &Node, bucket: &Bucket) -> Result<Self, CliError> {
        let stats = node.db().read(|conn| tree::stats(conn, &View::main(bucket)))?;
        let branches = node.db().read(|conn| branch::list(conn, bucket))?;
        let used: Vec<_> = branches.iter().filter(|one| one.abandoned_ns.is_none()).collect();
        let snapshots = used.iter().filter(|one| one.frozen).count();
        let mut conflicts = 0;
        for one in &used {
            conflicts += node.db().read(|conn| tree::conflict_count(conn, one.number))?;
        }
        Ok(Self {
            branches: (used.len() - snapshots) as u64,
            snapshots: snapshots as u64,
            conflicts,
            name: bucket.name.clone(),
            id: bucket.id.to_string(),
            created: Moment(bucket.created_ns),
            removed: bucket.removed_ns.map(Moment),
            files: stats.files,
            directories: stats.directories,
            bytes: stats.live_bytes,
            past_versions: stats.past_versions,
            past_bytes: stats.past_bytes,
            mounted_at: node.mounts().of(bucket.number).map(|m| m.dir.as_path().into()),
        })
    }
}

/// Makes an empty bucket.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Create {
    pub(crate) name: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Created {
    pub(crate) name: String,
    pub(crate) id: String,
}

impl Show for Created {
    fn show(&self) -> String {
        format!(
            "bucket '{}' is made; `tesfs mount {} DIR` shows it as a folder",
            self.name,
            quoted(&self.name)
        )
    }
}

impl Request for Create {
    type Answer = Created;
    const PATH: &'static str = "/v1/bucket/create";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Created, CliError> {
        let bucket = node.db().write_durable(|tx| bucket::create(tx, &self.name, root_owner()))?;
        Ok(Created { name: bucket.name, id: bucket.id.to_string() })
    }
}

/// Whose the root of a new bucket is: the node's user.
pub(super) fn root_owner() -> bucket::Owner {
    let me = crate::place::owner();
    bucket::Owner { uid: me.uid, gid: me.gid }
}

/// Lists buckets.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct List {
    /// Removed ones too.
    pub(crate) all: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Listed {
    pub(crate) buckets: Vec<BucketInfo>,
}

impl Show for Listed {
    fn show(&self) -> String {
        if self.buckets.is_empty() {
            return "no buckets yet; `tesfs mount DIR` or `tesfs bucket create NAME` makes one"
                .to_owned();
        }
        let rows = self.buckets.iter().map(|bucket| {
            let place = match (&bucket.removed, &bucket.mounted_at) {
                (Some(removed), _) => format!("removed {removed}"),
                (None, Some(dir)) => dir.to_string(),
                (None, None) => "-".to_owned(),
            };
            vec![bucket.name.clone(), grouped(bucket.files), bytes(bucket.bytes), place]
        });
        table(&["bucket", "files", "size", "mounted at"], &[1, 2], rows.collect())
    }
}

impl Request for List {
    type Answer = Listed;
    const PATH: &'static str = "/v1/bucket/list";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<Listed, CliError> {
        let mut buckets = Vec::new();
        for bucket in node.buckets()? {
            progress.go_on()?;
            if self.all || bucket.removed_ns.is_none() {
                buckets.push(BucketInfo::of(node, &bucket)?);
            }
        }
        Ok(Listed { buckets })
    }
}

/// Shows one bucket.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Describe {
    pub(crate) name: String,
}

/// One bucket with its settings.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Described {
    #[serde(flatten)]
    pub(crate) info: BucketInfo,
    pub(crate) settings: SettingsInfo,
}

impl Show for Described {
    fn show(&self) -> String {
        format!("{}\n\n{}", self.info.lines(), self.settings.show())
    }
}

impl BucketInfo {
    /// What it is and holds, one thing a line.
    fn lines(&self) -> String {
        let mounted = match &self.mounted_at {
            Some(dir) => dir.to_string(),
            None => "nowhere".to_owned(),
        };
        let content = format!(
            "{} in {}, {}",
            plural(self.files, "file"),
            plural(self.directories, "directory"),
            bytes(self.bytes)
        );
        let mut branches =
            format!("{}, {}", plural(self.branches, "branch"), plural(self.snapshots, "snapshot"));
        if self.conflicts > 0 {
            branches.push_str(&format!(", {}", plural(self.conflicts, "conflict")));
        }
        let history = format!(
            "{}, {}",
            plural(self.past_versions, "earlier version"),
            bytes(self.past_bytes)
        );
        [
            ("bucket", self.name.clone()),
            ("id", self.id.clone()),
            ("created", self.created.to_string()),
            ("mounted at", mounted),
            ("content", content),
            ("history", history),
            ("branches", branches),
        ]
        .map(|(label, value)| format!("{label:<12}{value}"))
        .join("\n")
    }
}

impl Request for Describe {
    type Answer = Described;
    const PATH: &'static str = "/v1/bucket/show";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Described, CliError> {
        let bucket = node.require_whole_bucket(&self.name)?;
        let settings = SettingsInfo::of(node.db(), &bucket)?;
        Ok(Described { info: BucketInfo::of(node, &bucket)?, settings })
    }
}

/// Gives a bucket another name.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Rename {
    pub(crate) name: String,
    pub(crate) new: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Renamed {
    pub(crate) name: String,
    pub(crate) new: String,
}

impl Show for Renamed {
    fn show(&self) -> String {
        format!("bucket '{}' is now called '{}'", self.name, self.new)
    }
}

impl Request for Rename {
    type Answer = Renamed;
    const PATH: &'static str = "/v1/bucket/rename";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Renamed, CliError> {
        let bucket = node.require_whole_bucket(&self.name)?;
        node.db().write_durable(|tx| bucket::rename(tx, &bucket.name, &self.new))?;
        Ok(Renamed { name: bucket.name, new: self.new })
    }
}

/// Removes a bucket from sight; its bytes stay until gc forgets it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Remove {
    pub(crate) name: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Removed {
    pub(crate) name: String,
    /// Until when it can be restored.
    pub(crate) kept_until: Moment,
}

impl Show for Removed {
    fn show(&self) -> String {
        format!(
            "bucket '{}' is removed; until {} `tesfs bucket restore {}` brings it back",
            self.name,
            self.kept_until,
            quoted(&self.name)
        )
    }
}

impl Request for Remove {
    type Answer = Removed;
    const PATH: &'static str = "/v1/bucket/remove";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Removed, CliError> {
        let bucket = node.require_whole_bucket(&self.name)?;
        if let Some(mounted) = node.mounts().of(bucket.number) {
            return Err(CliError::BucketMounted { bucket: bucket.name, dir: mounted.dir.clone() });
        }
        if node.trees().is_open(bucket.number) {
            return Err(CliError::BucketBusy { bucket: bucket.name });
        }
        node.db().write_durable(|tx| bucket::remove(tx, &bucket.name))?;
        let kept_until = days_after(Moment(node.clock().now_ns()), KEPT_DAYS);
        Ok(Removed { name: bucket.name, kept_until })
    }
}

/// Brings a removed bucket back.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Restore {
    pub(crate) name: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Restored {
    pub(crate) name: String,
}

impl Show for Restored {
    fn show(&self) -> String {
        format!("bucket '{}' is back", self.name)
    }
}

impl Request for Restore {
    type Answer = Restored;
    const PATH: &'static str = "/v1/bucket/restore";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Restored, CliError> {
        let bucket = node.db().write_durable(|tx| bucket::restore(tx, &self.name))?;
        Ok(Restored { name: bucket.name })
    }
}

/// The name as it is typed in a shell.
fn quoted(name: &str) -> String {
    if name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}
