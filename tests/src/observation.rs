use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A file as a name shows it: names with one inode number are one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub ino: u64,
    pub bytes: Vec<u8>,
}

/// What a directory tree shows: every file by its relative name.
pub type Observation = BTreeMap<String, Seen>;

/// Reads every file below `dir`; `None` if that is absent.
///
/// # Errors
///
/// Any failure to list or read: after a start, everything must be readable.
pub fn observe(dir: &Path) -> io::Result<Option<Observation>> {
    let mut found = Observation::new();
    if let Err(err) = fs::symlink_metadata(dir) {
        return if err.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(err) };
    }
    let mut waiting = vec![(String::new(), dir.to_path_buf())];
    while let Some((prefix, dir)) = waiting.pop() {
        for entry in fs::read_dir(&dir).map_err(|err| named(&dir, &err))? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                waiting.push((format!("{name}/"), entry.path()));
            } else {
                let bytes = fs::read(entry.path()).map_err(|err| named(&entry.path(), &err))?;
                let metadata = entry.metadata()?;
                if metadata.len() != u64::try_from(bytes.len()).unwrap_or(u64::MAX) {
                    let what = format!("{name}: {} of its {} bytes", bytes.len(), metadata.len());
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                }
                found.insert(name, Seen { ino: metadata.ino(), bytes });
            }
        }
    }
    Ok(Some(found))
}

fn named(path: &Path, err: &io::Error) -> io::Error {
    io::Error::new(err.kind(), format!("{}: {err}", path.display()))
}
