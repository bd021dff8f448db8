//! From a parsed command line to a request, and its answer to the exit code.

use std::path::Path;

use crate::{
    args::{
        BranchCommand, BucketCommand, Cli, Command, ConflictsCommand, DiffArgs, HistoryCommand,
        KeepFlags, MergeArgs, OperationCommand, RestoreArgs, SnapshotCommand, SwitchArgs,
        WhichFlags,
    },
    commands::{
        branch::{self, Changed, Kind},
        bucket, cat,
        conflicts::{self, Keep, Which},
        deleted, diff, export, gc, history, import, log, man,
        merge::{Merge, Side},
        operation::{self, Way},
        restore, settings, status, story, switch, umount, verify,
    },
    error::CliError,
    exit::Exit,
    output::Output,
    paths::{absolute, resolved},
    said::Said,
    serve,
    session::Session,
    target::{Target, WirePath},
};

/// Does what the command line says.
pub(crate) fn run(cli: Cli, output: Output) -> Result<Exit, CliError> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions(args) => {
            output.raw(&man::completions(args.shell));
            return Ok(Exit::Success);
        }
        Command::Man(args) => return manual(output, args.dir.as_deref()),
        _ => {}
    }
    let name = name_of(&command);
    let mut session = Session::new(output, global, name)?;
    match command {
        Command::Mount(args) => serve::mount(&mut session, &args),
        Command::Daemon => serve::daemon(&mut session),
        Command::Umount(args) => session
            .ask(umount::Umount { dir: WirePath(absolute(&args.dir)), lazy: args.lazy }, false),
        Command::Switch(args) => switch(&mut session, &args),
        Command::Status(args) => match args.path {
            None => session.ask(status::Status {}, false),
            Some(path) => {
                let target = Target::parse(&path, session.in_bucket())?;
                session.ask(story::Story { target }, false)
            }
        },
        Command::Log(args) => {
            let target = optional_target(&session, args.path.as_deref())?;
            let place = session.context()?;
            session.ask(log::Log { target, place, limit: args.limit }, false)
        }
        Command::Cat(args) => {
            let target = Target::parse(&args.path, session.in_bucket())?;
            // Nothing but the file's bytes goes to stdout.
            session.output.json = false;
            session.ask(cat::Cat { target, which: which(args.which) }, false)
        }
        Command::Restore(args) => restore(&mut session, args),
        Command::Deleted(args) => {
            let target = optional_target(&session, args.path.as_deref())?;
            let place = session.context()?;
            session.ask(deleted::Deleted { target, place, limit: args.limit }, false)
        }
        Command::Diff(args) => diff(&mut session, &args),
        Command::Bucket(command) => bucket(&mut session, command),
        Command::Branch(command) => branch(&mut session, command),
        Command::Snapshot(command) => snapshot(&mut session, command),
        Command::Merge(args) => merge(&mut session, args),
        Command::Conflicts(command) => decide(&mut session, command),
        Command::Op(command) => operation(&mut session, command),
        Command::Undo { operation } => put_back(&mut session, operation, Way::Undo),
        Command::Redo { operation } => put_back(&mut session, operation, Way::Redo),
        Command::Import(args) => {
            let dest = Target::parse(&args.dest, session.in_bucket())?;
            let source = WirePath(resolved(&args.source));
            session.ask(import::Import { source, dest }, false)
        }
        Command::Export(args) => {
            let source = Target::parse(&args.source, session.in_bucket())?;
            let dest = WirePath(absolute(&args.dest));
            session.ask(export::Export { source, dest }, false)
        }
        Command::Verify(args) => {
            let target = optional_target(&session, args.path.as_deref())?;
            session.ask(verify::Verify { full: args.full, target }, false)
        }
        Command::History(command) => history(&mut session, command),
        Command::Gc(args) => session.ask(gc::Gc { dry_run: args.dry_run }, false),
        Command::Completions(_) | Command::Man(_) => Ok(Exit::Success),
    }
}

fn switch(session: &mut Session, args: &SwitchArgs) -> Result<Exit, CliError> {
    let (place, to) = (session.context()?, Said::new(&args.to));
    let dir = args.dir.as_deref().map(|dir| WirePath(absolute(dir)));
    session.ask(switch::Switch { place, dir, to }, false)
}

fn history(session: &mut Session, command: HistoryCommand) -> Result<Exit, CliError> {
    let HistoryCommand::Prune { bucket, to_free, dry_run } = command;
    let place = session.context()?;
    session.ask(history::Prune { place, bucket, to_free, dry_run }, false)
}

fn bucket(session: &mut Session, command: BucketCommand) -> Result<Exit, CliError> {
    match command {
        BucketCommand::Create { name } => session.ask(bucket::Create { name }, true),
        BucketCommand::List { all } => session.ask(bucket::List { all }, false),
        BucketCommand::Show { name } => session.ask(bucket::Describe { name }, false),
        BucketCommand::Set { name, settings } => {
            session.ask(settings::Set { name, settings }, false)
        }
        BucketCommand::Rename { name, new } => session.ask(bucket::Rename { name, new }, false),
        BucketCommand::Remove { name } => session.ask(bucket::Remove { name }, false),
        BucketCommand::Restore { name } => session.ask(bucket::Restore { name }, false),
    }
}

fn branch(session: &mut Session, command: BranchCommand) -> Result<Exit, CliError> {
    let (kind, place) = (Kind::Branch, session.context()?);
    let change = |name, change| branch::Change { kind, place: place.clone(), name, change };
    match command {
        BranchCommand::Create { name, from } => {
            let from = from.as_deref().map(Said::new);
            session.ask(branch::Create { kind, place, name, from }, false)
        }
        BranchCommand::List { all } => session.ask(branch::List { kind, place, all }, false),
        BranchCommand::Rename { name, new } => {
            session.ask(change(name, Changed::Rename { new }), false)
        }
        BranchCommand::Abandon { name } => session.ask(change(name, Changed::Abandon), false),
        BranchCommand::Restore { name } => session.ask(change(name, Changed::Restore), false),
    }
}

