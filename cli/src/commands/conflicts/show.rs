//! Tells what the sides of a conflict are.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use similar::TextDiff;
use tesfs_pathtree::{
    BlobNumber, BranchNumber, branch,
    tree::{self, Conflict, ConflictKind, ConflictSide, View},
};

use super::{ConflictInfo, Which, path_of};
use crate::{
    commands::diff,
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, bytes, table},
    progress::Progress,
    shown::{Context, Shown},
    time::Moment,
    version::HASH_DIGITS,
    who::Who,
};

/// Asks what the sides are.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Describe {
    pub(crate) place: Context,
    /// `None`: of every open conflict of the branch.
    pub(crate) which: Option<Which>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Described {
    pub(crate) branch: String,
    pub(crate) conflicts: Vec<Detail>,
}

/// One conflict with its sides.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Detail {
    #[serde(flatten)]
    pub(crate) conflict: ConflictInfo,
    /// What found it.
    pub(crate) found_by: Who,
    pub(crate) found: Moment,
    /// What shows was changed since.
    pub(crate) touched: bool,
    /// What the branch had; `None` where that is removed.
    pub(crate) ours: Option<SideInfo>,
    /// What came.
    pub(crate) theirs: Option<SideInfo>,
    /// What both began with, of `content`, as long as that is kept.
    pub(crate) base: Option<SideInfo>,
    /// From ours to theirs, where both are text.
    pub(crate) patch: Option<String>,
}

/// One side.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct SideInfo {
    /// Where it was made.
    pub(crate) branch: Option<String>,
    pub(crate) who: Option<Who>,
    /// When it was written.
    pub(crate) modified: Moment,
    /// Where it is, or would be; `None` of `content`, and where it is removed.
    pub(crate) path: Option<String>,
    pub(crate) bytes: u64,
    /// Once it is known.
    pub(crate) hash: Option<String>,
    pub(crate) shows: bool,
}

impl Request for Describe {
    type Answer = Described;
    const PATH: &'static str = "/v1/conflicts/show";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<Described, CliError> {
        let (shown, found) = match &self.which {
            Some(which) => node.conflicts_meant(&self.place, which)?,
            None => {
                let shown = node.here(&self.place)?;
                let view = node.view(&shown)?;
                (shown, node.db().read(|conn| tree::conflicts(conn, &view))?)
            }
        };
        let mut conflicts = Vec::with_capacity(found.len());
        for conflict in &found {
            progress.go_on()?;
            conflicts.push(detail(node, &shown, conflict)?);
        }
        Ok(Described { branch: shown.branch.name, conflicts })
    }
}

fn detail(node: &Node, shown: &Shown, conflict: &Conflict) -> Result<Detail, CliError> {
    let view = node.view(shown)?;
    let sides = node.db().read(|conn| tree::sides(conn, &view, conflict))?;
    let info = ConflictInfo::of(node.db(), &view, conflict)?;
    let patch = match (&sides.ours, &sides.theirs) {
        (Some(ours), Some(theirs)) if conflict.kind != ConflictKind::Place => {
            patch(node, ours, theirs, &info)?
        }
        _ => None,
    };
    let told = |side: Option<ConflictSide>| match side {
        Some(side) => side_info(node, &view, conflict, &info, &side).map(Some),
        None => Ok(None),
    };
    let found = tesfs_pathtree::Hlc(conflict.operation.0.cast_unsigned());
    Ok(Detail {
        found_by: Who::of(node, conflict.operation)?,
        found: Moment(found.unix_ns()),
        touched: sides.touched,
        ours: told(sides.ours)?,
        theirs: told(sides.theirs)?,
        base: told(sides.base)?,
        patch,
        conflict: info,
    })
}

fn side_info(
    node: &Node,
    view: &View,
    conflict: &Conflict,
    info: &ConflictInfo,
    side: &ConflictSide,
) -> Result<SideInfo, CliError> {
    let path = match conflict.kind {
        ConflictKind::Content => None,
        ConflictKind::Place if !side.shows => info.other_path.clone(),
        ConflictKind::Place | ConflictKind::Name => Some(path_of(node.db(), view, side.ino)?),
    };
    Ok(SideInfo {
        branch: side.branch.map(|number| branch_name(node, number)).transpose()?,
        who: side.operation.map(|operation| Who::of(node, operation)).transpose()?,
        modified: Moment(side.mtime_ns),
        path,
        bytes: side.size,
        hash: hash(node, side.blob)?,
        shows: side.shows,
    })
}

