//! Checks that what is kept is sound.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tesfs_blobs::{Finding, Problem, Progress as BlobProgress, VerifyDepth};
use tesfs_pathtree::{BlobNumber, CheckDepth, branch, tree};

use crate::{
    control::Request,
    error::CliError,
    exit::Exit,
    node::Node,
    output::{Show, bytes, plural},
    place::Place,
    progress::{Progress, Step},
    shown::Shown,
    target::Target,
    walk::visit_files,
};

/// Blobs looked up in one query.
const PAGE: u32 = 10_000;
/// So many findings are listed; further ones are counted.
const LISTED_MAX: usize = 1000;

/// Verifies the node, or the files at and below a path.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Verify {
    /// Read and hash every byte.
    pub(crate) full: bool,
    pub(crate) target: Option<Target>,
}

/// What was found.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct VerifyAnswer {
    pub(crate) full: bool,
    /// Blobs or, with a path, files that were looked at.
    pub(crate) checked: u64,
    pub(crate) bytes: u64,
    /// Damage: each of these makes the exit code 5.
    pub(crate) damage: Vec<Damage>,
    pub(crate) damage_count: u64,
    /// What was put right on the way.
    pub(crate) mended: u64,
}

/// One thing that is not sound.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Damage {
    /// What it concerns: `photos:2024/a.jpg`, `the database`…
    pub(crate) what: String,
    pub(crate) problem: String,
}

impl Show for VerifyAnswer {
    fn show(&self) -> String {
        let how = if self.full { "read and hashed" } else { "looked at" };
        let mut lines =
            vec![format!("{} ({}) {how}", plural(self.checked, "blob"), bytes(self.bytes))];
        if self.mended > 0 {
            lines.push(format!("{} made again", plural(self.mended, "outboard")));
        }
        if self.damage_count == 0 {
            lines.push("no damage found".to_owned());
            return lines.join("\n");
        }
        lines.push(format!("DAMAGE: {}", plural(self.damage_count, "finding")));
        lines.extend(self.damage.iter().map(|one| format!("  {}: {}", one.what, one.problem)));
        let rest = self.damage_count - self.damage.len() as u64;
        if rest > 0 {
            lines.push(format!("  and {rest} more"));
        }
        lines.join("\n")
    }

    fn exit(&self) -> Exit {
        if self.damage_count > 0 { Exit::Damaged } else { Exit::Success }
    }
}

impl VerifyAnswer {
    fn add(&mut self, what: impl Into<String>, problem: impl Into<String>) {
        self.damage_count += 1;
        if self.damage.len() < LISTED_MAX {
            self.damage.push(Damage { what: what.into(), problem: problem.into() });
        }
    }
}

impl Request for Verify {
    type Answer = VerifyAnswer;
    const PATH: &'static str = "/v1/verify";

    fn run(self, node: &Arc<Node>, progress: &Progress) -> Result<VerifyAnswer, CliError> {
        let mut answer = VerifyAnswer { full: self.full, ..VerifyAnswer::default() };
        let depth = if self.full { VerifyDepth::Full } else { VerifyDepth::Plain };
        match &self.target {
            Some(target) => {
                let place = node.place(target)?;
                verify_place(node, &place, depth, progress, &mut answer)?;
            }
            None => {
                verify_database(node, self.full, progress, &mut answer)?;
                verify_references(node, progress, &mut answer)?;
                verify_blobs(node, depth, progress, &mut answer)?;
            }
        }
        Ok(answer)
    }
}

fn verify_database(
    node: &Node,
    full: bool,
    progress: &Progress,
    answer: &mut VerifyAnswer,
) -> Result<(), CliError> {
    progress.go_on()?;
    let depth = if full { CheckDepth::Full } else { CheckDepth::Quick };
    for problem in node.db().check(depth)? {
        answer.add("the database", problem);
    }
    for shown in every_branch(node)? {
        let view = node.view(&shown)?;
        for ino in node.db().read(|conn| tree::stray_edges(conn, &view))? {
            answer.add(format!("bucket '{}'", shown.name()), format!("inode {ino} hangs nowhere"));
        }
    }
    Ok(())
}

/// Every branch and snapshot of every bucket, the removed and abandoned ones included.
fn every_branch(node: &Node) -> Result<Vec<Shown>, CliError> {
    let mut every = Vec::new();
    for bucket in node.buckets()? {
        for branch in node.db().read(|conn| branch::list(conn, &bucket))? {
            every.push(Shown { bucket: bucket.clone(), branch, at: None });
        }
    }
    Ok(every)
}

