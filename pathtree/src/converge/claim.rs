//! What claims a name: edges that hang somewhere, and removed ones that come back.

use std::collections::BTreeMap;

use super::{
    EdgeId, Facets, InodeId, Place, PlaceVersion, WireStamp, ancestry::Ancestry, moves::Position,
};
use crate::name::Name;

/// An edge that shows, once what it leads to and what it hangs in are there.
pub(super) struct Claim<'a> {
    pub(super) edge: EdgeId,
    pub(super) inode: InodeId,
    pub(super) parent: InodeId,
    pub(super) name: &'a Name,
    pub(super) replaces: Option<InodeId>,
}

/// Where an edge hung last.
pub(super) struct Hung<'a> {
    stamp: WireStamp,
    parent: InodeId,
    name: &'a Name,
    pub(super) replaces: Option<InodeId>,
}

/// Returns where an edge of a file hangs, or hung before it was removed.
pub(super) fn last_hung(versions: &BTreeMap<WireStamp, PlaceVersion>) -> Option<Hung<'_>> {
    versions.iter().rev().find_map(|(stamp, version)| match &version.place {
        Place::Hung { parent, name, replaces } => {
            Some(Hung { stamp: *stamp, parent: *parent, name, replaces: *replaces })
        }
        Place::Unlinked { .. } => None,
    })
}

/// Returns the edges of a file (of anything but a directory) that show.
///
/// Those are the edges whose newest version hangs. Where all are removed, one comes back if the
/// file has a version that no removal had seen: that which was removed last.
pub(super) fn file_claims<'a>(
    inode: InodeId,
    facets: &'a Facets,
    ancestry: &Ancestry,
) -> Vec<Claim<'a>> {
    let claim = |edge: EdgeId, hung: Hung<'a>| {
        let Hung { parent, name, replaces, .. } = hung;
        Claim { edge, inode, parent, name, replaces }
    };
    let mut live = Vec::new();
    let mut removed_last: Option<(WireStamp, EdgeId)> = None;
    let mut seen = vec![inode.0];
    for (edge, versions) in &facets.edges {
        let hung = last_hung(versions);
        let hung_at = hung.as_ref().map(|hung| hung.stamp);
        let removals = versions.iter().rev().take_while(|(stamp, _)| Some(**stamp) != hung_at);
        let mut removed_at = None;
        for (stamp, removal) in removals {
            removed_at = removed_at.max(Some(*stamp));
            if let Place::Unlinked { seen: named } = &removal.place {
                seen.extend(named);
            }
        }
        match (hung, removed_at) {
            (Some(hung), None) => live.push(claim(*edge, hung)),
            (Some(_), Some(stamp)) => removed_last = removed_last.max(Some((stamp, *edge))),
            (None, _) => {}
        }
    }
    let Some((_, edge)) = removed_last.filter(|_| live.is_empty()) else { return live };
    let seen = ancestry.closure(seen.into_iter());
    let heads = ancestry.heads(&facets.contents.keys().copied().collect());
    if heads.iter().any(|head| !seen.contains(head)) {
        live.extend(last_hung(&facets.edges[&edge]).map(|hung| claim(edge, hung)));
    }
    live
}

/// Returns the claim of a directory at its position.
pub(super) fn directory_claim(inode: InodeId, position: &Position) -> Claim<'_> {
    let Position { edge, parent, name, .. } = position;
    Claim { edge: *edge, inode, parent: *parent, name, replaces: None }
}
