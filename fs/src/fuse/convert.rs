//! Between the kernel's words and the core's: types, times, flags, errno.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileType, INodeNo, OpenAccMode, OpenFlags, RenameFlags, ReplyStatfs,
    ReplyXattr, Request,
};
use tesfs_blobs::Allocate;
use tesfs_pathtree::{Chain, Name, tree::TreeError};
use tracing::{Level, debug, error};

use super::nodes::{NodeId, Thread};
use crate::{
    Attributes, Caller, FileKind, FsError, FsStats, MakeInode, OpenWrite, RenameMode, Seek,
    TimeChange,
};

#[cfg(test)]
mod tests;

/// Size of a block for `st_blksize`: what one request to the daemon carries at best, divided so
/// that programs which read by this size still start small.
const PREFERRED_BLOCK_BYTES: u32 = 128 * 1024;

/// Names of extended attributes that belong to security modules.
pub(super) const SECURITY_PREFIX: &[u8] = b"security.";

/// Most bytes one copy_file_range may report: the kernel reads the answer as a 32-bit count and
/// asks for whole pages.
pub(super) const COPY_BYTES_MAX: u64 = 0xffff_f000;

/// Logs a failed operation, once and with all its causes, and returns its errno.
pub(super) fn errno(operation: &'static str, err: &FsError) -> Errno {
    log(operation, err);
    Errno::from_i32(err.errno())
}

/// The same for what was asked for by its node. What is not there any more may have gone with a
/// switch, and something else may be at its name: the kernel looks the path up once more.
pub(super) fn errno_at_node(operation: &'static str, err: &FsError) -> Errno {
    match err {
        FsError::Tree(TreeError::InodeGone(_)) => {
            log(operation, err);
            Errno::ESTALE
        }
        _ => errno(operation, err),
    }
}

/// Logs a failed operation, once and with all its causes.
pub(super) fn log(operation: &'static str, err: &FsError) {
    if err.level() == Level::ERROR {
        error!(operation, error = %Chain(err), "operation failed");
    } else {
        debug!(operation, error = %Chain(err), "operation refused");
    }
}

/// Checks a name that the kernel hands over.
pub(super) fn name(bytes: &std::ffi::OsStr) -> Result<Name, FsError> {
    Ok(Name::parse(bytes)?)
}

/// Returns who asks.
pub(super) fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

/// Says whether the caller may not keep set-user-id and set-group-id bits of what it writes.
pub(super) fn loses_privileges(caller: &Caller) -> bool {
    caller.uid != 0
}

/// Returns the thread that asks: the kernel gives the number of the thread, not of its process.
pub(super) fn thread(request: &Request) -> Thread {
    Thread(request.pid())
}

/// Returns the kernel's form of a node id.
pub(super) fn inode_number(node: NodeId) -> INodeNo {
    INodeNo(node.0)
}

/// Returns attributes as the kernel takes them, under `number`: the node id in an entry, which the
/// kernel knows the inode by, and the inode's own number anywhere else.
pub(super) fn attributes(from: &Attributes, number: u64) -> FileAttr {
    FileAttr {
        ino: INodeNo(number),
        size: from.size,
        blocks: from.blocks,
        atime: time(from.atime_ns),
        mtime: time(from.mtime_ns),
        ctime: time(from.ctime_ns),
        crtime: time(from.btime_ns),
        kind: file_type(from.kind),
        perm: u16::try_from(from.mode & 0o7777).expect("12 bits fit"),
        nlink: from.nlink,
        uid: from.uid,
        gid: from.gid,
        rdev: kernel_device(from.rdev),
        blksize: PREFERRED_BLOCK_BYTES,
        flags: 0,
    }
}

/// Returns the entry that says "there is no such name": one without a node. The kernel keeps it.
pub(super) fn no_entry() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

fn time(unix_ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(unix_ns.unsigned_abs());
    if unix_ns < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// Returns Unix nanoseconds of a time the kernel handed over, at the limits of `i64` if it lies
/// beyond them.
///
/// fuser reads a time before 1970 as `seconds` before the epoch and then subtracts the nanoseconds
/// too, which POSIX adds; this puts them back.
fn unix_ns(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => {
            let distance = before.duration();
            let seconds_ns = i128::from(distance.as_secs()) * 1_000_000_000;
            let ns = i128::from(distance.subsec_nanos()) - seconds_ns;
            i64::try_from(ns).unwrap_or(i64::MIN)
        }
    }
}

