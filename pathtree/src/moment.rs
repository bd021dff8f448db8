//! Points in time as people say them: `yesterday`, `2h ago`, `monday 9:30`, `2026-11-01`.
//!
//! Whoever asks what was there *as of* a day means what the day left behind. So what is said stands
//! for all that was done by the end of the smallest part of it that was said: of the month, the
//! day, the minute, the second. A change that a list shows at 18:00 is there as of 18:00. Programs
//! differ here: the point-in-time options of IBM's backup client take the end of a day, too, while
//! git takes the present time of day on that date.

use jiff::{
    SignedDuration, Span, Timestamp, Zoned,
    civil::{Date, Time, Weekday},
    fmt::{friendly::SpanParser, temporal::DateTimeParser},
    tz::{AmbiguousOffset, TimeZone},
};

/// Longest text that is looked at: no way to say a time is longer.
const BYTES_MAX: usize = 100;

/// Why words are no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MomentError {
    /// They are something else.
    #[error("'{said}' is no time")]
    NotATime {
        /// What was said.
        said: String,
    },
    /// It is still to come.
    #[error("'{said}' lies in the future")]
    Future {
        /// What was said.
        said: String,
    },
    /// It is before 1970, where the times of changes begin.
    #[error("'{said}' lies before 1970")]
    TooEarly {
        /// What was said.
        said: String,
    },
    /// The clocks went back over it.
    #[error("'{said}' was twice, because the clocks went back")]
    Twice {
        /// What was said.
        said: String,
        /// How to say the first of the two.
        first: String,
        /// How to say the second.
        second: String,
    },
    /// The clocks went forward over it.
    #[error("'{said}' never was, because the clocks went forward")]
    Skipped {
        /// What was said.
        said: String,
    },
}

/// Returns the point in time that `said` means, in Unix nanoseconds; never later than `now_ns`.
///
/// - `now`; `2h`, `30m`, `1w 2d`, `3 days ago`: that long before now. Days, weeks, months and years
///   (`d w mo y`) are the calendar's, `m` is minutes.
/// - `today`, `yesterday`, `monday` or `last monday` (the last one before today), `2026-11-01`, each
///   with or without a clock time behind it; and `2026-11`.
/// - `18:00`, `9:30`, `18:00:05`: the last time it was that late.
/// - `2026-11-01T18:00:05Z`, `2026-11-01 18:00+01:00`: whatever the time zone is.
/// - `@1700000000`: seconds since 1970.
///
/// A day, a month, a minute or a second stands for its last nanosecond (see the module); a second
/// with decimals is exact. Clock times and days are those of `zone`. Case does not matter.
///
/// `now_ns` should not lie before the newest change, or that is not shown as of now: a machine's
/// clock may have gone back.
///
/// # Errors
///
/// [`MomentError`], by what is wrong with it.
pub fn parse(said: &str, now_ns: i64, zone: &TimeZone) -> Result<i64, MomentError> {
    let now = timestamp(now_ns);
    let said = Said { said, now: now.to_zoned(zone.clone()) };
    let Stretch { first, last } = said.stretch()?;
    if first > now {
        return Err(MomentError::Future { said: said.owned() });
    }
    if last < Timestamp::UNIX_EPOCH {
        return Err(said.too_early());
    }
    Ok(unix_ns(last.min(now)))
}

