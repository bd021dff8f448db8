//! Which names are one file: `st_ino` has to say what the writer knows.

use std::collections::BTreeMap;

use super::{Cut, Violation, check_file, may_vanish};
use crate::observation::Observation;
use crate::state::{FileId, State};

/// Finds names of one file with several inode numbers, names of several files with one, and names
/// that are gone while another one of their file is there.
pub(super) fn violations(state: &State, seen: &Observation, cut: Cut) -> Vec<Violation> {
    let mut by_id: BTreeMap<FileId, (&str, u64)> = BTreeMap::new();
    let mut by_ino: BTreeMap<u64, (&str, FileId)> = BTreeMap::new();
    let mut found = Vec::new();
    let mut broken = |name: &str, what| found.push(Violation { name: name.to_owned(), what });
    let certain = state.names.iter().filter(|(name, id)| shows(state, seen, cut, name, **id));
    for (name, id) in certain {
        let ino = seen[name].ino;
        let (first, known) = *by_id.entry(*id).or_insert((name, ino));
        if known != ino {
            let what = format!("is one file with {first}: inode {ino} instead of {known}");
            broken(name, what);
        }
        let (first, known) = *by_ino.entry(ino).or_insert((name, *id));
        if known != *id {
            broken(name, format!("is another file than {first}: both are inode {ino}"));
        }
    }
    for (name, id) in state.names.iter().filter(|(name, _)| !seen.contains_key(*name)) {
        if let Some((other, _)) = by_id.get(id) {
            broken(name, format!("is lost, and its file is there as {other}"));
        }
    }
    found
}

/// Is it certain that `name` shows the file with number `id`, and not one that came back there?
fn shows(state: &State, seen: &Observation, cut: Cut, name: &str, id: FileId) -> bool {
    let (Some(file), Some(seen)) = (state.files.get(&id), seen.get(name)) else { return false };
    let shows = |id: FileId| {
        let file = state.files.get(&id);
        file.is_some_and(|file| check_file(file, Some(&seen.bytes), cut).is_ok())
    };
    // Copies, and whatever is shorter than a word, look the same in several files.
    let or_another = cut == Cut::Power && may_vanish(file) && state.replaced.contains_key(name);
    shows(id) && !(or_another && state.files.keys().any(|other| *other != id && shows(*other)))
}
