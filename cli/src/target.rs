//! What a PATH on the command line means: `BUCKET[@BRANCH|@TIME]:PATH`, or a path of this machine.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::said::Said;

/// A path that travels in JSON: as a string where it is UTF-8, else as its bytes.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "PathForm", into = "PathForm")]
pub(crate) struct WirePath(pub(crate) PathBuf);

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum PathForm {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<PathForm> for WirePath {
    fn from(form: PathForm) -> Self {
        Self(match form {
            PathForm::Text(text) => text.into(),
            PathForm::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}

impl From<WirePath> for PathForm {
    fn from(path: WirePath) -> Self {
        match path.0.into_os_string().into_string() {
            Ok(text) => Self::Text(text),
            Err(bytes) => Self::Bytes(bytes.into_vec()),
        }
    }
}

impl From<&Path> for WirePath {
    fn from(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl fmt::Display for WirePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// A bucket as it is named on a command line, with the branch or time behind its `@`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct BucketName {
    pub(crate) bucket: String,
    pub(crate) branch: Option<Said>,
}

/// Why a word is no bucket.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("a bucket's name is missing in `{0}`")]
    NoBucket(String),
    #[error("a branch or time is missing behind the @ in `{0}`")]
    NoBranch(String),
    #[error("the name of a bucket is not UTF-8 in `{0}`")]
    NotText(String),
}

impl BucketName {
    /// Parses `BUCKET`, `BUCKET@BRANCH`, `BUCKET@TIME` or `BUCKET@BRANCH@TIME`.
    pub(crate) fn parse(word: &str) -> Result<Self, TargetError> {
        let (bucket, branch) = match word.split_once('@') {
            Some((bucket, branch)) => (bucket, Some(branch)),
            None => (word, None),
        };
        if bucket.is_empty() {
            return Err(TargetError::NoBucket(word.to_owned()));
        }
        if branch == Some("") {
            return Err(TargetError::NoBranch(word.to_owned()));
        }
        Ok(Self { bucket: bucket.to_owned(), branch: branch.map(Said::new) })
    }
}

/// Where in the node a PATH leads.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// `BUCKET[@BRANCH|@TIME]:PATH`; the path starts at the bucket's root.
    InBucket { bucket: BucketName, path: WirePath },
    /// A path of this machine, absolute, that should lie inside a mounted folder; `written` is
    /// what was typed, and `bucket` what `--bucket` said.
    Local { path: WirePath, written: WirePath, bucket: Option<BucketName> },
}

impl Target {
    /// Parses what was typed; a colon after the first slash belongs to a file's name.
    pub(crate) fn parse(typed: &Path, in_bucket: Option<&str>) -> Result<Self, TargetError> {
        let bytes = typed.as_os_str().as_bytes();
        if let Some(colon) = end_of_bucket(bytes) {
            let (bucket, path) = (&bytes[..colon], &bytes[colon + 1..]);
            let Ok(bucket) = std::str::from_utf8(bucket) else {
                return Err(TargetError::NotText(typed.display().to_string()));
            };
            let bucket = BucketName::parse(bucket)
                .map_err(|_| TargetError::NoBucket(typed.display().to_string()))?;
            return Ok(Self::InBucket { bucket, path: Path::new(OsStr::from_bytes(path)).into() });
        }
        Ok(Self::Local {
            path: crate::paths::absolute(typed).as_path().into(),
            written: typed.into(),
            bucket: in_bucket.map(BucketName::parse).transpose()?,
        })
    }
}

/// Returns the colon behind the bucket, if there is one. A time can have colons of its own: behind
/// an `@`, as much as is a time belongs to the bucket.
fn end_of_bucket(typed: &[u8]) -> Option<usize> {
    let before_slash = typed.split(|&byte| byte == b'/').next().unwrap_or_default();
    let colons: Vec<usize> = before_slash
        .iter()
        .enumerate()
        .filter_map(|(at, &byte)| (byte == b':').then_some(at))
        .collect();
    let ends_time = |&colon: &usize| {
        let bucket = std::str::from_utf8(&before_slash[..colon]);
        bucket.is_ok_and(|bucket| {
            let said = bucket.split_once('@').map(|(_, said)| said);
            said.is_some_and(is_time)
        })
    };
    let longest = colons.iter().copied().rev().find(ends_time);
    longest.or_else(|| colons.first().copied())
}

/// Says whether `TIME` or `BRANCH@TIME` was said.
fn is_time(said: &str) -> bool {
    Said::is_time(said) || said.split_once('@').is_some_and(|(_, time)| Said::is_time(time))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InBucket { bucket, path } => {
                write!(f, "{}", bucket.bucket)?;
                if let Some(branch) = &bucket.branch {
                    write!(f, "@{}", branch.words)?;
                }
                write!(f, ":{path}")
            }
            Self::Local { written, .. } => written.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_bucket(typed: &str) -> (String, Option<String>, String) {
        match Target::parse(Path::new(typed), None).unwrap() {
            Target::InBucket { bucket, path } => {
                (bucket.bucket, bucket.branch.map(|said| said.words), path.to_string())
            }
            Target::Local { .. } => panic!("{typed} is taken for a local path"),
        }
    }

    #[test]
    fn a_bucket_and_a_path_are_told_apart() {
        assert_eq!(in_bucket("photos:2024/june"), ("photos".into(), None, "2024/june".into()));
        assert_eq!(in_bucket("photos:"), ("photos".into(), None, String::new()));
        assert_eq!(
            in_bucket("photos@try:/a:b"),
            ("photos".into(), Some("try".into()), "/a:b".into())
        );
    }

    #[test]
    fn a_time_keeps_its_colons() {
        let parts = |typed| {
            let (bucket, said, path) = in_bucket(typed);
            assert_eq!(bucket, "photos");
            (said.unwrap(), path)
        };
        let both = |said: &str, path: &str| (said.to_owned(), path.to_owned());
        assert_eq!(parts("photos@18:00:a.txt"), both("18:00", "a.txt"));
        assert_eq!(parts("photos@2026-11-01 18:00:05:"), both("2026-11-01 18:00:05", ""));
        assert_eq!(
            parts("photos@2026-11-01T18:00+05:30:/a:b"),
            both("2026-11-01T18:00+05:30", "/a:b")
        );
        assert_eq!(parts("photos@try@9:30:x"), both("try@9:30", "x"));
        assert_eq!(parts("photos@@1700000000:x"), both("@1700000000", "x"));
        assert_eq!(parts("photos@2026-11-01:18:00"), both("2026-11-01", "18:00"));
        assert_eq!(parts("photos@try:18:00"), both("try", "18:00"));
    }

    #[test]
    fn a_colon_behind_a_slash_is_part_of_a_name() {
        let target = Target::parse(Path::new("./a:b"), None).unwrap();
        assert!(matches!(target, Target::Local { .. }));
    }

    #[test]
    fn a_path_without_a_bucket_before_the_colon_is_refused() {
        assert!(Target::parse(Path::new(":x"), None).is_err());
        assert!(Target::parse(Path::new("a@:x"), None).is_err());
    }

    #[test]
    fn names_that_are_not_utf8_survive_the_wire() {
        let typed = PathBuf::from(OsString::from_vec(b"photos:\xff\xfe".to_vec()));
        let target = Target::parse(&typed, None).unwrap();
        let json = serde_json::to_string(&target).unwrap();
        assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), target);
    }
}
