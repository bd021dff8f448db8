//! Copies files of this machine into a bucket.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use serde::{Deserialize, Serialize};
use tesfs_fs::{Attributes, FileKind, MakeInode, Touched, Vfs};
use tesfs_pathtree::{Ino, Name};

use crate::{
    control::Request,
    error::CliError,
    exit::Exit,
    node::Node,
    output::{Show, bytes, plural},
    place::{Place, owner},
    progress::Progress,
    target::{Target, WirePath},
    transfer::{CopyIn, Counts, LeftOut},
};

/// Copies `source` to `dest`.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Import {
    /// Absolute, with its symlinks followed.
    pub(crate) source: WirePath,
    pub(crate) dest: Target,
}

/// What was imported.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ImportAnswer {
    pub(crate) bucket: String,
    pub(crate) path: String,
    pub(crate) counts: Counts,
    pub(crate) left_out: LeftOut,
}

impl Show for ImportAnswer {
    fn show(&self) -> String {
        let to = format!("{}:{}", self.bucket, self.path);
        let mut lines = vec![copied_line("imported", &self.counts, "to", &to)];
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

/// `imported 12 files (3.4 MiB), 2 directories, 1 symlink to photos:2024`.
pub(crate) fn copied_line(did: &str, counts: &Counts, to: &str, place: &str) -> String {
    let mut parts = vec![format!("{} ({})", plural(counts.files, "file"), bytes(counts.bytes))];
    let others = [
        (counts.directories, "directory"),
        (counts.symlinks, "symlink"),
        (counts.hard_links, "hard link"),
        (counts.special, "special file"),
    ];
    parts.extend(others.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| plural(*n, noun)));
    let unchanged = match counts.unchanged {
        0 => String::new(),
        n => format!("; {} there already", plural(n, "file")),
    };
    format!("{did} {} {to} {place}{unchanged}", parts.join(", "))
}

impl Request for Import {
    type Answer = ImportAnswer;
    const PATH: &'static str = "/v1/import";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<ImportAnswer, CliError> {
        let source = self.source.0;
        let found = fs::metadata(&source).map_err(|err| match err.kind() {
            std::io::ErrorKind::NotFound => CliError::SourceMissing { path: source.clone() },
            _ => CliError::File { doing: "reading", path: source.clone(), source: err },
        })?;
        if source.starts_with(node.dir().path()) {
            return Err(CliError::SourceInDataDir { path: source });
        }
        let mut forbidden = vec![node.dir().path().to_owned()];
        for dir in node.mounts().dirs() {
            if source.starts_with(&dir) {
                return Err(CliError::SourceInMount { path: source });
            }
            forbidden.push(dir);
        }
        let mut place = node.place(&self.dest)?;
        node.require_writable(&place.shown)?;
        let vfs = node.trees().for_command(&place.shown)?;
        let total = AtomicU64::new(0);
        let mut copy = CopyIn::new(&vfs, progress, &forbidden, &total);
        if found.is_dir() {
            let into = ensure_directory(&vfs, &place, &place.names)?;
            copy_directory(&mut copy, &source, into, &total)?;
        } else {
            let name = file_name(&vfs, &mut place, &source)?;
            let into = ensure_directory(&vfs, &place, &place.names[..place.names.len() - 1])?;
            copy.single(&source, into, &name)?;
        }
        let (counts, left_out) = (copy.counts, copy.left_out);
        // An import is done when it is on the disk, hashed: its source may be deleted next.
        node.settle()?;
        Ok(ImportAnswer { bucket: place.shown.name(), path: place.path(), counts, left_out })
    }
}

/// Copies while another thread counts how much there is.
fn copy_directory(
    copy: &mut CopyIn<'_>,
    source: &Path,
    into: Ino,
    total: &AtomicU64,
) -> Result<(), CliError> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let count = || count_bytes(source, total, &done);
        let counter = thread::Builder::new().name("import-count".to_owned());
        if let Err(err) = counter.spawn_scoped(scope, count) {
            tracing::debug!(error = %err, "no thread to count with");
        }
        let result = copy.directory(source, into);
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// Counts the bytes below `source` for the progress bar; where it cannot look it counts nothing.
fn count_bytes(source: &Path, total: &AtomicU64, done: &AtomicBool) {
    let mut sum: u64 = 0;
    let mut left: Vec<PathBuf> = vec![source.to_owned()];
    while let Some(dir) = left.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            if done.load(Ordering::Relaxed) {
                return;
            }
            match entry.metadata() {
                Ok(found) if found.is_dir() => left.push(entry.path()),
                Ok(found) if found.is_file() => sum += found.len(),
                _ => {}
            }
        }
    }
    total.store(sum, Ordering::Relaxed);
}

/// The name a single file gets: the last one of the place, or its own in the directory there.
fn file_name(vfs: &Vfs, place: &mut Place, source: &Path) -> Result<Name, CliError> {
    let there = place.find(vfs)?;
    let directory = there.is_some_and(|there| there.kind == FileKind::Directory);
    if directory || place.wants_directory || place.names.is_empty() {
        let own = source.file_name().unwrap_or_default();
        let bad = |err: tesfs_pathtree::NameError| CliError::BadName {
            name: own.display().to_string(),
            rule: err.to_string(),
        };
        place.names.push(Name::parse(own).map_err(bad)?);
    }
    let last = place.names.last().cloned();
    last.ok_or_else(|| CliError::SourceMissing { path: source.to_owned() })
}

/// Makes the directories `names` lead through, where they are missing.
fn ensure_directory(vfs: &Vfs, place: &Place, names: &[Name]) -> Result<Ino, CliError> {
    let mut at: Attributes =
        vfs.attributes(vfs.root()).map_err(|source| tree_error(place, source))?;
    for (depth, name) in names.iter().enumerate() {
        at = match vfs.lookup(&owner(), at.ino, name) {
            Ok(there) => there,
            Err(err) if err.errno() == libc::ENOENT => vfs
                .make(&owner(), at.ino, name, &MakeInode::Directory, 0o755)
                .inspect(|_| announce(vfs, at.ino, name))
                .map_err(|source| tree_error(place, source))?,
            Err(source) => return Err(tree_error(place, source)),
        };
        if at.kind != FileKind::Directory {
            return Err(CliError::NotADirectory {
                bucket: place.shown.name(),
                path: crate::place::join(&names[..=depth]),
            });
        }
    }
    Ok(at.ino)
}

fn announce(vfs: &Vfs, parent: Ino, name: &Name) {
    vfs.announce(&Touched::Entry { parent, name: name.clone() });
}

fn tree_error(place: &Place, source: tesfs_fs::FsError) -> CliError {
    CliError::tree("importing", place.path(), source)
}
