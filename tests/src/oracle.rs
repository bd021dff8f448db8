//! Compares what a tree shows after a crash with what its writer was promised.

use std::collections::BTreeMap;
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

/// Finds the state among `candidates` that `seen` shows, and returns it with `seen` as its
/// contents, so that the writer can go on from there. Candidates are in order, the newest last.
///
/// # Errors
///
/// The violations of every candidate, in order: the one with the fewest tells what went wrong.
pub fn reconcile(
    candidates: &[State],
    seen: &Observation,
    cut: Cut,
) -> Result<State, Vec<Vec<Violation>>> {
    let mut all = Vec::new();
    for state in candidates.iter().rev() {
        let violations = violations(state, seen, cut);
        if violations.is_empty() {
            return Ok(settle(state, seen));
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
        if !state.names.contains_key(name) && !given_back(state, name, bytes, cut) {
            let what = format!("must not exist, shows {}", describe(bytes, 0));
            found.push(Violation { name: name.clone(), what });
        }
    }
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
        (Ok(()), Some(old)) if seen.is_none() && old.at == name => check_below(old),
        (Err(_), Some(old)) if may_vanish(file) => check_below(old),
        (Err(what), _) => Err(format!("file {id}: {what}")),
        (Ok(()), _) => Ok(()),
    }
}

