//! The lock that lets one process own a data directory.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    path::PathBuf,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, open},
    io::Errno,
};

use crate::paths::{DataDir, LOCK};

/// Longest text a lock file may have; ours is under a hundred bytes.
const TEXT_BYTES_MAX: u64 = 4096;

/// Held while this process owns the data directory; the kernel lets go of it when the process
/// ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Who holds a lock, as the holder wrote it down.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Holder {
    pub(crate) pid: Option<u32>,
    /// The command it runs: `mount`, `daemon`, `import`…
    pub(crate) command: Option<String>,
}

/// Why the lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("the data directory {path} is in use by another process{}", said(holder))]
    Held { path: PathBuf, holder: Holder },
    #[error("cannot lock the data directory {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn said(holder: &Holder) -> String {
    match (&holder.pid, &holder.command) {
        (Some(pid), Some(command)) => format!(" (tesfs {command}, process {pid})"),
        (Some(pid), None) => format!(" (process {pid})"),
        (None, _) => String::new(),
    }
}

impl Lock {
    /// Takes the lock for `command`, or says who has it.
    pub(crate) fn take(dir: &DataDir, command: &str) -> Result<Self, LockError> {
        let path = dir.path().to_owned();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut file = match open(dir.join(LOCK), flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => File::from(fd),
            Err(err) => return Err(LockError::Io { path, source: err.into() }),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(LockError::Held { path, holder: Holder::read(&mut file) });
            }
            Err(err) => return Err(LockError::Io { path, source: err.into() }),
        }
        // What is written is only for people: on a full disk the lock holds without it.
        if let Err(err) = write_holder(&mut file, command) {
            tracing::debug!(error = %err, "lock file not written");
        }
        Ok(Self { _file: file })
    }
}

impl Holder {
    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        match file.take(TEXT_BYTES_MAX).read_to_string(&mut text) {
            Ok(_) => Self::parse(&text),
            Err(_) => Self::default(),
        }
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let pid = lines.next().and_then(|line| line.parse().ok());
        Self { pid, command: lines.next().map(str::to_owned) }
    }
}

fn write_holder(file: &mut File, command: &str) -> io::Result<()> {
    file.rewind()?;
    let text = format!("{}\n{command}\n", std::process::id());
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&home.path().join("data")).unwrap();
        let held = Lock::take(&dir, "mount").unwrap();
        let err = Lock::take(&dir, "import").unwrap_err();
        let LockError::Held { holder, .. } = err else { panic!("{err}") };
        assert_eq!(holder.pid, Some(std::process::id()));
        assert_eq!(holder.command.as_deref(), Some("mount"));
        drop(held);
        Lock::take(&dir, "import").unwrap();
    }

    #[test]
    fn an_unreadable_holder_is_no_holder() {
        assert_eq!(Holder::parse("garbage"), Holder::default());
        assert_eq!(Holder::parse(""), Holder::default());
    }
}
