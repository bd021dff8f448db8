//! `.tesfs/` through a mount, with the programs people use to get things back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use tesfs_tests::{Mode, Rig, close, eventually};

/// Sizes of a file: one that is kept in the database, one that is a file.
const SIZES: [usize; 2] = [3000, 300_000];
/// How long a second may take to be over.
const PATIENCE: Duration = Duration::from_secs(10);

/// The newest time that is listed, once it is over, so that nothing is added to it.
fn moment(rig: &Rig) -> String {
    let listed = || names(&rig.at(".tesfs/at")).pop();
    let moment = listed().expect("something changed");
    let probe = rig.at("probe");
    let is_over = || {
        fs::write(&probe, b"probe").unwrap();
        (listed()? > moment).then_some(())
    };
    eventually(PATIENCE, is_over).expect("a second passes");
    moment
}

/// A tree of small and large files, a link, an executable and odd names.
fn grow(rig: &Rig) -> PathBuf {
    let photos = rig.at("photos");
    for folder in ["2025", "2026/summer", "empty"] {
        fs::create_dir_all(photos.join(folder)).unwrap();
    }
    let files = ["2025/a", "2025/b c", "2026/summer/d\u{e9}", "e"];
    for (seed, name) in (0_u8..).zip(files) {
        write(&photos.join(name), &filled(SIZES[usize::from(seed % 2)], seed));
    }
    fs::hard_link(photos.join("e"), photos.join("2025/e again")).unwrap();
    symlink("../e", photos.join("2025/to e")).unwrap();
    run(Command::new("chmod").arg("750").arg(photos.join("2025/a")));
    run(Command::new("setfattr").args(["-n", "user.mood", "-v", "sunny"]).arg(photos.join("e")));
    photos
}

/// What people do to a tree.
fn spoil(photos: &Path) {
    write(&photos.join("e"), &filled(SIZES[1] + 77, 99));
    fs::rename(photos.join("2025/a"), photos.join("2025/z")).unwrap();
    fs::remove_dir_all(photos.join("2026")).unwrap();
    fs::write(photos.join("new"), b"new").unwrap();
}

/// Tells a thread to end, whatever happens.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn filled(size: usize, seed: u8) -> Vec<u8> {
    vec![seed; size]
}

fn write(path: &Path, bytes: &[u8]) {
    let file = File::create(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    close(file).unwrap();
}

fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?} ended with {status}: {said}");
    assert!(said.is_empty(), "{command:?} said: {said}");
    String::from_utf8_lossy(&stdout).into_owned()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every path below `dir`, with what stat says of it that a copy keeps, and its bytes.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let bytes = if meta.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else {
            fs::read(&path).unwrap()
        };
        let mtime = if meta.is_dir() { 0 } else { meta.mtime() };
        let below = path.strip_prefix(dir).unwrap().to_owned();
        found.insert(below, (meta.mode(), mtime, bytes));
    }
    found
}

fn errno(result: io::Result<impl Sized>) -> Option<i32> {
    result.err().expect("it is refused").raw_os_error()
}

/// `cp -a`, `rsync -a`, `find | cat`, `diff -r` and `tar` take a tree as it was.
fn programs_copy_a_tree_as_it_was(mode: Mode) {
    let Some(rig) = Rig::start(mode, "history-copies") else { return };
    let photos = grow(&rig);
    let was = tree(&photos);
    let reference = rig.beside("reference");
    run(Command::new("cp").arg("-a").arg(&photos).arg(&reference));
    let moment = moment(&rig);
    spoil(&photos);
    let old = rig.at(".tesfs/at").join(&moment).join("photos");
    assert!(tree(&old) == was);
    run(Command::new("diff").args(["-r", "--no-dereference"]).arg(&old).arg(&reference));
    for round in ["cold", "warm"] {
        let copy = rig.beside(&format!("cp-{round}"));
        run(Command::new("cp").arg("-a").arg(&old).arg(&copy));
        assert!(tree(&copy) == was, "{round}");
        let mood = run(Command::new("getfattr")
            .args(["--absolute-names", "--only-values", "-n", "user.mood"])
            .arg(copy.join("e")));
        assert!(mood.starts_with("sunny") || mood.is_empty());
        let links = fs::metadata(copy.join("e")).unwrap();
        assert_eq!(
            (links.nlink(), links.ino()),
            (2, fs::metadata(copy.join("2025/e again")).unwrap().ino())
        );
        let synced = rig.beside(&format!("rsync-{round}"));
        run(Command::new("rsync").arg("-aHX").arg(format!("{}/", old.display())).arg(&synced));
        assert!(tree(&synced) == was, "{round}");
        run(Command::new("rsync")
            .args(["-aHXc", "--delete"])
            .arg(format!("{}/", old.display()))
            .arg(&synced));
    }
    let cat = |dir: &Path| {
        let script = "find . -type f -print0 | sort -z | xargs -0 cat | cksum";
        run(Command::new("sh").args(["-c", script]).current_dir(dir))
    };
    assert_eq!(cat(&old), cat(&reference));
    let back = rig.at("restored");
    run(Command::new("cp").arg("-a").arg(&old).arg(&back));
    assert!(tree(&back) == was, "into the mount itself");
    assert!(fs::read(photos.join("new")).unwrap() == b"new");
    assert!(!names(&rig.at("")).contains(&".tesfs".to_owned()), "listings do not show it");
}

