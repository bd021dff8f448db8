//! The model: inodes, what hangs where, and who has what open.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    file::{After, File},
    inode::{Id, Inode, What},
    op::{Allocate, At, Made, RenameMode, XattrEdit},
    places::Places,
};

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o0010;

/// The errnos that may answer a call that must fail: where several rules are broken, whichever is
/// looked at first decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub Vec<i32>);

type Answer<T> = Result<T, Refusal>;

fn refuse<T>(errno: i32) -> Answer<T> {
    Err(Refusal(vec![errno]))
}

/// One open handle.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) inode: Id,
    pub(super) role: Role,
}

#[derive(Debug)]
pub(super) enum Role {
    /// Reads these bytes, whatever happens.
    Reader(super::file::Version),
    Writer {
        append: bool,
        sync: bool,
    },
}

/// The whole filesystem, as it should be.
#[derive(Debug)]
pub struct Model {
    pub(super) inodes: Vec<Inode>,
    pub(super) places: Places,
    /// By number, in order of their opening.
    pub(super) opened: BTreeMap<usize, Opened>,
    next_handle: usize,
    owner: (u32, u32),
    paused_seconds: u64,
}

/// How long a writer leaves a version alone before that gets a file of its own.
const IDLE_SECONDS: u64 = 30;

/// The root directory.
pub(super) const ROOT: Id = 0;

impl Model {
    /// An empty tree, whose things belong to `owner`.
    #[must_use]
    pub fn new(owner: (u32, u32)) -> Self {
        Self {
            inodes: vec![Inode::new(What::Directory, 0o755, owner)],
            places: Places::default(),
            opened: BTreeMap::new(),
            next_handle: 0,
            owner,
            paused_seconds: 0,
        }
    }

    /// Returns every directory, parents first.
    pub(super) fn directories(&self) -> Vec<Id> {
        let mut found = vec![ROOT];
        let mut next = 0;
        while let Some(directory) = found.get(next).copied() {
            let listed = self.places.list(directory).into_iter().map(|(_, inode)| inode);
            found.extend(listed.filter(|inode| self.inodes[*inode].is_directory()));
            next += 1;
        }
        found
    }

    /// Returns the directory that is meant.
    pub(super) fn directory(&self, at: &At) -> Id {
        let directories = self.directories();
        directories[at.directory % directories.len()]
    }

    /// Returns the path that is meant.
    pub(super) fn path(&self, at: &At) -> PathBuf {
        self.places.path(self.directory(at)).join(at.name)
    }

    pub(super) fn find(&self, at: &At) -> Option<Id> {
        self.places.find(self.directory(at), at.name).map(|edge| self.places.inode(edge))
    }

    fn require(&self, at: &At) -> Answer<Id> {
        self.find(at).ok_or_else(|| Refusal(vec![libc::ENOENT]))
    }

    fn require_edge(&self, at: &At) -> Answer<usize> {
        self.places.find(self.directory(at), at.name).ok_or_else(|| Refusal(vec![libc::ENOENT]))
    }

    fn require_file(&mut self, at: &At) -> Answer<Id> {
        let id = self.require(at)?;
        if self.inodes[id].is_directory() { refuse(libc::EISDIR) } else { Ok(id) }
    }

    pub(super) fn file(&mut self, id: Id) -> &mut File {
        self.inodes[id].file_mut().expect("only files are opened")
    }

    pub(super) fn is_named(&self, id: Id) -> bool {
        self.links(id) > 0
    }

    /// Counts links as `st_nlink` does.
    pub(super) fn links(&self, id: Id) -> usize {
        let links = self.places.links(id);
        if !self.inodes[id].is_directory() {
            return links;
        }
        let listed = self.places.list(id);
        2 + listed.iter().filter(|(_, below)| self.inodes[*below].is_directory()).count()
    }

    fn add(&mut self, at: &At, what: What, mode: u32) -> Id {
        let parent = self.directory(at);
        let above = &self.inodes[parent];
        let passes_group_on = above.mode & S_ISGID != 0;
        let gid = if passes_group_on { above.gid } else { self.owner.1 };
        let is_directory = matches!(what, What::Directory);
        let bit = if passes_group_on && is_directory { S_ISGID } else { 0 };
        self.inodes.push(Inode::new(what, mode | bit, (self.owner.0, gid)));
        let id = self.inodes.len() - 1;
        self.places.add(id, parent, at.name);
        self.touch(parent);
        id
    }

    /// Notes that the modification time of an inode is not what somebody set.
    fn touch(&mut self, id: Id) {
        self.inodes[id].mtime_ns = None;
    }

    fn open(&mut self, inode: Id, role: Role) -> usize {
        self.next_handle += 1;
        self.opened.insert(self.next_handle, Opened { inode, role });
        self.next_handle
    }

