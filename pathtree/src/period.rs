//! Hours, days, weeks, months and years of the calendar, by which history is thinned and snapshots
//! are taken.
//!
//! They are those of UTC, not of the machine's time zone: the same on every device of a bucket, and
//! unchanged when a machine travels or its clocks change for the summer.

use jiff::{Timestamp, tz::TimeZone};

/// Nanoseconds of an hour.
const HOUR_NS: i64 = 3_600_000_000_000;
/// Nanoseconds of a day; days of UTC are equally long.
pub(crate) const DAY_NS: i64 = 24 * HOUR_NS;

/// A kind of stretch of the calendar, from the shortest to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// From a full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday, as in ISO 8601.
    Week,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
}

impl Period {
    /// All of them, shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// Returns how often something happens that happens once in each: `daily`.
    pub fn adverb(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// Returns the period whose adverb `word` is.
    pub fn from_adverb(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.adverb() == word)
    }

    /// Returns the number of the stretch that `unix_ns` lies in: equal within one and greater in
    /// every later one.
    pub fn number(self, unix_ns: i64) -> i64 {
        match self {
            Self::Hour => unix_ns.div_euclid(HOUR_NS),
            Self::Day => unix_ns.div_euclid(DAY_NS),
            // 1970 began on a Thursday, three days after a Monday.
            Self::Week => (unix_ns.div_euclid(DAY_NS) + 3).div_euclid(7),
            Self::Month => {
                let day = timestamp(unix_ns).to_zoned(TimeZone::UTC);
                i64::from(day.year()) * 12 + i64::from(day.month())
            }
            Self::Year => i64::from(timestamp(unix_ns).to_zoned(TimeZone::UTC).year()),
        }
    }

    /// Returns when the stretch that `unix_ns` lies in began.
    pub(crate) fn begin_ns(self, unix_ns: i64) -> i64 {
        match self {
            Self::Hour => self.number(unix_ns).saturating_mul(HOUR_NS),
            Self::Day => self.number(unix_ns).saturating_mul(DAY_NS),
            Self::Week => (self.number(unix_ns) * 7 - 3).saturating_mul(DAY_NS),
            Self::Month | Self::Year => {
                let day = timestamp(unix_ns).to_zoned(TimeZone::UTC).date();
                let first =
                    if self == Self::Month { day.first_of_month() } else { day.first_of_year() };
                let began = first.to_zoned(TimeZone::UTC).map(|day| day.timestamp());
                began.map_or(i64::MIN, |at| i64::try_from(at.as_nanosecond()).unwrap_or(i64::MIN))
            }
        }
    }

    /// Returns what the stretch that `unix_ns` lies in is called: `2026-11-20T18`, `2026-11-20`,
    /// `2026-W47`, `2026-11`, `2026`.
    pub fn label(self, unix_ns: i64) -> String {
        let format = match self {
            Self::Hour => "%Y-%m-%dT%H",
            Self::Day => "%Y-%m-%d",
            Self::Week => "%G-W%V",
            Self::Month => "%Y-%m",
            Self::Year => "%Y",
        };
        timestamp(unix_ns).to_zoned(TimeZone::UTC).strftime(format).to_string()
    }

    /// Says whether `text` has the form of this period's labels.
    pub(crate) fn is_label(self, text: &str) -> bool {
        let form = match self {
            Self::Hour => "0000-00-00T00",
            Self::Day => "0000-00-00",
            Self::Week => "0000-W00",
            Self::Month => "0000-00",
            Self::Year => "0000",
        };
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(found, wanted)| match wanted {
                b'0' => found.is_ascii_digit(),
                _ => found == wanted,
            })
    }
}

fn timestamp(unix_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(unix_ns)).expect("64 bits of ns are the years 1677-2262")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ns(text: &str) -> i64 {
        i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    #[test]
    fn every_period_ends_where_the_calendar_says() {
        for (period, last, next) in [
            (Period::Hour, "2026-11-20T17:59:59.999999999Z", "2026-11-20T18:00:00Z"),
            (Period::Day, "2026-11-20T23:59:59.999999999Z", "2026-11-21T00:00:00Z"),
            (Period::Week, "2026-11-22T23:59:59.999999999Z", "2026-11-23T00:00:00Z"),
            (Period::Month, "2028-02-29T23:59:59.999999999Z", "2028-03-01T00:00:00Z"),
            (Period::Year, "2026-12-31T23:59:59.999999999Z", "2027-01-01T00:00:00Z"),
        ] {
            let (last, next) = (ns(last), ns(next));
            assert_eq!(period.number(last) + 1, period.number(next), "{period:?}");
            assert_ne!(period.label(last), period.label(next), "{period:?}");
        }
    }

    #[test]
    fn a_stretch_begins_where_the_one_before_ends() {
        for text in ["2026-11-20T17:59:59.9Z", "2027-01-01T00:00:00Z", "1970-01-01T00:00:00Z"] {
            for period in Period::ALL {
                let begin = period.begin_ns(ns(text));
                assert!(begin <= ns(text), "{period:?}");
                assert_eq!(period.number(begin), period.number(ns(text)), "{period:?} {text}");
                assert_eq!(period.number(begin - 1) + 1, period.number(begin), "{period:?} {text}");
            }
        }
    }

    #[test]
    fn labels_are_those_of_iso_8601() {
        let time = ns("2027-01-02T03:04:05Z");
        let labels = Period::ALL.map(|period| period.label(time));
        assert_eq!(labels, ["2027-01-02T03", "2027-01-02", "2026-W53", "2027-01", "2027"]);
    }

    #[test]
    fn adverbs_are_read_back() {
        for period in Period::ALL {
            assert_eq!(Period::from_adverb(period.adverb()), Some(period));
        }
        assert_eq!(Period::from_adverb("minutely"), None);
    }

    proptest! {
        #[test]
        fn labels_tell_stretches_apart_and_sort_like_time(one: i64, other: i64, close in 0..DAY_NS * 400) {
            for (one, other) in [(one, other), (one, one.saturating_add(close))] {
                for period in Period::ALL {
                    let numbers = period.number(one).cmp(&period.number(other));
                    let labels = period.label(one).cmp(&period.label(other));
                    prop_assert_eq!(numbers, labels, "{:?} of {} and {}", period, one, other);
                    prop_assert!(period.is_label(&period.label(one)));
                }
            }
        }
    }
}
