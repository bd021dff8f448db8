//! The operation log, undo and redo.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tesfs_fs::DecideError;
use tesfs_pathtree::{
    DbError, Ino, OperationId,
    tree::{self, Event, Log as TreeLog, Operation, UndoError, View},
};

use super::{
    log::{Entry, entries},
    merge::{AppliedInfo, writable},
};
use crate::{
    control::Request,
    error::CliError,
    exit::Exit,
    node::Node,
    output::{Show, plural, table},
    place::owner,
    progress::Progress,
    shown::{Context, Shown},
    time::Moment,
};

/// Operations looked through for one that is named.
const PAGE: u32 = 1000;
/// Characters of an id that are shown.
const ID_SHOWN: usize = 10;

/// What people call an operation: a hash, so that few characters tell it from others.
fn name_of(operation: OperationId) -> String {
    let hash = tesfs_blobs::BlobHash::of(&operation.0.to_be_bytes());
    hash.to_string().chars().take(ID_SHOWN).collect()
}

/// Lists what was done on a branch, newest first.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Log {
    pub(crate) place: Context,
    pub(crate) limit: u32,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct LogAnswer {
    pub(crate) branch: String,
    pub(crate) operations: Vec<OperationInfo>,
}

/// One operation.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct OperationInfo {
    pub(crate) id: String,
    pub(crate) began: Moment,
    pub(crate) who: String,
    pub(crate) what: String,
    /// The one that it undid.
    pub(crate) undoes: Option<String>,
    /// The one in force that undid it.
    pub(crate) undone_by: Option<String>,
}

impl OperationInfo {
    fn of(operation: &Operation) -> Self {
        Self {
            id: name_of(operation.id),
            began: began(operation.id),
            who: operation.who.clone(),
            what: operation.what.clone(),
            undoes: operation.undoes.map(name_of),
            undone_by: operation.undone_by.map(name_of),
        }
    }
}

fn began(operation: OperationId) -> Moment {
    let hlc = tesfs_pathtree::Hlc(operation.0.cast_unsigned());
    Moment(hlc.unix_ns())
}

impl Show for LogAnswer {
    fn show(&self) -> String {
        if self.operations.is_empty() {
            return format!("nothing was done on '{}' yet", self.branch);
        }
        let rows = self.operations.iter().map(|one| {
            let what = match &one.undoes {
                Some(undoes) => format!("{} {undoes}", one.what),
                None => one.what.clone(),
            };
            let undone = if one.undone_by.is_some() { "undone" } else { "" };
            let began = one.began.to_string();
            vec![one.id.clone(), began, one.who.clone(), what, undone.to_owned()]
        });
        table(&["operation", "began", "who", "what", ""], &[], rows.collect())
    }
}

impl Request for Log {
    type Answer = LogAnswer;
    const PATH: &'static str = "/v1/operation/log";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<LogAnswer, CliError> {
        let shown = node.here(&self.place)?;
        let view = node.view(&shown)?;
        let found = node.db().read(|conn| tree::operations(conn, &view, None, self.limit))?;
        let operations = found.iter().map(OperationInfo::of).collect();
        Ok(LogAnswer { branch: shown.branch.name, operations })
    }
}

/// Shows what one operation did.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Describe {
    pub(crate) place: Context,
    /// As the log shows it.
    pub(crate) operation: String,
    /// As many entries at most.
    pub(crate) limit: usize,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Described {
    pub(crate) branch: String,
    pub(crate) operation: OperationInfo,
    /// In the order in which they were changed last.
    pub(crate) entries: Vec<Entry>,
    /// Further ones that are not told.
    pub(crate) left: usize,
}

impl Show for Described {
    fn show(&self) -> String {
        let OperationInfo { id, began, who, what, .. } = &self.operation;
        let mut lines = vec![format!("{id}  {began}  {what}, by {who} on {}", self.branch)];
        if let Some(undoes) = &self.operation.undoes {
            lines.push(format!("takes back {undoes}"));
        }
        if let Some(by) = &self.operation.undone_by {
            lines.push(format!("was taken back by {by}"));
        }
        lines.extend(self.entries.iter().map(Entry::line));
        if self.left > 0 {
            lines.push(format!("  and {} more; --limit tells more", self.left));
        }
        lines.join("\n")
    }
}

impl Request for Describe {
    type Answer = Described;
    const PATH: &'static str = "/v1/operation/show";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<Described, CliError> {
        let shown = node.here(&self.place)?;
        let id = node.operation(&shown, &self.operation)?;
        let view = node.view(&shown)?;
        let found = node.db().read(|conn| tree::operation(conn, &view, id))?;
        let Some(found) = found else {
            return Err(CliError::UnknownOperation { name: self.operation });
        };
        let (mut entries, left) = entries_of(node, &view, id, self.limit, progress)?;
        entries.reverse();
        let operation = OperationInfo::of(&found);
        Ok(Described { branch: shown.branch.name, operation, entries, left })
    }
}

/// What an operation did, newest first, and how many further things.
fn entries_of(
    node: &Node,
    view: &View,
    id: OperationId,
    limit: usize,
    progress: &Progress,
) -> Result<(Vec<Entry>, usize), CliError> {
    let merged = node.merged_from(view.branch, id)?;
    node.db().read(|conn| {
        let mut log = TreeLog::new(conn, view);
        let mut events: HashMap<Ino, Option<Event>> = HashMap::new();
        let mut order = Vec::new();
        while let Some(logged) = log.next() {
            progress.go_on()?;
            let logged = logged?;
            // Nothing of an operation is older than its id.
            if logged.stamp.hlc.0 < id.0.cast_unsigned() {
                break;
            }
            if logged.operation != id {
                continue;
            }
            match events.get_mut(&logged.row) {
                Some(Some(event)) => log.extend(event, logged)?,
                Some(None) => {}
                None => {
                    let is_told = order.len() < limit;
                    let event = if is_told { log.event(logged)? } else { None };
                    events.insert(logged.row, event);
                    order.push(logged.row);
                }
            }
        }
        let told: Vec<Event> =
            order.iter().filter_map(|row| events.remove(row).flatten()).collect();
        let left = order.len().saturating_sub(limit);
        Ok((entries(&told, merged.as_deref()), left))
    })
}

