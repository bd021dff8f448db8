//! What is kept: the rules as they are written, and laws that hold for every history.

use proptest::prelude::*;

use super::*;

const NOW: &str = "2026-11-20T12:00:00Z";

fn ns(text: &str) -> i64 {
    let timestamp: jiff::Timestamp = text.parse().unwrap();
    i64::try_from(timestamp.as_nanosecond()).unwrap()
}

fn hlc(text: &str) -> Hlc {
    Hlc::from_unix_ns(ns(text))
}

/// Versions of one thing that were written at `times`, the last of which is the current one.
fn superseded(times: &[Hlc]) -> Vec<Superseded> {
    times.windows(2).map(|two| Superseded { since: two[0], until: two[1] }).collect()
}

fn kept<'v>(
    history: &History,
    versions: &'v [Superseded],
    now_ns: i64,
    pins: &BTreeSet<Hlc>,
) -> Vec<&'v Superseded> {
    versions.iter().filter(|version| !history.may_prune(**version, now_ns, pins)).collect()
}

/// The days and hours of `times` that are still there at [`NOW`].
fn left(history: &str, times: &[&str], pins: &[&str]) -> Vec<String> {
    let history = History::parse(history).unwrap();
    let stamps: Vec<Hlc> = times.iter().map(|time| hlc(time)).collect();
    let pins = pins.iter().map(|time| hlc(time)).collect();
    let versions = superseded(&stamps);
    let kept = kept(&history, &versions, ns(NOW), &pins);
    kept.iter().map(|version| Period::Hour.label(version.since.unix_ns())).collect()
}

#[test]
fn the_last_version_of_each_day_and_then_of_each_month_stays() {
    let times = [
        "2025-01-10T08:00:00Z",
        "2025-01-20T08:00:00Z",
        "2025-02-03T08:00:00Z",
        "2026-10-01T08:00:00Z",
        "2026-10-01T09:00:00Z",
        "2026-10-02T08:00:00Z",
        "2026-11-19T08:00:00Z",
        "2026-11-19T09:00:00Z",
        "2026-11-19T10:00:00Z",
    ];
    let expected =
        ["2025-01-20T08", "2025-02-03T08", "2026-10-01T09", "2026-10-02T08", "2026-11-19T08"];
    let found = left("30d,1y daily,monthly", &times, &[]);
    assert_eq!(found[..5], expected);
    assert_eq!(found.len(), 6, "all of the last 30 days: {found:?}");
    assert_eq!(left("forever", &times, &[]).len(), times.len() - 1);
    assert_eq!(left("30d", &times, &[]).len(), 3, "what 2026-10-02 left was superseded yesterday");
}

#[test]
fn age_counts_from_the_day_a_version_was_superseded() {
    let times = ["2020-01-01T08:00:00Z", "2026-11-19T08:00:00Z"];
    assert_eq!(left("30d", &times, &[]), ["2020-01-01T08"]);
    let times = ["2026-10-20T08:00:00Z", "2026-10-20T12:00:00Z"];
    assert_eq!(left("31d", &times, &[]), ["2026-10-20T08"], "exactly 31 days");
    assert_eq!(left("30d", &times, &[]), Vec::<String>::new());
}

#[test]
fn a_pin_keeps_the_version_that_is_shown_there() {
    let times = [
        "2025-01-10T08:00:00Z",
        "2025-01-10T09:00:00Z",
        "2025-01-10T10:00:00Z",
        "2025-01-10T11:00:00Z",
    ];
    assert_eq!(left("30d", &times, &["2025-01-10T09:30:00Z"]), ["2025-01-10T09"]);
    assert_eq!(left("30d", &times, &["2025-01-10T10:00:00Z"]), ["2025-01-10T10"], "its first");
    let outside = ["2025-01-10T07:59:59Z", "2025-01-10T11:00:00Z"];
    assert_eq!(left("30d", &times, &outside), Vec::<String>::new());
}

#[test]
fn the_last_version_of_a_month_outlives_a_weekly_step() {
    // A Thursday, and the Sunday of the same week, which is in the next month.
    let times = ["2026-04-30T08:00:00Z", "2026-05-03T08:00:00Z", "2026-11-19T08:00:00Z"];
    assert_eq!(left("30d,26w weekly,monthly", &times, &[])[0], "2026-04-30T08");
    assert_eq!(left("30d,52w weekly", &times, &[]), ["2026-05-03T08"]);
}

#[test]
fn what_is_written_is_shown_again() {
    for (written, shown) in [
        ("forever", "forever"),
        (" 30d , 1y  daily ,monthly", "30d,1y daily,monthly"),
        ("8w", "56d"),
        ("365d,10y weekly", "1y,10y weekly"),
        (
            "30d,40d hourly,60d daily,1y weekly,5y monthly,yearly",
            "30d,40d hourly,60d daily,1y weekly,5y monthly,yearly",
        ),
    ] {
        let parsed = History::parse(written).unwrap();
        assert_eq!(parsed.to_string(), shown);
        assert_eq!(History::parse(shown).unwrap(), parsed);
    }
    assert_eq!(History::default().to_string(), "30d,1y daily,monthly");
}

