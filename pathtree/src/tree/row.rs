//! The rows of an inode or further edge on the branches of a view, and which of them shows.
//!
//! A row on a branch is whole: it was copied from what the branch inherited when the branch first
//! changed anything of it. So the nearest branch that has one decides, unless the view looks at
//! that branch as of a reading: then each facet is the version that showed at that reading.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{S_IFDIR, S_IFMT, View, change::Facet, view::Level};
use crate::{
    db::{DbError, Doing as _},
    id::{ActorNumber, BlobNumber, BranchNumber, Hlc, Ino, Stamp},
    name::Name,
};

/// One row of `inodes`, or what it was.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: Ino,
    /// The branch whose row it is.
    pub(super) branch: BranchNumber,
    pub(super) born: Stamp,
    /// The inode that a further hard link leads to.
    pub(super) target: Option<Ino>,
    pub(super) edge: EdgeFacet,
    /// A further hard link has none, and no content.
    pub(super) attributes: Option<AttributesFacet>,
    pub(super) content: Option<ContentFacet>,
    /// A further hard link has none; neither has what shows as of a reading, before it is counted.
    pub(super) nlink: Option<u32>,
    pub(super) ctime_ns: Option<i64>,
    pub(super) more: Option<Vec<u8>>,
}

/// A version of where an edge hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EdgeFacet {
    pub(super) parent: Ino,
    /// Of a root directory empty.
    pub(super) name: Vec<u8>,
    pub(super) replaces: Option<Ino>,
    pub(super) version: Stamp,
}

/// A version of an inode's attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AttributesFacet {
    pub(super) mode: u32,
    pub(super) attr: Option<Vec<u8>>,
    pub(super) version: Stamp,
}

/// A version of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentFacet {
    pub(super) size: i64,
    pub(super) blob: Option<BlobNumber>,
    pub(super) mtime_ns: i64,
    pub(super) base: Option<Stamp>,
    pub(super) version: Stamp,
}

impl Row {
    pub(super) fn is_directory(&self) -> bool {
        self.attributes.as_ref().is_some_and(|facet| facet.mode & S_IFMT == S_IFDIR)
    }

    /// The inode that the row's edge leads to.
    pub(super) fn ino(&self) -> Ino {
        self.target.unwrap_or(self.id)
    }

    pub(super) fn is_live(&self) -> bool {
        self.edge.parent != Ino::NOWHERE
    }

    pub(super) fn hangs_at(&self, parent: Ino, name: &Name) -> bool {
        self.edge.parent == parent && self.edge.name == name.as_bytes()
    }

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let born = Stamp { hlc: row.get(2)?, actor: row.get(3)? };
        let version = |at: usize| -> rusqlite::Result<Stamp> {
            let stamp = Stamp { hlc: row.get(at)?, actor: row.get(at + 1)? };
            Ok(if stamp.hlc == Hlc(0) { born } else { stamp })
        };
        let edge = EdgeFacet {
            parent: row.get(4)?,
            name: row.get(5)?,
            replaces: row.get(7)?,
            version: version(8)?,
        };
        let attributes = match row.get::<_, Option<u32>>(10)? {
            Some(mode) => Some(AttributesFacet { mode, attr: row.get(11)?, version: version(12)? }),
            None => None,
        };
        let content = match row.get::<_, Option<i64>>(14)? {
            Some(size) => Some(ContentFacet {
                size,
                blob: row.get(15)?,
                mtime_ns: row.get(16)?,
                base: base(row.get(17)?, row.get(18)?),
                version: version(19)?,
            }),
            None => None,
        };
        Ok(Self {
            id: row.get(0)?,
            branch: row.get(1)?,
            born,
            target: row.get(6)?,
            edge,
            attributes,
            content,
            nlink: row.get(21)?,
            ctime_ns: row.get(22)?,
            more: row.get(23)?,
        })
    }
}

fn base(hlc: Option<Hlc>, actor: Option<ActorNumber>) -> Option<Stamp> {
    hlc.zip(actor).map(|(hlc, actor)| Stamp { hlc, actor })
}

macro_rules! row_columns {
    () => {
        "n.id, n.branch, n.born, n.born_actor, n.parent, n.name, n.target, n.replaces, \
         n.e_since, n.e_actor, n.mode, n.attr, n.a_since, n.a_actor, n.size, n.blob, n.mtime_ns, \
         n.base, n.base_actor, n.c_since, n.c_actor, n.nlink, n.ctime_ns, n.more"
    };
}

/// Returns a row as the view shows it with its links counted; see [`row`].
pub(super) fn counted_row(conn: &Connection, view: &View, id: Ino) -> Result<Option<Row>, DbError> {
    let Some(mut row) = row(conn, view, id)? else { return Ok(None) };
    count(conn, view, &mut row)?;
    Ok(Some(row))
}

