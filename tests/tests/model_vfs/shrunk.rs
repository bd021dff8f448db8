//! The smallest cases that the core once failed.

use tesfs_tests::model::{Allocate, At, How, Made, Op, RenameMode, XattrEdit};

use crate::agree;

#[test]
fn try_it() {
    let at = |directory: usize, name: &'static str| At { directory, name };
    let direct = How { direct: true, ..How::default() };
    agree(&[
        Op::Create { at: at(0, "a"), mode: 0o644, how: direct },
        Op::Save { at: at(0, "a"), len: 40960, fill: 103 },
        Op::Seal,
        Op::Fsync { handle: 0 },
        Op::ResizePath { at: at(0, "a"), size: 16383 },
    ]);
    agree(&[
        Op::Create { at: at(0, "a"), mode: 0o644, how: direct },
        Op::Save { at: at(0, "a"), len: 40960, fill: 103 },
        Op::Fsync { handle: 0 },
        Op::Seal,
        Op::ResizePath { at: at(0, "a"), size: 16383 },
    ]);
}
