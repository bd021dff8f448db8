//! Where edges hang: what the other side moved, removed and brought, in an order that works.
//!
//! One wish may wait for another: a name for the file that still has it, a directory for what is in
//! it, a new file for its directory. So they are tried in rounds; a round without progress means
//! that files change names in a circle (one of them is parked), or that the sides disagree.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::{Apply, Delta, Favour, LedTo};
use crate::{
    id::Ino,
    name::Name,
    tree::{
        Edge, S_IFMT, TreeError,
        change::touch_directory,
        conflict::{ConflictKind, Found, free_conflict_name},
        edge::{Place, hang},
        inode::{edge, has_edges, inode},
        rename::is_below,
        row::{ContentFacet, Row, row, rows_in},
    },
};

/// What the other side wants of an edge.
pub(super) struct Wish {
    id: Ino,
    /// `None`: it is to be removed.
    to: Option<Wanted>,
}

/// Where an edge is to hang.
struct Wanted {
    parent: Ino,
    name: Name,
    replaces: Option<Ino>,
    /// The bytes of the other side, as they were there.
    content: Option<ContentFacet>,
}

impl Wish {
    pub(super) fn place(id: Ino, theirs: &Row) -> Self {
        let name = Name::from_bytes(&theirs.edge.name).ok();
        let (parent, replaces) = (theirs.edge.parent, theirs.edge.replaces);
        let content = theirs.content.clone();
        Self { id, to: name.map(|name| Wanted { parent, name, replaces, content }) }
    }

    fn remove(id: Ino) -> Self {
        Self { id, to: None }
    }
}

/// Two places for one thing: `side` has the one that it does not get.
fn place_conflict(ino: Ino, side: &Row, is_ours: bool) -> Found<'_> {
    Found { kind: ConflictKind::Place, ino, side, is_ours, base: None, rival: None }
}

fn place_of(row: &Row) -> Option<(Ino, &[u8])> {
    row.is_live().then_some((row.edge.parent, &row.edge.name[..]))
}

impl Apply<'_, '_> {
    /// Decides what is to be done about an edge; `edited`: the other side changed the bytes.
    pub(super) fn wish(
        &mut self,
        delta: &Delta,
        ours: &Row,
        edited: bool,
    ) -> Result<Option<Wish>, TreeError> {
        let Delta { id, base, theirs, led_to, .. } = delta;
        let base_place = base.as_ref().and_then(place_of);
        let (theirs_place, ours_place) = (place_of(theirs), place_of(ours));
        if *id == self.view.root || theirs_place == ours_place {
            return Ok(None);
        }
        let (edited, edited_here) = match (led_to, base) {
            (Some(led_to), _) => self.edited_behind(led_to, ours)?,
            (None, Some(base)) if !ours.is_directory() => (edited, !self.same_bytes(base, ours)?),
            (None, _) => (edited, false),
        };
        let they_moved = theirs_place != base_place;
        let we_moved = ours_place != base_place;
        match (theirs_place.is_some(), ours_place.is_some()) {
            // An edit, or another place, beats a delete.
            (true, false) if they_moved || edited => {
                if we_moved {
                    self.done.kept.push(*id);
                }
                Ok(Some(Wish::place(*id, theirs)))
            }
            (false, true) if they_moved => {
                if we_moved || edited_here {
                    self.done.kept.push(*id);
                    return Ok(None);
                }
                Ok(Some(Wish::remove(*id)))
            }
            (true, true) if they_moved && !we_moved => Ok(Some(Wish::place(*id, theirs))),
            (true, true) if they_moved => self.both_moved(*id, ours, theirs),
            _ => Ok(None),
        }
    }

    /// Says of a further hard link whether the other side edited what nothing leads to here any more,
    /// and whether this one edited it. What was applied to that inode by now is no edit.
    fn edited_behind(&self, led_to: &LedTo, link: &Row) -> Result<(bool, bool), TreeError> {
        let LedTo { base, theirs } = led_to;
        let Some(ours) = row(self.tx, self.view, link.ino())? else { return Ok((false, false)) };
        let they_edited = !self.same_bytes(base, theirs)?;
        let we_edited = !self.same_bytes(base, &ours)? && !self.same_bytes(theirs, &ours)?;
        Ok((they_edited && !self.is_reachable(&ours)?, we_edited))
    }