/// A reader of the past keeps its bytes, by read(2) and through a mapping's pages, whatever becomes
/// of the file; and so does everybody who opens the past later.
fn the_past_stays_while_the_file_is_overwritten(mode: Mode) {
    let Some(rig) = Rig::start(mode, "history-overwritten") else { return };
    for size in SIZES {
        let path = rig.at(&format!("file-{size}"));
        write(&path, &filled(size, 1));
        let moment = moment(&rig);
        let old = rig.at(".tesfs/at").join(&moment).join(path.file_name().unwrap());
        let held = File::open(&old).unwrap();
        let live = File::open(&path).unwrap();
        for round in 2..20 {
            if round % 3 == 0 {
                // In place, with the same length, by a handle that stays open meanwhile.
                let file = File::options().write(true).open(&path).unwrap();
                file.write_all_at(&filled(size, round), 0).unwrap();
                assert!(fs::read(&old).unwrap() == filled(size, 1), "round {round}");
                close(file).unwrap();
            } else {
                write(&path, &filled(size + usize::from(round), round));
            }
            let mut bytes = vec![0; size];
            held.read_exact_at(&mut bytes, 0).unwrap();
            assert!(bytes == filled(size, 1), "round {round}");
            assert!(fs::read(&old).unwrap() == filled(size, 1), "round {round}");
            assert!(fs::read(&path).unwrap()[0] == round);
            assert_ne!(fs::metadata(&old).unwrap().ino(), fs::metadata(&path).unwrap().ino());
        }
        let mut bytes = vec![0; size];
        live.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes == filled(size, 1));
        fs::remove_file(&path).unwrap();
        run(Command::new("cmp").arg(&old).arg("-").stdin(live));
    }
}

/// Pairs of files are written one after the other: no state has the second newer than the first.
fn a_walk_during_writes_sees_one_state(mode: Mode) {
    let Some(rig) = Rig::start(mode, "history-walk") else { return };
    let pairs = rig.at("pairs");
    fs::create_dir_all(&pairs).unwrap();
    let done = AtomicBool::new(false);
    let count = |path: PathBuf| -> u64 {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.get(..8).map_or(0, |word| u64::from_le_bytes(word.try_into().unwrap()))
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1_u64.. {
                for pair in 0..4 {
                    let bytes = number.to_le_bytes().repeat(if pair % 2 == 0 { 10 } else { 4000 });
                    write(&pairs.join(format!("{pair}-first")), &bytes);
                    write(&pairs.join(format!("{pair}-second")), &bytes);
                }
                write(&pairs.join(format!("new-{number}")), b"");
                if done.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        // Also where a look fails: the writer is not to go on for ever.
        let _ends = Ends(&done);
        let said = Cell::new(0);
        let is_old = || {
            said.set(said.get() + 1);
            let long_ago = format!(".tesfs/at/0.1{:06}s/pairs/3-second", said.get());
            rig.at(&long_ago).exists().then_some(())
        };
        eventually(PATIENCE, is_old).expect("it was written for a while");
        for nth in 0..25 {
            // Another way to say the same each time, so that it means another state.
            let look = rig.at(&format!(".tesfs/at/0.{nth:03}s/pairs"));
            let walk = || {
                let listed = names(&look);
                let numbers = (0..4).map(|pair| {
                    let first = count(look.join(format!("{pair}-first")));
                    let second = count(look.join(format!("{pair}-second")));
                    assert!(first == second || first == second + 1, "{first} and {second}");
                    (first, second)
                });
                (numbers.collect::<Vec<_>>(), listed)
            };
            let first = walk();
            thread::yield_now();
            assert_eq!(walk(), first, "look {nth}");
        }
    });
}

