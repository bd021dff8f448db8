//! The command line: what can be typed, and the help that explains it.

mod branches;
mod history;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use self::branches::{
    BranchCommand, ConflictsCommand, KeepFlags, MergeArgs, OperationCommand, SnapshotCommand,
    SwitchArgs,
};
pub(crate) use self::history::HistoryCommand;

const MAIN_EXAMPLES: &str = "\
Examples:
  tesfs mount ~/Memories          make (or reopen) the bucket `memories` and show it as a folder
  tesfs umount ~/Memories         take the folder away; what is in it stays
  tesfs import ~/Photos photos:   copy a directory into the bucket `photos`
  tesfs status                    what is mounted, how much is in it, whether all is well

A PATH is a path inside a mounted folder, or BUCKET:PATH (`photos:2024/june`). Behind the bucket,
`@` and a branch, a snapshot or a time say which state of it: `photos@try:`, `photos@yesterday:`.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused, 5 damage found,
6 done in part, 7 the machine lacks something, 130 interrupted.";

const MOUNT_EXAMPLES: &str = "\
Examples:
  tesfs mount ~/Memories              the bucket is named after the folder: `memories`
  tesfs mount photos ~/Pictures       a bucket by name
  tesfs mount ~/Memories --background return once it is mounted
  tesfs mount photos@yesterday ~/then what was there at the end of yesterday, read-only
  sudo tesfs mount photos /srv/photos --allow-other

The command stays in the foreground until the folder is unmounted; Ctrl-C unmounts it.
If a node already runs on the data directory, it does the mounting.";

const SET_HELP: &str = "\
Settings:
  history        which earlier versions stay: `forever`, or how long every version does and then,
                 up to which age, how often one does [default: 30d,1y daily,monthly]
  owners         whose the files from other devices are: `mounting-user`, or `numeric` for those
                 with the numbers that the other device wrote [default: mounting-user]
  snapshots      which snapshots are taken by themselves, and how many of each kind stay: `off`, or
                 as in `hourly=24,daily=7,weekly=4,monthly=12,yearly=5` [default: off]
  sync_on_close  whether a close waits until the disk has it: `on` or `off` [default: off]
  transient      names and paths of which no earlier versions are kept: `none`, or as in
                 `*.tmp,~$*,.cache/**` [default: none]

The value `default` goes back to the default. docs/CONFIG.md says more about each. They are kept
with the bucket; a running node acts on them once a minute (snapshots) and once a day (history).

Examples:
  tesfs bucket set photos history=forever
  tesfs bucket set letters 'history=90d,5y daily,monthly' 'transient=*.tmp,~$*'
  tesfs bucket set letters transient=default";

const PATH_HELP: &str = "A path inside a mounted folder, or BUCKET:PATH";

/// A filesystem for the things people keep for decades.
///
/// tesfs shows a bucket of files as a folder that any program can use. Every close of a written
/// file publishes one whole new version: nothing is ever half-written, and nothing is lost.
#[derive(Debug, Parser)]
#[command(
    name = "tesfs",
    bin_name = "tesfs",
    version,
    after_help = MAIN_EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct GlobalArgs {
    /// Where the node keeps everything [default: $XDG_DATA_HOME/tesfs]
    #[arg(long, global = true, value_name = "DIR", env = "TESFS_DATA_DIR", hide_env_values = true, help_heading = GLOBAL)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration file [default: $XDG_CONFIG_HOME/tesfs/config.toml]
    #[arg(long, global = true, value_name = "FILE", env = "TESFS_CONFIG", hide_env_values = true, help_heading = GLOBAL)]
    pub(crate) config: Option<PathBuf>,
    /// The bucket that paths without one are in
    #[arg(long = "bucket", global = true, value_name = "BUCKET", help_heading = GLOBAL)]
    pub(crate) in_bucket: Option<String>,
    /// Print answers (and errors) as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Say more on stderr (-v info, -vv debug, -vvv trace); RUST_LOG overrides
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = GLOBAL)]
    pub(crate) verbose: u8,
    /// Say nothing but errors and the answer itself
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = GLOBAL)]
    pub(crate) quiet: bool,
}

const GLOBAL: &str = "Everywhere";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a bucket as a folder
    #[command(after_help = MOUNT_EXAMPLES, allow_missing_positional = true)]
    Mount(MountArgs),
    /// Take a mounted folder away; what is in it stays in the bucket
    #[command(visible_alias = "unmount")]
    Umount(UmountArgs),
    /// Let a mounted folder show another branch, or what was
    #[command(after_help = "\
Programs go on: what is open stays on the branch that it was opened on, for writing too, until it is
closed; everything opened from then on is of the other branch.

