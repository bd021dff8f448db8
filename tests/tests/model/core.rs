//! The core without a mount, driven as the model wants it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tesfs_fs::{
    AttributeChange, Attributes, Caller, FsError, MakeInode, OpenFile, OpenWrite, TimeChange,
};
use tesfs_pathtree::{Chain, Ino, Name, tree};
use tesfs_tests::model::{
    Access, Allocate, Answer, Driver, Found, How, Made, RenameMode, Seen, XattrEdit,
};

use crate::node::{Node, files};

const USER: Caller = Caller { uid: 1000, gid: 1000, pid: 0 };
/// More drafts than a case makes.
const DRAFTS_MAX: usize = 10_000;

/// A node without a mount.
pub(crate) struct Core {
    node: Node,
    boots: u32,
}

/// One open file, and the file behind it where that is used directly.
pub(crate) struct Handle {
    file: Arc<OpenFile>,
    behind: Option<Arc<File>>,
    how: How,
}

impl Core {
    pub(crate) fn new() -> Self {
        Self { node: Node::new((USER.uid, USER.gid)), boots: 1 }
    }

    fn resolve(&self, at: &Path) -> Answer<Ino> {
        at.iter().try_fold(self.node.vfs.root(), |directory, name| {
            let name = Name::parse(name).expect("names of the model are names");
            Ok(self.node.vfs.lookup(&USER, directory, &name).map_err(|err| err.errno())?.ino)
        })
    }

    fn place(&self, at: &Path) -> Answer<(Ino, Name)> {
        let directory = self.resolve(at.parent().expect("a path with a name"))?;
        let name = Name::parse(at.file_name().expect("a path with a name"));
        Ok((directory, name.expect("names of the model are names")))
    }

    fn opened(&self, file: Arc<OpenFile>, how: How) -> Answer<Handle> {
        let behind = if how.direct { answer(file.backing())? } else { None };
        Ok(Handle { file, behind, how })
    }

    fn change(&self, at: &Path, change: &AttributeChange<'_>) -> Answer<()> {
        let ino = self.resolve(at)?;
        answer(self.node.vfs.set_attributes(&USER, ino, change)).map(drop)
    }

    /// The draft files whose bytes a power cut leaves alone.
    fn durable_drafts(&self) -> Result<Vec<u64>, FsError> {
        self.node.db.read(|conn| {
            let records = self.node.store.draft_records(conn)?;
            let durable = records.iter().filter(|record| record.durable);
            let mut kept: Vec<u64> = durable.map(|record| record.number).collect();
            for number in self.node.store.unsealed(conn, DRAFTS_MAX)? {
                let row = self.node.store.row(conn, number)?.filter(|row| row.settled);
                kept.extend(row.and_then(|row| row.draft));
            }
            Ok(kept)
        })
    }
}

impl Driver for Core {
    type Handle = Handle;

    fn owner(&self) -> (u32, u32) {
        (USER.uid, USER.gid)
    }

    fn create(&mut self, at: &Path, mode: u32, how: How) -> Answer<Handle> {
        let (directory, name) = self.place(at)?;
        let (_, file) =
            answer(self.node.vfs.create(&USER, directory, &name, mode, open_how(how, false)))?;
        self.opened(file, how)
    }

    fn make(&mut self, at: &Path, what: Made, target: &[u8], mode: u32) -> Answer<()> {
        let (directory, name) = self.place(at)?;
        let mode = what.mode(mode);
        let what = match what {
            Made::File => MakeInode::File,
            Made::Directory => MakeInode::Directory,
            Made::Symlink => MakeInode::Symlink(target.into()),
            Made::Fifo => MakeInode::Fifo,
        };
        answer(self.node.vfs.make(&USER, directory, &name, &what, mode)).map(drop)
    }

    fn link(&mut self, from: &Path, to: &Path) -> Answer<()> {
        let ino = self.resolve(from)?;
        let (directory, name) = self.place(to)?;
        answer(self.node.vfs.link(&USER, ino, directory, &name)).map(drop)
    }

    fn unlink(&mut self, at: &Path) -> Answer<()> {
        let (directory, name) = self.place(at)?;
        answer(self.node.vfs.unlink(&USER, directory, &name))
    }

    fn rmdir(&mut self, at: &Path) -> Answer<()> {
        let (directory, name) = self.place(at)?;
        answer(self.node.vfs.rmdir(&USER, directory, &name))
    }

    fn rename(&mut self, from: &Path, to: &Path, mode: RenameMode) -> Answer<()> {
        let mode = match mode {
            RenameMode::Replace => tesfs_fs::RenameMode::Replace,
            RenameMode::NoReplace => tesfs_fs::RenameMode::NoReplace,
            RenameMode::Exchange => tesfs_fs::RenameMode::Exchange,
        };
        let ((source, old), (target, new)) = (self.place(from)?, self.place(to)?);
        answer(self.node.vfs.rename(&USER, (source, &old), (target, &new), mode))
    }

