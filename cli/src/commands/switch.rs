//! Lets a mounted folder show another branch, or what was.

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use tesfs_pathtree::bucket;

use crate::{
    control::Request,
    error::CliError,
    exit::Exit,
    node::{Mounted, Node},
    output::{Show, plural},
    progress::Progress,
    said::Said,
    shown::{Context, Shown, ShownError},
    target::WirePath,
};

/// Switches a mounted folder.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Switch {
    pub(crate) place: Context,
    /// In the folder, or the folder itself; `None`: where the command was given.
    pub(crate) dir: Option<WirePath>,
    /// A branch, snapshot or time of the folder's bucket, which may be named before an `@`.
    pub(crate) to: Said,
}

/// Why a folder is not switched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwitchError {
    #[error("'{shown}' is shown at {dir}")]
    Elsewhere { shown: String, branch: String, dir: PathBuf },
    #[error("{dir} showed '{shown}' before, and files are open for writing there")]
    WrittenElsewhere { shown: String, dir: PathBuf },
    #[error("{dir} shows the bucket '{bucket}', and '{other}' is another one")]
    OtherBucket { dir: PathBuf, bucket: String, other: String },
    #[error("no folder of tesfs is mounted at or above {dir}")]
    NotInMount { dir: PathBuf },
}

impl SwitchError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Elsewhere { .. } | Self::WrittenElsewhere { .. } => Exit::Refused,
            Self::OtherBucket { .. } => Exit::Usage,
            Self::NotInMount { .. } => Exit::NotFound,
        }
    }

    /// Says what to do.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Elsewhere { branch, dir, .. } => format!(
                "work on it there, or `tesfs umount {}` first; `tesfs branch create NAME --from \
                 {branch}` makes another branch of the same",
                dir.display(),
            ),
            Self::WrittenElsewhere { dir, .. } => {
                format!("close them first: `fuser -vm {}` lists who has them open", dir.display())
            }
            Self::OtherBucket { other, .. } => {
                format!("`tesfs mount {other} DIR` shows that one at another folder")
            }
            Self::NotInMount { .. } => {
                "name the folder: `tesfs switch BRANCH DIR`; `tesfs status` lists what is mounted"
                    .to_owned()
            }
        }
    }
}

/// What the folder shows now.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Switched {
    pub(crate) dir: WirePath,
    pub(crate) bucket: String,
    /// What it showed, and what it shows: a branch or snapshot, and the time behind an `@`.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) read_only: bool,
    /// Files that were open stay on what it showed.
    pub(crate) open_files: u64,
}

impl Show for Switched {
    fn show(&self) -> String {
        let Self { dir, bucket, from, to, .. } = self;
        if from == to {
            return format!("{dir} shows '{to}' of '{bucket}' already");
        }
        let read_only = if self.read_only { ", read-only" } else { "" };
        let open = match self.open_files {
            0 => String::new(),
            1 => format!("; 1 open file stays on '{from}' until it is closed"),
            n => format!("; {} stay on '{from}' until they are closed", plural(n, "open file")),
        };
        format!("{dir} shows '{to}' of '{bucket}'{read_only}{open}")
    }
}

impl Request for Switch {
    type Answer = Switched;
    const PATH: &'static str = "/v1/switch";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Switched, CliError> {
        let mounted = self.mounted(node)?;
        let from = node.shown_by(&mounted)?;
        let to = self.target(node, &mounted, &from)?;
        let mut open_files = 0;
        if from.key() != to.key() {
            let starting = node.mounts().begin_switch(&to, &mounted)?;
            let vfs = node.trees().for_mount(&to, &mounted.wish.vfs_options())?;
            let remember = |shown: &Shown| node.remember_mount_point(&mounted.dir, shown);
            open_files = mounted.switch(&to, &vfs, remember)? as u64;
            drop(starting);
            tracing::info!(bucket = to.name(), dir = %mounted.dir.display(), "switched");
        }
        Ok(Switched {
            dir: mounted.dir.as_path().into(),
            from: from.name_in_bucket(),
            to: to.name_in_bucket(),
            read_only: mounted.wish.read_only || to.is_past(),
            bucket: to.bucket.name,
            open_files,
        })
    }
}

impl Switch {
    fn mounted(&self, node: &Node) -> Result<Arc<Mounted>, CliError> {
        let dir = &self.dir.as_ref().unwrap_or(&self.place.dir).0;
        let resolved = crate::paths::resolved(dir);
        let mounts = node.mounts();
        let found = mounts.holding(dir).or_else(|| mounts.holding(&resolved));
        let mounted = found.map(|(mounted, _)| mounted);
        Ok(mounted.ok_or(SwitchError::NotInMount { dir: resolved })?)
    }

    /// Finds what is to be shown: `BRANCH`, or `BUCKET@BRANCH` where no branch is called so.
    fn target(&self, node: &Node, mounted: &Mounted, from: &Shown) -> Result<Shown, CliError> {
        let unknown = match node.shown_in(from, &self.to) {
            Err(err @ CliError::Shown(ShownError::UnknownBranch { .. })) => err,
            found => return found,
        };
        let Some((bucket, said)) = self.to.words.split_once('@') else { return Err(unknown) };
        match node.db().read(|conn| bucket::find(conn, bucket))? {
            None => Err(unknown),
            Some(named) if named.number == from.bucket.number => {
                node.shown_in(from, &self.to.instead(said))
            }
            Some(named) => Err(SwitchError::OtherBucket {
                dir: mounted.dir.clone(),
                bucket: from.bucket.name.clone(),
                other: named.name,
            }
            .into()),
        }
    }
}
