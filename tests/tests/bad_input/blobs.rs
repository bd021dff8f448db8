//! Bytes of versions that are gone or damaged: an error in their place, never wrong bytes.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use tesfs_tests::{Mode, eventually};

use crate::bench::{Bench, LARGE_BYTES, SOON, large, put, tree};

const MODES: [Mode; 2] = [Mode::Passthrough, Mode::Cached];

/// Replaces one byte in place, and puts the times back: as a disk does that forgets.
fn flip(path: &Path, offset: u64) {
    let meta = fs::metadata(path).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    file.set_modified(meta.modified().unwrap()).unwrap();
}

/// A bench with one more file, `other.raw`, and where the bytes of `below/photo.raw` are.
fn with_blob() -> (Bench, PathBuf) {
    let bench = Bench::with_bucket();
    let before = bench.blob_files();
    assert_eq!(before.len(), 1, "one large file is kept so far");
    bench.write("kept/other.raw", large(3));
    bench.run(&["import", "kept", "keep:"]).ok();
    (bench, before[0].clone())
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|err| err.raw_os_error())
}

/// The photo can not be read, everything else can, and every command that meets it says so.
#[track_caller]
fn only_the_photo_is_lost(bench: &Bench, mode: Mode, problem: &str) {
    let node = bench.start(mode);
    let photo = bench.at("keep/below/photo.raw");
    assert_eq!(errno(fs::read(&photo)), Some(libc::EIO), "{mode:?}");
    assert_eq!(fs::metadata(&photo).unwrap().len(), LARGE_BYTES as u64);
    for name in ["note.txt", "other.raw"] {
        let same = fs::read(bench.at("keep").join(name)).unwrap()
            == fs::read(bench.at("kept").join(name)).unwrap();
        assert!(same, "{name} is as it was");
    }
    let ran = bench.run(&["export", "keep:", "back"]);
    ran.partial("below/photo.raw: cannot be read");
    assert!(!bench.at("back/below/photo.raw").exists(), "wrong bytes were handed out");
    bench.run(&["verify", "--full"]).damaged(&["keep:below/photo.raw: ", problem]);
    bench.run(&["verify", "--full", "keep:below"]).damaged(&["keep:below/photo.raw: ", problem]);
    let said = bench.run(&["status"]).ok();
    assert!(said.contains("DAMAGED"), "status says it: {said}");
    assert_eq!(errno(fs::read(&photo)), Some(libc::EIO), "{mode:?}, after verify");
    // A new version of the file is as good as any.
    fs::write(&photo, large(1)).unwrap();
    assert!(tree(&bench.at("keep")) == tree(&bench.at("kept")));
    node.unmount().unwrap();
    drop(fs::remove_dir_all(bench.at("back")));
}

fn quarantined(bench: &Bench) -> Vec<Vec<u8>> {
    let dir = bench.data_dir().join("quarantine");
    if !dir.exists() {
        return Vec::new();
    }
    tree(&dir).into_values().filter(|bytes| bytes.len() > 1000).collect()
}

#[test]
fn a_flipped_bit_is_an_error_and_the_bytes_go_into_quarantine() {
    for mode in MODES {
        let (bench, blob) = with_blob();
        flip(&blob, 100_000);
        let damaged = fs::read(&blob).unwrap();
        only_the_photo_is_lost(&bench, mode, "its bytes are damaged; they are kept in ");
        assert!(quarantined(&bench).contains(&damaged), "a damaged blob is kept");
    }
}

#[test]
fn a_missing_blob_is_an_error_and_found_by_a_plain_verify() {
    for mode in MODES {
        let (bench, blob) = with_blob();
        fs::remove_file(&blob).unwrap();
        bench.run(&["verify"]).damaged(&["keep:below/photo.raw: its bytes are gone"]);
        only_the_photo_is_lost(&bench, mode, "its bytes are gone");
    }
}

