//! The log of a view: which versions came to be, newest first, and where they were then.

use std::collections::{HashMap, VecDeque};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{View, change::Facet, row::row, view::NOW};
use crate::{
    db::{DbError, Doing as _},
    id::{ActorNumber, BlobNumber, BranchNumber, Hlc, Ino, OperationId, Stamp},
    identity::DeviceId,
    name::Name,
};

/// Rows of the log that are read at once.
const BATCH: u32 = 256;
/// No tree is deeper: what is, went in circles.
const DEPTH_MAX: usize = 4096;

/// Which facets of something were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct What(i64);

impl What {
    const CREATED: i64 = 8;

    /// It was not there before.
    pub fn created(self) -> bool {
        self.0 & Self::CREATED != 0
    }

    /// Where it hangs.
    pub fn edge(self) -> bool {
        self.0 & Facet::Edge.bit() != 0
    }

    /// Its attributes, the extended ones included.
    pub fn attributes(self) -> bool {
        self.0 & Facet::Attributes.bit() != 0
    }

    /// Its bytes.
    pub fn content(self) -> bool {
        self.0 & Facet::Content.bit() != 0
    }
}

/// One row of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The branch it was done on.
    pub branch: BranchNumber,
    /// Of the version.
    pub stamp: Stamp,
    /// The row of the inode, or of a further hard link.
    pub row: Ino,
    /// What changed.
    pub what: What,
    /// Which operation did it.
    pub operation: OperationId,
}

/// A place in the tree at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// From the root down; empty for the root.
    pub names: Vec<Name>,
    /// The directories that it was in, the root first.
    pub above: Vec<Ino>,
}

/// What an operation made of something: one version, or several in a row.
///
/// Between two changes of one operation something may never have been seen, since each can take the
/// place of the one before. So what counts is how it was before the first and after the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last of its versions.
    pub logged: Logged,
    /// What was changed by all of them.
    pub what: What,
    /// The inode that it is of.
    pub ino: Ino,
    /// Where it was before; `None` where it was not there.
    pub was: Option<Located>,
    /// Where it is since; `None` where it was removed.
    pub is: Option<Located>,
    /// The file whose name it took, where it hangs since.
    pub replaces: Option<Ino>,
    /// Type and permission bits.
    pub mode: u32,
    /// Bytes of its content.
    pub size: u64,
    /// Where they are.
    pub blob: Option<BlobNumber>,
}

impl Event {
    /// Says whether it was or is somewhere below a directory, or is that directory.
    pub fn concerns(&self, directory: Ino) -> bool {
        let below =
            |place: &Option<Located>| place.as_ref().is_some_and(|p| p.above.contains(&directory));
        self.ino == directory || below(&self.was) || below(&self.is)
    }
}

/// Reads the log of a view backwards, from the newest version that shows. Dropped, it has read no
/// more than it was asked for, but for a batch.
pub struct Log<'a> {
    /// How many levels of the view are read: an ancestor's changes are all older.
    depth: usize,
    /// The row that was read last on this level.
    last: Option<(Stamp, Ino)>,
    batch: VecDeque<Logged>,
    places: Places<'a>,
}

impl<'a> Log<'a> {
    /// Begins at the newest version that the view shows.
    pub fn new(conn: &'a Connection, view: &'a View) -> Self {
        let places = Places::new(conn, view);
        Self { depth: 0, last: None, batch: VecDeque::new(), places }
    }

    /// Returns what a version made of something; to be asked in the order of the log, or not at
    /// all. `None` where the version was pruned, or was never seen.
    ///
    /// # Errors
    ///
    /// A failed query.
    pub fn event(&mut self, logged: Logged) -> Result<Option<Event>, DbError> {
        self.places.event(logged)
    }

    /// Adds an older version of the same row by the same operation to what the operation did.
    ///
    /// # Errors
    ///
    /// A failed query.
    pub fn extend(&mut self, event: &mut Event, older: Logged) -> Result<(), DbError> {
        self.places.extend(event, older)
    }

    fn fill(&mut self) -> Result<(), DbError> {
        let Places { conn, view, .. } = self.places;
        while let Some(level) = view.levels().get(self.depth) {
            let (stamp, row) = self.last.unwrap_or((
                Stamp { hlc: level.through, actor: ActorNumber(i64::MAX) },
                Ino(NOW.0),
            ));
            let batch = conn
                .prepare_cached(
                    "SELECT branch, hlc, actor, id, what, operation FROM change
                     WHERE branch = ?1 AND (hlc, actor, id) < (?2, ?3, ?4)
                     ORDER BY hlc DESC, actor DESC, id DESC LIMIT ?5",
                )
                .and_then(|mut stmt| {
                    let after = params![level.branch, stamp.hlc, stamp.actor, row, BATCH];
                    stmt.query_map(after, read)?.collect::<Result<VecDeque<_>, _>>()
                })
                .doing("reading the log")?;
            if let Some(last) = batch.back() {
                self.last = Some((last.stamp, last.row));
                self.batch = batch;
                return Ok(());
            }
            self.depth += 1;
            self.last = None;
        }
        Ok(())
    }
}

impl Iterator for Log<'_> {
    type Item = Result<Logged, DbError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.is_empty()
            && let Err(err) = self.fill()
        {
            return Some(Err(err));
        }
        let next = self.batch.pop_front()?;
        if next.what.edge() {
            // What is older was in whatever it hung in then.
            self.places.pass(next.row);
        }
        Some(Ok(next))
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Logged> {
    Ok(Logged {
        branch: row.get(0)?,
        stamp: Stamp { hlc: row.get(1)?, actor: row.get(2)? },
        row: row.get(3)?,
        what: What(row.get(4)?),
        operation: row.get(5)?,
    })
}

