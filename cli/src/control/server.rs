//! Serves the control socket of a node.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
    serve::Listener as Accepts,
};
use hyper::body::{Bytes, Frame};
use tokio::{
    net::{UnixListener, UnixStream, unix},
    runtime::{self, Runtime},
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{Line, Request, SocketPath};
use crate::{
    commands,
    exit::Exit,
    failure::Failure,
    node::Node,
    paths::{DataDir, SOCKET},
    progress::{Event, Listener, Progress},
};

/// Lines under way to one client. When full, steps are left out; notes and answers wait.
const LINES_MAX: usize = 64;
/// Requests worked on at one time; further ones wait in the runtime's queue.
const REQUESTS_MAX: usize = 64;
/// How long commands get to notice that the node ends.
const END_WAIT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (no file descriptors left), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running server; dropping it ends it.
pub(crate) struct Server {
    runtime: Option<Runtime>,
    tasks: JoinSet<()>,
    /// True when no new request is wanted.
    end: watch::Sender<bool>,
    stop: Arc<AtomicBool>,
    open: Arc<AtomicU8>,
    requests: Arc<watch::Sender<usize>>,
    dir: DataDir,
}

/// What a server still begins with: everything…
const OPEN: u8 = 2;
/// …what is done until the end…
const ENDING: u8 = 1;
/// …nothing.
const CLOSED: u8 = 0;

#[derive(Clone)]
struct Shared {
    node: Arc<Node>,
    stop: Arc<AtomicBool>,
    /// One of [`OPEN`], [`ENDING`], [`CLOSED`]; looked at only by who is in `requests` already, so
    /// that whoever closes it and finds none there knows that none will begin.
    open: Arc<AtomicU8>,
    /// How many requests are worked on.
    requests: Arc<watch::Sender<usize>>,
}

impl Server {
    /// Begins to serve the socket of `node`, which owns its data directory: a socket that is
    /// there is nobody's.
    pub(crate) fn start(node: &Arc<Node>) -> io::Result<Self> {
        let dir = node.dir().clone();
        let stop = Arc::new(AtomicBool::new(false));
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(REQUESTS_MAX)
            .thread_name("control")
            .enable_all()
            .build()?;
        let listener = {
            let _entered = runtime.enter();
            bind(&dir)?
        };
        let open = Arc::new(AtomicU8::new(OPEN));
        let requests = Arc::new(watch::Sender::new(0));
        let shared = Shared {
            node: Arc::clone(node),
            stop: Arc::clone(&stop),
            open: Arc::clone(&open),
            requests: Arc::clone(&requests),
        };
        let (end, mut ends) = watch::channel(false);
        let ended = async move {
            // An error means that the server is gone: an end as well.
            ends.wait_for(|end| *end).await.ok();
        };
        let mut tasks = JoinSet::new();
        tasks.spawn_on(
            async move {
                let serving = axum::serve(listener, router(shared)).with_graceful_shutdown(ended);
                if let Err(err) = serving.await {
                    tracing::error!(error = %err, "control socket failed");
                }
            },
            runtime.handle(),
        );
        Ok(Self { runtime: Some(runtime), tasks, end, stop, open, requests, dir })
    }

    /// From now on only what belongs to the end of a node is begun.
    pub(crate) fn begin_end(&self) {
        self.open.fetch_min(ENDING, Ordering::SeqCst);
    }

    /// From now on nothing is begun; waits, not for ever, until what was begun is done.
    pub(crate) fn close(&self) {
        self.open.store(CLOSED, Ordering::SeqCst);
        let mut requests = self.requests();
        if let Some(runtime) = &self.runtime {
            let none_left = requests.wait_for(|count| *count == 0);
            let ended = runtime.block_on(async { tokio::time::timeout(END_WAIT, none_left).await });
            if ended.is_err() {
                tracing::warn!("commands are still under way at the end");
            }
        }
    }

    /// Tells the commands under way to end where they can.
    pub(crate) fn interrupt(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How many requests are worked on, and every change of that.
    pub(crate) fn requests(&self) -> watch::Receiver<usize> {
        self.requests.subscribe()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.interrupt();
        if let Err(err) = fs::remove_file(self.dir.join(SOCKET)) {
            tracing::debug!(error = %err, "control socket not removed");
        }
        self.end.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            // Answers under way reach their clients first.
            let tasks = &mut self.tasks;
            runtime.block_on(async {
                tokio::time::timeout(END_WAIT, tasks.join_next()).await.ok();
            });
            runtime.shutdown_timeout(END_WAIT);
        }
    }
}

fn bind(dir: &DataDir) -> io::Result<SameUser> {
    let socket = SocketPath::of(dir)?;
    match fs::remove_file(&socket.path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let listener = UnixListener::bind(&socket.path)?;
    // The data directory is 0700: nobody else could open it before this either.
    fs::set_permissions(&socket.path, Permissions::from_mode(0o600))?;
    Ok(SameUser(listener))
}

/// Accepts connections of this user and of root, and closes all others.
struct SameUser(UnixListener);

impl Accepts for SameUser {
    type Io = UnixStream;
    type Addr = unix::SocketAddr;

    async fn accept(&mut self) -> (UnixStream, unix::SocketAddr) {
        let own = rustix::process::geteuid().as_raw();
        loop {
            match self.0.accept().await {
                Ok((stream, addr)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == own || peer.uid() == 0 => return (stream, addr),
                    _ => tracing::warn!("connection of another user refused"),
                },
                Err(err) => {
                    tracing::warn!(error = %err, "control connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<unix::SocketAddr> {
        self.0.local_addr()
    }
}

fn router(shared: Shared) -> Router {
    let mut routes = Routes(Router::new());
    commands::register(&mut routes);
    routes.0.fallback(no_such_request).with_state(shared)
}

/// Collects what can be asked.
pub(crate) struct Routes(Router<Shared>);

impl Routes {
    /// Adds one kind of request.
    pub(crate) fn add<R: Request>(&mut self) {
        let router = std::mem::take(&mut self.0);
        self.0 = router.route(R::PATH, post(handle::<R>));
    }
}

async fn no_such_request() -> Response {
    let failure = Failure {
        message: "the running node does not know this request".to_owned(),
        hint: Some("it may be of another version: restart it".to_owned()),
        exit: Exit::Failure,
    };
    (StatusCode::NOT_FOUND, Line::<()>::Failure(failure).to_bytes()).into_response()
}

async fn handle<R: Request>(State(shared): State<Shared>, Json(request): Json<R>) -> Response {
    let (sender, mut lines) = mpsc::channel::<Vec<u8>>(LINES_MAX);
    let status = Arc::new(std::sync::OnceLock::new());
    let first = Arc::clone(&status);
    let mut tasks = JoinSet::new();
    shared.requests.send_modify(|count| *count += 1);
    let counted = Counted(Arc::clone(&shared.requests));
    let needed = if R::UNTIL_THE_END { ENDING } else { OPEN };
    if shared.open.load(Ordering::SeqCst) < needed {
        let ending = Line::<()>::Ending.to_bytes();
        return (StatusCode::SERVICE_UNAVAILABLE, ending).into_response();
    }
    tasks.spawn_blocking(move || {
        let _counted = counted;
        let progress = Progress::new(Sender(sender.clone()), shared.stop);
        let line = match request.run(&shared.node, &progress) {
            Ok(answer) => Line::Answer(answer),
            Err(err) => Line::Failure(err.into_failure()),
        };
        if let Line::Failure(failure) = &line {
            // Set before the line is sent, so that it is there when the line is read.
            first.get_or_init(|| http_status(failure.exit));
        }
        if sender.blocking_send(line.to_bytes()).is_err() {
            tracing::debug!(request = R::PATH, "client went away before its answer");
        }
    });
    let opening = lines.recv().await;
    let status = status.get().copied().unwrap_or(StatusCode::OK);
    let body = Lines { opening, lines, _task: tasks };
    (status, [(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(body)).into_response()
}

/// Counts a request until it is dropped.
struct Counted(Arc<watch::Sender<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

fn http_status(exit: Exit) -> StatusCode {
    match exit {
        Exit::Success | Exit::Partial => StatusCode::OK,
        Exit::Usage => StatusCode::BAD_REQUEST,
        Exit::NotFound => StatusCode::NOT_FOUND,
        Exit::Refused => StatusCode::CONFLICT,
        Exit::Failure | Exit::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
        Exit::Unavailable | Exit::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Puts events on the way to a client.
struct Sender(mpsc::Sender<Vec<u8>>);

impl Listener for Sender {
    fn tell(&self, event: Event) -> bool {
        let step = matches!(event, Event::Step(_));
        let bytes = Line::<()>::Event(event).to_bytes();
        if step {
            !matches!(self.0.try_send(bytes), Err(mpsc::error::TrySendError::Closed(_)))
        } else {
            self.0.blocking_send(bytes).is_ok()
        }
    }

    fn listens(&self) -> bool {
        !self.0.is_closed()
    }
}

/// The body of an answer: its lines as they come.
struct Lines {
    opening: Option<Vec<u8>>,
    lines: mpsc::Receiver<Vec<u8>>,
    /// Work that is under way is not broken off: it notices that nobody listens.
    _task: JoinSet<()>,
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(line) = self.opening.take() {
            return Poll::Ready(Some(Ok(Frame::data(line.into()))));
        }
        self.lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line.into()))))
    }
}
