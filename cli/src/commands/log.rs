//! What happened to a file, or below a folder, newest first.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tesfs_fs::FileKind;
use tesfs_pathtree::{
    BranchNumber, Hlc, Ino, OperationId, branch,
    tree::{self, Event, Located, Log as TreeLog, Logged, S_IFMT, View},
};

use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, bytes, plural, table},
    place::{Place, join},
    progress::Progress,
    shown::Context,
    target::Target,
    time::Moment,
    version::{HASH_DIGITS, Subject, VersionLine},
    who::Who,
};

/// Entries of one operation that are told one by one; the others are counted.
const ENTRIES_MAX: usize = 20;

/// Asks what happened.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Log {
    /// `None`: all of what the folder shows that the command was given in.
    pub(crate) target: Option<Target>,
    pub(crate) place: Context,
    /// How many versions or operations are told.
    pub(crate) limit: usize,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogAnswer {
    File(FileLog),
    Folder(FolderLog),
}

/// The versions of a file.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct FileLog {
    pub(crate) bucket: String,
    pub(crate) path: String,
    /// It is removed.
    pub(crate) removed: bool,
    /// Where it is now, if that is another path.
    pub(crate) now_at: Option<String>,
    /// Newest first.
    pub(crate) versions: Vec<VersionEntry>,
    /// Older ones that are not told.
    pub(crate) left: usize,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct VersionEntry {
    pub(crate) when: Moment,
    /// As in `v3`; `None` where the content did not change.
    pub(crate) version: Option<String>,
    pub(crate) changed: Vec<String>,
    /// Where it was since; `None` where it was removed.
    pub(crate) path: Option<String>,
    pub(crate) bytes: u64,
    pub(crate) hash: Option<String>,
    pub(crate) branch: String,
    pub(crate) who: Who,
}

/// What happened below a folder.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct FolderLog {
    pub(crate) bucket: String,
    pub(crate) path: String,
    /// Newest first.
    pub(crate) operations: Vec<OperationEntry>,
    /// There are older ones that are not told.
    pub(crate) more: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct OperationEntry {
    /// When it did the last of it.
    pub(crate) when: Moment,
    pub(crate) branch: String,
    pub(crate) who: Who,
    /// How many things it changed.
    pub(crate) count: usize,
    /// Some of them.
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Entry {
    pub(crate) changed: Vec<String>,
    pub(crate) path: String,
    pub(crate) directory: bool,
    pub(crate) bytes: u64,
}

impl Request for Log {
    type Answer = LogAnswer;
    const PATH: &'static str = "/v1/log";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<LogAnswer, CliError> {
        let place = match &self.target {
            Some(target) => node.place(target)?,
            None => Place::root(node.here(&self.place)?),
        };
        let subject = node.subject(&place)?;
        let names = BranchNames::of(node, &place)?;
        let found = match subject.last.gone {
            None => subject.view.clone(),
            Some(gone) => subject.view.at(Hlc(gone.0 - 1)),
        };
        let inode = node.db().read(|conn| tree::inode(conn, &found, subject.last.ino))?;
        if inode.is_some_and(|inode| inode.is_directory()) {
            let folder = Folder { node, view: &subject.view, ino: subject.last.ino, names: &names };
            let (operations, more) = folder.operations(self.limit, progress)?;
            let (bucket, path) = (place.shown.name(), place.path());
            return Ok(LogAnswer::Folder(FolderLog { bucket, path, operations, more }));
        }
        Ok(LogAnswer::File(file_log(node, &place, &subject, &names, self.limit)?))
    }
}

impl Node {
    /// The name of the branch that an operation merged, if it is a merge.
    pub(super) fn merged_from(
        &self,
        branch: BranchNumber,
        operation: OperationId,
    ) -> Result<Option<String>, CliError> {
        let Some(from) = self.db().read(|conn| tree::merged_from(conn, branch, operation))? else {
            return Ok(None);
        };
        let found = self.db().read(|conn| branch::by_number(conn, from))?;
        Ok(found.map(|found| found.name))
    }
}

/// The names of a bucket's branches.
struct BranchNames(HashMap<BranchNumber, String>);

impl BranchNames {
    fn of(node: &Node, place: &Place) -> Result<Self, CliError> {
        let all = node.db().read(|conn| branch::list(conn, &place.shown.bucket))?;
        Ok(Self(all.into_iter().map(|one| (one.number, one.name)).collect()))
    }

    fn name(&self, number: BranchNumber) -> String {
        self.0.get(&number).cloned().unwrap_or_else(|| "-".to_owned())
    }
}

