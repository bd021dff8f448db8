//! A bucket shown at a directory, from its mounting to its end.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use fuser::{Config, MountOption, Session, SessionACL};
use rustix::{
    process::geteuid,
    system::uname,
    thread::{CapabilitySet, capabilities},
};
use tracing::{debug, error, info};

use super::{
    adapter::Adapter,
    aside::Aside,
    handles::Handles,
    later::{self, Later},
    mount_point::{self, MountError, MountPoint},
    nodes::Sharing,
    notify::{self, Notice, Resolve},
    passthrough::Ways,
    shared::Shared,
    sight::Sights,
    table::NodeTable,
};
use crate::{FsError, Touched, Vfs};

/// What the kernel reads ahead. Its default for FUSE is 128 KiB, which keeps a disk waiting for
/// one request after the other.
const READAHEAD_KIB: u32 = 1024;

/// How often a busy mount is tried again while somebody waits for its end.
const RETRY: Duration = Duration::from_millis(50);

/// How long the threads of an unmounted session may take to end: they finish what they do.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Whether the kernel may read and write files by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passthrough {
    /// Where the system allows it.
    Auto,
    /// Never.
    Off,
}

/// How a mount works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The kernel reads and writes files by itself where their bytes are in one file.
    Passthrough,
    /// The daemon serves all bytes, through the kernel's page cache.
    Cached,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passthrough => "passthrough",
            Self::Cached => "cached",
        })
    }
}

/// How a bucket is mounted.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Other users may enter; root's mounts always let them, and the kernel checks permissions.
    pub allow_other: bool,
    /// Every change is refused.
    pub read_only: bool,
    /// Set-user-id and set-group-id bits count.
    pub suid: bool,
    /// Device nodes work.
    pub dev: bool,
    /// Whether the kernel may read and write files by itself.
    pub passthrough: Passthrough,
    /// Threads that serve requests; at least one.
    pub threads: usize,
    /// What mount tables show as the source.
    pub fs_name: String,
}

/// How to unmount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// Refused with [`MountError::Busy`] while anything of it is in use.
    Now,
    /// Waits so long for its users, then takes it out of the tree.
    Within(Duration),
    /// Takes it out of the tree; it ends when its last user is gone.
    Lazy,
}

/// What became of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// It has ended: every handle was closed and released.
    Ended,
    /// It is out of the tree, and somebody still uses it.
    Detached,
}

/// A bucket shown at a directory. Dropping it unmounts lazily.
pub struct Mount {
    dir: PathBuf,
    was_stale: bool,
    shared: Arc<Shared>,
    end: Arc<End>,
}

/// Whether the kernel's side has ended.
#[derive(Default)]
struct End {
    /// Protects what is waited for.
    has_ended: Mutex<bool>,
    changed: Condvar,
}

impl Mount {
    /// Shows `vfs` at `dir`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// [`MountError`] says what is in the way.
    pub fn start(vfs: &Arc<Vfs>, dir: &Path, options: &MountOptions) -> Result<Self, MountError> {
        let point = MountPoint::prepare(dir)?;
        let failed = |doing| {
            let dir = point.dir.clone();
            move |source| MountError::Io { doing, dir, source }
        };
        let sharing = if vfs.options().shared_writes { Sharing::Live } else { Sharing::Pinned };
        let passthrough = options.passthrough == Passthrough::Auto
            && sharing == Sharing::Pinned
            && may_pass_through();
        let (notices, outbox) = notify::notices();
        let aside = Aside::start().map_err(failed("starting threads for"))?;
        let (sights, in_use) = Sights::new(vfs);
        let shared = Arc::new_cyclic(|me| Shared {
            me: Weak::clone(me),
            sights,
            switching: Mutex::new(Some(in_use)),
            nodes: NodeTable::new(vfs.root(), sharing),
            ways: Ways::new(passthrough),
            files: Handles::new(),
            directories: Handles::new(),
            notices,
            aside,
            later: Arc::new(Later::default()),
        });
        let adapter = Adapter { shared: Arc::clone(&shared) };
        let session = Session::new(adapter, &point.dir, &config(options))
            .map_err(|err| refused(&point.dir, err))?;
        outbox
            .start(&session.notifier(), resolver(&shared))
            .map_err(failed("starting threads for"))?;
        shared.observe(&shared.sight());
        later::start(&shared).map_err(failed("starting threads for"))?;
        let end = Arc::new(End::default());
        serve(session, Arc::clone(&shared), Arc::clone(&end))
            .map_err(failed("starting threads for"))?;
        raise_readahead(&point.dir);
        let mount = Self { dir: point.dir, was_stale: point.was_stale, shared, end };
        info!(dir = %mount.dir.display(), mode = %mount.mode(), "mounted");
        Ok(mount)
    }

