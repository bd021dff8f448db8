//! Which directories lost names lately.
//!
//! A name that a directory lost after a fork is only in `past`, where the fork's branch has to look
//! for it. Most directories lost none: this spares them the look.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use rusqlite::Connection;

use super::{DbError, Doing as _};
use crate::id::{Hlc, Ino};

/// The directories of which an edge went to `past`, and when the last one did.
///
/// It may name a directory whose change was rolled back, but misses none: each is noted before the
/// change commits. Bounded: what does not fit is forgotten together with everything before it.
#[derive(Debug)]
pub(crate) struct LostNames {
    directories_max: usize,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    /// Nothing that was lost after this reading is missing.
    since: Hlc,
    directories: HashMap<Ino, Hlc>,
}

impl LostNames {
    /// Starts to remember what is lost after `now`.
    pub(crate) fn starting(now: Hlc, directories_max: usize) -> Self {
        let known = Known { since: now, directories: HashMap::new() };
        Self { directories_max, known: RwLock::new(known) }
    }

    /// Notes that a name of a directory is in `past` until `until`.
    pub(crate) fn note(&self, directory: Ino, until: Hlc) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.note(directory, until);
        known.bound(self.directories_max);
    }

    /// Says whether a directory lost no name after a reading, as far as is remembered.
    pub(crate) fn none_after(&self, directory: Ino, reading: Hlc) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.since <= reading
            && known.directories.get(&directory).is_none_or(|lost| *lost <= reading)
    }

    /// Looks up what was lost after `reading`, unless that is more than can be remembered.
    pub(crate) fn recall(&self, conn: &Connection, reading: Hlc) -> Result<(), DbError> {
        let since = self.known.read().unwrap_or_else(PoisonError::into_inner).since;
        if since <= reading {
            return Ok(());
        }
        let limit = i64::try_from(self.directories_max).unwrap_or(i64::MAX);
        let lost = conn
            .prepare_cached(
                "SELECT parent, until FROM past WHERE parent > 0 AND until > ?1 LIMIT ?2 + 1",
            )
            .and_then(|mut stmt| {
                let rows =
                    stmt.query_map((reading, limit), |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<Result<Vec<(Ino, Hlc)>, _>>()
            })
            .doing("looking for names that were lost")?;
        if lost.len() > self.directories_max {
            return Ok(());
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (directory, until) in lost {
            known.note(directory, until);
        }
        // What was forgotten meanwhile was later than what is known now.
        if known.since == since {
            known.since = reading;
        }
        known.bound(self.directories_max);
        Ok(())
    }
}

impl Known {
    fn note(&mut self, directory: Ino, until: Hlc) {
        let last = self.directories.entry(directory).or_insert(until);
        *last = until.max(*last);
    }

    fn bound(&mut self, directories_max: usize) {
        if self.directories.len() > directories_max {
            self.since = self.directories.values().copied().fold(self.since, Hlc::max);
            self.directories.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: Ino = Ino(7);

    #[test]
    fn what_is_noted_is_remembered_and_the_rest_lost_nothing() {
        let lost = LostNames::starting(Hlc(10), 3);
        lost.note(DIRECTORY, Hlc(20));
        lost.note(DIRECTORY, Hlc(15));
        assert!(!lost.none_after(DIRECTORY, Hlc(19)));
        assert!(lost.none_after(DIRECTORY, Hlc(20)));
        assert!(lost.none_after(Ino(8), Hlc(10)));
        assert!(!lost.none_after(Ino(8), Hlc(9)), "nobody knows what was before");
    }

    #[test]
    fn what_does_not_fit_makes_everything_before_it_unknown() {
        let lost = LostNames::starting(Hlc(10), 3);
        for directory in 1..=4 {
            lost.note(Ino(directory), Hlc(20 + directory));
        }
        assert!(!lost.none_after(DIRECTORY, Hlc(23)));
        assert!(lost.none_after(DIRECTORY, Hlc(24)));
    }

    #[test]
    fn what_was_lost_before_the_start_is_looked_up_where_it_fits() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "CREATE TABLE past (parent INTEGER, until INTEGER);
             INSERT INTO past VALUES (7, 4), (7, 6), (8, 3), (NULL, 9), (0, 9)",
        )
        .unwrap();
        let lost = LostNames::starting(Hlc(10), 2);
        lost.recall(&conn, Hlc(2)).unwrap();
        assert!(!lost.none_after(DIRECTORY, Hlc(2)), "three do not fit");
        lost.recall(&conn, Hlc(3)).unwrap();
        assert!(!lost.none_after(DIRECTORY, Hlc(5)));
        assert!(lost.none_after(DIRECTORY, Hlc(6)));
        assert!(lost.none_after(Ino(8), Hlc(3)));
        lost.recall(&conn, Hlc(3)).unwrap();
    }
}
