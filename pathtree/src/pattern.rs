//! Patterns of paths within a bucket, as in `*.tmp,~$*,.cache/**`.

use std::{fmt, path::Path};

use globset::{GlobBuilder, GlobSet};

/// Most patterns of one list: each path that is asked about is compared with all of them.
const PATTERNS_MAX: usize = 100;

/// A list of globs. `*` and `?` stop at a slash, `**` does not; `[…]` is a set of letters, and a
/// backslash takes the meaning from what follows it.
///
/// A pattern without a slash is a name and matches in every directory; one with a slash starts at
/// the root of the bucket. What matches a directory matches everything below it.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    written: Vec<String>,
    set: GlobSet,
}

impl Patterns {
    /// Parses `none`, or patterns parted by commas.
    ///
    /// # Errors
    ///
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.trim() == "none" {
            return Ok(Self::default());
        }
        let written: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
        if written.len() > PATTERNS_MAX {
            return Err("a list has at most 100 patterns");
        }
        let mut set = GlobSet::builder();
        for pattern in &written {
            if pattern.trim_matches('/').is_empty() {
                return Err("a pattern is empty; no patterns at all are `none`");
            }
            if pattern.contains(['{', '}']) {
                return Err("braces do not part patterns: write each of them out");
            }
            let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
            let from_root = match pattern.strip_prefix('/') {
                Some(rest) => rest.to_owned(),
                None if pattern.contains('/') => pattern.to_owned(),
                None => format!("**/{pattern}"),
            };
            let glob = GlobBuilder::new(&from_root)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|_| "a pattern cannot be read, perhaps for a [ without its ]")?;
            set.add(glob);
        }
        let set = set.build().map_err(|_| "the patterns are too long")?;
        Ok(Self { written, set })
    }

    /// Says whether `path`, relative to the bucket's root, or a directory above it matches.
    pub fn matches(&self, path: &Path) -> bool {
        let above = path.ancestors().take_while(|part| !part.as_os_str().is_empty());
        !self.written.is_empty() && above.into_iter().any(|part| self.set.is_match(part))
    }
}

/// Two lists are equal when they are written alike.
impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Patterns {}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.written.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.written.join(","))
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    use super::*;

    #[test]
    fn names_match_anywhere_and_paths_from_the_root() {
        for (patterns, path, expected) in [
            ("*.tmp", "a.tmp", true),
            ("*.tmp", "deep/er/a.tmp", true),
            ("*.tmp", "a.tmp.txt", false),
            ("*.tmp", ".tmp", true),
            ("*.tmp", "a.TMP", false),
            ("~$*", "letters/~$letter.docx", true),
            (".cache/**", ".cache/a/b", true),
            (".cache/**", ".cache", false),
            (".cache/**", "home/.cache/a", false),
            ("/build", "build/out.o", true),
            ("/build", "src/build", false),
            ("node_modules", "web/node_modules/left/pad.js", true),
            ("build/", "web/build/x", true),
            ("**/target/*.o", "a/b/target/x.o", true),
            ("**/target/*.o", "target/x.o", true),
            ("src/*.o", "src/deep/x.o", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[!a-c]x", "dx", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("x,*.tmp, y", "y", true),
            ("none", "none", false),
            ("*", "", false),
        ] {
            let found = Patterns::parse(patterns).unwrap().matches(Path::new(path));
            assert_eq!(found, expected, "{patterns} and {path}");
        }
        let not_text = Path::new(OsStr::from_bytes(b"deep/\xff\xfe.tmp"));
        assert!(Patterns::parse("*.tmp").unwrap().matches(not_text));
    }

    #[test]
    fn what_is_written_is_shown_again() {
        for (written, shown) in [("none", "none"), (" *.tmp , ~$* ", "*.tmp,~$*")] {
            let parsed = Patterns::parse(written).unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(Patterns::parse(shown).unwrap(), parsed);
        }
        assert_eq!(Patterns::default().to_string(), "none");
        assert_ne!(Patterns::parse("a,b").unwrap(), Patterns::parse("a").unwrap());
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_rule_it_breaks() {
        let many = vec!["x"; PATTERNS_MAX + 1].join(",");
        for (written, word) in [
            ("", "empty"),
            ("a,,b", "empty"),
            ("/", "empty"),
            ("*.{tmp,bak}", "braces"),
            ("[a", "["),
            (many.as_str(), "100"),
        ] {
            let rule = Patterns::parse(written).unwrap_err();
            assert!(rule.contains(word), "{written:?}: {rule}");
        }
    }
}