/// What was removed can be taken from `deleted/`, which shows it at once, and nothing that is not.
fn what_was_removed_can_be_copied_back(mode: Mode) {
    let Some(rig) = Rig::start(mode, "history-deleted") else { return };
    let photos = grow(&rig);
    let was = tree(&photos.join("2026"));
    let deleted = rig.at(".tesfs/deleted/photos");
    assert_eq!(names(&deleted), ["2025", "2026", "empty"]);
    // What one burst of changes makes and removes leaves nothing: another session is another burst.
    let removed = [photos.join("2026"), photos.join("2025/b c")];
    run(Command::new("setsid").args(["-w", "rm", "-r"]).args(removed));
    assert_eq!(names(&deleted.join("2026/summer")), ["d\u{e9}"]);
    assert_eq!(names(&deleted.join("2025")), ["b c"]);
    let copy = rig.at("photos/2026");
    run(Command::new("cp").arg("-a").arg(deleted.join("2026")).arg(&copy));
    assert!(tree(&copy) == was);
    let found = run(Command::new("find").arg(&deleted).args(["-type", "f"]));
    assert_eq!(found.lines().count(), 2, "{found}");
}

/// Every change is refused, with an errno by which programs do the right thing.
fn nothing_can_be_written_there(mode: Mode) {
    let Some(rig) = Rig::start(mode, "history-refused") else { return };
    let photos = grow(&rig);
    let moment = moment(&rig);
    let old = rig.at(".tesfs/at").join(&moment).join("photos");
    let (file, new) = (old.join("e"), old.join("new"));
    let refused = [
        errno(File::create(&file)),
        errno(File::options().append(true).open(&file)),
        errno(File::create(&new)),
        errno(fs::create_dir(&new)),
        errno(symlink("e", &new)),
        errno(fs::remove_file(&file)),
        errno(fs::remove_dir(old.join("empty"))),
        errno(fs::rename(&file, &new)),
        errno(fs::rename(&file, photos.join("new"))),
        errno(fs::rename(photos.join("e"), &new)),
        errno(fs::hard_link(photos.join("e"), &new)),
        errno(fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))),
        errno(fs::create_dir(rig.at(".tesfs/at/new"))),
        errno(fs::create_dir(rig.at(".tesfs/new"))),
        errno(File::create(rig.at(".tesfs/branches/new"))),
        errno(fs::remove_dir(rig.at(".tesfs/deleted"))),
    ];
    assert!(refused.iter().all(|errno| *errno == Some(libc::EROFS)), "{refused:?}");
    assert_eq!(errno(fs::hard_link(&file, photos.join("new"))), Some(libc::EXDEV));
    for said in ["tomorrow", "no such time", "2026-02-30"] {
        let missing = errno(fs::metadata(rig.at(".tesfs/at").join(said)));
        assert_eq!(missing, Some(libc::ENOENT), "{said}");
    }
    assert_eq!(errno(fs::create_dir(rig.at(".tesfs"))), Some(libc::EEXIST));
    assert_eq!(errno(fs::rename(&photos, rig.at(".tesfs"))), Some(libc::EPERM));
    let moved = Command::new("mv").arg(&file).arg(rig.at("moved")).output().unwrap();
    assert!(!moved.status.success() && !rig.at("moved").exists(), "nothing is left half moved");
    assert!(fs::read(&file).unwrap() == fs::read(photos.join("e")).unwrap());
}

/// A repository can be looked at as it was.
fn git_reads_a_repository_as_it_was(mode: Mode) {
    let Some(rig) = Rig::start(mode, "history-git") else { return };
    let work = rig.at("work");
    fs::create_dir(&work).unwrap();
    let git = |dir: &Path, args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "safe.directory=*", "-c", "user.name=a", "-c", "user.email=a@b.c"]);
        run(command.env("GIT_OPTIONAL_LOCKS", "0").arg("-C").arg(dir).args(args))
    };
    git(&work, &["init", "-q", "-b", "main"]);
    fs::write(work.join("file"), b"one\n").unwrap();
    git(&work, &["add", "file"]);
    git(&work, &["commit", "-qm", "first"]);
    let moment = moment(&rig);
    fs::write(work.join("file"), b"two\n").unwrap();
    git(&work, &["commit", "-qam", "second"]);
    let old = rig.at(".tesfs/at").join(&moment).join("work");
    assert_eq!(git(&old, &["log", "--format=%s"]), "first\n");
    assert_eq!(git(&old, &["show", "HEAD:file"]), "one\n");
    assert_eq!(git(&old, &["status", "--porcelain"]), "");
    git(&old, &["fsck", "--full", "--no-dangling", "--no-progress"]);
}

