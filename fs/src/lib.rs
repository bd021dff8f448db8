//! One VFS core over tree and blobs, and the adapters that show it.
//!
//! Floor 3. The core is synchronous and knows no wire types; an adapter converts and calls. It
//! knows nothing of the network.

mod attributes;
mod caller;
mod error;
#[cfg(feature = "fuse")]
pub mod fuse;
mod line;
mod open_file;
mod prune;
pub mod recovery;
mod reserve;
mod settler;
mod upkeep;
mod vfs;

pub use crate::{
    attributes::{
        AttributeChange, Attributes, DirectoryEntry, FileKind, FsStats, MakeInode, RenameMode,
        TimeChange,
    },
    caller::Caller,
    error::FsError,
    open_file::{ContentKey, OpenFile, OpenWrite, Published, Seek},
    prune::{GoOn, PruneReport, PruneRequest, Pruner},
    reserve::give_reserve,
    settler::{Settler, SettlerSettings},
    upkeep::{Looked, Upkeep, UpkeepError},
    vfs::{
        DecideError, FileState, FileStory, Restore, Restored, Touched, VersionLine, Vfs, VfsOptions,
    },
};