/// Returns a row as the view shows it, of a removed edge, too; `None` where nothing was born yet.
pub(super) fn row(conn: &Connection, view: &View, id: Ino) -> Result<Option<Row>, DbError> {
    shown(conn, view, &rows_of(conn, id)?)
}

/// Returns the rows of an inode or link on all branches.
fn rows_of(conn: &Connection, id: Ino) -> Result<Vec<Row>, DbError> {
    conn.prepare_cached(concat!("SELECT ", row_columns!(), " FROM inodes AS n WHERE n.id = ?1"))
        .and_then(|mut stmt| stmt.query_map([id], Row::read)?.collect())
        .doing("reading an inode's rows")
}

/// Returns the row that one branch has of its own.
pub(super) fn row_on(
    conn: &Connection,
    branch: BranchNumber,
    id: Ino,
) -> Result<Option<Row>, DbError> {
    conn.prepare_cached(concat!(
        "SELECT ",
        row_columns!(),
        " FROM inodes AS n WHERE n.id = ?1 AND n.branch = ?2"
    ))
    .and_then(|mut stmt| stmt.query_row(params![id, branch], Row::read).optional())
    .doing("reading a branch's own row")
}

/// Returns the rows of every edge that hangs under `name` in `parent`.
pub(super) fn rows_at(
    conn: &Connection,
    view: &View,
    parent: Ino,
    name: &Name,
) -> Result<Vec<Row>, DbError> {
    let rows = conn
        .prepare_cached(concat!(
            "SELECT ",
            row_columns!(),
            " FROM inodes AS e CROSS JOIN inodes AS n ON n.id = e.id
             WHERE e.parent = ?1 AND e.name = ?2 AND e.parent > 0"
        ))
        .and_then(|mut stmt| {
            stmt.query_map(params![parent, name], Row::read)?.collect::<Result<Vec<_>, _>>()
        })
        .doing("looking for edges of a name")?;
    let mut ids: Vec<Ino> = rows.iter().map(|row| row.id).collect();
    if view.may_have_lost(parent) {
        let gone = conn
            .prepare_cached(
                "SELECT id, branch, since, until FROM past
                 WHERE parent = ?1 AND name = ?2 AND parent > 0",
            )
            .and_then(|mut stmt| collect_shown(view, stmt.query(params![parent, name])?))
            .doing("looking for past edges of a name")?;
        ids.extend(gone);
    }
    let mut found = settle(conn, view, &rows, ids)?;
    found.retain(|row| row.hangs_at(parent, name));
    Ok(found)
}

/// Returns the rows of every edge that hangs in `parent`, in no order.
pub(super) fn rows_in(conn: &Connection, view: &View, parent: Ino) -> Result<Vec<Row>, DbError> {
    let rows = conn
        .prepare_cached(concat!(
            "SELECT ",
            row_columns!(),
            " FROM inodes AS e CROSS JOIN inodes AS n ON n.id = e.id
             WHERE e.parent = ?1 AND e.parent > 0"
        ))
        .and_then(|mut stmt| {
            stmt.query_map(params![parent], Row::read)?.collect::<Result<Vec<_>, _>>()
        })
        .doing("looking for edges in a directory")?;
    let mut ids: Vec<Ino> = rows.iter().map(|row| row.id).collect();
    let gone = conn
        .prepare_cached(
            "SELECT id, branch, since, until FROM past WHERE parent = ?1 AND parent > 0",
        )
        .and_then(|mut stmt| collect_shown(view, stmt.query(params![parent])?))
        .doing("looking for past edges in a directory")?;
    ids.extend(gone);
    let mut found = settle(conn, view, &rows, ids)?;
    found.retain(|row| row.edge.parent == parent);
    Ok(found)
}

/// Returns the one branch of the view's that has ever had edges in a directory, if nothing came or
/// went there that the view does not show: then its rows are what shows.
///
/// Whatever comes or goes in a directory is noted in the directory's row on that branch, by the
/// reading at which it did.
pub(super) fn untouched_on(
    conn: &Connection,
    view: &View,
    directory: Ino,
) -> Result<Option<BranchNumber>, DbError> {
    conn.prepare_cached("SELECT branch, mtime_ns FROM inodes WHERE id = ?1")
        .and_then(|mut stmt| {
            let mut rows = stmt.query([directory])?;
            let mut found = None;
            while let Some(row) = rows.next()? {
                let branch: BranchNumber = row.get(0)?;
                let Some(depth) = view.depth_of(branch) else { continue };
                if found.is_some() {
                    return Ok(None);
                }
                let edges_ns: Option<i64> = row.get(1)?;
                let through_ns = view.levels()[depth].through.unix_ns();
                found = Some((branch, edges_ns.is_some_and(|at_ns| at_ns <= through_ns)));
            }
            Ok(found.and_then(|(branch, is_untouched)| is_untouched.then_some(branch)))
        })
        .doing("asking whether a directory is as it was")
}

