//! Merging the lines of texts.

/// As many lines may one side have added and removed: what it costs to find them grows with their
/// square, and the database waits meanwhile.
const CHANGED_LINES_MAX: usize = 5000;

/// Merges what two sides made of a text; `None` where both changed the same lines, or where one of
/// them changed too many.
pub(super) fn merge(base: &str, ours: &str, theirs: &str) -> Option<String> {
    let is_small = |side| is_near(base, side, CHANGED_LINES_MAX);
    if !(is_small(ours) && is_small(theirs)) {
        return None;
    }
    diffy::merge(base, ours, theirs).ok()
}

/// Says whether no more than `changes_max` lines have to be removed and added to make one text of
/// the other: the search of Myers, "An O(ND) difference algorithm and its variations" (1986), given
/// up where that is known.
fn is_near(one: &str, other: &str, changes_max: usize) -> bool {
    let one: Vec<&str> = one.split_inclusive('\n').collect();
    let other: Vec<&str> = other.split_inclusive('\n').collect();
    // How far in `one` each diagonal got; diagonal `k` is at `changes_max + 1 + k`.
    let mut furthest = vec![0; 2 * changes_max + 3];
    for changes in 0..=changes_max {
        let first = changes_max + 1 - changes;
        for at in (first..=first + 2 * changes).step_by(2) {
            let added = furthest[at + 1];
            let removed = furthest[at - 1] + 1;
            let is_added = at == first || (at != first + 2 * changes && removed <= added);
            let mut from = if is_added { added } else { removed };
            let mut to = from + changes_max + 1 - at;
            while from < one.len() && to < other.len() && one[from] == other[to] {
                from += 1;
                to += 1;
            }
            furthest[at] = from;
            if from >= one.len() && to >= other.len() {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(numbers: impl IntoIterator<Item = usize>) -> String {
        numbers.into_iter().map(|number| format!("{number}\n")).collect()
    }

    #[test]
    fn the_number_of_changes_is_exact() {
        let cases = [
            ("", "", 0),
            ("a\n", "a\n", 0),
            ("", "a\nb\n", 2),
            ("a\nb\n", "", 2),
            ("a\nb\nc\n", "a\nx\nc\n", 2),
            ("a\nb\nc\na\nb\nb\na\n", "c\nb\na\nb\na\nc\n", 5),
            ("b\nc\n", "a\nb\nc\nd", 2),
        ];
        for (one, other, changes) in cases {
            for most in 0..10 {
                assert_eq!(is_near(one, other, most), changes <= most, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_side_that_changed_too_many_lines_is_not_merged() {
        let base = lines(0..CHANGED_LINES_MAX);
        let ours = format!("first\n{base}");
        let near = format!("{base}{}", lines(0..CHANGED_LINES_MAX));
        assert_eq!(merge(&base, &ours, &near), Some(format!("first\n{near}")));
        let far = format!("{near}last\n");
        assert_eq!(merge(&base, &ours, &far), None);
        assert_eq!(merge(&base, &far, &ours), None);
    }
}