#[test]
fn a_truncated_blob_is_an_error_and_found_by_a_plain_verify() {
    for mode in MODES {
        for len in [0, 100, LARGE_BYTES as u64 - 1] {
            let (bench, blob) = with_blob();
            File::options().write(true).open(&blob).unwrap().set_len(len).unwrap();
            bench.run(&["verify"]).damaged(&["keep:below/photo.raw: "]);
            only_the_photo_is_lost(&bench, mode, "its bytes are damaged");
        }
    }
}

#[test]
fn a_blob_that_grew_is_an_error() {
    for mode in MODES {
        let (bench, blob) = with_blob();
        let file = File::options().append(true).open(&blob).unwrap();
        io::Write::write_all(&mut &file, b"more").unwrap();
        only_the_photo_is_lost(&bench, mode, "its bytes are damaged");
    }
}

#[test]
fn a_blob_damaged_while_it_is_mounted_is_an_error_at_the_next_open() {
    for mode in MODES {
        let (bench, blob) = with_blob();
        let node = bench.start(mode);
        let photo = bench.at("keep/below/photo.raw");
        assert!(fs::read(&photo).unwrap() == large(1), "sound so far");
        flip(&blob, 100_000);
        // The kernel may still have the sound bytes; wrong ones it must not get.
        match fs::read(&photo) {
            Ok(bytes) => assert!(bytes == large(1), "wrong bytes in {mode:?}"),
            Err(err) => assert_eq!(err.raw_os_error(), Some(libc::EIO)),
        }
        bench.run(&["verify", "--full"]).damaged(&["keep:below/photo.raw: its bytes are damaged"]);
        let fails = || (errno(fs::read(&photo)) == Some(libc::EIO)).then_some(());
        eventually(SOON, fails).expect("a blob in quarantine is not readable");
        node.unmount().unwrap();
    }
}

#[test]
fn every_name_of_damaged_bytes_is_said() {
    let (bench, blob) = with_blob();
    let node = bench.start(Mode::Cached);
    fs::hard_link(bench.at("keep/below/photo.raw"), bench.at("keep/linked.raw")).unwrap();
    fs::write(bench.at("keep/copied.raw"), large(1)).unwrap();
    node.unmount().unwrap();
    bench.sealed();
    flip(&blob, 7);
    let ran = bench.run(&["verify", "--full"]);
    for name in ["below/photo.raw", "linked.raw", "copied.raw"] {
        ran.damaged(&[&format!("keep:{name}: its bytes are damaged")]);
    }
}

#[test]
fn a_damaged_or_missing_outboard_is_made_again() {
    for spoil in [|path: &Path| flip(path, 20), |path: &Path| fs::remove_file(path).unwrap()] {
        let (bench, blob) = with_blob();
        let outboard = outboard_of(&blob);
        let before = fs::read(&outboard).unwrap();
        spoil(&outboard);
        let node = bench.start(Mode::Cached);
        // The bytes are sound, so that either they are read, or an error in their place.
        match fs::read(bench.at("keep/below/photo.raw")) {
            Ok(bytes) => assert!(bytes == large(1)),
            Err(err) => assert_eq!(err.raw_os_error(), Some(libc::EIO)),
        }
        node.unmount().unwrap();
        bench.run(&["verify", "--full"]).ok();
        assert!(fs::read(&outboard).unwrap() == before);
        bench.nothing_is_lost();
    }
}

fn outboard_of(blob: &Path) -> PathBuf {
    let name = blob.file_name().unwrap().to_str().unwrap().to_owned();
    let is_ours = |path: &PathBuf| {
        path != blob && path.file_name().unwrap().to_str().unwrap().starts_with(&name)
    };
    let shelf = fs::read_dir(blob.parent().unwrap()).unwrap();
    shelf.map(|entry| entry.unwrap().path()).find(is_ours).expect("a large blob has an outboard")
}

