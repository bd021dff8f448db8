//! Conflicts on a mounted folder: their sides as files, and the programs people decide them with.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, io::Write as _, path::Path, process::Command, thread, time::Duration};

use tesfs_tests::{Rig, close, eventually};

/// More than the pause that ends an operation.
const PAUSE: Duration = Duration::from_millis(2100);
/// How long the kernel may take to hear of a change.
const PATIENCE: Duration = Duration::from_secs(5);

const SIDES: &str = ".tesfs/conflicts/letters/ada.txt";
/// More than is kept in the database.
const LINES: usize = 3000;

fn write(path: &Path, text: &str) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    close(file).unwrap();
}

/// Waits until a path shows what is expected; the kernel hears of changes a moment later.
#[track_caller]
fn shows(path: &Path, expected: &str) {
    let seen = || fs::read_to_string(path).ok();
    let reached = eventually(PATIENCE, || (seen().as_deref() == Some(expected)).then_some(()));
    assert!(reached.is_some(), "{}: {:?}", path.display(), seen().map(|text| text.len()));
}

fn text(first: &str, lines: usize) -> String {
    format!("{first}\n{}", "a line that both have\n".repeat(lines))
}

/// A letter whose first line differs on `main` and on `try`, merged; `main`'s is newer.
fn conflicted(rig: &Rig, lines: usize) {
    fs::create_dir(rig.at("letters")).unwrap();
    write(&rig.at("letters/ada.txt"), &text("dear", lines));
    rig.branch("try");
    write(&rig.on("try", "letters/ada.txt"), &text("dear Ada", lines));
    write(&rig.at("letters/ada.txt"), &text("dear Countess", lines));
    thread::sleep(PAUSE);
    let ran = rig.tesfs(&["merge", "try"]);
    assert_eq!(ran.status.code(), Some(6), "{}", String::from_utf8_lossy(&ran.stderr));
}

fn open(rig: &Rig) -> bool {
    rig.ok(&["conflicts", "list"]) != "no conflicts on 'main'\n"
}

fn in_both_modes_and_sizes(name: &str, test: impl Fn(&Rig, usize)) {
    for lines in [1, LINES] {
        Rig::in_both_modes(&format!("{name}-{lines}"), |rig| {
            conflicted(rig, lines);
            test(rig, lines);
        });
    }
}

#[test]
fn the_sides_of_a_conflict_are_files_for_any_program() {
    in_both_modes_and_sizes("sides", |rig, lines| {
        let dir = rig.at(SIDES);
        let mut find = Command::new("find");
        let listed = find.arg(rig.at(".tesfs/conflicts")).args(["-type", "f"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 3, "{listed:?}");
        let names: Vec<_> = fs::read_dir(rig.at("")).unwrap().map(Result::unwrap).collect();
        assert_eq!(names.len(), 1, "the hidden folder is not listed");
        for (side, first) in [("base", "dear"), ("ours", "dear Countess"), ("theirs", "dear Ada")] {
            shows(&dir.join(side), &text(first, lines));
            let copy = rig.beside(side);
            assert!(Command::new("cp").arg(dir.join(side)).arg(&copy).status().unwrap().success());
            assert_eq!(fs::read_to_string(&copy).unwrap(), text(first, lines));
            let refused = fs::write(dir.join(side), "x").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
        }
        let mut merge = Command::new("diff3");
        merge.arg("--merge").args(["ours", "base", "theirs"]).current_dir(&dir);
        let merged = merge.output().unwrap();
        assert_eq!(merged.status.code(), Some(1), "there is a conflict: {merged:?}");
        let expected = "<<<<<<< ours\ndear Countess\n||||||| base\ndear\n=======\ndear Ada\n";
        assert!(merged.stdout.starts_with(expected.as_bytes()));
        // What shows is as it is now.
        write(&rig.at("letters/ada.txt"), &text("dear both", lines));
        shows(&dir.join("ours"), &text("dear both", lines));
        rig.ok(&["conflicts", "resolve", "letters/ada.txt", "--ours"]);
        assert!(!dir.exists() && !open(rig));
    });
}

#[test]
fn what_an_editor_saved_is_the_answer_and_undo_opens_the_conflict() {
    in_both_modes_and_sizes("answer", |rig, lines| {
        let path = rig.at("letters/ada.txt");
        let refused = rig.tesfs(&["conflicts", "resolve", "letters/ada.txt"]);
        assert_eq!(refused.status.code(), Some(4), "nobody edited it");
        // A new file is renamed over it.
        let mut sed = Command::new("sed");
        let edited = sed.args(["-i", "1s/.*/dear Ada, Countess/"]).arg(&path).status().unwrap();
        assert!(edited.success());
        thread::sleep(PAUSE);
        rig.ok(&["conflicts", "resolve", "letters/ada.txt"]);
        assert!(!open(rig));
        shows(&path, &text("dear Ada, Countess", lines));
        rig.ok(&["undo"]);
        assert!(open(rig));
        shows(&path, &text("dear Ada, Countess", lines));
        shows(&rig.at(SIDES).join("theirs"), &text("dear Ada", lines));
        rig.ok(&["redo"]);
        assert!(!open(rig));
    });
}

#[test]
fn a_decision_shows_at_once_and_so_does_its_undo() {
    in_both_modes_and_sizes("decision", |rig, lines| {
        let path = rig.at("letters/ada.txt");
        shows(&path, &text("dear Countess", lines));
        rig.ok(&["conflicts", "resolve", "letters/ada.txt", "--theirs"]);
        shows(&path, &text("dear Ada", lines));
        rig.ok(&["undo"]);
        shows(&path, &text("dear Countess", lines));
        // The answer may be a file of this very mount.
        let answer = rig.at(SIDES).join("theirs").display().to_string();
        rig.ok(&["conflicts", "resolve", "letters/ada.txt", "--with", &answer]);
        shows(&path, &text("dear Ada", lines));
        rig.ok(&["undo"]);
        rig.ok(&["conflicts", "resolve", "letters/ada.txt", "--both"]);
        assert_eq!(fs::read_dir(rig.at("letters")).unwrap().count(), 2);
        rig.ok(&["undo"]);
        shows(&path, &text("dear Countess", lines));
        let verified = rig.ok(&["verify", "--full"]);
        assert!(!verified.is_empty());
    });
}