/// Was `name` taken over by a file that may vanish, and has what it replaced come back there,
/// although the file itself had moved on?
fn given_back(state: &State, name: &str, bytes: &[u8], cut: Cut) -> bool {
    state.replaced.iter().any(|(taker, replaced)| {
        let vanished = cut == Cut::Power && state.file(taker).is_some_and(may_vanish);
        let mut earlier = std::iter::successors(Some(replaced), |one| one.before.as_ref());
        vanished
            && earlier.any(|old| {
                let below = old.below.as_deref();
                old.at == name && check(state, name, old.file, below, Some(bytes), cut).is_ok()
            })
    })
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
        });
    }
    State { names, files, replaced: BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::fill;

    /// One file `a` with two closed versions above nothing.
    fn two_versions() -> (State, Vec<u8>, Vec<u8>) {
        let (first, second) = (fill(1, 1, 0, 20_000), fill(1, 2, 0, 30_000));
        let mut state = State::default();
        state.names.insert("a".to_owned(), 1);
        state.files.insert(
            1,
            File {
                floor: Floor::Nothing,
                versions: vec![Arc::new(first.clone()), Arc::new(second.clone())],
                otherwise: None,
            },
        );
        (state, first, second)
    }

    fn seen(files: &[(&str, &[u8])]) -> Observation {
        let numbered = files.iter().zip(1..);
        numbered
            .map(|((name, bytes), ino)| ((*name).to_owned(), Seen { ino, bytes: bytes.to_vec() }))
            .collect()
    }

    fn holds(state: &State, files: &[(&str, &[u8])], cut: Cut) -> bool {
        reconcile(std::slice::from_ref(state), &seen(files), cut).is_ok()
    }

    #[test]
    fn after_a_kill_only_the_last_closed_version_will_do() {
        let (state, first, second) = two_versions();
        assert!(holds(&state, &[("a", &second)], Cut::Kill));
        assert!(!holds(&state, &[("a", &first)], Cut::Kill));
        assert!(!holds(&state, &[("a", &[])], Cut::Kill));
        assert!(!holds(&state, &[], Cut::Kill));
    }

    #[test]
    fn after_a_power_cut_any_whole_version_will_do() {
        let (state, first, second) = two_versions();
        assert!(holds(&state, &[("a", &second)], Cut::Power));
        assert!(holds(&state, &[("a", &first)], Cut::Power));
        assert!(holds(&state, &[], Cut::Power));
        assert!(!holds(&state, &[("a", &second[..4096])], Cut::Power));
        assert!(!holds(&state, &[("a", &vec![0; second.len()])], Cut::Power));
    }

    #[test]
    fn a_mixture_of_two_versions_is_found() {
        let (state, first, mut second) = two_versions();
        second[8192..12_288].copy_from_slice(&first[8192..12_288]);
        assert!(!holds(&state, &[("a", &second)], Cut::Kill));
        assert!(!holds(&state, &[("a", &second)], Cut::Power));
    }

    #[test]
    fn a_name_that_was_removed_must_not_come_back() {
        let (mut state, _, second) = two_versions();
        state.names.clear();
        assert!(!holds(&state, &[("a", &second)], Cut::Kill));
    }

    #[test]
    fn names_of_one_inode_go_on_as_one_file() {
        let (mut state, _, second) = two_versions();
        state.names.insert("b".to_owned(), 1);
        let mut seen = seen(&[("a", &second), ("b", &second)]);
        let apart = reconcile(std::slice::from_ref(&state), &seen, Cut::Kill).unwrap();
        assert_ne!(apart.names["a"], apart.names["b"]);
        seen.get_mut("b").unwrap().ino = seen["a"].ino;
        let together = reconcile(&[state], &seen, Cut::Kill).unwrap();
        assert_eq!(together.names["a"], together.names["b"]);
    }

    #[test]
    fn fsynced_bytes_stand_and_later_writes_may() {
        let fsynced = fill(1, 1, 0, 20_000);
        let later = fill(1, 2, 4096, 4096);
        let mut state = State::default();
        state.names.insert("a".to_owned(), 1);
        let floor = Floor::Fsynced {
            fsynced: Arc::new(fsynced.clone()),
            later: vec![Piece { offset: 4096, bytes: Arc::new(later.clone()) }],
        };
        state.files.insert(1, File { floor, versions: Vec::new(), otherwise: None });
        let mut mixed = fsynced.clone();
        mixed[4096..6144].copy_from_slice(&later[..2048]);
        for cut in [Cut::Kill, Cut::Power] {
            assert!(holds(&state, &[("a", &fsynced)], cut));
            assert!(holds(&state, &[("a", &mixed)], cut));
            assert!(!holds(&state, &[("a", &fsynced[..19_999])], cut));
            assert!(!holds(&state, &[], cut));
        }
        mixed[0] ^= 1;
        assert!(!holds(&state, &[("a", &mixed)], Cut::Kill));
    }

    #[test]
    fn a_withdrawn_new_file_gives_the_name_back_to_what_it_replaced() {
        let (mut state, _, second) = two_versions();
        let third = fill(2, 9, 0, 50_000);
        let versions = vec![Arc::new(third)];
        state.names.insert("b".to_owned(), 2);
        state.files.insert(2, File { floor: Floor::Nothing, versions, otherwise: None });
        state.files.get_mut(&1).unwrap().floor = Floor::Whole(Arc::new(second.clone()));
        state.rename("b", "a");
        assert!(holds(&state, &[("a", &second)], Cut::Power));
        assert!(!holds(&state, &[("a", &second)], Cut::Kill));
        assert!(!holds(&state, &[], Cut::Power));
    }

    /// A file with a version that survives a power cut, whose name a new file took.
    fn replaced_while_open() -> (State, Vec<u8>, Vec<u8>) {
        let (mut state, old, _) = two_versions();
        state.files.get_mut(&1).unwrap().versions.clear();
        state.files.get_mut(&1).unwrap().floor = Floor::Whole(Arc::new(old.clone()));
        let new = fill(2, 9, 0, 50_000);
        state.names.insert("b".to_owned(), 2);
        state.files.insert(2, File::created());
        state.close(2, Arc::new(new.clone()));
        state.rename("b", "a");
        (state, old, new)
    }

    #[test]
    fn what_is_fsynced_without_a_name_is_there_when_the_name_comes_back() {
        let (mut state, old, new) = replaced_while_open();
        assert!(holds(&state, &[("a", &old)], Cut::Power));
        let fsynced = fill(1, 3, 0, 40_000);
        state.fsync(1, Arc::new(fsynced.clone()));
        assert!(holds(&state, &[("a", &new)], Cut::Power));
        assert!(holds(&state, &[("a", &fsynced)], Cut::Power));
        assert!(!holds(&state, &[("a", &old)], Cut::Power));
    }

    #[test]
    fn what_is_closed_without_a_name_may_have_been_seen_by_nobody() {
        let (mut state, old, _) = replaced_while_open();
        let closed = fill(1, 3, 0, 40_000);
        state.close(1, Arc::new(closed.clone()));
        assert!(holds(&state, &[("a", &closed)], Cut::Power));
        assert!(holds(&state, &[("a", &old)], Cut::Power));
        state.fsync(1, Arc::new(closed.clone()));
        assert!(!holds(&state, &[("a", &old)], Cut::Power));
    }

    #[test]
    fn an_fsync_of_a_handle_that_wrote_nothing_keeps_the_version_it_was_opened_at() {
        let (mut state, first, second) = two_versions();
        assert!(state.fsync_clean(1));
        assert!(holds(&state, &[("a", &second)], Cut::Power));
        assert!(!holds(&state, &[("a", &first)], Cut::Power));
        assert!(!holds(&state, &[], Cut::Power));
    }

    #[test]
    fn an_fsync_of_a_file_that_was_never_closed_claims_no_version() {
        let mut state = State::default();
        state.names.insert("a".to_owned(), 1);
        state.files.insert(1, File::created());
        assert!(!state.fsync_clean(1));
        assert!(holds(&state, &[], Cut::Power));
    }

    #[test]
    fn an_fsync_of_a_directory_keeps_what_was_closed_and_says_nothing_of_what_is_written() {
        let (mut state, first, second) = two_versions();
        let mut writing = state.clone();
        state.fsync_directory(None);
        assert!(holds(&state, &[("a", &second)], Cut::Power));
        assert!(!holds(&state, &[("a", &first)], Cut::Power));
        assert!(!holds(&state, &[], Cut::Power));
        writing.fsync_directory(Some(1));
        assert!(holds(&writing, &[("a", &first)], Cut::Power));
        assert!(holds(&writing, &[], Cut::Power));
    }

    #[test]
    fn a_replaced_file_was_closed_before_the_fsync_of_a_directory_as_well() {
        let (mut state, old, new) = replaced_while_open();
        state.files.get_mut(&1).unwrap().floor = Floor::Nothing;
        state.close(1, Arc::new(fill(1, 3, 0, 40_000)));
        state.files.get_mut(&1).unwrap().otherwise =
            Some(Arc::new(File { versions: vec![Arc::new(old.clone())], ..File::created() }));
        assert!(holds(&state, &[], Cut::Power));
        state.fsync_directory(Some(2));
        assert!(!holds(&state, &[], Cut::Power));
        assert!(holds(&state, &[("a", &old)], Cut::Power));
        assert!(holds(&state, &[("a", &new)], Cut::Power));
        state.fsync_directory(None);
        assert!(!holds(&state, &[("a", &old)], Cut::Power));
    }
}