    fn open_read(&mut self, at: &Path, direct: bool) -> Answer<Handle> {
        let file = answer(self.node.vfs.open_read(&USER, self.resolve(at)?))?;
        self.opened(file, How { direct, ..How::default() })
    }

    fn open_write(&mut self, at: &Path, how: How, truncate: bool) -> Answer<Handle> {
        let ino = self.resolve(at)?;
        let file = answer(self.node.vfs.open_write(&USER, ino, open_how(how, truncate)))?;
        self.opened(file, how)
    }

    fn access(&self, handle: &Handle) -> Access {
        if handle.behind.is_some() { Access::Direct } else { Access::Served }
    }

    fn read(&mut self, handle: &Handle) -> Answer<Vec<u8>> {
        let mut bytes = vec![0; 256 * 1024];
        let mut filled = 0;
        loop {
            let rest = &mut bytes[filled..];
            let read = match &handle.behind {
                Some(behind) => behind.read_at(rest, filled as u64).map_err(errno)?,
                None => answer(handle.file.read_at(filled as u64, rest))?,
            };
            filled += read;
            if read == 0 {
                bytes.truncate(filled);
                return Ok(bytes);
            }
        }
    }

    fn write(&mut self, handle: &Handle, offset: u64, data: &[u8]) -> Answer<()> {
        let Some(behind) = &handle.behind else {
            let written = answer(handle.file.write_at(offset, data, false))?;
            assert_eq!(written, data.len(), "the disk is not full");
            return Ok(());
        };
        let end = behind.metadata().map_err(errno)?.len();
        behind.write_all_at(data, if handle.how.append { end } else { offset }).map_err(errno)?;
        if handle.how.sync { answer(handle.file.fsync()) } else { Ok(()) }
    }

    fn resize(&mut self, handle: &Handle, size: u64) -> Answer<()> {
        let file = Some(&*handle.file);
        let change = AttributeChange { size: Some(size), file, ..AttributeChange::default() };
        answer(self.node.vfs.set_attributes(&USER, handle.file.ino(), &change)).map(drop)
    }

    fn resize_path(&mut self, at: &Path, size: u64) -> Answer<()> {
        self.change(at, &AttributeChange { size: Some(size), ..AttributeChange::default() })
    }

    fn allocate(&mut self, handle: &Handle, mode: Allocate, offset: u64, len: u64) -> Answer<()> {
        let mode = match mode {
            Allocate::Extend => tesfs_blobs::Allocate::Extend,
            Allocate::KeepSize => tesfs_blobs::Allocate::KeepSize,
            Allocate::PunchHole => tesfs_blobs::Allocate::PunchHole,
            Allocate::ZeroRange => tesfs_blobs::Allocate::ZeroRange,
            Allocate::ZeroRangeKeepSize => tesfs_blobs::Allocate::ZeroRangeKeepSize,
        };
        answer(handle.file.allocate(mode, offset, len, false))
    }

    fn copy(&mut self, from: (&Handle, u64), to: (&Handle, u64), len: u64) -> Answer<u64> {
        answer(from.0.file.copy_range(from.1, &to.0.file, to.1, len, false))
    }

    fn seek(&mut self, handle: &Handle, offset: u64) -> Answer<Found> {
        let seek = |what| match handle.file.seek(offset, what) {
            Ok(at) => Ok(Some(at)),
            Err(FsError::NoData(_)) => Ok(None),
            Err(err) => Err(err.errno()),
        };
        Ok(Found { data: seek(tesfs_fs::Seek::Data)?, hole: seek(tesfs_fs::Seek::Hole)? })
    }

    fn flush(&mut self, handle: &Handle) -> Answer<()> {
        answer(handle.file.flush()).map(drop)
    }

    fn fsync(&mut self, handle: &Handle) -> Answer<()> {
        answer(handle.file.fsync())
    }

    fn release(&mut self, handle: Handle) -> Answer<()> {
        answer(handle.file.flush())?;
        answer(handle.file.release())
    }

    fn stat_handle(&mut self, handle: &Handle) -> Answer<Seen> {
        answer(handle.file.attributes()).map(|shown| seen(&shown))
    }

    fn chmod(&mut self, at: &Path, mode: u32) -> Answer<()> {
        self.change(at, &AttributeChange { mode: Some(mode), ..AttributeChange::default() })
    }

    fn chown(&mut self, at: &Path, uid: Option<u32>, gid: Option<u32>) -> Answer<()> {
        self.change(at, &AttributeChange { uid, gid, ..AttributeChange::default() })
    }

    fn set_times(&mut self, at: &Path, atime_ns: i64, mtime_ns: i64) -> Answer<()> {
        let (atime, mtime) = (Some(TimeChange::At(atime_ns)), Some(TimeChange::At(mtime_ns)));
        self.change(at, &AttributeChange { atime, mtime, ..AttributeChange::default() })
    }

