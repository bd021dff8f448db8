//! Space kept back so that something can still be deleted on a full disk.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs, statvfs};

/// Enough for the write-ahead log of many thousand deletions, and small beside most disks.
const RESERVE_BYTES_MAX: u64 = 64 << 20;
/// On a small disk this part of it is kept back.
const DISK_PART: u64 = 16;

/// Below this the next burst of writes may fill the disk.
const SCARCE_BYTES: u64 = 8 << 20;

/// Less than this is not worth keeping back.
const RESERVE_BYTES_MIN: u64 = 128 << 10;

/// A file in the data directory that does nothing but take space.
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Names the reserve beside the node database.
    pub(crate) fn beside(database: &Path) -> Self {
        Self { path: database.with_file_name("reserve") }
    }

    /// Takes the space, where the disk has it; `false` where it does not.
    ///
    /// # Errors
    ///
    /// The disk refused for another reason than a lack of space.
    pub(crate) fn fill(&self) -> io::Result<bool> {
        let file = self.open()?;
        let disk = fstatvfs(&file)?;
        let size_bytes = RESERVE_BYTES_MAX.min(disk.f_blocks * disk.f_frsize / DISK_PART);
        if file.metadata()?.len() >= size_bytes {
            return Ok(true);
        }
        // Not tried in vain: whoever writes meanwhile would be refused for the sake of it.
        if disk.f_bavail * disk.f_frsize < size_bytes {
            return Ok(false);
        }
        match fallocate(&file, FallocateFlags::empty(), 0, size_bytes) {
            Ok(()) => Ok(true),
            // A disk that can not reserve keeps nothing back: holes would be a pretence.
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {
                file.set_len(0)?;
                Ok(false)
            }
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(false),
            Err(err) => Err(err.into()),
        }
    }

    /// Gives half of the space to whoever needs it now; `false` where all was given already.
    ///
    /// Half: others may take what is given before it serves its purpose, and then there is more.
    ///
    /// # Errors
    ///
    /// The file can not be opened or cut.
    pub(crate) fn give(&self) -> io::Result<bool> {
        let file = self.open()?;
        let size_bytes = file.metadata()?.len();
        if size_bytes == 0 {
            return Ok(false);
        }
        let half = size_bytes / 2;
        file.set_len(if half < RESERVE_BYTES_MIN { 0 } else { half })?;
        Ok(true)
    }

    /// Says whether the disk is nearly full; a disk that does not say is not.
    pub(crate) fn is_scarce(&self) -> bool {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        statvfs(dir).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < SCARCE_BYTES)
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)
    }
}

/// Gives away half of what is kept back beside `database`; `false` where there is nothing.
/// The settler takes it again when there is space.
///
/// # Errors
///
/// The file can not be opened or cut.
pub fn give_reserve(database: &Path) -> io::Result<bool> {
    Reserve::beside(database).give()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_taken_once_and_given_in_halves() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&dir.path().join("node.db"));
        assert!(reserve.fill().unwrap());
        assert!(reserve.fill().unwrap());
        let size_bytes = || std::fs::metadata(&reserve.path).unwrap().len();
        let whole = size_bytes();
        assert!(reserve.give().unwrap());
        assert_eq!(size_bytes(), whole / 2);
        while reserve.give().unwrap() {}
        assert_eq!(size_bytes(), 0);
        assert!(reserve.fill().unwrap());
        assert_eq!(size_bytes(), whole);
    }
}
