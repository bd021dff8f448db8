//! One run of the command line: who does the work, and how it is shown.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    args::GlobalArgs,
    config::{Config, ConfigError},
    control::{Client, ControlError, Request},
    error::CliError,
    exit::Exit,
    lock::{Lock, LockError},
    node::Node,
    output::{Output, Show as _},
    paths::{DataDir, SOCKET, config_file},
    progress::{Interrupted, Progress},
    shown::Context,
    signals::Signals,
    target::{BucketName, WirePath},
};

/// How long a command waits for another one that owns the data directory without serving it.
const OWNER_WAIT: Duration = Duration::from_secs(10);
/// After this it says what it waits for.
const SAY_AFTER: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a run of the command line has at hand.
pub(crate) struct Session {
    pub(crate) output: Output,
    pub(crate) signals: Signals,
    global: GlobalArgs,
    /// The command's name, for the lock.
    command: &'static str,
}

/// Who owns the data directory.
pub(crate) enum Owner {
    /// A node that serves its socket.
    Running(Client),
    /// This process does now.
    Here(DataDir, Lock),
}

impl Session {
    pub(crate) fn new(
        output: Output,
        global: GlobalArgs,
        command: &'static str,
    ) -> Result<Self, CliError> {
        let signals = Signals::watch()
            .map_err(|source| CliError::Start { doing: "catching signals", source })?;
        Ok(Self { output, signals, global, command })
    }

    /// The bucket `--bucket` names.
    pub(crate) fn in_bucket(&self) -> Option<&str> {
        self.global.in_bucket.as_deref()
    }

    /// Where the command was given, and the bucket `--bucket` names.
    pub(crate) fn context(&self) -> Result<Context, CliError> {
        let bucket = self.in_bucket().map(BucketName::parse).transpose()?;
        Ok(Context { bucket, dir: WirePath(crate::paths::absolute(Path::new("."))) })
    }

    /// Reads the configuration.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        match config_file(self.global.config.as_deref()) {
            Some(path) => Config::read(&path, self.global.config.is_some()),
            None => Ok(Config::default()),
        }
    }

    /// Where the data directory is or will be.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, CliError> {
        Ok(DataDir::place(self.global.data_dir.as_deref())?)
    }

    /// Finds out who owns the data directory, and becomes its owner if nobody does.
    ///
    /// # Errors
    ///
    /// There is none (and the command makes none), or another process holds it without serving.
    pub(crate) fn owner(&self, create: bool) -> Result<Owner, CliError> {
        let path = self.data_dir()?;
        let Some(found) = DataDir::existing(&path)? else {
            if !create {
                return Err(CliError::NoDataDir { path });
            }
            let dir = DataDir::prepare(&path)?;
            let lock = Lock::take(&dir, self.command)?;
            return Ok(Owner::Here(dir, lock));
        };
        let began = Instant::now();
        let mut said = false;
        loop {
            if let Some(client) = Client::reach(&found)? {
                return Ok(Owner::Running(client));
            }
            let dir = DataDir::prepare(&path)?;
            match Lock::take(&dir, self.command) {
                Ok(lock) => return Ok(Owner::Here(dir, lock)),
                Err(LockError::Held { .. }) if self.signals.seen() > 0 => {
                    return Err(Interrupted.into());
                }
                Err(LockError::Held { holder, .. }) if began.elapsed() < OWNER_WAIT => {
                    if !said && began.elapsed() > SAY_AFTER {
                        said = true;
                        let command = holder.command.as_deref().unwrap_or("command");
                        self.output.note(&format!("waiting for `tesfs {command}` to end"));
                    }
                    thread::sleep(LOOK_AGAIN);
                }
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Says whether a node that was asked is only ending in order and did not begin with it: then
    /// there is nothing to tell, but to ask again in a moment.
    pub(crate) fn waits_for_end(&self, err: &CliError, began: Instant) -> bool {
        let in_order = match err {
            CliError::Control(ControlError::Ending) => true,
            // A node that ends in order takes its socket away, one that dies does not.
            CliError::Control(ControlError::Ended { .. }) => {
                self.data_dir().is_ok_and(|dir| !dir.join(SOCKET).exists())
            }
            _ => false,
        };
        let waits = in_order && began.elapsed() < OWNER_WAIT && self.signals.seen() == 0;
        if waits {
            thread::sleep(LOOK_AGAIN);
        }
        waits
    }

    /// Opens the node in this process.
    pub(crate) fn open(&self, dir: DataDir, lock: Lock) -> Result<Arc<Node>, CliError> {
        let node = Node::open(dir, lock, self.config()?)?;
        if let Some(note) = node.recovery_note() {
            self.output.note(&note);
        }
        Ok(node)
    }

    /// The way out for what a command says in this process.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(self.output.listener(), self.signals.stop())
    }

    /// Has `request` done by whoever owns the data directory and prints the answer.
    pub(crate) fn ask<R: Request>(&mut self, request: R, create: bool) -> Result<Exit, CliError> {
        // A wrong configuration is said at once, not only when this process opens the node.
        self.config()?;
        let began = Instant::now();
        let answer = loop {
            match self.owner(create)? {
                Owner::Running(client) => {
                    let listener = self.output.listener();
                    match client.ask(&request, &listener, &mut self.signals) {
                        Err(err) if self.waits_for_end(&err, began) => {}
                        Err(CliError::Interrupted(_)) if listener.is_closed() => {
                            return Ok(Exit::Success);
                        }
                        answer => break answer?,
                    }
                }
                Owner::Here(dir, lock) => {
                    let node = self.open(dir, lock)?;
                    let answer = {
                        let progress = self.progress();
                        request.run(&node, &progress)
                    };
                    node.end(&self.progress(), &|| true);
                    break answer?;
                }
            }
        };
        self.output.answer(&answer);
        Ok(answer.exit())
    }
}
