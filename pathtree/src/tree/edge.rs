//! Edges: creating what they lead to, linking, unlinking.

use rusqlite::params;

use super::{
    Attr, Edge, Inode, NewOperation, S_IFDIR, S_IFMT, TreeError, View,
    adopt::adopt,
    change::{
        CREATED_ALL, CREATED_EDGE, Facet, FacetVersion, count_links, record, supersede,
        touch_directory,
    },
    inode::{edge, has_edges, inode},
    purge::purge_instead,
    store_operation,
};
use crate::{
    bucket::Owner,
    db::{DbError, Doing as _, Tx},
    id::{BlobNumber, BranchNumber, BucketNumber, Ino, OperationId, Stamp},
    name::Name,
};

/// As many live edges as one inode can have: a bound, not a limit anybody should meet.
const LINKS_MAX: u32 = 65_000;

/// What a new inode begins with.
#[derive(Clone, Copy, Debug)]
pub struct NewInode<'a> {
    /// Type and permission bits.
    pub mode: u32,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Device number of a device node, else 0.
    pub rdev: u64,
    /// Target of a symbolic link, else `None`.
    pub symlink: Option<&'a [u8]>,
}

/// What removing an edge left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlinked {
    /// What the edge led to.
    pub ino: Ino,
    /// Edges that still lead there.
    pub nlink: u32,
    /// The inode was created and unlinked within one operation and is gone without history.
    pub purged: bool,
    /// Blobs that no version holds any more because of that.
    pub dropped: Vec<BlobNumber>,
}

/// Creates the root directory of a new branch; nothing leads to it.
pub(crate) fn create_root(
    tx: &Tx<'_>,
    (bucket, branch): (BucketNumber, BranchNumber),
    (root, stamp): (Ino, Stamp),
    owner: Owner,
) -> Result<(), DbError> {
    let view = &View::plain(bucket, branch, root);
    let new = NewOperation { who: "node", what: "create a bucket" };
    let operation = store_operation(tx, view, stamp, &new)?;
    let mode = S_IFDIR | 0o755;
    let attr = Attr { uid: owner.uid, gid: owner.gid, ..Attr::default() };
    insert(tx, view, stamp, root, Ino::NOWHERE, None, &Row { mode, attr: attr.encode(), size: 0 })?;
    record(tx, view, stamp, root, CREATED_ALL, operation)
}

/// Creates an inode in `parent` under `name`: empty, with its first edge.
///
/// # Errors
///
/// - [`TreeError::NotADirectory`], [`TreeError::InodeGone`]: `parent` can not hold edges.
/// - [`TreeError::EdgeExists`]: the name is taken.
pub fn create(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    parent: &Inode,
    name: &Name,
    new: &NewInode<'_>,
) -> Result<Inode, TreeError> {
    require_open_directory(parent)?;
    require_free(tx, view, parent.ino, name)?;
    let stamp = tx.next_stamp();
    let ino = tx.next_ino()?;
    let attr = Attr { uid: new.uid, gid: new.gid, rdev: new.rdev, ..Attr::default() };
    let size = new.symlink.map_or(0, <[u8]>::len);
    let row = Row { mode: new.mode, attr: attr.encode(), size: size as u64 };
    let is_directory = new.mode & S_IFMT == S_IFDIR;
    touch_parent(tx, view, parent.ino, stamp, is_directory.into())?;
    let content_mtime_ns = insert(tx, view, stamp, ino, parent.ino, Some(name), &row)?;
    if let Some(target) = new.symlink {
        tx.prepare_cached("INSERT INTO symlinks (id, target) VALUES (?1, ?2)")
            .and_then(|mut stmt| stmt.execute(params![ino, target]))
            .doing("creating a symbolic link")?;
    }
    record(tx, view, stamp, ino, CREATED_ALL, operation)?;
    Ok(Inode {
        ino,
        id: crate::id::InodeId(stamp),
        parent: parent.ino,
        mode: new.mode,
        attr,
        size: size as u64,
        blob: None,
        nlink: if is_directory { 2 } else { 1 },
        edge: stamp,
        attributes: stamp,
        content: stamp,
        content_mtime_ns,
        ctime_cache_ns: None,
    })
}

/// Columns of a new row beyond its edge.
struct Row {
    mode: u32,
    attr: Option<Vec<u8>>,
    size: u64,
}

