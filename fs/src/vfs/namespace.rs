//! Names: looking up, making, linking, moving, removing, listing.

use tesfs_pathtree::{
    Ino, Name, Tx,
    tree::{self, Inode, NewInode, TreeError},
};

use super::{Vfs, hidden};
use crate::{
    attributes::{Attributes, DirectoryEntry, FileKind, MakeInode, RenameMode},
    caller::Caller,
    error::FsError,
};

/// Set-group-id: on a directory, what is made in it gets its group.
const S_ISGID: u32 = 0o2000;
/// Longest target of a symbolic link in bytes, as Linux has it.
const TARGET_BYTES_MAX: usize = 4095;

impl Vfs {
    /// Returns the attributes of what `name` leads to in `parent`.
    ///
    /// # Errors
    ///
    /// [`TreeError::EdgeNotFound`] and failures of the database.
    pub fn lookup(
        &self,
        _caller: &Caller,
        parent: Ino,
        name: &Name,
    ) -> Result<Attributes, FsError> {
        if hidden::is_hidden(parent) || self.is_reserved(parent, name) {
            return self.hidden_lookup(parent, name);
        }
        self.live_attributes(|| {
            let found = self.db.glance(|conn| tree::lookup(conn, &self.view, parent, name))?;
            Ok(found.ok_or_else(|| TreeError::EdgeNotFound { parent, name: name.clone() })?)
        })
    }

    /// Returns the directory that an inode's first name is in; the root is its own.
    ///
    /// # Errors
    ///
    /// [`TreeError::InodeGone`].
    pub fn parent(&self, ino: Ino) -> Result<Ino, FsError> {
        if hidden::is_hidden(ino) {
            return self.hidden_parent(ino);
        }
        let inode = self.require_inode(ino)?;
        Ok(if inode.parent == Ino(0) { self.root() } else { inode.parent })
    }

    /// Returns where a symbolic link points.
    ///
    /// # Errors
    ///
    /// [`FsError::NotASymlink`].
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>, FsError> {
        let (_, own) = self.seen(ino)?.ok_or(FsError::NotASymlink(ino))?;
        self.db.glance(|conn| tree::symlink_target(conn, own))?.ok_or(FsError::NotASymlink(ino))
    }

    /// Makes something in `parent`, under `name`, owned by the caller.
    ///
    /// # Errors
    ///
    /// [`TreeError::EdgeExists`], [`FsError::Reserved`], [`FsError::TooLong`].
    pub fn make(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &Name,
        what: &MakeInode,
        mode: u32,
    ) -> Result<Attributes, FsError> {
        self.refuse_hidden(parent, name)?;
        self.change(caller, |tx, operation| {
            let parent = self.require_directory(tx, parent)?;
            let new = self.new_inode(caller, &parent, what, mode)?;
            let made = tree::create(tx, &self.view, operation, &parent, name, &new)?;
            Ok(Attributes::from(&made))
        })
    }

