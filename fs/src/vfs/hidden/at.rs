//! `at/`: the tree as it was, by the name of a snapshot or by a time.

use std::{collections::BTreeSet, sync::Arc};

use tesfs_pathtree::{DbError, Hlc, Name, branch, moment, tree};

use super::{
    looks::{Look, Showing},
    not_looked_at,
};
use crate::{attributes::DirectoryEntry, error::FsError, vfs::Vfs};

const SECOND_NS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3600 * SECOND_NS;
const DAY_NS: i64 = 24 * HOUR_NS;

/// Which times are listed: the last ones at which something changed, one in each stretch of a
/// length, so many of them.
const LISTED: [(i64, usize); 4] = [(SECOND_NS, 10), (HOUR_NS, 24), (DAY_NS, 31), (7 * DAY_NS, 52)];

impl Vfs {
    /// Returns the look that a name in `at/` stands for: that of a snapshot, else of a time.
    ///
    /// Words mean the same time until nobody used them for a minute. What is said of a day, or of a
    /// second, that is not over means another time once it is.
    pub(super) fn look_at(&self, name: &Name) -> Result<Option<Arc<Look>>, FsError> {
        let Ok(text) = std::str::from_utf8(name.as_bytes()) else { return Ok(None) };
        let found = self.db.read(|conn| branch::find(conn, &self.bucket, text))?;
        if let Some(snapshot) = found.filter(|branch| branch.frozen) {
            return self.look_at_all_of(Some(&snapshot), Showing::Still);
        }
        let wall_ns = self.db.clock().now_ns();
        let newest = self.db.read(|conn| tree::last_change(conn, &self.view))?;
        let now_ns = newest.map_or(wall_ns, |newest| wall_ns.max(newest.unix_ns()));
        let Ok(at_ns) = moment::parse(text, now_ns, &self.hidden.zone) else { return Ok(None) };
        let (looks, is_over) = (&self.hidden.looks, at_ns < now_ns);
        if let Some(said) = looks.said(name, is_over, wall_ns) {
            return Ok(Some(said));
        }
        let asked = Hlc::last_of_unix_ns(at_ns);
        // Where history was thinned, the last state before that is whole.
        let kept = self.db.read(|conn| tree::nearest_kept(conn, &self.view, asked))?;
        let Some(kept) = kept else { return Ok(None) };
        let look = self.look_through(kept, wall_ns)?;
        Ok(Some(looks.say(name, is_over, look, wall_ns)))
    }

    /// Returns the look at what was there at a reading, which stays as it is.
    fn look_through(&self, through: Hlc, now_ns: i64) -> Result<Arc<Look>, FsError> {
        let is_still = self.db.read(|conn| tree::is_still(conn, &self.view, through))?;
        let held = if is_still {
            Ok(self.view.at(through))
        } else {
            self.db.write(|tx| tree::hold_still(tx, &self.view, through))
        };
        let view = match held {
            // Looking back is to work on a full disk. What is not held, the operation that runs now
            // may still replace.
            Err(err) if DbError::is_full(&err) => self.view.at(through),
            held => held?,
        };
        let last = self.db.read(|conn| tree::last_change(conn, &view))?;
        self.hidden.looks.at((self.view.branch, last), (view, Showing::Still), now_ns)
    }

    /// Lists snapshots, and some of the times at which something changed. Names of times sort as
    /// the times do.
    pub(super) fn list_at(&self) -> Result<Vec<DirectoryEntry>, FsError> {
        let snapshots = self.branches_in_use()?.into_iter().filter(|branch| branch.frozen);
        let mut names: BTreeSet<String> = snapshots.map(|snapshot| snapshot.name).collect();
        for (length_ns, count) in LISTED {
            let mut through = Hlc(i64::MAX.cast_unsigned());
            for _ in 0..count {
                let view = self.view.at(through);
                let Some(last) = self.db.read(|conn| tree::last_change(conn, &view))? else {
                    break;
                };
                let last_ns = last.unix_ns();
                names.insert(moment::label(last_ns));
                let begin = Hlc::from_unix_ns(last_ns - last_ns % length_ns);
                through = Hlc(begin.0.saturating_sub(1));
            }
        }
        not_looked_at(names)
    }
}