/// What is closed, made and removed on another branch is seen by the next look, though the kernel was
/// just told something else; and a file that is open stays as it was opened.
fn another_branch_is_never_stale(mode: Mode) {
    let Some(rig) = Rig::start(mode, "history-branches") else { return };
    let photos = grow(&rig);
    rig.ok(&["branch", "create", "try"]);
    let other = rig.beside("other");
    fs::create_dir(&other).unwrap();
    rig.ok(&["mount", "--background", "main@try", other.to_str().unwrap()]);
    assert_eq!(names(&rig.at(".tesfs/branches")), ["try"]);
    assert_eq!(names(&other.join(".tesfs/branches")), ["main"]);
    let seen = rig.at(".tesfs/branches/try/photos");
    let (mut held, mut inos) = (Vec::new(), BTreeMap::new());
    for round in 1..12_u8 {
        for (name, size) in [("e", SIZES[0]), ("2025/a", SIZES[1]), ("e", SIZES[1])] {
            let size = size + usize::from(round) % 3;
            write(&other.join("photos").join(name), &filled(size, round));
            assert!(fs::read(seen.join(name)).unwrap() == filled(size, round), "{name} {round}");
            let by_name = fs::metadata(seen.join(name)).unwrap();
            assert_eq!(by_name.len(), size as u64, "{name} {round}: whoever reads an older one");
            assert_eq!(inos.entry(name).or_insert(by_name.ino()), &by_name.ino(), "{name}");
            held.push((File::open(seen.join(name)).unwrap(), filled(size, round)));
        }
        let (odd, new) = (round % 2 == 1, other.join("photos/new"));
        if odd {
            write(&new, b"");
        } else {
            fs::remove_file(&new).unwrap();
        }
        assert_eq!(seen.join("new").exists(), odd, "round {round}");
        assert_eq!(names(&seen).contains(&"new".to_owned()), odd, "round {round}");
        for (file, bytes) in &held {
            let mut read = vec![0; bytes.len()];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == *bytes, "what is open stays");
        }
        if held.len() > 9 {
            held.clear();
        }
    }
    drop(held);
    assert!(fs::read(photos.join("e")).unwrap() == filled(SIZES[1], 3), "main is another branch");
    let copy = rig.beside("copy");
    run(Command::new("cp").arg("-a").arg(&seen).arg(&copy));
    assert!(tree(&copy) == tree(&other.join("photos")));
    rig.ok(&["umount", other.to_str().unwrap()]);
}

/// What tesfs knows of a file is an attribute of it: for who asks by name.
fn a_file_tells_its_story(mode: Mode) {
    let Some(rig) = Rig::start(mode, "history-story") else { return };
    let path = rig.at("file");
    write(&path, &filled(SIZES[0], 1));
    let ask = |path: &Path, key: &str| {
        let name = format!("user.tesfs.{key}");
        run(Command::new("getfattr")
            .args(["--absolute-names", "--only-values", "-n", &name])
            .arg(path))
    };
    assert_eq!(ask(&path, "branch"), "main");
    assert_eq!(ask(&rig.at(""), "branch"), "main");
    let version = ask(&path, "version");
    let first = ask(&path, "hash");
    write(&path, &filled(SIZES[0], 2));
    assert!(ask(&path, "version") > version);
    assert_ne!(ask(&path, "hash"), first);
    let old = rig.at(".tesfs/at").join(&version).join("file");
    assert!(fs::read(&old).unwrap() == filled(SIZES[0], 1), "a version is a time");
    assert_eq!((ask(&old, "version"), ask(&old, "hash")), (version, first));
    assert_eq!(ask(&old, "state"), "durable");
    let listed = run(Command::new("getfattr").args(["-d", "-m", "-"]).arg(&path));
    assert_eq!(listed, "", "backups do not take it along");
    let copy = rig.beside("copy");
    run(Command::new("cp").arg("-a").arg(&path).arg(&copy));
    for refused in [
        &["-n", "user.tesfs.hash", "-v", "1"][..],
        &["-n", "user.tesfs.other"],
        &["-x", "user.tesfs.hash"],
    ] {
        let refused = Command::new("setfattr").args(refused).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("Operation not permitted"), "{said}");
    }
}

macro_rules! in_both_modes {
    ($($name:ident),*) => {
        mod passthrough {
            $(#[test] fn $name() { super::$name(tesfs_tests::Mode::Passthrough); })*
        }
        mod cached {
            $(#[test] fn $name() { super::$name(tesfs_tests::Mode::Cached); })*
        }
    };
}

in_both_modes!(
    programs_copy_a_tree_as_it_was,
    the_past_stays_while_the_file_is_overwritten,
    a_walk_during_writes_sees_one_state,
    another_branch_is_never_stale,
    what_was_removed_can_be_copied_back,
    nothing_can_be_written_there,
    git_reads_a_repository_as_it_was,
    a_file_tells_its_story
);
