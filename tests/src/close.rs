use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd as _;

/// Closes `file` and returns what close(2) said; dropping a `File` would hide it.
///
/// # Errors
///
/// The error of close(2): a version that could not be published.
#[expect(unsafe_code, reason = "no safe wrapper returns the result of close(2)")]
pub fn close(file: File) -> io::Result<()> {
    // SAFETY: `into_raw_fd` gave up ownership, so the descriptor is closed exactly once.
    match unsafe { libc::close(file.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
