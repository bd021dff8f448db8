//! Gives what was imported the mode, owner, times and extended attributes of its source.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat};
use tesfs_fs::{AttributeChange, TimeChange};
use tesfs_pathtree::{Ino, tree::XattrEdit};

use super::{CopyIn, Stop, copy_in::unreadable, host};

impl CopyIn<'_> {
    /// Gives `ino` the mode, owner, times and extended attributes of its source.
    pub(super) fn keep_attributes(
        &mut self,
        ino: Ino,
        stat: &Stat,
        source: Option<BorrowedFd<'_>>,
    ) -> Result<(), Stop> {
        if let Some(source) = source {
            self.keep_xattrs(ino, source)?;
        }
        let symlink = host::kind(stat) == FileType::Symlink;
        let now = self.vfs.attributes(ino).map_err(|err| self.refused(err))?;
        let (uid, gid) = self.owner_of(stat);
        let mode = if symlink { now.mode } else { stat.st_mode & 0o7777 };
        if (now.mode, now.uid, now.gid) != (mode, uid, gid) {
            let rights = AttributeChange {
                mode: (!symlink).then_some(mode),
                uid: Some(uid),
                gid: Some(gid),
                ..AttributeChange::default()
            };
            self.vfs.set_attributes(&self.me, ino, &rights).map_err(|err| self.refused(err))?;
        }
        let (atime_ns, mtime_ns) = (host::atime_ns(stat), host::mtime_ns(stat));
        if now.mtime_ns != mtime_ns {
            // Times alone: they become part of the version that is published next.
            let times = AttributeChange {
                atime: Some(TimeChange::At(atime_ns)),
                mtime: Some(TimeChange::At(mtime_ns)),
                ..AttributeChange::default()
            };
            self.vfs.set_attributes(&self.me, ino, &times).map_err(|err| self.refused(err))?;
        }
        Ok(())
    }

    fn owner_of(&self, stat: &Stat) -> (u32, u32) {
        if self.root { (stat.st_uid, stat.st_gid) } else { (self.me.uid, self.me.gid) }
    }

    fn keep_xattrs(&mut self, ino: Ino, source: BorrowedFd<'_>) -> Result<(), Stop> {
        for name in host::xattr_names(source).map_err(unreadable)? {
            let Some(value) = host::xattr(source, &name).map_err(unreadable)? else { continue };
            let bytes = name.to_bytes();
            // The label of the place a file was in, not of the file.
            if bytes == b"security.selinux" {
                continue;
            }
            if let Err(err) = self.vfs.set_xattr(&self.me, ino, (bytes, &value), XattrEdit::Either)
            {
                let Stop::Skip(reason) = self.refused(err) else { continue };
                let name = name.to_string_lossy();
                self.left_out
                    .add(&self.path, format!("its attribute {name} was not kept: {reason}"));
            }
        }
        Ok(())
    }
}
