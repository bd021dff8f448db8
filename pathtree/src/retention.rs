//! Which superseded versions a bucket keeps, and for how long.
//!
//! The decision about a version looks at nothing but that version, the time and the pins. So it
//! does not matter in which order versions are looked at, which others were pruned before, or how
//! often: what may be pruned now may be pruned at every later time, and pruning in between changes
//! nothing about what is left in the end.
//!
//! Only superseded versions are ever asked about: the current one has no end.

use std::{collections::BTreeSet, fmt};

use crate::{
    id::Hlc,
    period::{DAY_NS, Period},
};

/// Longest span that can be written, in days: beyond it people mean `forever`.
const DAYS_MAX: u32 = 36_500;
/// Every version stays for at least so many days, whatever a bucket says: a mistake is often found
/// weeks later, and what is promised must not depend on who set the bucket up.
pub const DAYS_PROMISED: u32 = 30;
const DAYS_PER_WEEK: u32 = 7;
const DAYS_PER_YEAR: u32 = 365;

/// How superseded versions are thinned as they age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// Every version stays.
    Forever,
    /// Every version stays for a time, then fewer and fewer.
    Thinned(Thinning),
}

/// The steps of a thinning. Written as in `30d,1y daily,monthly`.
///
/// Its steps grow: ages, and periods. Built by [`History::parse`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thinning {
    /// For so many days after it was superseded every version stays.
    whole_days: u32,
    steps: Vec<Step>,
}

/// From the age at which the step before ends, one version of each period stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// Until this age in days; `None` is for ever.
    until_days: Option<u32>,
    period: Period,
}

/// When a superseded version was the current one: in `[since, until)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// Its stamp's reading.
    pub since: Hlc,
    /// The reading of its successor's stamp.
    pub until: Hlc,
}

impl Superseded {
    /// Says whether it may go at `now_ns` whatever the rule of its bucket: nothing in `pins` shows
    /// it, and it is no longer promised.
    pub(crate) fn may_be_freed(self, now_ns: i64, pins: &BTreeSet<Hlc>) -> bool {
        self.is_older(DAYS_PROMISED, now_ns) && !self.is_pinned(pins)
    }

    fn is_older(self, days: u32, now_ns: i64) -> bool {
        now_ns.saturating_sub(self.until.unix_ns()) > i64::from(days) * DAY_NS
    }

    /// Says whether a look at one of `pins` shows it.
    pub(crate) fn is_pinned(self, pins: &BTreeSet<Hlc>) -> bool {
        self.since < self.until && pins.range(self.since..self.until).next().is_some()
    }

    /// Says whether it was the last version of a period: what that period left behind.
    fn closes(self, period: Period) -> bool {
        period.number(self.since.unix_ns()) != period.number(self.until.unix_ns())
    }
}

/// Every version for 30 days, then one a day until it is a year old, then one a month.
impl Default for History {
    fn default() -> Self {
        let daily = Step { until_days: Some(DAYS_PER_YEAR), period: Period::Day };
        let monthly = Step { until_days: None, period: Period::Month };
        Self::Thinned(Thinning { whole_days: 30, steps: vec![daily, monthly] })
    }
}

