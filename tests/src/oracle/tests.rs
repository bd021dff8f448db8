//! Each promise, kept and broken.

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
            ..File::created()
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
    reconcile(std::slice::from_ref(state), Some(&seen(files)), cut).is_ok()
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
    state.link("a", "b");
    let mut seen = seen(&[("a", &second), ("b", &second)]);
    seen.get_mut("b").unwrap().ino = seen["a"].ino;
    let together = reconcile(&[state], Some(&seen), Cut::Kill).unwrap().state;
    assert_eq!(together.names["a"], together.names["b"]);
}

#[test]
fn one_file_has_one_inode_number_and_two_files_have_two() {
    for cut in [Cut::Kill, Cut::Power] {
        let judge = |state: &State, seen: &Observation| {
            reconcile(std::slice::from_ref(state), Some(seen), cut).is_ok()
        };
        let (state, _, second) = two_versions();
        let mut linked = state.clone();
        linked.link("a", "b");
        let mut copied = state.clone();
        copied.names.insert("b".to_owned(), 2);
        copied.files.insert(2, state.files[&1].clone());
        let apart = seen(&[("a", &second), ("b", &second)]);
        let mut together = apart.clone();
        together.get_mut("b").unwrap().ino = apart["a"].ino;
        assert!(judge(&linked, &together));
        assert!(!judge(&linked, &apart));
        assert!(judge(&copied, &apart));
        assert!(!judge(&copied, &together));
    }
}

#[test]
fn a_file_that_may_vanish_vanishes_from_all_of_its_names() {
    let (mut state, first, _) = two_versions();
    state.link("a", "b");
    assert!(holds(&state, &[], Cut::Power));
    assert!(!holds(&state, &[("a", &first)], Cut::Power));
    assert!(!holds(&state, &[("b", &first)], Cut::Power));
}

#[test]
fn what_may_have_come_back_is_not_told_apart_by_its_number() {
    let (mut state, old, _) = replaced_while_open();
    state.link("a", "b");
    let file = state.files.get_mut(&2).unwrap();
    *file = File { linked: true, ..File::created() };
    state.close(2, Arc::new(old.clone())); // a copy of what it replaced
    let shown = seen(&[("a", &old)]);
    assert!(reconcile(&[state], Some(&shown), Cut::Power).is_ok());
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
    state.files.insert(1, File { floor, versions: Vec::new(), ..File::created() });
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
    state.files.insert(2, File { floor: Floor::Nothing, versions, ..File::created() });
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
    state.fsync_directory("", None);
    assert!(holds(&state, &[("a", &second)], Cut::Power));
    assert!(!holds(&state, &[("a", &first)], Cut::Power));
    assert!(!holds(&state, &[], Cut::Power));
    writing.fsync_directory("", Some(1));
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
    state.fsync_directory("", Some(2));
    assert!(!holds(&state, &[], Cut::Power));
    assert!(holds(&state, &[("a", &old)], Cut::Power));
    assert!(holds(&state, &[("a", &new)], Cut::Power));
    state.fsync_directory("", None);
    assert!(!holds(&state, &[("a", &old)], Cut::Power));
}

#[test]
fn what_a_withdrawn_file_replaced_comes_back_where_it_was_and_nowhere_else() {
    let (mut state, old, _) = replaced_while_open();
    assert!(!holds(&state, &[], Cut::Power));
    state.rename("a", "c");
    assert!(holds(&state, &[("a", &old)], Cut::Power));
    assert!(!holds(&state, &[("c", &old)], Cut::Power));
    state.link("c", "d");
    assert!(!holds(&state, &[("d", &old)], Cut::Power));
}

#[test]
fn what_a_file_replaced_comes_back_only_if_that_file_vanished() {
    let (mut state, old, new) = replaced_while_open();
    state.rename("a", "c");
    assert!(holds(&state, &[("c", &new)], Cut::Power));
    assert!(!holds(&state, &[("a", &old), ("c", &new)], Cut::Power));
}

#[test]
fn what_was_replaced_by_a_file_that_moved_on_may_be_in_history_only_and_is_counted() {
    let nowhere = |state: &State, files: &[(&str, &[u8])]| {
        reconcile(std::slice::from_ref(state), Some(&seen(files)), Cut::Power).unwrap().nowhere
    };
    let (mut state, old, new) = replaced_while_open();
    let mut exchanged = state.clone();
    state.rename("a", "c");
    assert_eq!(nowhere(&state, &[]), 1);
    assert_eq!(nowhere(&state, &[("a", &old)]), 0);
    assert_eq!(nowhere(&state, &[("c", &new)]), 0);
    state.rename("c", "a");
    assert!(holds(&state, &[("a", &old)], Cut::Power));
    assert!(holds(&state, &[], Cut::Power));
    let other = fill(3, 1, 0, 100);
    exchanged.names.insert("d".to_owned(), 3);
    exchanged.files.insert(3, File::created());
    exchanged.close(3, Arc::new(other.clone()));
    exchanged.fsync_clean(3);
    exchanged.exchange("a", "d");
    assert!(holds(&exchanged, &[("a", &other)], Cut::Power));
    assert!(!holds(&exchanged, &[("a", &other), ("d", &old)], Cut::Power));
}

#[test]
fn a_directory_whose_files_may_vanish_does_not_vanish_itself() {
    let (state, ..) = two_versions();
    let empty = State::default();
    assert!(holds(&state, &[], Cut::Power));
    assert!(reconcile(std::slice::from_ref(&state), None, Cut::Power).is_err());
    assert!(reconcile(&[empty, state], None, Cut::Power).is_ok());
}

#[test]
fn a_file_that_was_never_closed_survives_a_kill_once_its_names_changed() {
    let mut created = State::default();
    created.names.insert("a".to_owned(), 1);
    created.files.insert(1, File::created());
    assert!(holds(&created, &[], Cut::Kill));
    assert!(holds(&created, &[("a", &[])], Cut::Kill));
    let mut renamed = created.clone();
    renamed.rename("a", "b");
    assert!(!holds(&renamed, &[], Cut::Kill));
    assert!(holds(&renamed, &[("b", &[])], Cut::Kill));
    assert!(!holds(&renamed, &[("b", &fill(1, 1, 0, 100))], Cut::Kill));
    assert!(holds(&renamed, &[], Cut::Power));
    let mut linked = created.clone();
    linked.link("a", "b");
    assert!(!holds(&linked, &[("b", &[])], Cut::Kill));
    created.exchange("a", "a");
    assert!(holds(&created, &[], Cut::Kill));
}

#[test]
fn a_file_that_is_still_open_is_in_an_fsynced_directory_at_least_empty() {
    let mut state = State::default();
    for (id, name) in [(1, "one/a"), (2, "two/b"), (3, "c")] {
        state.names.insert(name.to_owned(), id);
        state.files.insert(id, File::created());
    }
    state.fsync_directory("one/", Some(1));
    let version = fill(1, 1, 0, 20_000);
    state.close(1, Arc::new(version.clone()));
    assert!(holds(&state, &[("one/a", &[])], Cut::Power));
    assert!(holds(&state, &[("one/a", &version)], Cut::Power));
    assert!(!holds(&state, &[], Cut::Power));
    assert!(!holds(&state, &[("one/a", &version[..10])], Cut::Power));
}
