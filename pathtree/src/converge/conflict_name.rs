//! The names of files and directories whose own name an older one has.

use std::str;

use jiff::Timestamp;

use super::EdgeId;
use crate::name::{NAME_BYTES_MAX, Name};

/// A longer ending (with its dot) is no extension: it would leave the stem no room.
const EXTENSION_BYTES_MAX: usize = 64;

/// Returns `stem (conflict KEY8 HLC-UTC EDGE4).ext`, cut to 255 bytes, extension and all.
///
/// KEY8 are the first four bytes of the actor that made the edge, HLC-UTC is when it did, EDGE4 the
/// first two bytes of the BLAKE3 hash of the edge's id (its reading in big-endian bytes, then its
/// actor). The stem is cut, between characters if the name is UTF-8. From the second `attempt` on,
/// their number follows EDGE4.
pub(super) fn conflict_name(name: &Name, edge: EdgeId, attempt: usize) -> Name {
    let (stem, extension) = split(name.as_bytes());
    let label = label(edge, attempt);
    let room = NAME_BYTES_MAX - label.len() - extension.len();
    let stem = cut(stem, room, str::from_utf8(name.as_bytes()).is_ok());
    let bytes = [stem, label.as_bytes(), extension].concat();
    Name::from_bytes(&bytes).expect("a name with a label, within the limit, is a name")
}

/// At most 63 bytes, so that there is always room for the extension and some stem.
fn label(EdgeId(born): EdgeId, attempt: usize) -> String {
    let [a, b, c, d, ..] = born.actor.0;
    let at = Timestamp::from_nanosecond(born.hlc.unix_ns().into()).unwrap_or(Timestamp::MAX);
    let at = at.strftime("%Y%m%dT%H%M%SZ");
    let hash = blake3::hash(&[&born.hlc.0.to_be_bytes()[..], &born.actor.0].concat());
    let [e, f, ..] = hash.as_bytes();
    let again = if attempt > 1 { format!(" {attempt}") } else { String::new() };
    format!(" (conflict {a:02x}{b:02x}{c:02x}{d:02x} {at} {e:02x}{f:02x}{again})")
}

/// The extension begins at the last dot, unless that is the first byte.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_BYTES_MAX => name.split_at(dot),
        _ => (name, &[]),
    }
}

fn cut(stem: &[u8], room: usize, is_utf8: bool) -> &[u8] {
    let mut len = stem.len().min(room);
    // A byte 10xxxxxx goes on with the character of the bytes before it.
    while is_utf8 && stem.get(len).is_some_and(|byte| byte & 0xc0 == 0x80) {
        len -= 1;
    }
    &stem[..len]
}
