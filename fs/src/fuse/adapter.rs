//! Kernel requests in, calls of the core out. No decisions are made here.

use std::{
    cell::RefCell, ffi::OsStr, io, os::unix::ffi::OsStrExt as _, path::Path, sync::Arc,
    time::SystemTime,
};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};
use tesfs_pathtree::tree::XattrEdit;
use tracing::instrument;

use super::{
    convert::{self, errno},
    directories::OpenDirectory,
    negotiate,
    nodes::NodeId,
    shared::Shared,
};
use crate::{AttributeChange, MakeInode};

/// The filesystem as the kernel asks for it.
pub(super) struct Adapter {
    pub(super) shared: Arc<Shared>,
}

thread_local! {
    /// Bytes on their way to the kernel; as large as the largest request this thread has seen.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Unwraps a result, or answers with its errno and returns.
macro_rules! try_reply {
    ($reply:ident, $operation:literal, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(err) => return $reply.error(errno($operation, &err)),
        }
    };
}

/// Answers with success or an errno.
macro_rules! reply_done {
    ($reply:ident, $operation:literal, $result:expr) => {
        match $result {
            Ok(()) => $reply.ok(),
            Err(err) => $reply.error(errno($operation, &err)),
        }
    };
}

/// Finds a handle, or answers EBADF and returns.
macro_rules! try_handle {
    ($reply:ident, $handles:expr, $number:expr) => {
        match $handles.find($number) {
            Some(handle) => handle,
            None => return $reply.error(Errno::EBADF),
        }
    };
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if !negotiate::negotiate(config, self.shared.ways.is_allowed()) {
            self.shared.ways.disallow();
        }
        Ok(())
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "lookup", %parent, ?name))]
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.shared.look_up(request, parent, name, reply);
    }

    fn forget(&self, _request: &Request, node: INodeNo, lookups: u64) {
        self.shared.forget(NodeId(node.0), lookups);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "getattr", %node))]
    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let node = NodeId(node.0);
        match self.shared.ino(node) {
            Ok(ino) => {
                let shown = self.shared.attributes_at(ino, node);
                self.shared.reply_attributes(reply, "getattr", node, shown);
            }
            Err(errno) => reply.error(errno),
        }
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "setattr", %node))]
    fn setattr(
        &self,
        request: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let handle = handle.and_then(|number| self.shared.files.find(number));
        let change = AttributeChange {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(convert::time_change),
            mtime: mtime.map(convert::time_change),
            file: handle.as_ref().map(|handle| &*handle.file),
            kill_privileges: size.is_some() && convert::loses_privileges(&convert::caller(request)),
        };
        let handle = handle.as_deref();
        self.shared.set_attributes(request, NodeId(node.0), &change, handle, reply);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "readlink", %node))]
    fn readlink(&self, _: &Request, node: INodeNo, reply: ReplyData) {
        let target = self.shared.at(NodeId(node.0)).and_then(|(ino, vfs)| vfs.readlink(ino));
        let target = try_reply!(reply, "readlink", target);
        reply.data(&target);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "mknod", %parent, ?name))]
    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        match convert::make(mode, rdev) {
            Ok(what) => self.shared.make(request, parent, name, &what, mode, reply),
            Err(errno) => reply.error(errno),
        }
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "mkdir", %parent, ?name))]
    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.shared.make(request, parent, name, &MakeInode::Directory, mode, reply);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "symlink", %parent, ?name))]
    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let what = MakeInode::Symlink(target.as_os_str().as_bytes().to_vec());
        self.shared.make(request, parent, name, &what, 0o777, reply);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "unlink", %parent, ?name))]
    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let caller = convert::caller(request);
        let done = self.shared.child(parent, name).and_then(|(parent, name)| {
            let divided = self.shared.divided(&caller, parent, &name);
            self.shared.sight().vfs.unlink(&caller, parent, &name)?;
            Ok(divided)
        });
        self.shared.reply_names_changed(reply, "unlink", done);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "rmdir", %parent, ?name))]
    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.shared.child(parent, name).and_then(|(parent, name)| {
            self.shared.sight().vfs.rmdir(&convert::caller(request), parent, &name)
        });
        reply_done!(reply, "rmdir", done);
    }

    #[instrument(name = "fuse", level = "debug", skip_all,
        fields(op = "rename", %parent, ?name, %new_parent, ?new_name))]
    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mode = match convert::rename_mode(flags) {
            Ok(mode) => mode,
            Err(errno) => return reply.error(errno),
        };
        let caller = convert::caller(request);
        let done = self.shared.child(parent, name).and_then(|(parent, name)| {
            let (new_parent, new_name) = self.shared.child(new_parent, new_name)?;
            let divided = self.shared.divided(&caller, new_parent, &new_name);
            let vfs = &self.shared.sight().vfs;
            vfs.rename(&caller, (parent, &name), (new_parent, &new_name), mode)?;
            Ok(divided)
        });
        self.shared.reply_names_changed(reply, "rename", done);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "link", %node, %parent, ?name))]
    fn link(
        &self,
        request: &Request,
        node: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let node = NodeId(node.0);
        let ino = match self.shared.ino(node) {
            Ok(ino) => ino,
            Err(errno) => return reply.error(errno),
        };
        let sight = self.shared.sight();
        let made = self.shared.child(parent, name).and_then(|(parent, name)| {
            sight.vfs.link(&convert::caller(request), ino, parent, &name)
        });
        self.shared.reply_linked(request, reply, (ino, node), made);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "open", %node, flags = flags.0))]
    fn open(&self, request: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.shared.open(request, NodeId(node.0), flags, reply);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "create", %parent, ?name, flags))]
    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (parent, name) = try_reply!(reply, "create", self.shared.child(parent, name));
        self.shared.create(request, (parent, &name), mode & 0o7777, OpenFlags(flags), reply);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "read", %node, offset, size))]
    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let handle = try_handle!(reply, self.shared.files, handle);
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(buffer.len().max(size as usize), 0);
            let buffer = &mut buffer[..size as usize];
            match handle.file.read_at(offset, buffer) {
                Ok(got) => {
                    self.shared.used(&handle);
                    reply.data(&buffer[..got]);
                }
                Err(err) => reply.error(errno("read", &err)),
            }
        });
    }

    #[instrument(name = "fuse", level = "debug", skip_all,
        fields(op = "write", %node, offset, size = data.len()))]
    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _open_flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let handle = try_handle!(reply, self.shared.files, handle);
        let kill_privileges = flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        match handle.file.write_at(offset, data, kill_privileges) {
            Ok(written) => {
                self.shared.wrote(&handle, offset, written as u64);
                let written = u32::try_from(written).expect("no more than the kernel sent");
                let then = move || reply.written(written);
                self.shared.privileges_taken(&handle.file, kill_privileges, then);
            }
            Err(err) => reply.error(errno("write", &err)),
        }
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "flush", %node))]
    fn flush(
        &self,
        request: &Request,
        node: INodeNo,
        handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let handle = try_handle!(reply, self.shared.files, handle);
        self.shared.flush(&handle, convert::thread(request), reply);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "release", %node))]
    fn release(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        if let Some(handle) = self.shared.files.remove(handle) {
            self.shared.closed(handle);
        }
        reply.ok();
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "fsync", %node))]
    fn fsync(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let handle = try_handle!(reply, self.shared.files, handle);
        self.shared.aside.run(move || reply_done!(reply, "fsync", handle.file.fsync()));
    }

    fn opendir(&self, _: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let ino = try_reply!(reply, "opendir", self.shared.inode(node));
        let sight = self.shared.sight();
        let number = self.shared.directories.insert(OpenDirectory::new(ino, &sight));
        // The kernel sees every local change of a directory and is told of nearly all others.
        let flags = match sight.vfs.changes_untold(ino) {
            true => FopenFlags::empty(),
            false => FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
        };
        reply.opened(number, flags);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "readdir", %node, offset))]
    fn readdir(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let directory = try_handle!(reply, self.shared.directories, handle);
        self.shared.list(&directory, offset, reply);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "readdirplus", %node, offset))]
    fn readdirplus(
        &self,
        request: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let directory = try_handle!(reply, self.shared.directories, handle);
        self.shared.list_with_attributes(&convert::caller(request), &directory, offset, reply);
    }

    fn releasedir(
        &self,
        _: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        drop(self.shared.directories.remove(handle));
        reply.ok();
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "fsyncdir", %node))]
    fn fsyncdir(
        &self,
        _: &Request,
        node: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let (ino, vfs) = try_reply!(reply, "fsyncdir", self.shared.at(NodeId(node.0)));
        self.shared.aside.run(move || reply_done!(reply, "fsyncdir", vfs.sync_directory(ino)));
    }

    fn statfs(&self, _: &Request, _node: INodeNo, reply: ReplyStatfs) {
        let stats = try_reply!(reply, "statfs", self.shared.sight().vfs.statfs());
        convert::reply_statfs(reply, &stats);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "setxattr", %node, ?name))]
    fn setxattr(
        &self,
        request: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let edit = match flags {
            0 => XattrEdit::Either,
            libc::XATTR_CREATE => XattrEdit::Create,
            libc::XATTR_REPLACE => XattrEdit::Replace,
            _ => return reply.error(Errno::EINVAL),
        };
        let done = self.shared.at(NodeId(node.0)).and_then(|(ino, vfs)| {
            let caller = convert::caller(request);
            vfs.set_xattr(&caller, ino, (name.as_bytes(), value), edit)?;
            Ok(ino)
        });
        let ino = try_reply!(reply, "setxattr", done);
        self.shared.attributes_changed(ino, NodeId(node.0), move || reply.ok());
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "getxattr", %node, ?name))]
    fn getxattr(&self, _: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if name.as_bytes().starts_with(convert::SECURITY_PREFIX) {
            // Asked for before a file's first write; nothing is ever stored there.
            return reply.error(Errno::ENODATA);
        }
        let at = self.shared.at(NodeId(node.0));
        let value = at.and_then(|(ino, vfs)| vfs.xattr(ino, name.as_bytes()));
        let value = try_reply!(reply, "getxattr", value);
        convert::reply_xattr(reply, size, &value);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "listxattr", %node))]
    fn listxattr(&self, _: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        let at = self.shared.at(NodeId(node.0));
        let names = at.and_then(|(ino, vfs)| vfs.list_xattrs(ino));
        let mut list = try_reply!(reply, "listxattr", names).join(&0);
        if !list.is_empty() {
            list.push(0);
        }
        convert::reply_xattr(reply, size, &list);
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "removexattr", %node, ?name))]
    fn removexattr(&self, request: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.shared.at(NodeId(node.0)).and_then(|(ino, vfs)| {
            vfs.remove_xattr(&convert::caller(request), ino, name.as_bytes())?;
            Ok(ino)
        });
        let ino = try_reply!(reply, "removexattr", done);
        self.shared.attributes_changed(ino, NodeId(node.0), move || reply.ok());
    }

    #[instrument(name = "fuse", level = "debug", skip_all,
        fields(op = "fallocate", %node, offset, len, mode))]
    fn fallocate(
        &self,
        request: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mode = match convert::allocate(mode) {
            Ok(mode) => mode,
            Err(errno) => return reply.error(errno),
        };
        let handle = try_handle!(reply, self.shared.files, handle);
        let shared = Arc::clone(&self.shared);
        let kill_privileges = convert::loses_privileges(&convert::caller(request));
        self.shared.aside.run(move || {
            let done = handle.file.allocate(mode, offset, len, kill_privileges);
            shared.wrote(&handle, offset, len);
            let then = move || reply_done!(reply, "fallocate", done);
            shared.privileges_taken(&handle.file, kill_privileges, then);
        });
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "lseek", %node, offset))]
    fn lseek(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let handle = try_handle!(reply, self.shared.files, handle);
        let what = match (convert::seek(whence), u64::try_from(offset)) {
            (Ok(what), Ok(offset)) => handle.file.seek(offset, what),
            (Err(errno), _) => return reply.error(errno),
            (_, Err(_)) => return reply.error(Errno::ENXIO),
        };
        let found = try_reply!(reply, "lseek", what);
        reply.offset(found.cast_signed());
    }

    #[instrument(name = "fuse", level = "debug", skip_all, fields(op = "copy_file_range", len))]
    fn copy_file_range(
        &self,
        request: &Request,
        _node_in: INodeNo,
        handle_in: FileHandle,
        offset_in: u64,
        _node_out: INodeNo,
        handle_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let from = try_handle!(reply, self.shared.files, handle_in);
        let to = try_handle!(reply, self.shared.files, handle_out);
        // The answer is a 32-bit count; the caller asks for the rest again.
        let len = len.min(convert::COPY_BYTES_MAX);
        let shared = Arc::clone(&self.shared);
        let kill_privileges = convert::loses_privileges(&convert::caller(request));
        self.shared.aside.run(move || {
            match from.file.copy_range(offset_in, &to.file, offset_out, len, kill_privileges) {
                Ok(copied) => {
                    shared.wrote(&to, offset_out, copied);
                    let copied = u32::try_from(copied).expect("no more than was asked for");
                    let then = move || reply.written(copied);
                    shared.privileges_taken(&to.file, kill_privileges, then);
                }
                Err(err) => reply.error(errno("copy_file_range", &err)),
            }
        });
    }

    fn ioctl(
        &self,
        _: &Request,
        _node: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _data: &[u8],
        _room: u32,
        reply: ReplyIoctl,
    ) {
        // Programs ask every file whether it is a terminal.
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _: &Request,
        _node: INodeNo,
        _handle: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        // Files are always ready; the kernel does not ask again.
        reply.error(Errno::ENOSYS);
    }
}
