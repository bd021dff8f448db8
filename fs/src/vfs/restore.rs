//! Restoring: what was there before becomes a new version, and shares its bytes.

use std::collections::HashMap;

use tesfs_blobs::BlobState;
use tesfs_pathtree::{
    Ino, Name, OperationId, Stamp, Tx,
    tree::{
        self, AttributeEdit, Inode, NewContent, NewInode, NewOperation, TreeError, View, XattrEdit,
    },
};

use super::{Touched, Vfs};
use crate::{caller::Caller, error::FsError};

/// What is restored, and to where.
#[derive(Clone, Copy, Debug)]
pub struct Restore<'a> {
    /// How it was, in this or another bucket.
    pub from: &'a View,
    /// What it was.
    pub ino: Ino,
    /// From the root down; what is missing of the directories before the last is made.
    pub to: &'a [Name],
    /// A copy is made, else what was removed gets its name again, with its history.
    pub copy: bool,
}

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files (and whatever is no directory) that are as they were.
    pub files: u64,
    /// Directories that were made, or have their name again.
    pub directories: u64,
    /// Files that were that way already.
    pub unchanged: u64,
    /// Names in directories that something else has by now, and keeps.
    pub kept: u64,
}

impl Vfs {
    /// Makes a file or a whole directory what it was; one operation, and durable.
    ///
    /// Bytes are shared, not copied. What is there and is not what it was, or came to be later, is
    /// left alone: in a directory it keeps its name.
    ///
    /// # Errors
    ///
    /// - [`TreeError::EdgeExists`]: something else is at the destination.
    /// - [`TreeError::NotADirectory`]: or on the way to it.
    /// - [`FsError::ReadOnly`], [`FsError::Reserved`], [`TreeError::InodeGone`].
    /// - [`FsError::KeepsChanging`]: somebody is still writing to the very file of that version.
    pub fn restore(&self, caller: &Caller, what: &Restore<'_>) -> Result<Restored, FsError> {
        if self.options.read_only {
            return Err(FsError::ReadOnly);
        }
        if let [name, ..] = what.to {
            self.refuse_hidden(self.root(), name)?;
        }
        let (told, touched) = self.db.write_durable(|tx| {
            let who = format!("uid {}", caller.uid);
            let new = NewOperation { who: &who, what: "restore" };
            let operation = tree::store_operation(tx, &self.view, tx.next_stamp(), &new)?;
            let mut work = Work {
                vfs: self,
                tx,
                caller,
                operation,
                what: *what,
                again: HashMap::new(),
                made: Vec::new(),
                touched: Vec::new(),
                told: Restored::default(),
            };
            work.run()?;
            Ok::<_, FsError>((work.told, work.touched))
        })?;
        for one in &touched {
            self.announce(one);
        }
        Ok(told)
    }
}

/// A restore under way, inside its transaction.
struct Work<'a, 'tx> {
    vfs: &'a Vfs,
    tx: &'a Tx<'tx>,
    caller: &'a Caller,
    operation: OperationId,
    what: Restore<'a>,
    /// What has a name again, by what it was: a further hard link leads to the same.
    again: HashMap<Ino, Ino>,
    /// Directories that were made, with what they were: their times are set last.
    made: Vec<(Ino, Inode)>,
    touched: Vec<Touched>,
    told: Restored,
}

impl Work<'_, '_> {
    fn run(&mut self) -> Result<(), FsError> {
        let old = self.require_old(self.what.ino)?;
        let mut waiting = Vec::new();
        match self.what.to.split_last() {
            None => waiting.push((old.ino, self.vfs.root())),
            Some((name, above)) => {
                let parent = self.parent(above)?;
                let taken = || TreeError::EdgeExists { parent, name: name.clone() };
                // A copy is a new thing: nothing is mixed into what is there.
                if self.what.copy && tree::lookup(self.tx, &self.vfs.view, parent, name)?.is_some()
                {
                    return Err(taken().into());
                }
                let Some(below) = self.entry(&old, parent, name)? else {
                    return Err(taken().into());
                };
                waiting.extend(below);
            }
        }
        while let Some((directory, into)) = waiting.pop() {
            for child in tree::list(self.tx, self.what.from, directory)? {
                let old = self.require_old(child.ino)?;
                match self.entry(&old, into, &child.name)? {
                    Some(below) => waiting.extend(below),
                    None => self.told.kept += 1,
                }
            }
        }
        for (ino, old) in std::mem::take(&mut self.made).into_iter().rev() {
            self.attributes(ino, &old)?;
        }
        Ok(())
    }