fn file_log(
    node: &Node,
    place: &Place,
    subject: &Subject,
    names: &BranchNames,
    limit: usize,
) -> Result<FileLog, CliError> {
    let versions = node.versions(subject)?.lines;
    let left = versions.len().saturating_sub(limit);
    let now_at = subject.last.gone.and_then(|_| live_path(&versions));
    let mut told = Vec::with_capacity(versions.len() - left);
    for VersionLine { event, number, hash } in versions.into_iter().take(limit) {
        let merged = node.merged_from(event.logged.branch, event.logged.operation)?;
        told.push(VersionEntry {
            when: Moment(event.logged.stamp.hlc.unix_ns()),
            version: number.map(|number| format!("v{number}")),
            changed: changed(&event, merged.as_deref()),
            path: event.is.as_ref().map(|is| join(&is.names)),
            bytes: event.size,
            hash,
            branch: names.name(event.logged.branch),
            who: Who::of(node, event.logged.operation)?,
        });
    }
    Ok(FileLog {
        bucket: place.shown.name(),
        path: place.path(),
        removed: subject.last.gone.is_some() && now_at.is_none(),
        now_at,
        versions: told,
        left,
    })
}

/// Where the newest of its edges is that is still there.
fn live_path(newest_first: &[VersionLine]) -> Option<String> {
    let mut seen = HashSet::new();
    let mut newest_of_rows = newest_first.iter().filter(|line| seen.insert(line.event.logged.row));
    newest_of_rows.find_map(|line| line.event.is.as_ref()).map(|is| join(&is.names))
}

/// What an event did, in words; `merged` is the branch that a merge brought it from.
fn changed(event: &Event, merged: Option<&str>) -> Vec<String> {
    let mut words = changed_by(event);
    if let Some(branch) = merged {
        if event.was.is_none() && event.is.is_some() {
            // It is new here; of a file that it replaced it is the next version.
            words = event.replaces.map(|_| "content".to_owned()).into_iter().collect();
        }
        words.push(format!("merged from {branch}"));
    }
    words
}

fn changed_by(event: &Event) -> Vec<String> {
    let (what, is_link) = (event.what, event.ino != event.logged.row);
    let mut words = Vec::new();
    match (&event.was, &event.is) {
        (None, Some(is)) if what.created() && is_link => {
            words.push(format!("linked as {}", join(&is.names)));
        }
        (None, Some(_)) if what.created() && event.replaces.is_some() => {
            words.push("content, by a new file".to_owned());
        }
        (None, _) if what.created() => words.push("created".to_owned()),
        _ if what.content() => words.push("content".to_owned()),
        _ => {}
    }
    if what.edge() && !what.created() {
        words.extend(match (&event.was, &event.is) {
            (Some(was), Some(is)) => renamed(was, is),
            (None, Some(_)) => Some("restored".to_owned()),
            (Some(was), None) if is_link => Some(format!("unlinked {}", join(&was.names))),
            (_, None) => Some("removed".to_owned()),
        });
    } else if what.created() && event.is.is_none() {
        words.push("removed".to_owned());
    }
    if what.attributes() && !what.created() {
        words.push("attributes".to_owned());
    }
    words
}

fn renamed(was: &Located, is: &Located) -> Option<String> {
    match (was.above == is.above, was.names.last()) {
        _ if was.names.last() == is.names.last() && was.above == is.above => None,
        (true, Some(name)) => Some(format!("renamed from {}", name.as_os_str().display())),
        _ => Some(format!("moved from {}", join(&was.names))),
    }
}

/// A folder whose log is read.
struct Folder<'a> {
    node: &'a Node,
    view: &'a View,
    ino: Ino,
    names: &'a BranchNames,
}

/// An operation that is being gathered.
struct Gathered {
    newest: Logged,
    /// By row: what was done to it, where that is told.
    events: HashMap<Ino, Option<Event>>,
    /// In the order in which they were found.
    order: Vec<Ino>,
}

