//! What people say, in Berlin, on Friday 2026-11-20 at noon.

use proptest::prelude::*;

use super::*;

const NOON: &str = "2026-11-20T11:00:00Z";
/// The rules of Berlin, without a database of time zones.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn ns(text: &str) -> i64 {
    unix_ns(text.parse().unwrap())
}

fn berlin() -> TimeZone {
    TimeZone::posix(BERLIN).unwrap()
}

/// What `said` means when it is `now`, in UTC.
fn heard_at(now: &str, said: &str) -> Result<String, MomentError> {
    parse(said, ns(now), &berlin()).map(|at| timestamp(at).to_string())
}

fn heard(said: &str) -> Result<String, MomentError> {
    heard_at(NOON, said)
}

#[track_caller]
fn means(said: &str, utc: &str) {
    assert_eq!(heard(said).as_deref(), Ok(utc), "{said}");
}

#[test]
fn a_length_is_that_long_before_now() {
    means("now", "2026-11-20T11:00:00Z");
    means("2h", "2026-11-20T09:00:00Z");
    means("2h ago", "2026-11-20T09:00:00Z");
    means("30m", "2026-11-20T10:30:00Z");
    means("90 s", "2026-11-20T10:58:30Z");
    means("1.5h", "2026-11-20T09:30:00Z");
    means("3 days ago", "2026-11-17T11:00:00Z");
    means("1w", "2026-11-13T11:00:00Z");
    means("1 week, 2 days ago", "2026-11-11T11:00:00Z");
    means("  2H  AGO ", "2026-11-20T09:00:00Z");
    means("1mo", "2026-10-20T10:00:00Z");
    means("26 days", "2026-10-25T11:00:00Z");
    means("27 days", "2026-10-24T10:00:00Z");
}

#[test]
fn a_day_is_what_it_left_behind_and_today_is_now() {
    means("today", "2026-11-20T11:00:00Z");
    means("yesterday", "2026-11-19T22:59:59.999999999Z");
    means("Yesterday", "2026-11-19T22:59:59.999999999Z");
    means("2026-11-01", "2026-11-01T22:59:59.999999999Z");
    means("2026-07-01", "2026-07-01T21:59:59.999999999Z");
    means("2026-10-25", "2026-10-25T22:59:59.999999999Z");
    means("2026-11-20", "2026-11-20T11:00:00Z");
    means("2026-10", "2026-10-31T22:59:59.999999999Z");
    means("2024-02", "2024-02-29T22:59:59.999999999Z");
    means("2026-11", "2026-11-20T11:00:00Z");
}

#[test]
fn a_weekday_is_the_last_one_before_today() {
    means("monday", "2026-11-16T22:59:59.999999999Z");
    means("last monday", "2026-11-16T22:59:59.999999999Z");
    means("thu", "2026-11-19T22:59:59.999999999Z");
    means("friday", "2026-11-13T22:59:59.999999999Z");
    means("last Friday 9:30", "2026-11-13T08:30:59.999999999Z");
    means("sunday 18:00", "2026-11-15T17:00:59.999999999Z");
    for day in ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] {
        assert_eq!(heard(day), heard(&day[..3]), "{day}");
    }
}

#[test]
fn a_clock_time_is_the_last_one_to_the_end_of_what_was_said() {
    means("9:30", "2026-11-20T08:30:59.999999999Z");
    means("09:30:05", "2026-11-20T08:30:05.999999999Z");
    means("09:30:05.25", "2026-11-20T08:30:05.25Z");
    means("18:00", "2026-11-19T17:00:59.999999999Z");
    means("12:00", "2026-11-20T11:00:00Z");
    means("12:01", "2026-11-19T11:01:59.999999999Z");
    means("yesterday 18:00", "2026-11-19T17:00:59.999999999Z");
    means("today 0:00", "2026-11-19T23:00:59.999999999Z");
    means("2026-11-01 18:00", "2026-11-01T17:00:59.999999999Z");
    means("2026-11-01T18:00:05", "2026-11-01T17:00:05.999999999Z");
}