    /// Returns where it is, absolute and without symbolic links.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns how it works.
    pub fn mode(&self) -> Mode {
        if self.shared.ways.is_allowed() { Mode::Passthrough } else { Mode::Cached }
    }

    /// Shows another filesystem of the same bucket from now on; open handles stay in the one they
    /// were opened in, and it returns how many of those there are. Whatever is looked at then is
    /// what `to` has.
    ///
    /// # Errors
    ///
    /// The database failed, before anything was changed.
    pub fn switch(&self, to: &Arc<Vfs>) -> Result<usize, FsError> {
        self.shared.switch(to)
    }

    /// Returns the filesystem that is shown, which lives as long as it is or anything is open in it.
    pub fn shows(&self) -> Weak<Vfs> {
        Arc::downgrade(&self.shared.sight().vfs)
    }

    /// Returns how many files are open, in what is shown and in what was shown before.
    pub fn open_files(&self) -> usize {
        self.shared.sights.all().iter().map(|vfs| vfs.open_files()).sum()
    }

    /// Says whether a killed process's mount was taken away from the directory first.
    pub fn was_stale(&self) -> bool {
        self.was_stale
    }

    /// Waits until the mount has ended, whoever ends it.
    pub fn wait(&self) {
        let mut has_ended = self.end.lock();
        while !*has_ended {
            let woken = self.end.changed.wait(has_ended);
            has_ended = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says whether the mount has ended.
    pub fn has_ended(&self) -> bool {
        *self.end.lock()
    }

    /// Unmounts.
    ///
    /// # Errors
    ///
    /// [`MountError::Busy`] where `how` does not wait; the system's refusal.
    pub fn unmount(&self, how: Unmount) -> Result<Unmounted, MountError> {
        match how {
            Unmount::Now => self
                .unmount_within(Duration::ZERO)?
                .ok_or(MountError::Busy { dir: self.dir.clone() }),
            Unmount::Within(patience) => {
                self.unmount_within(patience)?.map_or_else(|| self.detach(), Ok)
            }
            Unmount::Lazy => self.detach(),
        }
    }

    /// Unmounts as soon as nobody uses it; `None` if somebody still does when patience ends.
    fn unmount_within(&self, patience: Duration) -> Result<Option<Unmounted>, MountError> {
        let deadline = Instant::now() + patience;
        loop {
            if self.has_ended() {
                return Ok(Some(Unmounted::Ended));
            }
            match mount_point::unmount_now(&self.dir) {
                Ok(()) => return Ok(Some(self.wait_until(Instant::now() + END_PATIENCE))),
                Err(err) if err.raw_os_error() == Some(libc::EBUSY) => {}
                Err(err) => return self.not_unmounted(err).map(Some),
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            self.wait_until(deadline.min(now + RETRY));
        }
    }

    fn detach(&self) -> Result<Unmounted, MountError> {
        if self.has_ended() {
            return Ok(Unmounted::Ended);
        }
        match mount_point::detach(&self.dir) {
            Ok(()) => Ok(self.wait_until(Instant::now() + RETRY)),
            Err(err) => self.not_unmounted(err),
        }
    }

    /// Somebody else may have unmounted it meanwhile.
    fn not_unmounted(&self, source: io::Error) -> Result<Unmounted, MountError> {
        if self.wait_until(Instant::now() + RETRY) == Unmounted::Ended {
            return Ok(Unmounted::Ended);
        }
        Err(MountError::Io { doing: "unmounting", dir: self.dir.clone(), source })
    }

    fn wait_until(&self, deadline: Instant) -> Unmounted {
        let mut has_ended = self.end.lock();
        while !*has_ended {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Unmounted::Detached;
            }
            let woken = self.end.changed.wait_timeout(has_ended, rest);
            has_ended = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Unmounted::Ended
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        if let Err(err) = self.unmount(Unmount::Lazy) {
            error!(error = %tesfs_pathtree::Chain(&err), "a mount stays behind");
        }
    }
}

impl End {
    fn lock(&self) -> std::sync::MutexGuard<'_, bool> {
        self.has_ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the session on its threads until the kernel's side ends.
fn serve(session: Session<Adapter>, shared: Arc<Shared>, end: Arc<End>) -> io::Result<()> {
    let run = move || {
        if let Err(err) = session.run() {
            error!(error = %err, "a mount ended with an error");
        }
        shared.later.end();
        drop(shared);
        *end.lock() = true;
        end.changed.notify_all();
    };
    thread::Builder::new().name("fuse-session".into()).spawn(run).map(drop)
}

fn config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.fs_name.clone()),
        MountOption::CUSTOM("subtype=tesfs".into()),
        // The kernel answers for directories it caches without asking: only it can check them.
        MountOption::DefaultPermissions,
        MountOption::NoAtime,
        if options.read_only { MountOption::RO } else { MountOption::RW },
        if options.suid { MountOption::Suid } else { MountOption::NoSuid },
        if options.dev { MountOption::Dev } else { MountOption::NoDev },
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.max(1));
    config
}

/// Says why the system refused to mount.
fn refused(dir: &Path, err: io::Error) -> MountError {
    let dir = dir.to_path_buf();
    let said = err.to_string();
    if said.contains("user_allow_other") {
        return MountError::AllowOtherDenied;
    }
    let is_denied = err.kind() == io::ErrorKind::PermissionDenied
        || said.contains("no write access")
        || said.contains("Operation not permitted")
        || said.contains("Permission denied");
    match err.kind() {
        _ if is_denied => MountError::PermissionDenied { dir },
        // For root it was asked for only because mount(2) was refused.
        io::ErrorKind::NotFound if geteuid().is_root() => MountError::PermissionDenied { dir },
        io::ErrorKind::NotFound => MountError::FusermountMissing,
        _ => MountError::Io { doing: "mounting", dir, source: err },
    }
}

/// Says whether the kernel may be given backing files.
///
/// It takes them from a privileged process only, and not from one that is so only in a user
/// namespace of its own. And since it does not tell of its writes, it must give each of them a
/// time of its own, or they could not be told from those that were published.
fn may_pass_through() -> bool {
    let is_privileged =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    is_privileged
        && fs::read_to_string("/proc/self/uid_map").is_ok_and(whole)
        && uname().release().to_str().is_ok_and(has_fine_times)
}

/// Says whether a kernel of this release gives times finer than its clock's tick to files whose
/// times were looked at: the first that does is 6.13.
fn has_fine_times(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(13))
}

