//! Commands that change a whole tree, and a node that is killed in the middle of them: all of it
//! has happened afterwards, or none.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "whoever runs the tests must see what is skipped")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tesfs_tests::{Mode, Node, NodePlace, Random};

/// Of every file in a folder its bytes.
type Shown = BTreeMap<PathBuf, Vec<u8>>;

const ROUNDS: u64 = 12;
const FILES: usize = 300;
const SEED: u64 = 20;

/// A node that mounts `main` and is killed again and again.
struct Rig {
    node: Option<Node>,
    place: NodePlace,
    dir: PathBuf,
    random: Random,
    /// How often a command was cut short before and after what it did was there.
    cut: [usize; 2],
}

impl Rig {
    fn start() -> Option<Self> {
        if !Path::new("/dev/fuse").exists() || !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs /dev/fuse and root");
            return None;
        }
        let dir = std::env::temp_dir().join(format!("tesfs-killed-{}", std::process::id()));
        fs::create_dir_all(dir.join("main")).unwrap();
        let place = NodePlace {
            data_dir: dir.join("data"),
            mountpoint: dir.join("main"),
            mode: Mode::Passthrough,
            config: None,
            boot_id: None,
            log: dir.join("log"),
        };
        let node = Some(Node::start(&place).unwrap());
        Some(Self { node, place, dir, random: Random::new(SEED), cut: [0; 2] })
    }

    fn spawn(&self, line: &[&str]) -> Child {
        let mut command = Command::new(Node::binary().unwrap());
        command.arg("--data-dir").arg(&self.place.data_dir).args(line);
        command.args(["--bucket", "main"]).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    #[track_caller]
    fn ok(&self, line: &[&str]) {
        let ran = self.spawn(line).wait_with_output().unwrap();
        assert!(ran.status.success(), "{line:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    fn main(&self) -> Shown {
        shown(&self.place.mountpoint)
    }

    /// Runs a command, kills the node at some moment of it, and starts that again. The folder shows
    /// what it did before, or `after`; that, if the command said that it was done. What did not
    /// happen is done then without a kill.
    fn killed(&mut self, line: &[&str], after: &Shown, usual: &mut Duration) {
        let before = self.main();
        let mut child = self.spawn(line);
        let moment = Instant::now() + self.random.duration_below(*usual * 5 / 4);
        while Instant::now() < moment {
            thread::yield_now();
        }
        self.node.as_mut().unwrap().kill().unwrap();
        let was_done = child.wait().unwrap().success();
        self.node = Some(Node::start(&self.place).unwrap());
        let now = self.main();
        let has_happened = now == *after;
        assert!(has_happened || now == before, "{line:?} happened in part");
        assert!(has_happened || !was_done, "{line:?} was done, and is not there");
        self.cut[usize::from(has_happened)] += usize::from(!was_done);
        if !has_happened {
            let began = Instant::now();
            self.ok(line);
            *usual = began.elapsed();
            assert!(self.main() == *after, "{line:?} does what it should");
        }
    }

    /// Makes a branch with changes of every kind; returns what it shows.
    fn changed(&mut self, branch: &str) -> Shown {
        self.ok(&["branch", "create", branch, "--from", "main"]);
        let dir = self.dir.join("other");
        self.ok(&["mount", &format!("main@{branch}"), dir.to_str().unwrap(), "--background"]);
        let new = dir.join(branch);
        fs::create_dir(&new).unwrap();
        for (path, bytes) in shown(&dir) {
            match self.random.below(4) {
                0 => fs::write(dir.join(path), [&bytes[..], branch.as_bytes()].concat()).unwrap(),
                1 => fs::rename(dir.join(&path), new.join(path.file_name().unwrap())).unwrap(),
                2 => {
                    fs::remove_file(dir.join(path)).unwrap();
                    fs::write(new.join(format!("new{}", self.random.bits())), &bytes).unwrap();
                }
                _ => {}
            }
        }
        let changed = shown(&dir);
        self.ok(&["umount", dir.to_str().unwrap()]);
        changed
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let ended = self.node.take().map(Node::unmount);
        if !thread::panicking() {
            ended.transpose().unwrap();
            fs::remove_dir_all(&self.dir).unwrap();
        }
    }
}

fn shown(dir: &Path) -> Shown {
    let mut files = Shown::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_command_that_is_killed_has_done_all_or_nothing() {
    let Some(mut rig) = Rig::start() else { return };
    for number in 0..FILES {
        let dir = rig.place.mountpoint.join(format!("d{}", number % 7));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{number}")), vec![b'x'; number * 40]).unwrap();
    }
    let mut usual = [Duration::from_millis(30); 4];
    for round in 0..ROUNDS {
        let before = rig.main();
        let branch = format!("b{round}");
        let after = rig.changed(&branch);
        rig.killed(&["merge", &branch, "--into", "main"], &after, &mut usual[0]);
        rig.killed(&["undo"], &before, &mut usual[1]);
        rig.killed(&["redo"], &after, &mut usual[2]);
        let snapshot = format!("s{round}");
        rig.ok(&["snapshot", "create", &snapshot]);
        let gone = rig.place.mountpoint.join(&branch);
        fs::remove_dir_all(&gone).unwrap();
        rig.killed(
            &["restore", &format!("main:{branch}"), "--at", &snapshot],
            &after,
            &mut usual[3],
        );
    }
    rig.node.take().map(Node::unmount).transpose().unwrap();
    let verified = Node::verify_full(&rig.place).unwrap();
    assert!(verified.clean, "{}", verified.output);
    eprintln!("cut short before and after: {:?}", rig.cut);
    assert!(rig.cut[0] + rig.cut[1] > 8, "cut short before and after: {:?}", rig.cut);
}
