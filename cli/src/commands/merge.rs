//! Merges branches.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesfs_fs::Vfs;
use tesfs_pathtree::{
    Db, DbError,
    tree::{Alike, Applied, Favour, View},
};

use super::conflicts::{ConflictInfo, path_of};
use crate::{
    control::Request,
    error::CliError,
    exit::Exit,
    node::Node,
    output::{Show, plural},
    place::owner,
    progress::Progress,
    said::Said,
    shown::{Context, Shown, ShownError},
};

/// Merges one branch into another.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Merge {
    pub(crate) place: Context,
    /// A branch, snapshot or time.
    pub(crate) from: Said,
    /// `None`: what the folder shows, else `main`.
    pub(crate) into: Option<Said>,
    pub(crate) favour: Side,
    pub(crate) dry_run: bool,
}

/// Which side shows where both changed the same.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    #[default]
    Newest,
    Ours,
    Theirs,
}

impl From<Side> for Favour {
    fn from(side: Side) -> Self {
        match side {
            Side::Newest => Self::Newest,
            Side::Ours => Self::Ours,
            Side::Theirs => Self::Theirs,
        }
    }
}

/// What a merge, an undo or a redo did to a branch.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct AppliedInfo {
    pub(crate) created: u64,
    pub(crate) removed: u64,
    pub(crate) moved: u64,
    pub(crate) edited: u64,
    /// Of the edited ones, texts whose lines were merged.
    pub(crate) lines_merged: u64,
    pub(crate) attributes: u64,
    /// What one side removed and the other changed: it stays.
    pub(crate) kept: Vec<String>,
    pub(crate) conflicts: Vec<ConflictInfo>,
    /// Names that some systems can not tell apart, brought together by a merge.
    pub(crate) alike: Vec<AlikeInfo>,
}

/// Two names in one directory that some systems can not tell apart.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct AlikeInfo {
    pub(crate) directory: String,
    pub(crate) names: [String; 2],
    /// `case`, or `encoding`: the same letters in two Unicode forms.
    pub(crate) differ_in: String,
}

impl AlikeInfo {
    fn of(db: &Db, view: &View, alike: &Alike) -> Result<Self, DbError> {
        Ok(Self {
            directory: path_of(db, view, alike.directory)?,
            names: alike.names.each_ref().map(|name| name.as_os_str().display().to_string()),
            differ_in: if alike.same_letters { "encoding" } else { "case" }.to_owned(),
        })
    }

    fn line(&self) -> String {
        let Self { directory, names: [one, other], .. } = self;
        let differ = match self.differ_in.as_str() {
            "case" => "differ only in case",
            _ => "have the same letters in two encodings",
        };
        format!("      '{one}' and '{other}' in {directory} {differ}")
    }
}

impl AppliedInfo {
    pub(crate) fn of(db: &Db, view: &View, applied: &Applied) -> Result<Self, DbError> {
        let kept = applied.kept.iter().map(|ino| path_of(db, view, *ino));
        let conflicts = applied.conflicts.iter().map(|one| ConflictInfo::of(db, view, one));
        let alike = applied.alike.iter().map(|one| AlikeInfo::of(db, view, one));
        Ok(Self {
            created: applied.created,
            removed: applied.removed,
            moved: applied.moved,
            edited: applied.edited,
            lines_merged: applied.lines_merged,
            attributes: applied.attributes,
            kept: kept.collect::<Result<_, _>>()?,
            conflicts: conflicts.collect::<Result<_, _>>()?,
            alike: alike.collect::<Result<_, _>>()?,
        })
    }

    fn is_nothing(&self) -> bool {
        let counts = [self.created, self.removed, self.moved, self.edited, self.attributes];
        counts.iter().all(|count| *count == 0) && self.kept.is_empty() && self.conflicts.is_empty()
    }

