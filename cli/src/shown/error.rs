//! Why a name on the command line shows nothing, or not what is asked for.

use crate::{exit::Exit, said::TIMES, suggest, time::Moment};

/// Why a name shows nothing, or not what is asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShownError {
    #[error("no bucket named '{name}'")]
    UnknownBucket { name: String, nearest: Option<String>, known: Vec<String> },
    #[error("bucket '{name}' was removed")]
    BucketRemoved { name: String },
    #[error("it is not clear which bucket is meant")]
    WhichBucket { buckets: Vec<String> },
    #[error("bucket '{bucket}' has no branch or snapshot '{branch}'")]
    UnknownBranch {
        bucket: String,
        branch: String,
        nearest: Option<String>,
        known: Vec<String>,
        /// A time could have been said, too.
        or_time: bool,
    },
    #[error("there was no bucket '{bucket}' as of '{said}'")]
    BeforeBucket { bucket: String, said: String, made: Moment },
    #[error("of bucket '{bucket}' nothing is kept that is as old as '{said}'")]
    NotKept { bucket: String, said: String },
    #[error("bucket '{bucket}' has no branch or snapshot '{branch}' any more")]
    BranchAbandoned { bucket: String, branch: String },
    #[error("'{bucket}@{branch}' is a branch of a bucket, and this command is about all of it")]
    BranchNamed { bucket: String, branch: String },
    #[error("'{name}' is a {is}, and no {isnt}")]
    OtherKind { name: String, is: &'static str, isnt: &'static str },
    #[error("'{shown}' is as it was, and stays so: nothing can be changed in it")]
    Past { shown: String, branch: String },
}

impl ShownError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::UnknownBucket { .. }
            | Self::BucketRemoved { .. }
            | Self::UnknownBranch { .. }
            | Self::BeforeBucket { .. }
            | Self::NotKept { .. }
            | Self::BranchAbandoned { .. } => Exit::NotFound,
            Self::WhichBucket { .. } | Self::BranchNamed { .. } => Exit::Usage,
            Self::OtherKind { .. } | Self::Past { .. } => Exit::Refused,
        }
    }

    /// Says what to do.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::UnknownBucket { name, nearest, known } => {
                unknown_bucket_hint(name, nearest.as_deref(), known)
            }
            Self::BucketRemoved { name } => {
                format!("`tesfs bucket restore {name}` brings it back, with everything in it")
            }
            Self::WhichBucket { buckets } if buckets.is_empty() => {
                "there is none yet; `tesfs mount DIR` makes one".to_owned()
            }
            Self::WhichBucket { buckets } => format!(
                "go into a mounted folder, or say --bucket with one of: {}",
                buckets.join(", ")
            ),
            Self::UnknownBranch { bucket, nearest, known, or_time, .. } => {
                let hint = unknown_branch_hint(bucket, nearest.as_deref(), known);
                if *or_time { format!("{hint}\na time is said as in {TIMES}") } else { hint }
            }
            Self::BeforeBucket { made, .. } => format!("it was made at {made}"),
            Self::NotKept { bucket, .. } => {
                format!("`tesfs bucket show {bucket}` says what its setting `history` keeps")
            }
            Self::BranchAbandoned { bucket, branch } => {
                format!("`tesfs branch restore {branch} --bucket {bucket}` brings it back")
            }
            Self::BranchNamed { bucket, .. } => {
                format!("name the bucket alone ('{bucket}'), or see `tesfs branch --help`")
            }
            Self::OtherKind { is, .. } => {
                format!("`tesfs {is} --help` says what can be done with it")
            }
            Self::Past { branch, .. } => {
                format!(
                    "`tesfs branch create NAME --from {branch}` makes a branch of it to work on"
                )
            }
        }
    }
}

fn unknown_bucket_hint(name: &str, nearest: Option<&str>, known: &[String]) -> String {
    if nearest.is_none() && name.contains('/') {
        return "the bucket comes before the folder: `tesfs mount BUCKET DIR`".to_owned();
    }
    match suggest::hint(nearest, "buckets", known) {
        Some(hint) if nearest.is_some() => hint,
        Some(hint) => format!("{hint}; `tesfs bucket create {name}` makes a new one"),
        None => format!("there is none yet: `tesfs bucket create {name}` makes it"),
    }
}

fn unknown_branch_hint(bucket: &str, nearest: Option<&str>, known: &[String]) -> String {
    suggest::hint(nearest, "branches and snapshots", known)
        .unwrap_or_else(|| format!("`tesfs branch list --bucket {bucket}` lists them"))
}