/// Returns the rows of every further edge that leads to `ino`, live or not.
pub(super) fn rows_to(conn: &Connection, view: &View, ino: Ino) -> Result<Vec<Row>, DbError> {
    let rows = conn
        .prepare_cached(concat!("SELECT ", row_columns!(), " FROM inodes AS n WHERE n.target = ?1"))
        .and_then(|mut stmt| {
            stmt.query_map(params![ino], Row::read)?.collect::<Result<Vec<_>, _>>()
        })
        .doing("looking for further edges of an inode")?;
    let ids = rows.iter().map(|row| row.id).collect();
    settle(conn, view, &rows, ids)
}

/// Reads `id, branch, since, until` and keeps the ids of what showed at the view's readings.
fn collect_shown(view: &View, mut rows: rusqlite::Rows<'_>) -> rusqlite::Result<Vec<Ino>> {
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(depth) = view.depth_of(row.get(1)?) else { continue };
        let through = view.levels()[depth].through;
        let (since, until): (Hlc, Hlc) = (row.get(2)?, row.get(3)?);
        if since <= through && through < until {
            ids.push(row.get(0)?);
        }
    }
    Ok(ids)
}

/// Returns what the view shows of each id, once; `rows` are all rows of some of them.
fn settle(
    conn: &Connection,
    view: &View,
    rows: &[Row],
    mut ids: Vec<Ino>,
) -> Result<Vec<Row>, DbError> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|row| row.id);
    ids.sort_unstable();
    ids.dedup();
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let from = sorted.partition_point(|row| row.id < id);
        let count = sorted[from..].iter().take_while(|row| row.id == id).count();
        found.extend(match &sorted[from..from + count] {
            [] => row(conn, view, id)?,
            known => shown(conn, view, known)?,
        });
    }
    Ok(found)
}

/// Chooses among all rows of one id what the view shows of it.
fn shown<R: std::borrow::Borrow<Row>>(
    conn: &Connection,
    view: &View,
    rows: &[R],
) -> Result<Option<Row>, DbError> {
    let mut partial: Option<Partial> = None;
    for level in view.levels() {
        let of_level = rows.iter().map(R::borrow).find(|row| row.branch == level.branch);
        let Some(row) = of_level else { continue };
        if is_older(row, level) {
            return match partial {
                None => Ok(Some(row.clone())),
                Some(partial) => Ok(partial.finish(Some(row))),
            };
        }
        partial.get_or_insert_with(|| Partial::of(row)).add(conn, level, row)?;
    }
    Ok(partial.and_then(|partial| partial.finish(None)))
}

/// Says whether nothing of a row changed after the view's reading of that branch.
fn is_older(row: &Row, level: &Level) -> bool {
    let through = level.through;
    let attributes = row.attributes.as_ref().is_none_or(|facet| facet.version.hlc <= through);
    let content = row.content.as_ref().is_none_or(|facet| facet.version.hlc <= through);
    // A directory's content is its edges: no facet of its own, but a time.
    let edges_ns = row.content.as_ref().filter(|_| row.is_directory()).map(|facet| facet.mtime_ns);
    row.edge.version.hlc <= through
        && attributes
        && content
        && row.ctime_ns.into_iter().chain(edges_ns).all(|at_ns| at_ns <= through.unix_ns())
}

/// A row put together from the versions that showed at some reading.
struct Partial {
    like: Row,
    edge: Option<EdgeFacet>,
    attributes: Option<AttributesFacet>,
    content: Option<ContentFacet>,
}

impl Partial {
    fn of(row: &Row) -> Self {
        Self { like: row.clone(), edge: None, attributes: None, content: None }
    }

    /// Takes the facets that are still missing from a branch, as of the view's reading of it.
    fn add(&mut self, conn: &Connection, level: &Level, row: &Row) -> Result<(), DbError> {
        if self.edge.is_none() {
            self.edge = match &row.edge {
                edge if edge.version.hlc <= level.through => Some(edge.clone()),
                _ => past(conn, level, row.id, Facet::Edge, read_edge)?,
            };
        }
        if self.attributes.is_none() {
            self.attributes = match &row.attributes {
                Some(facet) if facet.version.hlc <= level.through => Some(facet.clone()),
                Some(_) => past(conn, level, row.id, Facet::Attributes, read_attributes)?,
                None => None,
            };
        }
        if self.content.is_none() {
            self.content = match &row.content {
                Some(facet) if facet.version.hlc <= level.through => Some(facet.clone()),
                Some(_) => past(conn, level, row.id, Facet::Content, read_content)?,
                None => None,
            };
        }
        Ok(())
    }

