//! Where a bucket is to appear: what may be there, and what a killed process left there.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags, statfs, statx},
    io::Errno,
    mount::{UnmountFlags, unmount},
    process::geteuid,
};
use tracing::warn;

/// The kernel's door to FUSE.
const DEVICE: &str = "/dev/fuse";

/// Mounts and unmounts on behalf of ordinary users.
const FUSERMOUNT: &str = "fusermount3";

/// A mount point that is made here is for its owner.
const NEW_DIRECTORY_MODE: u32 = 0o700;

/// Why a bucket can not be mounted, or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel has no FUSE, or the device is not there.
    #[error("{DEVICE} is missing")]
    NoFuseDevice,
    /// Only other users may open the device.
    #[error("no permission to open {DEVICE}")]
    DeviceDenied,
    /// An ordinary user mounts through this program.
    #[error("{FUSERMOUNT} is missing")]
    FusermountMissing,
    /// The system refuses.
    #[error("no permission to mount at {dir}", dir = dir.display())]
    PermissionDenied {
        /// The mount point.
        dir: PathBuf,
    },
    /// An ordinary user may not let others in.
    #[error("user_allow_other is not set in /etc/fuse.conf")]
    AllowOtherDenied,
    /// What is in the directory would be hidden.
    #[error("{dir} is not empty", dir = dir.display())]
    NotEmpty {
        /// The mount point.
        dir: PathBuf,
    },
    /// A missing mount point is made, but not the directories above it.
    #[error("the parent of {dir} does not exist", dir = dir.display())]
    ParentMissing {
        /// The mount point.
        dir: PathBuf,
    },
    /// Only a directory can be mounted on.
    #[error("{dir} is not a directory", dir = dir.display())]
    NotADirectory {
        /// The mount point.
        dir: PathBuf,
    },
    /// Something is mounted there.
    #[error("something is mounted at {dir} already ({what})", dir = dir.display())]
    AlreadyMounted {
        /// The mount point.
        dir: PathBuf,
        /// Its source and type, as mount tables show them.
        what: String,
    },
    /// A killed process left its mount there, and it can not be taken away.
    #[error("{dir} holds the mount of a process that is gone", dir = dir.display())]
    Stale {
        /// The mount point.
        dir: PathBuf,
        /// Why it stays.
        #[source]
        source: io::Error,
    },
    /// Files or directories of the mount are in use.
    #[error("{dir} is in use", dir = dir.display())]
    Busy {
        /// The mount point.
        dir: PathBuf,
    },
    /// Anything else.
    #[error("{doing} {dir} failed", dir = dir.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The mount point.
        dir: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Says whether `dir` holds the mount of a process that is gone.
pub fn stale_mount(dir: &Path) -> bool {
    // Attributes may be cached and look alive; what statfs says never is.
    is_disconnected(statfs(dir).map(drop).map_err(io::Error::from))
}

fn is_disconnected(result: io::Result<()>) -> bool {
    // The second one while the process is still being taken apart.
    let gone = [libc::ENOTCONN, libc::ECONNABORTED];
    result.is_err_and(|err| err.raw_os_error().is_some_and(|errno| gone.contains(&errno)))
}

/// Takes away the mount that a process which is gone left at `dir`.
///
/// # Errors
///
/// The system's refusal.
pub fn detach_stale(dir: &Path) -> Result<(), MountError> {
    detach(dir).map_err(|source| MountError::Stale { dir: dir.into(), source })
}

/// A checked mount point.
#[derive(Debug)]
pub(super) struct MountPoint {
    /// Absolute, without symbolic links.
    pub(super) dir: PathBuf,
    /// A killed process's mount was there and is not any more.
    pub(super) was_stale: bool,
}

impl MountPoint {
    /// Checks `dir`, makes it if it is missing, and takes away a stale mount.
    pub(super) fn prepare(dir: &Path) -> Result<Self, MountError> {
        let was_stale = stale_mount(dir);
        require_mountable(dir)?;
        if was_stale {
            detach_stale(dir)?;
            warn!(dir = %dir.display(), "took away the mount of a process that is gone");
            // What was hidden below it.
            require_mountable(dir)?;
        }
        if !dir.exists() {
            make(dir)?;
        }
        let resolving = |source| MountError::Io { doing: "resolving", dir: dir.into(), source };
        let dir = dir.canonicalize().map_err(resolving)?;
        Ok(Self { dir, was_stale })
    }
}

/// Says whether a bucket could be mounted at `dir`, without changing anything: what is missing
/// would be made, and a stale mount taken away.
///
/// # Errors
///
/// [`MountError`] says what is in the way.
pub fn require_mountable(dir: &Path) -> Result<(), MountError> {
    require_device()?;
    if !stale_mount(dir) {
        require_empty_or_missing(dir)?;
    }
    if !geteuid().is_root() && !has_fusermount() {
        return Err(MountError::FusermountMissing);
    }
    Ok(())
}

/// Only an open tells whether the kernel is behind the device, and lets this process in.
fn require_device() -> Result<(), MountError> {
    match rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Err(MountError::NoFuseDevice),
        Err(Errno::ACCESS | Errno::PERM) => Err(MountError::DeviceDenied),
        Err(err) => {
            Err(MountError::Io { doing: "opening", dir: DEVICE.into(), source: err.into() })
        }
    }
}

