//! Lists and decides conflicts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesfs_pathtree::tree::{self, Resolution};

use super::merge::{ConflictInfo, writable};
use crate::{
    control::Request, error::CliError, node::Node, output::Show, place::owner, progress::Progress,
    shown::Context,
};

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
        lines
            .push("`tesfs conflicts resolve NUMBER --ours|--theirs|--both` decides one".to_owned());
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

/// Decides a conflict.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Resolve {
    pub(crate) place: Context,
    pub(crate) number: i64,
    pub(crate) keep: Keep,
}

/// Which side is kept.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keep {
    Ours,
    Theirs,
    Both,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Resolved {
    pub(crate) conflict: ConflictInfo,
    pub(crate) keep: Keep,
    pub(crate) left: usize,
}

impl Show for Resolved {
    fn show(&self) -> String {
        let what = match self.keep {
            Keep::Ours => "what shows is kept; the other side is in its history",
            Keep::Theirs => "the other side shows now; what showed is in its history",
            Keep::Both => "both are kept, side by side",
        };
        let left = match self.left {
            0 => "no conflicts are left".to_owned(),
            left => format!("{left} left"),
        };
        format!("{}: {what}; {left}", self.conflict.path)
    }
}

impl Request for Resolve {
    type Answer = Resolved;
    const PATH: &'static str = "/v1/conflicts/resolve";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Resolved, CliError> {
        let shown = node.here(&self.place)?;
        let vfs = writable(node, &shown)?;
        let open = node.db().read(|conn| tree::conflicts(conn, vfs.view()))?;
        let Some(found) = open.iter().find(|one| one.number == self.number) else {
            return Err(CliError::UnknownConflict { number: self.number });
        };
        let conflict = ConflictInfo::of(node.db(), vfs.view(), found)?;
        let how = match self.keep {
            Keep::Ours => Resolution::Ours,
            Keep::Theirs => Resolution::Theirs,
            Keep::Both => Resolution::Both,
        };
        vfs.resolve(&owner(), found, how)?;
        node.settle()?;
        Ok(Resolved { conflict, keep: self.keep, left: open.len() - 1 })
    }
}
