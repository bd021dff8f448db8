//! `--background`: a child that becomes a node of its own, and a parent that waits until it has
//! mounted.
//!
//! The parent runs the same command line again with a variable set. The child answers with one
//! line of JSON on its stdout, the mount or the failure, and then lets go of the terminal.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader},
    os::unix::fs::OpenOptionsExt as _,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    commands::mount::MountAnswer,
    error::CliError,
    exit::Exit,
    failure::Failure,
    output::Output,
    paths::{DataDir, LOG},
    progress::Interrupted,
    session::Session,
};

/// Set for the child only.
const VARIABLE: &str = "TESFS_BACKGROUND_CHILD";
/// How often a waiting parent looks for Ctrl-C.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the child says, once.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    Mounted(MountAnswer),
    Failed(Failure),
}

/// Whether this process is the child.
pub(crate) fn is_child() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Starts the child and waits until it has mounted.
///
/// # Errors
///
/// What the child says, or that it ended without a word.
pub(crate) fn start(session: &Session) -> Result<Exit, CliError> {
    let failed = |source| CliError::Start { doing: "starting the background process", source };
    let program = env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .args(env::args_os().skip(1))
        .env(VARIABLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    match report_of(stdout, session, &mut child)? {
        Some(Report::Mounted(answer)) => {
            session.output.answer(&answer);
            Ok(Exit::Success)
        }
        Some(Report::Failed(failure)) => {
            reap(&mut child);
            Err(failure.into())
        }
        None => {
            reap(&mut child);
            Err(CliError::BackgroundEnded)
        }
    }
}

fn report_of(
    stdout: ChildStdout,
    session: &Session,
    child: &mut Child,
) -> Result<Option<Report>, CliError> {
    let (sender, line) = mpsc::sync_channel(1);
    let read = move || {
        let mut text = String::new();
        let read = BufReader::new(stdout).read_line(&mut text);
        // The receiver is gone only when Ctrl-C was faster.
        sender.send(read.map(|_| text)).ok();
    };
    thread::Builder::new()
        .name("background".to_owned())
        .spawn(read)
        .map_err(|source| CliError::Start { doing: "starting a thread", source })?;
    loop {
        match line.recv_timeout(LOOK_AGAIN) {
            Ok(Ok(text)) => return Ok(serde_json::from_str(&text).ok()),
            Ok(Err(_)) | Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(None),
            Err(mpsc::RecvTimeoutError::Timeout) if session.signals.seen() > 0 => {
                child.kill().ok();
                reap(child);
                return Err(Interrupted.into());
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

fn reap(child: &mut Child) {
    if let Err(err) = child.wait() {
        tracing::debug!(error = %err, "background process not reaped");
    }
}

/// Leaves the terminal's session, so that closing the terminal does not end the node.
pub(crate) fn leave_session() {
    if let Err(err) = rustix::process::setsid() {
        tracing::debug!(error = %err, "session not left");
    }
}

/// Tells the parent what is mounted, and lets go of the terminal: logs go to a file from here.
pub(crate) fn mounted(output: Output, answer: MountAnswer, dir: &DataDir) {
    tell(output, &Report::Mounted(answer));
    if let Err(err) = detach(dir) {
        tracing::warn!(error = %err, "could not let go of the terminal");
    }
}

/// Tells the parent why nothing is mounted.
pub(crate) fn failed(output: Output, failure: Failure) {
    tell(output, &Report::Failed(failure));
}

fn tell(output: Output, report: &Report) {
    // Our reports are plain data: making JSON of them cannot fail.
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    output.raw(&line);
}

fn detach(dir: &DataDir) -> io::Result<()> {
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join(LOG))?;
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stderr(&log)?;
    rustix::stdio::dup2_stdout(&log)?;
    rustix::stdio::dup2_stdin(&null)?;
    // The folder it was started in may be unmounted or removed.
    env::set_current_dir("/")
}