impl History {
    /// Parses `forever`, or steps parted by commas: how long every version stays (`30d`), then,
    /// each with the age it ends at, how often one does (`1y daily`). A last step without an age
    /// (`monthly`) goes on for ever; after one with an age nothing stays.
    ///
    /// # Errors
    ///
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.trim() == "forever" {
            return Ok(Self::Forever);
        }
        let mut parts = text.split(',').map(str::trim);
        let whole_days = span(parts.next().unwrap_or_default())?;
        if whole_days < DAYS_PROMISED {
            return Err(
                "every version stays for at least 30 days, so that a mistake can be taken \
                        back; `transient` is for what needs no earlier versions",
            );
        }
        let mut steps: Vec<Step> = Vec::new();
        for part in parts {
            let (until_days, adverb) = match part.split_once(char::is_whitespace) {
                Some((until, adverb)) => (Some(span(until)?), adverb.trim_start()),
                None => (None, part),
            };
            let Some(period) = Period::from_adverb(adverb) else {
                return Err("a step ends with hourly, daily, weekly, monthly or yearly");
            };
            let (age, before) = match steps.last() {
                Some(Step { until_days: None, .. }) => {
                    return Err("nothing comes after a step without an age");
                }
                Some(Step { until_days: Some(age), period }) => (*age, Some(*period)),
                None => (whole_days, None),
            };
            if until_days.is_some_and(|until| until <= age) {
                return Err("each age is greater than the one before");
            }
            if before.is_some_and(|before| period <= before) {
                return Err("each step keeps fewer than the one before");
            }
            steps.push(Step { until_days, period });
        }
        Ok(Self::Thinned(Thinning { whole_days, steps }))
    }

    /// Returns what pruning at `now_ns` leaves whole, by age.
    pub(crate) fn stretches(&self, now_ns: i64) -> Vec<Stretch> {
        let Self::Thinned(thinning) = self else { return Vec::new() };
        let ends = thinning.steps.iter().map_while(|step| step.until_days);
        let ages = std::iter::once(thinning.whole_days).chain(ends);
        let stretch = |(nth, days): (usize, u32)| Stretch {
            until: Hlc::last_of_unix_ns(now_ns.saturating_sub(i64::from(days) * DAY_NS)),
            periods: thinning.steps[nth..].iter().map(|step| step.period).collect(),
        };
        ages.enumerate().map(stretch).collect()
    }

    /// Says whether `version` may be pruned at `now_ns` (Unix nanoseconds).
    ///
    /// It may not while it is
    /// - what a point in time in `pins` (a fork, a snapshot) shows,
    /// - younger than the first span, counted from when it was superseded: what was current for
    ///   years and is overwritten today stays as long as what is a minute old,
    /// - the last version of a period that the step of its age, or any step after that, keeps.
    ///
    /// The steps to come count because weeks do not end with months: the last version of a month
    /// has to be there when the monthly step begins.
    ///
    /// A machine whose clock went back sees versions that end in the future: those are young.
    pub fn may_prune(&self, version: Superseded, now_ns: i64, pins: &BTreeSet<Hlc>) -> bool {
        let Self::Thinned(thinning) = self else { return false };
        let is_past = |days: u32| version.is_older(days, now_ns);
        is_past(thinning.whole_days)
            && !version.is_pinned(pins)
            && !thinning
                .steps
                .iter()
                .filter(|step| !step.until_days.is_some_and(is_past))
                .any(|step| version.closes(step.period))
    }
}

/// Stretches of the calendar, up to a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Before this reading only the ends of `periods` are sure to be whole.
    pub(crate) until: Hlc,
    /// None: nothing is.
    pub(crate) periods: Vec<Period>,
}

/// Reads `30d`, `8w` or `1y` as days.
fn span(text: &str) -> Result<u32, &'static str> {
    const RULE: &str = "a span is a number of days, weeks or years, as in 30d, 8w or 1y";
    let (unit, unit_days) = match text.as_bytes().last() {
        Some(b'd') => ('d', 1),
        Some(b'w') => ('w', DAYS_PER_WEEK),
        Some(b'y') => ('y', DAYS_PER_YEAR),
        _ => return Err(RULE),
    };
    let digits = text.trim_end_matches(unit);
    if digits.len() + 1 != text.len() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RULE);
    }
    let count: u32 = digits.parse().map_err(|_| RULE)?;
    let days = count.checked_mul(unit_days).filter(|days| (1..=DAYS_MAX).contains(days));
    days.ok_or("a span is between 1 day and 100 years; without an end it is `forever`")
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Thinned(thinning) = self else { return f.write_str("forever") };
        write_span(f, thinning.whole_days)?;
        for step in &thinning.steps {
            f.write_str(",")?;
            if let Some(days) = step.until_days {
                write_span(f, days)?;
                f.write_str(" ")?;
            }
            f.write_str(step.period.adverb())?;
        }
        Ok(())
    }
}

fn write_span(f: &mut fmt::Formatter<'_>, days: u32) -> fmt::Result {
    if days.is_multiple_of(DAYS_PER_YEAR) {
        write!(f, "{}y", days / DAYS_PER_YEAR)
    } else {
        write!(f, "{days}d")
    }
}

#[cfg(test)]
mod tests;
