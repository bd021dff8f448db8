use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// What a directory tree shows: relative name of every file, and its bytes.
pub type Observation = BTreeMap<String, Vec<u8>>;

/// Reads every file below `dir`.
///
/// # Errors
///
/// Any failure to list or read: after a start, everything must be readable.
pub fn observe(dir: &Path) -> io::Result<Observation> {
    let mut found = Observation::new();
    let mut waiting = vec![(String::new(), dir.to_path_buf())];
    while let Some((prefix, dir)) = waiting.pop() {
        for entry in fs::read_dir(&dir).map_err(|err| named(&dir, &err))? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                waiting.push((format!("{name}/"), entry.path()));
            } else {
                let bytes = fs::read(entry.path()).map_err(|err| named(&entry.path(), &err))?;
                found.insert(name, bytes);
            }
        }
    }
    Ok(found)
}

fn named(path: &Path, err: &io::Error) -> io::Error {
    io::Error::new(err.kind(), format!("{}: {err}", path.display()))
}
