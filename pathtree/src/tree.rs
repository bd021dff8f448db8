//! The tree: inodes and the edges between them, in versions.
//!
//! Every function takes the connection or transaction of its caller and a [`View`], the branch it
//! looks at or changes. A change gets a stamp, is written to the log of changes, and keeps what it
//! supersedes in `past` unless nothing can have seen that.

mod adopt;
mod alike;
mod apart;
mod apply;
mod attr;
mod base;
mod change;
mod conflict;
mod content;
mod diff;
mod edge;
mod edit;
mod error;
mod history;
mod inode;
mod log;
mod merge;
mod operation;
mod prune;
mod purge;
mod relink;
mod removed;
mod rename;
mod resolve;
mod row;
mod sides;
mod stats;
mod still;
mod undo;
mod versions;
mod view;
mod withdraw;
mod xattr;

#[cfg(test)]
mod tests;

pub(crate) use self::edge::create_root;
pub use self::{
    alike::Alike,
    apart::{Apart, apart},
    apply::{Applied, Bytes, Favour, MergeBytes, SameBytes},
    attr::{Attr, SetTime},
    conflict::{
        Conflict, ConflictKind, conflict, conflict_count, conflicts, conflicts_at, keep_as_conflict,
    },
    content::{ContentVersion, NewContent, Published, contents, publish, replace_blob},
    diff::{Difference, Side, changed_apart, differences},
    edge::{NewInode, Unlinked, create, link, remove_directory, unlink},
    edit::{AttributeEdit, set_attributes, touch},
    error::TreeError,
    history::{LastAt, history, last_at, last_place_of, succeeds, successor},
    inode::{
        Edge, Inode, Listed, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, inode, last_name, list, lookup,
        names, symlink_target,
    },
    log::{Event, Located, Log, Logged, Origin, What, origin},
    merge::{Merge, MergeError, merge},
    operation::{NewOperation, Operation, merged_from, operation, operations, store_operation},
    prune::{
        Asked, DecidedConflict, Prunable, PruneCount, PruneSearch, Pruned, Pruning, RowsOfBranch,
        begin_to_forget, branches_to_forget, buckets_to_forget, decided_conflicts,
        emptied_operations, forget_bucket, forget_conflict, forget_operations, forget_rest,
        forget_rows, nearest_kept, operations_of_branch, prune, rows_of_branch,
    },
    purge::purge_transient,
    relink::relink,
    removed::{Removed, removed, removed_as},
    rename::{Renamed, exchange, rename},
    resolve::{Resolution, resolve},
    sides::{ConflictSide, Sides, sides},
    stats::{BlobUse, REFERENCES_SQL, TreeStats, blob_uses, stats, stray_edges, versions_of},
    still::{hold_still, is_still, last_change},
    undo::{UndoError, Undone, abort_merge, redo, undo},
    versions::{TouchedRow, touched_by_newest},
    view::View,
    withdraw::{Withdrawn, withdraw_blob},
    xattr::{XattrEdit, remove_xattr, set_xattr, xattr, xattr_names},
};
