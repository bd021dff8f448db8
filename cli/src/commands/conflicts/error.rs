//! Why a conflict can not be shown or decided.

use std::path::PathBuf;

use crate::{exit::Exit, suggest};

/// Why a conflict can not be shown or decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConflictError {
    #[error("there is no open conflict {number}")]
    Unknown { number: i64, known: Vec<String> },
    #[error("'{path}' in bucket '{bucket}' has no open conflict")]
    NoneAt { bucket: String, path: String, nearest: Option<String>, known: Vec<String> },
    #[error("'{path}' is still as `{what}` left it")]
    Untouched { path: String, what: String },
    #[error("'{path}' has {} other versions", numbers.len())]
    Several { path: String, numbers: Vec<String> },
    #[error("the sides of '{path}' do not differ in their bytes")]
    NotOfContent { path: String },
    #[error("{file} does not exist")]
    NoAnswer { file: PathBuf },
    #[error("{file} is no file")]
    NotAnAnswer { file: PathBuf },
    #[error("something else is at '{place}', where the other side has '{path}'")]
    Taken { path: String, place: String },
    #[error("the side of '{path}' that is not kept is a directory with something in it")]
    NotEmpty { path: String },
    #[error("the directory that '{path}' was in is removed")]
    NowhereToBe { path: String },
}

impl ConflictError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } | Self::NoneAt { .. } | Self::NoAnswer { .. } => Exit::NotFound,
            Self::Several { .. } => Exit::Usage,
            Self::Untouched { .. }
            | Self::NotOfContent { .. }
            | Self::NotAnAnswer { .. }
            | Self::Taken { .. }
            | Self::NotEmpty { .. }
            | Self::NowhereToBe { .. } => Exit::Refused,
        }
    }

    /// Says what to do.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Unknown { known, .. } => suggest::hint(None, "open conflicts", known)
                .unwrap_or_else(|| "there is nothing to decide on this branch".to_owned()),
            Self::NoneAt { nearest, known, .. } => {
                suggest::hint(nearest.as_deref(), "files with a conflict", known)
                    .unwrap_or_else(|| "there is nothing to decide on this branch".to_owned())
            }
            Self::Untouched { .. } => {
                "edit it first, or say --ours, --theirs, --both or --with FILE".to_owned()
            }
            Self::Several { numbers, .. } => format!(
                "decide one after the other, by number ({}), or keep all with --both",
                numbers.join(", ")
            ),
            Self::NotOfContent { .. } => "--ours, --theirs or --both decides".to_owned(),
            Self::NoAnswer { .. } | Self::NotAnAnswer { .. } => {
                "--with takes a file of this machine that has the bytes to keep".to_owned()
            }
            Self::Taken { .. } => {
                "rename what is there first, or keep what shows with --both".to_owned()
            }
            Self::NotEmpty { .. } => {
                "--both keeps both; or move what is in it away first".to_owned()
            }
            Self::NowhereToBe { .. } => {
                "`tesfs restore` brings the directory back first, or --ours leaves it".to_owned()
            }
        }
    }
}
