//! Takes a mounted folder away.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesfs_fs::fuse::{self, MountError, Unmount};

use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, plural},
    progress::Progress,
    target::WirePath,
};

/// Unmounts a folder.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Umount {
    pub(crate) dir: WirePath,
    pub(crate) lazy: bool,
}

/// What was unmounted.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct UmountAnswer {
    pub(crate) dir: WirePath,
    /// `None`: a killed node had left it.
    pub(crate) bucket: Option<String>,
}

impl Show for UmountAnswer {
    fn show(&self) -> String {
        match &self.bucket {
            Some(bucket) => {
                format!("{} is unmounted; bucket '{bucket}' keeps what is in it", self.dir)
            }
            None => format!("{} was left mounted by a node that died: cleaned", self.dir),
        }
    }
}

impl Request for Umount {
    type Answer = UmountAnswer;
    const PATH: &'static str = "/v1/umount";
    const UNTIL_THE_END: bool = true;

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<UmountAnswer, CliError> {
        let dir = crate::paths::resolved(&self.dir.0);
        let Some(mounted) = node.mounts().at(&self.dir.0).or_else(|| node.mounts().at(&dir)) else {
            if fuse::stale_mount(&dir) {
                fuse::detach_stale(&dir)?;
                return Ok(UmountAnswer { dir: WirePath(dir), bucket: None });
            }
            return Err(CliError::NotMounted { dir });
        };
        let how = if self.lazy { Unmount::Lazy } else { Unmount::Now };
        match mounted.unmount(how) {
            Err(CliError::Mount(MountError::Busy { .. })) => {
                let open = match mounted.open_files() {
                    0 => "a program stands in it".to_owned(),
                    files => format!("{} open in it", plural(files as u64, "file")),
                };
                return Err(CliError::MountBusy { dir: mounted.dir.clone(), open });
            }
            result => result?,
        }
        let answer = UmountAnswer {
            dir: WirePath(mounted.dir.clone()),
            bucket: Some(mounted.bucket_name(&node.buckets()?)),
        };
        // Whoever hears of it may mount something there at once.
        drop(mounted);
        node.mounts().wait_for_end_at(&answer.dir.0);
        Ok(answer)
    }
}
