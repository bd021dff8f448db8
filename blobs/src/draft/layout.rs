//! How a draft's bytes lie, written down for after a crash.

use serde::{Deserialize, Serialize};

use super::body::Body;
use crate::range_map::RangeMap;

/// How the bytes of a draft lie in its file and over its base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DraftLayout {
    /// All bytes are in the draft's file.
    Whole,
    /// The file has some ranges, the base the rest.
    Overlay {
        /// Up to where the base shows.
        base_end: u64,
        /// Ranges (start, end) below that whose bytes are in the file.
        own: Vec<(u64, u64)>,
    },
}

impl DraftLayout {
    pub(super) fn of(body: &Body) -> Self {
        match body {
            Body::Whole => Self::Whole,
            Body::Overlay { base_end, own, .. } => {
                Self::Overlay { base_end: *base_end, own: own.iter().collect() }
            }
        }
    }

    /// Returns the limit of the base and the map of what lies over it.
    pub(super) fn overlay(&self) -> Option<(u64, RangeMap)> {
        match self {
            Self::Whole => None,
            Self::Overlay { base_end, own } => {
                Some((*base_end, RangeMap::from_ranges(own.iter().copied())))
            }
        }
    }
}
