//! Attributes: what stat shows, and what chmod, chown, truncate and utimensat change.

use tesfs_blobs::Draft;
use tesfs_pathtree::{
    Ino,
    tree::{self, AttributeEdit, Inode, TreeError},
};

use super::{Vfs, hidden};
use crate::{
    attributes::{
        AttributeChange, Attributes, TimeChange, blocks_of, lends_privileges, without_privileges,
    },
    caller::Caller,
    error::FsError,
    line::Line,
    open_file::OpenWrite,
};

impl Vfs {
    /// Returns the attributes of an inode: of its live draft while it has writers, else of its
    /// published version.
    ///
    /// # Errors
    ///
    /// [`TreeError::InodeGone`].
    pub fn attributes(&self, ino: Ino) -> Result<Attributes, FsError> {
        if hidden::is_hidden(ino) {
            return self.hidden_attributes(ino);
        }
        self.live_attributes(|| self.require_inode(ino))
    }

    /// Changes attributes and returns them all.
    ///
    /// A new size is written to the inode's draft; where nobody has the file open for writing it
    /// is published at once.
    ///
    /// # Errors
    ///
    /// [`TreeError::InodeGone`], [`FsError::ReadOnly`], [`FsError::FileTooLarge`].
    pub fn set_attributes(
        &self,
        caller: &Caller,
        ino: Ino,
        change: &AttributeChange<'_>,
    ) -> Result<Attributes, FsError> {
        if hidden::is_hidden(ino) || self.options.read_only {
            return Err(FsError::ReadOnly);
        }
        if let Some(size) = change.size {
            self.resize(caller, ino, size, change)?;
        }
        let pending = self.keep_times_for_publish(ino, change)?;
        if !pending {
            self.edit(caller, ino, change)?;
        }
        self.attributes(ino)
    }

    /// Shows an inode as its writers see it; `read` reads its row.
    ///
    /// The row is read again when a line ended meanwhile: it may be of before that line's last
    /// publish, and the kernel would keep what it is told.
    pub(super) fn live_attributes(
        &self,
        read: impl Fn() -> Result<Inode, FsError>,
    ) -> Result<Attributes, FsError> {
        loop {
            let ends = self.lines.ends();
            let inode = read()?;
            if !inode.is_file() {
                return Ok(Attributes::from(&inode));
            }
            match self.lines.find(inode.ino) {
                Some(line) => {
                    if let Some(shown) = live(&inode, &line)? {
                        return Ok(shown);
                    }
                }
                None if self.lines.ends() == ends => return Ok(Attributes::from(&inode)),
                None => {}
            }
        }
    }

    fn resize(
        &self,
        caller: &Caller,
        ino: Ino,
        size: u64,
        change: &AttributeChange<'_>,
    ) -> Result<(), FsError> {
        if let Some(file) = change.file.filter(|file| file.is_writer()) {
            file.set_len(size)?;
        } else {
            let open = OpenWrite::default();
            let file = self.open_write(caller, ino, open)?;
            let resized = file.set_len(size).and_then(|()| file.flush().map(drop));
            file.release()?;
            resized?;
        }
        if change.kill_privileges {
            self.clear_privileges(caller, ino)?;
        }
        Ok(())
    }

    /// Takes set-user-id, and set-group-id where it grants, from a file that was written.
    pub(crate) fn clear_privileges(&self, caller: &Caller, ino: Ino) -> Result<(), FsError> {
        let mode = self.require_inode(ino)?.mode;
        let left = without_privileges(mode);
        if left == mode {
            return Ok(());
        }
        let edit = AttributeEdit { permissions: Some(left), ..AttributeEdit::default() };
        self.change(caller, |tx, operation| {
            tree::set_attributes(tx, &self.view, operation, ino, &edit)?;
            Ok(())
        })
    }

    /// Lets times that come alone wait for the publish of a dirty draft, in one transaction with
    /// it; says whether they do.
    fn keep_times_for_publish(
        &self,
        ino: Ino,
        change: &AttributeChange<'_>,
    ) -> Result<bool, FsError> {
        let times_only = change.mode.is_none() && change.uid.is_none() && change.gid.is_none();
        if !times_only || (change.atime.is_none() && change.mtime.is_none()) {
            return Ok(false);
        }
        let Some(line) = self.lines.find(ino) else { return Ok(false) };
        let mut state = line.lock();
        if state.has_ended || !state.is_dirty()? {
            return Ok(false);
        }
        let stamp = state.draft.as_ref().map(Draft::stamp).transpose()?;
        if let Some(atime) = change.atime {
            state.times.atime_ns = Some(self.time(atime));
        }
        if let Some(mtime) = change.mtime {
            state.times.mtime = Some((self.time(mtime), stamp));
        }
        state.times.changed_ns = Some(self.db.clock().now_ns());
        Ok(true)
    }

    fn edit(&self, caller: &Caller, ino: Ino, change: &AttributeChange<'_>) -> Result<(), FsError> {
        let mut edit = AttributeEdit {
            permissions: change.mode,
            uid: change.uid,
            gid: change.gid,
            atime_ns: change.atime.map(|time| self.time(time)),
            mtime_ns: change.mtime.map(|time| self.time(time)),
        };
        if edit.is_empty() {
            return Ok(());
        }
        let changed = self.change(caller, |tx, operation| {
            let inode = tree::inode(tx, &self.view, ino)?.ok_or(TreeError::InodeGone(ino))?;
            let owner_changes = edit.uid.is_some() || edit.gid.is_some();
            if owner_changes && edit.permissions.is_none() && !inode.is_directory() {
                let left = without_privileges(inode.mode);
                edit.permissions = (left != inode.mode).then_some(left);
            }
            Ok(tree::set_attributes(tx, &self.view, operation, ino, &edit)?)
        })?;
        if let Some(line) = self.lines.find(ino) {
            line.lock().lends_privileges = lends_privileges(changed.mode);
        }
        Ok(())
    }

    fn time(&self, to: TimeChange) -> i64 {
        match to {
            TimeChange::Now => self.db.clock().now_ns(),
            TimeChange::At(ns) => ns,
        }
    }
}

/// Shows an inode as the writers of its line see it, unless the line has ended.
fn live(inode: &Inode, line: &Line) -> Result<Option<Attributes>, FsError> {
    let state = line.lock();
    if state.has_ended {
        return Ok(None);
    }
    let mut shown = Attributes::from(inode);
    shown.size = state.size()?;
    shown.blocks = blocks_of(shown.size);
    if let Some(mtime_ns) = state.mtime_ns()? {
        shown.mtime_ns = mtime_ns;
        shown.ctime_ns = shown.ctime_ns.max(state.ctime_ns()?.unwrap_or(mtime_ns));
    }
    shown.atime_ns = state.times.atime_ns.unwrap_or(shown.atime_ns);
    Ok(Some(shown))
}