#[test]
fn a_time_with_its_zone_is_the_same_everywhere() {
    for (said, utc) in [
        ("2026-11-01T18:00:05Z", "2026-11-01T18:00:05.999999999Z"),
        ("2026-11-01t18:00:05z", "2026-11-01T18:00:05.999999999Z"),
        ("2026-11-01T18:00:05.123456789Z", "2026-11-01T18:00:05.123456789Z"),
        ("2026-11-01 18:00+05:30", "2026-11-01T12:30:59.999999999Z"),
        ("2026-11-01T18:00:05-03", "2026-11-01T21:00:05.999999999Z"),
        ("@1700000000", "2023-11-14T22:13:20.999999999Z"),
        ("@1700000000.5", "2023-11-14T22:13:20.5Z"),
        ("@0", "1970-01-01T00:00:00.999999999Z"),
    ] {
        means(said, utc);
        let elsewhere = parse(said, ns(NOON), &TimeZone::posix("MST7").unwrap());
        assert_eq!(elsewhere.map(|at| timestamp(at).to_string()).as_deref(), Ok(utc));
    }
}

#[test]
fn every_time_of_the_documents_means_what_stands_beside_it() {
    let docs = include_str!("../../../docs/TIMES.md");
    let mut count = 0;
    for row in docs.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (said, utc) = row.split_once(" | ").unwrap();
        for said in said.split('`').step_by(2).filter(|said| !said.is_empty()) {
            means(said, utc.trim_end_matches([' ', '|']));
            count += 1;
        }
    }
    assert_eq!(count, 22);
}

#[test]
fn what_is_no_time_is_refused() {
    for said in [
        "",
        " ",
        "soon",
        "2026",
        "2026-13",
        "2026-11-31",
        "2026-02-29",
        "24:00",
        "12:60",
        "1800",
        "18:00 yesterday",
        "yesterday at 18:00",
        "last",
        "last week",
        "last 2026-11-01",
        "monday monday",
        "@",
        "@x",
        "@1.x",
        "@-5",
        "@1.0123456789",
        "-2h",
        "+2h",
        "2h later",
        "2",
        "2 fortnights",
        "2026-11-01T",
        "2026-11-01T18",
        "2026-11-01T18:00:05Q",
        "2026-11-01T18:00:05+99:00",
        "2026-11-01T18:00Z[Europe/Berlin]",
        "2026-11-01/18:00",
        "à midi",
        "@99999999999999999999",
    ] {
        let expected = MomentError::NotATime { said: said.to_owned() };
        assert_eq!(heard(said), Err(expected), "{said:?}");
    }
    let long = "1s ".repeat(50);
    assert!(matches!(heard(&long), Err(MomentError::NotATime { .. })));
}

#[test]
fn what_is_still_to_come_and_what_never_counted_is_refused() {
    for said in ["today 12:01", "2026-11-21", "2026-12", "2027-01-01 09:00", "@1900000000"] {
        assert!(matches!(heard(said), Err(MomentError::Future { .. })), "{said}");
    }
    assert!(matches!(heard("2026-11-20T12:00:00Z"), Err(MomentError::Future { .. })));
    for said in ["1969-12-31", "26-11-01", "100y", "9999 years ago"] {
        let heard = heard(said);
        assert!(matches!(heard, Err(MomentError::TooEarly { .. })), "{said}: {heard:?}");
    }
}