/// Returns the row of the log that a version has, on whichever branch of the view.
pub(super) fn logged(
    conn: &Connection,
    view: &View,
    id: Ino,
    stamp: Stamp,
) -> Result<Option<Logged>, DbError> {
    for level in view.levels() {
        let found = conn
            .prepare_cached(
                "SELECT branch, hlc, actor, id, what, operation FROM change
                 WHERE branch = ?1 AND hlc = ?2 AND actor = ?3 AND id = ?4",
            )
            .and_then(|mut stmt| {
                let key = params![level.branch, stamp.hlc, stamp.actor, id];
                stmt.query_row(key, read).optional()
            })
            .doing("finding a version in the log")?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Where directories are, as of readings that only get earlier.
pub(super) struct Places<'a> {
    conn: &'a Connection,
    view: &'a View,
    /// The edges of directories that did not change since they were read.
    edges: HashMap<Ino, Option<(Ino, Name)>>,
}

impl<'a> Places<'a> {
    pub(super) fn new(conn: &'a Connection, view: &'a View) -> Self {
        Self { conn, view, edges: HashMap::new() }
    }

    /// Forgets the edge of a row that hung elsewhere before.
    fn pass(&mut self, id: Ino) {
        self.edges.remove(&id);
    }

    /// Forgets all: the next reading may lie beyond changes that nobody told of.
    pub(super) fn forget(&mut self) {
        self.edges.clear();
    }

    /// Returns what one version made of something; `None` where it does not show.
    pub(super) fn event(&mut self, logged: Logged) -> Result<Option<Event>, DbError> {
        let then = self.view.at(logged.stamp.hlc);
        let Some(found) = row(self.conn, &then, logged.row)? else { return Ok(None) };
        let (ino, replaces) = (found.ino(), found.edge.replaces);
        let inode = if ino == logged.row { Some(found) } else { row(self.conn, &then, ino)? };
        let Some(inode) = inode else { return Ok(None) };
        let is = self.place(logged.row, logged.stamp.hlc)?;
        let was = self.was(logged)?;
        let content = inode.content.as_ref();
        Ok(Some(Event {
            logged,
            what: logged.what,
            ino,
            was,
            is,
            replaces,
            mode: inode.attributes.as_ref().map_or(0, |facet| facet.mode),
            size: content.map_or(0, |facet| facet.size.cast_unsigned()),
            blob: content.and_then(|facet| facet.blob),
        }))
    }

    /// Adds an older version to what the same operation did; see [`Event`].
    pub(super) fn extend(&mut self, event: &mut Event, older: Logged) -> Result<(), DbError> {
        event.what = What(event.what.0 | older.what.0);
        event.was = self.was(older)?;
        Ok(())
    }

    /// Returns where a row was before a version of it.
    fn was(&mut self, logged: Logged) -> Result<Option<Located>, DbError> {
        if logged.what.created() {
            return Ok(None);
        }
        self.place(logged.row, Hlc(logged.stamp.hlc.0 - 1))
    }

    /// Returns where a row hung as of a reading.
    pub(super) fn place(&mut self, id: Ino, at: Hlc) -> Result<Option<Located>, DbError> {
        if id == self.view.root {
            return Ok(Some(Located { names: Vec::new(), above: Vec::new() }));
        }
        match hung(self.conn, &self.view.at(at), id)? {
            Some(hung) => self.locate(hung, at),
            None => Ok(None),
        }
    }

    /// Returns where an edge was that hung under `name` in `parent` as of a reading; `None` where
    /// that is not known any more.
    fn locate(
        &mut self,
        (mut parent, name): (Ino, Name),
        at: Hlc,
    ) -> Result<Option<Located>, DbError> {
        let (mut names, mut above) = (vec![name], vec![parent]);
        while parent != self.view.root {
            if names.len() > DEPTH_MAX {
                return Ok(None);
            }
            let Some((next, name)) = self.edge(parent, at)? else { return Ok(None) };
            names.push(name);
            above.push(next);
            parent = next;
        }
        names.reverse();
        above.reverse();
        Ok(Some(Located { names, above }))
    }

    fn edge(&mut self, directory: Ino, at: Hlc) -> Result<Option<(Ino, Name)>, DbError> {
        if let Some(known) = self.edges.get(&directory) {
            return Ok(known.clone());
        }
        let found = hung(self.conn, &self.view.at(at), directory)?;
        self.edges.insert(directory, found.clone());
        Ok(found)
    }
}

fn hung(conn: &Connection, view: &View, id: Ino) -> Result<Option<(Ino, Name)>, DbError> {
    let found = row(conn, view, id)?.filter(|row| row.is_live());
    Ok(found.and_then(|row| Some((row.edge.parent, Name::from_bytes(&row.edge.name).ok()?))))
}

/// Who did an operation, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A user and session, or the command's user.
    pub who: String,
    /// `mount`, or the command.
    pub what: String,
    /// Where.
    pub device: DeviceId,
}

/// Returns who did an operation.
///
/// # Errors
///
/// A failed query.
pub fn origin(conn: &Connection, operation: OperationId) -> Result<Option<Origin>, DbError> {
    conn.prepare_cached(
        "SELECT o.who, o.what, a.device FROM operations AS o JOIN actors AS a ON a.number = o.actor
         WHERE o.id = ?1",
    )
    .and_then(|mut stmt| {
        stmt.query_row([operation], |row| {
            Ok(Origin { who: row.get(0)?, what: row.get(1)?, device: DeviceId(row.get(2)?) })
        })
        .optional()
    })
    .doing("finding who did an operation")
}