#[test]
fn damaged_bytes_in_the_database_are_an_error_too() {
    for mode in MODES {
        let bench = Bench::with_bucket();
        let database = bench.data_dir().join("node.db");
        let change = "UPDATE blobs SET data = CAST(replace(data, 'small', 'SMALL') AS BLOB)
                      WHERE data IS NOT NULL";
        let done = Command::new("sqlite3").arg(&database).arg(change).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let node = bench.start(mode);
        let read = fs::read(bench.at("keep/note.txt"));
        assert_eq!(errno(read), Some(libc::EIO), "{mode:?}");
        bench.run(&["verify", "--full"]).damaged(&["keep:note.txt: its bytes are damaged"]);
        assert!(fs::read(bench.at("keep/below/photo.raw")).unwrap() == large(1));
        node.unmount().unwrap();
    }
}

#[test]
fn a_good_file_that_is_put_back_makes_the_blob_whole_again() {
    for spoil in [|path: &Path| flip(path, 9), |path: &Path| fs::remove_file(path).unwrap()] {
        let (bench, blob) = with_blob();
        let good = fs::read(&blob).unwrap();
        spoil(&blob);
        assert_eq!(bench.run(&["verify", "--full"]).code, 5);
        fs::write(&blob, good).unwrap();
        bench.run(&["verify", "--full"]).ok();
        bench.nothing_is_lost();
    }
}

#[test]
fn damage_in_an_earlier_version_is_said_and_the_current_one_is_whole() {
    let (bench, blob) = with_blob();
    let node = bench.start(Mode::Cached);
    put(&bench.at("keep/below/photo.raw"), &large(7)).unwrap();
    node.unmount().unwrap();
    flip(&blob, 100_000);
    bench.run(&["verify", "--full"]).damaged(&["an earlier version", "its bytes are damaged"]);
    bench.run(&["verify", "--full", "keep:"]).ok();
    bench.write("kept/below/photo.raw", large(7));
    bench.run(&["export", "keep:", "back"]).ok();
    assert!(tree(&bench.at("back")) == tree(&bench.at("kept")));
}

#[test]
fn a_version_whose_bytes_vanish_before_they_are_sealed_is_an_error_or_falls_back() {
    for mode in MODES {
        let (bench, _) = with_blob();
        let mut node = bench.start(mode);
        put(&bench.at("keep/below/photo.raw"), &large(7)).unwrap();
        node.kill().unwrap();
        let drafts = tree(&bench.data_dir().join("drafts"));
        let lost: Vec<_> = drafts.iter().filter(|(_, bytes)| **bytes == large(7)).collect();
        assert_eq!(lost.len(), 1, "the version is in a draft");
        fs::remove_file(bench.data_dir().join("drafts").join(lost[0].0)).unwrap();
        let node = bench.start(mode);
        match fs::read(bench.at("keep/below/photo.raw")) {
            Ok(bytes) => assert!(bytes == large(1), "a whole version in {mode:?}"),
            Err(err) => assert_eq!(err.raw_os_error(), Some(libc::EIO)),
        }
        for name in ["note.txt", "other.raw"] {
            let bytes = fs::read(bench.at("keep").join(name)).unwrap();
            assert!(bytes == fs::read(bench.at("kept").join(name)).unwrap(), "{name}");
        }
        let is_said = || bench.log().contains("ERROR").then_some(());
        eventually(SOON, is_said).expect("what is lost is said");
        node.unmount().unwrap();
    }
}

#[test]
fn gc_takes_nothing_of_what_is_damaged_or_beside_it() {
    let (bench, blob) = with_blob();
    flip(&blob, 100_000);
    assert_eq!(bench.run(&["verify", "--full"]).code, 5);
    bench.run(&["gc"]).ok();
    assert_eq!(quarantined(&bench).len(), 1, "what is in quarantine stays");
    let others: Vec<PathBuf> = bench.blob_files();
    assert_eq!(others.len(), 1);
    assert_eq!(fs::metadata(&others[0]).unwrap().size(), LARGE_BYTES as u64);
}
