//! Who this node is: an ed25519 key that never leaves its data directory.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use ed25519_dalek::SigningKey;

/// Name of the key file in the data directory: 32 secret bytes, mode 0600.
const KEY_FILE: &str = "key";

/// A device's public key, which is its name to every other device.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceId(pub [u8; 32]);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({self})")
    }
}

/// The node's key pair.
pub struct Identity {
    key: SigningKey,
}

/// Why the node has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file is there and is no key.
    #[error("key file {path} holds {len_bytes} bytes, not 32")]
    NotAKey {
        /// Which file.
        path: PathBuf,
        /// What was found.
        len_bytes: usize,
    },
    /// Reading or writing failed.
    #[error("key file {path} could not be {doing}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system gave no randomness.
    #[error("no randomness for a new key: {0}")]
    NoRandomness(getrandom::Error),
}

impl Identity {
    /// Reads the key of `data_dir`, or makes one at the first start.
    ///
    /// The file is complete and on disk before it has its name, so a crash leaves no half key.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]; an existing file is never overwritten.
    pub fn open(data_dir: &Path) -> Result<Self, IdentityError> {
        let path = data_dir.join(KEY_FILE);
        let mut bytes = Vec::new();
        match OpenOptions::new().read(true).open(&path) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes).map_err(|source| IdentityError::Io {
                    path: path.clone(),
                    doing: "read",
                    source,
                })?;
                let secret = <[u8; 32]>::try_from(bytes.as_slice())
                    .map_err(|_| IdentityError::NotAKey { path, len_bytes: bytes.len() })?;
                Ok(Self { key: SigningKey::from_bytes(&secret) })
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => Self::create(data_dir, &path),
            Err(source) => Err(IdentityError::Io { path, doing: "read", source }),
        }
    }

    fn create(data_dir: &Path, path: &Path) -> Result<Self, IdentityError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(IdentityError::NoRandomness)?;
        let draft = data_dir.join("key.new");
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(&secret)?;
            file.sync_all()?;
            fs::rename(&draft, path)?;
            fs::File::open(data_dir)?.sync_all()
        };
        write().map_err(|source| IdentityError::Io {
            path: path.into(),
            doing: "written",
            source,
        })?;
        Ok(Self { key: SigningKey::from_bytes(&secret) })
    }

    /// Returns the public half.
    pub fn device(&self) -> DeviceId {
        DeviceId(self.key.verifying_key().to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::open(dir.path()).unwrap().device();
        assert_eq!(Identity::open(dir.path()).unwrap().device(), first);
        let mode = fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(KEY_FILE), b"short").unwrap();
        assert!(matches!(
            Identity::open(dir.path()),
            Err(IdentityError::NotAKey { len_bytes: 5, .. })
        ));
        assert_eq!(fs::read(dir.path().join(KEY_FILE)).unwrap(), b"short");
    }
}
