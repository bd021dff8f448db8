//! Branches, merges and undos on mounted folders: what the kernel cached must not outlive them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "whoever runs the tests must see what is skipped")]

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::Duration,
};

use tesfs_tests::{Mode, Node, NodePlace, close, eventually};

/// More than the pause that ends an operation.
const PAUSE: Duration = Duration::from_millis(2100);
/// How long the kernel may take to hear of a change.
const PATIENCE: Duration = Duration::from_secs(5);

/// `main` mounted, and a branch `try` beside it.
struct Rig {
    node: Option<Node>,
    place: NodePlace,
    dir: PathBuf,
}

impl Rig {
    /// `None` where nothing can be mounted.
    fn start(mode: Mode, name: &str) -> Option<Self> {
        if !Path::new("/dev/fuse").exists() || !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs /dev/fuse and root");
            return None;
        }
        let unique = format!("tesfs-branches-{name}-{}-{}", mode.name(), std::process::id());
        let dir = std::env::temp_dir().join(unique);
        fs::create_dir_all(dir.join("main")).unwrap();
        let place = NodePlace {
            data_dir: dir.join("data"),
            mountpoint: dir.join("main"),
            mode,
            config: None,
            boot_id: None,
            log: dir.join("log"),
        };
        let node = Node::start(&place).unwrap();
        Some(Self { node: Some(node), place, dir })
    }

    /// A path in a mounted branch.
    fn at(&self, branch: &str, path: &str) -> PathBuf {
        self.dir.join(branch).join(path)
    }

    fn tesfs(&self, line: &[&str]) -> Output {
        Command::new(Node::binary().unwrap())
            .arg("--data-dir")
            .arg(&self.place.data_dir)
            .args(line)
            .current_dir(&self.place.mountpoint)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ok(&self, line: &[&str]) -> String {
        let ran = self.tesfs(line);
        assert!(ran.status.success(), "{line:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Makes a branch of what `main` shows and mounts it.
    fn branch(&self, name: &str) {
        self.ok(&["branch", "create", name]);
        let dir = self.at(name, "");
        let bucket = format!("main@{name}");
        let mut line = vec!["mount", &bucket, dir.to_str().unwrap(), "--background"];
        if self.place.mode == Mode::Cached {
            line.push("--cached");
        }
        self.ok(&line);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !thread::panicking() {
            for branch in ["try", "deep"] {
                if self.at(branch, "").exists() {
                    self.ok(&["umount", self.at(branch, "").to_str().unwrap()]);
                }
            }
        }
        let ended = self.node.take().map(Node::unmount);
        if !thread::panicking() {
            ended.transpose().unwrap();
            fs::remove_dir_all(&self.dir).unwrap();
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    close(file).unwrap();
}

/// Waits until a path shows what is expected; the kernel hears of changes a moment later.
#[track_caller]
fn shows(path: &Path, expected: Option<&[u8]>) {
    let seen = || fs::read(path).ok();
    let reached = eventually(PATIENCE, || (seen().as_deref() == expected).then_some(()));
    assert!(reached.is_some(), "{}: {:?}", path.display(), seen());
}

fn text(seed: &str, len: usize) -> Vec<u8> {
    seed.as_bytes().iter().copied().cycle().take(len).collect()
}

fn on_both(test: impl Fn(&Rig), name: &str) {
    for mode in [Mode::Passthrough, Mode::Cached] {
        if let Some(rig) = Rig::start(mode, name) {
            test(&rig);
        }
    }
}

#[test]
fn two_branches_are_mounted_at_once_and_each_shows_its_own() {
    on_both(
        |rig| {
            for (file, len) in [("small", 10), ("large", 100_000)] {
                write(&rig.at("main", file), &text("one", len));
            }
            rig.branch("try");
            for (file, len) in [("small", 10), ("large", 100_000)] {
                shows(&rig.at("try", file), Some(&text("one", len)));
                write(&rig.at("try", file), &text("two", len));
                shows(&rig.at("try", file), Some(&text("two", len)));
                shows(&rig.at("main", file), Some(&text("one", len)));
                write(&rig.at("main", file), &text("three", len));
                shows(&rig.at("try", file), Some(&text("two", len)));
                let ino = |branch: &str| fs::metadata(rig.at(branch, file)).unwrap().ino();
                assert_eq!(ino("main"), ino("try"), "one inode, on two branches");
            }
            fs::remove_file(rig.at("main", "small")).unwrap();
            shows(&rig.at("main", "small"), None);
            shows(&rig.at("try", "small"), Some(&text("two", 10)));
            let names = |branch: &str| fs::read_dir(rig.at(branch, "")).unwrap().count();
            assert_eq!((names("main"), names("try")), (1, 2));
        },
        "both",
    );
}

#[test]
fn a_merge_and_its_undo_show_at_once_and_readers_keep_what_they_opened() {
    on_both(
        |rig| {
            let file = rig.at("main", "file");
            write(&file, &text("old", 100_000));
            rig.branch("try");
            write(&rig.at("try", "file"), &text("new", 120_000));
            fs::create_dir(rig.at("try", "d")).unwrap();
            write(&rig.at("try", "d/below"), b"below");
            // What the kernel has cached by now: bytes, attributes, and that there is no `d`.
            shows(&file, Some(&text("old", 100_000)));
            shows(&rig.at("main", "d/below"), None);
            let mut reader = File::open(&file).unwrap();
            thread::sleep(PAUSE);
            rig.ok(&["merge", "try"]);
            shows(&file, Some(&text("new", 120_000)));
            shows(&rig.at("main", "d/below"), Some(b"below"));
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert!(read == text("old", 100_000), "a reader keeps what it opened");
            rig.ok(&["undo"]);
            shows(&file, Some(&text("old", 100_000)));
            shows(&rig.at("main", "d/below"), None);
            assert!(!rig.at("main", "d").exists());
        },
        "merge",
    );
}

#[test]
fn rm_rf_is_one_undo_away() {
    on_both(
        |rig| {
            for directory in ["a", "a/b", "a/b/c"] {
                fs::create_dir(rig.at("main", directory)).unwrap();
                for nth in 0..50 {
                    write(&rig.at("main", directory).join(format!("{nth}")), directory.as_bytes());
                }
            }
            thread::sleep(PAUSE);
            let removed = Command::new("rm").arg("-rf").arg(rig.at("main", "a")).status().unwrap();
            assert!(removed.success() && !rig.at("main", "a").exists());
            let said = rig.ok(&["undo"]);
            assert!(said.contains("153 created"), "{said}");
            for directory in ["a", "a/b", "a/b/c"] {
                for nth in 0..50 {
                    let path = rig.at("main", directory).join(format!("{nth}"));
                    shows(&path, Some(directory.as_bytes()));
                }
            }
        },
        "undo",
    );
}

#[test]
fn a_snapshot_is_mounted_as_it_was_and_refuses_changes() {
    on_both(
        |rig| {
            write(&rig.at("main", "file"), b"before");
            rig.ok(&["snapshot", "create", "then"]);
            write(&rig.at("main", "file"), b"after");
            let dir = rig.at("try", "");
            rig.ok(&["mount", "main@then", dir.to_str().unwrap(), "--background"]);
            shows(&rig.at("try", "file"), Some(b"before"));
            let refused = fs::write(rig.at("try", "file"), b"never").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
            let refused = rig.tesfs(&["snapshot", "remove", "then"]);
            assert_eq!(refused.status.code(), Some(4), "it is mounted");
        },
        "snapshot",
    );
}
