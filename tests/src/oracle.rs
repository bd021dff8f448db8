//! Compares what a tree shows after a crash with what its writer was promised.

mod identity;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::content::describe;
use crate::observation::{Observation, Seen};
use crate::state::{Bytes, File, FileId, Floor, Piece, Replaced, State};

/// What happened to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// SIGKILL: everything acknowledged stands.
    Kill,
    /// The power went: what was fsynced stands, later closes fall back whole.
    Power,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub name: String,
    pub what: String,
}

/// What a tree after a crash was found to be.
#[derive(Debug)]
pub struct Reconciled {
    /// To go on from.
    pub state: State,
    /// Files that are in history only, see [`nowhere`].
    pub nowhere: u64,
}

/// Finds the state among `candidates` that `seen` shows, and returns it with `seen` as its
/// contents, so that the writer can go on from there. Candidates are in order, the newest last;
/// `seen` is `None` where the writer's directory itself is absent.
///
/// # Errors
///
/// The violations of every candidate, in order: the one with the fewest tells what went wrong.
pub fn reconcile(
    candidates: &[State],
    seen: Option<&Observation>,
    cut: Cut,
) -> Result<Reconciled, Vec<Vec<Violation>>> {
    let mut all = Vec::new();
    let nothing = Observation::new();
    let is_absent = seen.is_none();
    let seen = seen.unwrap_or(&nothing);
    for state in candidates.iter().rev() {
        let mut violations = violations(state, seen, cut);
        if is_absent && !state.names.is_empty() {
            // Whoever may vanish leaves the directory it was in.
            let what = "the writer's directory is gone".to_owned();
            violations.push(Violation { name: ".".to_owned(), what });
        }
        if violations.is_empty() {
            let nowhere = if cut == Cut::Power { nowhere(state, seen) } else { 0 };
            return Ok(Reconciled { state: settle(state, seen), nowhere });
        }
        all.push(violations);
    }
    all.reverse();
    Err(all)
}

fn violations(state: &State, seen: &Observation, cut: Cut) -> Vec<Violation> {
    let mut found = Vec::new();
    for (name, id) in &state.names {
        let bytes = seen.get(name).map(|seen| seen.bytes.as_slice());
        let replaced = state.replaced.get(name).map(Arc::as_ref);
        if let Err(what) = check(state, name, *id, replaced, bytes, cut) {
            found.push(Violation { name: name.clone(), what });
        }
    }
    for (name, Seen { bytes, .. }) in seen {
        if !state.names.contains_key(name) && !given_back(state, seen, name, bytes, cut) {
            let what = format!("must not exist, shows {}", describe(bytes, 0));
            found.push(Violation { name: name.clone(), what });
        }
    }
    found.extend(identity::violations(state, seen, cut));
    found
}

/// Checks one name against the file it should lead to, and what that replaced.
fn check(
    state: &State,
    name: &str,
    id: FileId,
    replaced: Option<&Replaced>,
    seen: Option<&[u8]>,
    cut: Cut,
) -> Result<(), String> {
    let file = state.files.get(&id).ok_or("is unknown to the writer")?;
    // A withdrawn version without a base gives the name back to what it replaced.
    let below = replaced.filter(|_| cut == Cut::Power);
    let check_below =
        |old: &Replaced| check(state, name, old.file, old.below.as_deref(), seen, cut);
    match (check_file(file, seen, cut), below) {
        (Ok(()), Some(old)) if seen.is_none() && !old.moved => check_below(old),
        (Err(what), Some(old)) if may_vanish(file) => {
            // With hard links it is open which of its names a replaced file comes back at.
            let has_links = |id| state.files.get(&id).is_some_and(|file: &File| file.linked);
            let here = |old: &&Replaced| old.at == name || file.linked || has_links(old.file);
            let found = old.and_earlier().filter(here).any(|old| check_below(old).is_ok());
            if found { Ok(()) } else { Err(format!("file {id}: {what}")) }
        }
        (Err(what), _) => Err(format!("file {id}: {what}")),
        (Ok(()), _) => Ok(()),
    }
}

/// Was `name` taken over by a file that has vanished, and has what it replaced come back there,
/// although the file itself had moved on?
fn given_back(state: &State, seen: &Observation, name: &str, bytes: &[u8], cut: Cut) -> bool {
    let vanished = |taker: &str| state.names.get(taker).is_some_and(|id| gone(state, seen, *id));
    cut == Cut::Power
        && state
            .replaced
            .iter()
            .any(|(taker, replaced)| vanished(taker) && comes_back(state, replaced, name, bytes))
}

/// Is `bytes` at `name` what a file that vanished had replaced there, or what that had replaced?
fn comes_back(state: &State, replaced: &Replaced, name: &str, bytes: &[u8]) -> bool {
    replaced.and_earlier().any(|old| {
        let below = old.below.as_deref();
        let itself = || check(state, name, old.file, below, Some(bytes), Cut::Power).is_ok();
        let vanishes = || state.files.get(&old.file).is_some_and(may_vanish);
        (old.at == name && itself())
            || below.is_some_and(|below| vanishes() && comes_back(state, below, name, bytes))
    })
}

/// Has the file with number `id` been withdrawn: does none of its names show one of its versions?
fn gone(state: &State, seen: &Observation, id: FileId) -> bool {
    let Some(file) = state.files.get(&id).filter(|file| may_vanish(file)) else { return false };
    let shows = |name: &String| {
        seen.get(name).is_some_and(|seen| check_file(file, Some(&seen.bytes), Cut::Power).is_ok())
    };
    !state.names.iter().any(|(name, named)| *named == id && shows(name))
}

