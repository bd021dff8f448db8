//! Asks a running node.

use std::{
    io,
    os::unix::net::UnixStream as StdStream,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    runtime::{self, Runtime},
    task::JoinSet,
};

use super::{Line, Request, SocketPath};
use crate::{
    error::CliError,
    paths::DataDir,
    progress::{Interrupted, Listener},
    signals::Signals,
};

/// One line of an answer is at most this long: lists of left out files are cut before it.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a running node could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("you may not talk to the node of {dir}")]
    NotAllowed { dir: PathBuf },
    #[error("cannot reach the node of {dir}")]
    Unreachable {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the node ended before it answered")]
    Ended {
        #[source]
        source: Option<hyper::Error>,
    },
    #[error("the node is just ending")]
    Ending,
    #[error("the node's answer cannot be read")]
    NotAnAnswer {
        #[source]
        source: serde_json::Error,
    },
    #[error("the node's answer is too long")]
    TooLong,
}

/// A way to a running node.
pub(crate) struct Client {
    runtime: Runtime,
    stream: StdStream,
}

impl Client {
    /// Reaches the node that owns `dir`, if one listens.
    pub(crate) fn reach(dir: &DataDir) -> Result<Option<Self>, ControlError> {
        let unreachable = |source| ControlError::Unreachable { dir: dir.path().into(), source };
        let socket = SocketPath::of(dir).map_err(unreachable)?;
        let stream = match connect(&socket.path) {
            Ok(stream) => stream,
            Err(err) => {
                return match err.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                    io::ErrorKind::PermissionDenied => {
                        Err(ControlError::NotAllowed { dir: dir.path().into() })
                    }
                    _ => Err(unreachable(err)),
                };
            }
        };
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(unreachable)?;
        Ok(Some(Self { runtime, stream }))
    }

    /// Asks for one thing; what the node says on the way goes to `listener`, and a signal breaks
    /// the asking (and the work) off.
    pub(crate) fn ask<R: Request>(
        self,
        request: &R,
        listener: &dyn Listener,
        signals: &mut Signals,
    ) -> Result<R::Answer, CliError> {
        let Self { runtime, stream } = self;
        runtime.block_on(async {
            tokio::select! {
                () = signals.next() => Err(Interrupted.into()),
                answer = exchange(stream, request, listener) => answer,
            }
        })
    }
}

fn connect(path: &Path) -> io::Result<StdStream> {
    /// A node that is just starting or full of work accepts within this.
    const TRIES: u32 = 20;
    let mut tries = 0;
    loop {
        match StdStream::connect(path) {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock && tries < TRIES => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

async fn exchange<R: Request>(
    stream: StdStream,
    request: &R,
    listener: &dyn Listener,
) -> Result<R::Answer, CliError> {
    let failed = |source: io::Error| ControlError::Unreachable { dir: PathBuf::new(), source };
    stream.set_nonblocking(true).map_err(failed)?;
    let stream = UnixStream::from_std(stream).map_err(failed)?;
    let ended = |source| ControlError::Ended { source: Some(source) };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ended)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        if let Err(err) = connection.await {
            tracing::debug!(error = %err, "connection to the node ended");
        }
    });
    // Our requests are plain data: making JSON of them cannot fail.
    let body =
        serde_json::to_vec(request).map_err(|source| ControlError::NotAnAnswer { source })?;
    let message = hyper::Request::builder()
        .method(Method::POST)
        .uri(R::PATH)
        .header(header::HOST, "tesfs")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("constant parts make a request");
    let response = sender.send_request(message).await.map_err(ended)?;
    read_lines::<R>(response.into_body(), listener).await
}

async fn read_lines<R: Request>(
    mut body: Incoming,
    listener: &dyn Listener,
) -> Result<R::Answer, CliError> {
    let mut waiting = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| ControlError::Ended { source: Some(source) })?;
        let Ok(data) = frame.into_data() else { continue };
        waiting.extend_from_slice(&data);
        while let Some(end) = waiting.iter().position(|&byte| byte == b'\n') {
            let line: Line<R::Answer> = serde_json::from_slice(&waiting[..end])
                .map_err(|source| ControlError::NotAnAnswer { source })?;
            waiting.drain(..=end);
            match line {
                Line::Event(event) => {
                    if !listener.tell(event) {
                        return Err(Interrupted.into());
                    }
                }
                Line::Answer(answer) => return Ok(answer),
                Line::Failure(failure) => return Err(CliError::Answered(failure)),
                Line::Ending => return Err(ControlError::Ending.into()),
            }
        }
        if waiting.len() > LINE_BYTES_MAX {
            return Err(ControlError::TooLong.into());
        }
    }
    Err(ControlError::Ended { source: None }.into())
}