/// Returns a short name for a point in time, such as `2026-11-01T17:00:05Z`.
///
/// It is in UTC, so that names sort like times, also where the clocks go back. Parts of a second are
/// left out: [parsed](parse), the name means the end of its second, and so shows everything that
/// was to be seen at `unix_ns`, and nothing of the second after it.
pub fn label(unix_ns: i64) -> String {
    timestamp(unix_ns).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns a name for a point in time with every part of its second, such as
/// `2026-11-01T17:00:05.123000000Z`; [parsed](parse), it means just that.
pub fn exact_label(unix_ns: i64) -> String {
    timestamp(unix_ns).strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string()
}

/// The time that somebody's words stand for.
#[derive(Clone, Copy)]
struct Stretch {
    first: Timestamp,
    last: Timestamp,
}

impl Stretch {
    fn instant(at: Timestamp) -> Self {
        Self { first: at, last: at }
    }

    fn beginning(first: Timestamp, length: SignedDuration) -> Option<Self> {
        let last = first.checked_add(length).ok()?.checked_sub(SignedDuration::from_nanos(1));
        Some(Self { first, last: last.ok()? })
    }

    fn between(first: Date, last: Date, zone: &TimeZone) -> Option<Self> {
        let first = first.to_zoned(zone.clone()).ok()?.timestamp();
        let last = last.to_zoned(zone.clone()).ok()?.end_of_day().ok()?.timestamp();
        Some(Self { first, last })
    }
}

/// A time of day, and how it was written.
#[derive(Clone, Copy)]
struct Clock<'a> {
    written: &'a str,
    time: Time,
    /// Of the smallest part that was written; zero for an instant.
    length: SignedDuration,
}

/// Words, and when they were said.
struct Said<'a> {
    said: &'a str,
    now: Zoned,
}

impl Said<'_> {
    fn stretch(&self) -> Result<Stretch, MomentError> {
        if self.said.len() > BYTES_MAX {
            return Err(self.not_a_time());
        }
        let lower = self.said.trim().to_ascii_lowercase();
        // `2026-11-01t18:00` is a day and a clock time, like `2026-11-01 18:00`.
        let parted = match lower.split_once('t') {
            Some((day, clock)) if !clock.is_empty() && date(day).is_some() => {
                format!("{day} {clock}")
            }
            _ => lower,
        };
        let words: Vec<&str> = parted.split_whitespace().collect();
        match words[..] {
            ["now"] => Ok(Stretch::instant(self.now.timestamp())),
            [word] => self.one(word),
            ["last", word] if self.weekday(word).is_some() => self.one(word),
            ["last", word, clock] if self.weekday(word).is_some() => self.two(word, clock),
            [day, clock] if self.day(day).is_some() => self.two(day, clock),
            _ => self.ago(&words.join(" ")),
        }
    }

    /// A day, a month, a clock time, seconds or a length.
    fn one(&self, word: &str) -> Result<Stretch, MomentError> {
        let zone = self.now.time_zone();
        let found = if let Some(seconds) = word.strip_prefix('@') {
            unix_seconds(seconds)
        } else if let Some(clock) = clock(word) {
            return self.latest(clock);
        } else if let Some(day) = self.day(word) {
            Stretch::between(day, day, zone)
        } else if let Some(first) = date(&format!("{word}-01")) {
            Stretch::between(first, first.last_of_month(), zone)
        } else {
            return self.ago(word);
        };
        found.ok_or_else(|| self.not_a_time())
    }

    /// A time of a day, in a zone of its own where it names one.
    fn two(&self, day: &str, written: &str) -> Result<Stretch, MomentError> {
        let Some(day) = self.day(day) else { return Err(self.not_a_time()) };
        if let Some(clock) = clock(written) {
            return self.on(day, clock);
        }
        let zoned = || {
            let (time, zone) = written.split_at(written.find(['z', '+', '-'])?);
            let clock = clock(time)?;
            let zone = match zone {
                "z" => TimeZone::UTC,
                offset => DateTimeParser::new().parse_time_zone(offset).ok()?,
            };
            let first = zone.to_timestamp(day.to_datetime(clock.time)).ok()?;
            Stretch::beginning(first, clock.length)
        };
        zoned().ok_or_else(|| self.not_a_time())
    }

    /// The last time it was `clock`.
    fn latest(&self, clock: Clock<'_>) -> Result<Stretch, MomentError> {
        let today = self.now.date();
        let found = self.on(today, clock)?;
        if found.first <= self.now.timestamp() {
            return Ok(found);
        }
        self.on(today.yesterday().map_err(|_| self.not_a_time())?, clock)
    }

    /// A time of a day where the clocks of the user are.
    fn on(&self, day: Date, clock: Clock<'_>) -> Result<Stretch, MomentError> {
        let local = day.to_datetime(clock.time);
        let ambiguous = self.now.time_zone().to_ambiguous_timestamp(local);
        let first = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local),
            AmbiguousOffset::Gap { .. } => {
                return Err(MomentError::Skipped { said: self.owned() });
            }
            AmbiguousOffset::Fold { before, after } => {
                let is_to_come =
                    |at: Result<Timestamp, _>| at.is_ok_and(|at| at > self.now.timestamp());
                if !is_to_come(after.to_timestamp(local)) {
                    let say = |offset| format!("{day}T{}{offset}", clock.written);
                    let (first, second) = (say(before), say(after));
                    return Err(MomentError::Twice { said: self.owned(), first, second });
                }
                before.to_timestamp(local)
            }
        };
        let first = first.map_err(|_| self.not_a_time())?;
        Stretch::beginning(first, clock.length).ok_or_else(|| self.not_a_time())
    }

    /// So long before now.
    fn ago(&self, words: &str) -> Result<Stretch, MomentError> {
        let span = SpanParser::new().parse_span(words).map(Span::abs);
        match span {
            Ok(span) if !words.starts_with(['+', '-']) => {
                let at = self.now.checked_sub(span).map_err(|_| self.too_early())?;
                Ok(Stretch::instant(at.timestamp()))
            }
            _ => Err(self.not_a_time()),
        }
    }

    fn day(&self, word: &str) -> Option<Date> {
        match word {
            "today" => Some(self.now.date()),
            "yesterday" => self.now.date().yesterday().ok(),
            _ => date(word).or_else(|| self.weekday(word)),
        }
    }

    /// The last such day before today: who means today says so.
    fn weekday(&self, word: &str) -> Option<Date> {
        let weekday = match word {
            "monday" | "mon" => Weekday::Monday,
            "tuesday" | "tue" => Weekday::Tuesday,
            "wednesday" | "wed" => Weekday::Wednesday,
            "thursday" | "thu" => Weekday::Thursday,
            "friday" | "fri" => Weekday::Friday,
            "saturday" | "sat" => Weekday::Saturday,
            "sunday" | "sun" => Weekday::Sunday,
            _ => return None,
        };
        self.now.date().nth_weekday(-1, weekday).ok()
    }

    fn owned(&self) -> String {
        self.said.to_owned()
    }

    fn not_a_time(&self) -> MomentError {
        MomentError::NotATime { said: self.owned() }
    }

    fn too_early(&self) -> MomentError {
        MomentError::TooEarly { said: self.owned() }
    }
}

