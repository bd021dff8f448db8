//! What a bucket does otherwise than by default, kept with the bucket and with its history.
//!
//! A setting has a key and a value, which is written, shown and stored in one form. Values are
//! versions like everything else in a bucket: one that is superseded goes to the past with the
//! time it was in force.

use std::fmt;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BucketNumber, Hlc, Stamp},
    pattern::Patterns,
    retention::History,
    schedule::Schedule,
};

/// Longest value in bytes: it is typed, and shown in a table.
const VALUE_BYTES_MAX: usize = 4096;

/// What is written to go back to what the release does by default.
const DEFAULT: &str = "default";

/// The settings of one bucket, as they are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Which superseded versions stay.
    pub history: History,
    /// Whose files from other devices are.
    pub owners: Owners,
    /// Which snapshots are taken by themselves.
    pub snapshots: Schedule,
    /// Whether a close waits until what was written survives a power cut.
    pub sync_on_close: bool,
    /// Paths of which no superseded version is kept.
    pub transient: Patterns,
}

/// Whose the files are that another device wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owners {
    /// The user's who mounts the bucket: numbers of users mean nothing on other machines.
    #[default]
    MountingUser,
    /// Those with the numbers that the other device wrote.
    Numeric,
}

/// The name of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// [`Settings::history`]
    History,
    /// [`Settings::owners`]
    Owners,
    /// [`Settings::snapshots`]
    Snapshots,
    /// [`Settings::sync_on_close`]
    SyncOnClose,
    /// [`Settings::transient`]
    Transient,
}

impl Key {
    /// All of them, by name.
    pub const ALL: [Self; 5] =
        [Self::History, Self::Owners, Self::Snapshots, Self::SyncOnClose, Self::Transient];

    /// Returns how it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Owners => "owners",
            Self::Snapshots => "snapshots",
            Self::SyncOnClose => "sync_on_close",
            Self::Transient => "transient",
        }
    }

    /// Returns the key that is written `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Says which values it takes, with an example.
    pub fn allowed(self) -> &'static str {
        match self {
            Self::History => {
                "`forever`, or how long every version stays and then, up to which age, how often \
                 one does: `30d,1y daily,monthly`"
            }
            Self::Owners => "`mounting-user` or `numeric`",
            Self::Snapshots => {
                "`off`, or how many are kept of each kind: \
                 `hourly=24,daily=7,weekly=4,monthly=12,yearly=5`"
            }
            Self::SyncOnClose => "`on` or `off`",
            Self::Transient => "`none`, or patterns parted by commas: `*.tmp,~$*,.cache/**`",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why settings could not be read or set.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no `=` in it.
    #[error("'{written}' sets nothing: it has no value")]
    NoValue {
        /// What was written.
        written: String,
    },
    /// Nothing is called so.
    #[error("there is no setting '{name}'")]
    UnknownKey {
        /// What was written before the `=`.
        name: String,
    },
    /// The value breaks a rule of its key.
    #[error("{key} cannot be '{value}': {rule}")]
    BadValue {
        /// Whose value.
        key: Key,
        /// What was written.
        value: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// One key has two values.
    #[error("{key} is set twice")]
    SetTwice {
        /// Which key.
        key: Key,
    },
    /// What is stored was not written by this release.
    #[error("{key} is stored as '{value}', which this release cannot read")]
    Unreadable {
        /// Whose value.
        key: Key,
        /// What is stored.
        value: String,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// One setting as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    key: Key,
    /// In the form that is stored; `None` is the default.
    value: Option<String>,
}

impl Wish {
    /// Parses `KEY=VALUE`; the value `default` goes back to the default.
    ///
    /// # Errors
    ///
    /// [`SettingsError::NoValue`], [`SettingsError::UnknownKey`], [`SettingsError::BadValue`].
    pub fn parse(written: &str) -> Result<Self, SettingsError> {
        let Some((name, value)) = written.split_once('=') else {
            return Err(SettingsError::NoValue { written: written.into() });
        };
        let name = name.trim();
        let key =
            Key::from_name(name).ok_or_else(|| SettingsError::UnknownKey { name: name.into() })?;
        if value.trim() == DEFAULT {
            return Ok(Self { key, value: None });
        }
        let mut settings = Settings::default();
        let taken = match value.len() {
            0..=VALUE_BYTES_MAX => settings.take(key, value),
            _ => Err("it has more than 4096 bytes"),
        };
        match taken {
            Ok(()) => Ok(Self { key, value: Some(settings.shown(key)) }),
            Err(rule) => Err(SettingsError::BadValue { key, value: value.into(), rule }),
        }
    }
}

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which one.
    pub key: Key,
    /// Its value, as it would be written.
    pub value: String,
    /// The change that set it; `None` where the release's default is in force.
    pub set: Option<Stamp>,
}

/// What a change did to one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which one.
    pub key: Key,
    /// Its value before.
    pub from: String,
    /// Its value now.
    pub to: String,
}