/// Raises what the kernel reads ahead; only root may.
fn raise_readahead(dir: &Path) {
    if !geteuid().is_root() {
        return;
    }
    let raised = mount_point::device(dir).and_then(|device| {
        fs::write(format!("/sys/class/bdi/{device}/read_ahead_kb"), READAHEAD_KIB.to_string())
    });
    if let Err(err) = raised {
        debug!(error = %err, "the kernel's readahead stays as it is");
    }
}

/// Finds out what the kernel must hear of such a change.
fn resolver(shared: &Arc<Shared>) -> Resolve {
    // The thread that sends must not keep alive what hands in to it.
    let shared: Weak<Shared> = Arc::downgrade(shared);
    Box::new(move |sight, touched| {
        let Some(shared) = shared.upgrade() else { return Vec::new() };
        match touched {
            // No name leads into what is not shown.
            Touched::Entry { .. } if shared.sight().id != sight => Vec::new(),
            Touched::Entry { parent, name } => {
                vec![Notice::Names(shared.names_at(vec![(*parent, name.clone())]))]
            }
            Touched::Inode(ino) => {
                let mut notices = Vec::new();
                if let Some(vfs) = shared.sights.find(sight)
                    && let Ok(key) = vfs.published(*ino)
                {
                    notices.extend(shared.notice((sight, &vfs), *ino, key, None));
                }
                notices.push(Notice::Attributes(shared.nodes.lock().all(*ino)));
                notices
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_with_fine_times_are_known_by_their_release() {
        for old in ["6.12.0", "6.9-rc1", "5.15.0-91-generic", "nonsense", ""] {
            assert!(!has_fine_times(old), "{old}");
        }
        for new in ["6.13.0", "6.18.44-fc-v657", "7.0", "10.1.2"] {
            assert!(has_fine_times(new), "{new}");
        }
    }
}
