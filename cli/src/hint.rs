//! What the operator can do now, for each error that leaves something to do.

use std::{io, path::Path};

use tesfs_fs::{DecideError, fuse::MountError};
use tesfs_pathtree::{
    IdentityError, OpenError,
    branch::BranchError,
    bucket::BucketError,
    moment::MomentError,
    settings::{Key, SettingsError},
    tree::{MergeError, UndoError},
};

use crate::{
    config::ConfigError,
    control::ControlError,
    error::CliError,
    lock::LockError,
    paths::DataDirError,
    said::TIMES,
    suggest::{self, did_you_mean, nearest},
};

/// For a database that cannot be used: its directory still has everything else.
const DATABASE_HINT: &str = "nothing was changed; put the file back from a backup, or keep this \
                             directory and choose another --data-dir";

/// For a disk that is full while something is written into the data directory.
const FULL_HINT: &str = "make room on the disk of the data directory; nothing that was kept before \
                         is lost";

impl CliError {
    /// Says what to do, in one or two lines.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Config(err) => return config_hint(err),
            Self::DataDir(err) => return data_dir_hint(err),
            Self::Lock(LockError::Held { .. }) => {
                "wait until that process has ended, or choose another --data-dir".to_owned()
            }
            Self::Open(err) => return open_hint(err),
            Self::Control(err) => return control_hint(err),
            Self::Bucket(err) => return bucket_hint(err),
            Self::Settings(err) => return settings_hint(err),
            Self::Moment(err) => moment_hint(err),
            Self::Mount(err) => return mount_hint(err),
            Self::NoDataDir { .. } => {
                "`tesfs mount DIR` makes one, with its first bucket".to_owned()
            }
            Self::DiffBuckets { .. } => {
                "compare branches, snapshots or times of one bucket".to_owned()
            }
            Self::RestoreTaken { .. } => "`--to PATH` brings it back to another place".to_owned(),
            Self::NotRemoved { bucket, path } => format!(
                "say which version with --version (`tesfs log {bucket}:{path}` lists them) or --at \
                 TIME; `tesfs deleted {bucket}:{path}` lists what was removed from a folder"
            ),
            Self::NotAFile { bucket, path } => {
                format!("`tesfs export {bucket}:{path} DEST` copies a folder")
            }
            Self::Shown(err) => err.hint(),
            Self::Version(err) => err.hint(),
            Self::Switch(err) => err.hint(),
            Self::Branch(err) => return branch_hint(err),
            Self::Decide(err) => return decide_hint(err),
            Self::Conflict(err) => err.hint(),
            Self::BucketMounted { dir, .. } => {
                format!("`tesfs umount {}` takes the folder away first", dir.display())
            }
            Self::BucketReadOnly { dir, .. } => {
                format!("`tesfs umount {}`, then mount it without --read-only", dir.display())
            }
            Self::BucketBusy { .. } => "try again when that command is done".to_owned(),
            Self::NotInBucket { written, buckets } => not_in_bucket_hint(written, buckets),
            Self::MountInDataDir { .. } | Self::DataDirInMount { .. } => {
                "choose a folder elsewhere, such as ~/Memories".to_owned()
            }
            Self::NamelessMount { .. } => "name the bucket: `tesfs mount BUCKET DIR`".to_owned(),
            Self::NotMounted { .. } => "`tesfs status` lists what is mounted".to_owned(),
            Self::MountBusy { dir, .. } => format!(
                "close what uses it, a shell that stands in it included (`fuser -vm {0}` lists them), \
                 or `tesfs umount --lazy {0}` to take it away all the same",
                dir.display()
            ),
            Self::RootOnly { option } => format!("leave {option} out, or run as root"),
            Self::SourceInMount { .. } | Self::DestInMount { .. } => {
                "copy inside mounted folders with `cp -a`; the bytes are shared".to_owned()
            }
            Self::DestNotEmpty { .. } | Self::DestExists { .. } => {
                "choose a path that does not exist yet".to_owned()
            }
            Self::NodeRuns { .. } => {
                "`tesfs status` shows it; end it before a daemon takes over".to_owned()
            }
            Self::BackgroundEnded => "run it without --background to see why".to_owned(),
            Self::Identity(err) => return identity_hint(err),
            err if err.is_full() => FULL_HINT.to_owned(),
            Self::Recovery { .. } => {
                "nothing was changed; run with -vv and keep what it says".to_owned()
            }
            _ => return self.path_hint().or_else(|| self.operation_hint()),
        })
    }

    /// Says what to do about an operation that was named, or meant.
    fn operation_hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownOperation { .. } => "`tesfs op log` lists them".to_owned(),
            Self::AmbiguousOperation { known, .. } => format!("one of: {}", known.join(", ")),
            Self::LastIsNoMerge { merge: Some(merge), .. } => format!(
                "`tesfs undo {merge}` takes the last merge back and leaves what came later; `tesfs \
                 undo` takes back that operation"
            ),
            Self::LastIsNoMerge { merge: None, .. } => {
                "no merge is in force; `tesfs undo` takes back that operation".to_owned()
            }
            _ => return None,
        })
    }

    /// Says what to do about a path that was named.
    fn path_hint(&self) -> Option<String> {
        Some(match self {
            Self::File { source, path, .. } => return file_hint(source, path),
            Self::SourceMissing { .. } => "`tesfs import SRC DEST` takes what is at SRC".to_owned(),
            Self::SourceInDataDir { .. } => {
                "`tesfs export` gets files out; to keep a copy of all, end the node and `cp -a` it"
                    .to_owned()
            }
            Self::BadName { .. } => "choose a shorter or another name".to_owned(),
            Self::Removed { bucket, path, before, .. } => {
                let shows = before.as_ref().map(|before| {
                    format!("`tesfs cat '{bucket}:{path}' --at {before}` shows it as it was; ")
                });
                format!(
                    "{}`tesfs restore '{bucket}:{path}'` brings it back, `tesfs deleted` lists what \
                     was removed",
                    shows.unwrap_or_default()
                )
            }
            Self::NoSuchPath { nearest: Some(nearest), .. } => did_you_mean(nearest),
            Self::NoSuchPath { bucket, .. } | Self::NotADirectory { bucket, .. } => {
                format!("`tesfs mount {bucket} DIR` shows what there is")
            }
            _ => return None,
        })
    }

    /// Whether there was no room for something in the data directory.
    fn is_full(&self) -> bool {
        match self {
            Self::Database(err) => err.is_full(),
            Self::Blobs(err) => err.is_full(),
            Self::Recovery { source } | Self::Settle { source } | Self::Tree { source, .. } => {
                source.is_full()
            }
            _ => false,
        }
    }
}

