//! The schedule as it is written, and what it does on machines that sleep and clocks that jump.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::period::DAY_NS;

const START: &str = "2026-11-20T18:30:00Z";
const MINUTE_NS: i64 = 60_000_000_000;
const HOUR_NS: i64 = 60 * MINUTE_NS;

fn ns(text: &str) -> i64 {
    let timestamp: jiff::Timestamp = text.parse().unwrap();
    i64::try_from(timestamp.as_nanosecond()).unwrap()
}

/// A bucket's snapshots, and the time.
#[derive(Clone, Debug)]
struct Machine {
    schedule: Schedule,
    snapshots: Vec<Taken>,
    now_ns: i64,
}

impl Machine {
    fn new(schedule: &str) -> Self {
        let schedule = Schedule::parse(schedule).unwrap();
        Self { schedule, snapshots: Vec::new(), now_ns: ns(START) }
    }

    /// Does what is due after `pass_ns`, and says what that was.
    fn look(&mut self, pass_ns: i64) -> Due {
        self.now_ns += pass_ns;
        let due = self.schedule.due(&self.snapshots, self.now_ns);
        self.snapshots.retain(|taken| !due.remove.contains(&taken.name));
        let taken = due.take.iter().map(|name| Taken { name: name.clone(), at_ns: self.now_ns });
        self.snapshots.extend(taken);
        due
    }

    fn count(&self, period: Period) -> usize {
        self.snapshots.iter().filter(|taken| automatic(&taken.name) == Some(period)).count()
    }
}

#[test]
fn one_of_each_kind_is_taken_and_the_next_when_its_time_has_come() {
    let mut machine = Machine::new("hourly=24,daily=7,weekly=4,monthly=12,yearly=5");
    let names = [
        "hourly-2026-11-20T18",
        "daily-2026-11-20",
        "weekly-2026-W47",
        "monthly-2026-11",
        "yearly-2026",
    ];
    assert_eq!(machine.look(0).take, names);
    assert_eq!(machine.look(29 * MINUTE_NS), Due::default());
    assert_eq!(machine.look(MINUTE_NS).take, ["hourly-2026-11-20T19"]);
    assert_eq!(machine.look(5 * HOUR_NS).take, ["hourly-2026-11-21T00", "daily-2026-11-21"]);
}

#[test]
fn the_newest_stay_and_the_oldest_go() {
    let mut machine = Machine::new("hourly=3");
    for _ in 0..10 {
        machine.look(HOUR_NS);
    }
    machine.look(0);
    let names: Vec<&str> = machine.snapshots.iter().map(|taken| taken.name.as_str()).collect();
    assert_eq!(names, ["hourly-2026-11-21T02", "hourly-2026-11-21T03", "hourly-2026-11-21T04"]);
}

#[test]
fn a_machine_that_slept_for_weeks_takes_one_of_each_and_keeps_the_old_ones() {
    let mut machine = Machine::new("hourly=24,daily=7");
    for _ in 0..100 {
        machine.look(HOUR_NS);
    }
    let due = machine.look(40 * DAY_NS);
    assert_eq!(due.take.len(), 2);
    assert!(due.remove.len() <= 2, "{due:?}");
    assert_eq!((machine.count(Period::Hour), machine.count(Period::Day)), (25, 5 + 1));
}

#[test]
fn a_clock_that_goes_back_removes_nothing_and_catches_up() {
    let mut machine = Machine::new("hourly=3");
    for _ in 0..5 {
        machine.look(HOUR_NS);
    }
    machine.look(0);
    let before = machine.snapshots.clone();
    machine.look(-400 * DAY_NS);
    for _ in 0..10 {
        machine.look(HOUR_NS);
    }
    assert!(before.iter().all(|taken| machine.snapshots.contains(taken)));
    assert_eq!(machine.count(Period::Hour), before.len() + 3 + 1, "{:?}", machine.snapshots);
    machine.look(400 * DAY_NS);
    machine.look(HOUR_NS);
    assert_eq!(machine.count(Period::Hour), 4);
}