fn date(word: &str) -> Option<Date> {
    Date::strptime("%Y-%m-%d", word).ok()
}

fn clock(word: &str) -> Option<Clock<'_>> {
    [
        ("%H:%M", SignedDuration::from_mins(1)),
        ("%H:%M:%S", SignedDuration::from_secs(1)),
        ("%H:%M:%S%.f", SignedDuration::from_nanos(1)),
    ]
    .into_iter()
    .find_map(|(format, length)| {
        let time = Time::strptime(format, word).ok()?;
        Some(Clock { written: word, time, length })
    })
}

/// Reads what is behind the `@`: seconds, with or without decimals.
fn unix_seconds(word: &str) -> Option<Stretch> {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, decimals) = match word.split_once('.') {
        Some((whole, decimals)) => (whole, Some(decimals)),
        None => (word, None),
    };
    if whole.is_empty() || !is_number(whole) {
        return None;
    }
    let first = Timestamp::from_second(whole.parse().ok()?).ok()?;
    let Some(decimals) = decimals else {
        return Stretch::beginning(first, SignedDuration::from_secs(1));
    };
    if decimals.len() > 9 || !is_number(decimals) {
        return None;
    }
    let nanos = SignedDuration::from_nanos(format!("{decimals:0<9}").parse().ok()?);
    first.checked_add(nanos).ok().map(Stretch::instant)
}

fn timestamp(unix_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(unix_ns)).expect("64 bits of ns are the years 1677-2262")
}

fn unix_ns(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).expect("it lies between 1970 and a time that was 64 bits")
}

#[cfg(test)]
mod tests;
