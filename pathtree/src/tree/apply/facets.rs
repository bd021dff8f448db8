//! Content and attributes: a new version where only the other side changed.

use super::{Apply, Delta, Favour, XattrDelta, edges::Wish};
use crate::{
    id::Ino,
    tree::{
        Attr, AttributeEdit, NewContent, SetTime, TreeError, XattrEdit,
        adopt::insert,
        change::{Facet, record},
        conflict::{ConflictKind, Found},
        publish, remove_xattr,
        row::{ContentFacet, EdgeFacet, Row, row},
        set_attributes, set_xattr, xattr,
    },
};

/// The bits that make a program run as its owner or group.
const SET_ID: u32 = 0o6000;

impl Apply<'_, '_> {
    /// Brings a row to the branch that it does not know: with everything but its place.
    pub(super) fn newcomer(&mut self, delta: Delta) -> Result<Option<Wish>, TreeError> {
        let Delta { id, theirs, xattrs, .. } = delta;
        // An inode may have lost its first edge and still have further ones.
        if !theirs.is_live() && theirs.nlink.unwrap_or(0) == 0 {
            return Ok(None);
        }
        let stamp = self.tx.next_stamp();
        let mtime_ns = effective_mtime_ns(&theirs);
        let nowhere = EdgeFacet { parent: Ino::NOWHERE, version: stamp, ..theirs.edge.clone() };
        let mut arrived = Row { edge: nowhere, branch: self.view.branch, ..theirs.clone() };
        arrived.nlink = theirs.target.is_none().then_some(0);
        arrived.ctime_ns = None;
        if let Some(attributes) = arrived.attributes.as_mut() {
            attributes.version = stamp;
        }
        if let Some(content) = arrived.content.as_mut() {
            *content = ContentFacet { base: None, version: stamp, mtime_ns, ..content.clone() };
            self.done.adopted.extend(content.blob);
        }
        insert(self.tx, self.view, &arrived)?;
        let what = if theirs.target.is_some() {
            Facet::Edge.bit()
        } else {
            Facet::Edge.bit() | Facet::Attributes.bit() | Facet::Content.bit()
        };
        record(self.tx, self.view, stamp, id, what, self.operation)?;
        for XattrDelta { name, theirs, .. } in xattrs {
            if let Some(value) = theirs {
                let pair = (&name[..], &value[..]);
                set_xattr(self.tx, self.view, self.operation, id, pair, XattrEdit::Either)?;
            }
        }
        Ok(theirs.is_live().then(|| Wish::place(id, &theirs)))
    }

    /// Returns whether the other side changed the bytes.
    pub(super) fn content(&mut self, delta: &Delta, ours: &Row) -> Result<bool, TreeError> {
        let Delta { base, theirs, .. } = delta;
        if theirs.content.is_none() || theirs.is_directory() || theirs.target.is_some() {
            return Ok(false);
        }
        if let Some(base) = base
            && self.same_bytes(base, theirs)?
        {
            return Ok(false);
        }
        if self.same_bytes(ours, theirs)? {
            return Ok(true);
        }
        let is_ours_unchanged = match base {
            Some(base) => self.same_bytes(base, ours)?,
            None => false,
        };
        if is_ours_unchanged {
            self.take_content(ours.id, theirs)?;
        } else {
            self.both_changed(base.as_ref(), ours, theirs)?;
        }
        Ok(true)
    }

    /// Both sides have bytes of their own: merges the lines of a text, else decides what shows.
    pub(super) fn both_changed(
        &mut self,
        base: Option<&Row>,
        ours: &Row,
        theirs: &Row,
    ) -> Result<(), TreeError> {
        let blob = |row: &Row| row.content.as_ref().and_then(|content| content.blob);
        let blobs = [base.and_then(blob), blob(ours), blob(theirs)];
        if base.is_some()
            && self.side.favour == Favour::Newest
            && let Some(merged) = (self.bytes.merge)(self.tx, blobs)?
        {
            publish(self.tx, self.view, self.operation, ours.id, &merged, None)?;
            self.done.edited += 1;
            self.done.lines_merged += 1;
            return Ok(());
        }
        let version = |row: &Row| row.content.as_ref().map(|content| content.version);
        match self.side.favour {
            Favour::Ours => Ok(()),
            Favour::Theirs => self.take_content(ours.id, theirs),
            Favour::Newest => {
                let is_ours = version(theirs) > version(ours);
                let side = if is_ours { ours } else { theirs };
                let (kind, ino) = (ConflictKind::Content, ours.id);
                self.conflict(&Found { kind, ino, side, is_ours, base, rival: None })?;
                if is_ours { self.take_content(ino, theirs) } else { Ok(()) }
            }
        }
    }

    pub(super) fn take_content(&mut self, id: Ino, theirs: &Row) -> Result<(), TreeError> {
        let Some(content) = &theirs.content else { return Ok(()) };
        let new = NewContent {
            size: content.size.cast_unsigned(),
            blob: content.blob,
            mtime_ns: effective_mtime_ns(theirs),
            ctime_ns: None,
        };
        publish(self.tx, self.view, self.operation, id, &new, None)?;
        self.done.adopted.extend(content.blob);
        self.done.edited += 1;
        Ok(())
    }

