//! The smallest cases that the core once failed.

use tesfs_tests::model::{At, How, Op};

use crate::agree;

#[test]
fn try_it() {
    let at = |directory: usize, name: &'static str| At { directory, name };
    let direct = How { direct: true, ..How::default() };
    for n in 0..100 {
        eprintln!("--{n}");
        agree(&[
            Op::Create { at: at(0, "b"), mode: 0o644, how: How::default() },
            Op::Save { at: at(0, "b"), len: 20000, fill: 103 },
            Op::Write { handle: 1, offset: 1, len: 40960, fill: 229 },
            Op::Create { at: at(0, "a"), mode: 0o644, how: direct },
            Op::ResizePath { at: at(0, "a"), size: 40960 },
            Op::Seal,
            Op::Seal,
            Op::Write { handle: 1, offset: 1, len: 1, fill: 229 },
        ]);
    }
}
