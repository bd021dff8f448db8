//! One component of a path, as bytes.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef},
};

/// Longest name in bytes: what Linux allows and every common filesystem keeps.
pub const NAME_BYTES_MAX: usize = 255;

/// The name of an edge: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
///
/// Names are bytes: nothing is normalised, folded or decoded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

/// Why some bytes are no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all.
    #[error("a name can not be empty")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("a name of {len_bytes} bytes is too long (at most {NAME_BYTES_MAX})")]
    TooLong {
        /// How many there were.
        len_bytes: usize,
    },
    /// A `/` or a NUL.
    #[error("a name can not contain '/' or NUL")]
    BadByte,
    /// `.` or `..`, which mean directories and name nothing.
    #[error("'.' and '..' are not names")]
    Dots,
}

impl Name {
    /// Checks `name` and keeps it.
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule is broken.
    pub fn parse(name: &OsStr) -> Result<Self, NameError> {
        Self::from_bytes(name.as_bytes())
    }

    /// Checks raw bytes and keeps them; see [`Name::parse`].
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule is broken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        match bytes {
            [] => Err(NameError::Empty),
            [b'.'] | [b'.', b'.'] => Err(NameError::Dots),
            _ if bytes.len() > NAME_BYTES_MAX => Err(NameError::TooLong { len_bytes: bytes.len() }),
            _ if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(NameError::BadByte),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the name as the operating system takes it.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// Returns an owned copy as the operating system takes it.
    pub fn to_os_string(&self) -> OsString {
        OsString::from_vec(self.0.to_vec())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_os_str().fmt(f)
    }
}

impl ToSql for Name {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.as_bytes()))
    }
}

impl FromSql for Name {
    /// Rows were checked when they were written; bytes that are no name are still kept whole.
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_blob().map(|bytes| Self(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_any_bytes_but_slash_and_nul() {
        assert!(Name::from_bytes(b"\xff\xfe").is_ok());
        assert!(Name::from_bytes("🗻".as_bytes()).is_ok());
        assert!(Name::from_bytes(&[b'a'; 255]).is_ok());
        assert_eq!(Name::from_bytes(&[b'a'; 256]), Err(NameError::TooLong { len_bytes: 256 }));
        assert_eq!(Name::from_bytes(b""), Err(NameError::Empty));
        assert_eq!(Name::from_bytes(b".."), Err(NameError::Dots));
        assert_eq!(Name::from_bytes(b"a/b"), Err(NameError::BadByte));
        assert_eq!(Name::from_bytes(b"a\0b"), Err(NameError::BadByte));
    }
}
