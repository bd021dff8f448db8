//! Settings: what they take, their versions, and how they come back after a start.

use std::time::Duration;

use super::*;
use crate::{
    bucket::{self, Owner},
    clock::Clock,
    db::{Db, DbSettings},
    identity::DeviceId,
};

const NOW_NS: i64 = 1_700_000_000_000_000_000;

struct Scratch {
    dir: tempfile::TempDir,
    db: Db,
    clock: Clock,
    photos: BucketNumber,
    music: BucketNumber,
}

fn open(dir: &tempfile::TempDir, clock: &Clock) -> Db {
    let path = dir.path().join("node.db");
    let device = DeviceId([7; 32]);
    Db::open(&path, &[crate::SCHEMA], &DbSettings::SMALL, clock.clone(), device).unwrap()
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOW_NS);
        let db = open(&dir, &clock);
        let owner = Owner { uid: 0, gid: 0 };
        let make = |name| db.write(|tx| bucket::create(tx, name, owner)).unwrap().number;
        let (photos, music) = (make("photos"), make("music"));
        Self { dir, db, clock, photos, music }
    }

    fn reopen_at(self, now_ns: i64) -> Self {
        let Self { dir, db, photos, music, .. } = self;
        drop(db);
        let clock = Clock::manual(now_ns);
        Self { db: open(&dir, &clock), dir, clock, photos, music }
    }

    /// Sets what is `written` for photos, a minute later.
    fn set(&self, written: &[&str]) -> Result<Vec<Changed>, SettingsError> {
        self.clock.advance(Duration::from_secs(60));
        let wishes: Result<Vec<Wish>, _> = written.iter().map(|w| Wish::parse(w)).collect();
        self.db.write(|tx| set(tx, self.photos, &wishes?))
    }

    fn settings(&self) -> Settings {
        self.db.read(|conn| read(conn, self.photos)).unwrap()
    }

    fn versions(&self, key: Key) -> Vec<Version> {
        self.db.read(|conn| versions(conn, self.photos, key)).unwrap()
    }

    fn values(&self, key: Key) -> Vec<Option<String>> {
        self.versions(key).into_iter().map(|version| version.value).collect()
    }
}

fn change(key: Key, from: &str, to: &str) -> Changed {
    Changed { key, from: from.to_owned(), to: to.to_owned() }
}

#[test]
fn a_new_bucket_has_the_defaults_and_no_version_of_any() {
    let scratch = Scratch::new();
    assert_eq!(scratch.settings(), Settings::default());
    let list = scratch.db.read(|conn| list(conn, scratch.photos)).unwrap();
    let shown: Vec<_> = list.iter().map(|one| (one.key.name(), one.value.as_str())).collect();
    let expected = [
        ("history", "30d,1y daily,monthly"),
        ("owners", "mounting-user"),
        ("snapshots", "off"),
        ("sync_on_close", "off"),
        ("transient", "none"),
    ];
    assert_eq!(shown, expected);
    assert!(list.iter().all(|one| one.set.is_none()));
    assert!(Key::ALL.is_sorted_by_key(|key| key.name()), "listed by name");
    assert!(Key::ALL.iter().all(|key| scratch.versions(*key).is_empty()));
}

#[test]
fn what_is_set_is_in_force_for_that_bucket_and_after_a_start() {
    let scratch = Scratch::new();
    let written = [
        "history=60d,2y weekly",
        "owners=numeric",
        "snapshots=daily=7,hourly=24",
        "sync_on_close=on",
        "transient=*.tmp, ~$*",
    ];
    assert_eq!(scratch.set(&written).unwrap().len(), 5);
    let scratch = scratch.reopen_at(NOW_NS);
    let settings = scratch.settings();
    assert_eq!(settings.history, History::parse("60d,2y weekly").unwrap());
    assert_eq!(settings.owners, Owners::Numeric);
    assert_eq!(settings.snapshots, Schedule::parse("hourly=24,daily=7").unwrap());
    assert!(settings.sync_on_close);
    assert!(settings.transient.matches("a/~$b".as_ref()));
    let listed = scratch.db.read(|conn| list(conn, scratch.photos)).unwrap();
    let stamps: Vec<_> = listed.iter().map(|one| one.set.unwrap()).collect();
    assert!(stamps.iter().all(|stamp| *stamp == stamps[0]), "one stamp for what is set together");
    assert_eq!(stamps[0].hlc, Hlc::from_unix_ns(NOW_NS + 60_000_000_000));
    let other = scratch.db.read(|conn| read(conn, scratch.music)).unwrap();
    assert_eq!(other, Settings::default());
}

#[test]
fn a_superseded_value_stays_with_the_time_it_was_in_force() {
    let scratch = Scratch::new();
    let changed = scratch.set(&["history=forever"]).unwrap();
    assert_eq!(changed, [change(Key::History, "30d,1y daily,monthly", "forever")]);
    let changed = scratch.set(&["history=90d", "owners=numeric"]).unwrap();
    assert_eq!(
        changed,
        [change(Key::History, "forever", "90d"), change(Key::Owners, "mounting-user", "numeric")]
    );
    let changed = scratch.set(&["history=default"]).unwrap();
    assert_eq!(changed, [change(Key::History, "90d", "30d,1y daily,monthly")]);
    let versions = scratch.versions(Key::History);
    let values: Vec<_> = versions.iter().map(|version| version.value.as_deref()).collect();
    assert_eq!(values, [None, Some("90d"), Some("forever")]);
    assert_eq!(versions[0].until, None);
    for (newer, older) in versions.iter().zip(&versions[1..]) {
        assert_eq!(older.until, Some(newer.stamp.hlc));
        assert!(older.stamp < newer.stamp);
    }
    let listed = scratch.db.read(|conn| list(conn, scratch.photos)).unwrap();
    assert_eq!(listed[0].set, None, "back to the default");
}

