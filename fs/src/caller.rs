//! Who asks: the process behind a request.

use nix::unistd::{Pid, getsid};

/// The process a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its thread or process id; 0 where it is unknown, as from another pid namespace.
    pub pid: u32,
}

impl Caller {
    /// Returns the session the caller belongs to, where that can be known.
    ///
    /// A session whose leader is outside of this pid namespace, as a container's first process has
    /// it, reads as 0 and is not known. (rustix holds 0 to be impossible here, and panics.)
    pub(crate) fn session(&self) -> Option<i32> {
        let pid = i32::try_from(self.pid).ok().filter(|pid| *pid > 0)?;
        let session = getsid(Some(Pid::from_raw(pid))).ok()?.as_raw();
        (session > 0).then_some(session)
    }
}
