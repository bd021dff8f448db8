//! What can be typed about branches, snapshots, merges and operations.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum BranchCommand {
    /// Make a branch
    Create {
        /// At most 64 bytes, without / : @ and not beginning with a dot or a dash
        #[arg(value_name = "NAME")]
        name: String,
        /// What it begins with [default: what the folder shows, else main]
        #[arg(long, value_name = "BRANCH|SNAPSHOT|@TIME")]
        from: Option<String>,
    },
    /// List the branches
    #[command(visible_alias = "ls")]
    List {
        /// List abandoned ones too
        #[arg(long)]
        all: bool,
    },
    /// Give a branch another name; its mounts go on
    Rename {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(value_name = "NEW")]
        new: String,
    },
    /// End a branch; it can be restored
    Abandon {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Bring an abandoned branch back
    Restore {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Keep what is shown now under a name
    Create {
        /// At most 64 bytes, without / : @ and not beginning with a dot or a dash
        #[arg(value_name = "NAME")]
        name: String,
        /// What to keep [default: what the folder shows, else main]
        #[arg(long, value_name = "BRANCH|SNAPSHOT|@TIME")]
        from: Option<String>,
    },
    /// List the snapshots
    #[command(visible_alias = "ls")]
    List {
        /// List removed ones too
        #[arg(long)]
        all: bool,
    },
    /// Remove a snapshot; it can be restored
    Remove {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Bring a removed snapshot back
    Restore {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct SwitchArgs {
    /// What to show
    #[arg(value_name = "BRANCH|SNAPSHOT|TIME")]
    pub(crate) to: String,
    /// The mounted folder [default: the one you stand in]
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct MergeArgs {
    /// What to take changes from
    #[arg(value_name = "BRANCH|SNAPSHOT", required_unless_present = "abort")]
    pub(crate) from: Option<String>,
    /// The branch to change [default: what the folder shows, else main]
    #[arg(long, value_name = "BRANCH")]
    pub(crate) into: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where both sides changed something, keep what is here
    #[arg(long, conflicts_with = "theirs")]
    pub(crate) ours: bool,
    /// Where both sides changed something, take what comes
    #[arg(long)]
    pub(crate) theirs: bool,
    /// Take back the last operation, if it is a merge
    #[arg(long, conflicts_with_all = ["from", "into", "dry_run", "ours", "theirs"])]
    pub(crate) abort: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConflictsCommand {
    /// List what is not decided
    #[command(visible_alias = "ls")]
    List,
    /// Show what the sides are: who made them, when, on which branch, and what differs
    Show {
        /// A path, or the number of one conflict [default: all of them]
        #[arg(value_name = "PATH|NUMBER")]
        which: Option<PathBuf>,
    },
    /// Decide one; without an option, as the file is now, after somebody edited it
    Resolve {
        /// A path, or the number of one conflict; `./7` is a path
        #[arg(value_name = "PATH|NUMBER")]
        which: PathBuf,
        #[command(flatten)]
        keep: KeepFlags,
    },
}

/// What is kept of a conflict.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub(crate) struct KeepFlags {
    /// Keep what the branch had
    #[arg(long)]
    pub(crate) ours: bool,
    /// Keep what came
    #[arg(long)]
    pub(crate) theirs: bool,
    /// Keep both, the one that does not show under a name of its own
    #[arg(long)]
    pub(crate) both: bool,
    /// Keep the bytes of a file of this machine
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// List what was done, newest first
    Log {
        /// As many at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Show what one of them did
    Show {
        /// As `tesfs op log` shows it; its first characters are enough
        #[arg(value_name = "OPERATION")]
        operation: String,
        /// As many things at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
}
