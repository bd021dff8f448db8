//! A node as a user runs it: the `tesfs` command in a child process.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::eventually;

/// How long a node may take until its mount answers; G3 asks for 10 s at a million files.
const MOUNTED_WITHIN: Duration = Duration::from_secs(20);
/// What a node says when its mount is there, before the folder.
const ANNOUNCEMENT: &str = " is at ";
/// How long a node may take to end after its mount was taken away.
const ENDED_WITHIN: Duration = Duration::from_secs(30);
/// How much of a node's log an error carries.
const LOG_LINES: usize = 25;

/// How file content reaches the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passthrough where possible, as root mounts by default.
    Passthrough,
    /// All through the daemon, as on an ordinary user's mount.
    Cached,
}

impl Mode {
    /// The word for it, as on the command line of the campaigns.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::Cached => "cached",
        }
    }
}

/// Where a node keeps its data, what it mounts, and how.
#[derive(Clone, Debug)]
pub struct NodePlace {
    pub data_dir: PathBuf,
    pub mountpoint: PathBuf,
    pub mode: Mode,
    /// The configuration file; `None` for the defaults.
    pub config: Option<PathBuf>,
    /// The boot the node believes in; `None` asks the kernel.
    pub boot_id: Option<String>,
    /// A file outside both, which collects what the node logs.
    pub log: PathBuf,
}

/// What `tesfs verify --full` said.
#[derive(Debug)]
pub struct Verified {
    pub clean: bool,
    pub output: String,
}

/// A running node; dropping one that was neither killed nor unmounted does both.
#[derive(Debug)]
pub struct Node {
    child: Option<Child>,
    place: NodePlace,
    said: String,
}

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("the tesfs binary {path} is missing; build it with cargo build --workspace")]
    BinaryMissing { path: PathBuf },
    #[error("the node could not be started: {source}")]
    Start { source: io::Error },
    #[error("the node ended with {status} before it mounted; its log ends:\n{log}")]
    Ended { status: ExitStatus, log: String },
    #[error("nothing was mounted within {MOUNTED_WITHIN:?}; the node's log ends:\n{log}")]
    NotMounted { log: String },
    #[error("umount failed with {status}: {output}")]
    Unmount { status: ExitStatus, output: String },
    #[error("the node did not end within {ENDED_WITHIN:?} after its mount was taken away")]
    StillRunning,
    #[error("{doing}: {source}")]
    Io {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
}

impl Node {
    /// The command under test: `TESFS_BIN`, or the `tesfs` beside this program.
    ///
    /// # Errors
    ///
    /// [`NodeError::BinaryMissing`] if it is not there.
    pub fn binary() -> Result<PathBuf, NodeError> {
        let path = match env::var_os("TESFS_BIN") {
            Some(path) => PathBuf::from(path),
            None => {
                let own = env::current_exe().map_err(io_error("finding this program"))?;
                let dir = own.parent().unwrap_or_else(|| Path::new("."));
                let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
                dir.join("tesfs")
            }
        };
        if path.is_file() { Ok(path) } else { Err(NodeError::BinaryMissing { path }) }
    }

    /// Starts a node and waits until its mount answers.
    ///
    /// A mount point left behind by a killed node is the node's to clean: nothing is done about
    /// it here.
    ///
    /// # Errors
    ///
    /// The node ended, or did not mount in time; the error carries the end of its log.
    pub fn start(place: &NodePlace) -> Result<Self, NodeError> {
        let doing = io_error("opening the node's log");
        let log =
            fs::OpenOptions::new().create(true).append(true).open(&place.log).map_err(doing)?;
        let before = log.metadata().map_err(io_error("reading the node's log"))?.len();
        let errors = log.try_clone().map_err(io_error("opening the node's log"))?;
        let mut command = tesfs()?;
        command.arg("mount").arg("--data-dir").arg(&place.data_dir);
        if place.mode == Mode::Cached {
            command.arg("--cached");
        }
        if let Some(config) = &place.config {
            command.env("TESFS_CONFIG", config);
        }
        if let Some(boot_id) = &place.boot_id {
            command.env("TESFS_BOOT_ID", boot_id);
        }
        command.arg(&place.mountpoint).stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().map_err(|source| NodeError::Start { source })?;
        let mut node = Self { child: Some(child), place: place.clone(), said: String::new() };
        let found = eventually(MOUNTED_WITHIN, || match node.ended() {
            Some(status) => Some(Err(status)),
            None if !is_mounted(&place.mountpoint) => None,
            // The kernel knows of the mount a moment before the node says that it is there.
            None => log_after(place, before).filter(|said| said.contains(ANNOUNCEMENT)).map(Ok),
        });
        match found {
            Some(Ok(said)) => {
                node.said = said;
                Ok(node)
            }
            Some(Err(status)) => Err(NodeError::Ended { status, log: node.log_tail() }),
            None => Err(NodeError::NotMounted { log: node.log_tail() }),
        }
    }