fn decide_hint(err: &DecideError) -> Option<String> {
    Some(match err {
        DecideError::Merge(MergeError::IntoItself) => {
            "name the branch to take changes from; `tesfs branch list` lists them".to_owned()
        }
        DecideError::Undo(UndoError::Already { .. }) => {
            "`tesfs redo` does it again; `tesfs op log` shows what is undone".to_owned()
        }
        DecideError::Undo(UndoError::Pruned(_)) => {
            "`tesfs log PATH` shows what is left; `tesfs restore PATH --at TIME` brings it back"
                .to_owned()
        }
        DecideError::Undo(UndoError::Nothing { .. } | UndoError::NotFound(_)) => {
            "`tesfs op log` shows what was done".to_owned()
        }
        _ => return None,
    })
}

fn branch_hint(err: &BranchError) -> Option<String> {
    Some(match err {
        BranchError::NameTaken { .. } => "choose another name".to_owned(),
        BranchError::BadName { .. } => {
            "such as `try`, `2024-review` or `before the move`".to_owned()
        }
        BranchError::BeforeBirth { .. } => {
            "`tesfs log` shows since when there is something".to_owned()
        }
        BranchError::Automatic { .. } => {
            "choose another name: automatic snapshots are removed when their time is over"
                .to_owned()
        }
        BranchError::IsMain => {
            "`tesfs branch create NAME` makes another branch beside it".to_owned()
        }
        BranchError::TooMany => "`tesfs branch abandon NAME` ends one".to_owned(),
        BranchError::Database(err) if err.is_full() => FULL_HINT.to_owned(),
        BranchError::NotFound { .. } | BranchError::NotAbandoned { .. } => {
            "`tesfs branch list --all` lists them".to_owned()
        }
        BranchError::Database(_) => return None,
    })
}

fn config_hint(err: &ConfigError) -> Option<String> {
    match err {
        ConfigError::UnknownKey { nearest, known, .. } => {
            suggest::hint(nearest.as_deref(), "keys", known)
        }
        ConfigError::Unreadable { .. } => {
            Some("--config names another file; without one the defaults hold".to_owned())
        }
        ConfigError::Malformed { .. } | ConfigError::OutOfRange { .. } => {
            Some("docs/CONFIG.md describes every key".to_owned())
        }
        _ => None,
    }
}

