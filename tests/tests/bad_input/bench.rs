//! A place of its own for each test: a data directory with something in it, and `tesfs` beside it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tesfs_tests::{Mode, Node, NodePlace, close, detach, eventually};

use crate::ran::Ran;

/// How long anything may take that is only a matter of time.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// A file of this size is kept in a file of its own, not in the database.
pub(crate) const LARGE_BYTES: usize = 200_000;

/// A directory that is removed when the test ends, with all that was mounted in it.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tesfs-bad.").tempdir_in("/var/tmp").unwrap();
        fs::create_dir(dir.path().join("kept")).unwrap();
        let bench = Self { dir };
        bench.write("kept/note.txt", b"small enough for the database");
        bench.write("kept/below/photo.raw", large(1));
        bench
    }

    /// A bench whose data directory has the bucket `keep`, with the tree of `kept/`.
    pub(crate) fn with_bucket() -> Self {
        let bench = Self::new();
        bench.run(&["bucket", "create", "keep"]).ok();
        bench.run(&["import", "kept", "keep:"]).ok();
        bench
    }

    /// The path of `name` on this bench.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The path of `name` as messages show it.
    pub(crate) fn said(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.at("data")
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `tesfs` in the bench's directory, which nothing of whoever runs the tests reaches.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(Node::binary().unwrap());
        command.args(args);
        self.settle_in(&mut command);
        command
    }

    /// Gives any command the bench's directory and environment.
    pub(crate) fn settle_in(&self, command: &mut Command) {
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("TESFS_DATA_DIR", self.data_dir())
            .stdin(Stdio::null());
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Where a node of this bench is, and how it is mounted.
    pub(crate) fn place(&self, mode: Mode) -> NodePlace {
        NodePlace {
            data_dir: self.data_dir(),
            mountpoint: self.at("keep"),
            mode,
            config: None,
            boot_id: None,
            log: self.at("log"),
        }
    }

    /// Mounts the bucket `keep` at `keep/`.
    pub(crate) fn start(&self, mode: Mode) -> Node {
        Node::start(&self.place(mode)).unwrap()
    }

    /// What the nodes of this bench said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    /// The names of the buckets in use.
    pub(crate) fn buckets(&self) -> Vec<String> {
        let listed = self.run(&["bucket", "list"]).ok();
        let first = |line: &str| line.split_whitespace().next().unwrap().to_owned();
        listed.lines().skip(1).map(first).collect()
    }

    /// Every byte that was kept is there, and nothing is damaged.
    #[track_caller]
    pub(crate) fn nothing_is_lost(&self) {
        let said = self.run(&["verify", "--full"]).ok();
        assert!(said.contains("no damage found"), "{said}");
        let back = tempfile::tempdir_in(self.dir.path()).unwrap();
        let dest = back.path().join("back");
        self.run(&["export", "keep:", &dest.display().to_string()]).ok();
        assert!(tree(&dest) == tree(&self.at("kept")), "the bucket is not what was kept in it");
    }

    /// Waits until nothing waits for its seal; the file's bytes are in the store then.
    #[track_caller]
    pub(crate) fn sealed(&self) {
        let is_sealed = || {
            let said = self.run(&["status", "--json"]).ok();
            said.contains("\"unsealed\": 0,").then_some(())
        };
        let sealed = eventually(SOON, is_sealed);
        assert!(sealed.is_some(), "{:#?}\n{}", self.run(&["status", "--json"]), self.log());
    }

    /// The files that hold the bytes of versions, without their outboards.
    pub(crate) fn blob_files(&self) -> Vec<PathBuf> {
        let files = tree(&self.data_dir().join("blobs"));
        let is_blob = |path: &PathBuf| path.is_file() && path.extension().is_none();
        files
            .into_keys()
            .map(|name| self.data_dir().join("blobs").join(name))
            .filter(is_blob)
            .collect()
    }
}

impl Drop for Bench {
    /// Takes away whatever a failed test left mounted.
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let dirs = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        for dir in
            dirs.filter(|dir| dir.starts_with(self.dir.path())).collect::<Vec<_>>().iter().rev()
        {
            detach(dir);
        }
    }
}

/// Bytes too many for the database, other ones for each `seed`.
pub(crate) fn large(seed: u8) -> Vec<u8> {
    (0..LARGE_BYTES).map(|n| u8::try_from(n % 251).unwrap().wrapping_mul(seed)).collect()
}

/// Writes all bytes and closes: what any program does.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().create(true).write(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    close(file)
}

/// Every file below `dir` with its bytes, and every other entry with a word for what it is.
pub(crate) fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(dir).unwrap().to_owned();
            let what = if meta.is_file() {
                fs::read(&path).unwrap()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else {
                b"no file".to_vec()
            };
            found.insert(name, what);
            if meta.is_dir() {
                left.push(path);
            }
        }
    }
    found
}
