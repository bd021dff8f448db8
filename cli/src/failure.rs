//! A failed command as it is shown and as it travels through the control socket.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// What went wrong, in words, with what to do about it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Failure {
    /// The error and its causes, outermost first: `a: b: c`.
    pub(crate) message: String,
    /// What the operator can do now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    pub(crate) exit: Exit,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl std::error::Error for Failure {}

/// Returns the word of `known` that `typed` was probably meant to be.
pub(crate) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    /// Below this, two words only happen to share letters.
    const LIKENESS_MIN: f64 = 0.75;
    /// A slip of one letter is one in a word of three letters too.
    const LETTERS_MIN: usize = 3;
    let likeness = |word: &str| {
        let slip = typed.chars().count() >= LETTERS_MIN && strsim::osa_distance(typed, word) <= 1;
        if slip { 1.0 } else { strsim::jaro_winkler(typed, word) }
    };
    known
        .map(|word| (likeness(word), word))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_strange_one_is_not() {
        let known = ["photos", "memories", "letters"];
        assert_eq!(nearest("fotos", known.into_iter()).as_deref(), Some("photos"));
        assert_eq!(nearest("xyz", known.into_iter()), None);
        assert_eq!(nearest("nwe", ["old", "new"].into_iter()).as_deref(), Some("new"));
    }
}
