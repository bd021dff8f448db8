use std::fmt;
use std::ops::AddAssign;

/// What a campaign did that its promises are about: one that did none of it proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Closes of handles that had written, acknowledged like all below.
    pub closes: u64,
    pub fsyncs: u64,
    pub directory_fsyncs: u64,
    /// Renames over another file.
    pub rename_overs: u64,
    pub links: u64,
    pub exchanges: u64,
    /// Truncations by path.
    pub truncations: u64,
    /// Whole files copied by copy_file_range(2).
    pub copies: u64,
    /// Files that a node published at its start, because they were fsynced and not closed.
    pub published: u64,
    /// Files that a node let fall back to the version before.
    pub withdrawn: u64,
    /// Files of unfinished writes that a node set aside.
    pub recovered: u64,
}

impl Counts {
    /// Reads the line in which a node says what it recovered.
    #[must_use]
    pub fn of_recovery(said: &str) -> Self {
        let mut counts = Self::default();
        let lines = said.lines().filter_map(|line| line.strip_prefix("recovered: "));
        for part in lines.flat_map(|line| line.split("; ")) {
            let digits: String = part
                .chars()
                .take_while(|char| !char.is_whitespace())
                .filter(char::is_ascii_digit)
                .collect();
            let number = digits.parse().unwrap_or(0);
            if part.contains("published that was fsynced") {
                counts.published += number;
            } else if part.contains("fell back") {
                counts.withdrawn += number;
            } else if part.contains("unfinished writes") {
                counts.recovered += number;
            }
        }
        counts
    }

    /// Names what a campaign must have met and has not; `power_cut` under a node.
    #[must_use]
    pub fn missing(&self, power_cut: bool) -> Vec<&'static str> {
        let needed = [
            ("closes", self.closes, true),
            ("fsyncs", self.fsyncs, true),
            ("renames over a file", self.rename_overs, true),
            ("withdrawn versions", self.withdrawn, power_cut),
        ];
        let missing = needed.iter().filter(|(_, count, needed)| *needed && *count == 0);
        missing.map(|(name, ..)| *name).collect()
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.closes += more.closes;
        self.fsyncs += more.fsyncs;
        self.directory_fsyncs += more.directory_fsyncs;
        self.rename_overs += more.rename_overs;
        self.links += more.links;
        self.exchanges += more.exchanges;
        self.truncations += more.truncations;
        self.copies += more.copies;
        self.published += more.published;
        self.withdrawn += more.withdrawn;
        self.recovered += more.recovered;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} closes, {} fsyncs, {} of directories, {} renames over a file, {} links, \
             {} exchanges, {} truncations, {} copies; at starts {} published, {} withdrawn, {} set aside",
            self.closes,
            self.fsyncs,
            self.directory_fsyncs,
            self.rename_overs,
            self.links,
            self.exchanges,
            self.truncations,
            self.copies,
            self.published,
            self.withdrawn,
            self.recovered
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_it_recovered_is_counted() {
        let said = "new bucket 'mnt' is at /mnt (cached)\n\
            recovered: 1 file published that was fsynced and not closed; 1,203 files fell back to \
            the version before, because the power was cut; 6 files of unfinished writes kept under \
            .tesfs/recovered\n";
        let counts = Counts::of_recovery(said);
        assert_eq!((counts.published, counts.withdrawn, counts.recovered), (1, 1203, 6));
        assert_eq!(Counts::of_recovery("recovered nothing"), Counts::default());
    }

    #[test]
    fn a_campaign_that_met_nothing_is_told_so() {
        let all =
            Counts { closes: 1, fsyncs: 1, rename_overs: 1, withdrawn: 1, ..Counts::default() };
        assert!(all.missing(true).is_empty());
        assert!(Counts { withdrawn: 0, ..all }.missing(false).is_empty());
        assert_eq!(Counts { withdrawn: 0, ..all }.missing(true), ["withdrawn versions"]);
        assert_eq!(Counts { closes: 0, ..all }.missing(false), ["closes"]);
        assert_eq!(Counts { fsyncs: 0, ..all }.missing(false), ["fsyncs"]);
        assert_eq!(Counts { rename_overs: 0, ..all }.missing(false), ["renames over a file"]);
    }
}