    /// Restores one name; `None` where something else has it, else the directory whose names come
    /// next: what it was, and what it is.
    #[expect(clippy::option_option, reason = "kept, done, and done with more below")]
    fn entry(
        &mut self,
        old: &Inode,
        parent: Ino,
        name: &Name,
    ) -> Result<Option<Option<(Ino, Ino)>>, FsError> {
        let (tx, view) = (self.tx, &self.vfs.view);
        let below = |ino| old.is_directory().then_some((old.ino, ino));
        if let Some(there) = tree::lookup(tx, view, parent, name)? {
            if old.is_directory() && there.is_directory() {
                return Ok(Some(below(there.ino)));
            }
            let is_same = !self.what.copy
                && there.is_file() == old.is_file()
                && tree::succeeds(tx, view, there.ino, old.ino)?;
            if !is_same {
                return Ok(None);
            }
            let changed = self.content(there.ino, old, None)? | self.attributes(there.ino, old)?;
            *(if changed { &mut self.told.files } else { &mut self.told.unchanged }) += 1;
            self.again.insert(old.ino, there.ino);
            return Ok(Some(None));
        }
        let into = tree::inode(tx, view, parent)?.ok_or(TreeError::InodeGone(parent))?;
        let ino = self.hang(old, &into, name)?;
        self.touched.push(Touched::Entry { parent, name: name.clone() });
        self.touched.push(Touched::Inode(parent));
        if old.is_directory() {
            self.told.directories += 1;
            self.made.push((ino, old.clone()));
        } else {
            self.told.files += 1;
        }
        Ok(Some(below(ino)))
    }

    /// Gives what was there its name again, or makes a copy of it where it has another one by now.
    fn hang(&mut self, old: &Inode, parent: &Inode, name: &Name) -> Result<Ino, FsError> {
        let (tx, view, operation) = (self.tx, &self.vfs.view, self.operation);
        if let Some(again) = self.again.get(&old.ino).filter(|_| !old.is_directory()) {
            return Ok(tree::link(tx, view, operation, *again, parent, name)?.ino);
        }
        let now = match self.what.copy {
            true => None,
            false => tree::inode(tx, view, old.ino)?,
        };
        let ino = match now {
            Some(now) if now.nlink == 0 => {
                tree::relink(tx, view, operation, now.ino, parent, name)?;
                self.content(now.ino, old, None)?;
                now.ino
            }
            // It lost one of its names, and nothing else.
            Some(now) if old.nlink > now.nlink && !old.is_directory() => {
                tree::link(tx, view, operation, now.ino, parent, name)?.ino
            }
            _ => self.copy(old, parent, name)?,
        };
        self.again.insert(old.ino, ino);
        if !old.is_directory() {
            self.attributes(ino, old)?;
        }
        Ok(ino)
    }

    fn copy(&mut self, old: &Inode, parent: &Inode, name: &Name) -> Result<Ino, FsError> {
        let symlink = tree::symlink_target(self.tx, old.ino)?;
        let new = NewInode {
            mode: old.mode,
            uid: old.attr.uid,
            gid: old.attr.gid,
            rdev: old.attr.rdev,
            symlink: symlink.as_deref(),
        };
        let made = tree::create(self.tx, &self.vfs.view, self.operation, parent, name, &new)?;
        self.content(made.ino, old, Some(made.content))?;
        Ok(made.ino)
    }

