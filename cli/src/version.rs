//! The versions of one file, and how they are called on a command line.

use tesfs_pathtree::{
    Hlc,
    tree::{self, Event, LastAt, View},
};

use crate::{error::CliError, exit::Exit, node::Node, place::Place};

/// Digits of a hash that `log` prints, and the fewest that are looked for.
pub(crate) const HASH_DIGITS: usize = 8;
const HASH_DIGITS_MIN: usize = 4;

/// What has a path, or had it last.
pub(crate) struct Subject {
    /// What the place is in.
    pub(crate) view: View,
    pub(crate) last: LastAt,
}

/// The history of one thing.
pub(crate) struct Versions {
    /// Newest first.
    pub(crate) lines: Vec<VersionLine>,
}

/// One line of a history.
pub(crate) struct VersionLine {
    pub(crate) event: Event,
    /// Counts contents, the oldest is 1; `None` where the content did not change.
    pub(crate) number: Option<usize>,
    /// Of the content, once it is known.
    pub(crate) hash: Option<String>,
}

/// Why a version was not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VersionError {
    #[error("'{path}' has no version '{said}'")]
    Unknown { path: String, said: String, known: Vec<String> },
    #[error("'{said}' is no version: that is a number, as in `v3`, or the first digits of a hash")]
    NotAVersion { path: String, said: String },
    #[error("several versions of '{path}' begin with '{said}'")]
    Ambiguous { path: String, said: String, candidates: Vec<String> },
}

impl VersionError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } => Exit::NotFound,
            Self::NotAVersion { .. } | Self::Ambiguous { .. } => Exit::Usage,
        }
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Unknown { known, path, .. } if known.is_empty() => {
                format!("`tesfs log {path}` shows what is known of it")
            }
            Self::Unknown { known, .. } => format!("the newest are {}", known.join(", ")),
            Self::NotAVersion { path, .. } => format!("`tesfs log {path}` lists them"),
            Self::Ambiguous { candidates, .. } => format!("they are {}", candidates.join(", ")),
        }
    }
}

impl Node {
    /// Finds what has a path, or had it last.
    ///
    /// # Errors
    ///
    /// Nothing ever had it, with the path that was probably meant.
    pub(crate) fn subject(&self, place: &Place) -> Result<Subject, CliError> {
        let view = self.view(&place.shown)?;
        match self.db().read(|conn| tree::last_at(conn, &view, &place.names))? {
            Some(last) => Ok(Subject { view, last }),
            None => Err(place.missing(&*self.trees().for_command(&place.shown)?)),
        }
    }

    /// Reads the versions of what has a path, or had it last.
    pub(crate) fn versions(&self, subject: &Subject) -> Result<Versions, CliError> {
        let Subject { view, last } = subject;
        let events = self.db().read(|conn| tree::history(conn, view, last.ino))?;
        let mut left = events.iter().filter(|event| event.what.content()).count();
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            let number = event.what.content().then_some(left);
            left -= usize::from(event.what.content());
            let hash = self.hash(&event)?;
            lines.push(VersionLine { event, number, hash });
        }
        Ok(Versions { lines })
    }

    /// Returns the hash of a content, once it is known.
    fn hash(&self, event: &Event) -> Result<Option<String>, CliError> {
        let Some(blob) = event.blob else { return Ok(None) };
        let row = self.db().read(|conn| self.store().row(conn, blob))?;
        Ok(row.and_then(|row| row.hash).map(|hash| hash.to_string()))
    }
}

impl VersionLine {
    /// `v3`, with the first digits of its hash where that is known.
    fn name(&self) -> String {
        let number = self.number.unwrap_or_default();
        match &self.hash {
            Some(hash) => format!("v{number} ({})", &hash[..HASH_DIGITS]),
            None => format!("v{number}"),
        }
    }

    /// As of which reading the version shows.
    pub(crate) fn at(&self) -> Hlc {
        self.event.logged.stamp.hlc
    }
}

impl Versions {
    /// Finds the version that is called `said`: `v3`, `3`, or the first digits of a hash. Of several
    /// with the same bytes it is the newest.
    ///
    /// # Errors
    ///
    /// There is none, or several with different bytes.
    pub(crate) fn find(&self, path: &str, said: &str) -> Result<&VersionLine, VersionError> {
        /// How many a hint lists.
        const LISTED_MAX: usize = 8;
        let (path, said) = (path.to_owned(), said.to_owned());
        let contents = || self.lines.iter().filter(|line| line.number.is_some());
        let number = said.strip_prefix('v').or((said.len() < HASH_DIGITS_MIN).then_some(&said));
        let found: Vec<&VersionLine> = if let Some(number) = number {
            let Ok(number) = number.parse() else {
                return Err(VersionError::NotAVersion { path, said });
            };
            contents().filter(|line| line.number == Some(number)).collect()
        } else {
            let digits = said.to_ascii_lowercase();
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(VersionError::NotAVersion { path, said });
            }
            let is_meant = |line: &&VersionLine| {
                line.hash.as_ref().is_some_and(|hash| hash.starts_with(&digits))
            };
            contents().filter(is_meant).collect()
        };
        let names = |lines: &mut dyn Iterator<Item = &VersionLine>| {
            lines.take(LISTED_MAX).map(VersionLine::name).collect()
        };
        match found.as_slice() {
            [] => Err(VersionError::Unknown { path, said, known: names(&mut contents()) }),
            [newest, older @ ..] if older.iter().all(|line| line.hash == newest.hash) => Ok(newest),
            several => {
                let candidates = names(&mut several.iter().copied());
                Err(VersionError::Ambiguous { path, said, candidates })
            }
        }
    }
}
