//! Extended attributes: `user.*`, and `trusted.*` for those the kernel lets through.

use tesfs_pathtree::{
    Ino,
    tree::{self, TreeError, XattrEdit},
};

use super::{Vfs, hidden};
use crate::{caller::Caller, error::FsError};

/// Longest name in bytes, as Linux has it.
const XATTR_NAME_BYTES_MAX: usize = 255;
/// Longest value in bytes, as Linux has it.
const XATTR_VALUE_BYTES_MAX: usize = 65_536;
/// Names below this tell what the filesystem knows, and can not be set.
const OWN_PREFIX: &[u8] = b"user.tesfs.";

impl Vfs {
    /// Returns a value: one that was set, or what is told of a file by a name below `user.tesfs.`.
    ///
    /// # Errors
    ///
    /// [`TreeError::XattrNotFound`], [`FsError::NotSupported`] for a namespace that is not kept.
    pub fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, FsError> {
        let missing = || TreeError::XattrNotFound { ino, name: name.into() };
        require_kept_namespace(name)?;
        if let Some(key) = name.strip_prefix(OWN_PREFIX) {
            return Ok(self.told(ino, key)?.ok_or_else(missing)?.into_bytes());
        }
        let Some((view, own)) = self.seen(ino)? else { return Err(missing().into()) };
        let value = self.db.glance(|conn| tree::xattr(conn, &view, own, name))?;
        Ok(value.ok_or_else(missing)?)
    }

    /// Returns the names that were set: what is told of a file is no part of it, and not copied.
    ///
    /// # Errors
    ///
    /// A failed query.
    pub fn list_xattrs(&self, ino: Ino) -> Result<Vec<Vec<u8>>, FsError> {
        let Some((view, own)) = self.seen(ino)? else { return Ok(Vec::new()) };
        Ok(self.db.glance(|conn| tree::xattr_names(conn, &view, own))?)
    }

    /// Sets a value.
    ///
    /// # Errors
    ///
    /// [`FsError::NotSupported`], [`FsError::TooLong`], [`TreeError::XattrExists`] and
    /// [`TreeError::XattrNotFound`] as `edit` says.
    pub fn set_xattr(
        &self,
        caller: &Caller,
        ino: Ino,
        (name, value): (&[u8], &[u8]),
        edit: XattrEdit,
    ) -> Result<(), FsError> {
        self.require_settable(ino, name)?;
        if name.len() > XATTR_NAME_BYTES_MAX {
            return Err(FsError::Invalid("the name of an extended attribute is too long"));
        }
        if value.len() > XATTR_VALUE_BYTES_MAX {
            return Err(FsError::TooLong { what: "a value", len_bytes: value.len() });
        }
        self.change(caller, |tx, operation| {
            tree::set_xattr(tx, &self.view, operation, ino, (name, value), edit)?;
            Ok(())
        })
    }

    /// Removes a value.
    ///
    /// # Errors
    ///
    /// [`TreeError::XattrNotFound`], [`FsError::NotSupported`].
    pub fn remove_xattr(&self, caller: &Caller, ino: Ino, name: &[u8]) -> Result<(), FsError> {
        self.require_settable(ino, name)?;
        self.change(caller, |tx, operation| {
            tree::remove_xattr(tx, &self.view, operation, ino, name)?;
            Ok(())
        })
    }

    fn require_settable(&self, ino: Ino, name: &[u8]) -> Result<(), FsError> {
        require_kept_namespace(name)?;
        if hidden::is_hidden(ino) {
            return Err(FsError::ReadOnly);
        }
        if name.starts_with(OWN_PREFIX) {
            return Err(FsError::NotPermitted(ino));
        }
        Ok(())
    }
}

/// Refuses what is not kept: access control lists would have to be enforced, and are not.
fn require_kept_namespace(name: &[u8]) -> Result<(), FsError> {
    if name.starts_with(b"user.") || name.starts_with(b"trusted.") {
        Ok(())
    } else {
        Err(FsError::NotSupported("this namespace of extended attributes"))
    }
}
