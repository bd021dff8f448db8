//! Kills a node, or cuts the power under it, at random moments, and compares what is left with
//! what was promised. One round: work, crash, start, compare, `tesfs verify --full`.

#![expect(clippy::print_stdout, reason = "a campaign reports to whoever started it")]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use tesfs_tests::{Campaign, Cut, Mode, Setup, Tally};

#[derive(Parser)]
#[command(about = "SIGKILL and power cuts against a journal of acknowledged operations")]
struct Arguments {
    /// Rounds per mode
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
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
    let (name, cut) =
        if arguments.power_cut { ("power cut", Cut::Power) } else { ("kill", Cut::Kill) };
    println!("{name} campaign: seed {seed}, {} rounds a mode", arguments.rounds);
    let modes = match arguments.mode {
        Modes::Passthrough => vec![Mode::Passthrough],
        Modes::Cached => vec![Mode::Cached],
        Modes::Both => vec![Mode::Passthrough, Mode::Cached],
    };
    let mut tally = Tally::default();
    for mode in modes {
        let began = Instant::now();
        let setup = Setup { dir: arguments.dir.clone(), mode, cut, plain: arguments.plain, seed };
        let mut campaign = Campaign::new(&setup)?;
        let counted = (!arguments.expect_failure).then_some(&mut tally);
        let failure = campaign.run(arguments.rounds, counted)?;
        println!(
            "{name} {}: {} rounds, {} operations acknowledged, {} cut short, {} failed, {:.1} s",
            mode.name(),
            campaign.round,
            campaign.acknowledged,
            campaign.cut_short,
            u64::from(failure.is_some()),
            began.elapsed().as_secs_f64()
        );
        println!("  {}", campaign.counts);
        if campaign.nowhere > 0 {
            println!("  in history only, a known limit: {} replaced files", campaign.nowhere);
        }
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
