//! Files that took each other's name: how editors save.

use std::collections::BTreeSet;

use super::Apply;
use crate::{
    id::Ino,
    name::Name,
    tree::{
        Attr, Edge, TreeError,
        edge::{Place, hang},
        row::{Row, row},
        symlink_target,
    },
};

impl Apply<'_, '_> {
    /// Says whether nobody could tell two files of one type apart by what is in them.
    pub(super) fn is_same(&self, one: &Row, other: &Row) -> Result<bool, TreeError> {
        let target = |row: &Row| symlink_target(self.tx, row.id);
        let device = |row: &Row| {
            let facet = row.attributes.as_ref();
            Attr::decode(facet.and_then(|facet| facet.attr.as_deref())).rdev
        };
        Ok(self.same_bytes(one, other)?
            && device(one) == device(other)
            && target(one)? == target(other)?)
    }

    /// Remembers that a file shows here for an equal one of the other side, as if it had replaced
    /// that: what the other side makes of its file later is made of this one.
    pub(super) fn stand_for(
        &self,
        mine: &Row,
        there: Edge,
        (parent, name): (Ino, &Name),
    ) -> Result<(), TreeError> {
        if there.replaces.is_some() || there.ino == mine.id || mine.is_live() {
            return Ok(());
        }
        let place = Place { parent, name: Some(name), replaces: Some(mine.id) };
        hang(self.tx, self.view, self.tx.next_stamp(), self.operation, there, &place, 0)?;
        Ok(())
    }

    /// Returns the newest file that `mine` of the other side and `there` of this one both are, or
    /// replaced, or whose replacement they replaced, and so on.
    pub(super) fn common_ancestor(
        &self,
        (mine, replaces): (Ino, Option<Ino>),
        there: Edge,
    ) -> Result<Option<Ino>, TreeError> {
        let mut here = BTreeSet::from([there.ino]);
        let mut next = there.replaces;
        while let Some(old) = next.filter(|old| here.insert(*old)) {
            next = row(self.tx, self.view, old)?.and_then(|row| row.edge.replaces);
        }
        let is_common = |ino: &Ino| here.contains(ino);
        Ok(self.lineage(mine, replaces)?.into_iter().find(is_common))
    }

    /// Returns a file of the other side and what it replaced there, newest first.
    fn lineage(&self, mine: Ino, replaces: Option<Ino>) -> Result<Vec<Ino>, TreeError> {
        let mut lineage = vec![mine];
        let mut seen = BTreeSet::from([mine]);
        let mut next = replaces;
        while let Some(old) = next.filter(|old| seen.insert(*old)) {
            lineage.push(old);
            next = (self.side.origin)(self.tx, old)?.and_then(|row| row.edge.replaces);
        }
        Ok(lineage)
    }

    /// Both sides made something of one file: `other` shows here, `saved` there. They began with
    /// what the other side had under that name then, or with the common ancestor.
    pub(super) fn both_saved(
        &mut self,
        ancestor: Ino,
        other: &Row,
        (saved, replaces): (&Row, Option<Ino>),
    ) -> Result<(), TreeError> {
        let mut base = None;
        for ino in self.lineage(saved.id, replaces)? {
            base = (self.side.base)(self.tx, ino)?;
            if ino == ancestor || base.as_ref().is_some_and(Row::is_live) {
                break;
            }
        }
        match &base {
            Some(base) if self.same_bytes(base, saved)? => {}
            Some(base) if self.same_bytes(base, other)? => self.take_content(other.id, saved)?,
            base => self.both_changed(base.as_ref(), other, saved)?,
        }
        self.disarm(saved, other)
    }
}