    fn both_moved(&mut self, id: Ino, ours: &Row, theirs: &Row) -> Result<Option<Wish>, TreeError> {
        let takes_over = match self.side.favour {
            Favour::Newest => theirs.edge.version > ours.edge.version,
            Favour::Ours => false,
            Favour::Theirs => true,
        };
        if self.side.favour == Favour::Newest {
            let side = if takes_over { ours } else { theirs };
            self.conflict(&place_conflict(id, side, takes_over))?;
        }
        Ok(takes_over.then(|| Wish::place(id, theirs)))
    }

    /// Grants the wishes, as far as they can be.
    pub(super) fn edges(&mut self, wishes: Vec<Wish>) -> Result<(), TreeError> {
        let mut pending: Vec<Wish> = wishes;
        while !pending.is_empty() {
            let count = pending.len();
            pending = self.round(pending)?;
            if pending.len() == count {
                pending = self.unblock(pending)?;
            }
        }
        Ok(())
    }

    /// Tries every wish, and once more those that waited for what was granted; returns the rest.
    fn round(&mut self, wishes: Vec<Wish>) -> Result<Vec<Wish>, TreeError> {
        let ids: HashSet<Ino> = wishes.iter().map(|wish| wish.id).collect();
        let mut waiting: BTreeMap<Ino, Vec<Wish>> = BTreeMap::new();
        let mut next = VecDeque::from(wishes);
        while let Some(wish) = next.pop_front() {
            let id = wish.id;
            match self.grant(wish, &ids)? {
                Some((wish, on)) => waiting.entry(on).or_default().push(wish),
                None => next.extend(waiting.remove(&id).into_iter().flatten()),
            }
        }
        Ok(waiting.into_values().flatten().collect())
    }

    /// Grants a wish; where it has to wait, returns it and whose wish it waits for.
    fn grant(&mut self, wish: Wish, ids: &HashSet<Ino>) -> Result<Option<(Wish, Ino)>, TreeError> {
        let Some(ours) = row(self.tx, self.view, wish.id)? else { return Ok(None) };
        let Some(to) = &wish.to else {
            if ours.is_live() {
                if ours.is_directory() && has_edges(self.tx, self.view, wish.id)? {
                    return Ok(Some((wish, ours.id)));
                }
                self.cut(&ours)?;
            }
            return Ok(None);
        };
        let parent = self.same.get(&to.parent).copied().unwrap_or(to.parent);
        if !self.is_open_directory(parent)? {
            return Ok(Some((wish, parent)));
        }
        if ours.is_directory() && is_below(self.tx, self.view, parent, wish.id)? {
            return Ok(Some((wish, ours.id)));
        }
        match edge(self.tx, self.view, parent, &to.name)? {
            None => self.put(&ours, parent, &to.name, to.replaces)?,
            Some(there) if there.row() == wish.id => {}
            Some(there) if ids.contains(&there.row()) => return Ok(Some((wish, there.row()))),
            Some(there) => self.contest(&ours, (parent, to), there)?,
        }
        Ok(None)
    }