    fn set_xattr(&mut self, at: &Path, name: &str, value: &[u8], edit: XattrEdit) -> Answer<()> {
        let edit = match edit {
            XattrEdit::Either => tree::XattrEdit::Either,
            XattrEdit::Create => tree::XattrEdit::Create,
            XattrEdit::Replace => tree::XattrEdit::Replace,
        };
        let ino = self.resolve(at)?;
        answer(self.node.vfs.set_xattr(&USER, ino, (name.as_bytes(), value), edit))
    }

    fn remove_xattr(&mut self, at: &Path, name: &str) -> Answer<()> {
        let ino = self.resolve(at)?;
        answer(self.node.vfs.remove_xattr(&USER, ino, name.as_bytes()))
    }

    fn stat(&mut self, at: &Path) -> Answer<Seen> {
        let ino = self.resolve(at)?;
        let by_number = answer(self.node.vfs.attributes(ino))?;
        if at.file_name().is_some() {
            let (directory, name) = self.place(at)?;
            let by_name = answer(self.node.vfs.lookup(&USER, directory, &name))?;
            assert_eq!(by_name, by_number, "a lookup shows what the number shows");
            let names = answer(self.node.vfs.names(ino))?;
            assert!(names.contains(&(directory, name)), "{names:?} lack a name");
            if by_name.kind != tesfs_fs::FileKind::Directory {
                assert_eq!(names.len(), by_name.nlink as usize, "links are names");
            }
        }
        Ok(seen(&by_number))
    }

    fn list(&mut self, at: &Path) -> Answer<Vec<Vec<u8>>> {
        let directory = self.resolve(at)?;
        let listed = answer(self.node.vfs.list_with_attributes(directory))?;
        for (entry, shown) in &listed {
            assert_eq!((entry.ino, entry.kind), (shown.ino, shown.kind), "a listing is true");
        }
        Ok(listed.into_iter().map(|(entry, _)| entry.name.as_bytes().into()).collect())
    }

    fn read_link(&mut self, at: &Path) -> Answer<Vec<u8>> {
        answer(self.node.vfs.readlink(self.resolve(at)?))
    }

    fn xattrs(&mut self, at: &Path) -> Answer<BTreeMap<Vec<u8>, Vec<u8>>> {
        let ino = self.resolve(at)?;
        let names = answer(self.node.vfs.list_xattrs(ino))?;
        let value = |name: Vec<u8>| Ok((name.clone(), answer(self.node.vfs.xattr(ino, &name))?));
        names.into_iter().map(value).collect()
    }

    fn pause(&mut self, time: Duration) {
        self.node.clock.advance(time);
    }

    fn seal(&mut self) {
        self.node.settle();
    }

    fn collect(&mut self) {
        self.node.collect();
    }

    /// What is on the disk at this moment is copied, and the copy is opened: what the handles and
    /// the old process do afterwards no longer counts. A power cut empties what was not synced.
    fn crash(&mut self, handles: Vec<Handle>, power_cut: bool) {
        let next = tempfile::tempdir().expect("a temporary directory");
        copy_tree(self.node.dir.path(), next.path()).expect("a copy of the data directory");
        if power_cut {
            self.boots += 1;
            let kept = self.durable_drafts().expect("a readable database");
            for draft in files(&next.path().join("drafts")) {
                let number = draft.file_name().and_then(|name| name.to_str()?.parse().ok());
                if number.is_none_or(|number| !kept.contains(&number)) {
                    File::options().write(true).truncate(true).open(draft).expect("a draft");
                }
            }
        }
        let restarted = self.node.restarted(next, self.boots);
        drop(handles);
        self.node = restarted;
    }

    fn check(&mut self, at_rest: bool) -> Result<(), String> {
        self.node.check(at_rest)
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            copy_tree(&from, &to)?;
        } else {
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}

/// A pool makes and removes its files while they are copied: those are empty.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    match fs::metadata(from) {
        // Space that is kept back is nothing but zeros.
        Ok(_) if from.file_name() == Some("reserve".as_ref()) => Ok(()),
        Ok(meta) if meta.len() == 0 => {
            File::options().write(true).create(true).truncate(false).mode(0o600).open(to).map(drop)
        }
        Ok(_) => fs::copy(from, to).map(drop),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err),
    }
}

fn open_how(how: How, truncate: bool) -> OpenWrite {
    let How { append, sync, .. } = how;
    OpenWrite { read: true, truncate, append, sync, kill_privileges: false }
}

fn seen(shown: &Attributes) -> Seen {
    Seen {
        ino: shown.ino.0,
        mode: shown.kind.mode_bits() | shown.mode,
        nlink: shown.nlink.into(),
        uid: shown.uid,
        gid: shown.gid,
        size: shown.size,
        atime_ns: shown.atime_ns,
        mtime_ns: shown.mtime_ns,
    }
}

fn answer<T>(result: Result<T, FsError>) -> Answer<T> {
    result.map_err(|err| match err.errno() {
        libc::EIO => panic!("{}", Chain(&err)),
        errno => errno,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "that is how map_err hands it over")]
fn errno(err: io::Error) -> i32 {
    err.raw_os_error().unwrap_or(libc::EIO)
}