fn data_dir_hint(err: &DataDirError) -> Option<String> {
    Some(match err {
        DataDirError::NotYours { .. } => {
            "run tesfs as that user, or choose another --data-dir".to_owned()
        }
        DataDirError::Foreign { .. } => "give --data-dir an empty or a new directory".to_owned(),
        DataDirError::ReadOnly { .. } => {
            "mount that disk writable, or choose another --data-dir".to_owned()
        }
        DataDirError::NotAllowed { .. } => "choose a --data-dir that is yours".to_owned(),
        DataDirError::DatabaseGone { .. } => DATABASE_HINT.to_owned(),
        DataDirError::NotADirectory { .. } => "choose another --data-dir".to_owned(),
        DataDirError::Full { .. } => {
            "make room on that disk, or choose a --data-dir on another one".to_owned()
        }
        DataDirError::NoHome => "choose one with --data-dir".to_owned(),
        DataDirError::Io { .. } => return None,
    })
}

fn identity_hint(err: &IdentityError) -> Option<String> {
    match err {
        IdentityError::NotAKey { .. } => Some(
            "put it back from a backup; without it this node becomes a new device: move the file \
             away, everything else stays"
                .to_owned(),
        ),
        IdentityError::Io { source, path, .. } => file_hint(source, path),
        IdentityError::NoRandomness(_) => None,
    }
}

fn open_hint(err: &OpenError) -> Option<String> {
    Some(match err {
        OpenError::FromTheFuture { .. } => {
            "nothing was changed; use the newer tesfs for this data directory".to_owned()
        }
        OpenError::NotADatabase { .. } | OpenError::Damaged { .. } => DATABASE_HINT.to_owned(),
        OpenError::Database { source, .. } if source.is_full() => {
            "make room on the disk of the data directory".to_owned()
        }
        _ => return None,
    })
}

fn control_hint(err: &ControlError) -> Option<String> {
    Some(match err {
        ControlError::NotAllowed { .. } => "run tesfs as the user who started the node".to_owned(),
        ControlError::Ended { .. } => {
            "what was done before is kept; start it again and look at `tesfs status`".to_owned()
        }
        ControlError::Ending => "try again when it has ended".to_owned(),
        ControlError::NotAnAnswer { .. } => {
            "the node may be of another version: restart it".to_owned()
        }
        ControlError::Unreachable { .. } | ControlError::TooLong => return None,
    })
}

fn bucket_hint(err: &BucketError) -> Option<String> {
    match err {
        BucketError::NotFound { .. } => {
            Some("`tesfs bucket list --all` lists them, removed ones too".to_owned())
        }
        BucketError::NameTaken { .. } => Some("choose another name".to_owned()),
        BucketError::Database(err) if err.is_full() => Some(FULL_HINT.to_owned()),
        BucketError::BadName { .. } => {
            Some("letters, digits, spaces and dashes make a name, as in `our photos`".to_owned())
        }
        _ => None,
    }
}

fn settings_hint(err: &SettingsError) -> Option<String> {
    let names = Key::ALL.map(Key::name);
    match err {
        SettingsError::NoValue { written } => match Key::from_name(written.trim()) {
            Some(key) => Some(format!("write {key}=VALUE; {key} takes {}", key.allowed())),
            None => Some("write KEY=VALUE, as in history=forever".to_owned()),
        },
        SettingsError::UnknownKey { name } => {
            suggest::hint(nearest(name, names.into_iter()).as_deref(), "settings", &names)
        }
        SettingsError::BadValue { key, .. } => Some(format!("{key} takes {}", key.allowed())),
        SettingsError::SetTwice { .. } => Some("leave one of them out".to_owned()),
        SettingsError::Unreadable { .. } => Some("use the tesfs that set it".to_owned()),
        SettingsError::Database(err) if err.is_full() => Some(FULL_HINT.to_owned()),
        SettingsError::Database(_) => None,
    }
}

