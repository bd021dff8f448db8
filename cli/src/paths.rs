//! Where things are: the data directory, the configuration file, and paths made absolute.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

use directories::BaseDirs;
use rustix::{
    fs::{Access, access, statvfs},
    io::Errno,
};

/// Name of the node database inside the data directory.
pub(crate) const DATABASE: &str = "node.db";
/// Name of what SQLite has not merged into the node database yet.
const DATABASE_WAL: &str = "node.db-wal";
/// Folders with bytes that the node database knows of.
const BYTES: [&str; 4] = ["blobs", "drafts", "recovered", "quarantine"];
/// Name of the lock file; a directory that has one is a data directory.
pub(crate) const LOCK: &str = "lock";
/// Name of the control socket.
pub(crate) const SOCKET: &str = "control.sock";
/// Where a node in the background writes its log.
pub(crate) const LOG: &str = "tesfs.log";

const OWNER_ONLY: u32 = 0o700;

/// The directory a node keeps everything in: ours, private and writable once this exists.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

/// Why a directory cannot be a data directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error("there is no home directory to keep the data directory in")]
    NoHome,
    #[error("the data directory {path} is no directory")]
    NotADirectory { path: PathBuf },
    #[error("the data directory {path} belongs to user {owner}, not to you ({uid})")]
    NotYours { path: PathBuf, owner: u32, uid: u32 },
    #[error("{path} is not empty and is no data directory of tesfs")]
    Foreign { path: PathBuf },
    #[error("the data directory {path} is read-only")]
    ReadOnly { path: PathBuf },
    #[error("{path} is {state}, and the data directory has bytes that it knew of")]
    DatabaseGone { path: PathBuf, state: &'static str },
    #[error("the disk of the data directory {path} is full")]
    Full { path: PathBuf },
    #[error("you may not {doing} {path}")]
    NotAllowed { doing: &'static str, path: PathBuf },
    #[error("cannot {doing} {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl DataDirError {
    /// Says what `err` means for a data directory.
    pub(crate) fn from_io(doing: &'static str, path: &Path, err: io::Error) -> Self {
        let path = path.to_owned();
        match Errno::from_io_error(&err) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full { path },
            Some(Errno::ROFS) => Self::ReadOnly { path },
            Some(Errno::ACCESS | Errno::PERM) => Self::NotAllowed { doing, path },
            Some(Errno::NOTDIR) => Self::NotADirectory { path },
            _ => Self::Io { doing, path, source: err },
        }
    }
}

impl DataDir {
    /// Says where the data directory is: as given, else `$XDG_DATA_HOME/tesfs`.
    pub(crate) fn place(given: Option<&Path>) -> Result<PathBuf, DataDirError> {
        match given {
            Some(path) => Ok(absolute(path)),
            None => match BaseDirs::new() {
                Some(base) => Ok(base.data_dir().join("tesfs")),
                None => Err(DataDirError::NoHome),
            },
        }
    }

    /// Takes the directory that is at `path`, if there is one, without changing anything.
    pub(crate) fn existing(path: &Path) -> Result<Option<Self>, DataDirError> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(DataDirError::from_io("look at", path, err)),
        };
        if !found.is_dir() {
            return Err(DataDirError::NotADirectory { path: path.to_owned() });
        }
        let uid = rustix::process::geteuid().as_raw();
        if found.uid() != uid {
            return Err(DataDirError::NotYours { path: path.to_owned(), owner: found.uid(), uid });
        }
        let path =
            fs::canonicalize(path).map_err(|err| DataDirError::from_io("look at", path, err))?;
        Ok(Some(Self(path)))
    }

    /// Makes the directory at `path` if it is missing, private to this user, and checks that a
    /// node can live in it.
    pub(crate) fn prepare(path: &Path) -> Result<Self, DataDirError> {
        let dir = match Self::existing(path)? {
            Some(dir) => dir,
            None => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(OWNER_ONLY)
                    .create(path)
                    .map_err(|err| DataDirError::from_io("make", path, err))?;
                let gone = || DataDirError::NotADirectory { path: path.to_owned() };
                Self::existing(path)?.ok_or_else(gone)?
            }
        };
        dir.require_own_or_empty()?;
        dir.require_writable()?;
        dir.make_private()?;
        Ok(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Whether a database with data in it is there: on a full disk one can still be opened, but
    /// not made.
    fn has_database(&self) -> bool {
        self.join(DATABASE).exists()
    }

    fn require_own_or_empty(&self) -> Result<(), DataDirError> {
        if self.has_database() || self.join(LOCK).exists() {
            return Ok(());
        }
        let mut entries =
            fs::read_dir(&self.0).map_err(|err| DataDirError::from_io("read", &self.0, err))?;
        match entries.next() {
            None => Ok(()),
            Some(_) => Err(DataDirError::Foreign { path: self.0.clone() }),
        }
    }

    fn require_writable(&self) -> Result<(), DataDirError> {
        access(&self.0, Access::WRITE_OK | Access::READ_OK | Access::EXEC_OK)
            .map_err(|err| DataDirError::from_io("write to", &self.0, err.into()))?;
        if !self.has_database() && statvfs(&self.0).is_ok_and(|disk| disk.f_bavail == 0) {
            return Err(DataDirError::Full { path: self.0.clone() });
        }
        Ok(())
    }

    /// Refuses to begin a new database where an old one is gone: it would know of nothing that
    /// is kept here, and gc would delete it.
    pub(crate) fn require_database(&self) -> Result<(), DataDirError> {
        let path = self.join(DATABASE);
        let state = match fs::metadata(&path) {
            Ok(found) if found.len() > 0 => return Ok(()),
            Ok(_) => "empty",
            Err(err) if err.kind() == io::ErrorKind::NotFound => "missing",
            Err(err) => return Err(DataDirError::from_io("look at", &path, err)),
        };
        let wal = fs::metadata(self.join(DATABASE_WAL)).is_ok_and(|found| found.len() > 0);
        let has_bytes = |name: &&str| holds_files(&self.join(name));
        if wal || BYTES.iter().any(has_bytes) {
            return Err(DataDirError::DatabaseGone { path, state });
        }
        Ok(())
    }

    fn make_private(&self) -> Result<(), DataDirError> {
        let failed = |err| DataDirError::from_io("make private", &self.0, err);
        let mode = fs::metadata(&self.0).map_err(failed)?.mode() & 0o777;
        if mode != OWNER_ONLY {
            fs::set_permissions(&self.0, Permissions::from_mode(OWNER_ONLY)).map_err(failed)?;
        }
        Ok(())
    }
}