    pub(super) fn create(&mut self, at: &At, mode: u32, role: Role) -> Answer<usize> {
        if self.find(at).is_some() {
            return refuse(libc::EEXIST);
        }
        let id = self.add(at, What::File(File::created()), mode);
        Ok(self.open(id, role))
    }

    pub(super) fn make(&mut self, at: &At, made: Made, mode: u32) -> Answer<()> {
        if self.find(at).is_some() {
            return refuse(libc::EEXIST);
        }
        self.add(at, What::made(made), made.mode(mode));
        Ok(())
    }

    pub(super) fn link(&mut self, from: &At, to: &At) -> Answer<()> {
        let id = self.require(from)?;
        let mut broken = vec![];
        if self.inodes[id].is_directory() {
            broken.push(libc::EPERM);
        }
        if self.find(to).is_some() {
            broken.push(libc::EEXIST);
        }
        if !broken.is_empty() {
            return Err(Refusal(broken));
        }
        let parent = self.directory(to);
        self.places.add(id, parent, to.name);
        self.touch(parent);
        Ok(())
    }

    pub(super) fn unlink(&mut self, at: &At) -> Answer<()> {
        let edge = self.require_edge(at)?;
        if self.inodes[self.places.inode(edge)].is_directory() {
            return refuse(libc::EISDIR);
        }
        self.touch(self.directory(at));
        self.places.remove(edge);
        Ok(())
    }

    pub(super) fn rmdir(&mut self, at: &At) -> Answer<()> {
        let edge = self.require_edge(at)?;
        let id = self.places.inode(edge);
        if !self.inodes[id].is_directory() {
            return refuse(libc::ENOTDIR);
        }
        if !self.places.list(id).is_empty() {
            return refuse(libc::ENOTEMPTY);
        }
        self.touch(self.directory(at));
        self.places.remove(edge);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &At, to: &At, mode: RenameMode) -> Answer<()> {
        let (source, target) = (self.directory(from), self.directory(to));
        let one = self.places.find(source, from.name);
        let other = self.places.find(target, to.name);
        let mut broken = vec![];
        if one.is_none() || (mode == RenameMode::Exchange && other.is_none()) {
            broken.push(libc::ENOENT);
        }
        if mode == RenameMode::NoReplace && other.is_some() {
            broken.push(libc::EEXIST);
        }
        let mover = one.map(|edge| self.places.inode(edge));
        let there = other.map(|edge| self.places.inode(edge));
        if mover.is_some_and(|id| self.places.is_within(target, id)) {
            broken.push(libc::EINVAL);
        }
        if there.is_some_and(|id| self.places.is_within(source, id)) {
            let swaps = mode == RenameMode::Exchange;
            broken.push(if swaps { libc::EINVAL } else { libc::ENOTEMPTY });
        }
        if let (RenameMode::Replace, Some(mover), Some(there)) = (mode, mover, there)
            && mover != there
        {
            broken.extend(self.irreplaceable(mover, there));
        }
        if !broken.is_empty() {
            return Err(Refusal(broken));
        }
        let one = one.expect("refused otherwise");
        if mover == there {
            return Ok(());
        }
        self.touch(source);
        self.touch(target);
        match (mode, other) {
            (RenameMode::Exchange, Some(other)) => self.places.exchange(one, other),
            (_, Some(other)) => {
                self.places.remove(other);
                self.places.hang(one, (target, to.name), there);
            }
            (_, None) => self.places.hang(one, (target, to.name), None),
        }
        Ok(())
    }

    fn irreplaceable(&self, mover: Id, there: Id) -> Option<i32> {
        match (self.inodes[mover].is_directory(), self.inodes[there].is_directory()) {
            (true, false) => Some(libc::ENOTDIR),
            (false, true) => Some(libc::EISDIR),
            (true, true) if !self.places.list(there).is_empty() => Some(libc::ENOTEMPTY),
            _ => None,
        }
    }

    pub(super) fn open_read(&mut self, at: &At) -> Answer<usize> {
        let id = self.require_file(at)?;
        let version = self.file(id).published().clone();
        Ok(self.open(id, Role::Reader(version)))
    }

    pub(super) fn open_write(&mut self, at: &At, role: Role, truncate: bool) -> Answer<usize> {
        let id = self.require_file(at)?;
        self.file(id).join();
        if truncate {
            self.touch(id);
            self.file(id).resize(0);
        }
        Ok(self.open(id, role))
    }

    /// Writes as a handle does, and says where.
    pub(super) fn write(&mut self, handle: usize, offset: usize, data: &[u8]) -> usize {
        let Opened { inode, role } = &self.opened[&handle];
        let (id, Role::Writer { append, sync }) = (*inode, role) else {
            panic!("only writers are asked to write")
        };
        let (append, sync) = (*append, *sync);
        let at = if append { self.file(id).bytes().len() } else { offset };
        if !data.is_empty() {
            self.touch(id);
        }
        self.file(id).write(at, data);
        if sync {
            self.file(id).fsync();
        }
        at
    }

