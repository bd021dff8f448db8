//! What a client can do, and what can happen to a node.

use proptest::{collection::vec, prelude::*};

/// A name in a directory; directories are counted, wrapping around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    pub directory: usize,
    pub name: &'static str,
}

/// How a handle is opened for writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Writes go to the end.
    pub append: bool,
    /// Writes are durable when they return.
    pub sync: bool,
    /// The file behind the handle is written directly, where there is one, as the kernel does.
    pub direct: bool,
}

/// What is made with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    File,
    Directory,
    Symlink,
    Fifo,
}

impl Made {
    /// Returns the mode it gets where `mode` is asked for, as Linux has it.
    #[must_use]
    pub fn mode(self, mode: u32) -> u32 {
        match self {
            Self::File | Self::Fifo => mode,
            // mkdir(2) passes on permissions and the sticky bit only.
            Self::Directory => mode & 0o1777,
            Self::Symlink => 0o777,
        }
    }
}

/// What a rename does where the new name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    Replace,
    NoReplace,
    Exchange,
}

/// What is done with a range: fallocate's modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    Extend,
    KeepSize,
    PunchHole,
    ZeroRange,
    ZeroRangeKeepSize,
}

/// Whether setting an attribute may create, replace or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrEdit {
    Either,
    Create,
    Replace,
}

/// One thing that is done. Handles are counted, wrapping around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Create {
        at: At,
        mode: u32,
        how: How,
    },
    Make {
        at: At,
        what: Made,
        mode: u32,
    },
    Link {
        from: At,
        to: At,
    },
    Unlink {
        at: At,
    },
    Rmdir {
        at: At,
    },
    Rename {
        from: At,
        to: At,
        mode: RenameMode,
    },
    OpenRead {
        at: At,
        direct: bool,
    },
    OpenWrite {
        at: At,
        how: How,
        truncate: bool,
    },
    /// The bytes of a file are replaced: opened, emptied, written, closed.
    Save {
        at: At,
        len: usize,
        fill: u8,
    },
    Write {
        handle: usize,
        offset: u64,
        len: usize,
        fill: u8,
    },
    Resize {
        handle: usize,
        size: u64,
    },
    ResizePath {
        at: At,
        size: u64,
    },
    Allocate {
        handle: usize,
        mode: Allocate,
        offset: u64,
        len: u64,
    },
    Copy {
        from: usize,
        to: usize,
        offset_in: u64,
        offset_out: u64,
        len: u64,
    },
    Seek {
        handle: usize,
        offset: u64,
    },
    Flush {
        handle: usize,
    },
    Fsync {
        handle: usize,
    },
    Release {
        handle: usize,
    },
    Chmod {
        at: At,
        mode: u32,
    },
    Chown {
        at: At,
        uid: Option<u32>,
        gid: Option<u32>,
    },
    SetTimes {
        at: At,
        atime_ns: i64,
        mtime_ns: i64,
    },
    SetXattr {
        at: At,
        name: &'static str,
        value: Vec<u8>,
        edit: XattrEdit,
    },
    RemoveXattr {
        at: At,
        name: &'static str,
    },
    /// Time passes: enough for a new operation to begin, or for a writer to count as idle.
    Pause {
        seconds: u64,
    },
    /// Everything that is published becomes durable.
    Seal,
    /// What nothing names goes at once.
    Collect,
    /// The node is killed and started again.
    Kill,
    /// The machine loses power and the node is started again.
    PowerCut,
}

/// Which operations a driver can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// All of them.
    Core,
    /// What system calls can express, and what a node does beside them.
    Mounted,
}

/// What most operations are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// Names in directories, and what is in files beside that.
    Tree,
    /// The writers and readers of two files.
    Bytes,
}

/// Sizes around the border between bytes in a row and bytes in a file.
const SIZES: &[u64] = &[0, 1, 100, 16_383, 16_384, 16_385, 20_000, 40_960];
const OFFSETS: &[u64] = &[0, 1, 4096, 16_383, 16_384, 30_000, 70_000];
const NAMES: &[&str] = &["a", "b", "c"];
const XATTRS: &[&str] = &["user.a", "user.b"];
const MODES: &[u32] = &[0o644, 0o600, 0o755, 0o4755, 0o2755, 0o2644];
const OWNERS: &[u32] = &[0, 1000, 1001];

fn at(focus: Focus) -> BoxedStrategy<At> {
    let (names, directories) = match focus {
        // The root most of the time: that is where names collide.
        Focus::Tree => (NAMES, prop_oneof![3 => Just(0), 1 => 0..6_usize].boxed()),
        Focus::Bytes => (&NAMES[..2], Just(0).boxed()),
    };
    (directories, prop::sample::select(names))
        .prop_map(|(directory, name)| At { directory, name })
        .boxed()
}

fn size() -> impl Strategy<Value = u64> {
    prop::sample::select(SIZES)
}

fn len() -> impl Strategy<Value = usize> {
    size().prop_map(|size| usize::try_from(size).expect("sizes are small"))
}

fn offset() -> impl Strategy<Value = u64> {
    prop::sample::select(OFFSETS)
}

fn mode() -> impl Strategy<Value = u32> {
    prop::sample::select(MODES)
}

fn handle() -> impl Strategy<Value = usize> {
    0..6_usize
}

fn how() -> impl Strategy<Value = How> {
    (prop::bool::weighted(0.2), prop::bool::weighted(0.1), any::<bool>())
        .prop_map(|(append, sync, direct)| How { append, sync, direct })
}

fn rename_mode() -> impl Strategy<Value = RenameMode> {
    prop_oneof![
        6 => Just(RenameMode::Replace),
        1 => Just(RenameMode::NoReplace),
        2 => Just(RenameMode::Exchange),
    ]
}

