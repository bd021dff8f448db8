//! One file's story: what it is, where its bytes are, what it was.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesfs_fs::FileKind;

use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, bytes, grouped},
    progress::Progress,
    target::Target,
    time::Moment,
};

/// Asks for what is at a path.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Story {
    pub(crate) target: Target,
}

/// What is at the path.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StoryAnswer {
    pub(crate) bucket: String,
    pub(crate) path: String,
    pub(crate) kind: String,
    pub(crate) ino: u64,
    /// Permission bits, in octal.
    pub(crate) mode: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) bytes: u64,
    pub(crate) modified: Moment,
    pub(crate) hard_links: u32,
    /// Only of files.
    pub(crate) file: Option<FileAnswer>,
}

/// What only a file has.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct FileAnswer {
    pub(crate) state: String,
    pub(crate) hash: Option<String>,
    /// Newest first.
    pub(crate) versions: Vec<VersionAnswer>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct VersionAnswer {
    pub(crate) published: Moment,
    pub(crate) bytes: u64,
    pub(crate) hash: Option<String>,
    pub(crate) live: bool,
}

impl Request for Story {
    type Answer = StoryAnswer;
    const PATH: &'static str = "/v1/story";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<StoryAnswer, CliError> {
        let place = node.place(&self.target)?;
        let vfs = node.trees().for_command(&place.shown)?;
        let found = place.require(&vfs)?;
        let file = match found.kind {
            FileKind::File => {
                let story = vfs
                    .story(found.ino)
                    .map_err(|source| CliError::tree("reading", place.path(), source))?;
                let versions = story.versions.iter().map(|version| VersionAnswer {
                    published: Moment(version.version.hlc.unix_ns()),
                    bytes: version.size,
                    hash: version.hash.map(|hash| hash.to_string()),
                    live: version.live,
                });
                Some(FileAnswer {
                    state: story.state.word().to_owned(),
                    hash: story.hash.map(|hash| hash.to_string()),
                    versions: versions.collect(),
                })
            }
            _ => None,
        };
        Ok(StoryAnswer {
            bucket: place.shown.name(),
            path: place.path(),
            kind: kind_word(found.kind).to_owned(),
            ino: found.ino.0,
            mode: format!("{:04o}", found.mode),
            uid: found.uid,
            gid: found.gid,
            bytes: found.size,
            modified: Moment(found.mtime_ns),
            hard_links: found.nlink,
            file,
        })
    }
}

fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Fifo => "named pipe",
        FileKind::Socket => "socket",
        FileKind::CharDevice => "character device",
        FileKind::BlockDevice => "block device",
    }
}

impl Show for StoryAnswer {
    fn show(&self) -> String {
        let mut rows = vec![
            ("path", format!("{}:{}", self.bucket, self.path)),
            ("kind", format!("{} {}", self.kind, self.mode)),
            ("owner", format!("{}:{}", self.uid, self.gid)),
            ("modified", self.modified.to_string()),
            ("inode", self.ino.to_string()),
        ];
        if let Some(file) = &self.file {
            rows.push(("size", format!("{} ({} bytes)", bytes(self.bytes), grouped(self.bytes))));
            rows.push(("state", file.state.clone()));
            rows.push(("hash", file.hash.clone().unwrap_or_else(|| "-".to_owned())));
            if self.hard_links > 1 {
                rows.push(("names", self.hard_links.to_string()));
            }
        }
        let mut lines: Vec<String> =
            rows.into_iter().map(|(label, value)| format!("{label:<10}{value}")).collect();
        let versions = self.file.as_ref().map(|file| file.versions.as_slice()).unwrap_or_default();
        for (index, version) in versions.iter().enumerate() {
            let label = if index == 0 { "versions" } else { "" };
            let hash = match &version.hash {
                Some(hash) => hash.chars().take(16).collect(),
                None => "-".to_owned(),
            };
            let live = if version.live { "  now" } else { "" };
            let size = bytes(version.bytes);
            lines.push(format!("{label:<10}{}  {size:>10}  {hash}{live}", version.published));
        }
        lines.join("\n")
    }
}
