//! Reading the tree: an inode, a name, a directory.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Attr, View,
    row::{Row as Shown, count, counted_row, row, rows_at, rows_in, rows_to, untouched_on},
};
use crate::{
    db::{DbError, Doing as _},
    id::{ActorNumber, BlobNumber, BranchNumber, EdgeId, Hlc, Ino, InodeId, Stamp},
    name::Name,
};

/// Mask of the type bits of a mode.
pub const S_IFMT: u32 = 0o170_000;
/// Type bits of a directory.
pub const S_IFDIR: u32 = 0o040_000;
/// Type bits of a regular file.
pub const S_IFREG: u32 = 0o100_000;
/// Type bits of a symbolic link.
pub const S_IFLNK: u32 = 0o120_000;

/// An inode with the newest version of each of its facets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// This node's number.
    pub ino: Ino,
    /// Its id everywhere.
    pub id: InodeId,
    /// Where its first edge hangs; [`Ino`] 0 where that edge was removed.
    pub parent: Ino,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner, device number, set times.
    pub attr: Attr,
    /// Bytes of its content.
    pub size: u64,
    /// Where the bytes are; `None` where there are none.
    pub blob: Option<BlobNumber>,
    /// Live edges; of a directory: 2 and one for each directory in it.
    pub nlink: u32,
    /// The version of its first edge.
    pub edge: Stamp,
    /// The version of its attributes.
    pub attributes: Stamp,
    /// The version of its content.
    pub content: Stamp,
    pub(super) content_mtime_ns: i64,
    pub(super) ctime_cache_ns: Option<i64>,
}

impl Inode {
    /// Says whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    /// Says whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & S_IFMT == S_IFREG
    }

    /// Returns the modification time: what was set last, by new content or by somebody.
    pub fn mtime_ns(&self) -> i64 {
        let content_at_ns =
            if self.is_directory() { self.content_mtime_ns } else { self.content.hlc.unix_ns() };
        match self.attr.mtime {
            Some(set) if set.at.unix_ns() >= content_at_ns => set.to_ns,
            _ => self.content_mtime_ns,
        }
    }

    /// Returns when anything of it changed last.
    pub fn ctime_ns(&self) -> i64 {
        let content_ns = self.ctime_cache_ns.unwrap_or_else(|| self.content.hlc.unix_ns());
        let edges_ns = if self.is_directory() { self.content_mtime_ns } else { content_ns };
        let newest = self.edge.hlc.max(self.attributes.hlc);
        newest.unix_ns().max(content_ns).max(edges_ns)
    }

    /// Returns when it was born.
    pub fn btime_ns(&self) -> i64 {
        self.id.0.hlc.unix_ns()
    }

    /// Returns the access time: its birth until somebody sets one. Reading never changes it.
    pub fn atime_ns(&self) -> i64 {
        self.attr.atime_ns.unwrap_or_else(|| self.btime_ns())
    }
}

/// A live edge: which row holds it, and the inode it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The row: the inode's own, or that of a further hard link.
    pub(super) row: Ino,
    /// Its id everywhere.
    pub id: EdgeId,
    /// Its current version.
    pub version: Stamp,
    /// What it leads to.
    pub ino: Ino,
    /// The inode that it took its name from.
    pub replaces: Option<Ino>,
}

impl Edge {
    /// The row that holds it.
    pub(super) fn row(&self) -> Ino {
        self.row
    }

    pub(super) fn of(row: &Shown) -> Self {
        let (id, version) = (EdgeId(row.born), row.edge.version);
        Self { row: row.id, id, version, ino: row.ino(), replaces: row.edge.replaces }
    }

    /// Reads `id, born, born_actor, e_since, e_actor, target, replaces`.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let own: Ino = row.get(0)?;
        let born = Stamp { hlc: row.get(1)?, actor: row.get(2)? };
        let since = Stamp { hlc: row.get(3)?, actor: row.get(4)? };
        Ok(Self {
            row: own,
            id: EdgeId(born),
            version: if since.hlc == Hlc(0) { born } else { since },
            ino: row.get::<_, Option<Ino>>(5)?.unwrap_or(own),
            replaces: row.get(6)?,
        })
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The row of the edge: no other edge's, and the same for as long as there is the edge.
    pub row: Ino,
    /// The name.
    pub name: Name,
    /// What it leads to.
    pub ino: Ino,
    /// Type bits of that; its permissions are the inode's to say.
    pub mode: u32,
}

macro_rules! inode_columns {
    () => {
        "id, born, born_actor, parent, mode, attr, size, blob, nlink, e_since, e_actor, \
         a_since, a_actor, c_since, c_actor, mtime_ns, ctime_ns"
    };
}

