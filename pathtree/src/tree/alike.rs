//! Names that some systems can not tell apart: equal but for case, or for how their letters are
//! encoded. Here they are different names; on other disks they are one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use caseless::Caseless as _;
use rusqlite::{Connection, params};
use unicode_normalization::UnicodeNormalization as _;

use super::{
    View,
    inode::edge,
    row::{Row, row},
    versions::changed_by,
};
use crate::{
    db::{DbError, Doing as _, Tx},
    id::{Ino, OperationId},
    name::Name,
};

/// Two names in one directory that some systems can not tell apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alike {
    /// Where both are.
    pub directory: Ino,
    /// In the order of their bytes.
    pub names: [Name; 2],
    /// They have the same letters, encoded in two ways; else they differ in case.
    pub same_letters: bool,
}

/// Returns the pairs that a merge brought together: the branch did not have them.
///
/// It looks at the names of every directory in which the merge placed something, and at nothing
/// else.
pub(super) fn brought_together(
    tx: &Tx<'_>,
    into: &View,
    operation: OperationId,
) -> Result<Vec<Alike>, DbError> {
    let ids: BTreeSet<Ino> =
        changed_by(tx, into, operation)?.into_iter().map(|(id, _)| id).collect();
    let mut placed: BTreeMap<Ino, Vec<Row>> = BTreeMap::new();
    for id in ids {
        let Some(found) = row(tx, into, id)? else { continue };
        let is_placed = found.edge.version.hlc.0.cast_signed() >= operation.0;
        if is_placed && found.is_live() {
            placed.entry(found.edge.parent).or_default().push(found);
        }
    }
    let mut pairs = BTreeSet::new();
    for (directory, rows) in placed {
        let named = by_key(tx, directory)?;
        for new in rows {
            let Ok(name) = Name::from_bytes(&new.edge.name) else { continue };
            let Some(key) = key(&name) else { continue };
            for other in named.get(&key).into_iter().flatten().filter(|other| **other != name) {
                if edge(tx, into, directory, other)?.is_none() {
                    continue;
                }
                let mut names = [name.clone(), other.clone()];
                names.sort();
                let same_letters = letters(&names[0]) == letters(&names[1]);
                pairs.insert(Alike { directory, names, same_letters });
            }
        }
    }
    Ok(pairs.into_iter().collect())
}

/// All names that a directory has or had on any branch, by what tells none of a pair from the other.
fn by_key(conn: &Connection, directory: Ino) -> Result<HashMap<String, BTreeSet<Name>>, DbError> {
    let mut named: HashMap<String, BTreeSet<Name>> = HashMap::new();
    for sql in [
        "SELECT name FROM inodes WHERE parent = ?1 AND parent > 0",
        "SELECT name FROM past WHERE parent = ?1 AND parent > 0",
    ] {
        conn.prepare_cached(sql)
            .and_then(|mut stmt| {
                let mut rows = stmt.query(params![directory])?;
                while let Some(row) = rows.next()? {
                    let name: Name = row.get(0)?;
                    if let Some(key) = key(&name) {
                        named.entry(key).or_default().insert(name);
                    }
                }
                Ok(())
            })
            .doing("reading the names of a directory")?;
    }
    Ok(named)
}

/// What two names have in common that some systems can not tell apart; `None` of what is no text.
///
/// Canonical caseless matching, Unicode 3.13 D145.
fn key(name: &Name) -> Option<String> {
    let text = std::str::from_utf8(name.as_bytes()).ok()?;
    if text.is_ascii() {
        return Some(text.to_ascii_lowercase());
    }
    Some(text.nfd().default_case_fold().nfd().collect())
}

/// The letters of a name, whatever their encoding.
fn letters(name: &Name) -> Option<String> {
    let text = std::str::from_utf8(name.as_bytes()).ok()?;
    Some(text.nfd().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_alike(one: &str, other: &str) -> bool {
        let key = |text: &str| key(&Name::from_bytes(text.as_bytes()).unwrap());
        key(one) == key(other)
    }

    #[test]
    fn case_and_encoding_are_what_is_overlooked() {
        for (one, other) in [
            ("README", "ReadMe"),
            ("\u{e9}t\u{e9}", "e\u{301}te\u{301}"),
            ("\u{c9}T\u{c9}", "e\u{301}te\u{301}"),
            ("STRASSE", "stra\u{df}e"),
            ("\u{212a}elvin", "kelvin"),
            ("\u{3a3}\u{391}\u{3a3}", "\u{3c3}\u{3b1}\u{3c2}"),
        ] {
            assert!(is_alike(one, other), "{one} {other}");
        }
        for (one, other) in [("a", "b"), ("a", "a "), ("e", "\u{e9}"), ("a.txt", "a.TXT2")] {
            assert!(!is_alike(one, other), "{one} {other}");
        }
        assert_eq!(key(&Name::from_bytes(b"\xff").unwrap()), None, "no text");
    }
}
