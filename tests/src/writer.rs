//! One writer of the crash campaigns: a seeded mix of operations in a directory of its own.
//!
//! It remembers what it was promised: the state after the last acknowledged call, and the state
//! that the call in flight would lead to. Its journal, outside the mount, tells the story.

mod operation;
mod session;
#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::counts::Counts;
use crate::eventually;
use crate::oracle::Cut;
use crate::random::Random;
use crate::state::{FileId, State};
use session::Open;

const DIRECTORIES: [&str; 3] = ["", "one/", "two/"];

/// How long a writer whose call failed waits for the node to be killed.
const END_WITHIN: Duration = Duration::from_secs(120);

/// Why a writer stopped.
#[derive(Debug)]
pub enum Stop {
    /// A call failed: expected once the node was killed.
    Failed { what: String, error: io::Error },
    /// A read did not show the last closed version.
    Wrong { what: String },
}

/// What a round leaves of a writer: where the tree may be, oldest first.
#[derive(Debug)]
pub struct WriterReport {
    pub candidates: Vec<State>,
    pub acknowledged: u64,
    pub counts: Counts,
    pub stop: Option<Stop>,
}

/// What a campaign tells its writers.
#[derive(Debug, Default)]
pub struct Signals {
    /// No further operation.
    pub stop: AtomicBool,
    /// The power is being cut: what a call says from now on is no promise. (ext4 answers an fsync
    /// that is under way at the cut as if it had succeeded; a real machine would not answer.)
    pub dark: AtomicBool,
    /// Calls acknowledged so far, by all writers.
    pub acknowledged: AtomicU64,
    /// Some writer stopped by itself.
    pub stopped: AtomicBool,
    /// How long a writer rests after an operation, at most: what works in the background gets its
    /// turns between them.
    pub rest: Duration,
}

/// Makes operations until it is told to stop or a call fails.
#[derive(Debug)]
pub struct Writer<'c> {
    signals: &'c Signals,
    dir: PathBuf,
    random: Random,
    cut: Cut,
    state: State,
    earlier: Vec<State>,
    in_flight: Option<State>,
    open: Option<Open>,
    next_file: FileId,
    next_write: u64,
    acknowledged: u64,
    counts: Counts,
    journal: BufWriter<fs::File>,
}

impl<'c> Writer<'c> {
    /// Makes a writer for `dir`, which shows `state`; its journal is appended to `journal`.
    ///
    /// # Errors
    ///
    /// The directories or the journal could not be made.
    pub fn new(
        dir: &Path,
        state: State,
        random: Random,
        cut: Cut,
        journal: &Path,
        signals: &'c Signals,
    ) -> io::Result<Self> {
        for name in DIRECTORIES {
            fs::create_dir_all(dir.join(name))?;
        }
        let journal = OpenOptions::new().create(true).append(true).open(journal)?;
        Ok(Self {
            signals,
            dir: dir.to_path_buf(),
            next_file: state.files.keys().last().map_or(1, |last| last + 1),
            next_write: random.clone().below(1 << 20),
            random,
            cut,
            earlier: vec![state.clone()],
            state,
            in_flight: None,
            open: None,
            acknowledged: 0,
            counts: Counts::default(),
            journal: BufWriter::new(journal),
        })
    }

    /// Works until it is told to stop or a call fails.
    pub fn run(mut self) -> WriterReport {
        let mut stopped = None;
        while stopped.is_none() && !self.signals.stop.load(Ordering::Acquire) {
            let before = self.acknowledged;
            stopped = self.step().err();
            let more = self.acknowledged - before;
            self.signals.acknowledged.fetch_add(more, Ordering::AcqRel);
            if !self.signals.rest.is_zero() {
                thread::sleep(self.random.duration_below(self.signals.rest));
            }
        }
        if stopped.is_none()
            && let Some(held) = self.open.take()
        {
            stopped = self.close(held).err();
        }
        if let Some(why) = &stopped {
            self.note(&format!("stopped: {why:?}"));
        }
        drop(self.journal.flush());
        let mut candidates = self.earlier;
        candidates.push(self.state);
        candidates.extend(self.in_flight);
        WriterReport {
            candidates,
            acknowledged: self.acknowledged,
            counts: self.counts,
            stop: stopped,
        }
    }

    /// Every commit before a durable one is durable: no earlier state can come back.
    fn forget_earlier(&mut self) {
        if self.cut == Cut::Power {
            self.earlier.clear();
        }
    }

    /// Makes a call that leads to `after` when it succeeds.
    fn act<T>(
        &mut self,
        what: &str,
        after: State,
        call: impl FnOnce(&Path) -> io::Result<T>,
    ) -> Result<T, Stop> {
        self.in_flight = Some(after);
        let value = self.call(what, call)?;
        if let Some(after) = self.in_flight.take() {
            let before = std::mem::replace(&mut self.state, after);
            if self.cut == Cut::Power {
                self.earlier.push(before);
            } else {
                self.earlier.clear();
            }
        }
        Ok(value)
    }

    /// Makes a call, with a line in the journal before and after it.
    fn call<T>(
        &mut self,
        what: &str,
        call: impl FnOnce(&Path) -> io::Result<T>,
    ) -> Result<T, Stop> {
        self.note(what);
        match call(&self.dir) {
            Ok(_) if self.signals.dark.load(Ordering::Acquire) => {
                let error = io::Error::other("answered in the dark");
                Err(self.failed(what, error))
            }
            Ok(value) => {
                self.acknowledged += 1;
                self.note("  done");
                Ok(value)
            }
            Err(error) => Err(self.failed(what, error)),
        }
    }

    /// Waits for the end of the node: a file dropped before that would be closed, and published.
    fn failed(&self, what: &str, error: io::Error) -> Stop {
        self.signals.stopped.store(true, Ordering::Release);
        eventually(END_WITHIN, || self.signals.stop.load(Ordering::Acquire).then_some(()));
        Stop::Failed { what: what.to_owned(), error }
    }

    fn note(&mut self, line: &str) {
        drop(writeln!(self.journal, "{line}"));
    }
}