fn moment_hint(err: &MomentError) -> String {
    match err {
        MomentError::NotATime { .. } => format!("say it as in {TIMES}, `2026-11` or `@1700000000`"),
        MomentError::Future { .. } => "what was can be shown: `now` and before".to_owned(),
        MomentError::TooEarly { .. } => "a year has four digits, as in `2026-11-01`".to_owned(),
        MomentError::Twice { first, second, .. } => {
            format!("`{first}` is the first of the two, `{second}` the second")
        }
        MomentError::Skipped { .. } => {
            "an hour was left out there; say a time before or after it".to_owned()
        }
    }
}

fn not_in_bucket_hint(written: &Path, buckets: &[String]) -> String {
    let typed = written.display().to_string();
    match buckets.iter().find(|bucket| **bucket == typed) {
        Some(bucket) => format!("did you mean the bucket? write `{bucket}:`"),
        None => "write BUCKET:PATH, or a path inside a mounted folder".to_owned(),
    }
}

fn file_hint(err: &io::Error, path: &Path) -> Option<String> {
    Some(match err.kind() {
        io::ErrorKind::NotFound => "make the directory above it first".to_owned(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("make room on the disk of {}, or choose another one", path.display())
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a path that you may read and write, or run tesfs as its owner".to_owned()
        }
        io::ErrorKind::NotADirectory => "choose a path that does not exist yet".to_owned(),
        _ if err.raw_os_error() == Some(libc::ELOOP) => {
            "its symlinks lead to each other; name what they should lead to".to_owned()
        }
        _ => return None,
    })
}

fn mount_hint(err: &MountError) -> Option<String> {
    Some(match err {
        MountError::NoFuseDevice => {
            "load the kernel's FUSE module (`sudo modprobe fuse`); in a container pass --device \
             /dev/fuse and --cap-add SYS_ADMIN"
                .to_owned()
        }
        MountError::FusermountMissing => {
            "install it (Debian, Ubuntu, Fedora: package `fuse3`), or mount as root".to_owned()
        }
        MountError::AllowOtherDenied => {
            "leave --allow-other out, or have root write `user_allow_other` into /etc/fuse.conf"
                .to_owned()
        }
        MountError::DeviceDenied => {
            "its usual mode is 0666: `sudo chmod 666 /dev/fuse`; or mount as root".to_owned()
        }
        MountError::PermissionDenied { .. } => {
            "choose a folder that is yours; in a container FUSE needs --device /dev/fuse and \
             --cap-add SYS_ADMIN"
                .to_owned()
        }
        MountError::AlreadyMounted { dir, .. } => {
            format!("choose another folder; `umount {}` takes away what is there", dir.display())
        }
        MountError::NotADirectory { .. } => "choose an empty or a new directory".to_owned(),
        MountError::Stale { dir, .. } => {
            format!(
                "`fusermount3 -uz {0}` (or `umount -l {0}` as root) takes it away",
                dir.display()
            )
        }
        MountError::ParentMissing { .. } => "make the directory above it first".to_owned(),
        MountError::NotEmpty { .. } => {
            "choose an empty or a new directory; to keep what is in this one, `tesfs import` it"
                .to_owned()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tesfs_pathtree::moment;

    use super::*;

    /// 2026-11-20 at noon in Berlin.
    const NOON_NS: i64 = 1_795_172_400_000_000_000;

    fn refused(said: &str) -> (String, String) {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let err = CliError::from(moment::parse(said, NOON_NS, &berlin).unwrap_err());
        (err.to_string(), err.hint().unwrap())
    }

    #[test]
    fn every_example_of_a_time_is_one() {
        let (_, hint) = refused("soon");
        let examples: Vec<&str> = hint.split('`').skip(1).step_by(2).collect();
        assert_eq!(examples.len(), 9, "{hint}");
        for example in examples {
            moment::parse(example, NOON_NS, &TimeZone::UTC).unwrap();
        }
    }

    #[test]
    fn a_time_that_cannot_be_meant_is_refused_with_what_can() {
        for (said, message, hint) in [
            ("soon", "'soon' is no time", "say it as in `2h`"),
            ("2026-12-24", "'2026-12-24' lies in the future", "`now` and before"),
            ("26-11-01", "'26-11-01' lies before 1970", "four digits"),
            ("2026-10-25 2:30", "was twice", "`2026-10-25T2:30+02` is the first of the two"),
            ("2026-03-29 2:30", "never was", "before or after"),
        ] {
            let (found, found_hint) = refused(said);
            assert!(found.contains(message), "{found}");
            assert!(found_hint.contains(hint), "{found_hint}");
        }
    }
}
