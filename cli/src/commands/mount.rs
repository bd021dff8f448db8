//! Shows a bucket as a folder.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tesfs_fs::fuse;
use tesfs_pathtree::{
    Tx, branch,
    bucket::{self, Bucket, BucketError},
};

use super::bucket::root_owner;
use crate::{
    args::MountFlags,
    config::{Config, DaemonMount},
    control::Request,
    error::CliError,
    node::{MountWish, Node},
    output::Show,
    progress::Progress,
    shown::Shown,
    target::{BucketName, WirePath},
    time::Moment,
};

/// How often a waiting client is looked after.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl MountWish {
    /// What the command line says, over what the configuration says.
    pub(crate) fn of(flags: &MountFlags, config: &Config) -> Self {
        let defaults = config.mount;
        Self {
            read_only: flags.read_only || defaults.read_only,
            allow_other: flags.allow_other || defaults.allow_other,
            shared_writes: flags.shared_writes || defaults.shared_writes,
            suid: flags.suid,
            dev: flags.dev,
            cached: flags.cached || defaults.cached,
            threads: flags.threads.map_or_else(|| config.performance.threads(), usize::from),
        }
    }

    /// What one of the daemon's `[[mounts]]` says, over `[mount]`.
    pub(crate) fn of_daemon(mount: &DaemonMount, config: &Config) -> Self {
        let defaults = config.mount;
        Self {
            read_only: mount.read_only.unwrap_or(defaults.read_only),
            allow_other: mount.allow_other.unwrap_or(defaults.allow_other),
            shared_writes: mount.shared_writes.unwrap_or(defaults.shared_writes),
            suid: false,
            dev: false,
            cached: mount.cached.unwrap_or(defaults.cached),
            threads: config.performance.threads(),
        }
    }
}

/// Mounts a bucket.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Mount {
    /// `None`: the one the folder showed last, else one named after it.
    pub(crate) bucket: Option<BucketName>,
    /// Absolute.
    pub(crate) dir: WirePath,
    pub(crate) wish: MountWish,
}

/// What is mounted now.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct MountAnswer {
    pub(crate) bucket: String,
    pub(crate) branch: String,
    /// `None`: as it is now.
    pub(crate) as_of: Option<Moment>,
    pub(crate) dir: WirePath,
    pub(crate) mode: String,
    pub(crate) read_only: bool,
    /// The bucket was made by this command.
    pub(crate) new_bucket: bool,
    /// The process that serves the folder.
    pub(crate) node_pid: u32,
}

impl Show for MountAnswer {
    fn show(&self) -> String {
        let new = if self.new_bucket { "new bucket" } else { "bucket" };
        let read_only = if self.read_only { ", read-only" } else { "" };
        let branch = match self.branch.as_str() {
            branch::MAIN => String::new(),
            branch => format!(", branch '{branch}',"),
        };
        let branch = match self.as_of {
            Some(as_of) => format!("{branch} as of {as_of}"),
            None => branch,
        };
        format!(
            "{new} '{}'{branch} is at {} ({}{read_only}); `tesfs umount {}` takes it away",
            self.bucket, self.dir, self.mode, self.dir
        )
    }
}

impl Request for Mount {
    type Answer = MountAnswer;
    const PATH: &'static str = "/v1/mount";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<MountAnswer, CliError> {
        let dir = crate::paths::resolved(&self.dir.0);
        self.require_allowed(node, &dir)?;
        if let Some(there) = node.mounts().at(&dir) {
            let (bucket, dir) = (there.bucket_name(&node.buckets()?), there.dir.clone());
            return Err(CliError::BucketMounted { bucket, dir });
        }
        // Before a bucket is made for it; the mount itself looks again.
        fuse::require_mountable(&dir)?;
        let (shown, new_bucket) = self.shown(node, &dir)?;
        if let Some(elsewhere) = node.mounts().showing(shown.key()) {
            let dir = elsewhere.dir.clone();
            return Err(CliError::BucketMounted { bucket: shown.name(), dir });
        }
        let starting = node.mounts().begin(&shown, &dir)?;
        let now_ns = node.clock().now_ns();
        let started = node
            .trees()
            .for_mount(&shown, &self.wish.vfs_options())
            .and_then(|vfs| node.mounts().start(&shown, &vfs, &dir, self.wish, now_ns));
        let mounted = match started {
            Ok(mounted) => mounted,
            Err(err) => {
                if new_bucket {
                    node.db().write(|tx| bucket::remove(tx, &shown.bucket.name))?;
                }
                return Err(err);
            }
        };
        drop(starting);
        if mounted.was_stale() {
            progress
                .say(format!("{} was left mounted by a node that died: cleaned", dir.display()));
        }
        node.remember_mount_point(&dir, &shown)?;
        tracing::info!(bucket = shown.name(), dir = %dir.display(), mode = mounted.mode(), "mounted");
        Ok(MountAnswer {
            read_only: mounted.wish.read_only || shown.is_past(),
            as_of: shown.at.map(|at| Moment(at.unix_ns())),
            bucket: shown.bucket.name,
            branch: shown.branch.name,
            dir: WirePath(dir),
            mode: mounted.mode(),
            new_bucket,
            node_pid: std::process::id(),
        })
    }
}

