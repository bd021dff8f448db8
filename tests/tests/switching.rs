//! A live mount is switched to another branch, with programs at work in it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "whoever runs the tests must see what is skipped")]

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::fs::fgetxattr;
use tesfs_tests::{Mode, Node, NodePlace, Random, close};

/// More than a page, so that the bytes are in a file of their own.
const LARGE: usize = 100_000;

/// A node with one mounted bucket, `m`.
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

    fn at(&self, path: &str) -> PathBuf {
        self.place.mountpoint.join(path)
    }

    fn tesfs(&self, line: &[&str]) -> Command {
        let mut command = Command::new(Node::binary().unwrap());
        command.arg("--data-dir").arg(&self.place.data_dir).args(line);
        command.current_dir(&self.place.mountpoint);
        command
    }

    /// The same for a shell, which needs no quotes for what is used here.
    fn line(&self, line: &[&str]) -> String {
        let (binary, data_dir) = (Node::binary().unwrap(), &self.place.data_dir);
        let dir = self.place.mountpoint.display();
        let (binary, data_dir) = (binary.display(), data_dir.display());
        format!("{binary} --data-dir {data_dir} {} {dir}", line.join(" "))
    }

    fn run(&self, line: &[&str]) -> Output {
        self.tesfs(line).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, line: &[&str]) -> String {
        let ran = self.run(line);
        assert!(ran.status.success(), "{line:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    #[track_caller]
    fn refused(&self, exit: i32, line: &[&str]) -> String {
        let ran = self.run(line);
        assert_eq!(ran.status.code(), Some(exit), "{line:?}");
        String::from_utf8_lossy(&ran.stderr).into_owned()
    }

    #[track_caller]
    fn switch(&self, to: &str) {
        self.ok(&["switch", to]);
    }

    /// What is in a file of what is shown.
    #[track_caller]
    fn shows(&self, path: &str, expected: Option<&[u8]>) {
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

fn on_both(test: impl Fn(&mut Rig), name: &str) {
    for mode in [Mode::Passthrough, Mode::Cached] {
        if let Some(mut rig) = Rig::start(mode, name) {
            test(&mut rig);
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    close(file).unwrap();
}

fn text(seed: &str, len: usize) -> Vec<u8> {
    seed.as_bytes().iter().copied().cycle().take(len).collect()
}

fn read_all(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The branch that a handle is on.
fn branch_of(file: &File) -> String {
    let mut told = [0; 64];
    let len = fgetxattr(file, "user.tesfs.branch", &mut told).unwrap();
    String::from_utf8_lossy(&told[..len]).into_owned()
}

fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|e| name(e).into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn names_attributes_and_bytes_are_those_of_the_other_branch_at_once() {
    on_both(
        |rig| {
            for directory in ["d", "d/e", "moved", "gone"] {
                fs::create_dir(rig.at(directory)).unwrap();
            }
            for (file, len) in [("small", 10), ("large", LARGE), ("d/e/deep", 20), ("same", LARGE)]
            {
                write(&rig.at(file), &text("one", len));
            }
            write(&rig.at("moved/in"), b"moved along");
            write(&rig.at("gone/in"), b"goes along");
            rig.ok(&["branch", "create", "try"]);
            for (file, len) in [("small", 12), ("large", LARGE + 5), ("d/e/deep", 0), ("new", 7)] {
                write(&rig.at(file), &text("two", len));
            }
            fs::rename(rig.at("moved"), rig.at("d/there")).unwrap();
            fs::remove_dir_all(rig.at("gone")).unwrap();
            fs::set_permissions(rig.at("same"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::hard_link(rig.at("same"), rig.at("d/same")).unwrap();
            let ino = |path: &str| fs::metadata(rig.at(path)).unwrap().ino();
            let (small, same) = (ino("small"), ino("same"));
            for _ in 0..3 {
                // Everything is in the kernel's caches by now, also what is not there.
                let meta = |path: &str| fs::metadata(rig.at(path)).unwrap();
                rig.shows("small", Some(&text("two", 12)));
                rig.shows("gone/in", None);
                rig.shows("d/there/in", Some(b"moved along"));
                assert_eq!((meta("same").mode() & 0o777, meta("same").nlink()), (0o600, 2));
                assert_eq!(names(&rig.at("")), ["d", "large", "new", "same", "small"]);
                rig.switch("try");
                assert_eq!(meta("small").len(), 10);
                assert_eq!((meta("same").mode() & 0o777, meta("same").nlink()), (0o644, 1));
                assert_eq!(names(&rig.at("")), ["d", "gone", "large", "moved", "same", "small"]);
                assert_eq!(names(&rig.at("d")), ["e"]);
                rig.shows("small", Some(&text("one", 10)));
                rig.shows("large", Some(&text("one", LARGE)));
                rig.shows("d/e/deep", Some(&text("one", 20)));
                rig.shows("new", None);
                rig.shows("gone/in", Some(b"goes along"));
                rig.shows("moved/in", Some(b"moved along"));
                assert!(!rig.at("d/there").exists());
                assert_eq!(
                    (ino("small"), ino("same")),
                    (small, same),
                    "one inode, on two branches"
                );
                assert_eq!(names(&rig.at(".tesfs/branches")), ["main"]);
                rig.shows(".tesfs/branches/main/small", Some(&text("two", 12)));
                rig.switch("main");
                assert_eq!(meta("small").len(), 12);
                rig.shows("large", Some(&text("two", LARGE + 5)));
                rig.shows("same", Some(&text("one", LARGE)));
                assert_eq!(names(&rig.at(".tesfs/branches")), ["try"]);
            }
        },
        "names",
    );
}

#[test]
fn handles_stay_on_their_branch() {
    on_both(
        |rig| {
            for (file, len) in [("small", 10), ("large", LARGE), ("log", 4), ("doomed", LARGE)] {
                write(&rig.at(file), &text("one", len));
            }
            rig.ok(&["branch", "create", "try"]);
            let open =
                |path: &str| OpenOptions::new().read(true).write(true).open(rig.at(path)).unwrap();
            let (small, mut large) = (open("small"), open("large"));
            let mut reader = File::open(rig.at("large")).unwrap();
            let mut log = OpenOptions::new().append(true).open(rig.at("log")).unwrap();
            let mut doomed = File::open(rig.at("doomed")).unwrap();
            let created = File::create_new(rig.at("created")).unwrap();
            large.write_all_at(b"before", 0).unwrap();
            log.write_all(b"before,").unwrap();
            rig.switch("try");
            assert_eq!(branch_of(&large), "main");
            rig.shows("large", Some(&text("one", LARGE)));
            rig.shows("created", None);
            // On the other branch everything happens to the same names meanwhile.
            for (file, len) in [("small", 20), ("large", LARGE / 2), ("log", 2)] {
                write(&rig.at(file), &text("try", len));
            }
            let mut other = open("large");
            assert_eq!(branch_of(&other), "try");
            fs::remove_file(rig.at("doomed")).unwrap();
            write(&rig.at("created"), b"another one");
            // The handles do not see it, and what they write shows nowhere here.
            large.write_all_at(b"after.", 6).unwrap();
            small.write_all_at(b"after", 10).unwrap();
            created.write_all_at(b"created", 0).unwrap();
            log.write_all(b"after").unwrap();
            small.sync_all().unwrap();
            large.set_len(LARGE as u64 + 1).unwrap();
            assert_eq!(large.metadata().unwrap().len(), LARGE as u64 + 1);
            assert_eq!(fs::metadata(rig.at("large")).unwrap().len(), LARGE as u64 / 2);
            let mut expected = text("one", LARGE);
            expected[..12].copy_from_slice(b"beforeafter.");
            expected.push(0);
            assert!(read_all(&mut large) == expected, "a writer reads what it wrote");
            assert!(read_all(&mut reader) == text("one", LARGE), "a reader keeps what it opened");
            assert!(read_all(&mut doomed) == text("one", LARGE));
            other.write_all(b"OTHER").unwrap();
            for file in [small, large, log, created, other] {
                close(file).unwrap();
            }
            assert!(read_all(&mut reader) == text("one", LARGE));
            let mut others = text("try", LARGE / 2);
            others[..5].copy_from_slice(b"OTHER");
            rig.shows("large", Some(&others));
            rig.shows("small", Some(&text("try", 20)));
            rig.shows("log", Some(b"tr"));
            rig.shows("created", Some(b"another one"));
            rig.switch("main");
            rig.shows("large", Some(&expected));
            rig.shows("small", Some(b"oneoneoneoafter"));
            rig.shows("log", Some(b"oneobefore,after"));
            rig.shows("created", Some(b"created"));
            rig.shows("doomed", Some(&text("one", LARGE)));
            drop((reader, doomed));
        },
        "handles",
    );
}

#[test]
fn attributes_set_by_path_go_to_the_branch_that_shows_and_by_handle_to_its_own() {
    on_both(
        |rig| {
            for file in ["free", "read", "written"] {
                write(&rig.at(file), &text("one", LARGE));
            }
            rig.ok(&["branch", "create", "try"]);
            let reader = File::open(rig.at("read")).unwrap();
            let writer = OpenOptions::new().write(true).open(rig.at("written")).unwrap();
            rig.switch("try");
            let mode = |path: &str| fs::metadata(rig.at(path)).unwrap().mode() & 0o777;
            for file in ["free", "read", "written"] {
                fs::set_permissions(rig.at(file), fs::Permissions::from_mode(0o640)).unwrap();
                let truncated = OpenOptions::new().write(true).open(rig.at(file)).unwrap();
                truncated.set_len(7).unwrap();
                close(truncated).unwrap();
                assert_eq!((mode(file), fs::metadata(rig.at(file)).unwrap().len()), (0o640, 7));
            }
            for file in [&reader, &writer] {
                let seen = file.metadata().unwrap();
                assert_eq!((seen.mode() & 0o777, seen.len()), (0o644, LARGE as u64));
            }
            writer.set_permissions(fs::Permissions::from_mode(0o444)).unwrap();
            assert_eq!(mode("written"), 0o640);
            rig.switch("main");
            assert_eq!((mode("free"), mode("read"), mode("written")), (0o644, 0o644, 0o444));
            rig.shows("free", Some(&text("one", LARGE)));
            drop((reader, writer));
        },
        "attributes",
    );
}

/// A shell that stands in a directory and does what it is told.
struct Shell {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Shell {
    fn in_directory(dir: &Path) -> Self {
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
    fn says(&mut self, command: &str) -> String {
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

#[test]
fn whoever_stands_in_a_directory_goes_on_in_it_or_is_told_that_it_is_not_there() {
    on_both(
        |rig| {
            fs::create_dir_all(rig.at("both/deep")).unwrap();
            write(&rig.at("both/deep/file"), b"one");
            rig.ok(&["branch", "create", "try"]);
            write(&rig.at("both/deep/file"), b"two");
            fs::create_dir_all(rig.at("main/deep")).unwrap();
            write(&rig.at("main/deep/file"), b"main only");
            fs::set_permissions(rig.at("both"), fs::Permissions::from_mode(0o711)).unwrap();
            let mut stays = Shell::in_directory(&rig.at("both/deep"));
            let mut goes = Shell::in_directory(&rig.at("main/deep"));
            let mut root = Shell::in_directory(&rig.at(""));
            let deep = rig.at("both/deep").display().to_string();
            for _ in 0..2 {
                assert_eq!(stays.says("cat file"), "two 0");
                assert_eq!(goes.says("cat file"), "main only 0");
                rig.switch("try");
                assert_eq!(stays.says("cat file"), "one 0");
                assert_eq!(stays.says("/bin/pwd -P"), format!("{deep} 0"));
                assert_eq!(stays.says("ls .. | head -1"), "deep 0");
                assert_eq!(stays.says("echo try > ../new"), "0");
                rig.shows("both/new", Some(b"try\n"));
                assert_eq!(root.says("cat both/deep/file"), "one 0");
                assert_eq!(root.says("ls"), "both 0");
                assert_eq!(goes.says("cat file"), "1");
                assert_eq!(goes.says("echo lost > new"), "2");
                assert_ne!(goes.says("ls -d ."), ". 0");
                rig.switch("main");
                assert_eq!(goes.says("cat file"), "main only 0");
                assert_eq!(stays.says("cat ../new"), "1");
            }
        },
        "standing",
    );
}

#[test]
fn a_listing_that_began_goes_on_where_it_began_and_a_new_one_is_of_what_shows() {
    const FILES: usize = 20_000;
    on_both(
        |rig| {
            fs::create_dir(rig.at("many")).unwrap();
            for nth in 0..FILES {
                File::create(rig.at(&format!("many/{nth:05}"))).unwrap();
            }
            rig.ok(&["branch", "create", "try"]);
            for nth in (0..FILES).step_by(2) {
                fs::remove_file(rig.at(&format!("many/{nth:05}"))).unwrap();
            }
            let is_main = |names: &[String]| {
                names.iter().map(|name| name.parse::<usize>().unwrap()).eq((1..FILES).step_by(2))
            };
            let is_try = |names: &[String]| {
                names.iter().map(|name| name.parse::<usize>().unwrap()).eq(0..FILES)
            };
            for round in 0..2 {
                // The first time nothing is cached, the second time all of it.
                let mut begun = fs::read_dir(rig.at("many")).unwrap();
                let name = |entry: std::io::Result<fs::DirEntry>| {
                    entry.unwrap().file_name().into_string().unwrap()
                };
                let mut listed: Vec<String> = begun.by_ref().take(1000).map(name).collect();
                rig.switch("try");
                assert!(is_try(&names(&rig.at("many"))), "round {round}");
                listed.extend(begun.by_ref().map(name));
                listed.sort();
                assert!(is_main(&listed), "round {round}: {} names", listed.len());
                assert!(is_try(&names(&rig.at("many"))), "round {round}");
                rig.switch("main");
                assert!(is_main(&names(&rig.at("many"))), "round {round}");
            }
        },
        "listing",
    );
}

#[test]
fn a_snapshot_and_a_time_are_shown_read_only_and_a_branch_again_after_that() {
    on_both(
        |rig| {
            write(&rig.at("file"), b"then");
            rig.ok(&["snapshot", "create", "snap"]);
            write(&rig.at("file"), b"now");
            let mut writer = OpenOptions::new().append(true).open(rig.at("file")).unwrap();
            let said = rig.ok(&["switch", "snap"]);
            assert!(said.contains("read-only; 1 open file stays on 'main'"), "{said}");
            rig.shows("file", Some(b"then"));
            let refused = fs::write(rig.at("file"), b"never").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
            writer.write_all(b", and later").unwrap();
            close(writer).unwrap();
            rig.switch("m@main");
            rig.shows("file", Some(b"now, and later"));
            let before = rig.ok(&["switch", "0s"]);
            assert!(before.contains("read-only"), "{before}");
            assert_eq!(
                fs::write(rig.at("new"), b"").unwrap_err().raw_os_error(),
                Some(libc::EROFS)
            );
            rig.switch("main");
            write(&rig.at("new"), b"new");
        },
        "past",
    );
}

#[test]
fn commands_that_change_what_shows_are_seen_after_a_switch_as_before() {
    on_both(
        |rig| {
            write(&rig.at("file"), b"one");
            rig.ok(&["branch", "create", "try"]);
            write(&rig.at("file"), b"on main");
            let held = OpenOptions::new().write(true).open(rig.at("file")).unwrap();
            rig.switch("try");
            rig.shows("file", Some(b"one"));
            rig.shows("new", None);
            write(&rig.at("of try"), b"try");
            // A merge into what shows, and one into what does not, where a writer is at work.
            rig.ok(&["merge", "main"]);
            let seen = || (fs::read(rig.at("file")).unwrap() == b"on main").then_some(());
            assert!(tesfs_tests::eventually(Duration::from_secs(5), seen).is_some());
            rig.ok(&["merge", "try", "--into", "main"]);
            assert_eq!(branch_of(&held), "main");
            held.write_all_at(b"held", 0).unwrap();
            close(held).unwrap();
            rig.shows("file", Some(b"on main"));
            rig.switch("main");
            rig.shows("file", Some(b"heldain"));
            rig.shows("of try", Some(b"try"));
        },
        "commands",
    );
}

#[test]
fn a_folder_comes_back_on_the_branch_that_it_was_switched_to() {
    let Some(mut rig) = Rig::start(Mode::Passthrough, "remembered") else { return };
    write(&rig.at("file"), b"one");
    rig.ok(&["branch", "create", "try"]);
    write(&rig.at("file"), b"two");
    rig.switch("try");
    assert!(rig.ok(&["status"]).contains("m@try"));
    rig.node.take().unwrap().unmount().unwrap();
    rig.node = Some(Node::start(&rig.place).unwrap());
    rig.shows("file", Some(b"one"));
}

#[test]
fn a_switch_is_refused_in_words() {
    let Some(rig) = Rig::start(Mode::Passthrough, "refused") else { return };
    for branch in ["try", "other", "old"] {
        rig.ok(&["branch", "create", branch]);
    }
    rig.ok(&["branch", "abandon", "old"]);
    rig.ok(&["bucket", "create", "letters"]);
    let elsewhere = rig.dir.join("elsewhere");
    let dir = elsewhere.to_str().unwrap();
    rig.ok(&["mount", "m@other", dir, "--background"]);
    let said = rig.refused(4, &["switch", "other"]);
    assert!(said.contains(&format!("'m@other' is shown at {dir}")), "{said}");
    assert!(said.contains(&format!("tesfs umount {dir}")), "{said}");
    assert!(rig.refused(4, &["switch", "main", dir]).contains("'m' is shown at"));
    assert!(rig.refused(3, &["switch", "tyr"]).contains("did you mean 'try'?"));
    assert!(rig.refused(3, &["switch", "old"]).contains("tesfs branch restore old"));
    assert!(rig.refused(2, &["switch", "letters@main"]).contains("tesfs mount letters DIR"));
    assert!(rig.refused(3, &["switch", "nosuch@main"]).contains("no branch or snapshot"));
    let nowhere = rig.dir.to_str().unwrap();
    assert!(rig.refused(3, &["switch", "try", nowhere]).contains("no folder of tesfs"));
    assert!(rig.ok(&["switch", "main"]).contains("shows 'main' of 'm' already"));
    rig.ok(&["switch", "try", dir]);
    rig.ok(&["switch", "other"]);
    assert!(rig.ok(&["status", "--json"]).contains("other"));
    rig.ok(&["umount", dir]);
}

/// How long the versions are that stress threads write: in a row, and in files.
const LENGTHS: [usize; 3] = [50, 5_000, 40_000];

/// What a stress thread closed last, by branch and path.
type Closed = BTreeMap<(String, String), Vec<u8>>;

/// Writes files of its own until it is told to stop, each on whichever branch shows then.
fn write_on(rig: &Rig, own: usize, mut random: Random, stop: &AtomicBool) -> Closed {
    let mut closed = Closed::new();
    for nth in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // Some were there before the fork, and are one inode on both branches.
        let path = format!("w{own}/{}", random.below(20));
        let opened = OpenOptions::new().write(true).create(true).truncate(true).open(rig.at(&path));
        let mut file = match opened {
            Ok(file) => file,
            // Two switches were faster than one open.
            Err(err) if err.raw_os_error() == Some(libc::ESTALE) => continue,
            Err(err) => panic!("{path}: {err}"),
        };
        let branch = branch_of(&file);
        let len = LENGTHS[random.index(LENGTHS.len())];
        let bytes = text(&format!("{branch} {path} {nth};"), len);
        let (first, second) = bytes.split_at(random.index(len));
        file.write_all(first).unwrap();
        if random.chance(30) {
            file.sync_all().unwrap();
        }
        file.write_all(second).unwrap();
        close(file).unwrap();
        closed.insert((branch, path), bytes);
    }
    closed
}

/// Reads until it is told to stop: whatever it opens is one whole version of the branch it is on.
fn read_on(rig: &Rig, mut random: Random, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let path = format!("w{}/{}", random.below(2), random.below(20));
        let mut file = match File::open(rig.at(&path)) {
            Ok(file) => file,
            // Not there, or a switch came between twice.
            Err(err) if matches!(err.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => continue,
            Err(err) => panic!("{path}: {err}"),
        };
        let (branch, size) = (branch_of(&file), file.metadata().unwrap().len());
        let bytes = read_all(&mut file);
        assert_eq!(bytes.len() as u64, size, "{path}");
        if bytes.is_empty() {
            // Made, and not closed yet.
            continue;
        }
        assert!(LENGTHS.contains(&bytes.len()), "{path}: {} bytes", bytes.len());
        let end = bytes.iter().position(|byte| *byte == b';').map_or(0, |end| end + 1);
        let seed = String::from_utf8_lossy(&bytes[..end]).into_owned();
        assert!(bytes == text(&seed, bytes.len()), "{path}: not one version");
        assert!(
            seed.starts_with("base ") || seed.starts_with(&format!("{branch} {path} ")),
            "{seed}"
        );
    }
}

#[test]
fn two_hundred_switches_under_readers_and_writers_mix_no_two_branches() {
    const SWITCHES: usize = 200;
    let seed = 0x5717;
    eprintln!("seed {seed}");
    on_both(
        |rig| {
            for own in 0..2 {
                fs::create_dir(rig.at(&format!("w{own}"))).unwrap();
                for nth in 0..10 {
                    write(&rig.at(&format!("w{own}/{nth}")), &text("base ;", 5_000));
                }
            }
            rig.ok(&["branch", "create", "try"]);
            let (stop, closed) = (AtomicBool::new(false), Mutex::new(Closed::new()));
            let mut random = Random::new(seed);
            let rig = &*rig;
            // A child of this process would close its copies of what the threads have open, and
            // publish what is written by half.
            let mut shell = Shell::in_directory(&rig.dir);
            thread::scope(|scope| {
                let (stop, closed) = (&stop, &closed);
                for own in 0..2 {
                    let random = random.fork();
                    scope.spawn(move || {
                        let done = write_on(rig, own, random, stop);
                        closed.lock().unwrap().extend(done);
                    });
                }
                for _ in 0..2 {
                    let random = random.fork();
                    scope.spawn(move || read_on(rig, random, stop));
                }
                let switched = (0..SWITCHES).all(|nth| {
                    let to = if nth % 2 == 0 { "try" } else { "main" };
                    shell.says(&rig.line(&["switch", to])).ends_with(" 0")
                });
                stop.store(true, Ordering::Relaxed);
                assert!(switched);
            });
            let closed = closed.into_inner().unwrap();
            for branch in ["main", "try"] {
                rig.switch(branch);
                let written = closed.iter().filter(|((on, _), _)| on == branch);
                let mut expected: BTreeMap<String, &[u8]> =
                    written.map(|((_, path), bytes)| (path.clone(), &**bytes)).collect();
                assert!(!expected.is_empty(), "both branches were written to");
                let base = text("base ;", 5_000);
                for path in (0..2).flat_map(|own| (0..10).map(move |nth| format!("w{own}/{nth}"))) {
                    expected.entry(path).or_insert(&base);
                }
                for own in 0..2 {
                    for name in names(&rig.at(&format!("w{own}"))) {
                        let path = format!("w{own}/{name}");
                        let bytes = expected.remove(&path);
                        let bytes = bytes.unwrap_or_else(|| panic!("{path} is not {branch}'s"));
                        rig.shows(&path, Some(bytes));
                    }
                }
                assert!(expected.is_empty(), "{branch}: {:?}", expected.keys());
            }
        },
        "stress",
    );
}

#[test]
fn a_kill_during_a_switch_leaves_the_folder_on_one_of_the_two_branches() {
    on_both(
        |rig| {
            for nth in 0..50 {
                write(&rig.at(&format!("{nth}")), b"main");
            }
            rig.ok(&["branch", "create", "try"]);
            rig.switch("try");
            for nth in 0..50 {
                write(&rig.at(&format!("{nth}")), b"try");
            }
            let mut random = Random::new(7);
            let mut on = "try";
            for round in 0..8 {
                let to = if on == "try" { "main" } else { "try" };
                let mut switching = rig.tesfs(&["switch", to]);
                let switching = switching.stdout(Stdio::null()).stderr(Stdio::null());
                let mut switching = switching.spawn().unwrap();
                thread::sleep(random.duration_below(Duration::from_millis(25)));
                rig.node.as_mut().unwrap().kill().unwrap();
                let acknowledged = switching.wait().unwrap().success();
                rig.node = Some(Node::start(&rig.place).unwrap());
                let shows = branch_of(&File::open(rig.at("0")).unwrap());
                assert!(shows == to || (shows == on && !acknowledged), "round {round}: {shows}");
                for nth in 0..50 {
                    rig.shows(&format!("{nth}"), Some(shows.as_bytes()));
                }
                on = if shows == "try" { "try" } else { "main" };
            }
        },
        "kill",
    );
}