pub(super) fn time_change(time: fuser::TimeOrNow) -> TimeChange {
    match time {
        fuser::TimeOrNow::SpecificTime(time) => TimeChange::At(unix_ns(time)),
        fuser::TimeOrNow::Now => TimeChange::Now,
    }
}

/// Returns a device number as the kernel packs it into 32 bits.
fn kernel_device(rdev: u64) -> u32 {
    let (major, minor) = (libc::major(rdev), libc::minor(rdev));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// Returns the device number that the kernel packed into 32 bits.
fn device(packed: u32) -> u64 {
    let (major, minor) =
        ((packed & 0x000f_ff00) >> 8, (packed & 0xff) | ((packed >> 12) & 0xf_ff00));
    libc::makedev(major, minor)
}

/// Returns what mknod is to make.
///
/// # Errors
///
/// EINVAL for a type that mknod does not make.
pub(super) fn make(mode: u32, packed_device: u32) -> Result<MakeInode, Errno> {
    Ok(match mode & libc::S_IFMT {
        0 | libc::S_IFREG => MakeInode::File,
        libc::S_IFIFO => MakeInode::Fifo,
        libc::S_IFSOCK => MakeInode::Socket,
        libc::S_IFCHR => MakeInode::CharDevice(device(packed_device)),
        libc::S_IFBLK => MakeInode::BlockDevice(device(packed_device)),
        _ => return Err(Errno::EINVAL),
    })
}

/// Returns how a handle with write access is to be opened; `None` for one without.
pub(super) fn open_write(flags: OpenFlags, caller: &Caller) -> Option<OpenWrite> {
    let has = |flag| flags.0 & flag != 0;
    let truncate = has(libc::O_TRUNC);
    let read = match flags.acc_mode() {
        // Linux truncates for a read-only open as well, if the caller may write.
        OpenAccMode::O_RDONLY if truncate => true,
        OpenAccMode::O_RDONLY => return None,
        OpenAccMode::O_WRONLY => false,
        OpenAccMode::O_RDWR => true,
    };
    Some(OpenWrite {
        read,
        truncate,
        append: has(libc::O_APPEND),
        // O_SYNC contains O_DSYNC.
        sync: has(libc::O_DSYNC),
        kill_privileges: truncate && loses_privileges(caller),
    })
}

/// Returns what a rename does where the new name is taken.
///
/// # Errors
///
/// EINVAL for flags that do not go together or are not known.
pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode, Errno> {
    if flags.is_empty() {
        Ok(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Ok(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Ok(RenameMode::Exchange)
    } else {
        Err(Errno::EINVAL)
    }
}

/// Returns what fallocate is to do.
///
/// # Errors
///
/// EOPNOTSUPP for what is not done here, such as collapsing a range.
pub(super) fn allocate(mode: i32) -> Result<Allocate, Errno> {
    const PUNCH_KEEP: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    const ZERO_KEEP: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
    match mode {
        0 => Ok(Allocate::Extend),
        libc::FALLOC_FL_KEEP_SIZE => Ok(Allocate::KeepSize),
        PUNCH_KEEP => Ok(Allocate::PunchHole),
        libc::FALLOC_FL_ZERO_RANGE => Ok(Allocate::ZeroRange),
        ZERO_KEEP => Ok(Allocate::ZeroRangeKeepSize),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// Returns what lseek looks for; the kernel does every other kind itself.
///
/// # Errors
///
/// EINVAL for any other kind.
pub(super) fn seek(whence: i32) -> Result<Seek, Errno> {
    match whence {
        libc::SEEK_DATA => Ok(Seek::Data),
        libc::SEEK_HOLE => Ok(Seek::Hole),
        _ => Err(Errno::EINVAL),
    }
}

/// Answers with the numbers of the disk.
pub(super) fn reply_statfs(reply: ReplyStatfs, stats: &FsStats) {
    reply.statfs(
        stats.blocks,
        stats.blocks_free,
        stats.blocks_available,
        stats.files,
        stats.files_free,
        stats.block_bytes,
        stats.name_bytes_max,
        stats.block_bytes,
    );
}

/// Answers with an extended attribute, or with its size if the caller has no room yet.
pub(super) fn reply_xattr(reply: ReplyXattr, room: u32, value: &[u8]) {
    match u32::try_from(value.len()) {
        Ok(size) if room == 0 => reply.size(size),
        Ok(size) if size <= room => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}