/// Returns the inode in a row; `None` of a further edge.
fn inode_of(row: &Shown) -> Option<Inode> {
    let (attributes, content) = (row.attributes.as_ref()?, row.content.as_ref()?);
    Some(Inode {
        ino: row.id,
        id: InodeId(row.born),
        parent: row.edge.parent,
        mode: attributes.mode,
        attr: Attr::decode(attributes.attr.as_deref()),
        size: u64::try_from(content.size).unwrap_or(0),
        blob: content.blob,
        nlink: row.nlink.unwrap_or(0),
        edge: row.edge.version,
        attributes: attributes.version,
        content: content.version,
        content_mtime_ns: content.mtime_ns,
        ctime_cache_ns: row.ctime_ns,
    })
}

fn read_inode(row: &Row<'_>) -> rusqlite::Result<Inode> {
    let born = Stamp { hlc: row.get(1)?, actor: row.get(2)? };
    let stamp = |since: usize| -> rusqlite::Result<Stamp> {
        let hlc: Hlc = row.get(since)?;
        let actor: ActorNumber = row.get(since + 1)?;
        Ok(if hlc == Hlc(0) { born } else { Stamp { hlc, actor } })
    };
    let size: i64 = row.get(6)?;
    Ok(Inode {
        ino: row.get(0)?,
        id: InodeId(born),
        parent: row.get(3)?,
        mode: row.get(4)?,
        attr: Attr::decode(row.get_ref(5)?.as_blob_or_null()?),
        size: u64::try_from(size).unwrap_or(0),
        blob: row.get(7)?,
        nlink: row.get(8)?,
        edge: stamp(9)?,
        attributes: stamp(11)?,
        content: stamp(13)?,
        content_mtime_ns: row.get(15)?,
        ctime_cache_ns: row.get(16)?,
    })
}

/// Returns an inode, also an unlinked one; the number of a further edge is none.
///
/// # Errors
///
/// A failed query.
pub fn inode(conn: &Connection, view: &View, ino: Ino) -> Result<Option<Inode>, DbError> {
    if !view.is_plain() {
        return Ok(counted_row(conn, view, ino)?.and_then(|row| inode_of(&row)));
    }
    conn.prepare_cached(concat!(
        "SELECT ",
        inode_columns!(),
        " FROM inodes WHERE id = ?1 AND branch = ?2 AND target IS NULL"
    ))
    .and_then(|mut stmt| stmt.query_row(params![ino, view.branch], read_inode).optional())
    .doing("reading an inode")
}

/// Returns what `name` leads to in `parent`.
///
/// # Errors
///
/// A failed query.
pub fn lookup(
    conn: &Connection,
    view: &View,
    parent: Ino,
    name: &Name,
) -> Result<Option<Inode>, DbError> {
    if !view.is_plain() {
        let rows = rows_at(conn, view, parent, name)?;
        let Some(mut oldest) = rows.into_iter().min_by_key(|row| row.born) else {
            return Ok(None);
        };
        if let Some(target) = oldest.target {
            return inode(conn, view, target);
        }
        count(conn, view, &mut oldest)?;
        return Ok(inode_of(&oldest));
    }
    // An inode's own edge is found together with the inode; a further link takes a second step.
    let found = conn
        .prepare_cached(concat!(
            "SELECT ",
            inode_columns!(),
            ", target FROM inodes WHERE parent = ?1 AND name = ?2 AND parent > 0 AND branch = ?3"
        ))
        .and_then(|mut stmt| {
            let edges = stmt.query_map(params![parent, name, view.branch], |row| {
                let born = Stamp { hlc: row.get(1)?, actor: row.get(2)? };
                Ok(match row.get::<_, Option<Ino>>(17)? {
                    Some(target) => (born, Err(target)),
                    None => (born, Ok(read_inode(row)?)),
                })
            })?;
            oldest(edges, |(born, _)| *born)
        })
        .doing("looking a name up")?;
    match found {
        Some((_, Ok(inode))) => Ok(Some(inode)),
        Some((_, Err(target))) => inode(conn, view, target),
        None => Ok(None),
    }
}

/// Returns the edge that `name` is in `parent`.
pub(super) fn edge(
    conn: &Connection,
    view: &View,
    parent: Ino,
    name: &Name,
) -> Result<Option<Edge>, DbError> {
    if !view.is_plain() {
        let rows = rows_at(conn, view, parent, name)?;
        return Ok(rows.iter().min_by_key(|row| row.born).map(Edge::of));
    }
    conn.prepare_cached(
        "SELECT id, born, born_actor, e_since, e_actor, target, replaces FROM inodes
         WHERE parent = ?1 AND name = ?2 AND parent > 0 AND branch = ?3",
    )
    .and_then(|mut stmt| {
        let edges = stmt.query_map(params![parent, name, view.branch], Edge::read)?;
        oldest(edges, |edge| edge.id.0)
    })
    .doing("looking an edge up")
}

/// Of several live edges with one name the oldest has it. Hardly ever are there two, so that
/// sorting is not worth a sorter.
fn oldest<T>(
    found: impl Iterator<Item = rusqlite::Result<T>>,
    born: impl Fn(&T) -> Stamp,
) -> rusqlite::Result<Option<T>> {
    let mut oldest: Option<T> = None;
    for next in found {
        let next = next?;
        if oldest.as_ref().is_none_or(|oldest| born(&next) < born(oldest)) {
            oldest = Some(next);
        }
    }
    Ok(oldest)
}