/// Counts the files that lost their only name to one that moved on and was withdrawn: they are in
/// history only, a known limit.
fn nowhere(state: &State, seen: &Observation) -> u64 {
    let vanished = |taker: &str| state.names.get(taker).is_some_and(|id| gone(state, seen, *id));
    let takers = state.replaced.iter().filter(|(taker, _)| vanished(taker));
    let lost = takers.flat_map(|(_, replaced)| replaced.and_earlier()).filter(|old| {
        let free = !state.names.contains_key(&old.at) && !seen.contains_key(&old.at);
        let stays = state.files.get(&old.file).is_some_and(|file| !may_vanish(file));
        old.moved && free && stays && !state.is_named(old.file)
    });
    lost.map(|old| old.file).collect::<BTreeSet<_>>().len() as u64
}

fn may_vanish(file: &File) -> bool {
    matches!(file.floor, Floor::Nothing) || file.otherwise.as_deref().is_some_and(may_vanish)
}

fn check_file(file: &File, seen: Option<&[u8]>, cut: Cut) -> Result<(), String> {
    if let Some(otherwise) = &file.otherwise
        && check_file(otherwise, seen, cut).is_ok()
    {
        return Ok(());
    }
    let allowed: &[Bytes] = match cut {
        Cut::Kill => file.versions.last().map_or(&[], std::slice::from_ref),
        Cut::Power => &file.versions,
    };
    if let Some(seen) = seen
        && allowed.iter().any(|version| version.as_slice() == seen)
    {
        return Ok(());
    }
    if cut == Cut::Kill
        && let Some(version) = allowed.first()
    {
        return Err(difference(version, seen));
    }
    match (&file.floor, seen) {
        (Floor::Nothing, None) if cut == Cut::Kill && file.born => {
            Err("is lost (never closed, but renamed or linked)".to_owned())
        }
        (Floor::Nothing, None) => Ok(()),
        (Floor::Nothing, Some([])) if cut == Cut::Kill || file.versions.is_empty() => Ok(()),
        (Floor::Nothing, Some(seen)) => match allowed.last() {
            Some(version) => Err(difference(version, Some(seen))),
            None => Err(format!("was never closed, shows {}", describe(seen, 0))),
        },
        (Floor::Whole(version), Some(seen)) if version.as_slice() == seen => Ok(()),
        (Floor::Whole(version), seen) => Err(difference(version, seen)),
        (Floor::Fsynced { fsynced, later }, Some(seen)) => check_fsynced(fsynced, later, seen),
        (Floor::Fsynced { fsynced, .. }, None) => Err(difference(fsynced, None)),
    }
}

/// Every fsynced byte is there, except where a later write of the same handle may have come.
fn check_fsynced(fsynced: &[u8], later: &[Piece], seen: &[u8]) -> Result<(), String> {
    let longest = later.iter().map(|piece| piece.offset + piece.bytes.len()).max().unwrap_or(0);
    if seen.len() < fsynced.len() {
        return Err(format!("fsynced {} bytes, shows {}", fsynced.len(), seen.len()));
    }
    if seen.len() > fsynced.len().max(longest) {
        return Err(format!("longer than anything written: {}", seen.len()));
    }
    for (offset, byte) in seen.iter().enumerate() {
        let kept = fsynced.get(offset).copied().unwrap_or(0) == *byte;
        let written = || {
            later.iter().any(|piece| {
                offset >= piece.offset && piece.bytes.get(offset - piece.offset) == Some(byte)
            })
        };
        if !kept && !written() {
            return Err(format!(
                "at {offset}: fsynced {}, shows {}",
                describe(fsynced, offset),
                describe(seen, offset)
            ));
        }
    }
    Ok(())
}

/// Says how `seen` differs from the version that must be there.
fn difference(version: &[u8], seen: Option<&[u8]>) -> String {
    let Some(seen) = seen else {
        return format!("is lost ({} bytes, {})", version.len(), describe(version, 0));
    };
    let shared = version.iter().zip(seen).take_while(|(want, got)| want == got).count();
    format!(
        "size {} instead of {}; at {shared}: {} instead of {}",
        seen.len(),
        version.len(),
        describe(seen, shared),
        describe(version, shared)
    )
}

/// The state to go on from: the names seen, with the bytes seen. One inode is one file.
fn settle(state: &State, seen: &Observation) -> State {
    let mut next = state.files.keys().last().map_or(1, |last| last + 1);
    let mut by_ino: BTreeMap<u64, FileId> = BTreeMap::new();
    let (mut names, mut files) = (BTreeMap::new(), BTreeMap::new());
    for (name, Seen { ino, bytes }) in seen {
        let id = *by_ino.entry(*ino).or_insert_with(|| {
            // The number it had, unless another inode goes on with that one already.
            let known = state.names.get(name).filter(|id| !files.contains_key(*id));
            known.copied().unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        });
        names.insert(name.clone(), id);
        files.entry(id).or_insert_with(|| File {
            floor: Floor::Whole(Arc::new(bytes.clone())),
            versions: Vec::new(),
            otherwise: None,
            linked: false,
            born: true,
        });
    }
    State { names, files, replaced: BTreeMap::new() }
}

#[cfg(test)]
mod tests;
