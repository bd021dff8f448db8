//! The configuration file, and every default there is.
//!
//! Below cli nothing has a default: what is not written in the file is decided here, where the
//! operator reads it. `docs/CONFIG.md` says the same for people, and a test compares the two.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use tesfs_pathtree::{DbSettings, Synchronous};

use crate::suggest::nearest;

/// A configuration larger than this is a mistake, not a configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const KIB_PER_WAL_PAGE: u32 = 4;

/// What the operator decided, complete with defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) performance: Performance,
    pub(crate) mount: MountDefaults,
    pub(crate) shutdown: Shutdown,
    /// What `tesfs daemon` mounts.
    pub(crate) mounts: Vec<DaemonMount>,
}

/// `[performance]`: speed against memory and safety.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Performance {
    pub(crate) synchronous: SynchronousName,
    pub(crate) cache_kib: u32,
    pub(crate) mmap_mib: u32,
    pub(crate) busy_timeout_ms: u32,
    pub(crate) wal_mib_max: u32,
    pub(crate) readers_max: u32,
    /// From a close to the sync that makes it survive a power cut.
    pub(crate) settle_delay_ms: u32,
    /// Threads that answer the kernel, per mount; 0 takes one per CPU, at most 8.
    pub(crate) threads: u16,
}

impl Default for Performance {
    fn default() -> Self {
        Self {
            synchronous: SynchronousName::Normal,
            cache_kib: 32 * 1024,
            mmap_mib: 256,
            busy_timeout_ms: 10_000,
            wal_mib_max: 32,
            readers_max: 8,
            settle_delay_ms: 1000,
            threads: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SynchronousName {
    Normal,
    Full,
}

/// `[mount]`: what a mount does unless its command line says more.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MountDefaults {
    pub(crate) read_only: bool,
    pub(crate) allow_other: bool,
    pub(crate) shared_writes: bool,
    pub(crate) cached: bool,
}

/// `[shutdown]`: how a node ends.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shutdown {
    /// How long Ctrl-C and SIGTERM wait for open files before they take the folder away.
    pub(crate) wait_seconds: u32,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { wait_seconds: 10 }
    }
}

/// `[[mounts]]`: one folder of the daemon.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DaemonMount {
    pub(crate) bucket: Option<String>,
    pub(crate) dir: PathBuf,
    pub(crate) read_only: Option<bool>,
    pub(crate) allow_other: Option<bool>,
    pub(crate) shared_writes: Option<bool>,
    pub(crate) cached: Option<bool>,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the configuration {path} is larger than 1 MiB")]
    TooLarge { path: PathBuf },
    #[error("unknown key `{key}` in line {line} of {path}")]
    UnknownKey {
        path: PathBuf,
        line: usize,
        key: String,
        nearest: Option<String>,
        known: Vec<String>,
    },
    #[error("line {line} of {path}: {problem}")]
    Malformed { path: PathBuf, line: usize, problem: String },
    #[error("`{key}` in {path} is {value}, but must be {must}")]
    OutOfRange { path: PathBuf, key: &'static str, value: u64, must: &'static str },
}

impl Config {
    /// Reads the file at `path`; a missing file is the default, unless somebody `named` it.
    pub(crate) fn read(path: &Path, named: bool) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        match fs::metadata(path) {
            Ok(found) if found.len() > FILE_BYTES_MAX => {
                return Err(ConfigError::TooLarge { path: path.to_owned() });
            }
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound && !named => {
                return Ok(Self::default());
            }
            Err(err) => return Err(unreadable(err)),
        }
        Self::parse(&fs::read_to_string(path).map_err(unreadable)?, path)
    }

    /// Parses `text`; `path` is only named in errors.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = from_toml(text, path)?;
        config.performance.check(path)?;
        Ok(config)
    }
}