impl Node {
    /// Lets `tesfs mount DIR` show the same again; of what was as of a time nothing is remembered.
    pub(crate) fn remember_mount_point(&self, dir: &Path, shown: &Shown) -> Result<(), CliError> {
        if shown.at.is_some() {
            return Ok(());
        }
        let (path, bucket) = (dir.as_os_str().as_bytes(), shown.bucket.number);
        let remember =
            |tx: &Tx<'_>| bucket::remember_mount_point(tx, path, bucket, shown.branch.number);
        Ok(self.db().write(remember)?)
    }
}

impl Mount {
    fn require_allowed(&self, node: &Node, dir: &Path) -> Result<(), CliError> {
        let data_dir = node.dir().path();
        if dir.starts_with(data_dir) {
            return Err(CliError::MountInDataDir { dir: dir.into(), data_dir: data_dir.into() });
        }
        if data_dir.starts_with(dir) {
            return Err(CliError::DataDirInMount { dir: dir.into(), data_dir: data_dir.into() });
        }
        if !rustix::process::geteuid().is_root() {
            for (given, option) in [(self.wish.suid, "--suid"), (self.wish.dev, "--dev")] {
                if given {
                    return Err(CliError::RootOnly { option });
                }
            }
        }
        Ok(())
    }

    /// What to show, and whether a bucket was made for this.
    fn shown(&self, node: &Node, dir: &Path) -> Result<(Shown, bool), CliError> {
        if let Some(name) = &self.bucket {
            return Ok((node.shown(name)?, false));
        }
        let path = dir.as_os_str().as_bytes();
        if let Some((bucket, branch)) = node.db().read(|conn| bucket::mounted_at(conn, path))? {
            let branch = node.db().read(|conn| branch::by_number(conn, branch))?;
            let branch = match branch.filter(|branch| branch.abandoned_ns.is_none()) {
                Some(branch) => branch,
                None => node.require_branch(&bucket, None)?,
            };
            return Ok((Shown { bucket, branch, at: None }, false));
        }
        let (bucket, is_new) = named_after(node, dir)?;
        let branch = node.require_branch(&bucket, None)?;
        Ok((Shown { bucket, branch, at: None }, is_new))
    }
}

/// The bucket named after a folder, and whether it was made for this.
fn named_after(node: &Node, dir: &Path) -> Result<(Bucket, bool), CliError> {
    let name = bucket_name_for(dir)?;
    if let Some(bucket) = node.db().read(|conn| bucket::find(conn, &name))? {
        return Ok((bucket, false));
    }
    let bucket = node.db().write(|tx| bucket::create(tx, &name, root_owner()))?;
    Ok((bucket, true))
}

/// Makes a bucket's name of a folder's: lower case, and without what a name may not have.
fn bucket_name_for(dir: &Path) -> Result<String, CliError> {
    let nameless = || CliError::NamelessMount { dir: dir.to_owned() };
    let folder = dir.file_name().ok_or_else(nameless)?.to_string_lossy().to_lowercase();
    let mut name = String::with_capacity(folder.len());
    for c in folder.chars() {
        let c = if c.is_control() || matches!(c, '/' | ':' | '@' | '\u{fffd}') { '-' } else { c };
        if name.len() + c.len_utf8() > bucket::BUCKET_NAME_BYTES_MAX {
            break;
        }
        name.push(c);
    }
    let name = name.trim_start_matches(['.', '-']).trim().to_owned();
    match bucket::check_name(&name) {
        Ok(()) => Ok(name),
        Err(BucketError::BadName { .. }) => Err(nameless()),
        Err(err) => Err(err.into()),
    }
}

/// Waits until a folder is unmounted.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Wait {
    pub(crate) dir: WirePath,
}

/// It is.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct WaitAnswer {
    pub(crate) dir: WirePath,
}

impl Show for WaitAnswer {
    fn show(&self) -> String {
        format!("{} is unmounted", self.dir)
    }
}

impl Request for Wait {
    type Answer = WaitAnswer;
    const PATH: &'static str = "/v1/mount/wait";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<WaitAnswer, CliError> {
        let dir: PathBuf = self.dir.0;
        while node.mounts().at(&dir).is_some() {
            progress.go_on()?;
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(WaitAnswer { dir: WirePath(dir) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_a_bucket_its_name() {
        let name = |dir: &str| bucket_name_for(Path::new(dir)).unwrap();
        assert_eq!(name("/home/ada/Memories"), "memories");
        assert_eq!(name("/m/Our Photos"), "our photos");
        assert_eq!(name("/m/a:b@c"), "a-b-c");
        assert_eq!(name("/m/.hidden"), "hidden");
        assert_eq!(name("/m/Ünïcödé"), "ünïcödé");
        assert!(name(&format!("/m/{}", "ä".repeat(100))).len() <= bucket::BUCKET_NAME_BYTES_MAX);
    }

    #[test]
    fn a_folder_without_a_usable_name_asks_for_one() {
        for dir in ["/", "/m/...", "/m/-"] {
            assert!(bucket_name_for(Path::new(dir)).is_err(), "{dir}");
        }
    }
}
