//! Conflict names.

use super::*;
use crate::{conflict_name::conflict_name, name::NAME_BYTES_MAX};

/// Born 2026-11-20T15:56:59Z.
fn edge() -> EdgeId {
    EdgeId(WireStamp {
        hlc: Hlc(1_795_190_219_000 << 16),
        actor: Actor(*b"\x01\xab45678901234567"),
    })
}

fn shown(own: &[u8], attempt: usize) -> Vec<u8> {
    let EdgeId(born) = edge();
    let own = Name::from_bytes(own).unwrap();
    conflict_name(&own, born.hlc, &born.actor.0, attempt).as_bytes().to_vec()
}

#[test]
fn a_conflict_name_says_who_when_and_which() {
    let EdgeId(born) = edge();
    let hash = blake3::hash(&[&born.hlc.0.to_be_bytes()[..], &born.actor.0].concat()).to_hex();
    let label = format!("(conflict 01ab3435 20261120T155659Z {}", &hash[..4]);
    for (own, expected) in [
        ("report.txt", format!("report {label}).txt")),
        ("README", format!("README {label})")),
        (".profile", format!(".profile {label})")),
        ("a.tar.gz", format!("a.tar {label}).gz")),
        ("ends.", format!("ends {label}).")),
    ] {
        assert_eq!(shown(own.as_bytes(), 1), expected.as_bytes());
    }
    assert_eq!(shown(b"f.c", 2), format!("f {label} 2).c").as_bytes());
}

#[test]
fn a_conflict_name_has_at_most_255_bytes_and_keeps_its_extension() {
    let long = shown(&[&[b'x'; 250][..], b".jpeg"].concat(), 1);
    assert_eq!(long.len(), NAME_BYTES_MAX);
    assert!(long.ends_with(b").jpeg"));
    let attempt = shown(&[&[b'x'; 250][..], b".jpeg"].concat(), usize::MAX);
    assert_eq!(attempt.len(), NAME_BYTES_MAX);
    assert!(attempt.ends_with(format!(" {}).jpeg", usize::MAX).as_bytes()));
    let longest_extension = shown(&[&[b'x'; 191][..], b".", &[b'y'; 63]].concat(), usize::MAX);
    assert!(longest_extension.ends_with(&[b'y'; 63]));
    let no_extension = shown(&[b"x.".as_slice(), &[b'y'; 253]].concat(), 1);
    assert_eq!(no_extension.len(), NAME_BYTES_MAX);
    assert!(no_extension.ends_with(b")"));
}

#[test]
fn a_name_in_utf_8_is_cut_between_characters() {
    for pad in 0..4 {
        let own = format!("{}{}.ß", "x".repeat(pad), "🗻".repeat(62));
        let shown = String::from_utf8(shown(own.as_bytes(), 1)).unwrap();
        assert!((NAME_BYTES_MAX - 3..=NAME_BYTES_MAX).contains(&shown.len()), "{shown}");
        assert!(shown.ends_with(").ß"));
    }
    // These bytes are no UTF-8: every byte that fits stays.
    let shown = shown(&[0x80; 255], 1);
    assert_eq!(shown.len(), NAME_BYTES_MAX);
}

#[test]
fn every_reading_gives_a_name() {
    let actor = edge().0.actor.0;
    assert!(conflict_name(&name("f"), Hlc(u64::MAX), &actor, 1).to_string().contains(" 22620411T"));
}

#[test]
fn names_that_would_collide_are_numbered_the_same_way_everywhere() {
    let [mut one, mut other] = [Writer::new(1), Writer::new(2)];
    one.create_file("f.txt", 1);
    other.advance(100);
    other.create_file("f.txt", 2);
    let conflict = united(&[&one, &other]).names("").remove(0);
    assert!(conflict.starts_with("f (conflict 02020202 20260101T000000Z "), "{conflict}");
    // Somebody's file has that very name.
    one.create_file(&conflict, 3);
    let tree = united(&[&one, &other]);
    let numbered = conflict.replace(").txt", " 2).txt");
    assert_eq!(tree.names(""), [numbered.clone(), conflict.clone(), "f.txt".into()]);
    assert_eq!(tree.file(&conflict).live.content.size_bytes, 3);
    assert_eq!(tree.file(&numbered).live.content.size_bytes, 2);
    assert_eq!(tree, united(&[&other, &one]));
}