/// Returns the names in a directory, in the order of their bytes.
///
/// # Errors
///
/// A failed query.
pub fn list(conn: &Connection, view: &View, directory: Ino) -> Result<Vec<Listed>, DbError> {
    if view.is_plain() {
        return list_on(conn, view.branch, directory);
    }
    match untouched_on(conn, view, directory)? {
        Some(branch) => list_on(conn, branch, directory),
        None => list_shown(conn, view, directory),
    }
}

/// Lists the edges that one branch has rows of.
fn list_on(
    conn: &Connection,
    branch: BranchNumber,
    directory: Ino,
) -> Result<Vec<Listed>, DbError> {
    conn.prepare_cached(
        "SELECT e.id, e.name, coalesce(e.target, e.id),
                coalesce(e.mode, (SELECT t.mode FROM inodes AS t
                                  WHERE t.id = e.target AND t.branch = e.branch))
         FROM inodes AS e
         WHERE e.parent = ?1 AND e.parent > 0 AND e.branch = ?2
         ORDER BY e.name",
    )
    .and_then(|mut stmt| {
        let mut listed = Vec::new();
        let mut rows = stmt.query(params![directory, branch])?;
        while let Some(row) = rows.next()? {
            // An edge whose inode is not there has no mode, and does not show.
            if let Some(mode) = row.get::<_, Option<u32>>(3)? {
                let (name, ino) = (row.get(1)?, row.get(2)?);
                listed.push(Listed { row: row.get(0)?, name, ino, mode: mode & S_IFMT });
            }
        }
        Ok(listed)
    })
    .doing("listing a directory")
}

fn list_shown(conn: &Connection, view: &View, directory: Ino) -> Result<Vec<Listed>, DbError> {
    let mut listed = Vec::new();
    for edge in rows_in(conn, view, directory)? {
        let mode = match &edge.attributes {
            Some(facet) => Some(facet.mode),
            None => {
                row(conn, view, edge.ino())?.and_then(|row| row.attributes).map(|facet| facet.mode)
            }
        };
        let name = Name::from_bytes(&edge.edge.name).ok();
        if let (Some(name), Some(mode)) = (name, mode) {
            listed.push(Listed { row: edge.id, name, ino: edge.ino(), mode: mode & S_IFMT });
        }
    }
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(listed)
}

/// Says whether a directory has any edge.
pub(super) fn has_edges(conn: &Connection, view: &View, directory: Ino) -> Result<bool, DbError> {
    if !view.is_plain() {
        return Ok(!rows_in(conn, view, directory)?.is_empty());
    }
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM inodes WHERE parent = ?1 AND parent > 0 AND branch = ?2)",
    )
    .and_then(|mut stmt| stmt.query_row(params![directory, view.branch], |row| row.get(0)))
    .doing("looking for edges")
}

/// Returns every (directory, name) that leads to an inode.
///
/// # Errors
///
/// A failed query.
pub fn names(conn: &Connection, view: &View, ino: Ino) -> Result<Vec<(Ino, Name)>, DbError> {
    if !view.is_plain() {
        let mut edges = rows_to(conn, view, ino)?;
        edges.extend(row(conn, view, ino)?);
        let live = edges.iter().filter(|edge| edge.is_live());
        let named =
            |edge: &Shown| Some((edge.edge.parent, Name::from_bytes(&edge.edge.name).ok()?));
        return Ok(live.filter_map(named).collect());
    }
    conn.prepare_cached(
        "SELECT parent, name FROM inodes WHERE id = ?1 AND branch = ?2 AND parent > 0
         UNION ALL
         SELECT parent, name FROM inodes WHERE target = ?1 AND branch = ?2 AND parent > 0",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![ino, view.branch], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    })
    .doing("finding an inode's names")
}

/// Returns where a symbolic link points.
///
/// # Errors
///
/// A failed query.
pub fn symlink_target(conn: &Connection, ino: Ino) -> Result<Option<Vec<u8>>, DbError> {
    conn.prepare_cached("SELECT target FROM symlinks WHERE id = ?1")
        .and_then(|mut stmt| stmt.query_row([ino], |row| row.get(0)).optional())
        .doing("reading a symbolic link")
}

/// Returns the name an inode's first edge has, or had when it was removed.
///
/// # Errors
///
/// A failed query.
pub fn last_name(conn: &Connection, view: &View, ino: Ino) -> Result<Option<Name>, DbError> {
    if !view.is_plain() {
        let row = row(conn, view, ino)?;
        return Ok(row.and_then(|row| Name::from_bytes(&row.edge.name).ok()));
    }
    conn.prepare_cached(
        "SELECT name FROM inodes WHERE id = ?1 AND branch = ?2 AND length(name) > 0",
    )
    .and_then(|mut stmt| stmt.query_row(params![ino, view.branch], |row| row.get(0)).optional())
    .doing("reading an inode's name")
}