impl Performance {
    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let rules: [(&'static str, u32, std::ops::RangeInclusive<u32>, &'static str); 5] = [
            ("cache_kib", self.cache_kib, 1024..=4 * 1024 * 1024, "between 1024 and 4194304"),
            ("wal_mib_max", self.wal_mib_max, 4..=4096, "between 4 and 4096"),
            ("readers_max", self.readers_max, 1..=64, "between 1 and 64"),
            ("settle_delay_ms", self.settle_delay_ms, 0..=5000, "at most 5000"),
            ("threads", u32::from(self.threads), 0..=64, "between 1 and 64, or 0 for automatic"),
        ];
        for (key, value, range, must) in rules {
            if !range.contains(&value) {
                let (path, value) = (path.to_owned(), u64::from(value));
                return Err(ConfigError::OutOfRange { path, key, value, must });
            }
        }
        Ok(())
    }

    /// The settings of the node database.
    pub(crate) fn db_settings(&self) -> DbSettings {
        DbSettings {
            synchronous: match self.synchronous {
                SynchronousName::Normal => Synchronous::Normal,
                SynchronousName::Full => Synchronous::Full,
            },
            cache_kib: self.cache_kib,
            mmap_bytes: u64::from(self.mmap_mib) * 1024 * 1024,
            busy_timeout: Duration::from_millis(u64::from(self.busy_timeout_ms)),
            wal_pages_max: self.wal_mib_max * 1024 / KIB_PER_WAL_PAGE,
            readers_max: usize::try_from(self.readers_max).unwrap_or(1),
        }
    }

    /// From a close to the sync that makes it survive a power cut.
    pub(crate) fn settle_delay(&self) -> Duration {
        Duration::from_millis(u64::from(self.settle_delay_ms))
    }

    /// Threads that answer the kernel of one mount.
    pub(crate) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(2, |cpus| cpus.get().clamp(2, 8)),
            threads => usize::from(threads),
        }
    }
}

fn from_toml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|err: toml::de::Error| {
        let start = err.span().map_or(0, |span| span.start);
        let before = text.as_bytes().get(..start).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let path = path.to_owned();
        match unknown_key(err.message()) {
            Some((key, known)) => {
                let nearest = nearest(&key, known.iter().map(String::as_str));
                ConfigError::UnknownKey { path, line, key, nearest, known }
            }
            None => {
                let problem = err.message().lines().collect::<Vec<_>>().join(", ");
                ConfigError::Malformed { path, line, problem }
            }
        }
    })
}

/// Takes serde's words apart: "unknown field `a`, expected one of `b`, `c`".
fn unknown_key(message: &str) -> Option<(String, Vec<String>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let key = quoted.next()?.to_owned();
    Some((key, quoted.map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Config::parse(text, Path::new("config.toml")).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let config = Config::parse("", Path::new("config.toml")).unwrap();
        assert_eq!(config.performance.cache_kib, Performance::default().cache_kib);
        assert!(config.mounts.is_empty());
    }

    #[test]
    fn a_typo_is_named_with_its_line_and_the_nearest_key() {
        let err =
            Config::parse("[performance]\n\nsyncronous = \"full\"\n", Path::new("config.toml"))
                .unwrap_err();
        let ConfigError::UnknownKey { line, key, nearest, .. } = err else { panic!("{err}") };
        assert_eq!(
            (line, key.as_str(), nearest.as_deref()),
            (3, "syncronous", Some("synchronous"))
        );
    }

    #[test]
    fn a_misspelt_section_is_named_too() {
        assert_eq!(
            refused("[mount]\n[performanse]\n"),
            "unknown key `performanse` in line 2 of config.toml"
        );
    }

    #[test]
    fn a_wrong_type_names_its_line() {
        let said = refused("[mount]\nread_only = 3\n");
        assert!(said.starts_with("line 2 of config.toml: "), "{said}");
    }

    #[test]
    fn a_number_out_of_range_is_refused_by_name() {
        let said = refused("[performance]\nreaders_max = 0\n");
        assert_eq!(said, "`readers_max` in config.toml is 0, but must be between 1 and 64");
    }

    #[test]
    fn the_documented_example_is_the_default() {
        let docs = include_str!("../../docs/CONFIG.md");
        let example = docs.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
        let written = Config::parse(example.unwrap(), Path::new("docs/CONFIG.md")).unwrap();
        let default = Config::default();
        assert_eq!(format!("{:?}", written.performance), format!("{:?}", default.performance));
        assert_eq!(format!("{:?}", written.mount), format!("{:?}", default.mount));
        assert_eq!(format!("{:?}", written.shutdown), format!("{:?}", default.shutdown));
    }
}