/// Every version's blob must have a row.
fn verify_references(
    node: &Node,
    progress: &Progress,
    answer: &mut VerifyAnswer,
) -> Result<(), CliError> {
    let mut after = BlobNumber(0);
    loop {
        progress.go_on()?;
        let uses = node.db().read(|conn| tree::blob_uses(conn, after, PAGE))?;
        let Some(last) = uses.last() else { return Ok(()) };
        after = last.blob;
        let mut missing = BTreeMap::new();
        node.db().read(|conn| {
            for one in &uses {
                if node.store().row(conn, one.blob)?.is_none() {
                    missing.insert(one.blob, one.versions);
                }
            }
            Ok::<(), CliError>(())
        })?;
        for (blob, versions) in missing {
            let versions = plural(versions, "version");
            answer.add(format!("blob {blob}"), format!("{versions} name it, but it is not there"));
        }
    }
}

fn verify_blobs(
    node: &Arc<Node>,
    depth: VerifyDepth,
    progress: &Progress,
    answer: &mut VerifyAnswer,
) -> Result<(), CliError> {
    let cancel = AtomicBool::new(false);
    let told = |at: BlobProgress| {
        let step = || Step {
            doing: "verifying".to_owned(),
            files: at.blobs_done,
            bytes: at.bytes_done,
            bytes_total: at.bytes_total,
            current: String::new(),
        };
        if progress.step(step).is_err() {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let report = node.store().verify(depth, &told, &cancel)?;
    progress.go_on()?;
    answer.checked = report.blobs;
    answer.bytes = report.size_bytes;
    let damaged: Vec<&Finding> =
        report.findings.iter().filter(|finding| is_damage(&finding.problem)).collect();
    answer.mended = report.findings.len() as u64 - damaged.len() as u64;
    if damaged.is_empty() {
        return Ok(());
    }
    let wanted = damaged.iter().map(|finding| (finding.number, Vec::new())).collect();
    let names = names_of(node, wanted, progress)?;
    for finding in damaged {
        let names = names.get(&finding.number).map(Vec::as_slice).unwrap_or_default();
        if names.is_empty() {
            let what = format!("an earlier version (blob {})", finding.number);
            answer.add(what, said(&finding.problem));
        }
        for name in names {
            answer.add(name, said(&finding.problem));
        }
    }
    Ok(())
}

/// Finds the files whose current version a blob is, on the first branch that shows it.
fn names_of(
    node: &Arc<Node>,
    mut wanted: HashMap<BlobNumber, Vec<String>>,
    progress: &Progress,
) -> Result<HashMap<BlobNumber, Vec<String>>, CliError> {
    for shown in every_branch(node)? {
        let vfs = node.trees().for_command(&shown)?;
        let found: HashSet<BlobNumber> =
            wanted.iter().filter(|(_, names)| !names.is_empty()).map(|(blob, _)| *blob).collect();
        let place = Place { shown, names: Vec::new(), wants_directory: true };
        visit_files(node, &vfs, &place, progress, |visited| {
            let blob = visited.blob.filter(|blob| !found.contains(blob));
            if let Some(names) = blob.and_then(|blob| wanted.get_mut(&blob)) {
                names.push(format!("{}:{}", place.shown.name(), visited.path));
            }
            Ok(())
        })?;
    }
    Ok(wanted)
}

fn verify_place(
    node: &Arc<Node>,
    place: &Place,
    depth: VerifyDepth,
    progress: &Progress,
    answer: &mut VerifyAnswer,
) -> Result<(), CliError> {
    let vfs = node.trees().for_command(&place.shown)?;
    visit_files(node, &vfs, place, progress, |visited| {
        answer.checked += 1;
        answer.bytes += visited.size_bytes;
        let (files, bytes) = (answer.checked, answer.bytes);
        progress.step(|| Step {
            doing: "verifying".to_owned(),
            files,
            bytes,
            bytes_total: 0,
            current: visited.path.clone(),
        })?;
        let what = format!("{}:{}", place.shown.name(), visited.path);
        let Some(blob) = visited.blob else {
            if visited.size_bytes > 0 {
                answer.add(what, "it has a size and no bytes");
            }
            return Ok(());
        };
        match node.store().verify_one(blob, depth)? {
            Some(problem) if is_damage(&problem) => answer.add(what, said(&problem)),
            Some(_) => answer.mended += 1,
            None => {}
        }
        Ok(())
    })
}

fn is_damage(problem: &Problem) -> bool {
    match problem {
        Problem::Missing(_) | Problem::Damaged(_) | Problem::DraftShort(_) => true,
        Problem::OutboardMended | Problem::OutboardMissing => false,
    }
}

fn said(problem: &Problem) -> String {
    match problem {
        Problem::Missing(path) => format!("its bytes are gone: {} is missing", path.display()),
        Problem::Damaged(path) => {
            format!("its bytes are damaged; they are kept in {}", path.display())
        }
        Problem::DraftShort(path) => {
            format!("{} is shorter than the version written to it", path.display())
        }
        Problem::OutboardMended => "its outboard was made again".to_owned(),
        Problem::OutboardMissing => "its outboard is missing; --full makes it again".to_owned(),
    }
}
