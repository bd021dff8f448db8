//! What was removed, newest first.

use std::{collections::HashSet, sync::Arc};

use serde::{Deserialize, Serialize};
use tesfs_fs::FileKind;
use tesfs_pathtree::{
    Ino, Name,
    tree::{Event, Log as TreeLog, S_IFMT},
};

use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, bytes, table},
    place::{Place, join},
    progress::Progress,
    shown::Context,
    target::Target,
    time::Moment,
    who::Who,
};

/// Asks what was removed below a folder.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Deleted {
    /// `None`: all of what the folder shows that the command was given in.
    pub(crate) target: Option<Target>,
    pub(crate) place: Context,
    pub(crate) limit: usize,
}

/// What was.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct DeletedAnswer {
    pub(crate) bucket: String,
    pub(crate) path: String,
    /// Newest first.
    pub(crate) removed: Vec<DeletedEntry>,
    /// There may be older ones.
    pub(crate) more: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct DeletedEntry {
    pub(crate) path: String,
    pub(crate) when: Moment,
    pub(crate) directory: bool,
    pub(crate) bytes: u64,
    pub(crate) who: Who,
}

impl Request for Deleted {
    type Answer = DeletedAnswer;
    const PATH: &'static str = "/v1/deleted";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<DeletedAnswer, CliError> {
        let place = match &self.target {
            Some(target) => node.place(target)?,
            None => Place::root(node.here(&self.place)?),
        };
        let subject = node.subject(&place)?;
        let (events, more) = node.db().read(|conn| {
            let mut log = TreeLog::new(conn, &subject.view);
            let mut found = Removals::default();
            while let Some(logged) = log.next() {
                progress.go_on()?;
                let logged = logged?;
                if !logged.what.edge() || logged.what.created() || !found.rows.insert(logged.row) {
                    continue;
                }
                let Some(event) = log.event(logged)? else { continue };
                if found.events.len() == self.limit {
                    return Ok::<_, CliError>((found.events, true));
                }
                found.add(event, |event| event.concerns(subject.last.ino));
            }
            Ok((found.events, false))
        })?;
        let mut removed = Vec::with_capacity(events.len());
        for event in events {
            removed.push(DeletedEntry {
                path: event.was.as_ref().map_or_else(String::new, |was| join(&was.names)),
                when: Moment(event.logged.stamp.hlc.unix_ns()),
                directory: FileKind::of_mode(event.mode & S_IFMT) == FileKind::Directory,
                bytes: event.size,
                who: Who::of(node, event.logged.operation)?,
            });
        }
        Ok(DeletedAnswer { bucket: place.shown.name(), path: place.path(), removed, more })
    }
}

/// Removals, found backwards.
#[derive(Default)]
struct Removals {
    events: Vec<Event>,
    /// Edges whose last change was found.
    rows: HashSet<Ino>,
    /// What lost its name to another file: that goes on with its history.
    replaced: HashSet<Ino>,
    /// Of what had one path, the last counts.
    paths: HashSet<Vec<Name>>,
}

impl Removals {
    /// Takes the last change of an edge, if it was a removal that is asked for.
    fn add(&mut self, event: Event, is_asked: impl Fn(&Event) -> bool) {
        self.replaced.extend(event.replaces);
        let Some(was) = event.was.as_ref().filter(|_| event.is.is_none()) else { return };
        let counts = !self.replaced.contains(&event.ino) && is_asked(&event);
        if counts && self.paths.insert(was.names.clone()) {
            self.events.push(event);
        }
    }
}

impl Show for DeletedAnswer {
    fn show(&self) -> String {
        let Self { bucket, path, .. } = self;
        if self.removed.is_empty() {
            return format!("nothing was removed from {bucket}:{path}");
        }
        let rows = self.removed.iter().map(|one| {
            let (end, size) = match one.directory {
                true => ("/", "-".to_owned()),
                false => ("", bytes(one.bytes)),
            };
            vec![one.when.to_string(), size, format!("{}{end}", one.path), one.who.shown()]
        });
        let mut text = table(&["removed", "size", "path", "by"], &[1], rows.collect());
        text.push_str(&format!("\n`tesfs restore {bucket}:PATH` brings one back"));
        if self.more {
            text.push_str("; older ones are left out, --limit tells more");
        }
        text
    }
}