#[test]
fn what_people_took_is_never_named() {
    let mut machine = Machine::new("daily=1");
    for name in ["before the move", "daily-", "daily-report", "daily-2026-11", "Daily-2026-11-01"] {
        machine.snapshots.push(Taken { name: name.to_owned(), at_ns: 0 });
    }
    for _ in 0..5 {
        machine.look(DAY_NS);
    }
    machine.look(0);
    assert_eq!(machine.snapshots.len(), 5 + 1);
    assert_eq!(automatic("weekly-2026-W47"), Some(Period::Week));
    assert_eq!(automatic("weekly-2026-47"), None);
}

#[test]
fn a_kind_that_is_no_longer_taken_is_left_alone() {
    let mut machine = Machine::new("hourly=3,daily=3");
    machine.look(0);
    machine.schedule = Schedule::parse("off").unwrap();
    assert_eq!(machine.look(DAY_NS), Due::default());
    machine.schedule = Schedule::parse("daily=3").unwrap();
    assert_eq!(machine.look(0).take, ["daily-2026-11-21"]);
    assert_eq!(machine.count(Period::Hour), 1);
}

#[test]
fn what_is_written_is_shown_again() {
    for (written, shown) in [
        ("off", "off"),
        ("hourly=24,daily=7", "hourly=24,daily=7"),
        (" yearly = 5 , hourly=1000", "hourly=1000,yearly=5"),
    ] {
        let parsed = Schedule::parse(written).unwrap();
        assert_eq!(parsed.to_string(), shown);
        assert_eq!(Schedule::parse(shown).unwrap(), parsed);
    }
}

#[test]
fn what_is_no_schedule_is_refused_with_the_rule_it_breaks() {
    for (written, word) in [
        ("", "a kind and a number"),
        ("on", "a kind and a number"),
        ("daily=7,", "a kind and a number"),
        ("daily=+7", "a kind and a number"),
        ("daily=many", "a kind and a number"),
        ("daily=", "between"),
        ("daily=0", "between"),
        ("daily=1001", "between"),
        ("daily=99999999", "between"),
        ("often=7", "a kind is"),
        ("daily=7,daily=8", "once"),
    ] {
        let rule = Schedule::parse(written).unwrap_err();
        assert!(rule.contains(word), "{written:?}: {rule}");
    }
}

/// How the clock moves between two looks: mostly a little ahead, sometimes far, sometimes back.
fn arb_passing() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 0..3 * HOUR_NS,
        2 => 0..60 * DAY_NS,
        1 => -3 * HOUR_NS..0,
        1 => -400 * DAY_NS..0,
        1 => 0..800 * DAY_NS,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_clock_does_enough_are_left_and_none_too_many_are_taken(
        passings in prop::collection::vec(arb_passing(), 1..120)
    ) {
        let mut machine = Machine::new("hourly=4,daily=3,weekly=2,monthly=2,yearly=1");
        for pass_ns in passings {
            let before = machine.clone();
            let due = machine.look(pass_ns);
            let kinds: BTreeSet<_> = due.take.iter().map(|name| automatic(name)).collect();
            prop_assert_eq!(kinds.len(), due.take.len(), "one of each kind at most");
            prop_assert!(kinds.iter().all(Option::is_some), "{:?}", due);
            for period in Period::ALL {
                let kept = machine.schedule.kept(period);
                let removed = due.remove.iter().filter(|n| automatic(n) == Some(period)).count();
                let past =
                    |t: &&Taken| automatic(&t.name) == Some(period) && t.at_ns <= machine.now_ns;
                let had = before.snapshots.iter().filter(past).count();
                prop_assert_eq!(had - removed, kept.min(had), "{:?} {:?}", period, due);
                for taken in before.snapshots.iter().filter(|t| t.at_ns > machine.now_ns) {
                    prop_assert!(!due.remove.contains(&taken.name), "{:?}", taken);
                }
                prop_assert!(machine.snapshots.iter().filter(past).count() <= kept + 1);
            }
            let again = machine.schedule.due(&machine.snapshots, machine.now_ns);
            prop_assert_eq!(again.take, Vec::<String>::new(), "taken already");
        }
    }
}