    /// Fills in what a new inode begins with: the caller's, or what its directory passes on.
    pub(super) fn new_inode<'a>(
        &self,
        caller: &Caller,
        parent: &Inode,
        what: &'a MakeInode,
        mode: u32,
    ) -> Result<NewInode<'a>, FsError> {
        let symlink = match what {
            MakeInode::Symlink(target) if target.len() > TARGET_BYTES_MAX => {
                return Err(FsError::TooLong { what: "a target", len_bytes: target.len() });
            }
            MakeInode::Symlink(target) => Some(target.as_slice()),
            _ => None,
        };
        let passes_group_on = parent.mode & S_ISGID != 0;
        let keeps_bit = passes_group_on && what.kind() == FileKind::Directory;
        let bits = mode & 0o7777 | if keeps_bit { S_ISGID } else { 0 };
        Ok(NewInode {
            mode: what.kind().mode_bits() | bits,
            uid: caller.uid,
            gid: if passes_group_on { parent.attr.gid } else { caller.gid },
            rdev: what.rdev(),
            symlink,
        })
    }

    /// Makes a further hard link to `ino`.
    ///
    /// # Errors
    ///
    /// [`TreeError::EdgeExists`], [`FsError::NotPermitted`] for a directory,
    /// [`TreeError::TooManyLinks`], [`FsError::Elsewhere`].
    pub fn link(
        &self,
        caller: &Caller,
        ino: Ino,
        parent: Ino,
        name: &Name,
    ) -> Result<Attributes, FsError> {
        self.refuse_hidden(parent, name)?;
        if hidden::is_hidden(ino) {
            return Err(FsError::Elsewhere(ino));
        }
        let linked = self.change(caller, |tx, operation| {
            let parent = self.require_directory(tx, parent)?;
            match tree::link(tx, &self.view, operation, ino, &parent, name) {
                Err(TreeError::IsADirectory(ino)) => Err(FsError::NotPermitted(ino)),
                other => Ok(other?),
            }
        })?;
        self.attributes(linked.ino)
    }

    /// Removes a name that does not lead to a directory.
    ///
    /// # Errors
    ///
    /// [`TreeError::EdgeNotFound`], [`TreeError::IsADirectory`].
    pub fn unlink(&self, caller: &Caller, parent: Ino, name: &Name) -> Result<(), FsError> {
        self.refuse_hidden(parent, name)?;
        self.delete(caller, |tx, operation| {
            let left =
                tree::unlink(tx, &self.view, operation, parent, name, |ino| self.is_held(ino))?;
            for blob in left.dropped {
                self.store.drop_reference(tx, blob)?;
            }
            self.note_unlinked(left.ino, left.nlink);
            Ok(())
        })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// [`TreeError::EdgeNotFound`], [`TreeError::NotADirectory`],
    /// [`TreeError::DirectoryNotEmpty`].
    pub fn rmdir(&self, caller: &Caller, parent: Ino, name: &Name) -> Result<(), FsError> {
        self.refuse_hidden(parent, name)?;
        self.delete(caller, |tx, operation| {
            tree::remove_directory(tx, &self.view, operation, parent, name)?;
            Ok(())
        })
    }

    /// Moves `name` of `parent` to `new_name` of `new_parent`, atomically.
    ///
    /// # Errors
    ///
    /// As [`tree::rename`] and [`tree::exchange`]; [`TreeError::EdgeExists`] with
    /// [`RenameMode::NoReplace`].
    pub fn rename(
        &self,
        caller: &Caller,
        (parent, name): (Ino, &Name),
        (new_parent, new_name): (Ino, &Name),
        mode: RenameMode,
    ) -> Result<(), FsError> {
        self.refuse_hidden(parent, name)?;
        self.refuse_hidden(new_parent, new_name)?;
        self.change(caller, |tx, operation| {
            let to = self.require_directory(tx, new_parent)?;
            match mode {
                RenameMode::Exchange => {
                    tree::exchange(tx, &self.view, operation, (parent, name), (&to, new_name))?;
                    return Ok(());
                }
                RenameMode::NoReplace => self.require_free(tx, new_parent, new_name)?,
                RenameMode::Replace => {}
            }
            let renamed = tree::rename(tx, &self.view, operation, (parent, name), (&to, new_name))?;
            if let Some((replaced, nlink)) = renamed.replaced {
                self.note_unlinked(replaced, nlink);
            }
            Ok(())
        })
    }

    /// Returns the names in a directory, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// [`TreeError::NotADirectory`], [`TreeError::InodeGone`].
    pub fn list(&self, directory: Ino) -> Result<Vec<DirectoryEntry>, FsError> {
        if hidden::is_hidden(directory) {
            return self.hidden_list(directory);
        }
        let listed = self.db.read(|conn| tree::list(conn, &self.view, directory))?;
        Ok(listed
            .into_iter()
            .map(|entry| DirectoryEntry {
                edge: entry.row.0,
                name: entry.name,
                ino: entry.ino,
                kind: FileKind::of_mode(entry.mode),
            })
            .collect())
    }

    /// Returns the names in a directory with the attributes of what they lead to.
    ///
    /// # Errors
    ///
    /// As [`Vfs::list`].
    pub fn list_with_attributes(
        &self,
        directory: Ino,
    ) -> Result<Vec<(DirectoryEntry, Attributes)>, FsError> {
        let entries = self.list(directory)?;
        let mut listed = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.attributes(entry.ino) {
                Ok(attributes) => listed.push((entry, attributes)),
                // Removed since the listing: it is no longer there to be shown.
                Err(FsError::Tree(TreeError::InodeGone(_))) => {}
                Err(err) => return Err(err),
            }
        }
        Ok(listed)
    }

    /// Returns every (directory, name) that leads to an inode.
    ///
    /// # Errors
    ///
    /// A failed query.
    pub fn names(&self, ino: Ino) -> Result<Vec<(Ino, Name)>, FsError> {
        Ok(self.db.glance(|conn| tree::names(conn, &self.view, ino))?)
    }

    fn require_free(&self, tx: &Tx<'_>, parent: Ino, name: &Name) -> Result<(), FsError> {
        match tree::lookup(tx, &self.view, parent, name)? {
            Some(_) => Err(TreeError::EdgeExists { parent, name: name.clone() }.into()),
            None => Ok(()),
        }
    }

    /// Remembers an inode that lost its last name while it is open.
    fn note_unlinked(&self, ino: Ino, nlink: u32) {
        if nlink == 0 {
            let mut holds = self.lock_holds();
            if holds.handles.contains_key(&ino) {
                holds.unlinked.insert(ino);
            }
        }
    }

    fn is_reserved(&self, parent: Ino, name: &Name) -> bool {
        parent == self.root() && name.as_bytes() == hidden::NAME
    }

    pub(super) fn refuse_hidden(&self, parent: Ino, name: &Name) -> Result<(), FsError> {
        if self.is_reserved(parent, name) {
            Err(FsError::Reserved)
        } else if hidden::is_hidden(parent) {
            Err(FsError::ReadOnly)
        } else {
            Ok(())
        }
    }
}