Examples:
  tesfs switch try                   the folder you stand in shows the branch `try`
  tesfs switch main ~/Memories       and another one shows `main` again
  tesfs switch yesterday             what was there at the end of yesterday, read-only")]
    Switch(SwitchArgs),
    /// Show what is kept, mounted and in need of care
    #[command(after_help = "\
Examples:
  tesfs status                       the whole node
  tesfs status ~/Memories/note.txt   one file's story: state, hash, versions
  tesfs status photos:2024/june --json")]
    Status(StatusArgs),
    /// Show what happened to a file, or below a folder, newest first
    #[command(after_help = "\
Of a file it shows every version, also those of files that it replaced (as editors save) and those
that a branch has from its parent. Of a folder it shows what was done below it, one operation
after the other. A path that is removed is found as well.

Examples:
  tesfs log ~/Memories/note.txt
  tesfs log photos@try:2024 --limit 5
  tesfs log                          all of the bucket whose folder you stand in")]
    Log(LogArgs),
    /// Write a file's bytes to stdout, as they are or as they were
    #[command(after_help = "\
Examples:
  tesfs cat ~/Memories/note.txt --at yesterday
  tesfs cat memories:note.txt --version v3       as `tesfs log` calls it
  tesfs cat memories:note.txt --version 9f2c61   or by the first digits of its hash")]
    Cat(CatArgs),
    /// Bring back a version of a file, a folder as it was, or what was removed
    #[command(after_help = "\
What is brought back is a new version: what was there meanwhile stays in history. Bytes are shared,
not copied. In a folder, what came to be later stays, and a name that something else has by now
keeps that. Without --at and --version it brings back what was removed last at PATH, with the
folders it was in; of a folder, what the same operation removed with it.

Examples:
  tesfs restore memories:letters/ada.txt                    it was removed
  tesfs restore ~/Memories/note.txt --version v3            as `tesfs log` calls it
  tesfs restore memories:letters --at yesterday
  tesfs restore memories:note.txt --at 2h --to memories:note-before.txt")]
    Restore(RestoreArgs),
    /// Show what was removed from a folder and below it, newest first
    #[command(after_help = "\
Examples:
  tesfs deleted                      all of the bucket whose folder you stand in
  tesfs deleted memories:letters --limit 10")]
    Deleted(DeletedArgs),
    /// Show what differs between two branches, snapshots or times
    #[command(after_help = "\
Text is shown line by line, other files by size and hash. What was renamed is shown as that; of a
folder that was, only that. Both must be of one bucket.

Examples:
  tesfs diff main try
  tesfs diff yesterday now ~/Memories/letters
  tesfs diff photos@before-the-move photos --stat")]
    Diff(DiffArgs),
    /// Run the node as a service, with the mounts of the configuration
    #[command(after_help = "\
The daemon mounts what the configuration lists under [[mounts]] and then serves commands
(mount, import, status, …) through its socket. docs/SERVICE.md has a systemd user unit.")]
    Daemon,
    /// Make, list, set up, rename and remove buckets
    #[command(subcommand)]
    Bucket(BucketCommand),
    /// Make, list, rename and abandon branches: lines of versions beside `main`
    #[command(
        subcommand,
        after_help = "\
A branch begins with what another one shows and costs nothing until something is changed on it.
What is done on it shows nowhere else, until it is merged.

Examples:
  tesfs branch create try                    beside what the folder you stand in shows
  tesfs branch create fix --from before-it   from a snapshot
  tesfs branch create old --from @monday     from what was there at the end of Monday
  tesfs mount photos@try ~/try               both can be mounted at once"
    )]
    Branch(BranchCommand),
    /// Make, list and remove snapshots: what a branch showed at a moment, kept as it was
    #[command(
        subcommand,
        after_help = "\
Examples:
  tesfs snapshot create before-the-move
  tesfs snapshot create monday --from @monday
  tesfs mount photos@before-the-move ~/then  read-only"
    )]
    Snapshot(SnapshotCommand),
    /// Bring what was done on another branch over to this one
    #[command(after_help = "\
What only one side changed holds. Where both did, lines of texts are merged if that is clean; else
the newer side shows and the other is kept as a conflict (exit code 6). Nothing is lost: what does
not show is in the history, and `tesfs undo` takes the whole merge back.

Examples:
  tesfs merge try                       into what the folder you stand in shows
  tesfs merge try --into main --dry-run only say what would be done
  tesfs merge try --theirs              where both changed something, take theirs")]
    Merge(MergeArgs),
    /// List, show and decide conflicts
    #[command(
        subcommand,
        after_help = "\
Ours is what the branch had, theirs what a merge (or an undo) brought; the newer one shows until
somebody decides. Nothing is lost: the side that is not kept is in history, and `tesfs undo` opens
the conflict again. Of two files with one name, the one that is not kept is removed.

