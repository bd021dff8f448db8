//! A node with one mounted bucket, a shell in it, and how files are looked at.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use rustix::fs::fgetxattr;
use tesfs_tests::{Mode, Node, NodePlace, close};

/// More than a page, so that the bytes are in a file of their own.
pub(crate) const LARGE: usize = 100_000;

/// A node with one mounted bucket, `m`.
pub(crate) struct Rig {
    pub(crate) node: Option<Node>,
    pub(crate) place: NodePlace,
    pub(crate) dir: PathBuf,
}

impl Rig {
    /// `None` where nothing can be mounted.
    pub(crate) fn start(mode: Mode, name: &str) -> Option<Self> {
        if !Path::new("/dev/fuse").exists() || !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs /dev/fuse and root");
            return None;
        }
        let unique = format!("tesfs-switching-{name}-{}-{}", mode.name(), std::process::id());
        let dir = std::env::temp_dir().join(unique);
        fs::create_dir_all(dir.join("m")).unwrap();
        let place = NodePlace {
            data_dir: dir.join("data"),
            mountpoint: dir.join("m"),
            mode,
            config: None,
            boot_id: None,
            log: dir.join("log"),
        };
        let node = Node::start(&place).unwrap();
        Some(Self { node: Some(node), place, dir })
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.place.mountpoint.join(path)
    }

    pub(crate) fn tesfs(&self, line: &[&str]) -> Command {
        let mut command = Command::new(Node::binary().unwrap());
        command.arg("--data-dir").arg(&self.place.data_dir).args(line);
        command.current_dir(&self.place.mountpoint);
        command
    }

    /// The same for a shell, which needs no quotes for what is used here.
    pub(crate) fn line(&self, line: &[&str]) -> String {
        let (binary, data_dir) = (Node::binary().unwrap(), &self.place.data_dir);
        let dir = self.place.mountpoint.display();
        let (binary, data_dir) = (binary.display(), data_dir.display());
        format!("{binary} --data-dir {data_dir} {} {dir}", line.join(" "))
    }

    pub(crate) fn run(&self, line: &[&str]) -> Output {
        self.tesfs(line).output().unwrap()
    }

    #[track_caller]
    pub(crate) fn ok(&self, line: &[&str]) -> String {
        let ran = self.run(line);
        assert!(ran.status.success(), "{line:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    #[track_caller]
    pub(crate) fn refused(&self, exit: i32, line: &[&str]) -> String {
        let ran = self.run(line);
        assert_eq!(ran.status.code(), Some(exit), "{line:?}");
        String::from_utf8_lossy(&ran.stderr).into_owned()
    }

    #[track_caller]
    pub(crate) fn switch(&self, to: &str) {
        self.ok(&["switch", to]);
    }

    /// What is in a file of what is shown.
    #[track_caller]
    pub(crate) fn shows(&self, path: &str, expected: Option<&[u8]>) {
        let seen = fs::read(self.at(path));
        let is_so = match (&seen, expected) {
            (Ok(seen), Some(expected)) => seen == expected,
            (Err(err), None) => err.raw_os_error() == Some(libc::ENOENT),
            _ => false,
        };
        assert!(is_so, "{path}: {:?}", seen.map(|seen| seen.len()));
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let ended = self.node.take().map(Node::unmount);
        if !thread::panicking() {
            ended.transpose().unwrap();
            let verified = Node::verify_full(&self.place).unwrap();
            assert!(verified.clean, "{}", verified.output);
            fs::remove_dir_all(&self.dir).unwrap();
        }
    }
}

pub(crate) fn on_both(test: impl Fn(&mut Rig), name: &str) {
    for mode in [Mode::Passthrough, Mode::Cached] {
        if let Some(mut rig) = Rig::start(mode, name) {
            test(&mut rig);
        }
    }
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    close(file).unwrap();
}

pub(crate) fn text(seed: &str, len: usize) -> Vec<u8> {
    seed.as_bytes().iter().copied().cycle().take(len).collect()
}

pub(crate) fn read_all(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The branch that a handle is on.
pub(crate) fn branch_of(file: &File) -> String {
    let mut told = [0; 64];
    let len = fgetxattr(file, "user.tesfs.branch", &mut told).unwrap();
    String::from_utf8_lossy(&told[..len]).into_owned()
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|e| name(e).into_string().unwrap()).collect();
    names.sort();
    names
}

/// A shell that stands in a directory and does what it is told.
pub(crate) struct Shell {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Shell {
    pub(crate) fn in_directory(dir: &Path) -> Self {
        let mut child = Command::new("sh")
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// The first line of what a command says, and its exit code behind it.
    pub(crate) fn says(&mut self, command: &str) -> String {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "said=$({command}); echo \"$said\" $?").unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}
