//! A disk whose power can be cut: ext4 in an image on a loop device.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::eventually;

/// `_IOR('X', 125, __u32)`: FS_IOC_SHUTDOWN.
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587D;
/// Stop at once and do not write the journal out: what was not flushed is gone.
static NOLOGFLUSH: u32 = 2;

/// How long the disk may stay in use after everybody who used it has ended.
const AWAY_WITHIN: Duration = Duration::from_secs(10);

/// ext4 in an image file, mounted; unmounted when dropped, the image stays.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("{command} failed: {said}")]
    Command { command: String, said: String },
    #[error("{doing}: {source}")]
    Io {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
}

impl Disk {
    /// Makes an ext4 of `mib` MiB in `image` and mounts it on `dir`.
    ///
    /// # Errors
    ///
    /// No room for the image, no right to mount, mkfs.ext4 missing.
    pub fn create(image: &Path, dir: &Path, mib: u64) -> Result<Self, DiskError> {
        let file = fs::File::create(image).map_err(io_error("creating the image"))?;
        file.set_len(mib << 20).map_err(io_error("sizing the image"))?;
        fs::create_dir_all(dir).map_err(io_error("creating the disk's directory"))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
        let disk = Self { image: image.to_path_buf(), dir: dir.to_path_buf() };
        disk.mount()?;
        Ok(disk)
    }

    /// Where the disk is mounted.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Stops the file system at this instant; every later access fails with EIO.
    ///
    /// # Errors
    ///
    /// The ioctl was refused.
    #[expect(unsafe_code, reason = "there is no safe wrapper for this ioctl")]
    pub fn cut_power(&self) -> Result<(), DiskError> {
        let dir = fs::File::open(&self.dir).map_err(io_error("opening the disk"))?;
        // SAFETY: the descriptor is open, and the ioctl reads one u32 that outlives the call.
        let result =
            unsafe { libc::ioctl(dir.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const NOLOGFLUSH) };
        match result {
            0 => Ok(()),
            _ => Err(io_error("cutting the power")(io::Error::last_os_error())),
        }
    }

    /// Comes back after a cut: unmounts, and mounts again what had reached the image.
    ///
    /// # Errors
    ///
    /// Somebody still uses the disk, or it does not mount.
    pub fn power_on(&self) -> Result<(), DiskError> {
        // The killed node's last descriptors may close a moment after its end was reported.
        let mut last = Ok(());
        let away = eventually(AWAY_WITHIN, || {
            last = run(Command::new("umount").arg(&self.dir));
            last.is_ok().then_some(())
        });
        if away.is_none() {
            return last;
        }
        // The loop device goes when its last user does; mounted again before, it would be the old,
        // dead file system.
        let gone = eventually(AWAY_WITHIN, || {
            let listed = Command::new("losetup").arg("-j").arg(&self.image).output().ok()?;
            listed.stdout.is_empty().then_some(())
        });
        if gone.is_none() {
            let said = "the loop device stays in use: another mount namespace holds it".to_owned();
            return Err(DiskError::Command { command: "losetup -j".to_owned(), said });
        }
        // As the cut left it, before anybody repairs anything: what a failed round is judged by.
        let before = self.image.with_extension("before");
        run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(before))?;
        self.mount()
    }

    fn mount(&self) -> Result<(), DiskError> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.dir))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg("--quiet").arg(&self.dir).status());
    }
}

fn run(command: &mut Command) -> Result<(), DiskError> {
    let name = format!("{command:?}");
    let output = command.output().map_err(io_error("starting a command"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(DiskError::Command { command: name, said })
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> DiskError {
    move |source| DiskError::Io { doing, source }
}
