//! Writes the bytes of a file to stdout: those it has now, or had.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesfs_fs::FileKind;
use tesfs_pathtree::{
    Hlc, Ino, moment,
    tree::{self, LastAt},
};

use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::Show,
    place::{Place, owner},
    progress::Progress,
    said::Said,
    shown::Shown,
    target::Target,
    time::Moment,
};

/// Bytes that are under way to the reader at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Which version of what is at a place.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Which {
    /// What was there then.
    pub(crate) at: Option<Said>,
    /// As `log` calls it.
    pub(crate) version: Option<String>,
}

impl Which {
    /// Finds what is meant: in which state of the branch, and the inode.
    ///
    /// # Errors
    ///
    /// Nothing is at the place, or was then; no such version, or several.
    pub(super) fn find(&self, node: &Node, place: &Place) -> Result<(Shown, Ino), CliError> {
        if let Some(said) = &self.version {
            let versions = node.versions(&node.subject(place)?)?;
            let line = versions.find(&place.path(), said)?;
            return Ok((place.shown.as_of(line.at()), line.event.ino));
        }
        let shown = match &self.at {
            Some(said) => node.shown_in(&place.shown, said)?,
            None => place.shown.clone(),
        };
        let place = Place { shown, ..place.clone() };
        let vfs = node.trees().for_command(&place.shown)?;
        match place.find(&vfs)? {
            Some(found) => Ok((place.shown, found.ino)),
            None => Err(removed(node, &place)?.unwrap_or_else(|| place.missing(&vfs))),
        }
    }
}

/// Says that something was removed, if anything was that had this path last.
fn removed(node: &Node, place: &Place) -> Result<Option<CliError>, CliError> {
    let view = node.view(&place.shown)?;
    let last = node.db().read(|conn| tree::last_at(conn, &view, &place.names))?;
    let Some(LastAt { ino, gone: Some(gone) }) = last else { return Ok(None) };
    // What was in a directory goes before it, in the same operation.
    let history = node.db().read(|conn| tree::history(conn, &view, ino))?;
    let removal = history.iter().find(|event| event.is.is_none());
    let began = removal.map(|event| Hlc(event.logged.operation.0.cast_unsigned()));
    let mut before = None;
    for since in [Some(gone), began].into_iter().flatten() {
        let at_ns = Hlc(since.0 - 1).unix_ns();
        let then = view.at(Hlc::last_of_unix_ns(at_ns));
        let was = node.db().read(|conn| tree::last_at(conn, &then, &place.names))?;
        if before.is_none() && was.is_some_and(|was| was.gone.is_none()) {
            before = Some(moment::exact_label(at_ns));
        }
    }
    let (bucket, path) = (place.shown.name(), place.path());
    Ok(Some(CliError::Removed { bucket, path, gone: Moment(gone.unix_ns()), before }))
}

/// Asks for the bytes of a file.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Cat {
    pub(crate) target: Target,
    pub(crate) which: Which,
}

/// That was all.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct CatAnswer {}

impl Show for CatAnswer {
    fn show(&self) -> String {
        String::new()
    }
}

impl Request for Cat {
    type Answer = CatAnswer;
    const PATH: &'static str = "/v1/cat";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<CatAnswer, CliError> {
        let place = node.place(&self.target)?;
        let (shown, ino) = self.which.find(node, &place)?;
        let vfs = node.trees().for_command(&shown)?;
        let failed = |source| CliError::tree("reading", place.path(), source);
        if vfs.attributes(ino).map_err(failed)?.kind != FileKind::File {
            return Err(CliError::NotAFile { bucket: shown.name(), path: place.path() });
        }
        let file = vfs.open_read(&owner(), ino).map_err(failed)?;
        let mut offset = 0;
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let count = file.read_at(offset, &mut chunk).map_err(failed)?;
            if count == 0 {
                break;
            }
            chunk.truncate(count);
            offset += count as u64;
            if progress.bytes(chunk).is_err() {
                // An interrupt is one; that the reader has enough (`| head`) is its wish.
                progress.go_on()?;
                break;
            }
        }
        file.release().map_err(failed)?;
        Ok(CatAnswer {})
    }
}