#[test]
fn what_is_in_force_already_gets_no_version() {
    let scratch = Scratch::new();
    assert_eq!(scratch.set(&["sync_on_close=off", "history=30d,1y daily,monthly"]).unwrap(), []);
    assert_eq!(scratch.set(&["transient=default"]).unwrap(), []);
    assert!(Key::ALL.iter().all(|key| scratch.versions(*key).is_empty()));
    scratch.set(&["snapshots=daily=7,hourly=24"]).unwrap();
    let changed = scratch.set(&["snapshots = hourly=24, daily=7", "owners=numeric"]).unwrap();
    assert_eq!(changed, [change(Key::Owners, "mounting-user", "numeric")]);
    assert_eq!(scratch.values(Key::Snapshots), [Some("hourly=24,daily=7".to_owned())]);
    scratch.set(&["owners=default"]).unwrap();
    assert_eq!(scratch.set(&["owners=default"]).unwrap(), []);
    assert_eq!(scratch.values(Key::Owners).len(), 2);
}

#[test]
fn all_are_set_or_none() {
    let scratch = Scratch::new();
    for written in [
        &["history=forever", "owners=nobody"][..],
        &["history=forever", "owner=numeric"],
        &["history=forever", "owners"],
        &["history=forever", "owners=numeric", "history=90d"],
    ] {
        scratch.set(written).unwrap_err();
        assert_eq!(scratch.settings(), Settings::default(), "{written:?}");
    }
    let nowhere =
        scratch.db.write(|tx| set(tx, BucketNumber(99), &[Wish::parse("history=forever")?]));
    assert!(matches!(nowhere, Err(SettingsError::Database(_))), "a setting belongs to a bucket");
}

#[test]
fn a_refusal_names_the_key_the_value_and_the_rule() {
    let long = format!("transient={}", "x".repeat(VALUE_BYTES_MAX + 1));
    for (written, words) in [
        ("history=7days", "history cannot be '7days': a span is a number of days"),
        ("owners=root", "owners cannot be 'root': it is neither mounting-user nor numeric"),
        ("snapshots=often", "snapshots cannot be 'often': each part is"),
        ("sync_on_close=yes", "sync_on_close cannot be 'yes': it is neither on nor off"),
        ("transient=[", "transient cannot be '[': a pattern cannot be read"),
        ("transient=", "transient cannot be '': a pattern is empty"),
        ("History=forever", "there is no setting 'History'"),
        ("forever", "'forever' sets nothing: it has no value"),
        (long.as_str(), "more than 4096 bytes"),
    ] {
        let said = Wish::parse(written).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
    let twice = ["history=90d", "history=91d"].map(|written| Wish::parse(written).unwrap());
    let scratch = Scratch::new();
    let refused = scratch.db.write(|tx| set(tx, scratch.photos, &twice)).unwrap_err();
    assert_eq!(refused.to_string(), "history is set twice");
}

#[test]
fn every_example_that_is_shown_is_taken() {
    for key in Key::ALL {
        let examples: Vec<&str> = key.allowed().split('`').skip(1).step_by(2).collect();
        assert!(!examples.is_empty(), "{key}");
        for example in examples {
            Wish::parse(&format!("{key}={example}")).unwrap();
        }
    }
}

#[test]
fn a_value_that_cannot_be_read_is_an_error_and_an_unknown_key_is_not() {
    let scratch = Scratch::new();
    let store = |key: &str, value: &str| {
        scratch
            .db
            .write(|tx| {
                tx.execute(
                    "INSERT INTO settings VALUES (?1, ?2, ?3, 1, 1)",
                    params![scratch.photos, key, value],
                )
                .doing("playing a newer release")
            })
            .unwrap();
    };
    store("colour", "blue");
    assert_eq!(scratch.settings(), Settings::default());
    store("history", "by phase of the moon");
    let refused = scratch.db.read(|conn| read(conn, scratch.photos)).unwrap_err();
    assert!(matches!(refused, SettingsError::Unreadable { key: Key::History, .. }), "{refused}");
    assert!(scratch.set(&["owners=numeric"]).is_err(), "nothing is changed beside it");
}

#[test]
fn a_clock_that_went_back_over_a_start_stamps_above_what_is_set() {
    let scratch = Scratch::new();
    scratch.set(&["history=forever"]).unwrap();
    let scratch = scratch.reopen_at(NOW_NS - 86_400_000_000_000);
    scratch.set(&["history=90d"]).unwrap();
    let versions = scratch.versions(Key::History);
    assert_eq!(versions[0].value.as_deref(), Some("90d"));
    assert!(versions[0].stamp.hlc > versions[1].stamp.hlc);
}
