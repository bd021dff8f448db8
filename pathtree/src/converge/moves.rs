//! Where directories hang: their moves, replayed in the order of their stamps.
//!
//! The algorithm is that of Kleppmann, Mulligan, Gomes and Beresford, "A highly-available move
//! operation for replicated trees" (2021): the log remembers what each move displaced, so that one
//! that arrives late undoes the later ones, is done, and has them redone. A removal is a step of the
//! same log. It leaves the directory where it was, because what was put into it concurrently keeps
//! it there.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
};

use super::version::{EdgeId, InodeId, Place, PlaceVersion, WireStamp};
use crate::name::Name;

/// Where a directory hangs, or hung when it was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) edge: EdgeId,
    pub(super) parent: InodeId,
    pub(super) name: Name,
    /// The removal that is in effect.
    pub(super) removed: Option<WireStamp>,
    /// The move that brought it here.
    moved: WireStamp,
}

impl Position {
    /// The version of its edge that is in effect.
    pub(super) fn version(&self) -> WireStamp {
        self.removed.unwrap_or(self.moved)
    }
}

/// A step's place in the log. Edge and inode tell apart what one stamp did to several.
type At = (WireStamp, EdgeId, InodeId);

#[derive(Clone, Debug)]
struct Step {
    version: PlaceVersion,
    /// What it did; `None` while it is not done, and where there was nothing to remove.
    done: Option<Done>,
}

#[derive(Clone, Debug)]
enum Done {
    /// It took effect; this is what there was before.
    Effective { before: Option<Position> },
    /// It would have made a cycle.
    Skipped,
}

/// The log of moves and where they leave every directory.
#[derive(Clone, Debug)]
pub(super) struct Moves {
    root: InodeId,
    log: BTreeMap<At, Step>,
    positions: BTreeMap<InodeId, Position>,
    /// Steps before this are done, this one and later ones are not. `None`: all are done.
    undone_from: Option<At>,
}

impl Moves {
    pub(super) fn new(root: InodeId) -> Self {
        Self { root, log: BTreeMap::new(), positions: BTreeMap::new(), undone_from: None }
    }

    /// Puts a version of a directory's edge into the log, and undoes what is done and later.
    /// [`Moves::redo`] has to follow; several versions may share one.
    pub(super) fn insert(&mut self, stamp: WireStamp, version: PlaceVersion) {
        let at = (stamp, version.edge, version.inode);
        self.undo(at);
        self.log.insert(at, Step { version, done: None });
    }

    fn undo(&mut self, from: At) {
        let until = self.undone_from.map_or(Unbounded, Excluded);
        if self.undone_from.is_some_and(|undone| undone <= from) {
            return;
        }
        for step in self.log.range_mut((Included(from), until)).rev().map(|(_, step)| step) {
            let Some(Done::Effective { before }) = step.done.take() else { continue };
            match before {
                Some(position) => self.positions.insert(step.version.inode, position),
                None => self.positions.remove(&step.version.inode),
            };
        }
        self.undone_from = Some(from);
    }

    /// Does every step that is not done, in order.
    pub(super) fn redo(&mut self) {
        let Some(from) = self.undone_from.take() else { return };
        for ((stamp, _, _), step) in self.log.range_mut(from..) {
            let version = &step.version;
            let position = self.positions.get(&version.inode);
            let next = match (&version.place, position) {
                (Place::Hung { parent, .. }, _)
                    if version.inode == self.root
                        || is_at_or_below(&self.positions, *parent, version.inode) =>
                {
                    step.done = Some(Done::Skipped);
                    continue;
                }
                (Place::Hung { parent, name, .. }, _) => Some(Position {
                    edge: version.edge,
                    parent: *parent,
                    name: name.clone(),
                    removed: None,
                    moved: *stamp,
                }),
                (Place::Unlinked { .. }, Some(position)) if position.edge == version.edge => {
                    Some(Position { removed: Some(*stamp), ..position.clone() })
                }
                (Place::Unlinked { .. }, _) => None,
            };
            let Some(next) = next else { continue };
            let before = self.positions.insert(version.inode, next);
            step.done = Some(Done::Effective { before });
        }
    }

    /// Every directory that hangs, or hung when it was removed.
    pub(super) fn positions(&self) -> &BTreeMap<InodeId, Position> {
        &self.positions
    }

    /// Says whether this version would have made a cycle.
    pub(super) fn is_skipped(&self, stamp: WireStamp, version: &PlaceVersion) -> bool {
        let step = self.log.get(&(stamp, version.edge, version.inode));
        matches!(step, Some(Step { done: Some(Done::Skipped), .. }))
    }
}

fn is_at_or_below(positions: &BTreeMap<InodeId, Position>, inode: InodeId, above: InodeId) -> bool {
    let mut at = Some(inode);
    while let Some(inode) = at {
        if inode == above {
            return true;
        }
        at = positions.get(&inode).map(|position| position.parent);
    }
    false
}