    /// What the node said at its start: what it recovered, and what it mounted.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.said
    }

    /// How the node says that file content reaches the kernel.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        let mut modes = [Mode::Passthrough, Mode::Cached].into_iter();
        let announced = self.said.lines().find(|line| line.contains(ANNOUNCEMENT))?;
        modes.find(|mode| announced.contains(&format!(" ({}", mode.name())))
    }

    /// Process id of the node.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The status the node ended with, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Sends SIGKILL and waits for the end. The mount point stays behind, stale.
    ///
    /// # Errors
    ///
    /// The signal could not be sent.
    pub fn kill(&mut self) -> Result<(), NodeError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().map_err(io_error("killing the node"))?;
        child.wait().map(drop).map_err(io_error("waiting for the killed node"))
    }

    /// Unmounts with `tesfs umount` and waits until the node ended by itself.
    ///
    /// # Errors
    ///
    /// The command failed, or the node went on running.
    pub fn unmount(mut self) -> Result<(), NodeError> {
        let output = tesfs()?
            .arg("umount")
            .arg("--data-dir")
            .arg(&self.place.data_dir)
            .arg(&self.place.mountpoint)
            .output()
            .map_err(io_error("running tesfs umount"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(NodeError::Unmount { status: output.status, output: said });
        }
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        match eventually(ENDED_WITHIN, || child.try_wait().ok().flatten()) {
            Some(_) => Ok(()),
            None => Err(NodeError::StillRunning),
        }
    }

    /// Runs `tesfs verify --full` on the data directory.
    ///
    /// # Errors
    ///
    /// The command could not be run; what it found is in the answer.
    pub fn verify_full(place: &NodePlace) -> Result<Verified, NodeError> {
        let mut command = tesfs()?;
        command.arg("verify").arg("--full").arg("--data-dir").arg(&place.data_dir);
        if let Some(boot_id) = &place.boot_id {
            command.env("TESFS_BOOT_ID", boot_id);
        }
        let output = command.output().map_err(io_error("running tesfs verify"))?;
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(Verified { clean: output.status.success(), output: said })
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.place.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
            detach(&self.place.mountpoint);
        }
    }
}

/// The command under test, untouched by the configuration of whoever runs the tests.
fn tesfs() -> Result<Command, NodeError> {
    let mut command = Command::new(Node::binary()?);
    command.env("TESFS_CONFIG", "/dev/null");
    Ok(command)
}

/// What the log of `place` holds behind its first `before` bytes, in whole lines.
fn log_after(place: &NodePlace, before: u64) -> Option<String> {
    let log = fs::read_to_string(&place.log).ok()?;
    let said = log.get(usize::try_from(before).ok()?..)?;
    Some(said[..said.rfind('\n').map_or(0, |end| end + 1)].to_owned())
}

/// Says whether a live file system is mounted on `dir`.
///
/// The attributes of a stale mount's root may still be cached by the kernel; statfs is not.
fn is_mounted(dir: &Path) -> bool {
    let parent = dir.parent().unwrap_or_else(|| Path::new("/"));
    match (rustix::fs::statvfs(dir), fs::metadata(dir), fs::metadata(parent)) {
        (Ok(_), Ok(here), Ok(above)) => here.dev() != above.dev(),
        _ => false,
    }
}

/// Takes away whatever is mounted on `dir`, in use or not.
pub fn detach(dir: &Path) {
    drop(
        Command::new("umount").arg("--lazy").arg("--quiet").arg(dir).stderr(Stdio::null()).status(),
    );
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> NodeError {
    move |source| NodeError::Io { doing, source }
}
