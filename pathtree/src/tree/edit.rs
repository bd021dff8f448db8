//! Attributes: who owns an inode, its permissions, its set times.

use rusqlite::params;

use super::{
    Inode, SetTime, TreeError, View,
    change::{Facet, FacetVersion, record, supersede},
    edge::require_inode,
};
use crate::{
    db::{Doing as _, Tx},
    id::{Ino, OperationId},
};

/// Which attributes change, and to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributeEdit {
    /// Permission bits (07777); the type never changes.
    pub permissions: Option<u32>,
    /// Owning user.
    pub uid: Option<u32>,
    /// Owning group.
    pub gid: Option<u32>,
    /// Access time in Unix nanoseconds.
    pub atime_ns: Option<i64>,
    /// Modification time in Unix nanoseconds.
    pub mtime_ns: Option<i64>,
}

impl AttributeEdit {
    /// Says whether anything is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Gives an inode's attributes a new version.
///
/// # Errors
///
/// [`TreeError::InodeGone`].
pub fn set_attributes(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    ino: Ino,
    edit: &AttributeEdit,
) -> Result<Inode, TreeError> {
    let mut inode = require_inode(tx, view, ino)?;
    if edit.is_empty() {
        return Ok(inode);
    }
    let stamp = tx.next_stamp();
    let old = FacetVersion {
        row: ino,
        facet: Facet::Attributes,
        stamp: inode.attributes,
        born: inode.id.0,
    };
    supersede(tx, view, old, stamp, operation)?;
    if let Some(permissions) = edit.permissions {
        inode.mode = inode.mode & !0o7777 | permissions & 0o7777;
    }
    inode.attr.uid = edit.uid.unwrap_or(inode.attr.uid);
    inode.attr.gid = edit.gid.unwrap_or(inode.attr.gid);
    inode.attr.atime_ns = edit.atime_ns.or(inode.attr.atime_ns);
    if let Some(to_ns) = edit.mtime_ns {
        inode.attr.mtime = Some(SetTime { to_ns, at: stamp.hlc });
    }
    inode.attributes = stamp;
    tx.prepare_cached(
        "UPDATE inodes SET mode = ?3, attr = ?4, a_since = ?5, a_actor = ?6
         WHERE id = ?1 AND branch = ?2",
    )
    .and_then(|mut stmt| {
        let attr = inode.attr.encode();
        stmt.execute(params![ino, view.branch, inode.mode, attr, stamp.hlc, stamp.actor])
    })
    .doing("changing attributes")?;
    record(tx, view, stamp, ino, Facet::Attributes.bit(), operation)?;
    Ok(inode)
}

/// Notes in an inode's row that something outside of its facets changed now, for its ctime.
///
/// # Errors
///
/// A failed statement.
pub fn touch(tx: &Tx<'_>, view: &View, ino: Ino) -> Result<(), TreeError> {
    let stamp = tx.next_stamp();
    super::change::count_links(tx, view, ino, stamp, 0)?;
    Ok(())
}