fn branch_name(node: &Node, number: BranchNumber) -> Result<String, CliError> {
    let found = node.db().read(|conn| branch::by_number(conn, number))?;
    Ok(found.map_or_else(|| number.to_string(), |found| found.name))
}

fn hash(node: &Node, blob: Option<BlobNumber>) -> Result<Option<String>, CliError> {
    let Some(blob) = blob else { return Ok(None) };
    let row = node.db().read(|conn| node.store().row(conn, blob))?;
    Ok(row.and_then(|row| row.hash).map(|hash| hash.to_string()))
}

/// Returns the lines that differ between the sides; `None` where either is no text.
fn patch(
    node: &Node,
    ours: &ConflictSide,
    theirs: &ConflictSide,
    info: &ConflictInfo,
) -> Result<Option<String>, CliError> {
    let text = |side: &ConflictSide| diff::text(node, side.blob, side.size);
    let (Some(old), Some(new)) = (text(ours)?, text(theirs)?) else { return Ok(None) };
    let path = info.other_path.as_ref().unwrap_or(&info.path);
    let (one, other) = (format!("ours/{path}"), format!("theirs/{path}"));
    let patch = TextDiff::from_lines(&old, &new).unified_diff().header(&one, &other).to_string();
    Ok((!patch.is_empty()).then_some(patch))
}

impl Show for Described {
    fn show(&self) -> String {
        if self.conflicts.is_empty() {
            return format!("no conflicts on '{}'", self.branch);
        }
        let mut parts: Vec<String> = self.conflicts.iter().map(Detail::show).collect();
        parts.push(
            "`tesfs conflicts resolve PATH --ours|--theirs|--both|--with FILE` decides; after \
             editing a file, without any of these, what is there then is the answer.\nThe sides \
             are files under `.tesfs/conflicts/PATH/` of the mounted folder."
                .to_owned(),
        );
        parts.join("\n\n")
    }
}

impl Detail {
    fn show(&self) -> String {
        let ConflictInfo { number, path, kind, .. } = &self.conflict;
        let what = match kind.as_str() {
            "content" => "both sides changed its bytes",
            "place" => "both sides moved it",
            _ => "two files want one name",
        };
        let (by, found) = (&self.found_by.what, self.found);
        let mut text = format!("conflict {number}: {path}\n{what}; found by `{by}`, {found}\n");
        let sides = [("ours", &self.ours), ("theirs", &self.theirs), ("base", &self.base)];
        let is_content = kind == "content";
        let rows = sides.into_iter().filter(|(word, side)| side.is_some() || *word != "base");
        let rows = rows.map(|(word, side)| match side {
            Some(side) => side.row(word, is_content, self.touched),
            None => vec![word.to_owned(), "removed".to_owned()],
        });
        let header = match is_content {
            true => vec!["side", "branch", "written", "size", "hash", "by", ""],
            false => vec!["side", "branch", "written", "size", "path", "by", ""],
        };
        text.push_str(&table(&header, &[3], rows.collect()));
        if let Some(patch) = &self.patch {
            text.push('\n');
            text.push_str(patch.trim_end_matches('\n'));
        }
        text
    }
}

impl SideInfo {
    fn row(&self, word: &str, is_content: bool, touched: bool) -> Vec<String> {
        let nothing = || "-".to_owned();
        let third = match is_content {
            true => self.hash.as_ref().map(|hash| hash[..HASH_DIGITS].to_owned()),
            false => self.path.clone(),
        };
        let mark = match (self.shows, touched) {
            (true, true) => "shows, changed since",
            (true, false) => "shows",
            (false, _) => "",
        };
        vec![
            word.to_owned(),
            self.branch.clone().unwrap_or_else(nothing),
            self.modified.to_string(),
            bytes(self.bytes),
            third.unwrap_or_else(nothing),
            self.who.as_ref().map_or_else(nothing, Who::shown),
            mark.to_owned(),
        ]
    }
}
