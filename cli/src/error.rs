//! Why a command failed, what its exit code is, and what the operator can do about it.

use std::{io, path::PathBuf};

use tesfs_blobs::BlobError;
use tesfs_fs::{DecideError, FsError, fuse::MountError};
use tesfs_pathtree::{
    Chain, DbError, IdentityError, OpenError,
    branch::BranchError,
    bucket::BucketError,
    moment::MomentError,
    settings::SettingsError,
    tree::{MergeError, UndoError},
};

use crate::{
    commands::{conflicts::ConflictError, switch::SwitchError},
    config::ConfigError,
    control::ControlError,
    exit::Exit,
    failure::Failure,
    lock::LockError,
    paths::DataDirError,
    progress::Interrupted,
    shown::ShownError,
    target::TargetError,
    time::Moment,
    version::VersionError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Shown(#[from] ShownError),
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Switch(#[from] SwitchError),
    #[error(transparent)]
    Branch(#[from] BranchError),
    #[error(transparent)]
    Decide(#[from] DecideError),
    #[error("no operation is called '{name}'")]
    UnknownOperation { name: String },
    #[error("several operations are called '{name}…'")]
    AmbiguousOperation { name: String, known: Vec<String> },
    #[error(
        "the last operation on '{branch}' is no merge: it is `{what}` of {began} ({operation})"
    )]
    LastIsNoMerge {
        branch: String,
        operation: String,
        what: String,
        began: Moment,
        /// The last merge before it that is in force.
        merge: Option<String>,
    },
    #[error(transparent)]
    Conflict(#[from] ConflictError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Moment(#[from] MomentError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A running node refused, and said why.
    #[error(transparent)]
    Answered(#[from] Failure),
    #[error("there is no data directory at {path} yet")]
    NoDataDir { path: PathBuf },
    #[error("'{bucket}' is mounted at {dir}")]
    BucketMounted { bucket: String, dir: PathBuf },
    #[error("'{bucket}' is in use by another command")]
    BucketBusy { bucket: String },
    #[error("'{bucket}' is mounted read-only at {dir}")]
    BucketReadOnly { bucket: String, dir: PathBuf },
    #[error("{written} is not inside a mounted bucket")]
    NotInBucket { written: PathBuf, buckets: Vec<String> },
    #[error("no '{path}' in bucket '{bucket}'")]
    NoSuchPath { bucket: String, path: String, nearest: Option<String> },
    #[error("'{path}' in bucket '{bucket}' was removed, {gone}")]
    Removed {
        bucket: String,
        path: String,
        gone: Moment,
        /// A time at which it was there, as it is said on a command line; `None` where it was never
        /// seen from outside the operation that removed it.
        before: Option<String>,
    },
    #[error("'{path}' in bucket '{bucket}' is no directory")]
    NotADirectory { bucket: String, path: String },
    #[error("'{one}' and '{other}' are two buckets: they have nothing in common")]
    DiffBuckets { one: String, other: String },
    #[error("something else is at '{path}' in bucket '{bucket}'")]
    RestoreTaken { bucket: String, path: String },
    #[error("'{path}' in bucket '{bucket}' is there as it is")]
    NotRemoved { bucket: String, path: String },
    #[error("'{path}' in bucket '{bucket}' is no file")]
    NotAFile { bucket: String, path: String },
    #[error("'..' cannot be used in the path '{path}' inside a bucket")]
    ParentInPath { path: String },
    #[error("'{name}' is no name for a file: {rule}")]
    BadName { name: String, rule: String },
    #[error("{dir} is inside the data directory {data_dir}")]
    MountInDataDir { dir: PathBuf, data_dir: PathBuf },
    #[error("the data directory {data_dir} is inside {dir}")]
    DataDirInMount { dir: PathBuf, data_dir: PathBuf },
    #[error("{dir} has no name to call a bucket after")]
    NamelessMount { dir: PathBuf },
    #[error("nothing of tesfs is mounted at {dir}")]
    NotMounted { dir: PathBuf },
    #[error("{dir} is in use: {open}")]
    MountBusy { dir: PathBuf, open: String },
    #[error("only root may mount with {option}")]
    RootOnly { option: &'static str },
    #[error("{path} does not exist")]
    SourceMissing { path: PathBuf },
    #[error("{path} is inside a folder that this node mounts")]
    SourceInMount { path: PathBuf },
    #[error("{path} is the data directory or inside it")]
    SourceInDataDir { path: PathBuf },
    #[error("{path} exists and is not an empty directory")]
    DestNotEmpty { path: PathBuf },
    #[error("{path} exists already")]
    DestExists { path: PathBuf },
    #[error("{path} is inside a folder that this node mounts")]
    DestInMount { path: PathBuf },
    #[error("{doing} failed on {path}")]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{doing} failed on '{path}'")]
    Tree {
        doing: &'static str,
        path: String,
        #[source]
        source: Box<FsError>,
    },
    #[error("the node could not be started: {doing} failed")]
    Start {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("a node already runs on {dir}")]
    NodeRuns { dir: PathBuf },
    #[error("the background process ended without a word")]
    BackgroundEnded,
    #[error("what was written could not be put safely on the disk")]
    Settle {
        #[source]
        source: Box<FsError>,
    },
    #[error("recovery of the last run failed")]
    Recovery {
        #[source]
        source: Box<FsError>,
    },
}

impl CliError {
    /// Turns the error into what is shown and sent.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Answered(failure) => failure,
            err => Failure { message: Chain(&err).to_string(), hint: err.hint(), exit: err.exit() },
        }
    }

    /// What a refusal or failure of the tree at `path` means.
    pub(crate) fn tree(doing: &'static str, path: impl Into<String>, source: FsError) -> Self {
        Self::Tree { doing, path: path.into(), source: Box::new(source) }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Target(_)
            | Self::Moment(_)
            | Self::NotRemoved { .. }
            | Self::DiffBuckets { .. }
            | Self::AmbiguousOperation { .. }
            | Self::ParentInPath { .. }
            | Self::BadName { .. }
            | Self::NamelessMount { .. } => Exit::Usage,
            Self::DataDir(err) => data_dir_exit(err),
            Self::Lock(LockError::Held { .. }) => Exit::Refused,
            Self::Open(err) => open_exit(err),
            Self::Bucket(err) => bucket_exit(err),
            Self::Settings(err) => settings_exit(err),
            Self::Shown(err) => err.exit(),
            Self::Version(err) => err.exit(),
            Self::Switch(err) => err.exit(),
            Self::Branch(err) => branch_exit(err),
            Self::Decide(err) => decide_exit(err),
            Self::Conflict(err) => err.exit(),
            Self::Database(err) if err.is_full() => Exit::Unavailable,
            Self::Blobs(err) if err.is_full() => Exit::Unavailable,
            Self::Blobs(err) if err.is_damage() => Exit::Damaged,
            Self::Mount(err) => mount_exit(err),
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Answered(failure) => failure.exit,
            Self::NoDataDir { .. }
            | Self::UnknownOperation { .. }
            | Self::NotInBucket { .. }
            | Self::NoSuchPath { .. }
            | Self::Removed { .. }
            | Self::NotMounted { .. }
            | Self::SourceMissing { .. } => Exit::NotFound,
            Self::LastIsNoMerge { .. }
            | Self::BucketMounted { .. }
            | Self::BucketBusy { .. }
            | Self::BucketReadOnly { .. }
            | Self::NotADirectory { .. }
            | Self::NotAFile { .. }
            | Self::RestoreTaken { .. }
            | Self::MountInDataDir { .. }
            | Self::DataDirInMount { .. }
            | Self::MountBusy { .. }
            | Self::RootOnly { .. }
            | Self::SourceInMount { .. }
            | Self::SourceInDataDir { .. }
            | Self::DestNotEmpty { .. }
            | Self::DestExists { .. }
            | Self::DestInMount { .. }
            | Self::NodeRuns { .. } => Exit::Refused,
            Self::Control(ControlError::NotAllowed { .. } | ControlError::Ending) => Exit::Refused,
            Self::Identity(IdentityError::NotAKey { .. }) => Exit::Damaged,
            Self::Identity(IdentityError::Io { source, .. }) | Self::File { source, .. } => {
                io_exit(source)
            }
            Self::Tree { source, .. } | Self::Settle { source } | Self::Recovery { source } => {
                io_exit(&io::Error::from_raw_os_error(source.errno()))
            }
            Self::Lock(LockError::Io { .. })
            | Self::Identity(IdentityError::NoRandomness(_))
            | Self::Control(_)
            | Self::Database(_)
            | Self::Blobs(_)
            | Self::Start { .. }
            | Self::BackgroundEnded => Exit::Failure,
        }
    }
}

fn data_dir_exit(err: &DataDirError) -> Exit {
    match err {
        DataDirError::Full { .. } => Exit::Unavailable,
        DataDirError::DatabaseGone { .. } => Exit::Damaged,
        DataDirError::NoHome | DataDirError::Io { .. } => Exit::Failure,
        _ => Exit::Refused,
    }
}

fn open_exit(err: &OpenError) -> Exit {
    match err {
        OpenError::FromTheFuture { .. } => Exit::Refused,
        OpenError::NotADatabase { .. } | OpenError::Damaged { .. } => Exit::Damaged,
        OpenError::Database { source, .. } if source.is_full() => Exit::Unavailable,
        _ => Exit::Failure,
    }
}

fn decide_exit(err: &DecideError) -> Exit {
    match err {
        DecideError::Merge(MergeError::IntoItself | MergeError::OtherBucket)
        | DecideError::Undo(
            UndoError::Nothing { .. }
            | UndoError::Already { .. }
            | UndoError::NotAMerge(_)
            | UndoError::Pruned(_),
        ) => Exit::Refused,
        DecideError::Undo(UndoError::NotFound(_)) => Exit::NotFound,
        DecideError::Merge(MergeError::Tree(_) | MergeError::Database(_))
        | DecideError::Undo(UndoError::Tree(_) | UndoError::Database(_)) => Exit::Failure,
        DecideError::Fs(err) => io_exit(&io::Error::from_raw_os_error(err.errno())),
    }
}

fn branch_exit(err: &BranchError) -> Exit {
    match err {
        BranchError::NotFound { .. } | BranchError::BeforeBirth { .. } => Exit::NotFound,
        BranchError::BadName { .. } | BranchError::Automatic { .. } => Exit::Usage,
        BranchError::NameTaken { .. }
        | BranchError::NotAbandoned { .. }
        | BranchError::IsMain
        | BranchError::TooMany => Exit::Refused,
        BranchError::Database(err) if err.is_full() => Exit::Unavailable,
        BranchError::Database(_) => Exit::Failure,
    }
}

fn bucket_exit(err: &BucketError) -> Exit {
    match err {
        BucketError::NotFound { .. } => Exit::NotFound,
        BucketError::BadName { .. } => Exit::Usage,
        BucketError::NameTaken { .. } | BucketError::TooMany => Exit::Refused,
        BucketError::Database(err) if err.is_full() => Exit::Unavailable,
        _ => Exit::Failure,
    }
}

fn settings_exit(err: &SettingsError) -> Exit {
    match err {
        SettingsError::NoValue { .. }
        | SettingsError::UnknownKey { .. }
        | SettingsError::BadValue { .. }
        | SettingsError::SetTwice { .. } => Exit::Usage,
        SettingsError::Unreadable { .. } => Exit::Refused,
        SettingsError::Database(err) if err.is_full() => Exit::Unavailable,
        SettingsError::Database(_) => Exit::Failure,
    }
}

fn io_exit(err: &io::Error) -> Exit {
    match err.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::Unavailable,
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::DirectoryNotEmpty
        | io::ErrorKind::ReadOnlyFilesystem => Exit::Refused,
        // Symlinks that lead to each other.
        _ if err.raw_os_error() == Some(libc::ELOOP) => Exit::Refused,
        _ => Exit::Failure,
    }
}

fn mount_exit(err: &MountError) -> Exit {
    match err {
        MountError::NoFuseDevice | MountError::FusermountMissing => Exit::Unavailable,
        MountError::Io { .. } => Exit::Failure,
        _ => Exit::Refused,
    }
}