    /// `12 created, 3 edited (1 line by line), 1 removed`.
    fn counts(&self) -> String {
        let edited = match self.lines_merged {
            0 => format!("{} edited", self.edited),
            lines => format!("{} edited ({lines} line by line)", self.edited),
        };
        let parts = [
            (self.created, format!("{} created", self.created)),
            (self.edited, edited),
            (self.moved, format!("{} moved", self.moved)),
            (self.removed, format!("{} removed", self.removed)),
            (self.attributes, format!("attributes of {} changed", self.attributes)),
        ];
        let said: Vec<String> =
            parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words).collect();
        if said.is_empty() { "nothing to change".to_owned() } else { said.join(", ") }
    }

    /// What was done, line by line, below `title`.
    pub(crate) fn lines(&self, title: &str) -> String {
        /// Further ones are counted.
        const LISTED_MAX: usize = 20;
        let mut lines = vec![format!("{title}: {}", self.counts())];
        for path in self.kept.iter().take(LISTED_MAX) {
            lines.push(format!("      {path} stays: removed on one side, changed on the other"));
        }
        if self.kept.len() > LISTED_MAX {
            lines.push(format!("      and {} more stay", self.kept.len() - LISTED_MAX));
        }
        if !self.conflicts.is_empty() {
            let count = plural(self.conflicts.len() as u64, "conflict");
            lines.push(format!("{count} (`tesfs conflicts show`; the newer side shows):"));
            lines.extend(self.conflicts.iter().take(LISTED_MAX).map(ConflictInfo::line));
        }
        if !self.alike.is_empty() {
            let count = plural(self.alike.len() as u64, "pair");
            lines.push(format!(
                "warning: {count} of names that Windows or macOS takes for one (nothing was renamed):"
            ));
            lines.extend(self.alike.iter().take(LISTED_MAX).map(AlikeInfo::line));
        }
        lines.join("\n")
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct MergeAnswer {
    pub(crate) from: String,
    pub(crate) into: String,
    pub(crate) dry_run: bool,
    pub(crate) applied: AppliedInfo,
}

impl Show for MergeAnswer {
    fn show(&self) -> String {
        let Self { from, into, dry_run, applied } = self;
        if applied.is_nothing() {
            return format!("'{into}' has everything that '{from}' has already");
        }
        let did = if *dry_run { "would be merged" } else { "merged" };
        let mut said = applied.lines(&format!("{did} from '{from}' into '{into}'"));
        if !dry_run {
            said.push_str("\n`tesfs undo` takes it back");
        }
        said
    }

    fn exit(&self) -> Exit {
        if self.applied.conflicts.is_empty() { Exit::Success } else { Exit::Partial }
    }
}

impl Request for Merge {
    type Answer = MergeAnswer;
    const PATH: &'static str = "/v1/merge";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<MergeAnswer, CliError> {
        let here = node.here(&self.place)?;
        let from = node.shown_in(&here, &self.from)?;
        let into = match &self.into {
            Some(into) => node.shown_in(&here, into)?,
            None => here,
        };
        let vfs = writable(node, &into)?;
        // Hashes say whether two sides have the same bytes.
        node.settle()?;
        let view = node.view(&from)?;
        let applied =
            vfs.merge(&owner(), (&view, &from.branch.name), self.favour.into(), self.dry_run)?;
        node.settle()?;
        Ok(MergeAnswer {
            from: from.branch.name,
            into: into.branch.name,
            dry_run: self.dry_run,
            applied: AppliedInfo::of(node.db(), vfs.view(), &applied)?,
        })
    }
}

/// Opens a branch that is to be changed.
pub(crate) fn writable(node: &Node, shown: &Shown) -> Result<Arc<Vfs>, CliError> {
    if shown.is_past() {
        let branch = shown.branch.name.clone();
        return Err(ShownError::Past { shown: shown.name(), branch }.into());
    }
    let vfs = node.trees().for_command(shown)?;
    match node.mounts().of_branch(shown.branch.number) {
        Some(mounted) if mounted.wish.read_only => {
            let dir = mounted.dir.clone();
            Err(CliError::BucketReadOnly { bucket: shown.name(), dir })
        }
        _ => Ok(vfs),
    }
}