/// Returns the modification time that the inode begins with.
fn insert(
    tx: &Tx<'_>,
    view: &View,
    stamp: Stamp,
    ino: Ino,
    parent: Ino,
    name: Option<&Name>,
    row: &Row,
) -> Result<i64, DbError> {
    let is_directory = row.mode & S_IFMT == S_IFDIR;
    // Stamps count milliseconds. `make` compares files it touches to files it writes, by their
    // nanoseconds; a directory's time is compared to stamps.
    let mtime_ns = if is_directory { stamp.hlc.unix_ns() } else { tx.now_ns() };
    let name = name.map_or(&[][..], Name::as_bytes);
    let nlink = if is_directory { 2 } else { 1 };
    tx.prepare_cached(
        "INSERT INTO inodes (id, branch, born, born_actor, parent, name, e_since, e_actor,
                             mode, attr, a_since, a_actor, size, mtime_ns, c_since, c_actor, nlink)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?8, 0, 0, ?9, ?10, 0, 0, ?11)",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![
            ino,
            view.branch,
            stamp.hlc,
            stamp.actor,
            parent,
            name,
            row.mode,
            row.attr,
            row.size.cast_signed(),
            mtime_ns,
            nlink,
        ])
    })
    .doing("creating an inode")?;
    Ok(mtime_ns)
}

/// Makes a further hard link to `ino`.
///
/// # Errors
///
/// - [`TreeError::InodeGone`]: nothing leads to the inode any more.
/// - [`TreeError::IsADirectory`]: directories have one edge.
/// - [`TreeError::TooManyLinks`], [`TreeError::EdgeExists`], [`TreeError::NotADirectory`].
pub fn link(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    ino: Ino,
    parent: &Inode,
    name: &Name,
) -> Result<Inode, TreeError> {
    require_open_directory(parent)?;
    let target = inode(tx, view, ino)?.ok_or(TreeError::InodeGone(ino))?;
    if target.is_directory() {
        return Err(TreeError::IsADirectory(ino));
    }
    if target.nlink == 0 {
        return Err(TreeError::InodeGone(ino));
    }
    if target.nlink >= LINKS_MAX {
        return Err(TreeError::TooManyLinks(ino));
    }
    require_free(tx, view, parent.ino, name)?;
    let stamp = tx.next_stamp();
    let row = tx.next_ino()?;
    // What a branch inherits is counted as it was before.
    adopt(tx, view, ino)?;
    touch_parent(tx, view, parent.ino, stamp, 0)?;
    tx.prepare_cached(
        "INSERT INTO inodes (id, branch, born, born_actor, parent, name, target, e_since, e_actor)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0)",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![row, view.branch, stamp.hlc, stamp.actor, parent.ino, name, ino])
    })
    .doing("creating a hard link")?;
    count_links(tx, view, ino, stamp, 1)?;
    record(tx, view, stamp, row, CREATED_EDGE, operation)?;
    require_inode(tx, view, ino)
}

/// Removes the edge `name` of `parent`, which must not lead to a directory.
///
/// An inode that was created within the same operation leaves no history when its last edge goes,
/// unless it is `held` (open): then [`purge_transient`](super::purge_transient) does that at its
/// last release.
///
/// # Errors
///
/// [`TreeError::EdgeNotFound`], [`TreeError::IsADirectory`].
pub fn unlink(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    parent: Ino,
    name: &Name,
    held: impl Fn(Ino) -> bool,
) -> Result<Unlinked, TreeError> {
    let edge = require_edge(tx, view, parent, name)?;
    let inode = require_inode(tx, view, edge.ino)?;
    if inode.is_directory() {
        return Err(TreeError::IsADirectory(edge.ino));
    }
    let stamp = tx.next_stamp();
    touch_parent(tx, view, parent, stamp, 0)?;
    let left = Unlinked { ino: edge.ino, nlink: inode.nlink - 1, purged: false, dropped: vec![] };
    if left.nlink == 0
        && !held(edge.ino)
        && let Some(dropped) = purge_instead(tx, view, operation, &inode, edge)?
    {
        return Ok(Unlinked { purged: true, dropped, ..left });
    }
    hang(tx, view, stamp, operation, edge, &Place::NOWHERE, -1)?;
    Ok(left)
}

