//! The rounds of a crash campaign on one data directory: work, crash, start, compare, verify.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::check::Tally;
use crate::counts::Counts;
use crate::disk::Disk;
use crate::eventually;
use crate::node::{Mode, Node, NodePlace, detach};
use crate::observation::observe;
use crate::oracle::{Cut, Violation, reconcile};
use crate::random::Random;
use crate::state::State;
use crate::writer::{Signals, Stop, Writer, WriterReport};

/// Writers at work at once.
const WRITERS: usize = 4;
/// Acknowledged calls after which a crash may come, at least and at most.
const CALLS: (u64, u64) = (20, 900);
/// From a close to the sync of its bytes, in milliseconds: from a settler that is always at work
/// to one that seldom comes: half of the rounds, for then a power cut has the most to take.
const SETTLE_DELAYS_MS: [u64; 6] = [0, 5, 50, 1000, 1000, 1000];
/// How long after the last of those calls a crash comes at most, mostly, and in one round of four.
const PAUSE: (Duration, Duration) = (Duration::from_millis(3), Duration::from_millis(1500));
/// How long a writer rests between two operations of a long round, at most.
const REST: Duration = Duration::from_millis(10);
/// A campaign of so many rounds fails if it met nothing of what it is about.
const ROUNDS_TO_MEET_ALL: u64 = 20;
/// How long the calls of a round may take; a stuck mount must not stop the campaign.
const ROUND_WITHIN: Duration = Duration::from_secs(60);
/// Disk of the power-cut campaign.
const DISK_MIB: u64 = 2048;

/// A data directory, its mount, and what its writers were promised, over all rounds.
#[derive(Debug)]
pub struct Campaign {
    name: String,
    /// Where everything of the campaign lies.
    pub dir: PathBuf,
    place: NodePlace,
    /// Under the data directory when the power is cut; before it in no drop order that matters.
    disk: Option<Disk>,
    cut: Cut,
    plain: bool,
    random: Random,
    settle_delay_ms: u64,
    states: Vec<State>,
    /// Rounds begun.
    pub round: u64,
    /// Calls that were answered.
    pub acknowledged: u64,
    /// Writers that a crash stopped in a call.
    pub cut_short: u64,
    /// What was done, and what the nodes said they recovered.
    pub counts: Counts,
    /// Files that lost their only name to one that moved on and fell to a power cut: a known limit.
    pub nowhere: u64,
}

/// What is crashed how.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where to work; a folder in it is the campaign's, and is emptied.
    pub dir: PathBuf,
    pub mode: Mode,
    pub cut: Cut,
    /// No node: a plain directory.
    pub plain: bool,
    pub seed: u64,
}

impl Campaign {
    /// Prepares the data directory of a campaign, and its disk.
    ///
    /// # Errors
    ///
    /// No room, no right to mount.
    pub fn new(setup: &Setup) -> Result<Self> {
        let Setup { mode, cut, plain, .. } = *setup;
        let name = format!("{}-{}", if cut == Cut::Power { "power" } else { "kill" }, mode.name());
        let dir = setup.dir.join(&name);
        if dir.exists() {
            fs::remove_dir_all(&dir).context("removing what an earlier campaign left")?;
        }
        fs::create_dir_all(&dir)?;
        let disk = match cut {
            Cut::Kill => None,
            Cut::Power => Some(Disk::create(&dir.join("disk.img"), &dir.join("disk"), DISK_MIB)?),
        };
        let home = disk.as_ref().map_or(dir.as_path(), Disk::dir);
        let data_dir = home.join("data");
        let mountpoint = if plain { home.join("plain") } else { dir.join("mnt") };
        fs::create_dir_all(&mountpoint)?;
        let (config, log) = (dir.join("config.toml"), dir.join("node.log"));
        let place =
            NodePlace { data_dir, mountpoint, mode, config: Some(config), boot_id: None, log };
        Ok(Self {
            name,
            dir,
            place,
            disk,
            cut,
            plain,
            random: Random::new(setup.seed),
            settle_delay_ms: 0,
            states: vec![State::default(); WRITERS],
            round: 0,
            acknowledged: 0,
            cut_short: 0,
            counts: Counts::default(),
            nowhere: 0,
        })
    }