#[test]
fn what_is_no_rule_is_refused_with_the_rule_it_breaks() {
    for (written, word) in [
        ("", "a span"),
        ("never", "a span"),
        ("30", "a span"),
        ("30m", "a span"),
        ("30dd", "a span"),
        ("+30d", "a span"),
        ("daily", "a span"),
        ("99999999999d", "a span"),
        ("0d", "between"),
        ("101y", "between"),
        ("29d", "at least 30 days"),
        ("4w,monthly", "transient"),
        ("30d,", "ends with"),
        ("30d,1y", "ends with"),
        ("30d,1y often", "ends with"),
        ("30d,monthly,1y daily", "nothing comes after"),
        ("30d,30d daily", "greater"),
        ("30d,1y daily,200d monthly", "greater"),
        ("30d,1y monthly,daily", "fewer"),
        ("30d,1y daily,daily", "fewer"),
    ] {
        let rule = History::parse(written).unwrap_err();
        assert!(rule.contains(word), "{written:?}: {rule}");
    }
}

/// Rules of every shape.
fn arb_history() -> impl Strategy<Value = History> {
    let texts = [
        "forever",
        "30d",
        "40d",
        "30d,1y daily,monthly",
        "30d,32d hourly,60d daily,26w weekly,2y monthly,yearly",
        "32d,50d weekly,monthly",
        "30d,120d hourly,yearly",
        "30d,weekly",
    ];
    prop::sample::select(texts.to_vec()).prop_map(|text| History::parse(text).unwrap())
}

/// Readings within three years, most of them close to another one.
fn arb_readings(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Hlc>> {
    let start = ns("2024-01-01T00:00:00Z");
    let gap = prop_oneof![0..2 * 3_600_000_000_000_i64, 0..3 * DAY_NS, 0..60 * DAY_NS];
    prop::collection::vec(gap, count).prop_map(move |gaps| {
        let mut at = start;
        let next = |gap: &i64| {
            at += gap + 1_000_000;
            Hlc::from_unix_ns(at)
        };
        gaps.iter().map(next).collect()
    })
}

fn arb_case() -> impl Strategy<Value = (History, Vec<Superseded>, BTreeSet<Hlc>, i64, i64)> {
    let times = arb_readings(2..40).prop_map(|times| superseded(&times));
    let pins = arb_readings(0..5).prop_map(|pins| pins.into_iter().collect());
    let now = ns("2024-01-01T00:00:00Z")..ns("2030-01-01T00:00:00Z");
    (arb_history(), times, pins, now, 0..1000 * DAY_NS)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn pruning_twice_and_pruning_once_late_leave_the_same(
        (history, versions, pins, now, later) in arb_case()
    ) {
        let early: Vec<Superseded> =
            kept(&history, &versions, now, &pins).into_iter().copied().collect();
        prop_assert_eq!(kept(&history, &early, now, &pins).len(), early.len(), "idempotent");
        let twice = kept(&history, &early, now + later, &pins);
        let once = kept(&history, &versions, now + later, &pins);
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn nothing_that_was_pruned_is_wanted_again(
        (history, versions, pins, now, later) in arb_case()
    ) {
        for version in versions {
            if history.may_prune(version, now, &pins) {
                prop_assert!(history.may_prune(version, now + later, &pins), "{:?}", version);
            }
        }
    }

    #[test]
    fn what_must_stay_stays((history, versions, pins, now, _) in arb_case()) {
        for version in &versions {
            let pruned = history.may_prune(*version, now, &pins);
            let pinned = pins.iter().any(|pin| version.since <= *pin && *pin < version.until);
            let youngest = match &history {
                History::Forever => i64::MAX,
                History::Thinned(thinning) => i64::from(thinning.whole_days) * DAY_NS,
            };
            let young = now - version.until.unix_ns() <= youngest;
            prop_assert!(!pruned || !(pinned || young), "{:?}", version);
        }
    }

    /// A look at the end of any period that a step keeps finds what it would have found before.
    #[test]
    fn every_kept_period_shows_its_end((_, versions, _, now, _) in arb_case()) {
        let history = History::default();
        let none = BTreeSet::new();
        let kept = kept(&history, &versions, now, &none);
        for (period, days) in [(Period::Day, 365), (Period::Month, 36_500)] {
            for day in 0..1200_i64 {
                let end = ns("2024-01-01T00:00:00Z") + day * DAY_NS;
                let is_end = period.number(end - 1) != period.number(end);
                if !is_end || now - end > days * DAY_NS {
                    continue;
                }
                let shown = |v: &&Superseded| v.since.unix_ns() < end && end <= v.until.unix_ns();
                let before = versions.iter().find(shown);
                prop_assert_eq!(kept.iter().copied().find(shown), before, "{:?} {}", period, day);
            }
        }
    }
}