/// Removes the empty directory that `name` leads to in `parent`.
///
/// # Errors
///
/// [`TreeError::EdgeNotFound`], [`TreeError::NotADirectory`], [`TreeError::DirectoryNotEmpty`].
pub fn remove_directory(
    tx: &Tx<'_>,
    view: &View,
    operation: OperationId,
    parent: Ino,
    name: &Name,
) -> Result<Unlinked, TreeError> {
    let edge = require_edge(tx, view, parent, name)?;
    let inode = require_inode(tx, view, edge.ino)?;
    if !inode.is_directory() {
        return Err(TreeError::NotADirectory(edge.ino));
    }
    if has_edges(tx, view, edge.ino)? {
        return Err(TreeError::DirectoryNotEmpty(edge.ino));
    }
    let stamp = tx.next_stamp();
    touch_parent(tx, view, parent, stamp, -1)?;
    hang(tx, view, stamp, operation, edge, &Place::NOWHERE, -i64::from(inode.nlink))?;
    Ok(Unlinked { ino: edge.ino, nlink: 0, purged: false, dropped: vec![] })
}

/// Notes in a directory that an edge of it comes or goes, before that is done.
///
/// # Errors
///
/// [`TreeError::InodeGone`]: the directory was removed since the caller looked.
pub(super) fn touch_parent(
    tx: &Tx<'_>,
    view: &View,
    parent: Ino,
    stamp: Stamp,
    directories_delta: i64,
) -> Result<(), TreeError> {
    match touch_directory(tx, view, parent, stamp, directories_delta)? {
        true => Ok(()),
        false => Err(TreeError::InodeGone(parent)),
    }
}

/// Where an edge hangs.
pub(super) struct Place<'a> {
    pub(super) parent: Ino,
    pub(super) name: Option<&'a Name>,
    pub(super) replaces: Option<Ino>,
}

impl Place<'_> {
    /// What is unlinked keeps its name and what it had replaced: a withdrawal may ask for both.
    pub(super) const NOWHERE: Self = Self { parent: Ino::NOWHERE, name: None, replaces: None };
}

/// Gives an edge a new version: another place. With it the inode gains (or loses) `links`; the
/// directories are the caller's.
pub(super) fn hang(
    tx: &Tx<'_>,
    view: &View,
    stamp: Stamp,
    operation: OperationId,
    edge: Edge,
    place: &Place<'_>,
    links: i64,
) -> Result<(), DbError> {
    let old =
        FacetVersion { row: edge.row, facet: Facet::Edge, stamp: edge.version, born: edge.id.0 };
    adopt(tx, view, edge.ino)?;
    supersede(tx, view, old, stamp, operation)?;
    // An own edge shares its row with the inode. Of a further one the inode has to be told.
    tx.prepare_cached(
        "UPDATE inodes SET parent = ?3, name = coalesce(?4, name),
                           replaces = iif(?3 = 0, replaces, ?5), e_since = ?6, e_actor = ?7,
                           nlink = nlink + ?8
         WHERE id = ?1 AND branch = ?2",
    )
    .and_then(|mut stmt| {
        stmt.execute(params![
            edge.row,
            view.branch,
            place.parent,
            place.name,
            place.replaces,
            stamp.hlc,
            stamp.actor,
            links,
        ])
    })
    .doing("hanging an edge elsewhere")?;
    if edge.row != edge.ino {
        count_links(tx, view, edge.ino, stamp, links)?;
    }
    record(tx, view, stamp, edge.row, Facet::Edge.bit(), operation)
}

pub(super) fn require_open_directory(directory: &Inode) -> Result<(), TreeError> {
    if !directory.is_directory() {
        Err(TreeError::NotADirectory(directory.ino))
    } else if directory.nlink == 0 {
        Err(TreeError::InodeGone(directory.ino))
    } else {
        Ok(())
    }
}

pub(super) fn require_free(
    tx: &Tx<'_>,
    view: &View,
    parent: Ino,
    name: &Name,
) -> Result<(), TreeError> {
    match edge(tx, view, parent, name)? {
        Some(_) => Err(TreeError::EdgeExists { parent, name: name.clone() }),
        None => Ok(()),
    }
}

pub(super) fn require_edge(
    tx: &Tx<'_>,
    view: &View,
    parent: Ino,
    name: &Name,
) -> Result<Edge, TreeError> {
    edge(tx, view, parent, name)?
        .ok_or_else(|| TreeError::EdgeNotFound { parent, name: name.clone() })
}

pub(super) fn require_inode(tx: &Tx<'_>, view: &View, ino: Ino) -> Result<Inode, TreeError> {
    inode(tx, view, ino)?.ok_or(TreeError::InodeGone(ino))
}
