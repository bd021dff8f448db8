//! The smallest cases that the core once failed, and some beside them.

use tesfs_tests::model::{At, How, Made, Op, RenameMode, run};

use crate::core::Core;

/// More than fits a row.
const LARGE: usize = 20_000;
const A: At = At { directory: 0, name: "a" };
const B: At = At { directory: 0, name: "b" };
const PLAIN: How = How { append: false, sync: false, direct: false };
/// The file behind the handle is written directly, as a kernel does it.
const DIRECT: How = How { append: false, sync: false, direct: true };
/// Copies everything there is.
const WHOLE: u64 = 1 << 20;

fn create(at: At, how: How) -> Op {
    Op::Create { at, mode: 0o644, how }
}

fn open(at: At, truncate: bool) -> Op {
    Op::OpenWrite { at, how: PLAIN, truncate }
}

fn read(at: At) -> Op {
    Op::OpenRead { at, direct: false }
}

fn save(at: At) -> Op {
    Op::Save { at, len: LARGE, fill: 1 }
}

fn write(handle: usize, len: usize) -> Op {
    Op::Write { handle, offset: 0, len, fill: 7 }
}

fn flush(handle: usize) -> Op {
    Op::Flush { handle }
}

fn fsync(handle: usize) -> Op {
    Op::Fsync { handle }
}

fn release(handle: usize) -> Op {
    Op::Release { handle }
}

fn rename(from: At, to: At) -> Op {
    Op::Rename { from, to, mode: RenameMode::Replace }
}

/// Runs one case.
fn agree(ops: &[Op]) {
    if let Err(mismatch) = run(&mut Core::new(), ops) {
        panic!("{mismatch}");
    }
}

fn touch(at: At) -> Op {
    Op::SetTimes { at, atime_ns: 1, mtime_ns: 1 }
}

#[test]
fn an_fsync_over_a_version_that_is_not_settled_survives_a_power_cut() {
    agree(&[save(A), open(A, false), write(0, 1), fsync(0), Op::PowerCut]);
    agree(&[save(A), open(A, true), fsync(0), Op::PowerCut]);
    agree(&[save(A), open(A, true), write(0, LARGE), fsync(0), Op::PowerCut, Op::PowerCut]);
}

#[test]
fn an_fsynced_file_gets_its_bytes_back_together_with_its_name() {
    let replaced = [create(A, PLAIN), write(0, LARGE), fsync(0), save(B), rename(B, A)];
    agree(&[&replaced[..], &[Op::PowerCut]].concat());
}

#[test]
fn an_fsync_of_a_writer_that_wrote_nothing_settles_what_is_there() {
    agree(&[save(A), open(A, false), fsync(0), Op::PowerCut]);
    agree(&[save(A), read(A), fsync(0), Op::PowerCut]);
    agree(&[create(A, PLAIN), fsync(0), write(0, LARGE), flush(0), Op::PowerCut]);
}

#[test]
fn what_was_fsynced_before_a_truncation_does_not_come_back_after_the_close() {
    let emptied = [create(A, PLAIN), write(0, LARGE), fsync(0), Op::Resize { handle: 0, size: 0 }];
    agree(&[&emptied[..], &[write(0, 100), release(0), Op::Kill]].concat());
    agree(&[&emptied[..], &[release(0), Op::PowerCut]].concat());
}

#[test]
fn the_last_of_two_fsyncs_counts() {
    let again = [Op::Resize { handle: 0, size: 0 }, write(0, 100), fsync(0), Op::Kill];
    agree(&[&[create(A, PLAIN), write(0, LARGE), fsync(0)], &again[..]].concat());
}

#[test]
fn what_was_fsynced_before_a_copy_of_another_file_does_not_come_back() {
    let copy = Op::Copy { from: 1, to: 0, offset_in: 0, offset_out: 0, len: WHOLE };
    let fsynced = [save(B), create(A, PLAIN), fsync(0), write(0, LARGE), fsync(0)];
    let copied = [Op::Resize { handle: 0, size: 0 }, read(B), copy, release(0), Op::Kill];
    agree(&[&fsynced[..], &copied].concat());
}