Examples:
  tesfs conflicts show notes.txt               what each side is, line by line
  tesfs conflicts resolve notes.txt --theirs
  tesfs conflicts resolve notes.txt            after editing it: what is there now
  tesfs conflicts resolve 3 --with merged.txt  by its number, with the bytes of a file"
    )]
    Conflicts(ConflictsCommand),
    /// Show what was done, operation by operation
    #[command(subcommand)]
    Op(OperationCommand),
    /// Take back the last operation, or the one that is named; what came later stays
    #[command(after_help = "\
An operation is one command, or one burst of changes by one program's session (pauses of at most
2 s). What a later one changed again stays as it is, and the other side is kept as a conflict.

Examples:
  tesfs undo               the last operation; again: the one before
  tesfs undo 3f2a9c01      one of `tesfs op log`
  tesfs redo               take the undo back")]
    Undo {
        /// As `tesfs op log` shows it; its first characters are enough
        #[arg(value_name = "OPERATION")]
        operation: Option<String>,
    },
    /// Do again what the last undo took back
    Redo {
        /// The operation that was undone
        #[arg(value_name = "OPERATION")]
        operation: Option<String>,
    },
    /// Copy files from this machine into a bucket
    #[command(after_help = "\
The contents of SRC appear in DEST: `tesfs import ~/Photos photos:` makes photos:2024 of
~/Photos/2024. Files that are there already get a new version, unless size and modification
time are equal. Kept: modes, times (ns), xattrs, hard links, symlinks, holes, and owners when
root. Symlinks are never followed. What cannot be taken (sockets, unreadable files, names over
255 bytes, files that change while they are read) is listed, and the exit code is 6.

Examples:
  tesfs import ~/Photos photos:
  tesfs import letter.pdf memories:letters/
  tesfs import ~/Music ~/Memories/music      DEST may be inside a mounted folder")]
    Import(ImportArgs),
    /// Copy files from a bucket to a directory outside it
    #[command(after_help = "\
DEST must not exist yet, or be an empty directory. Needs no mount.

Examples:
  tesfs export photos: /media/usb/photos
  tesfs export memories:letters/letter.pdf ./letter.pdf
  tesfs export 'photos@3 days ago:2024' ./2024-as-it-was")]
    Export(ExportArgs),
    /// Check that what is kept is sound
    #[command(after_help = "\
Plain, it checks the database, that every version has its bytes, and their sizes (seconds).
With --full every byte is read and hashed. Damage makes the exit code 5; a damaged blob is put
into quarantine, never deleted. With PATH only the files at or below it are checked.")]
    Verify(VerifyArgs),
    /// Thin out earlier versions
    #[command(subcommand)]
    History(HistoryCommand),
    /// Delete bytes that nothing refers to any more
    Gc(GcArgs),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  tesfs completions bash > ~/.local/share/bash-completion/completions/tesfs
  tesfs completions zsh  > ~/.zfunc/_tesfs
  tesfs completions fish > ~/.config/fish/completions/tesfs.fish")]
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them into a directory
    #[command(after_help = "\
Examples:
  tesfs man | man -l -
  tesfs man ~/.local/share/man/man1")]
    Man(ManArgs),
}

#[derive(Args, Debug)]
pub(crate) struct MountArgs {
    /// The bucket to show, as BUCKET, BUCKET@BRANCH or BUCKET@TIME [default: the one DIR showed
    /// last, else one named after DIR, which is made if it does not exist]
    #[arg(value_name = "BUCKET")]
    pub(crate) bucket: Option<String>,
    /// The folder to show it in; made if it does not exist, else it must be empty
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Return to the shell once it is mounted
    #[arg(long)]
    pub(crate) background: bool,
    #[command(flatten)]
    pub(crate) wish: MountFlags,
}

/// How to mount; what is not given comes from the `[mount]` section of the configuration.
#[derive(Args, Clone, Debug)]
pub(crate) struct MountFlags {
    /// Refuse every change through this folder
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Let other users of this machine in, as modes and owners allow
    #[arg(long)]
    pub(crate) allow_other: bool,
    /// Let readers see what is being written before it is closed (for `tail -f` and databases)
    #[arg(long)]
    pub(crate) shared_writes: bool,
    /// Honour set-user-id and set-group-id bits (root only)
    #[arg(long)]
    pub(crate) suid: bool,
    /// Honour device files (root only)
    #[arg(long)]
    pub(crate) dev: bool,
    /// Serve all bytes through tesfs, even where the kernel could read the files directly
    #[arg(long)]
    pub(crate) cached: bool,
    /// Threads that answer the kernel
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,
}

#[derive(Args, Debug)]
pub(crate) struct UmountArgs {
    /// The mounted folder
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Take it away even while files in it are open; they stay usable until closed
    #[arg(long)]
    pub(crate) lazy: bool,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    #[arg(value_name = "PATH", help = PATH_HELP)]
    pub(crate) path: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    #[arg(value_name = "PATH", help = PATH_HELP)]
    pub(crate) path: Option<PathBuf>,
    /// How many versions or operations are shown
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
}

