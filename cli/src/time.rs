//! Moments as people read them: local time, to the minute or as an age.

use std::fmt;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment in Unix nanoseconds; in JSON it is RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Moment(pub(crate) i64);

impl Moment {
    fn timestamp(self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.timestamp().to_zoned(TimeZone::system());
        write!(f, "{}", local.strftime("%Y-%m-%d %H:%M"))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.timestamp())
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let timestamp: Timestamp = text.parse().map_err(D::Error::custom)?;
        i64::try_from(timestamp.as_nanosecond()).map(Self).map_err(D::Error::custom)
    }
}

/// The moment `days` after another.
pub(crate) fn days_after(moment: Moment, days: i64) -> Moment {
    let span = SignedDuration::from_hours(days * 24).as_nanos();
    Moment(moment.0.saturating_add(i64::try_from(span).unwrap_or(i64::MAX)))
}

/// A duration in its two largest units: `3 d 4 h`, `12 min`.
pub(crate) fn lasting(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_wire_to_the_nanosecond() {
        let moment = Moment(1_700_000_000_123_456_789);
        let json = serde_json::to_string(&moment).unwrap();
        assert_eq!(json, "\"2023-11-14T22:13:20.123456789Z\"");
        assert_eq!(serde_json::from_str::<Moment>(&json).unwrap(), moment);
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(lasting(9), "9 s");
        assert_eq!(lasting(61), "1 min");
        assert_eq!(lasting(3 * 3600 + 120), "3 h 2 min");
        assert_eq!(lasting(2 * 86_400 + 3600), "2 d 1 h");
    }

    #[test]
    fn thirty_days_are_thirty_days() {
        assert_eq!(days_after(Moment(0), 30).0, 30 * 86_400 * 1_000_000_000);
    }
}