/// One version of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its value; `None` is the release's default.
    pub value: Option<String>,
    /// The change that made it.
    pub stamp: Stamp,
    /// When it was superseded; `None` while it is in force.
    pub until: Option<Hlc>,
}

impl Settings {
    /// Returns the value of `key` in the one form that is shown and stored.
    pub fn shown(&self, key: Key) -> String {
        match key {
            Key::History => self.history.to_string(),
            Key::Owners => match self.owners {
                Owners::MountingUser => "mounting-user".to_owned(),
                Owners::Numeric => "numeric".to_owned(),
            },
            Key::Snapshots => self.snapshots.to_string(),
            Key::SyncOnClose => if self.sync_on_close { "on" } else { "off" }.to_owned(),
            Key::Transient => self.transient.to_string(),
        }
    }

    /// Takes a value over, or returns the rule it breaks.
    fn take(&mut self, key: Key, value: &str) -> Result<(), &'static str> {
        match key {
            Key::History => self.history = History::parse(value)?,
            Key::Owners => {
                self.owners = match value.trim() {
                    "mounting-user" => Owners::MountingUser,
                    "numeric" => Owners::Numeric,
                    _ => return Err("it is neither mounting-user nor numeric"),
                }
            }
            Key::Snapshots => self.snapshots = Schedule::parse(value)?,
            Key::SyncOnClose => {
                self.sync_on_close = match value.trim() {
                    "on" => true,
                    "off" => false,
                    _ => return Err("it is neither on nor off"),
                }
            }
            Key::Transient => self.transient = Patterns::parse(value)?,
        }
        Ok(())
    }
}

/// Returns the settings that are in force for `bucket`.
///
/// Keys of newer releases are passed over.
///
/// # Errors
///
/// [`SettingsError::Unreadable`] for a value of a newer release: nothing must be pruned by a guess.
/// Or the database's.
pub fn read(conn: &Connection, bucket: BucketNumber) -> Result<Settings, SettingsError> {
    let mut settings = Settings::default();
    for key in Key::ALL {
        let Some(Stored { value: Some(value), .. }) = stored(conn, bucket, key)? else { continue };
        if settings.take(key, &value).is_err() {
            return Err(SettingsError::Unreadable { key, value });
        }
    }
    Ok(settings)
}

/// Returns every setting of `bucket` with where it comes from, by name.
///
/// # Errors
///
/// As [`read`].
pub fn list(conn: &Connection, bucket: BucketNumber) -> Result<Vec<Setting>, SettingsError> {
    let settings = read(conn, bucket)?;
    let mut list = Vec::with_capacity(Key::ALL.len());
    for key in Key::ALL {
        let set = match stored(conn, bucket, key)? {
            Some(Stored { value: Some(_), stamp }) => Some(stamp),
            _ => None,
        };
        list.push(Setting { key, value: settings.shown(key), set });
    }
    Ok(list)
}