fn snapshot(session: &mut Session, command: SnapshotCommand) -> Result<Exit, CliError> {
    let (kind, place) = (Kind::Snapshot, session.context()?);
    match command {
        SnapshotCommand::Create { name, from } => {
            let from = from.as_deref().map(Said::new);
            session.ask(branch::Create { kind, place, name, from }, false)
        }
        SnapshotCommand::List { all } => session.ask(branch::List { kind, place, all }, false),
        SnapshotCommand::Remove { name } => {
            session.ask(branch::Change { kind, place, name, change: Changed::Abandon }, false)
        }
        SnapshotCommand::Restore { name } => {
            session.ask(branch::Change { kind, place, name, change: Changed::Restore }, false)
        }
    }
}

fn restore(session: &mut Session, args: RestoreArgs) -> Result<Exit, CliError> {
    let target = Target::parse(&args.path, session.in_bucket())?;
    let to = optional_target(session, args.to.as_deref())?;
    session.ask(restore::Restore { target, which: which(args.which), to }, false)
}

fn diff(session: &mut Session, args: &DiffArgs) -> Result<Exit, CliError> {
    let target = optional_target(session, args.path.as_deref())?;
    let (one, other) = (Said::new(&args.one), Said::new(&args.other));
    let place = session.context()?;
    session.ask(diff::Diff { one, other, target, place, stat: args.stat }, false)
}

fn merge(session: &mut Session, args: MergeArgs) -> Result<Exit, CliError> {
    let MergeArgs { from, into, dry_run, ours, theirs, abort } = args;
    if abort {
        return put_back(session, None, Way::AbortMerge);
    }
    let favour = match (ours, theirs) {
        (true, _) => Side::Ours,
        (_, true) => Side::Theirs,
        _ => Side::Newest,
    };
    let place = session.context()?;
    let (from, into) = (Said::new(&from.unwrap_or_default()), into.as_deref().map(Said::new));
    session.ask(Merge { place, from, into, favour, dry_run }, false)
}

fn decide(session: &mut Session, command: ConflictsCommand) -> Result<Exit, CliError> {
    let place = session.context()?;
    match command {
        ConflictsCommand::List => session.ask(conflicts::List { place }, false),
        ConflictsCommand::Show { which } => {
            let which = which.map(|typed| Which::parse(&typed, session.in_bucket())).transpose()?;
            session.ask(conflicts::Describe { place, which }, false)
        }
        ConflictsCommand::Resolve { which, keep } => {
            let which = Which::parse(&which, session.in_bucket())?;
            let keep = match keep {
                KeepFlags { ours: true, .. } => Keep::Ours,
                KeepFlags { theirs: true, .. } => Keep::Theirs,
                KeepFlags { both: true, .. } => Keep::Both,
                KeepFlags { with: Some(file), .. } => Keep::With(WirePath(absolute(&file))),
                KeepFlags { .. } => Keep::AsItIs,
            };
            session.ask(conflicts::Resolve { place, which, keep }, false)
        }
    }
}

fn operation(session: &mut Session, command: OperationCommand) -> Result<Exit, CliError> {
    let place = session.context()?;
    match command {
        OperationCommand::Log { limit } => session.ask(operation::Log { place, limit }, false),
        OperationCommand::Show { operation, limit } => {
            session.ask(operation::Describe { place, operation, limit }, false)
        }
    }
}

fn put_back(session: &mut Session, operation: Option<String>, way: Way) -> Result<Exit, CliError> {
    let place = session.context()?;
    session.ask(operation::PutBack { place, operation, way }, false)
}

/// What a PATH means that need not be given.
fn optional_target(session: &Session, path: Option<&Path>) -> Result<Option<Target>, CliError> {
    Ok(path.map(|path| Target::parse(path, session.in_bucket())).transpose()?)
}

fn which(flags: WhichFlags) -> cat::Which {
    cat::Which { at: flags.at.as_deref().map(Said::new), version: flags.version }
}

fn manual(output: Output, dir: Option<&Path>) -> Result<Exit, CliError> {
    match dir {
        None => output.raw(&man::main_page()?),
        Some(dir) => {
            let pages = man::write_all(dir)?;
            output.note(&format!("{pages} manual pages written to {}", dir.display()));
        }
    }
    Ok(Exit::Success)
}

fn name_of(command: &Command) -> &'static str {
    match command {
        Command::Mount(_) => "mount",
        Command::Umount(_) => "umount",
        Command::Switch(_) => "switch",
        Command::Status(_) => "status",
        Command::Log(_) => "log",
        Command::Cat(_) => "cat",
        Command::Restore(_) => "restore",
        Command::Deleted(_) => "deleted",
        Command::Diff(_) => "diff",
        Command::Daemon => "daemon",
        Command::Bucket(_) => "bucket",
        Command::Branch(_) => "branch",
        Command::Snapshot(_) => "snapshot",
        Command::Merge(_) => "merge",
        Command::Conflicts(_) => "conflicts",
        Command::Op(_) => "op",
        Command::Undo { .. } => "undo",
        Command::Redo { .. } => "redo",
        Command::Import(_) => "import",
        Command::Export(_) => "export",
        Command::Verify(_) => "verify",
        Command::History(_) => "history",
        Command::Gc(_) => "gc",
        Command::Completions(_) => "completions",
        Command::Man(_) => "man",
    }
}
