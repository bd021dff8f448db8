//! What the core says of an inode, and what it is asked to change.

use tesfs_pathtree::{
    Ino, Name,
    tree::{Inode, S_IFMT},
};

use crate::open_file::OpenFile;

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl FileKind {
    /// Reads the type bits of a mode; unknown ones are a regular file's.
    pub fn of_mode(mode: u32) -> Self {
        match mode & S_IFMT {
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            0o020_000 => Self::CharDevice,
            0o060_000 => Self::BlockDevice,
            _ => Self::File,
        }
    }

    /// Returns the type bits of a mode.
    pub fn mode_bits(self) -> u32 {
        match self {
            Self::Directory => 0o040_000,
            Self::Symlink => 0o120_000,
            Self::Fifo => 0o010_000,
            Self::Socket => 0o140_000,
            Self::CharDevice => 0o020_000,
            Self::BlockDevice => 0o060_000,
            Self::File => 0o100_000,
        }
    }
}

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o0010;

/// Returns a mode without the bits that lend rights: set-user-id, and set-group-id where the
/// group may execute (elsewhere it marks mandatory locking).
pub(crate) fn without_privileges(mode: u32) -> u32 {
    let group = if mode & S_IXGRP == 0 { 0 } else { S_ISGID };
    mode & !(S_ISUID | group)
}

/// Says whether a mode lends rights to whoever executes the file.
pub(crate) fn lends_privileges(mode: u32) -> bool {
    without_privileges(mode) != mode
}

/// The attributes of an inode, as stat shows them. Times are Unix nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// This node's number of it.
    pub ino: Ino,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits (07777).
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Size in bytes.
    pub size: u64,
    /// Space in 512-byte blocks.
    pub blocks: u64,
    /// Access time.
    pub atime_ns: i64,
    /// Modification time.
    pub mtime_ns: i64,
    /// Change time.
    pub ctime_ns: i64,
    /// Birth time.
    pub btime_ns: i64,
}

/// Bytes of one block as `st_blocks` counts them.
const BLOCK_BYTES: u64 = 512;

/// Returns the blocks that `size` bytes are shown to take.
pub(crate) fn blocks_of(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES)
}

impl From<&Inode> for Attributes {
    fn from(inode: &Inode) -> Self {
        Self {
            ino: inode.ino,
            kind: FileKind::of_mode(inode.mode),
            mode: inode.mode & 0o7777,
            nlink: inode.nlink,
            uid: inode.attr.uid,
            gid: inode.attr.gid,
            rdev: inode.attr.rdev,
            size: inode.size,
            blocks: blocks_of(inode.size),
            atime_ns: inode.atime_ns(),
            mtime_ns: inode.mtime_ns(),
            ctime_ns: inode.ctime_ns(),
            btime_ns: inode.btime_ns(),
        }
    }
}

/// What a time is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeChange {
    /// The present.
    Now,
    /// This time, in Unix nanoseconds.
    At(i64),
}

/// Which attributes are to change.
#[derive(Clone, Copy, Default)]
pub struct AttributeChange<'a> {
    /// Permission bits (07777).
    pub mode: Option<u32>,
    /// Owning user.
    pub uid: Option<u32>,
    /// Owning group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<TimeChange>,
    /// Modification time.
    pub mtime: Option<TimeChange>,
    /// The handle the change came through, where it came through one.
    pub file: Option<&'a OpenFile>,
    /// The caller may not keep set-user-id and set-group-id bits while it changes the size.
    pub kill_privileges: bool,
}

/// What to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MakeInode {
    /// A directory.
    Directory,
    /// An empty regular file.
    File,
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device with this number.
    CharDevice(u64),
    /// A block device with this number.
    BlockDevice(u64),
}

impl MakeInode {
    pub(crate) fn kind(&self) -> FileKind {
        match self {
            Self::Directory => FileKind::Directory,
            Self::File => FileKind::File,
            Self::Symlink(_) => FileKind::Symlink,
            Self::Fifo => FileKind::Fifo,
            Self::Socket => FileKind::Socket,
            Self::CharDevice(_) => FileKind::CharDevice,
            Self::BlockDevice(_) => FileKind::BlockDevice,
        }
    }

    pub(crate) fn rdev(&self) -> u64 {
        match self {
            Self::CharDevice(rdev) | Self::BlockDevice(rdev) => *rdev,
            Self::Directory | Self::File | Self::Symlink(_) | Self::Fifo | Self::Socket => 0,
        }
    }
}

/// What a rename does where the new name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces what is there.
    Replace,
    /// Refuses.
    NoReplace,
    /// Lets the two change places; both must be there.
    Exchange,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Number of the edge: no other's in this directory, and its own for as long as it is there,
    /// whatever it is renamed to. Later edges have greater ones.
    pub edge: u64,
    /// The name; `.` and `..` are not among them.
    pub name: Name,
    /// What it leads to.
    pub ino: Ino,
    /// What that is.
    pub kind: FileKind,
}

/// The disk under the filesystem, as statfs shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsStats {
    /// Bytes of a block; the other counts are in these.
    pub block_bytes: u32,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks that an ordinary user may take.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Longest name in bytes.
    pub name_bytes_max: u32,
}
