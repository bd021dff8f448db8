//! Which byte ranges of a draft are its own, and which still show its base.

use std::{collections::BTreeMap, ops::Range};

/// A set of byte positions, kept as disjoint, non-touching ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeMap {
    /// Start of each range, to its end (exclusive).
    ends: BTreeMap<u64, u64>,
}

impl RangeMap {
    /// Builds the map of ranges that somebody else wrote down; empty and odd ones are dropped.
    pub(crate) fn from_ranges(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut map = Self::default();
        for (start, end) in ranges {
            map.insert(start..end);
        }
        map
    }

    /// Adds a range; what it touches becomes one with it.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        if let Some((&left, &left_end)) = self.ends.range(..start).next_back()
            && left_end >= start
        {
            start = left;
            end = end.max(left_end);
        }
        while let Some((&right, &right_end)) = self.ends.range(start..=end).next() {
            end = end.max(right_end);
            self.ends.remove(&right);
        }
        self.ends.insert(start, end);
    }

    /// Forgets everything at and after `limit`.
    pub(crate) fn truncate(&mut self, limit: u64) {
        self.ends.split_off(&limit);
        if let Some((_, end)) = self.ends.iter_mut().next_back() {
            *end = (*end).min(limit);
        }
    }

    /// Returns the run that begins at `at` and ends by `limit`: whether it is in the set, and
    /// where it ends.
    pub(crate) fn run_at(&self, at: u64, limit: u64) -> (bool, u64) {
        if let Some((_, &end)) = self.ends.range(..=at).next_back()
            && end > at
        {
            return (true, end.min(limit));
        }
        let next = self.ends.range(at..).next().map_or(limit, |(&start, _)| start);
        (false, next.min(limit))
    }

    /// Returns the first gap at or after `from` and below `limit`.
    pub(crate) fn gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        let start = match self.run_at(from, limit) {
            (true, end) => end,
            (false, _) => from,
        };
        (start < limit).then(|| start..self.run_at(start, limit).1)
    }

    /// Returns the ranges in order, as (start, end).
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ends.iter().map(|(&start, &end)| (start, end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POSITIONS: u8 = 64;

    proptest! {
        #[test]
        fn the_map_agrees_with_a_row_of_flags(
            steps in prop::collection::vec((0..POSITIONS, 0..POSITIONS, any::<bool>()), 1..40),
        ) {
            let mut map = RangeMap::default();
            let mut flags = [false; POSITIONS as usize];
            let limit = u64::from(POSITIONS);
            for (start, len, cut) in steps {
                let end = (start + len).min(POSITIONS);
                if cut {
                    map.truncate(start.into());
                    flags[start.into()..].fill(false);
                } else {
                    map.insert(start.into()..end.into());
                    flags[start.into()..end.into()].fill(true);
                }
                for at in 0..POSITIONS {
                    let (inside, end) = map.run_at(at.into(), limit);
                    let run = flags[at.into()..].iter().take_while(|&&flag| flag == inside).count();
                    prop_assert_eq!(end, u64::from(at) + run as u64);
                }
                let ranges: Vec<_> = map.iter().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:?}");
                let gap = map.gap(0, limit).map(|gap| gap.start);
                let first_unset = flags.iter().position(|flag| !flag).map(|at| at as u64);
                prop_assert_eq!(gap, first_unset);
                prop_assert_eq!(RangeMap::from_ranges(ranges), map.clone());
            }
        }
    }
}
