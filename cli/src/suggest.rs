//! What was probably meant by a name that leads nowhere.

/// How many names a hint lists at most: more is for a command that lists them.
const NAMES_MAX: usize = 12;

/// Returns the word of `known` that `typed` was probably meant to be, whatever its case.
pub(crate) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    /// Below this, two words only happen to share letters.
    const LIKENESS_MIN: f64 = 0.75;
    /// A slip of one letter is one in a word of three letters too.
    const LETTERS_MIN: usize = 3;
    let typed = typed.to_lowercase();
    let likeness = |word: &str| {
        let word = word.to_lowercase();
        let slip = typed.chars().count() >= LETTERS_MIN && strsim::osa_distance(&typed, &word) <= 1;
        if slip || typed == word { 1.0 } else { strsim::jaro_winkler(&typed, &word) }
    };
    known
        .map(|word| (likeness(word), word))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word.to_owned())
}

/// Asks whether `word` was meant.
pub(crate) fn did_you_mean(word: &str) -> String {
    format!("did you mean '{word}'?")
}

/// Says which name was probably meant, else which there are (`what` is their plural); `None` where
/// there are none.
pub(crate) fn hint(nearest: Option<&str>, what: &str, known: &[impl AsRef<str>]) -> Option<String> {
    if let Some(nearest) = nearest {
        return Some(did_you_mean(nearest));
    }
    let names: Vec<&str> = known.iter().map(AsRef::as_ref).take(NAMES_MAX).collect();
    let more = match known.len() - names.len() {
        0 => String::new(),
        left => format!(" and {left} more"),
    };
    (!names.is_empty()).then(|| format!("the {what} here: {}{more}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_strange_one_is_not() {
        let known = ["photos", "memories", "letters"];
        assert_eq!(nearest("fotos", known.into_iter()).as_deref(), Some("photos"));
        assert_eq!(nearest("PHOTOS", known.into_iter()).as_deref(), Some("photos"));
        assert_eq!(nearest("xyz", known.into_iter()), None);
        assert_eq!(nearest("nwe", ["old", "new"].into_iter()).as_deref(), Some("new"));
        assert_eq!(nearest("B", ["a", "b"].into_iter()).as_deref(), Some("b"));
    }

    #[test]
    fn a_hint_names_the_nearest_else_some_of_those_there_are() {
        let known: Vec<String> = (1..=15).map(|number| format!("b{number}")).collect();
        let said = hint(Some("b1"), "branches", &known);
        assert_eq!(said.as_deref(), Some("did you mean 'b1'?"));
        assert_eq!(
            hint(None, "branches", &known[..2]).as_deref(),
            Some("the branches here: b1, b2")
        );
        let said = hint(None, "branches", &known).unwrap();
        assert!(said.ends_with("b11, b12 and 3 more"), "{said}");
        assert_eq!(hint(None, "branches", &known[..0]), None);
    }
}