/// Undoes or redoes an operation.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PutBack {
    pub(crate) place: Context,
    /// As the log shows it; `None` is the newest there is.
    pub(crate) operation: Option<String>,
    pub(crate) way: Way,
}

/// What is put back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    Undo,
    Redo,
    /// The last operation, which must be a merge.
    AbortMerge,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PutBackAnswer {
    pub(crate) redo: bool,
    pub(crate) branch: String,
    pub(crate) operation: String,
    pub(crate) what: String,
    pub(crate) began: Moment,
    pub(crate) by: String,
    pub(crate) applied: AppliedInfo,
    /// Of the whole branch, with what undoing a decision opened again.
    pub(crate) open_conflicts: u64,
}

impl Show for PutBackAnswer {
    fn show(&self) -> String {
        let did = if self.redo { "redone" } else { "undone" };
        let title = format!("{did}: {} of {} ({})", self.what, self.began, self.operation);
        let back = if self.redo { "undo" } else { "redo" };
        let mut said = self.applied.lines(&title);
        if self.open_conflicts > 0 && self.applied.conflicts.is_empty() {
            let open = plural(self.open_conflicts, "conflict");
            said = format!("{said}\n{open} to decide (`tesfs conflicts show`)");
        }
        format!("{said}\n`tesfs {back}` takes that back")
    }

    fn exit(&self) -> Exit {
        if self.applied.conflicts.is_empty() { Exit::Success } else { Exit::Partial }
    }
}

impl Request for PutBack {
    type Answer = PutBackAnswer;
    const PATH: &'static str = "/v1/operation/undo";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<PutBackAnswer, CliError> {
        let shown = node.here(&self.place)?;
        let vfs = writable(node, &shown)?;
        let which = match &self.operation {
            Some(name) => Some(node.operation(&shown, name)?),
            None => None,
        };
        let view = node.view(&shown)?;
        let undone = match self.way {
            Way::Undo => vfs.undo(&owner(), which),
            Way::Redo => vfs.redo(&owner(), which),
            Way::AbortMerge => vfs.abort_merge(&owner()),
        };
        let undone = match undone {
            Err(DecideError::Undo(UndoError::NotAMerge(last))) => {
                return Err(no_merge(node, &shown, &view, last)?);
            }
            undone => undone?,
        };
        let target = node.db().read(|conn| tree::operation(conn, &view, undone.operation))?;
        // A redo undid an undo: what people want to hear of is what that had undone.
        let meant = match target.as_ref().and_then(|target| target.undoes) {
            Some(undone) => node.db().read(|conn| tree::operation(conn, &view, undone))?,
            None => target,
        };
        Ok(PutBackAnswer {
            redo: self.way == Way::Redo,
            branch: shown.branch.name,
            operation: name_of(meant.as_ref().map_or(undone.operation, |meant| meant.id)),
            what: meant.as_ref().map_or_else(String::new, |meant| meant.what.clone()),
            began: began(meant.map_or(undone.operation, |meant| meant.id)),
            by: name_of(undone.by),
            applied: AppliedInfo::of(node.db(), vfs.view(), &undone.applied)?,
            open_conflicts: node.db().read(|conn| tree::conflict_count(conn, view.branch))?,
        })
    }
}

/// Says that the last operation is no merge, and which one was the last.
fn no_merge(
    node: &Node,
    shown: &Shown,
    view: &View,
    last: OperationId,
) -> Result<CliError, CliError> {
    let (found, merge) = node.db().read(|conn| {
        let in_force = tree::operations(conn, view, None, PAGE)?;
        let in_force = in_force.iter().filter(|one| one.undone_by.is_none());
        let mut merge = None;
        for one in in_force {
            if tree::merged_from(conn, view.branch, one.id)?.is_some() {
                merge = Some(name_of(one.id));
                break;
            }
        }
        Ok::<_, DbError>((tree::operation(conn, view, last)?, merge))
    })?;
    Ok(CliError::LastIsNoMerge {
        branch: shown.branch.name.clone(),
        operation: name_of(last),
        what: found.map_or_else(String::new, |found| found.what),
        began: began(last),
        merge,
    })
}

impl Node {
    /// Finds the operation of a branch whose name begins with `name`.
    ///
    /// # Errors
    ///
    /// There is none, or several.
    fn operation(&self, shown: &Shown, name: &str) -> Result<OperationId, CliError> {
        let view = self.view(shown)?;
        let mut found: Vec<OperationId> = Vec::new();
        let mut before = None;
        loop {
            let page = self.db().read(|conn| tree::operations(conn, &view, before, PAGE))?;
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            let ids = page.iter().map(|one| one.id);
            found.extend(ids.filter(|id| !name.is_empty() && name_of(*id).starts_with(name)));
        }
        match found.as_slice() {
            [only] => Ok(*only),
            [] => Err(CliError::UnknownOperation { name: name.to_owned() }),
            several => Err(CliError::AmbiguousOperation {
                name: name.to_owned(),
                known: several.iter().map(|id| name_of(*id)).collect(),
            }),
        }
    }
}