    /// Breaks a circle of wishes that wait for each other.
    fn unblock(&mut self, mut waiting: Vec<Wish>) -> Result<Vec<Wish>, TreeError> {
        // A directory that is gone here, and that something is to hang in, comes back.
        for at in 0..waiting.len() {
            let Some(to) = &waiting[at].to else { continue };
            let parent = self.same.get(&to.parent).copied().unwrap_or(to.parent);
            if self.is_open_directory(parent)? || waiting.iter().any(|wish| wish.id == parent) {
                continue;
            }
            if let Some(origin) = (self.side.origin)(self.tx, parent)?.filter(Row::is_live) {
                self.done.kept.push(parent);
                waiting.push(Wish::place(parent, &origin));
                return Ok(waiting);
            }
            self.strand(&waiting.swap_remove(at))?;
            return Ok(waiting);
        }
        if self.park_circles(&waiting)? {
            return Ok(waiting);
        }
        // A name that is taken by what is to go elsewhere: that is parked.
        for at in 0..waiting.len() {
            let Some(to) = &waiting[at].to else { continue };
            let parent = self.same.get(&to.parent).copied().unwrap_or(to.parent);
            let Some(there) = edge(self.tx, self.view, parent, &to.name)? else { continue };
            let is_going = |wish: &Wish| wish.id == there.row();
            let is_parked = self.parked.contains_key(&there.row());
            if there.row() != waiting[at].id && !is_parked && waiting.iter().any(is_going) {
                self.park(there.row())?;
                return Ok(waiting);
            }
        }
        // What still waits can not be: a directory that is not empty stays, a move that would make
        // a circle of directories is left out, a name whose owner stays is contested.
        let wish = waiting.swap_remove(0);
        let Some(ours) = row(self.tx, self.view, wish.id)? else { return Ok(waiting) };
        match &wish.to {
            None => {
                self.done.kept.push(wish.id);
                if let Some(name) = self.parked.remove(&wish.id) {
                    let back = self.free_name(ours.edge.parent, &name, &ours)?;
                    self.put(&ours, ours.edge.parent, &back, ours.edge.replaces)?;
                }
            }
            Some(to) => {
                let parent = self.same.get(&to.parent).copied().unwrap_or(to.parent);
                match edge(self.tx, self.view, parent, &to.name)? {
                    Some(there)
                        if there.row() != wish.id
                            && !is_below(self.tx, self.view, parent, wish.id)? =>
                    {
                        self.contest(&ours, (parent, to), there)?;
                    }
                    _ => self.strand(&wish)?,
                }
            }
        }
        Ok(waiting)
    }

    /// Parks one of every circle of edges that wait for each other's names; says whether there was
    /// one.
    fn park_circles(&mut self, waiting: &[Wish]) -> Result<bool, TreeError> {
        let mut waits_for: HashMap<Ino, Ino> = HashMap::new();
        for wish in waiting {
            let Some(to) = &wish.to else { continue };
            let parent = self.same.get(&to.parent).copied().unwrap_or(to.parent);
            let there = edge(self.tx, self.view, parent, &to.name)?;
            waits_for.extend(there.map(|there| (wish.id, there.row())));
        }
        let parked = self.parked.len();
        let mut seen = HashSet::new();
        for wish in waiting {
            let mut walk = HashSet::new();
            let mut at = Some(wish.id).filter(|id| !seen.contains(id));
            while let Some(id) = at.filter(|id| walk.insert(*id)) {
                at = waits_for.get(&id).copied().filter(|next| !seen.contains(next));
            }
            if let Some(id) = at.filter(|id| !self.parked.contains_key(id)) {
                self.park(id)?;
            }
            seen.extend(walk);
        }
        Ok(self.parked.len() > parked)
    }

    /// Gives an edge a name for the time being, in the directory where it is.
    fn park(&mut self, id: Ino) -> Result<(), TreeError> {
        let row = self.require_row(id)?;
        let name = Name::from_bytes(&row.edge.name).expect("what takes a name has one");
        let parked = Name::from_bytes(format!(".tesfs-parked-{id}").as_bytes());
        let parked = parked.expect("a number makes a name");
        self.put(&row, row.edge.parent, &parked, row.edge.replaces)?;
        self.parked.insert(id, name);
        Ok(())
    }

    /// A place that can not be had: what hangs elsewhere stays there, what hangs nowhere gets a
    /// place in the root.
    fn strand(&mut self, wish: &Wish) -> Result<(), TreeError> {
        let Some(ours) = row(self.tx, self.view, wish.id)? else { return Ok(()) };
        let Some(to) = &wish.to else { return Ok(()) };
        let mut wanted = ours.clone();
        wanted.edge.parent = to.parent;
        wanted.edge.name = to.name.as_bytes().to_vec();
        self.conflict(&place_conflict(wish.id, &wanted, false))?;
        if let Some(name) = self.parked.remove(&wish.id) {
            let back = self.free_name(ours.edge.parent, &name, &ours)?;
            return self.put(&ours, ours.edge.parent, &back, ours.edge.replaces);
        }
        if ours.is_live() {
            return Ok(());
        }
        let name = self.free_name(self.view.root, &to.name, &ours)?;
        self.put(&ours, self.view.root, &name, to.replaces)
    }

