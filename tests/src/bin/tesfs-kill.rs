//! Kills a node, or cuts the power under it, at random moments, and compares what is left with
//! what was promised. One round: work, crash, start, compare, `tesfs verify --full`.

#![expect(clippy::print_stdout, reason = "a campaign reports to whoever started it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use tesfs_tests::{
    Cut, Disk, Mode, Node, NodePlace, Random, Signals, State, Stop, Tally, Violation, Writer,
    WriterReport, detach, eventually, observe, reconcile,
};

/// Writers at work at once.
const WRITERS: usize = 4;
/// Acknowledged calls after which a crash may come, at least and at most.
const CALLS: (u64, u64) = (20, 900);
/// How long the calls of a round may take; a stuck mount must not stop the campaign.
const ROUND_WITHIN: Duration = Duration::from_secs(60);
/// Disk of the power-cut campaign.
const DISK_MIB: u64 = 2048;

#[derive(Parser)]
#[command(about = "SIGKILL and power cuts against a journal of acknowledged operations")]
struct Arguments {
    /// Rounds per mode
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Seed of the run; printed, so that a failure can be repeated
    #[arg(long)]
    seed: Option<u64>,
    /// How the node serves content
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    mode: Modes,
    /// Cut the power (FS_IOC_SHUTDOWN without log flush) instead of killing
    #[arg(long)]
    power_cut: bool,
    /// The build under test is broken on purpose: succeed if, and only if, it is found out
    #[arg(long)]
    expect_failure: bool,
    /// No node: work in a plain directory, to try the campaign itself
    #[arg(long)]
    plain: bool,
    /// Where to work; kept when a round fails
    #[arg(long, default_value = "/var/tmp/tesfs-kill")]
    dir: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Modes {
    Passthrough,
    Cached,
    Both,
}

fn main() -> ExitCode {
    match campaigns(&Arguments::parse()) {
        Ok(tally) => {
            println!("{} passed, {} failed", tally.passed, tally.failed);
            if tally.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(err) => {
            println!("FAILED  {}", format!("{err:#}").trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Runs the campaign in each mode, and returns the count of its checks.
fn campaigns(arguments: &Arguments) -> Result<Tally> {
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => fresh_seed()?,
    };
    let name = if arguments.power_cut { "power cut" } else { "kill" };
    println!("{name} campaign: seed {seed}, {} rounds a mode", arguments.rounds);
    let modes = match arguments.mode {
        Modes::Passthrough => vec![Mode::Passthrough],
        Modes::Cached => vec![Mode::Cached],
        Modes::Both => vec![Mode::Passthrough, Mode::Cached],
    };
    let mut tally = Tally::default();
    for mode in modes {
        let began = Instant::now();
        let mut campaign = Campaign::new(arguments, mode, seed)?;
        let failure = campaign.run(arguments, &mut tally)?;
        println!(
            "{name} {}: {} rounds, {} operations acknowledged, {} cut short, {} failed, {:.1} s",
            mode.name(),
            campaign.round,
            campaign.acknowledged,
            campaign.cut_short,
            u64::from(failure.is_some()),
            began.elapsed().as_secs_f64()
        );
        match (&failure, arguments.expect_failure) {
            (Some(found), true) => println!("found out, as expected:\n{found}"),
            (Some(found), false) => {
                println!("{found}\nkept for you: {}", campaign.dir.display());
            }
            (None, true) => println!("FAILED: the broken build was not found out"),
            (None, false) => {
                let dir = campaign.dir.clone();
                drop(campaign);
                fs::remove_dir_all(dir).context("cleaning up")?;
            }
        }
        if arguments.expect_failure {
            let what = format!("{name} {} finds the broken build out", mode.name());
            tally.record(failure.is_some(), &what)?;
        }
    }
    Ok(tally)
}

/// A seed nobody chose, short enough to type.
fn fresh_seed() -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes) >> 32)
}

/// A data directory, its mount, and what its writers were promised, over all rounds.
struct Campaign {
    name: String,
    dir: PathBuf,
    place: NodePlace,
    /// Under the data directory when the power is cut; before it in no drop order that matters.
    disk: Option<Disk>,
    cut: Cut,
    plain: bool,
    random: Random,
    states: Vec<State>,
    round: u64,
    acknowledged: u64,
    cut_short: u64,
}

impl Campaign {
    fn new(arguments: &Arguments, mode: Mode, seed: u64) -> Result<Self> {
        let cut = if arguments.power_cut { Cut::Power } else { Cut::Kill };
        let name = format!("{}-{}", if cut == Cut::Power { "power" } else { "kill" }, mode.name());
        let dir = arguments.dir.join(&name);
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
        let mountpoint = if arguments.plain { home.join("plain") } else { dir.join("mnt") };
        fs::create_dir_all(&mountpoint)?;
        let log = dir.join("node.log");
        let place = NodePlace { data_dir, mountpoint, mode, boot_id: None, log };
        Ok(Self {
            name,
            dir,
            place,
            disk,
            cut,
            plain: arguments.plain,
            random: Random::new(seed),
            states: vec![State::default(); WRITERS],
            round: 0,
            acknowledged: 0,
            cut_short: 0,
        })
    }

    /// Runs the rounds; ends early with what was found when a promise was broken.
    fn run(&mut self, arguments: &Arguments, tally: &mut Tally) -> Result<Option<String>> {
        for round in 1..=arguments.rounds {
            self.round = round;
            let found = self.one_round()?;
            if !arguments.expect_failure {
                let what = format!("{} round {round}", self.name);
                tally.record(found.is_none(), &what)?;
            }
            if let Some(found) = found {
                return Ok(Some(format!("FAILED {} round {round}:\n{found}", self.name)));
            }
        }
        Ok(None)
    }

    fn one_round(&mut self) -> Result<Option<String>> {
        self.new_boot();
        let mut node = self.start()?;
        let reports = self.work(node.as_mut())?;
        let mut wrong = Vec::new();
        for (index, report) in reports.iter().enumerate() {
            self.acknowledged += report.acknowledged;
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
        let pause = Duration::from_micros(self.random.below(3_000));
        let signals = Signals::default();
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
            match reconcile(&report.candidates, &seen, self.cut) {
                Ok(state) => self.states[index] = state,
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

    fn start(&self) -> Result<Option<Node>> {
        if self.plain {
            return Ok(None);
        }
        Ok(Some(Node::start(&self.place)?))
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