fn made() -> impl Strategy<Value = Made> {
    prop_oneof![
        2 => Just(Made::File),
        4 => Just(Made::Directory),
        1 => Just(Made::Symlink),
        1 => Just(Made::Fifo),
    ]
}

fn allocate() -> impl Strategy<Value = Allocate> {
    prop::sample::select(vec![
        Allocate::Extend,
        Allocate::KeepSize,
        Allocate::PunchHole,
        Allocate::ZeroRange,
        Allocate::ZeroRangeKeepSize,
    ])
}

fn xattr_edit() -> impl Strategy<Value = XattrEdit> {
    prop::sample::select(vec![XattrEdit::Either, XattrEdit::Create, XattrEdit::Replace])
}

fn time_ns() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 1, 1_200_000_000_123_456_789])
}

/// What is done to names.
fn names(focus: Focus) -> impl Strategy<Value = Op> + use<> {
    let at = || at(focus);
    prop_oneof![
        4 => (at(), mode(), how()).prop_map(|(at, mode, how)| Op::Create { at, mode, how }),
        4 => (at(), made(), mode()).prop_map(|(at, what, mode)| Op::Make { at, what, mode }),
        2 => (at(), at()).prop_map(|(from, to)| Op::Link { from, to }),
        3 => at().prop_map(|at| Op::Unlink { at }),
        1 => at().prop_map(|at| Op::Rmdir { at }),
        7 => (at(), at(), rename_mode())
            .prop_map(|(from, to, mode)| Op::Rename { from, to, mode }),
        5 => (at(), len(), any::<u8>()).prop_map(|(at, len, fill)| Op::Save { at, len, fill }),
    ]
}

/// What is done to bytes.
fn bytes(focus: Focus) -> impl Strategy<Value = Op> + use<> {
    let at = || at(focus);
    prop_oneof![
        4 => (at(), any::<bool>()).prop_map(|(at, direct)| Op::OpenRead { at, direct }),
        5 => (at(), how(), prop::bool::weighted(0.3))
            .prop_map(|(at, how, truncate)| Op::OpenWrite { at, how, truncate }),
        8 => (handle(), offset(), len(), any::<u8>())
            .prop_map(|(handle, offset, len, fill)| Op::Write { handle, offset, len, fill }),
        2 => (handle(), size()).prop_map(|(handle, size)| Op::Resize { handle, size }),
        2 => (at(), size()).prop_map(|(at, size)| Op::ResizePath { at, size }),
        2 => (handle(), allocate(), offset(), size()).prop_map(|(handle, mode, offset, len)| {
            Op::Allocate { handle, mode, offset, len: len.max(1) }
        }),
        3 => (handle(), handle(), copied()).prop_map(|(from, to, (offset_in, offset_out, len))| {
            Op::Copy { from, to, offset_in, offset_out, len }
        }),
        1 => (handle(), offset()).prop_map(|(handle, offset)| Op::Seek { handle, offset }),
        6 => handle().prop_map(|handle| Op::Flush { handle }),
        4 => handle().prop_map(|handle| Op::Fsync { handle }),
        4 => handle().prop_map(|handle| Op::Release { handle }),
    ]
}

/// Whole files half of the time: those may share their bytes.
fn copied() -> impl Strategy<Value = (u64, u64, u64)> {
    prop_oneof![Just((0, 0, 1 << 20)), (offset(), offset(), size())]
}

/// What is done to attributes.
fn attributes(focus: Focus) -> impl Strategy<Value = Op> + use<> {
    let at = || at(focus);
    let owner = || prop::option::of(prop::sample::select(OWNERS));
    let xattr = || prop::sample::select(XATTRS);
    prop_oneof![
        (at(), mode()).prop_map(|(at, mode)| Op::Chmod { at, mode }),
        (at(), owner(), owner()).prop_map(|(at, uid, gid)| Op::Chown { at, uid, gid }),
        (at(), time_ns(), time_ns()).prop_map(|(at, atime_ns, mtime_ns)| Op::SetTimes {
            at,
            atime_ns,
            mtime_ns
        }),
        (at(), xattr(), vec(any::<u8>(), 0..3), xattr_edit())
            .prop_map(|(at, name, value, edit)| Op::SetXattr { at, name, value, edit }),
        (at(), xattr()).prop_map(|(at, name)| Op::RemoveXattr { at, name }),
    ]
}

/// What a node does beside its clients.
fn upkeep() -> impl Strategy<Value = Op> {
    let pause = prop::sample::select(vec![3, 60]).prop_map(|seconds| Op::Pause { seconds });
    prop_oneof![2 => pause, 2 => Just(Op::Seal), 1 => Just(Op::Collect)]
}

/// How the node ends and starts again, where it can.
fn crash(profile: Profile) -> impl Strategy<Value = Op> {
    prop::sample::select(match profile {
        Profile::Core => vec![Op::Kill, Op::PowerCut],
        Profile::Mounted => vec![Op::Collect],
    })
}

/// Draws what is done in one case: up to `count` operations.
pub fn ops(profile: Profile, focus: Focus, count: usize) -> impl Strategy<Value = Vec<Op>> {
    let (few, many) = (15, 80);
    let (to_names, to_bytes) = match focus {
        Focus::Tree => (many, many),
        Focus::Bytes => (few, many),
    };
    let one = prop_oneof![
        to_names => names(focus),
        to_bytes => bytes(focus),
        few => attributes(focus),
        few => upkeep(),
        few => crash(profile),
    ];
    vec(one, 1..count)
}