impl Folder<'_> {
    /// Gathers the newest operations that changed something below the folder; says whether there
    /// are more.
    fn operations(
        &self,
        limit: usize,
        progress: &Progress,
    ) -> Result<(Vec<OperationEntry>, bool), CliError> {
        let (gathered, more) = self.node.db().read(|conn| {
            let mut log = TreeLog::new(conn, self.view);
            let mut gathered: BTreeMap<OperationId, Gathered> = BTreeMap::new();
            let mut more = false;
            while let Some(logged) = log.next() {
                progress.go_on()?;
                let logged = logged?;
                // Nothing of an operation is older than its id.
                let oldest = gathered.keys().next().map(|id| id.0.cast_unsigned());
                if more && oldest.is_none_or(|oldest| logged.stamp.hlc.0 < oldest) {
                    break;
                }
                if !gathered.contains_key(&logged.operation) && gathered.len() >= limit {
                    more = more || self.event(&mut log, logged)?.is_some();
                    continue;
                }
                self.gather(&mut log, logged, &mut gathered)?;
            }
            Ok::<_, CliError>((gathered, more))
        })?;
        let mut told: Vec<Gathered> = gathered.into_values().collect();
        told.sort_by_key(|one| std::cmp::Reverse(one.newest.stamp));
        let told: Result<_, CliError> = told.into_iter().map(|one| self.tell(one)).collect();
        Ok((told?, more))
    }

    /// Adds a version to what its operation did.
    fn gather(
        &self,
        log: &mut TreeLog<'_>,
        logged: Logged,
        gathered: &mut BTreeMap<OperationId, Gathered>,
    ) -> Result<(), CliError> {
        if let Some(known) = gathered.get_mut(&logged.operation)
            && let Some(event) = known.events.get_mut(&logged.row)
        {
            if let Some(event) = event {
                log.extend(event, logged)?;
            }
            return Ok(());
        }
        let told = gathered.get(&logged.operation).map_or(0, |known| known.order.len());
        // Below the root is everything: what is only counted need not be found.
        let event = if self.ino == self.view.root && told >= ENTRIES_MAX {
            None
        } else {
            let Some(event) = self.event(log, logged)? else { return Ok(()) };
            (told < ENTRIES_MAX).then_some(event)
        };
        let of = gathered.entry(logged.operation).or_insert_with(|| Gathered {
            newest: logged,
            events: HashMap::new(),
            order: Vec::new(),
        });
        of.events.insert(logged.row, event);
        of.order.push(logged.row);
        Ok(())
    }

    fn event(&self, log: &mut TreeLog<'_>, logged: Logged) -> Result<Option<Event>, CliError> {
        let event = log.event(logged)?;
        Ok(event.filter(|event| self.ino == self.view.root || event.concerns(self.ino)))
    }

    fn tell(&self, of: Gathered) -> Result<OperationEntry, CliError> {
        let Gathered { newest, mut events, order } = of;
        let told: Vec<Event> =
            order.iter().filter_map(|row| events.remove(row).flatten()).collect();
        let merged = self.node.merged_from(newest.branch, newest.operation)?;
        let mut entries = entries(&told, merged.as_deref());
        // As the operation did them.
        entries.reverse();
        Ok(OperationEntry {
            when: Moment(newest.stamp.hlc.unix_ns()),
            branch: self.names.name(newest.branch),
            who: Who::of(self.node, newest.operation)?,
            count: order.len(),
            entries,
        })
    }
}

/// Tells what an operation did, event by event.
pub(super) fn entries(events: &[Event], merged: Option<&str>) -> Vec<Entry> {
    // That a file was removed because another took its name is that other's story.
    let replaced: HashSet<Ino> = events.iter().filter_map(|event| event.replaces).collect();
    let told = events.iter().filter(|event| event.is.is_some() || !replaced.contains(&event.ino));
    told.map(|event| entry(event, merged)).collect()
}

fn entry(event: &Event, merged: Option<&str>) -> Entry {
    let place = event.is.as_ref().or(event.was.as_ref());
    Entry {
        changed: changed(event, merged),
        path: match place {
            Some(place) if place.names.is_empty() => "/".to_owned(),
            Some(place) => join(&place.names),
            None => String::new(),
        },
        directory: FileKind::of_mode(event.mode & S_IFMT) == FileKind::Directory,
        bytes: event.size,
    }
}

impl Show for LogAnswer {
    fn show(&self) -> String {
        match self {
            Self::File(file) => file.show(),
            Self::Folder(folder) => folder.show(),
        }
    }
}

impl FileLog {
    fn show(&self) -> String {
        let rows = self.versions.iter().map(|version| {
            let hash = version.hash.as_ref().map_or("-", |hash| &hash[..HASH_DIGITS]);
            vec![
                version.version.clone().unwrap_or_else(|| "-".to_owned()),
                version.when.to_string(),
                bytes(version.bytes),
                hash.to_owned(),
                version.changed.join(", "),
                version.branch.clone(),
                version.who.shown(),
            ]
        });
        let header = ["version", "when", "size", "hash", "changed", "branch", "by"];
        let mut text = table(&header, &[2], rows.collect());
        if self.left > 0 {
            text.push_str(&format!("\n{} more; --limit tells more", self.left));
        }
        if let Some(path) = &self.now_at {
            text.push_str(&format!("\nit is at {}:{path} now", self.bucket));
        }
        if self.removed {
            let path = format!("{}:{}", self.bucket, self.path);
            text.push_str(&format!("\nit is removed; `tesfs restore '{path}'` brings it back"));
        }
        text
    }
}

impl Entry {
    /// One line for people.
    pub(super) fn line(&self) -> String {
        let Self { changed, path, directory, bytes: size } = self;
        let end = if *directory && !path.ends_with('/') { "/" } else { "" };
        let size = if *directory { String::new() } else { format!("  {}", bytes(*size)) };
        format!("  {path}{end}{size}  {}", changed.join(", "))
    }
}

impl FolderLog {
    fn show(&self) -> String {
        let mut lines = Vec::new();
        for operation in &self.operations {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            let OperationEntry { when, branch, who, count, entries } = operation;
            lines.push(format!("{when}  {} on {branch}", who.shown()));
            for entry in entries {
                lines.push(entry.line());
            }
            if let Some(left) = count.checked_sub(entries.len()).filter(|left| *left > 0) {
                lines.push(format!("  and {left} more"));
            }
        }
        match (lines.is_empty(), self.more) {
            (true, _) => lines.push(format!("nothing happened in {}:{}", self.bucket, self.path)),
            (false, true) => lines.push(format!(
                "\nolder ones are left out after {}; --limit tells more",
                plural(self.operations.len() as u64, "operation")
            )),
            (false, false) => {}
        }
        lines.join("\n")
    }
}