    /// Runs the rounds; ends early with what was found when a promise was broken. Each is a check
    /// in `tally`, if there is one.
    ///
    /// # Errors
    ///
    /// A round could not be made.
    pub fn run(&mut self, rounds: u64, mut tally: Option<&mut Tally>) -> Result<Option<String>> {
        for round in 1..=rounds {
            self.round = round;
            let found = self.one_round()?;
            if let Some(tally) = &mut tally {
                let what = format!("{} round {round}", self.name);
                tally.record(found.is_none(), &what)?;
            }
            if let Some(found) = found {
                let delay = self.settle_delay_ms;
                return Ok(Some(format!(
                    "FAILED {} round {round} (settle_delay_ms = {delay}):\n{found}",
                    self.name
                )));
            }
        }
        let power_cut = self.cut == Cut::Power && !self.plain;
        let missing = self.counts.missing(power_cut);
        // A broken build must be found out by what it breaks.
        let Some(tally) = tally.filter(|_| rounds >= ROUNDS_TO_MEET_ALL) else { return Ok(None) };
        tally.record(missing.is_empty(), &format!("{} meets what it is about", self.name))?;
        Ok((!missing.is_empty()).then(|| {
            format!("FAILED {}: proves nothing without {}", self.name, missing.join(", "))
        }))
    }

    fn one_round(&mut self) -> Result<Option<String>> {
        self.new_boot();
        self.new_settle_delay()?;
        let mut node = self.start()?;
        let reports = self.work(node.as_mut())?;
        let mut wrong = Vec::new();
        for (index, report) in reports.iter().enumerate() {
            self.acknowledged += report.acknowledged;
            self.counts += report.counts;
            match &report.stop {
                Some(Stop::Wrong { what }) => wrong.push(format!("  writer {index}: {what}")),
                Some(Stop::Failed { .. }) => self.cut_short += 1,
                None => {}
            }
        }
        drop(node);
        if let Some(disk) = &self.disk {
            // A machine that boots has no stale mount, which would hold on to the files below.
            if !self.plain {
                detach(&self.place.mountpoint);
            }
            disk.power_on()?;
        }
        self.new_boot();
        let node = self.start().context("the start after the crash")?;
        self.compare(&reports, &mut wrong);
        if node.is_some() {
            let verified = Node::verify_full(&self.place)?;
            if !verified.clean {
                wrong.push(format!("  tesfs verify --full:\n{}", verified.output.trim()));
            }
        }
        if let Some(node) = node {
            node.unmount()?;
        }
        Ok((!wrong.is_empty()).then(|| wrong.join("\n")))
    }

    /// Lets the writers work, and crashes the node at a moment of the seed's choice.
    fn work(&mut self, node: Option<&mut Node>) -> Result<Vec<WriterReport>> {
        let calls = CALLS.0 + self.random.below(CALLS.1 - CALLS.0);
        let long = self.random.chance(25);
        let pause = self.random.duration_below(if long { PAUSE.1 } else { PAUSE.0 });
        let rest = if long { REST } else { Duration::ZERO };
        let signals = Signals { rest, ..Signals::default() };
        let mut writers = Vec::new();
        for (index, state) in self.states.iter().enumerate() {
            let dir = self.writer_dir(index);
            let journal = self.dir.join(format!("journal-{index}"));
            let random = self.random.fork();
            let state = state.clone();
            writers.push(Writer::new(&dir, state, random, self.cut, &journal, &signals)?);
        }
        thread::scope(|scope| {
            let handles: Vec<_> =
                writers.into_iter().map(|writer| scope.spawn(move || writer.run())).collect();
            let stopped = || signals.stopped.load(Ordering::Acquire);
            let reached = eventually(ROUND_WITHIN, || {
                (stopped() || signals.acknowledged.load(Ordering::Acquire) >= calls).then_some(())
            });
            thread::sleep(pause); // the moment within the next calls
            let early = stopped();
            let crashed = self.crash(node, &signals);
            let reports: Vec<WriterReport> = handles
                .into_iter()
                .map(|handle| handle.join().expect("writers do not panic"))
                .collect();
            crashed?;
            if early || reached.is_none() {
                let stops: Vec<_> =
                    reports.iter().filter_map(|report| report.stop.as_ref()).collect();
                if !stops.iter().any(|stop| matches!(stop, Stop::Wrong { .. })) {
                    bail!("a call failed, or none ended, while the node was alive: {stops:?}");
                }
            }
            Ok(reports)
        })
    }