    pub(super) fn resize(&mut self, id: Id, size: usize) {
        self.touch(id);
        self.file(id).resize(size);
    }

    pub(super) fn resize_path(&mut self, at: &At, size: usize) -> Answer<()> {
        let id = self.require_file(at)?;
        self.file(id).join();
        self.resize(id, size);
        let named = self.is_named(id);
        self.file(id).publish(named);
        self.file(id).leave(named);
        Ok(())
    }

    pub(super) fn allocate(&mut self, id: Id, mode: Allocate, offset: usize, len: usize) {
        self.touch(id);
        let end = offset + len;
        let file = self.file(id);
        match mode {
            Allocate::Extend => file.zero(end, end, end),
            Allocate::KeepSize => file.zero(0, 0, 0),
            Allocate::PunchHole | Allocate::ZeroRangeKeepSize => file.zero(offset, end, 0),
            Allocate::ZeroRange => file.zero(offset, end, end),
        }
    }

    pub(super) fn flush(&mut self, id: Id) {
        let named = self.is_named(id);
        self.file(id).publish(named);
    }

    pub(super) fn release(&mut self, handle: usize) {
        let Opened { inode, role } = self.opened.remove(&handle).expect("it was open");
        if let Role::Writer { .. } = role {
            let named = self.is_named(inode);
            self.file(inode).publish(named);
            self.file(inode).leave(named);
        }
    }

    /// Returns the bytes that a handle reads.
    pub(super) fn handle_bytes(&self, handle: usize) -> Vec<u8> {
        let Opened { inode, role } = &self.opened[&handle];
        match role {
            Role::Reader(version) => version.bytes.to_vec(),
            Role::Writer { .. } => self.inodes[*inode].file().expect("a file").bytes().to_vec(),
        }
    }

    pub(super) fn chmod(&mut self, at: &At, mode: u32) -> Answer<()> {
        let id = self.require(at)?;
        self.inodes[id].mode = mode;
        Ok(())
    }

    pub(super) fn chown(&mut self, at: &At, uid: Option<u32>, gid: Option<u32>) -> Answer<()> {
        let id = self.require(at)?;
        let inode = &mut self.inodes[id];
        inode.uid = uid.unwrap_or(inode.uid);
        inode.gid = gid.unwrap_or(inode.gid);
        if !inode.is_directory() {
            let group = if inode.mode & S_IXGRP == 0 { 0 } else { S_ISGID };
            inode.mode &= !(S_ISUID | group);
        }
        Ok(())
    }

    pub(super) fn set_times(&mut self, at: &At, atime_ns: i64, mtime_ns: i64) -> Answer<()> {
        let id = self.require(at)?;
        self.inodes[id].atime_ns = Some(atime_ns);
        self.inodes[id].mtime_ns = Some(mtime_ns);
        Ok(())
    }

    pub(super) fn set_xattr(
        &mut self,
        at: &At,
        (name, value): (&str, &[u8]),
        edit: XattrEdit,
    ) -> Answer<()> {
        let id = self.require(at)?;
        let xattrs = &mut self.inodes[id].xattrs;
        match (edit, xattrs.contains_key(name.as_bytes())) {
            (XattrEdit::Create, true) => return refuse(libc::EEXIST),
            (XattrEdit::Replace, false) => return refuse(libc::ENODATA),
            _ => {}
        }
        xattrs.insert(name.into(), value.into());
        Ok(())
    }

    pub(super) fn remove_xattr(&mut self, at: &At, name: &str) -> Answer<()> {
        let id = self.require(at)?;
        match self.inodes[id].xattrs.remove(name.as_bytes()) {
            Some(_) => Ok(()),
            None => refuse(libc::ENODATA),
        }
    }

    pub(super) fn pause(&mut self, seconds: u64) {
        self.paused_seconds += seconds;
    }

    /// Settles everything that is published.
    pub(super) fn seal(&mut self) {
        // Only pauses move the clock.
        let idle = self.paused_seconds >= IDLE_SECONDS;
        for inode in &mut self.inodes {
            if let Some(file) = inode.file_mut() {
                file.settle_all(idle);
            }
        }
    }

    /// Loses what a crash loses.
    pub(super) fn crash(&mut self, power_cut: bool) {
        self.opened.clear();
        let mut gone = vec![];
        for (id, inode) in self.inodes.iter_mut().enumerate() {
            // Times that were set on a draft went with it; a withdrawal touches directories.
            let is_touched = power_cut || inode.file().is_some_and(File::has_line);
            if is_touched {
                inode.mtime_ns = None;
                inode.atime_ns = None;
            }
            if let Some(file) = inode.file_mut()
                && file.crash(power_cut) == After::Gone
            {
                gone.push(id);
            }
        }
        self.places.withdraw(|id| gone.contains(&id));
    }
}
