//! Copies files of a bucket to this machine.

use std::{fs, path::Path, sync::Arc};

use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};
use tesfs_fs::FileKind;
use tesfs_pathtree::tree;

use super::import::copied_line;
use crate::{
    control::Request,
    error::CliError,
    exit::Exit,
    node::Node,
    output::{Show, plural},
    progress::Progress,
    target::{Target, WirePath},
    transfer::{CopyOut, Counts, LeftOut, empty_directory},
};

/// Copies `source` to `dest`.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Export {
    pub(crate) source: Target,
    /// Absolute.
    pub(crate) dest: WirePath,
}

/// What was exported.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ExportAnswer {
    pub(crate) dest: WirePath,
    pub(crate) counts: Counts,
    pub(crate) left_out: LeftOut,
}

impl Show for ExportAnswer {
    fn show(&self) -> String {
        let mut lines = vec![copied_line("exported", &self.counts, "to", &self.dest.to_string())];
        if self.left_out.count > 0 {
            lines.push(format!("{} left out or changed:", plural(self.left_out.count, "entry")));
            lines.extend(self.left_out.lines());
        }
        lines.join("\n")
    }

    fn exit(&self) -> Exit {
        if self.left_out.count > 0 { Exit::Partial } else { Exit::Success }
    }
}

impl Request for Export {
    type Answer = ExportAnswer;
    const PATH: &'static str = "/v1/export";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<ExportAnswer, CliError> {
        let dest = self.dest.0;
        if node.mounts().holding(&crate::paths::resolved(&dest)).is_some() {
            return Err(CliError::DestInMount { path: dest });
        }
        let place = node.place(&self.source)?;
        let vfs = node.trees().for_command(&place.shown)?;
        let from = place.require(&vfs)?;
        let whole = place.names.is_empty();
        let bytes_total = match (whole, from.kind) {
            (_, FileKind::File) => from.size,
            (true, _) => {
                let view = node.view(&place.shown)?;
                node.db().read(|conn| tree::stats(conn, &view))?.live_bytes
            }
            (false, _) => 0,
        };
        let mut copy = CopyOut::new(&vfs, progress, bytes_total, &dest);
        if from.kind == FileKind::Directory {
            copy.directory(from, empty_directory(&dest)?)?;
        } else {
            single(&mut copy, &from, &dest, place.names.last())?;
        }
        let (counts, left_out) = (copy.counts, copy.left_out);
        Ok(ExportAnswer { dest: WirePath(dest), counts, left_out })
    }
}

/// One file goes to the path that was named, or into the directory that is there.
fn single(
    copy: &mut CopyOut<'_>,
    from: &tesfs_fs::Attributes,
    dest: &Path,
    own_name: Option<&tesfs_pathtree::Name>,
) -> Result<(), CliError> {
    let into_directory = fs::metadata(dest).is_ok_and(|found| found.is_dir());
    let (dir, name) = match (into_directory, own_name) {
        (true, Some(name)) => (dest, name.as_os_str()),
        _ => (dest.parent().unwrap_or(Path::new("/")), dest.file_name().unwrap_or_default()),
    };
    if fs::symlink_metadata(dir.join(name)).is_ok() {
        return Err(CliError::DestExists { path: dir.join(name) });
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = open(dir, flags, Mode::empty()).map_err(|err| CliError::File {
        doing: "opening",
        path: dir.to_owned(),
        source: err.into(),
    })?;
    use std::os::fd::AsFd as _;
    copy.single(from, opened.as_fd(), name)
}
