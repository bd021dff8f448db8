//! The exit codes of `tesfs`, in one place: scripts depend on them.

use serde::{Deserialize, Serialize};

/// How a command ended, as its exit code.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Exit {
    /// 0: everything asked for was done.
    Success,
    /// 1: something failed that none of the others names (a disk, the database, the kernel).
    Failure,
    /// 2: the command line or the configuration is wrong; nothing was touched.
    Usage,
    /// 3: a bucket, branch, path or mount that was named does not exist.
    NotFound,
    /// 4: refused as things stand (in use, locked, not empty, no permission, name taken).
    Refused,
    /// 5: damage was found (verify), or a database or blob is damaged.
    Damaged,
    /// 6: done in part; what was left out is listed (import, export).
    Partial,
    /// 7: the machine lacks something (no /dev/fuse, no fusermount3, no room on the disk).
    Unavailable,
    /// 130: interrupted by Ctrl-C or SIGTERM before it was done.
    Interrupted,
}

impl Exit {
    /// Every code, for the manual page and its test.
    pub(crate) const ALL: [Self; 9] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::NotFound,
        Self::Refused,
        Self::Damaged,
        Self::Partial,
        Self::Unavailable,
        Self::Interrupted,
    ];

    /// The number the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Damaged => 5,
            Self::Partial => 6,
            Self::Unavailable => 7,
            Self::Interrupted => 130,
        }
    }

    /// One line for people, as the manual page shows it.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Success => "done",
            Self::Failure => "failed (disk, database, kernel)",
            Self::Usage => "wrong command line or configuration; nothing was touched",
            Self::NotFound => "a bucket, branch, path or mount that was named does not exist",
            Self::Refused => "refused as things stand (in use, locked, not empty, no permission)",
            Self::Damaged => "damage was found",
            Self::Partial => "done in part; what was left out is listed",
            Self::Unavailable => "the machine lacks something (/dev/fuse, fusermount3, disk space)",
            Self::Interrupted => "interrupted before it was done",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_a_number_of_its_own() {
        let mut codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Exit::ALL.len());
    }
}
