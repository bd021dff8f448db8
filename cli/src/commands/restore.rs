//! Brings back what was: a version of a file, a folder as it was, what was removed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesfs_fs::{FsError, Restore as FsRestore, Restored};
use tesfs_pathtree::{
    Hlc, Ino,
    tree::{self, TreeError},
};

use super::cat::Which;
use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, plural},
    place::{Place, join, owner},
    progress::Progress,
    shown::Shown,
    target::Target,
    time::Moment,
    version::Subject,
};

/// Asks to bring something back.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Restore {
    pub(crate) target: Target,
    pub(crate) which: Which,
    /// `None`: to where it was.
    pub(crate) to: Option<Target>,
}

/// What was brought back.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct RestoreAnswer {
    pub(crate) bucket: String,
    pub(crate) path: String,
    /// Where it is now.
    pub(crate) to: String,
    pub(crate) as_of: Moment,
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) unchanged: u64,
    pub(crate) kept: u64,
}

impl Show for RestoreAnswer {
    fn show(&self) -> String {
        let Self { bucket, path, to, as_of, files, directories, unchanged, kept } = self;
        let mut parts = Vec::new();
        for (count, noun) in [(*files, "file"), (*directories, "directory")] {
            if count > 0 {
                parts.push(plural(count, noun));
            }
        }
        let mut text = match parts.as_slice() {
            [] => format!("'{to}' is as it was at {as_of} already"),
            _ => format!("restored '{bucket}:{path}' as it was at {as_of}: {}", parts.join(", ")),
        };
        if !parts.is_empty() && *to != format!("{bucket}:{path}") {
            text.push_str(&format!(", to '{to}'"));
        }
        if *unchanged > 0 && !parts.is_empty() {
            text.push_str(&format!("; {} had not changed", plural(*unchanged, "file")));
        }
        if *kept > 0 {
            let names = plural(*kept, "name");
            text.push_str(&format!("\n{names} lead to something else by now, which was kept"));
        }
        text
    }
}

impl Request for Restore {
    type Answer = RestoreAnswer;
    const PATH: &'static str = "/v1/restore";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<RestoreAnswer, CliError> {
        let place = node.place(&self.target)?;
        let (shown, ino) = self.source(node, &place)?;
        let dest = match &self.to {
            Some(to) => node.place(to)?,
            // What a folder shows as it was is restored to the branch as it is.
            None => Place { shown: Shown { at: None, ..place.shown.clone() }, ..place.clone() },
        };
        node.require_writable(&dest.shown)?;
        // What was closed gets files of its own, which can be shared.
        node.settle()?;
        let (vfs, from) = (node.trees().for_command(&dest.shown)?, node.view(&shown)?);
        let what = FsRestore { from: &from, ino, to: &dest.names, copy: self.to.is_some() };
        let done = vfs.restore(&owner(), &what).map_err(|source| match source {
            FsError::Tree(TreeError::EdgeExists { .. }) => {
                CliError::RestoreTaken { bucket: dest.shown.name(), path: dest.path() }
            }
            FsError::Tree(TreeError::NotADirectory(_)) => CliError::NotADirectory {
                bucket: dest.shown.name(),
                path: join(dest.names.split_last().map_or(&[], |(_, above)| above)),
            },
            source => CliError::tree("restoring", dest.path(), source),
        })?;
        let Restored { files, directories, unchanged, kept } = done;
        Ok(RestoreAnswer {
            to: format!("{}:{}", dest.shown.name(), dest.path()),
            bucket: dest.shown.name(),
            path: place.path(),
            as_of: Moment(shown.at.map_or_else(|| node.clock().now_ns(), Hlc::unix_ns)),
            files,
            directories,
            unchanged,
            kept,
        })
    }
}

impl Restore {
    /// What is to be restored, and the state of a branch it is in.
    fn source(&self, node: &Node, place: &Place) -> Result<(Shown, Ino), CliError> {
        let is_past = place.shown.is_past();
        if self.which.at.is_some() || self.which.version.is_some() || is_past || self.to.is_some() {
            let found = self.which.find(node, place);
            let is_said = self.which.at.is_some() || self.which.version.is_some() || is_past;
            match found {
                // A removed thing can be brought back to another place as well.
                Err(CliError::NoSuchPath { .. } | CliError::Removed { .. }) if !is_said => {}
                found => return found,
            }
        }
        let subject = node.subject(place)?;
        let Some(gone) = subject.last.gone else {
            return Err(CliError::NotRemoved { bucket: place.shown.name(), path: place.path() });
        };
        let at = last_whole(node, place, &subject, gone)?;
        Ok((place.shown.as_of(at), subject.last.ino))
    }
}

/// The last reading as of which what was removed showed: of a folder, before the operation that
/// removed it began with what was in it.
fn last_whole(node: &Node, place: &Place, subject: &Subject, gone: Hlc) -> Result<Hlc, CliError> {
    let Subject { view, last } = subject;
    let just_before = Hlc(gone.0 - 1);
    let whole = node.db().read(|conn| {
        let found = tree::inode(conn, &view.at(just_before), last.ino)?;
        if !found.is_some_and(|found| found.is_directory()) {
            return Ok(None);
        }
        let removal = tree::history(conn, view, last.ino)?.into_iter().next();
        let Some(removal) = removal.filter(|event| event.is.is_none()) else { return Ok(None) };
        let before = Hlc(removal.logged.operation.0.cast_unsigned() - 1);
        let was = tree::last_at(conn, &view.at(before), &place.names)?;
        let is_it = was.is_some_and(|was| was.ino == last.ino && was.gone.is_none());
        Ok::<_, CliError>(is_it.then_some(before))
    })?;
    Ok(whole.unwrap_or(just_before))
}
