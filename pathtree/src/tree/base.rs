//! What two branches both know, to compare what each of them made of it.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::{
    View,
    row::{Row, row},
    versions::{FACETS, put, stamp_of},
    xattr::{xattr_names, xattr_version},
};
use crate::{db::DbError, id::Ino};

/// The base of a merge: states of branches that both sides know, none of which another one
/// includes.
///
/// There are several where both sides merged the same branches, each for itself. Of every facet
/// the newest version counts: what is older was known when that was made, or is the same.
pub(super) struct Base {
    pub(super) states: Vec<View>,
}

impl Base {
    /// Returns a row as both sides began with it; `None` where neither did.
    pub(super) fn row(&self, conn: &Connection, ino: Ino) -> Result<Option<Row>, DbError> {
        let mut newest: Option<Row> = None;
        for state in &self.states {
            let Some(known) = row(conn, state, ino)? else { continue };
            let Some(newest) = newest.as_mut() else {
                newest = Some(known);
                continue;
            };
            for facet in FACETS {
                if stamp_of(&known, facet) > stamp_of(newest, facet) {
                    put(newest, &known, facet);
                }
            }
        }
        Ok(newest)
    }

    /// Returns an extended attribute as both sides began with it.
    pub(super) fn xattr(
        &self,
        conn: &Connection,
        ino: Ino,
        name: &[u8],
    ) -> Result<Option<Vec<u8>>, DbError> {
        let mut newest = None;
        for state in &self.states {
            newest = newest.max(xattr_version(conn, state, ino, name)?);
        }
        Ok(newest.and_then(|(_, value)| value))
    }

    /// Returns the names of extended attributes that any of the states has.
    pub(super) fn xattr_names(
        &self,
        conn: &Connection,
        ino: Ino,
    ) -> Result<BTreeSet<Vec<u8>>, DbError> {
        let mut names = BTreeSet::new();
        for state in &self.states {
            names.extend(xattr_names(conn, state, ino)?);
        }
        Ok(names)
    }
}
