//! What differs between two states of a bucket.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use similar::TextDiff;
use tesfs_fs::FileKind;
use tesfs_pathtree::{
    BlobNumber, Name, bucket,
    tree::{self, Difference, S_IFMT, Side},
};

use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, bytes, plural},
    place::join,
    progress::Progress,
    said::Said,
    shown::{Context, Shown},
    target::{BucketName, Target},
    version::HASH_DIGITS,
};

/// Larger files are compared by their hashes only.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of all text differences of one answer; what comes later is told without.
const PATCH_BYTES_MAX: usize = 16 << 20;

/// Asks what differs.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Diff {
    pub(crate) one: Said,
    pub(crate) other: Said,
    /// Only what is at or below it.
    pub(crate) target: Option<Target>,
    pub(crate) place: Context,
    /// Without the lines of text.
    pub(crate) stat: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct DiffAnswer {
    pub(crate) one: String,
    pub(crate) other: String,
    /// By path.
    pub(crate) differences: Vec<DiffEntry>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct DiffEntry {
    /// `added`, `removed`, `renamed`, `content`, `attributes`.
    pub(crate) changed: Vec<String>,
    pub(crate) path: String,
    /// What it was called, where that is another path.
    pub(crate) from: Option<String>,
    pub(crate) directory: bool,
    /// `None` where it was not there.
    pub(crate) old: Option<DiffSide>,
    pub(crate) new: Option<DiffSide>,
    /// Of text: a unified diff.
    pub(crate) patch: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct DiffSide {
    pub(crate) bytes: u64,
    pub(crate) hash: Option<String>,
    /// Permission bits, in octal.
    pub(crate) mode: String,
}

impl Request for Diff {
    type Answer = DiffAnswer;
    const PATH: &'static str = "/v1/diff";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<DiffAnswer, CliError> {
        let (one, other) = (self.side(node, &self.one)?, self.side(node, &self.other)?);
        if one.bucket.number != other.bucket.number {
            return Err(CliError::DiffBuckets { one: one.name(), other: other.name() });
        }
        let below = match &self.target {
            Some(target) => node.place(target)?.names,
            None => Vec::new(),
        };
        let (from, to) = (node.view(&one)?, node.view(&other)?);
        let found = node.db().read(|conn| tree::differences(conn, &from, &to))?;
        let mut differences = Vec::new();
        let mut room = if self.stat { 0 } else { PATCH_BYTES_MAX };
        for difference in found.iter().filter(|one| concerns(one, &below)) {
            progress.go_on()?;
            let Some(entry) = entry(node, difference, &mut room)? else { continue };
            differences.push(entry);
        }
        Ok(DiffAnswer { one: one.name(), other: other.name(), differences })
    }
}

impl Diff {
    /// `BUCKET`, `BUCKET@…`, or what is said of the bucket the command was given in.
    fn side(&self, node: &Node, said: &Said) -> Result<Shown, CliError> {
        if let Ok(name) = BucketName::parse(&said.words)
            && node.db().read(|conn| bucket::find(conn, &name.bucket))?.is_some()
        {
            let branch = name.branch.map(|branch| said.instead(&branch.words));
            return node.shown(&BucketName { branch, ..name });
        }
        node.shown_in(&node.here(&self.place)?, said)
    }
}

fn concerns(difference: &Difference, below: &[Name]) -> bool {
    let is_below = |side: &Side| side.place.names.starts_with(below);
    difference.one.iter().chain(&difference.other).any(is_below)
}

/// Tells one difference; `None` where only the place of the same bytes differs.
fn entry(
    node: &Node,
    difference: &Difference,
    room: &mut usize,
) -> Result<Option<DiffEntry>, CliError> {
    let Difference { one, other } = difference;
    let (old, new) = (diff_side(node, one.as_ref())?, diff_side(node, other.as_ref())?);
    let hash = |side: &Option<DiffSide>| side.as_ref().and_then(|side| side.hash.clone());
    let is_same = hash(&old).is_some() && hash(&old) == hash(&new);
    let content = difference.may_differ_in_content() && !is_same;
    let mut changed = Vec::new();
    match (one, other) {
        (None, _) => changed.push("added"),
        (_, None) => changed.push("removed"),
        _ => {
            for (is, word) in [
                (difference.is_moved(), "renamed"),
                (content, "content"),
                (difference.differs_in_attributes(), "attributes"),
            ] {
                changed.extend(is.then_some(word));
            }
        }
    }
    let Some(side) = other.as_ref().or(one.as_ref()).filter(|_| !changed.is_empty()) else {
        return Ok(None);
    };
    let path = join(&side.place.names);
    let was = one.as_ref().map(|one| join(&one.place.names));
    let from = was.filter(|was| *was != path && other.is_some());
    let patch = match content && *room > 0 {
        true => patch(node, difference, from.as_deref().unwrap_or(&path), &path)?,
        false => None,
    };
    *room = room.saturating_sub(patch.as_ref().map_or(0, String::len));
    Ok(Some(DiffEntry {
        changed: changed.into_iter().map(str::to_owned).collect(),
        path,
        from,
        directory: side.inode.is_directory(),
        old,
        new,
        patch,
    }))
}

fn diff_side(node: &Node, side: Option<&Side>) -> Result<Option<DiffSide>, CliError> {
    let Some(Side { inode, .. }) = side else { return Ok(None) };
    let row = match inode.blob {
        Some(blob) => node.db().read(|conn| node.store().row(conn, blob))?,
        None => None,
    };
    Ok(Some(DiffSide {
        bytes: inode.size,
        hash: row.and_then(|row| row.hash).map(|hash| hash.to_string()),
        mode: format!("{:04o}", inode.mode & 0o7777),
    }))
}

/// Returns the lines that differ; `None` where either is no text.
fn patch(
    node: &Node,
    difference: &Difference,
    from: &str,
    to: &str,
) -> Result<Option<String>, CliError> {
    let text = |side: &Option<Side>| match side {
        Some(Side { inode, .. }) => match FileKind::of_mode(inode.mode & S_IFMT) {
            FileKind::File => text(node, inode.blob, inode.size),
            _ => Ok(None),
        },
        None => Ok(Some(String::new())),
    };
    let (Some(old), Some(new)) = (text(&difference.one)?, text(&difference.other)?) else {
        return Ok(None);
    };
    let name = |side: &Option<Side>, prefix: &str, path: &str| match side {
        Some(_) => format!("{prefix}/{path}"),
        None => "/dev/null".to_owned(),
    };
    let (one, other) = (name(&difference.one, "a", from), name(&difference.other, "b", to));
    let lines = TextDiff::from_lines(&old, &new);
    let patch = lines.unified_diff().header(&one, &other).to_string();
    Ok((!patch.is_empty()).then_some(patch))
}

/// Returns the bytes of a file as text; `None` where they are none, or too many.
pub(super) fn text(
    node: &Node,
    blob: Option<BlobNumber>,
    size: u64,
) -> Result<Option<String>, CliError> {
    if size > TEXT_BYTES_MAX {
        return Ok(None);
    }
    let bytes = match blob {
        Some(blob) => read_all(node, blob)?,
        None => Vec::new(),
    };
    Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')))
}

fn read_all(node: &Node, blob: BlobNumber) -> Result<Vec<u8>, CliError> {
    let reader = node.db().read(|conn| node.store().reader(conn, blob))?;
    let mut bytes = vec![0; usize::try_from(reader.size()).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match reader.read_at(filled as u64, &mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

impl Show for DiffAnswer {
    fn show(&self) -> String {
        if self.differences.is_empty() {
            return format!("nothing differs between {} and {}", self.one, self.other);
        }
        let mut lines: Vec<String> = self.differences.iter().map(DiffEntry::show).collect();
        let count = plural(self.differences.len() as u64, "difference");
        lines.push(format!("{count} from {} to {}", self.one, self.other));
        lines.join("\n")
    }
}

impl DiffEntry {
    fn show(&self) -> String {
        let end = if self.directory { "/" } else { "" };
        let from = match &self.from {
            Some(from) => format!("{from}{end} -> "),
            None => String::new(),
        };
        let mut line = format!("{}: {from}{}{end}", self.changed.join(", "), self.path);
        let told = |side: &DiffSide| {
            let hash = side.hash.as_ref().map(|hash| format!(" {}", &hash[..HASH_DIGITS]));
            format!("{}{}", bytes(side.bytes), hash.unwrap_or_default())
        };
        match (&self.old, &self.new) {
            _ if self.directory => {}
            (Some(old), Some(new)) if self.changed.iter().any(|word| word == "content") => {
                line.push_str(&format!("  ({} -> {})", told(old), told(new)));
            }
            (Some(one), _) | (None, Some(one)) => line.push_str(&format!("  ({})", told(one))),
            (None, None) => {}
        }
        match &self.patch {
            Some(patch) => format!("{line}\n{}", patch.trim_end_matches('\n')),
            None => line,
        }
    }
}
