//! Many switches, with programs at work, and kills in the middle of them.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write as _,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tesfs_tests::{Node, Random, close};

use crate::rig::{Rig, Shell, branch_of, names, on_both, read_all, text, write};

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
            // A switch came between twice.
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