#[test]
fn a_version_written_after_an_fsync_is_as_durable_as_that() {
    agree(&[create(A, PLAIN), write(0, LARGE), fsync(0), write(0, 9), flush(0), Op::PowerCut]);
    let shared = [create(A, DIRECT), write(0, LARGE), flush(0), fsync(0), write(0, 9), flush(0)];
    agree(&[&shared[..], &[Op::PowerCut]].concat());
}

#[test]
fn a_settled_version_stays_under_one_that_is_not() {
    let sealed = [create(A, PLAIN), write(0, LARGE), flush(0), Op::Seal];
    agree(&[&sealed[..], &[write(0, 9), flush(0), Op::PowerCut]].concat());
}

#[test]
fn a_close_works_after_the_version_was_sealed() {
    agree(&[create(A, PLAIN), write(0, LARGE), flush(0), Op::Seal, release(0)]);
    agree(&[create(A, PLAIN), write(0, LARGE), flush(0), Op::Seal, touch(A), release(0)]);
}

#[test]
fn times_stay_that_were_set_on_a_copy_or_an_emptied_file() {
    let copy = Op::Copy { from: 1, to: 0, offset_in: 0, offset_out: 0, len: WHOLE };
    agree(&[save(B), create(A, PLAIN), read(B), copy, touch(A), release(0)]);
    agree(&[save(A), open(A, true), touch(A), release(0)]);
    agree(&[save(A), open(A, true), touch(A), write(0, 0)]);
    agree(&[save(A), open(A, true), touch(A), fsync(0), release(0)]);
}

#[test]
fn a_file_that_is_cut_while_it_is_written_directly_can_be_read() {
    let published = [create(A, DIRECT), write(0, LARGE), flush(0)];
    for cut in [Op::Resize { handle: 0, size: 1 }, open(A, true)] {
        agree(&[&published[..], &[cut.clone(), read(A)]].concat());
        agree(&[&published[..], &[cut, Op::Kill, read(A), Op::Seal]].concat());
    }
}

#[test]
fn a_file_that_is_cut_after_it_lost_its_name_keeps_its_history_true() {
    let cut = Op::Resize { handle: 0, size: 1 };
    let made = Op::Make { at: B, what: Made::File, mode: 0o644 };
    agree(&[create(A, DIRECT), write(0, LARGE), flush(0), made, rename(B, A), cut, release(0)]);
}

#[test]
fn an_fsync_works_after_the_version_below_was_replaced() {
    let cut = Op::Resize { handle: 0, size: 1 };
    let grown = [create(A, PLAIN), write(0, LARGE), flush(0), cut, flush(0), write(0, 9)];
    agree(&[&grown[..], &[fsync(0), Op::Kill]].concat());
    agree(&[&grown[..], &[Op::Seal, fsync(0), Op::PowerCut]].concat());
}

#[test]
fn no_draft_stays_behind() {
    let copy = Op::Copy { from: 1, to: 0, offset_in: 0, offset_out: 0, len: WHOLE };
    let cut = Op::Resize { handle: 0, size: 0 };
    agree(&[create(A, PLAIN), write(0, LARGE), cut.clone()]);
    agree(&[save(B), create(A, PLAIN), write(0, 9), fsync(0), cut, read(B), copy]);
    // A reader of what is written directly has a copy of its own.
    agree(&[create(A, DIRECT), write(0, LARGE), flush(0), read(A)]);
    // Nobody can publish what was fsynced without a name.
    let nameless = [create(A, PLAIN), write(0, LARGE), fsync(0), Op::Unlink { at: A }];
    agree(&nameless);
    agree(&[&nameless[..], &[Op::Resize { handle: 0, size: 0 }, write(0, 9)]].concat());
}

#[test]
fn a_new_file_that_is_emptied_while_it_is_written_directly_goes_with_a_power_cut() {
    agree(&[create(B, DIRECT), save(B), open(B, true), Op::PowerCut]);
}
