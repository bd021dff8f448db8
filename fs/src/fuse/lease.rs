//! Who else writes a file: asked by taking a lease on it for a moment.
//!
//! A write lease is given only to the one opening of a file there is. The kernel opens a backing
//! file anew for every handle it is given to, and a mapping keeps that opening beyond the handle.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    sync::atomic::{AtomicU8, Ordering},
};

use tracing::warn;

/// Whether leases work where the data directory is: not asked yet, yes, no.
static POSSIBLE: AtomicU8 = AtomicU8::new(UNKNOWN);
/// Chooses the signal of a lease; fcntl(2) of Linux, which libc leaves out.
const F_SETSIG: libc::c_int = 10;

const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

/// Says whether `file`, which nobody else has open, can be asked for later.
pub(super) fn is_possible(file: &File) -> bool {
    match POSSIBLE.load(Ordering::Relaxed) {
        UNKNOWN => {}
        known => return known == YES,
    }
    let answer = match take(file) {
        Ok(()) => YES,
        Err(err) if err.raw_os_error() == Some(libc::EAGAIN) => YES,
        Err(err) => {
            warn!(error = %err, "the data directory has no leases: written files are cached");
            NO
        }
    };
    POSSIBLE.store(answer, Ordering::Relaxed);
    answer == YES
}

/// Says whether somebody else has `file` open for writing, or mapped from such an opening.
pub(super) fn is_written_elsewhere(file: &File) -> bool {
    take(file).is_err_and(|err| err.raw_os_error() == Some(libc::EAGAIN))
}

/// Takes a write lease and gives it back.
fn take(file: &File) -> io::Result<()> {
    // Should somebody open the file in between, the kernel makes him wait for us and signals us.
    // The usual signal would end the process; this one is ignored by everybody.
    control(file, F_SETSIG, libc::SIGURG)?;
    control(file, libc::F_SETLEASE, libc::F_WRLCK)?;
    control(file, libc::F_SETLEASE, libc::F_UNLCK)
}

#[expect(unsafe_code, reason = "no safe wrapper knows leases")]
fn control(file: &File, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `file` is borrowed, and these commands take an
    // integer and touch no memory.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn another_opening_for_writing_is_seen_while_it_lasts() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let open = || OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let file = open();
        assert!(is_possible(&file));
        assert!(!is_written_elsewhere(&file));
        let other = open();
        assert!(is_written_elsewhere(&file));
        drop(other);
        assert!(!is_written_elsewhere(&file));
    }
}
