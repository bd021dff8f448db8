//! What a command did, and what a refusal must look like.

use std::process::Output;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// The command did what was asked; returns its stdout.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// The command ended with `code`, said `message` in one line and gave `hint`.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, message: &str, hint: &str) {
        assert_eq!(self.code, code, "{self:#?}");
        let errors: Vec<&str> =
            self.err.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
        assert_eq!(errors.len(), 1, "one error is said, once: {self:#?}");
        assert!(errors[0].contains(message), "`{message}` is not said: {self:#?}");
        assert!(!self.err.contains("panicked"), "{self:#?}");
        let hinted = self.err.split_once("\nhint: ").map(|(_, rest)| rest).unwrap_or_default();
        assert!(!hinted.is_empty(), "there is no hint: {self:#?}");
        assert!(hinted.contains(hint), "the hint does not say `{hint}`: {self:#?}");
    }

    /// The work was done but for some entries, one of which is listed as `entry`.
    #[track_caller]
    pub(crate) fn partial(&self, entry: &str) {
        assert_eq!(self.code, 6, "{self:#?}");
        assert!(self.out.contains(entry), "`{entry}` is not listed: {self:#?}");
    }

    /// Damage was found, and one line has all of `words`.
    #[track_caller]
    pub(crate) fn damaged(&self, words: &[&str]) {
        assert_eq!(self.code, 5, "{self:#?}");
        let is_said = self.out.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(is_said, "no line has all of {words:?}: {self:#?}");
    }
}
