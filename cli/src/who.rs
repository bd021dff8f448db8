//! Who did something, as people call them.

use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};
use tesfs_pathtree::{DbError, OperationId, tree};

use crate::node::Node;

/// Digits of a device's key that tell it from the others of one bucket.
const DEVICE_DIGITS: usize = 8;

/// Who did an operation, on which device, and with what.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Who {
    /// A user's name where this machine knows it, else as the log has it.
    pub(crate) user: String,
    /// The first digits of the device's key.
    pub(crate) device: String,
    pub(crate) this_device: bool,
    /// `mount`, or the command.
    pub(crate) what: String,
}

impl Who {
    /// Finds out who did an operation.
    pub(crate) fn of(node: &Node, operation: OperationId) -> Result<Self, DbError> {
        let Some(found) = node.db().read(|conn| tree::origin(conn, operation))? else {
            let unknown = || "-".to_owned();
            return Ok(Self {
                user: unknown(),
                device: unknown(),
                this_device: false,
                what: unknown(),
            });
        };
        Ok(Self {
            user: user(&found.who),
            device: found.device.to_string().chars().take(DEVICE_DIGITS).collect(),
            this_device: found.device == node.device(),
            what: found.what,
        })
    }

    /// As a line has it: `ada, this device, mount`.
    pub(crate) fn shown(&self) -> String {
        let device = if self.this_device { "this device" } else { &self.device };
        format!("{}, {device}, {}", self.user, self.what)
    }
}

/// The user behind `uid 1000 session 33`, which is how a mount notes its callers.
fn user(who: &str) -> String {
    let uid = who.strip_prefix("uid ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    let known = uid.and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
    match (known, uid) {
        (Some(user), _) => user.name,
        (None, Some(uid)) => format!("uid {uid}"),
        (None, None) => who.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_of_a_mount_is_called_by_name() {
        assert_eq!(user("uid 0 session 12"), "root");
        assert_eq!(user("uid 4294967294"), "uid 4294967294");
        assert_eq!(user("node"), "node");
    }
}