#[derive(Args, Debug)]
pub(crate) struct CatArgs {
    #[arg(value_name = "PATH", help = PATH_HELP)]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) which: WhichFlags,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    #[arg(value_name = "PATH", help = PATH_HELP)]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) which: WhichFlags,
    /// Where to make a copy of it, instead of bringing it back to where it was; must not exist yet
    #[arg(long, value_name = "DEST")]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct DeletedArgs {
    #[arg(value_name = "DIR", help = PATH_HELP)]
    pub(crate) path: Option<PathBuf>,
    /// How many are shown
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// A branch, a snapshot or a time, or BUCKET with or without one behind an @
    #[arg(value_name = "A")]
    pub(crate) one: String,
    /// The same
    #[arg(value_name = "B")]
    pub(crate) other: String,
    /// Only what is there or below it: a path inside a mounted folder, or BUCKET:PATH
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// Leave out the lines of text
    #[arg(long)]
    pub(crate) stat: bool,
}

/// Which version is meant.
#[derive(Args, Debug)]
pub(crate) struct WhichFlags {
    /// What was there at a time, or is on another branch or snapshot
    #[arg(long, value_name = "TIME", conflicts_with = "version")]
    pub(crate) at: Option<String>,
    /// A version as `tesfs log` calls it: `v3`, or the first digits of its hash
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BucketCommand {
    /// Make an empty bucket
    Create {
        /// At most 64 bytes, without / : @ and not beginning with a dot or a dash
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the buckets
    #[command(visible_alias = "ls")]
    List {
        /// List removed ones too
        #[arg(long)]
        all: bool,
    },
    /// Show one bucket and its settings
    Show {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Set what a bucket does; all that is given, or nothing if any of it is wrong
    #[command(after_help = SET_HELP)]
    Set {
        #[arg(value_name = "NAME")]
        name: String,
        /// A setting and its value
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
    },
    /// Give a bucket another name; its mounts go on
    Rename {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(value_name = "NEW")]
        new: String,
    },
    /// Remove a bucket; it can be restored for 30 days
    Remove {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Bring a removed bucket back
    Restore {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// A file or directory of this machine
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// BUCKET:PATH, or a path inside a mounted folder
    #[arg(value_name = "DEST")]
    pub(crate) dest: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[arg(value_name = "SRC", help = PATH_HELP)]
    pub(crate) source: PathBuf,
    /// A path of this machine that does not exist yet, or an empty directory
    #[arg(value_name = "DEST")]
    pub(crate) dest: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    #[arg(value_name = "PATH", help = PATH_HELP)]
    pub(crate) path: Option<PathBuf>,
    /// Read and hash every byte
    #[arg(long)]
    pub(crate) full: bool,
}

#[derive(Args, Debug)]
pub(crate) struct GcArgs {
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Where to write tesfs.1, tesfs-mount.1, …
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use std::path::Path;
    use tesfs_pathtree::settings::{Key, Settings};

    fn mount(line: &[&str]) -> MountArgs {
        match Cli::try_parse_from(line).unwrap().command {
            Command::Mount(args) => args,
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_is_in_the_help_and_in_the_documents_with_its_default() {
        let docs = include_str!("../../docs/CONFIG.md");
        let defaults = Settings::default();
        for key in Key::ALL {
            let default = defaults.shown(key);
            let (_, help) = SET_HELP.split_once(&format!("\n  {key} ")).unwrap();
            let (_, found) = help.split_once("[default: ").unwrap();
            assert!(found.starts_with(&format!("{default}]")), "{key}: {found}");
            assert!(
                docs.contains(&format!("| `{key}` | `{default}` |")),
                "{key} in docs/CONFIG.md"
            );
        }
    }

    #[test]
    fn mount_with_one_word_takes_it_as_the_folder() {
        let args = mount(&["tesfs", "mount", "/m"]);
        assert_eq!((args.bucket, args.dir.as_path()), (None, Path::new("/m")));
    }

    #[test]
    fn mount_with_two_words_takes_bucket_and_folder() {
        let args = mount(&["tesfs", "mount", "photos@main", "/m", "--read-only"]);
        assert_eq!(
            (args.bucket.as_deref(), args.dir.as_path()),
            (Some("photos@main"), Path::new("/m"))
        );
        assert!(args.wish.read_only);
    }

    #[test]
    fn global_options_are_taken_before_and_after_the_command() {
        for line in [["tesfs", "--json", "status"], ["tesfs", "status", "--json"]] {
            assert!(Cli::try_parse_from(line).unwrap().global.json);
        }
    }
}
