//! Automatic snapshots: which to take now, and which have had their time.
//!
//! Everything follows from the snapshots there are and the time; there is no memory that could go
//! wrong. A machine that slept takes one snapshot of each kind and not all that it missed. Old ones
//! go by number and never by age, so a clock that jumps ahead takes none that it does not replace;
//! and what a wrong clock dated in the future is left alone until that time has come.

use std::fmt;

use crate::period::Period;

/// Most snapshots that are kept of one kind: each holds on to versions and is listed.
const KEPT_MAX: u16 = 1000;

/// How many automatic snapshots of each kind are kept; written as in `hourly=24,daily=7`.
///
/// The default is none: history shows every time there was anyway, and each snapshot keeps versions
/// that would be thinned otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// In the order of [`Period::ALL`]; 0 is none.
    kept: [u16; Period::ALL.len()],
}

/// A snapshot of a bucket, automatic or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What it is called.
    pub name: String,
    /// The point in time it shows, in Unix nanoseconds.
    pub at_ns: i64,
}

/// What a look at the schedule leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Names of the snapshots to take now: one of each kind at most.
    pub take: Vec<String>,
    /// Names of the snapshots to remove.
    pub remove: Vec<String>,
}

/// Returns how often the snapshot called `name` is taken, if it is an automatic one: a name like
/// `hourly-2026-11-20T18` or `weekly-2026-W47`, in UTC.
///
/// Such names are the schedule's; whoever takes a snapshot by hand must not use them.
pub fn automatic(name: &str) -> Option<Period> {
    let (adverb, label) = name.split_once('-')?;
    Period::from_adverb(adverb).filter(|period| period.is_label(label))
}

impl Schedule {
    /// Parses `off`, or counts of kinds parted by commas: `hourly=24,daily=7`.
    ///
    /// # Errors
    ///
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "each part is a kind and a number, as in daily=7";
        let mut schedule = Self::default();
        if text.trim() == "off" {
            return Ok(schedule);
        }
        for part in text.split(',') {
            let (adverb, count) = part.split_once('=').ok_or(RULE)?;
            let period = Period::from_adverb(adverb.trim())
                .ok_or("a kind is hourly, daily, weekly, monthly or yearly")?;
            let count = count.trim();
            if !count.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(RULE);
            }
            let count: u16 =
                count.parse().ok().filter(|count| (1..=KEPT_MAX).contains(count)).ok_or(
                    "a number is between 1 and 1000; a kind that is left out is not taken",
                )?;
            let kept = schedule.kept_mut(period);
            if *kept > 0 {
                return Err("each kind is said once");
            }
            *kept = count;
        }
        Ok(schedule)
    }

    /// Returns how many snapshots of a kind are kept; 0 where none are taken.
    pub fn kept(&self, period: Period) -> usize {
        usize::from(self.kept[period as usize])
    }

    fn kept_mut(&mut self, period: Period) -> &mut u16 {
        &mut self.kept[period as usize]
    }

    /// Says what to do at `now_ns` (Unix nanoseconds) about a bucket that has `snapshots`.
    ///
    /// Of each kind one is taken in each stretch of the calendar, at the first look in it. The
    /// oldest are removed, as many as there are more than the schedule keeps. What is taken now
    /// does not count yet: should that fail, as many are left as should be. Snapshots dated after
    /// `now_ns` neither count nor go.
    ///
    /// Kinds that the schedule leaves out are left as they are: `off` stops, and removes nothing.
    /// Snapshots that are not [`automatic`] are never named.
    pub fn due(&self, snapshots: &[Taken], now_ns: i64) -> Due {
        let mut due = Due::default();
        for period in Period::ALL {
            let kept = self.kept(period);
            if kept == 0 {
                continue;
            }
            let mut past: Vec<&Taken> = snapshots
                .iter()
                .filter(|taken| taken.at_ns <= now_ns && automatic(&taken.name) == Some(period))
                .collect();
            past.sort_by(|a, b| (b.at_ns, &b.name).cmp(&(a.at_ns, &a.name)));
            due.remove.extend(past.iter().skip(kept).map(|taken| taken.name.clone()));
            let name = format!("{}-{}", period.adverb(), period.label(now_ns));
            if snapshots.iter().all(|taken| taken.name != name) {
                due.take.push(name);
            }
        }
        due
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = Period::ALL.into_iter().filter(|period| self.kept(*period) > 0);
        let mut parting = "";
        for period in kinds {
            write!(f, "{parting}{}={}", period.adverb(), self.kept(period))?;
            parting = ",";
        }
        if parting.is_empty() { f.write_str("off") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