    /// Publishes the bytes a file had, in place of a version that was its `own` until now; says
    /// whether it had others.
    fn content(&mut self, ino: Ino, old: &Inode, own: Option<Stamp>) -> Result<bool, FsError> {
        let now = self.require(ino)?;
        if !old.is_file() || (now.blob, now.size) == (old.blob, old.size) {
            return Ok(false);
        }
        if let Some(blob) = old.blob {
            let row = self.vfs.store.row(self.tx, blob)?;
            // Whoever has it open may still write into that file.
            let is_draft = row.is_some_and(|row| row.state == BlobState::Draft);
            if is_draft && self.vfs.has_writers(old.ino) {
                return Err(FsError::KeepsChanging(blob));
            }
            self.vfs.store.add_reference(self.tx, blob)?;
        }
        let content =
            NewContent { size: old.size, blob: old.blob, mtime_ns: old.mtime_ns(), ctime_ns: None };
        let published = tree::publish(self.tx, &self.vfs.view, self.operation, ino, &content, own)?;
        if let Some(dropped) = published.dropped {
            self.vfs.store.drop_reference(self.tx, dropped)?;
        }
        self.touched.push(Touched::Inode(ino));
        Ok(true)
    }

    /// Sets the attributes to what they were; says whether they were others.
    fn attributes(&mut self, ino: Ino, old: &Inode) -> Result<bool, FsError> {
        let (tx, view, operation) = (self.tx, &self.vfs.view, self.operation);
        let now = self.require(ino)?;
        let (permissions, mtime_ns) = (old.mode & 0o7777, old.mtime_ns());
        let edit = AttributeEdit {
            permissions: (now.mode & 0o7777 != permissions).then_some(permissions),
            uid: (now.attr.uid != old.attr.uid).then_some(old.attr.uid),
            gid: (now.attr.gid != old.attr.gid).then_some(old.attr.gid),
            atime_ns: None,
            mtime_ns: (now.mtime_ns() != mtime_ns).then_some(mtime_ns),
        };
        let mut changed = !edit.is_empty();
        if changed {
            tree::set_attributes(tx, view, operation, ino, &edit)?;
        }
        let were = tree::xattr_names(tx, self.what.from, old.ino)?;
        for name in tree::xattr_names(tx, view, ino)? {
            if !were.contains(&name) {
                tree::remove_xattr(tx, view, operation, ino, &name)?;
                changed = true;
            }
        }
        for name in were {
            let value = tree::xattr(tx, self.what.from, old.ino, &name)?;
            if let Some(value) = value
                && tree::xattr(tx, view, ino, &name)?.as_ref() != Some(&value)
            {
                tree::set_xattr(tx, view, operation, ino, (&name, &value), XattrEdit::Either)?;
                changed = true;
            }
        }
        if changed {
            self.touched.push(Touched::Inode(ino));
        }
        Ok(changed)
    }

    /// Returns the directory at `names`; what is missing gets its name again, or is made.
    fn parent(&mut self, names: &[Name]) -> Result<Ino, FsError> {
        let (tx, view) = (self.tx, &self.vfs.view);
        let (mut at, mut was) = (self.require(view.root)?, Some(self.what.from.root));
        for name in names {
            let old = match was.filter(|_| !self.what.copy) {
                Some(was) => tree::lookup(tx, self.what.from, was, name)?,
                None => None,
            };
            let old = old.filter(Inode::is_directory);
            was = old.as_ref().map(|old| old.ino);
            if let Some(there) = tree::lookup(tx, view, at.ino, name)? {
                if !there.is_directory() {
                    return Err(TreeError::NotADirectory(there.ino).into());
                }
                at = there;
                continue;
            }
            let parent = at.ino;
            let ino = match old {
                Some(old) => {
                    let ino = self.hang(&old, &at, name)?;
                    self.made.push((ino, old));
                    ino
                }
                None => {
                    let directory = crate::attributes::MakeInode::Directory;
                    let new = self.vfs.new_inode(self.caller, &at, &directory, 0o755)?;
                    tree::create(tx, view, self.operation, &at, name, &new)?.ino
                }
            };
            self.told.directories += 1;
            self.touched.push(Touched::Entry { parent, name: name.clone() });
            self.touched.push(Touched::Inode(parent));
            at = self.require(ino)?;
        }
        Ok(at.ino)
    }

    fn require(&self, ino: Ino) -> Result<Inode, FsError> {
        Ok(tree::inode(self.tx, &self.vfs.view, ino)?.ok_or(TreeError::InodeGone(ino))?)
    }

    fn require_old(&self, ino: Ino) -> Result<Inode, FsError> {
        Ok(tree::inode(self.tx, self.what.from, ino)?.ok_or(TreeError::InodeGone(ino))?)
    }
}
