//! Changes of places that are not in effect, though nothing supersedes them.

use std::collections::BTreeSet;

use super::{EdgeId, Place, PlaceVersion, Versions, WireStamp, moves::Position, place_heads};

/// A version of an edge that its writer expects to see and nobody does. It stays in history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// Which edge.
    pub edge: EdgeId,
    /// Which version of it.
    pub stamp: WireStamp,
    /// Why it is not in effect.
    pub reason: Reason,
}

/// Why a version of an edge is not in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A concurrent version of the edge is greater.
    Outranked,
    /// The directory would have been moved below itself.
    Cycle,
    /// It is a removal of what holds something that it had not seen.
    Unseen,
}

/// Returns what is lost, in the order of edges. `shown` are the edges that are.
pub(super) fn lost(versions: &Versions, shown: &BTreeSet<EdgeId>) -> Vec<Lost> {
    let mut lost = Vec::new();
    for (inode, facets) in &versions.inodes {
        for (edge, places) in &facets.edges {
            let effective = if facets.is_directory() {
                let position = versions.moves.positions().get(inode);
                position.filter(|position| position.edge == *edge).map(Position::version)
            } else {
                places.keys().next_back().copied()
            };
            let effective = effective.and_then(|stamp| places.get(&stamp));
            for stamp in place_heads(places) {
                let version = &places[&stamp];
                let reason = if versions.moves.is_skipped(stamp, version) {
                    Reason::Cycle
                } else if !effective.is_some_and(|effective| agree(version, effective)) {
                    Reason::Outranked
                } else if matches!(version.place, Place::Unlinked { .. }) && shown.contains(edge) {
                    Reason::Unseen
                } else {
                    continue;
                };
                lost.push(Lost { edge: *edge, stamp, reason });
            }
        }
    }
    lost.sort_unstable();
    lost
}

/// Two removals agree, and two moves to one place.
fn agree(one: &PlaceVersion, other: &PlaceVersion) -> bool {
    match (&one.place, &other.place) {
        (Place::Unlinked { .. }, Place::Unlinked { .. }) => true,
        (
            Place::Hung { parent, name, .. },
            Place::Hung { parent: other_parent, name: other_name, .. },
        ) => (parent, name) == (other_parent, other_name),
        _ => false,
    }
}
