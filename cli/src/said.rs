//! Words that name a branch, a snapshot or a point in time.

use jiff::{
    Timestamp,
    fmt::temporal::{DateTimeParser, DateTimePrinter},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};
use tesfs_pathtree::moment::{self, MomentError};

/// How a time can be said, for hints.
pub(crate) const TIMES: &str =
    "`2h`, `3 days ago`, `yesterday`, `monday 9:30`, `18:00`, `2026-11-01`, `2026-11-01 18:00`";

/// What somebody said, and where the days of whoever said it begin.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Said {
    pub(crate) words: String,
    /// A time zone as RFC 9557 has it: the node may be in another one.
    zone: String,
}

impl Said {
    /// Takes down what this process's user says.
    pub(crate) fn new(words: &str) -> Self {
        Self { words: words.to_owned(), zone: own_zone() }
    }

    /// Says something else in the same place.
    pub(crate) fn instead(&self, words: &str) -> Self {
        Self { words: words.to_owned(), zone: self.zone.clone() }
    }

    /// Returns the point in time that is meant, in Unix nanoseconds; an `@` may stand before it.
    ///
    /// # Errors
    ///
    /// As [`moment::parse`].
    pub(crate) fn moment(&self, now_ns: i64) -> Result<i64, MomentError> {
        let zone = DateTimeParser::new().parse_time_zone(&self.zone).unwrap_or(TimeZone::UTC);
        match (moment::parse(&self.words, now_ns, &zone), self.words.strip_prefix('@')) {
            (Err(MomentError::NotATime { .. }), Some(rest)) => moment::parse(rest, now_ns, &zone),
            (parsed, _) => parsed,
        }
    }

    /// Says whether `words` are a way to say a time, whenever that is.
    pub(crate) fn is_time(words: &str) -> bool {
        !matches!(moment::parse(words, 0, &TimeZone::UTC), Err(MomentError::NotATime { .. }))
    }
}

fn own_zone() -> String {
    let (zone, printer) = (TimeZone::system(), DateTimePrinter::new());
    // A zone without a name is as far from UTC as it is now.
    let fixed = || TimeZone::fixed(zone.to_offset(Timestamp::now()));
    printer
        .time_zone_to_string(&zone)
        .or_else(|_| printer.time_zone_to_string(&fixed()))
        .unwrap_or_else(|_| "UTC".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_that_of_whoever_said_it() {
        let said = |zone: &str| Said { words: "2026-11-01".into(), zone: zone.into() };
        let (berlin, utc) = (said("Europe/Berlin"), said("UTC"));
        let now_ns = 1_800_000_000_000_000_000;
        let hour_ns = 3_600_000_000_000;
        assert_eq!(utc.moment(now_ns).unwrap() - berlin.moment(now_ns).unwrap(), hour_ns);
    }

    #[test]
    fn a_time_may_have_an_at_before_it() {
        let said = |words: &str| Said { words: words.into(), zone: "UTC".into() };
        let now_ns = 1_800_000_000_000_000_000;
        assert_eq!(said("@2h").moment(now_ns), said("2h").moment(now_ns));
        assert_eq!(said("@@1700000000").moment(now_ns), said("@1700000000").moment(now_ns));
        assert!(said("@try").moment(now_ns).is_err());
    }

    #[test]
    fn times_are_told_from_names() {
        for time in ["18:00", "2h", "yesterday", "2026-11-01 18:00", "@1700000000"] {
            assert!(Said::is_time(time), "{time}");
        }
        for name in ["try", "18", "before the move", "2026-11-01:18"] {
            assert!(!Said::is_time(name), "{name}");
        }
    }
}