#[test]
fn a_time_that_was_twice_is_refused_with_both_and_each_can_be_said() {
    let refused = heard("2026-10-25 2:30").unwrap_err();
    let MomentError::Twice { first, second, .. } = refused else { panic!("{refused}") };
    means(&first, "2026-10-25T00:30:59.999999999Z");
    means(&second, "2026-10-25T01:30:59.999999999Z");
    means("2026-10-25 1:59", "2026-10-24T23:59:59.999999999Z");
    means("2026-10-25 3:00", "2026-10-25T02:00:59.999999999Z");
    // In the first of the two hours, and in the second: what is still to come is not meant.
    let said = heard_at("2026-10-25T00:40:00Z", "2:30");
    assert_eq!(said.as_deref(), Ok("2026-10-25T00:30:59.999999999Z"));
    let said = heard_at("2026-10-25T00:20:00Z", "2:30");
    assert_eq!(said.as_deref(), Ok("2026-10-24T00:30:59.999999999Z"));
    let said = heard_at("2026-10-25T01:40:00Z", "2:30");
    assert!(matches!(said, Err(MomentError::Twice { .. })), "{said:?}");
}

#[test]
fn a_time_that_never_was_is_refused() {
    let refused = heard("2026-03-29 02:30").unwrap_err();
    assert_eq!(refused, MomentError::Skipped { said: "2026-03-29 02:30".to_owned() });
    means("2026-03-29 03:00", "2026-03-29T01:00:59.999999999Z");
    means("2026-03-29", "2026-03-29T21:59:59.999999999Z");
}

#[test]
fn a_day_that_has_no_midnight_begins_later() {
    // Clocks that go forward at midnight, as they did in Brazil.
    let zone = TimeZone::posix("BRT3BRST,M10.3.0/0,M2.3.0/0").unwrap();
    let at = parse("2026-10-17", ns(NOON), &zone).unwrap();
    assert_eq!(timestamp(at).to_string(), "2026-10-18T02:59:59.999999999Z");
    let at = parse("2026-10-18", ns(NOON), &zone).unwrap();
    assert_eq!(timestamp(at).to_string(), "2026-10-19T01:59:59.999999999Z");
}

#[test]
fn a_label_leaves_the_parts_of_a_second_out() {
    let at = ns("2026-11-01T17:00:05.7Z");
    assert_eq!(label(at), "2026-11-01T17:00:05Z");
    means(&label(at), "2026-11-01T17:00:05.999999999Z");
}

#[test]
fn an_exact_label_means_what_it_was_made_of() {
    for at in [ns("2026-11-01T17:00:05.7Z"), 0, ns("2026-11-01T17:00:05.000000015Z")] {
        assert_eq!(parse(&exact_label(at), ns(NOON), &berlin()), Ok(at));
    }
    assert_eq!(exact_label(0), "1970-01-01T00:00:00.000000000Z");
}

proptest! {
    #[test]
    fn a_label_names_its_second_in_every_zone_and_sorts_like_time(
        one in 0..4_000_000_000_000_000_000_i64,
        other in 0..4_000_000_000_000_000_000_i64,
        hours in -12..=12_i8,
    ) {
        let zone = jiff::tz::offset(hours).to_time_zone();
        let parsed = parse(&label(one), i64::MAX, &zone).unwrap();
        prop_assert_eq!(parsed / 1_000_000_000, one / 1_000_000_000);
        prop_assert!(parsed >= one);
        let seconds = (one / 1_000_000_000).cmp(&(other / 1_000_000_000));
        prop_assert_eq!(label(one).cmp(&label(other)), seconds);
        prop_assert_eq!(label(one).len(), 20);
    }

    #[test]
    fn whatever_is_said_is_heard_without_a_panic_and_never_later_than_now(
        said in "[0-9a-zT@:.+ -]{0,24}|\\PC{0,12}",
        words in prop::collection::vec(
            prop::sample::select(vec![
                "last", "monday", "yesterday", "2h", "ago", "18:00", "2026-11-01", "3", "days", "9999999999y",
            ]),
            0..4,
        ),
        now in 0..4_000_000_000_000_000_000_i64,
    ) {
        for said in [said, words.join(" ")] {
            if let Ok(at) = parse(&said, now, &berlin()) {
                prop_assert!(at <= now, "{}", said);
            }
        }
    }
}