/// Whether there is a file in the folder or in one of its folders.
fn holds_files(dir: &Path) -> bool {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    entries(dir).any(|entry| {
        let path = entry.path();
        if path.is_dir() { entries(&path).next().is_some() } else { true }
    })
}

/// Says where the configuration is: as given, else `$XDG_CONFIG_HOME/tesfs/config.toml`.
pub(crate) fn config_file(given: Option<&Path>) -> Option<PathBuf> {
    match given {
        Some(path) => Some(absolute(path)),
        None => BaseDirs::new().map(|base| base.config_dir().join("tesfs").join("config.toml")),
    }
}

/// Makes `path` absolute: symlinks in its parent are followed, its last name is left alone (it
/// may not exist yet, or be a symlink that is meant itself).
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = without_dots(&path);
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => match fs::canonicalize(parent) {
            Ok(parent) => parent.join(name),
            Err(_) => path,
        },
        _ => path,
    }
}

/// Follows every symlink of `path` that exists; what does not exist yet is kept as it is written.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let path = absolute(path);
    let mut missing: Vec<OsString> = Vec::new();
    let mut upper = path.as_path();
    loop {
        if let Ok(mut found) = fs::canonicalize(upper) {
            found.extend(missing.iter().rev());
            return found;
        }
        match (upper.parent(), upper.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name.to_owned());
                upper = parent;
            }
            _ => return path,
        }
    }
}

/// Takes `.` out, and `..` together with the name before it when that is no symlink.
fn without_dots(path: &Path) -> PathBuf {
    if !path.components().any(|part| part == Component::ParentDir) {
        return path.components().collect();
    }
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean = fs::canonicalize(&clean).unwrap_or(clean);
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_data_directory_is_made_private() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&home.path().join("a/b/tesfs")).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, OWNER_ONLY);
    }

    #[test]
    fn an_empty_directory_becomes_private() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("open");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        DataDir::prepare(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, OWNER_ONLY);
    }

    #[test]
    fn a_directory_with_other_things_in_it_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(home.path().join("letter.txt"), "dear").unwrap();
        let err = DataDir::prepare(home.path()).unwrap_err();
        assert!(matches!(err, DataDirError::Foreign { .. }), "{err}");
        assert_eq!(fs::metadata(home.path()).unwrap().mode() & 0o777, 0o755);
    }

    #[test]
    fn a_file_is_no_data_directory() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(DataDir::prepare(&path), Err(DataDirError::NotADirectory { .. })));
        assert!(matches!(
            DataDir::prepare(&path.join("x")),
            Err(DataDirError::NotADirectory { .. })
        ));
    }

    #[test]
    fn paths_become_absolute_and_keep_a_last_symlink() {
        let home = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(home.path()).unwrap();
        std::os::unix::fs::symlink("/etc", home.join("link")).unwrap();
        assert_eq!(absolute(&home.join("link")), home.join("link"));
        assert_eq!(absolute(&home.join("./x/../y")), home.join("y"));
        assert_eq!(resolved(&home.join("link/new/file")), Path::new("/etc/new/file"));
    }
}
