//! What a long command says while it works, and how it is told to stop.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Steps are told at most this often: fast enough for an eye, slow enough to cost nothing.
const INTERVAL: Duration = Duration::from_millis(100);

/// One thing said on the way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// How far the work has come.
    Step(Step),
    /// Something the operator should see (a file left out, a wait), at once.
    Note(String),
    /// The next bytes of what was asked for.
    Bytes(Chunk),
}

/// Bytes that travel in JSON, as base64.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Chunk(pub(crate) Vec<u8>);

impl TryFrom<String> for Chunk {
    type Error = DecodeError;

    fn try_from(text: String) -> Result<Self, DecodeError> {
        STANDARD.decode(text).map(Self)
    }
}

impl From<Chunk> for String {
    fn from(chunk: Chunk) -> Self {
        STANDARD.encode(chunk.0)
    }
}

/// How far a long work has come.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Step {
    /// What is done: `importing`, `verifying`…
    pub(crate) doing: String,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// All bytes there are to do; 0 where that is unknown.
    pub(crate) bytes_total: u64,
    /// The file at hand.
    pub(crate) current: String,
}

/// Takes what a command says; false tells it that nobody listens any more.
pub(crate) trait Listener: Send + Sync {
    fn tell(&self, event: Event) -> bool;

    /// Whether somebody still listens.
    fn listens(&self) -> bool {
        true
    }
}

/// The command was told to stop before it was done.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// The way out for what a command says, and the way in for the wish to stop.
pub(crate) struct Progress {
    listener: Box<dyn Listener>,
    stop: Arc<AtomicBool>,
    /// When the last step was told; protects nothing else.
    last: Mutex<Option<Instant>>,
}

impl Progress {
    /// A way out to `listener` that ends when `stop` becomes true.
    pub(crate) fn new(listener: impl Listener + 'static, stop: Arc<AtomicBool>) -> Self {
        Self { listener: Box::new(listener), stop, last: Mutex::new(None) }
    }

    /// Says how far the work has come; `step` is only made when it is time to tell.
    ///
    /// # Errors
    ///
    /// [`Interrupted`] when the command should end here.
    pub(crate) fn step(&self, step: impl FnOnce() -> Step) -> Result<(), Interrupted> {
        self.go_on()?;
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() < INTERVAL) {
                return Ok(());
            }
            *last = Some(Instant::now());
        }
        self.tell(Event::Step(step()))
    }

    /// Says something at once.
    pub(crate) fn say(&self, text: impl Into<String>) {
        self.listener.tell(Event::Note(text.into()));
    }

    /// Passes bytes on to whoever asked for them; waits until they are taken.
    ///
    /// # Errors
    ///
    /// [`Interrupted`] when no more are wanted.
    pub(crate) fn bytes(&self, bytes: Vec<u8>) -> Result<(), Interrupted> {
        self.go_on()?;
        self.tell(Event::Bytes(Chunk(bytes)))
    }

    /// Errs when the command should end here.
    pub(crate) fn go_on(&self) -> Result<(), Interrupted> {
        if self.stop.load(Ordering::Relaxed) || !self.listener.listens() {
            return Err(Interrupted);
        }
        Ok(())
    }

    fn tell(&self, event: Event) -> Result<(), Interrupted> {
        if self.listener.tell(event) { Ok(()) } else { Err(Interrupted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_wire() {
        let event = Event::Bytes(Chunk((0..=255).collect()));
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn a_command_ends_when_it_is_told_to_stop() {
        let stop = Arc::new(AtomicBool::new(false));
        struct Ear;
        impl Listener for Ear {
            fn tell(&self, _: Event) -> bool {
                true
            }
        }
        let progress = Progress::new(Ear, Arc::clone(&stop));
        assert_eq!(progress.step(Step::default), Ok(()));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(progress.go_on(), Err(Interrupted));
        assert_eq!(progress.step(Step::default), Err(Interrupted));
    }
}
