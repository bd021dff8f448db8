//! How much of a set of versions somebody had seen.

use std::collections::BTreeMap;

use super::version::{Actor, WireStamp};
use crate::id::Hlc;

/// For each actor the greatest reading that was seen: what a fork or a snapshot shows.
///
/// It says what was seen exactly where the versions of each actor arrive in the order of their
/// stamps, and those of one stamp together: what arrives later is then never inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier(BTreeMap<Actor, Hlc>);

impl Frontier {
    /// Widens it until it contains `stamp`.
    pub fn include(&mut self, stamp: WireStamp) {
        let reading = self.0.entry(stamp.actor).or_insert(stamp.hlc);
        *reading = stamp.hlc.max(*reading);
    }

    /// Says whether what `stamp` names had been seen.
    pub fn contains(&self, stamp: WireStamp) -> bool {
        self.0.get(&stamp.actor).is_some_and(|reading| stamp.hlc <= *reading)
    }
}
