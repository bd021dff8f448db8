//! A mounted bucket for one test, with the commands people give beside it.

use std::{
    cell::RefCell,
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, Output},
    thread,
};

use crate::{Mode, Node, NodePlace};

/// The bucket, and the folder that shows it.
const MAIN: &str = "main";

/// A node whose bucket `main` is mounted, in a directory of its own; all of it goes when the test
/// has passed.
pub struct Rig {
    node: Option<Node>,
    place: NodePlace,
    dir: PathBuf,
    /// Folders that show branches.
    branches: RefCell<Vec<PathBuf>>,
}

impl Rig {
    /// Mounts a new bucket; `None` where nothing can be mounted, which is said.
    ///
    /// # Panics
    ///
    /// If it can not be mounted all the same, or in another mode.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests must see what is skipped")]
    pub fn start(mode: Mode, name: &str) -> Option<Self> {
        if !Path::new("/dev/fuse").exists() || !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs /dev/fuse and root");
            return None;
        }
        let dir = env::temp_dir().join(format!("tesfs-{name}-{}-{}", mode.name(), process::id()));
        let mountpoint = dir.join(MAIN);
        fs::create_dir_all(&mountpoint).expect("the folder of a test can be made");
        let (data_dir, log) = (dir.join("data"), dir.join("log"));
        let place = NodePlace { data_dir, mountpoint, mode, config: None, boot_id: None, log };
        let node = Node::start(&place).expect("a node starts");
        assert_eq!(node.mode(), Some(mode));
        Some(Self { node: Some(node), place, dir, branches: RefCell::default() })
    }

    /// Lets a test happen once in each mode, as far as anything can be mounted.
    pub fn in_both_modes(name: &str, test: impl Fn(&Self)) {
        for mode in [Mode::Passthrough, Mode::Cached] {
            if let Some(rig) = Self::start(mode, name) {
                test(&rig);
            }
        }
    }

    /// Where the node is and how it is mounted.
    pub fn place(&self) -> &NodePlace {
        &self.place
    }

    /// A path in the mounted bucket.
    pub fn at(&self, path: &str) -> PathBuf {
        self.place.mountpoint.join(path)
    }

    /// A path in a mounted branch; that of the bucket itself is `main`.
    pub fn on(&self, branch: &str, path: &str) -> PathBuf {
        self.dir.join(branch).join(path)
    }

    /// A path beside what is mounted.
    pub fn beside(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Runs a command in the mounted folder.
    ///
    /// # Panics
    ///
    /// If it can not be run at all.
    pub fn tesfs(&self, line: &[&str]) -> Output {
        let mut command = Command::new(Node::binary().expect("the workspace is built"));
        command.env("TESFS_CONFIG", "/dev/null").env("TESFS_DATA_DIR", &self.place.data_dir);
        command.arg("--quiet").args(line).current_dir(&self.place.mountpoint);
        command.output().expect("the command runs")
    }

    /// Runs a command that must succeed and have nothing to remark; returns what it printed.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn ok(&self, line: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.tesfs(line);
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.success() && said.is_empty(), "{line:?} ended with {status}: {said}");
        String::from_utf8_lossy(&stdout).into_owned()
    }

    /// Mounts a branch or snapshot of the bucket beside it.
    pub fn show(&self, branch: &str) {
        let dir = self.on(branch, "");
        let (bucket, text) = (format!("{MAIN}@{branch}"), dir.display().to_string());
        let mut line = vec!["mount", &bucket, &text, "--background"];
        if self.place.mode == Mode::Cached {
            line.push("--cached");
        }
        self.ok(&line);
        self.branches.borrow_mut().push(dir);
    }

    /// Makes a branch of what the bucket shows, and mounts it.
    pub fn branch(&self, name: &str) {
        self.ok(&["branch", "create", name]);
        self.show(name);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !thread::panicking() {
            for dir in self.branches.take() {
                self.ok(&["umount", &dir.display().to_string()]);
            }
        }
        let ended = self.node.take().map(Node::unmount);
        if !thread::panicking() {
            ended.transpose().expect("the node ends well");
            fs::remove_dir_all(&self.dir).expect("the folder of a test can be removed");
        }
    }
}
