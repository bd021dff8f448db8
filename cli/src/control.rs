//! The control protocol: HTTP over a unix socket that only this user can open.
//!
//! Every request is a POST of JSON to its path under `/v1/`. The answer is JSON, one value a line:
//! any number of events, then one answer or one failure. The HTTP status says the kind of failure
//! only when nothing was said before it.

mod client;
mod server;

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use self::{
    client::{Client, ControlError},
    server::{Routes, Server},
};
use crate::{
    error::CliError,
    failure::Failure,
    node::Node,
    output::Show,
    paths::{DataDir, SOCKET},
    progress::{Event, Progress},
};

/// Longest path that fits a unix socket's address, with its closing zero.
const ADDRESS_BYTES_MAX: usize = 107;

/// One thing a node can be asked. The same `run` serves the process that owns the data directory
/// and the socket, so that a command cannot behave differently while mounted.
pub(crate) trait Request: Serialize + DeserializeOwned + Send + 'static {
    type Answer: Serialize + DeserializeOwned + Show + Send + 'static;
    /// Path of the request, with the version of its form.
    const PATH: &'static str;
    /// Whether a node that waits for open files at its end still does it.
    const UNTIL_THE_END: bool = false;

    /// Does it.
    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<Self::Answer, CliError>;
}

/// One line of an answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<A> {
    Event(Event),
    Answer(A),
    Failure(Failure),
    /// The node is about to end, and has not begun with what it was asked.
    Ending,
}

impl<A: Serialize> Line<A> {
    fn to_bytes(&self) -> Vec<u8> {
        // Our lines are plain data: making JSON of them cannot fail.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// The socket of a data directory, by a path short enough for an address.
///
/// A path that is too long goes through `/proc/self/fd`, which works as long as the value lives.
struct SocketPath {
    path: PathBuf,
    _dir: Option<File>,
}

impl SocketPath {
    fn of(dir: &DataDir) -> io::Result<Self> {
        let path = dir.join(SOCKET);
        if path.as_os_str().as_bytes().len() <= ADDRESS_BYTES_MAX {
            return Ok(Self { path, _dir: None });
        }
        let file = File::open(dir.path())?;
        let path = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string()).join(SOCKET);
        Ok(Self { path, _dir: Some(file) })
    }
}
