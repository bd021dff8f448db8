//! A failed command as it is shown and as it travels through the control socket.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// What went wrong, in words, with what to do about it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Failure {
    /// The error and its causes, outermost first: `a: b: c`.
    pub(crate) message: String,
    /// What the operator can do now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    pub(crate) exit: Exit,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl std::error::Error for Failure {}
