//! Conflicts: which there are, what their sides are, and how they are decided.

mod error;
mod resolve;
mod show;

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use tesfs_pathtree::{
    Db, DbError, Ino, Name,
    tree::{self, Conflict, ConflictKind, View},
};

pub(crate) use self::{
    error::ConflictError,
    resolve::{Keep, Resolve},
    show::Describe,
};
use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, bytes},
    place::join,
    progress::Progress,
    shown::{Context, Shown},
    suggest::nearest,
    target::{Target, TargetError},
    time::Moment,
};

/// One side of a conflict: the one that does not show.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ConflictInfo {
    pub(crate) number: i64,
    /// What shows.
    pub(crate) path: String,
    /// `content`, `place` or `name`.
    pub(crate) kind: String,
    /// Which side shows: `ours`, what the branch had, or `theirs`, what came.
    pub(crate) shows: String,
    /// When the version of this side was made.
    pub(crate) made: Moment,
    /// Its bytes, of `content`.
    pub(crate) bytes: Option<u64>,
    /// Where it would be, of `place` and `name`.
    pub(crate) other_path: Option<String>,
}

impl ConflictInfo {
    pub(crate) fn of(db: &Db, view: &View, conflict: &Conflict) -> Result<Self, DbError> {
        let kind = match conflict.kind {
            ConflictKind::Content => "content",
            ConflictKind::Place => "place",
            ConflictKind::Name => "name",
        };
        let other = conflict.place.as_ref();
        let other = other.map(|(parent, name)| path_below(db, view, *parent, name)).transpose()?;
        let shows = db.read(|conn| tree::successor(conn, view, conflict.ino))?;
        Ok(Self {
            number: conflict.number,
            path: path_of(db, view, shows.map_or(conflict.ino, |shows| shows.ino))?,
            kind: kind.to_owned(),
            shows: if conflict.is_ours { "theirs" } else { "ours" }.to_owned(),
            made: Moment(conflict.version.hlc.unix_ns()),
            bytes: (conflict.kind == ConflictKind::Content).then_some(conflict.size),
            other_path: other,
        })
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let Self { number, path, made, .. } = self;
        match (self.bytes, &self.other_path) {
            (Some(size), _) => {
                format!("{number:>4}  {path}: another version of {made}, {}", bytes(size))
            }
            (None, Some(other)) if self.kind == "name" => {
                format!("{number:>4}  {path}: another file is '{other}'")
            }
            (None, Some(other)) => {
                format!("{number:>4}  {path}: the other side has it at '{other}'")
            }
            (None, None) => format!("{number:>4}  {path}: the other side removed it"),
        }
    }
}

/// The path of an inode from the root, or what is left to say of it.
pub(super) fn path_of(db: &Db, view: &View, ino: Ino) -> Result<String, DbError> {
    let names = db.read(|conn| tree::names(conn, view, ino))?;
    match names.first() {
        Some((parent, name)) => path_below(db, view, *parent, name),
        None if ino == view.root => Ok("/".to_owned()),
        None => Ok(match db.read(|conn| tree::last_name(conn, view, ino))? {
            Some(name) => format!("{} (removed)", name.as_os_str().display()),
            None => format!("inode {ino}"),
        }),
    }
}

fn path_below(db: &Db, view: &View, parent: Ino, name: &Name) -> Result<String, DbError> {
    let mut names = vec![name.clone()];
    let mut at = parent;
    while at != view.root {
        let above = db.read(|conn| tree::names(conn, view, at))?;
        let Some((parent, name)) = above.into_iter().next() else { break };
        names.push(name);
        at = parent;
    }
    names.reverse();
    Ok(join(&names))
}

/// Which conflicts are meant.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Which {
    /// The one that the list calls so.
    Number(i64),
    /// All of what is at a path.
    At(Target),
}

impl Which {
    /// Takes digits for a number, and all else for a path (`./7` is one).
    pub(crate) fn parse(typed: &Path, in_bucket: Option<&str>) -> Result<Self, TargetError> {
        match typed.to_str().map(str::parse) {
            Some(Ok(number)) => Ok(Self::Number(number)),
            _ => Target::parse(typed, in_bucket).map(Self::At),
        }
    }
}

impl Node {
    /// Finds the open conflicts that are meant, at least one, and the branch they are on.
    ///
    /// # Errors
    ///
    /// There are none, with the path that was probably meant.
    fn conflicts_meant(
        &self,
        place: &Context,
        which: &Which,
    ) -> Result<(Shown, Vec<Conflict>), CliError> {
        let place = match which {
            Which::Number(number) => {
                let shown = self.here(place)?;
                let view = self.view(&shown)?;
                let open = self.db().read(|conn| tree::conflicts(conn, &view))?;
                let known = open.iter().map(|one| one.number.to_string()).collect();
                let mut found = open;
                found.retain(|one| one.number == *number);
                return match found.is_empty() {
                    false => Ok((shown, found)),
                    true => Err(ConflictError::Unknown { number: *number, known }.into()),
                };
            }
            Which::At(target) => self.place(target)?,
        };
        let view = self.view(&place.shown)?;
        let found = match place.names.split_last() {
            Some((name, above)) => {
                self.db().read(|conn| match tree::last_at(conn, &view, above)? {
                    Some(parent) => tree::conflicts_at(conn, &view, (parent.ino, name)),
                    None => Ok(Vec::new()),
                })?
            }
            None => Vec::new(),
        };
        if !found.is_empty() {
            return Ok((place.shown, found));
        }
        let open = self.db().read(|conn| tree::conflicts(conn, &view))?;
        let known = open.iter().map(|one| Ok(ConflictInfo::of(self.db(), &view, one)?.path));
        let known = known.collect::<Result<Vec<String>, DbError>>()?;
        let (bucket, path) = (place.shown.name(), place.path());
        let nearest = nearest(&path, known.iter().map(String::as_str));
        Err(ConflictError::NoneAt { bucket, path, nearest, known }.into())
    }
}

/// Lists what is not decided on a branch.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct List {
    pub(crate) place: Context,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Listed {
    pub(crate) branch: String,
    pub(crate) conflicts: Vec<ConflictInfo>,
}

impl Show for Listed {
    fn show(&self) -> String {
        if self.conflicts.is_empty() {
            return format!("no conflicts on '{}'", self.branch);
        }
        let mut lines: Vec<String> = self.conflicts.iter().map(ConflictInfo::line).collect();
        lines.push(
            "`tesfs conflicts show` tells the sides of each; `tesfs conflicts resolve PATH` (or \
             NUMBER) decides one"
                .to_owned(),
        );
        lines.join("\n")
    }
}

impl Request for List {
    type Answer = Listed;
    const PATH: &'static str = "/v1/conflicts/list";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Listed, CliError> {
        let shown = node.here(&self.place)?;
        let view = node.view(&shown)?;
        let found = node.db().read(|conn| tree::conflicts(conn, &view))?;
        let conflicts = found.iter().map(|one| ConflictInfo::of(node.db(), &view, one));
        let conflicts = conflicts.collect::<Result<_, _>>()?;
        Ok(Listed { branch: shown.branch.name, conflicts })
    }
}
