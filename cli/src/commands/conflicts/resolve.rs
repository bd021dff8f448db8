//! Decides conflicts.

use std::{fs, sync::Arc};

use serde::{Deserialize, Serialize};
use tesfs_fs::{DecideError, FsError};
use tesfs_pathtree::tree::{self, Conflict, ConflictKind, Resolution, TreeError};

use super::{ConflictError, ConflictInfo, Which};
use crate::{
    commands::merge::writable,
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, plural},
    place::owner,
    progress::Progress,
    shown::Context,
    target::WirePath,
    who::Who,
};

/// Decides the conflicts of a file, or one by its number.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Resolve {
    pub(crate) place: Context,
    pub(crate) which: Which,
    pub(crate) keep: Keep,
}

/// What is kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keep {
    Ours,
    Theirs,
    Both,
    /// What is there now, as somebody left it.
    AsItIs,
    /// The bytes of a file of this machine.
    With(WirePath),
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Resolved {
    pub(crate) path: String,
    pub(crate) conflicts: Vec<ConflictInfo>,
    pub(crate) keep: Keep,
    /// Open ones of the branch.
    pub(crate) left: usize,
}

impl Show for Resolved {
    fn show(&self) -> String {
        let is_name = self.conflicts.iter().any(|one| one.kind == "name");
        let what = match &self.keep {
            Keep::Ours | Keep::Theirs if is_name => {
                let kept = if self.keep == Keep::Ours { "ours" } else { "theirs" };
                format!("the file of {kept} has the name, the other one is removed")
            }
            Keep::Ours => "ours is kept, theirs is in history".to_owned(),
            Keep::Theirs => "theirs is kept, ours is in history".to_owned(),
            Keep::Both => "both are kept, side by side".to_owned(),
            Keep::AsItIs => "what is there now is kept".to_owned(),
            Keep::With(file) => format!("it has the bytes of {file} now"),
        };
        let left = match self.left {
            0 => "no conflicts are left".to_owned(),
            left => format!("{} left", plural(left as u64, "conflict")),
        };
        format!("{}: {what}; {left}\n`tesfs undo` opens it again", self.path)
    }
}

impl Request for Resolve {
    type Answer = Resolved;
    const PATH: &'static str = "/v1/conflicts/resolve";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Resolved, CliError> {
        let (shown, mut found) = node.conflicts_meant(&self.place, &self.which)?;
        let vfs = writable(node, &shown)?;
        let view = vfs.view();
        let infos = found.iter().map(|one| ConflictInfo::of(node.db(), view, one));
        let mut infos = infos.collect::<Result<Vec<_>, _>>()?;
        let path = infos[0].path.clone();
        self.require_clear(node, (&path, &found), view)?;
        if let Keep::With(_) = self.keep {
            found.retain(|one| one.kind == ConflictKind::Content);
            infos.retain(|one| one.kind == "content");
        }
        let other = infos.iter().find_map(|one| one.other_path.clone());
        let decided = match &self.keep {
            Keep::Ours => vfs.resolve(&owner(), &found, Resolution::Ours),
            Keep::Theirs => vfs.resolve(&owner(), &found, Resolution::Theirs),
            Keep::Both => vfs.resolve(&owner(), &found, Resolution::Both),
            Keep::AsItIs => vfs.resolve(&owner(), &found, Resolution::AsItIs),
            Keep::With(file) => vfs.resolve_with(&owner(), &found, &file.0),
        };
        decided.map_err(|err| refusal(err, &path, other))?;
        node.settle()?;
        let left = node.db().read(|conn| tree::conflict_count(conn, view.branch))?;
        Ok(Resolved {
            path,
            conflicts: infos,
            keep: self.keep,
            left: usize::try_from(left).unwrap_or(usize::MAX),
        })
    }
}

impl Resolve {
    /// Refuses what does not say which bytes are to be kept.
    fn require_clear(
        &self,
        node: &Node,
        (path, found): (&str, &[Conflict]),
        view: &tree::View,
    ) -> Result<(), CliError> {
        let path = path.to_owned();
        let contents = || found.iter().filter(|one| one.kind == ConflictKind::Content);
        match &self.keep {
            Keep::Ours | Keep::Theirs if contents().count() > 1 => {
                let numbers = contents().map(|one| one.number.to_string()).collect();
                Err(ConflictError::Several { path, numbers }.into())
            }
            Keep::With(_) if contents().next().is_none() => {
                Err(ConflictError::NotOfContent { path }.into())
            }
            Keep::With(file) => match fs::metadata(&file.0) {
                Ok(found) if found.is_file() => Ok(()),
                Ok(_) => Err(ConflictError::NotAnAnswer { file: file.0.clone() }.into()),
                Err(_) => Err(ConflictError::NoAnswer { file: file.0.clone() }.into()),
            },
            Keep::AsItIs => {
                for conflict in found {
                    let sides = node.db().read(|conn| tree::sides(conn, view, conflict))?;
                    if !sides.touched {
                        let what = Who::of(node, conflict.operation)?.what;
                        return Err(ConflictError::Untouched { path, what }.into());
                    }
                }
                Ok(())
            }
            Keep::Ours | Keep::Theirs | Keep::Both => Ok(()),
        }
    }
}

/// What it means that the tree refused.
fn refusal(err: DecideError, path: &str, other: Option<String>) -> CliError {
    let path = path.to_owned();
    let DecideError::Fs(FsError::Tree(refused)) = &err else { return err.into() };
    match refused {
        TreeError::EdgeExists { .. } | TreeError::IntoItself { .. } => {
            ConflictError::Taken { place: other.unwrap_or_else(|| path.clone()), path }.into()
        }
        TreeError::DirectoryNotEmpty(_) => ConflictError::NotEmpty { path }.into(),
        TreeError::InodeGone(_) | TreeError::NotADirectory(_) => {
            ConflictError::NowhereToBe { path }.into()
        }
        _ => err.into(),
    }
}