/// Fulfils all of `wishes`, or none where one is refused; returns what changed.
///
/// What is as wished already gets no version. All that are set together have one stamp.
///
/// # Errors
///
/// [`SettingsError::SetTwice`], or as [`read`].
pub fn set(
    tx: &Tx<'_>,
    bucket: BucketNumber,
    wishes: &[Wish],
) -> Result<Vec<Changed>, SettingsError> {
    for (index, wish) in wishes.iter().enumerate() {
        if wishes[..index].iter().any(|before| before.key == wish.key) {
            return Err(SettingsError::SetTwice { key: wish.key });
        }
    }
    let (before, defaults) = (read(tx, bucket)?, Settings::default());
    let mut stamp = None;
    let mut changed = Vec::new();
    for Wish { key, value } in wishes {
        let from = before.shown(*key);
        let held = stored(tx, bucket, *key)?.and_then(|stored| stored.value);
        let holds = match value {
            Some(value) => *value == from,
            None => held.is_none(),
        };
        if !holds {
            let stamp = *stamp.get_or_insert_with(|| tx.next_stamp());
            supersede(tx, bucket, *key, value.as_deref(), stamp)?;
            let to = value.clone().unwrap_or_else(|| defaults.shown(*key));
            changed.push(Changed { key: *key, from, to });
        }
    }
    Ok(changed)
}

/// Returns every version of one setting, newest first.
///
/// # Errors
///
/// A failed query.
pub fn versions(
    conn: &Connection,
    bucket: BucketNumber,
    key: Key,
) -> Result<Vec<Version>, DbError> {
    conn.prepare_cached(
        "SELECT value, since, actor, NULL AS until FROM settings WHERE bucket = ?1 AND key = ?2
         UNION ALL
         SELECT value, since, actor, until FROM past_settings WHERE bucket = ?1 AND key = ?2
         ORDER BY since DESC, actor DESC",
    )
    .and_then(|mut stmt| {
        stmt.query_map(params![bucket, key.name()], |row| {
            let stamp = Stamp { hlc: row.get(1)?, actor: row.get(2)? };
            Ok(Version { value: row.get(0)?, stamp, until: row.get(3)? })
        })?
        .collect()
    })
    .doing("reading the versions of a setting")
}

/// The row of a key that was set.
struct Stored {
    /// `None` after a return to the default.
    value: Option<String>,
    stamp: Stamp,
}

fn stored(conn: &Connection, bucket: BucketNumber, key: Key) -> Result<Option<Stored>, DbError> {
    conn.prepare_cached("SELECT value, since, actor FROM settings WHERE bucket = ?1 AND key = ?2")
        .and_then(|mut stmt| {
            stmt.query_row(params![bucket, key.name()], |row| {
                let stamp = Stamp { hlc: row.get(1)?, actor: row.get(2)? };
                Ok(Stored { value: row.get(0)?, stamp })
            })
            .optional()
        })
        .doing("reading a setting")
}

fn supersede(
    tx: &Tx<'_>,
    bucket: BucketNumber,
    key: Key,
    value: Option<&str>,
    stamp: Stamp,
) -> Result<(), DbError> {
    tx.prepare_cached(
        "INSERT INTO past_settings (bucket, key, since, actor, until, value)
         SELECT bucket, key, since, actor, ?3, value FROM settings WHERE bucket = ?1 AND key = ?2",
    )
    .and_then(|mut stmt| stmt.execute(params![bucket, key.name(), stamp.hlc]))
    .doing("keeping the value before")?;
    tx.prepare_cached(
        "INSERT INTO settings (bucket, key, value, since, actor) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (bucket, key) DO UPDATE SET value = ?3, since = ?4, actor = ?5",
    )
    .and_then(|mut stmt| stmt.execute(params![bucket, key.name(), value, stamp.hlc, stamp.actor]))
    .doing("setting a bucket's setting")?;
    Ok(())
}

#[cfg(test)]
mod tests;
