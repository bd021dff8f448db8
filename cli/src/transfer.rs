//! Copies between this machine's directories and a bucket.

mod copy_file;
mod copy_in;
mod copy_out;
mod host;
mod keep;
mod left_out;

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    copy_in::CopyIn,
    copy_out::{CopyOut, empty_directory},
    left_out::LeftOut,
};
use crate::{error::CliError, progress::Interrupted};

/// Bytes moved in one step.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Directories below one another; deeper ones are left out. A frame of each stays in memory, with
/// an open file.
const DEPTH_MAX: usize = 4096;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Counts {
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) symlinks: u64,
    /// Further names of files that were copied already.
    pub(crate) hard_links: u64,
    /// Named pipes and devices.
    pub(crate) special: u64,
    /// Files that were there already with the same size and time.
    pub(crate) unchanged: u64,
    pub(crate) bytes: u64,
}

/// Why one entry was not copied.
enum Stop {
    /// This one is left out, and the work goes on.
    Skip(String),
    /// The work ends.
    Fatal(CliError),
}

impl From<Interrupted> for Stop {
    fn from(err: Interrupted) -> Self {
        Self::Fatal(err.into())
    }
}

/// The system's reason without its number, for a list that people read.
fn plainly(err: &std::io::Error) -> String {
    let text = err.to_string();
    match text.split_once(" (os error ") {
        Some((reason, _)) => reason.to_lowercase(),
        None => text,
    }
}