    /// A name that something else has, and keeps.
    fn contest(
        &mut self,
        ours: &Row,
        (parent, to): (Ino, &Wanted),
        there: Edge,
    ) -> Result<(), TreeError> {
        let (mine, other) = (self.require_row(ours.ino())?, self.require_row(there.ino)?);
        let is_new = !ours.is_live();
        if is_new && mine.is_directory() && other.is_directory() {
            self.same.insert(mine.id, other.id);
            return Ok(());
        }
        let kind = |row: &Row| row.attributes.as_ref().map_or(0, |facet| facet.mode & S_IFMT);
        if is_new && !mine.is_directory() && kind(&mine) == kind(&other) {
            if self.is_same(&mine, &other)? {
                return self.stand_for(&mine, there, (parent, &to.name));
            }
            if let Some(old) = self.common_ancestor((mine.id, to.replaces), there)? {
                // Both sides saved the same file, one of them by renaming a new one over it.
                let saved = Row { content: to.content.clone(), ..mine };
                return self.both_saved(old, &other, (&saved, to.replaces));
            }
        }
        let (younger, name) = if ours.born < self.require_row(there.row())?.born {
            (self.require_row(there.row())?, &to.name)
        } else {
            (ours.clone(), &to.name)
        };
        let aside = self.free_name(parent, name, &younger)?;
        let mut wanted = younger.clone();
        wanted.edge.parent = parent;
        wanted.edge.name = name.as_bytes().to_vec();
        let is_ours = younger.id != ours.id;
        let rival = Some(if is_ours { ours.ino() } else { there.ino });
        let (kind, ino, side) = (ConflictKind::Name, younger.id, &wanted);
        self.conflict(&Found { kind, ino, side, is_ours, base: None, rival })?;
        self.put(&younger, parent, &aside, younger.edge.replaces)?;
        if younger.id != ours.id {
            self.put(ours, parent, name, to.replaces)?;
        }
        Ok(())
    }

    /// The name under which the younger of two shows.
    fn free_name(&self, parent: Ino, name: &Name, of: &Row) -> Result<Name, TreeError> {
        match edge(self.tx, self.view, parent, name)? {
            None => Ok(name.clone()),
            Some(_) => Ok(free_conflict_name(self.tx, self.view, (parent, name), of.born)?),
        }
    }

    fn is_open_directory(&self, ino: Ino) -> Result<bool, TreeError> {
        let found = inode(self.tx, self.view, ino)?;
        Ok(found.is_some_and(|found| found.is_directory() && found.nlink > 0))
    }

    /// Removes an edge.
    fn cut(&mut self, ours: &Row) -> Result<(), TreeError> {
        let stamp = self.tx.next_stamp();
        let is_directory = ours.is_directory();
        touch_directory(self.tx, self.view, ours.edge.parent, stamp, -i64::from(is_directory))?;
        let links = if is_directory { i64::from(self.links(ours.id)?) } else { 1 };
        hang(self.tx, self.view, stamp, self.operation, Edge::of(ours), &Place::NOWHERE, -links)?;
        self.done.removed += 1;
        Ok(())
    }

    /// Hangs an edge at a place that is free.
    fn put(
        &mut self,
        ours: &Row,
        parent: Ino,
        name: &Name,
        replaces: Option<Ino>,
    ) -> Result<(), TreeError> {
        let stamp = self.tx.next_stamp();
        let is_directory = ours.is_directory();
        let mut links = 0;
        if ours.is_live() {
            touch_directory(self.tx, self.view, ours.edge.parent, stamp, -i64::from(is_directory))?;
            self.done.moved += 1;
        } else if is_directory {
            let below = rows_in(self.tx, self.view, ours.id)?;
            links = 2 + i64::try_from(below.iter().filter(|row| row.is_directory()).count())
                .expect("a directory has fewer entries");
            self.done.created += 1;
        } else {
            links = 1;
            self.done.created += 1;
        }
        touch_directory(self.tx, self.view, parent, stamp, i64::from(is_directory))?;
        let place = Place { parent, name: Some(name), replaces };
        hang(self.tx, self.view, stamp, self.operation, Edge::of(ours), &place, links)?;
        Ok(())
    }

    fn links(&self, ino: Ino) -> Result<u32, TreeError> {
        Ok(inode(self.tx, self.view, ino)?.map_or(0, |found| found.nlink))
    }
}
