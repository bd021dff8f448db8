//! What a copy left out, and why.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::target::WirePath;

/// So many are listed; further ones are counted.
const LISTED_MAX: usize = 1000;

/// One thing that was left out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Omission {
    pub(crate) path: WirePath,
    pub(crate) reason: String,
}

/// Everything that was left out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct LeftOut {
    pub(crate) count: u64,
    /// The first of them.
    pub(crate) listed: Vec<Omission>,
}

impl LeftOut {
    pub(crate) fn add(&mut self, path: &Path, reason: impl Into<String>) {
        self.count += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(Omission { path: path.into(), reason: reason.into() });
        }
    }

    /// The lines a person reads; empty when nothing was left out.
    pub(crate) fn lines(&self) -> Vec<String> {
        let listed =
            self.listed.iter().map(|omission| format!("  {}: {}", omission.path, omission.reason));
        let mut lines: Vec<String> = listed.collect();
        let rest = self.count - self.listed.len() as u64;
        if rest > 0 {
            lines.push(format!("  and {rest} more"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let mut left_out = LeftOut::default();
        for number in 0..LISTED_MAX + 2 {
            left_out.add(Path::new("f"), number.to_string());
        }
        assert_eq!(left_out.count, LISTED_MAX as u64 + 2);
        assert_eq!(left_out.lines().last().map(String::as_str), Some("  and 2 more"));
    }
}