    fn crash(&self, node: Option<&mut Node>, signals: &Signals) -> Result<()> {
        signals.dark.store(self.cut == Cut::Power, Ordering::Release);
        let cut = self.disk.as_ref().map_or(Ok(()), Disk::cut_power);
        if let Some(node) = node {
            node.kill()?;
        }
        signals.stop.store(true, Ordering::Release);
        Ok(cut?)
    }

    /// Compares every writer's directory with its promises; goes on from what is there.
    fn compare(&mut self, reports: &[WriterReport], wrong: &mut Vec<String>) {
        for (index, report) in reports.iter().enumerate() {
            let seen = match observe(&self.writer_dir(index)) {
                Ok(seen) => seen,
                Err(err) => {
                    wrong.push(format!("  writer {index}: {err}"));
                    continue;
                }
            };
            match reconcile(&report.candidates, seen.as_ref(), self.cut) {
                Ok(found) => {
                    self.states[index] = found.state;
                    self.nowhere += found.nowhere;
                }
                Err(all) => {
                    let best = all.iter().min_by_key(|violations| violations.len());
                    let lines = best.into_iter().flatten();
                    wrong
                        .extend(lines.map(|v| format!("  writer {index}: {}: {}", v.name, v.what)));
                    self.note_violations(index, &all);
                }
            }
        }
    }

    /// Writes beside the journal how each state a writer went through differs from what is there.
    fn note_violations(&self, index: usize, all: &[Vec<Violation>]) {
        let mut text = String::new();
        for (number, violations) in all.iter().enumerate() {
            let lines = violations.iter().map(|v| format!("{number}: {}: {}\n", v.name, v.what));
            text.extend(lines);
        }
        drop(fs::write(self.dir.join(format!("violations-{index}")), text));
    }

    fn start(&mut self) -> Result<Option<Node>> {
        if self.plain {
            return Ok(None);
        }
        let node = Node::start(&self.place)?;
        ensure!(
            node.mode() == Some(self.place.mode),
            "the mount is not {}; the node said:\n{}",
            self.place.mode.name(),
            node.said()
        );
        self.counts += Counts::of_recovery(node.said());
        Ok(Some(node))
    }

    /// Writes the configuration of a round.
    fn new_settle_delay(&mut self) -> Result<()> {
        self.settle_delay_ms = SETTLE_DELAYS_MS[self.random.index(SETTLE_DELAYS_MS.len())];
        let text = format!("[performance]\nsettle_delay_ms = {}\n", self.settle_delay_ms);
        let config = self.place.config.as_deref().context("a campaign has a configuration")?;
        fs::write(config, text).context("writing the configuration of a round")
    }

    /// After a power cut the machine has booted anew; after a kill it has not.
    fn new_boot(&mut self) {
        if self.cut == Cut::Power {
            let bits = self.random.bits();
            let hex = format!("{bits:016x}{:016x}", bits.rotate_left(17));
            let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
            self.place.boot_id = Some(parts.join("-"));
        }
    }

    fn writer_dir(&self, index: usize) -> PathBuf {
        Path::join(&self.place.mountpoint, format!("writer-{index}"))
    }
}

impl Drop for Campaign {
    fn drop(&mut self) {
        if !self.plain {
            detach(&self.place.mountpoint);
        }
    }
}