    /// Puts the row together; what is still missing comes from `rest`, which shows as it is.
    fn finish(self, rest: Option<&Row>) -> Option<Row> {
        let edge = self.edge.or_else(|| rest.map(|row| row.edge.clone()))?;
        let attributes = self.attributes.or_else(|| rest.and_then(|row| row.attributes.clone()));
        let content = self.content.or_else(|| rest.and_then(|row| row.content.clone()));
        // Not born yet, or a part of it was pruned: then nothing of it can be shown.
        if self.like.target.is_none() && (attributes.is_none() || content.is_none()) {
            return None;
        }
        Some(Row { edge, attributes, content, nlink: None, ctime_ns: None, ..self.like })
    }
}

/// Computes what a row keeps as a cache, as of the view's readings, where that does not apply.
pub(super) fn count(conn: &Connection, view: &View, row: &mut Row) -> Result<(), DbError> {
    if row.nlink.is_some() || row.target.is_some() {
        return Ok(());
    }
    if !row.is_directory() {
        let further = rows_to(conn, view, row.id)?.iter().filter(|link| link.is_live()).count();
        row.nlink = u32::try_from(further + usize::from(row.is_live())).ok();
        return Ok(());
    }
    let is_there = row.is_live() || row.id == view.root;
    let children = rows_in(conn, view, row.id)?;
    let directories = children.iter().filter(|child| child.is_directory()).count();
    row.nlink = if is_there { u32::try_from(directories + 2).ok() } else { Some(0) };
    let newest = children.iter().map(|child| child.edge.version.hlc).max();
    let left = last_left(conn, view, row.id)?;
    let changed = newest.max(left).unwrap_or(row.born.hlc).max(row.born.hlc);
    if let Some(content) = row.content.as_mut() {
        content.mtime_ns = changed.unix_ns();
    }
    Ok(())
}

/// Returns when an edge last left a directory, as far as the view shows.
fn last_left(conn: &Connection, view: &View, directory: Ino) -> Result<Option<Hlc>, DbError> {
    let mut last = None;
    for level in view.levels() {
        let left = conn
            .prepare_cached(
                "SELECT max(until) FROM past
                 WHERE parent = ?1 AND parent > 0 AND branch = ?2 AND until <= ?3",
            )
            .and_then(|mut stmt| {
                stmt.query_row(params![directory, level.branch, level.through], |row| {
                    row.get::<_, Option<Hlc>>(0)
                })
            })
            .doing("asking when an edge left a directory")?;
        last = last.max(left);
    }
    Ok(last)
}

/// Reads the version of a facet that showed at a level's reading, if it was superseded since.
fn past<T>(
    conn: &Connection,
    level: &Level,
    id: Ino,
    facet: Facet,
    read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, DbError> {
    conn.prepare_cached(
        "SELECT since, actor, parent, name, replaces, mode, attr, size, blob, mtime_ns,
                base, base_actor FROM past
         WHERE id = ?1 AND branch = ?2 AND facet = ?3 AND since <= ?4 AND until > ?4
         ORDER BY since DESC, actor DESC LIMIT 1",
    )
    .and_then(|mut stmt| {
        let key = params![id, level.branch, facet.number(), level.through];
        stmt.query_row(key, read).optional()
    })
    .doing("reading a past version")
}

fn past_stamp(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stamp> {
    Ok(Stamp { hlc: row.get(0)?, actor: row.get(1)? })
}

pub(super) fn read_edge(row: &rusqlite::Row<'_>) -> rusqlite::Result<EdgeFacet> {
    let version = past_stamp(row)?;
    Ok(EdgeFacet { parent: row.get(2)?, name: row.get(3)?, replaces: row.get(4)?, version })
}

pub(super) fn read_attributes(row: &rusqlite::Row<'_>) -> rusqlite::Result<AttributesFacet> {
    let version = past_stamp(row)?;
    Ok(AttributesFacet { mode: row.get(5)?, attr: row.get(6)?, version })
}

pub(super) fn read_content(row: &rusqlite::Row<'_>) -> rusqlite::Result<ContentFacet> {
    Ok(ContentFacet {
        size: row.get(7)?,
        blob: row.get(8)?,
        mtime_ns: row.get(9)?,
        base: base(row.get(10)?, row.get(11)?),
        version: past_stamp(row)?,
    })
}
