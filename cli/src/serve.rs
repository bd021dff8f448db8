//! The commands that keep running: a mount in the foreground, and the daemon.

use std::{sync::Arc, time::Instant};

use tokio::{runtime, sync::watch};

use crate::{
    args::MountArgs,
    background,
    commands::{
        mount::{Mount, Wait},
        umount::Umount,
    },
    control::{Client, Request as _, Server},
    error::CliError,
    exit::Exit,
    node::{MountWish, Node},
    output::Show as _,
    paths::{DataDir, absolute},
    session::{Owner, Session},
    target::{BucketName, WirePath},
};

/// `tesfs mount`: by the node that runs, else as a node of its own.
pub(crate) fn mount(session: &mut Session, args: &MountArgs) -> Result<Exit, CliError> {
    let config = session.config()?;
    let bucket = match args.bucket.as_deref().or(session.in_bucket()) {
        Some(name) => Some(BucketName::parse(name)?),
        None => None,
    };
    let wish = MountWish::of(&args.wish, &config);
    let request = Mount { bucket, dir: WirePath(absolute(&args.dir)), wish };
    let began = Instant::now();
    loop {
        match session.owner(true)? {
            Owner::Running(client) => {
                match by_running_node(session, client, &request, args.background) {
                    Err(err) if session.waits_for_end(&err, began) => {}
                    outcome => return outcome,
                }
            }
            Owner::Here(dir, lock) if args.background && !background::is_child() => {
                // The child takes the lock itself.
                drop((dir, lock));
                return background::start(session);
            }
            Owner::Here(dir, lock) => {
                let node = session.open(dir, lock)?;
                let outcome = here(session, &node, request);
                if outcome.is_err() {
                    node.end(&session.progress(), &|| true);
                }
                return outcome;
            }
        }
    }
}

/// Asks the running node to mount, and stays until the folder is unmounted.
fn by_running_node(
    session: &mut Session,
    client: Client,
    request: &Mount,
    background: bool,
) -> Result<Exit, CliError> {
    let listener = session.output.listener();
    let answer = client.ask(request, &listener, &mut session.signals)?;
    let (dir, pid) = (answer.dir.clone(), answer.node_pid);
    if background::is_child() {
        background::mounted(session.output, answer, &DataDir::prepare(&session.data_dir()?)?);
        return Ok(Exit::Success);
    }
    session.output.answer(&answer);
    session.output.note(&format!("the node that runs already (process {pid}) serves it"));
    if background {
        return Ok(Exit::Success);
    }
    let Owner::Running(client) = session.owner(false)? else { return Ok(Exit::Success) };
    match client.ask(&Wait { dir: dir.clone() }, &listener, &mut session.signals) {
        // Ctrl-C here means the same as where the node itself runs in the foreground.
        Err(CliError::Interrupted(_)) => {
            let Owner::Running(client) = session.owner(false)? else { return Ok(Exit::Success) };
            let answer =
                client.ask(&Umount { dir, lazy: false }, &listener, &mut session.signals)?;
            session.output.note(&answer.show());
            Ok(Exit::Success)
        }
        Ok(_) => Ok(Exit::Success),
        Err(err) => Err(err),
    }
}

/// Mounts in this process, and serves until the last folder is unmounted or a signal comes.
fn here(session: &mut Session, node: &Arc<Node>, request: Mount) -> Result<Exit, CliError> {
    let server = start_server(node)?;
    let answer = request.run(node, &session.progress())?;
    if background::is_child() {
        background::mounted(session.output, answer, node.dir());
    } else {
        session.output.answer(&answer);
    }
    let mut mounts = node.mounts().count();
    let mut requests = server.requests();
    let signals = &mut session.signals;
    wait(async {
        tokio::select! {
            () = signals.next() => {}
            // A command that came through the socket may outlive the last folder.
            () = none_left(&mut mounts, &mut requests) => {}
        }
    })?;
    end(session, node, server)
}

/// Waits until there is neither a folder nor a request.
async fn none_left(mounts: &mut watch::Receiver<usize>, requests: &mut watch::Receiver<usize>) {
    while *mounts.borrow_and_update() > 0 || *requests.borrow_and_update() > 0 {
        tokio::select! {
            Ok(()) = mounts.changed() => {}
            Ok(()) = requests.changed() => {}
            else => return,
        }
    }
}

/// `tesfs daemon`: the configured mounts, and the socket, until a signal comes.
pub(crate) fn daemon(session: &mut Session) -> Result<Exit, CliError> {
    let config = session.config()?;
    let (dir, lock) = match session.owner(true)? {
        Owner::Here(dir, lock) => (dir, lock),
        Owner::Running(_) => return Err(CliError::NodeRuns { dir: session.data_dir()? }),
    };
    let node = session.open(dir, lock)?;
    let server = start_server(&node)?;
    let mut failed = 0;
    for mount in &config.mounts {
        let request = Mount {
            bucket: mount.bucket.as_deref().map(BucketName::parse).transpose()?,
            dir: WirePath(absolute(&mount.dir)),
            wish: MountWish::of_daemon(mount, &config),
        };
        match request.run(&node, &session.progress()) {
            Ok(answer) => session.output.note(&answer.show()),
            // One folder that cannot be mounted is no reason to withhold the others.
            Err(err) => {
                failed += 1;
                session.output.failure(&err.into_failure());
            }
        }
    }
    let mounted = config.mounts.len() - failed;
    session
        .output
        .note(&format!("tesfs serves {} ({mounted} mounted)", node.dir().path().display()));
    let signals = &mut session.signals;
    wait(signals.next())?;
    end(session, &node, server)
}

fn start_server(node: &Arc<Node>) -> Result<Server, CliError> {
    node.begin_to_serve()
        .map_err(|source| CliError::Start { doing: "starting the upkeep", source })?;
    Server::start(node)
        .map_err(|source| CliError::Start { doing: "opening the control socket", source })
}

fn wait(until: impl Future<Output = ()>) -> Result<(), CliError> {
    let runtime = runtime::Builder::new_current_thread()
        .build()
        .map_err(|source| CliError::Start { doing: "starting a runtime", source })?;
    runtime.block_on(until);
    Ok(())
}

/// Ends the node in order; a further signal hurries it.
fn end(session: &Session, node: &Arc<Node>, server: Server) -> Result<Exit, CliError> {
    let signals = session.signals.clone();
    let before = signals.seen();
    server.begin_end();
    if before > 0 {
        // Their open files would be waited for.
        server.interrupt();
    }
    let progress = session.progress();
    let hurry = || signals.seen() > before;
    node.end_mounts(&progress, &hurry);
    server.close();
    node.end(&progress, &hurry);
    drop(server);
    Ok(Exit::Success)
}
