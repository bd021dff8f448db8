//! The `tesfs` command, and the node that composes everything.

mod args;
mod background;
mod commands;
mod config;
mod control;
mod error;
mod exit;
mod failure;
mod hint;
mod lock;
mod logs;
mod node;
mod output;
mod paths;
mod place;
mod progress;
mod run;
mod said;
mod serve;
mod session;
mod shown;
mod signals;
mod size;
mod suggest;
mod target;
mod time;
mod transfer;
mod version;
mod walk;
mod who;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::Cli, output::Output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output { json: cli.global.json, quiet: cli.global.quiet };
    logs::begin(cli.global.verbose, cli.global.quiet);
    if background::is_child() {
        background::leave_session();
    }
    let exit = match run::run(cli, output) {
        Ok(exit) => exit,
        Err(err) => {
            let failure = err.into_failure();
            let exit = failure.exit;
            if background::is_child() {
                background::failed(output, failure);
            } else {
                output.failure(&failure);
            }
            exit
        }
    };
    ExitCode::from(exit.code())
}
