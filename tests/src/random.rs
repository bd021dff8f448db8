use std::time::Duration;

/// A seeded source of numbers (splitmix64): the same seed gives the same run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts the sequence that `seed` names.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// Returns a number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// Returns an index below `len`, which is at least 1.
    pub fn index(&mut self, len: usize) -> usize {
        let bound = u64::try_from(len).expect("usize is at most 64 bits");
        usize::try_from(self.below(bound)).expect("below a usize")
    }

    /// Returns a duration of whole microseconds below `bound`, which is at least one.
    pub fn duration_below(&mut self, bound: Duration) -> Duration {
        let micros = u64::try_from(bound.as_micros()).expect("no campaign takes that long");
        Duration::from_micros(self.below(micros))
    }

    /// Says yes `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Derives an independent source, for a thread of its own.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.bits())
    }
}