fn require_empty_or_missing(dir: &Path) -> Result<(), MountError> {
    let failed = |doing| {
        move |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied => MountError::PermissionDenied { dir: dir.into() },
            _ => MountError::Io { doing, dir: dir.into(), source },
        }
    };
    match fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(MountError::NotADirectory { dir: dir.into() }),
        Err(err) if err.kind() == io::ErrorKind::NotFound => return require_parent(dir),
        Err(err) if err.kind() == io::ErrorKind::NotADirectory => {
            let file = dir.ancestors().find(|above| above.exists()).unwrap_or(dir);
            return Err(MountError::NotADirectory { dir: file.into() });
        }
        Err(err) => return Err(failed("looking at")(err)),
    }
    if is_mount_root(dir).map_err(failed("looking at"))? {
        return Err(MountError::AlreadyMounted { dir: dir.into(), what: mounted_at(dir) });
    }
    let mut entries = fs::read_dir(dir).map_err(failed("listing"))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(MountError::NotEmpty { dir: dir.into() }),
    }
}

/// A missing directory can be made where there is one to make it in, and nothing has its name.
fn require_parent(dir: &Path) -> Result<(), MountError> {
    if fs::symlink_metadata(dir).is_ok() {
        return Err(MountError::NotADirectory { dir: dir.into() });
    }
    // The parent of a lone name is the working directory, and written as nothing.
    match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) if !parent.exists() => Err(MountError::ParentMissing { dir: dir.into() }),
        _ => Ok(()),
    }
}

/// Says what is mounted at `dir`, as `source, type`.
fn mounted_at(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.into());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let here = table.lines().rev().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let escaped = place.split(' ').nth(4)?;
        let mut kind = kind.split(' ');
        let (fs_type, source) = (kind.next()?, kind.next()?);
        (unescaped(escaped) == dir.as_os_str().as_bytes()).then(|| format!("{source}, {fs_type}"))
    });
    here.unwrap_or_else(|| "of an unknown kind".to_owned())
}

/// Undoes the `\040` of mount tables.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

fn make(dir: &Path) -> Result<(), MountError> {
    match DirBuilder::new().mode(NEW_DIRECTORY_MODE).create(dir) {
        Ok(()) => Ok(()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            Err(MountError::ParentMissing { dir: dir.into() })
        }
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
            Err(MountError::PermissionDenied { dir: dir.into() })
        }
        Err(source) => Err(MountError::Io { doing: "making", dir: dir.into(), source }),
    }
}

/// Says whether a mount begins at `dir`.
pub(super) fn is_mount_root(dir: &Path) -> io::Result<bool> {
    let found = statx(CWD, dir, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE)?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Returns the device number of the mount at `dir`, as `major:minor`.
pub(super) fn device(dir: &Path) -> io::Result<String> {
    let found = statx(CWD, dir, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE)?;
    Ok(format!("{}:{}", found.stx_dev_major, found.stx_dev_minor))
}

/// Unmounts `dir`; refused with EBUSY while anything of it is in use.
pub(super) fn unmount_now(dir: &Path) -> io::Result<()> {
    match unmount(dir, UnmountFlags::NOFOLLOW) {
        Err(Errno::PERM) => fusermount(&["-u"], dir),
        result => Ok(result?),
    }
}

/// Takes the mount at `dir` out of the tree; it ends when the last user of it is gone.
pub(super) fn detach(dir: &Path) -> io::Result<()> {
    match unmount(dir, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH) {
        Err(Errno::PERM) => fusermount(&["-u", "-z"], dir),
        result => Ok(result?),
    }
}

fn fusermount(options: &[&str], dir: &Path) -> io::Result<()> {
    let output =
        Command::new(FUSERMOUNT).args(options).arg("--").arg(dir).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.contains("busy") {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    Err(io::Error::other(said))
}

fn has_fusermount() -> bool {
    let asked = Command::new(FUSERMOUNT)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_missing_mount_point_is_made_for_its_owner() {
        if !Path::new(DEVICE).exists() || !geteuid().is_root() {
            return;
        }
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("new");
        let point = MountPoint::prepare(&dir).unwrap();
        assert_eq!(point.dir, dir.canonicalize().unwrap());
        assert!(!point.was_stale);
        let mode = fs::metadata(&dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, NEW_DIRECTORY_MODE);
    }

    #[test]
    fn what_can_not_be_mounted_on_is_refused_by_name() {
        if !Path::new(DEVICE).exists() {
            return;
        }
        let above = tempfile::tempdir().unwrap();
        let refusal = |dir: &Path| MountPoint::prepare(dir).unwrap_err();
        let deep = above.path().join("missing/new");
        assert!(matches!(refusal(&deep), MountError::ParentMissing { dir } if dir == deep));
        let file = above.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(refusal(&file), MountError::NotADirectory { dir } if dir == file));
        let below_file = file.join("new");
        assert!(matches!(refusal(&below_file), MountError::NotADirectory { dir } if dir == file));
        assert!(matches!(refusal(above.path()), MountError::NotEmpty { .. }));
        assert!(matches!(refusal(Path::new("/proc")), MountError::AlreadyMounted { .. }));
        assert!(!stale_mount(above.path()));
    }

    #[test]
    fn only_a_lost_connection_is_stale() {
        assert!(is_disconnected(Err(io::Error::from_raw_os_error(libc::ENOTCONN))));
        assert!(!is_disconnected(Err(io::Error::from_raw_os_error(libc::ENOENT))));
        assert!(!is_disconnected(Ok(())));
    }
}
