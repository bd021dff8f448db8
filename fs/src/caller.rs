//! Who asks: the process behind a request.

use rustix::process::{Pid, getsid};

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
    pub(crate) fn session(&self) -> Option<i32> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw)?;
        getsid(Some(pid)).ok().map(|session| session.as_raw_nonzero().get())
    }
}