    /// Field by field; where both sides changed one, ours stays unless theirs is favoured or newer.
    pub(super) fn attributes(&mut self, delta: &Delta, ours: &Row) -> Result<(), TreeError> {
        let Delta { id, base, theirs, xattrs, .. } = delta;
        let mut changed = self.xattrs(*id, xattrs)?;
        let mut edit = match (base.as_ref().and_then(facets), facets(theirs), facets(ours)) {
            (Some(base), Some(to), Some(from)) => {
                let takes_over = match self.side.favour {
                    Favour::Newest => {
                        let version = |row: &Row| row.attributes.as_ref().map(|one| one.version);
                        version(theirs) > version(ours)
                    }
                    Favour::Ours => false,
                    Favour::Theirs => true,
                };
                edit_between(&base, &to, &from, takes_over)
            }
            _ => AttributeEdit::default(),
        };
        // A time is set for the bytes that were there then.
        if edit.mtime_ns.is_some() && !self.same_bytes(&self.require_row(*id)?, theirs)? {
            edit.mtime_ns = None;
        }
        if !edit.is_empty() {
            set_attributes(self.tx, self.view, self.operation, *id, &edit)?;
            changed = true;
        }
        self.done.attributes += u64::from(changed);
        Ok(())
    }

    /// Takes the set-user-id and set-group-id bits off a file that has its bytes from one side and
    /// its owner or permissions from the other: nobody gave those bits to these bytes.
    pub(super) fn disarm(&mut self, theirs: &Row, ours: &Row) -> Result<(), TreeError> {
        let now = self.require_row(ours.id)?;
        let Some((mode, attr)) = facets(&now).filter(|_| !now.is_directory()) else {
            return Ok(());
        };
        let owned = |row: &Row| facets(row).map(|(mode, attr)| (mode, attr.uid, attr.gid));
        let is_as = |side: &Row| -> Result<bool, TreeError> {
            Ok(owned(side) == Some((mode, attr.uid, attr.gid)) && self.same_bytes(side, &now)?)
        };
        if mode & SET_ID == 0 || is_as(ours)? || is_as(theirs)? {
            return Ok(());
        }
        let edit = AttributeEdit { permissions: Some(mode & !SET_ID), ..AttributeEdit::default() };
        set_attributes(self.tx, self.view, self.operation, ours.id, &edit)?;
        Ok(())
    }

    fn xattrs(&mut self, id: Ino, xattrs: &[XattrDelta]) -> Result<bool, TreeError> {
        let mut changed = false;
        for XattrDelta { name, base, theirs } in xattrs {
            let ours = xattr(self.tx, self.view, id, name)?;
            let unchanged = base == theirs || ours == *theirs;
            if unchanged || (ours != *base && self.side.favour != Favour::Theirs) {
                continue;
            }
            match theirs {
                Some(value) => {
                    let pair = (&name[..], &value[..]);
                    set_xattr(self.tx, self.view, self.operation, id, pair, XattrEdit::Either)?;
                }
                None => remove_xattr(self.tx, self.view, self.operation, id, name)?,
            }
            changed = true;
        }
        Ok(changed)
    }

    pub(super) fn require_row(&self, id: Ino) -> Result<Row, TreeError> {
        row(self.tx, self.view, id)?.ok_or(TreeError::InodeGone(id))
    }
}

fn facets(row: &Row) -> Option<(u32, Attr)> {
    let facet = row.attributes.as_ref()?;
    let attr = Attr::decode(facet.attr.as_deref());
    Some((facet.mode & 0o7777, Attr { mtime: time_in_force(row), ..attr }))
}

/// The modification time that somebody set, unless there is newer content.
fn time_in_force(row: &Row) -> Option<SetTime> {
    let content = row.content.as_ref()?;
    let attr = row.attributes.as_ref().and_then(|facet| facet.attr.as_deref());
    let set = Attr::decode(attr).mtime?;
    let is_in_force = match row.is_directory() {
        true => set.at.unix_ns() >= content.mtime_ns,
        false => set.at >= content.version.hlc,
    };
    is_in_force.then_some(set)
}

fn edit_between(
    (base_mode, base): &(u32, Attr),
    (to_mode, to): &(u32, Attr),
    (from_mode, from): &(u32, Attr),
    takes_over: bool,
) -> AttributeEdit {
    /// The value to set: theirs where only they changed it, or where theirs takes over.
    fn pick<T: PartialEq + Copy>(base: T, to: T, from: T, takes_over: bool) -> Option<T> {
        (to != base && to != from && (from == base || takes_over)).then_some(to)
    }
    let set = |attr: &Attr| attr.mtime.map(|set| set.to_ns);
    AttributeEdit {
        permissions: pick(*base_mode, *to_mode, *from_mode, takes_over),
        uid: pick(base.uid, to.uid, from.uid, takes_over),
        gid: pick(base.gid, to.gid, from.gid, takes_over),
        atime_ns: pick(base.atime_ns, to.atime_ns, from.atime_ns, takes_over).flatten(),
        mtime_ns: pick(set(base), set(to), set(from), takes_over).flatten(),
    }
}

/// The modification time that stat shows of a file's row.
fn effective_mtime_ns(row: &Row) -> i64 {
    match time_in_force(row).filter(|_| !row.is_directory()) {
        Some(set) => set.to_ns,
        None => row.content.as_ref().map_or(0, |content| content.mtime_ns),
    }
}
