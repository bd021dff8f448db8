//! A full disk: a clean refusal, nothing lost, and work goes on when there is space.
//!
//! The disk is a small tmpfs, which takes the right to mount.

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::*;
use crate::BlobState;

/// A rig whose `blobs/` and `drafts/` are on a disk of 4 MiB; the database is elsewhere.
struct SmallDisk {
    rig: Rig,
    disk: tempfile::TempDir,
}

const DISK_BYTES: usize = 4 << 20;

impl SmallDisk {
    fn new() -> Self {
        let disk = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={DISK_BYTES}")).unwrap();
        mount("tmpfs", disk.path(), "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
            .expect("these tests mount a tmpfs: run them as root");
        let mut rig = Rig::new();
        rig.store = None;
        rig.db = None;
        for folder in ["blobs", "drafts"] {
            fs::remove_dir(rig.data_dir().join(folder)).unwrap();
            fs::create_dir(disk.path().join(folder)).unwrap();
            let (target, link) = (disk.path().join(folder), rig.data_dir().join(folder));
            std::os::unix::fs::symlink(target, link).unwrap();
        }
        rig.start();
        Self { rig, disk }
    }

    fn fill(&self) {
        let hog = fs::File::create(self.disk.path().join("hog")).unwrap();
        let zeros = [0; 4096];
        while std::io::Write::write_all(&mut &hog, &zeros).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.disk.path().join("hog")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.rig.store = None;
        self.rig.db = None;
        unmount(self.disk.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_write_that_does_not_fit_says_how_much_did_and_can_be_repeated() {
    let small = SmallDisk::new();
    let bytes = bytes(1, 2 * DISK_BYTES);
    let mut draft = Draft::empty(small.rig.store().drafts()).unwrap();
    let written = draft.write_at(0, &bytes).unwrap();
    assert!((1 << 20..=DISK_BYTES).contains(&written), "{written}");
    let err = draft.write_at(written as u64, &bytes[written..]).unwrap_err();
    assert!(err.is_full(), "{err}");
    assert!(!draft.is_poisoned());
    let half = written / 2;
    draft.set_len(half as u64).unwrap();
    draft.write_at(half as u64, &bytes[half..written]).unwrap();
    let number = small.rig.publish(&draft);
    assert_eq!(small.rig.read(number), bytes[..written]);
}

#[test]
fn a_seal_that_does_not_fit_leaves_the_draft_and_succeeds_later() {
    let small = SmallDisk::new();
    let bytes = bytes(1, 1 << 20);
    let number = small.rig.published(&bytes);
    small.fill();
    let outcomes = small.rig.store().seal(&[number]).unwrap();
    let err = outcomes[0].1.as_ref().unwrap_err();
    assert!(err.is_full(), "{err}");
    assert_eq!(small.rig.row(number).state, BlobState::Draft);
    assert_eq!(small.rig.read(number), bytes);
    small.free();
    assert!(matches!(small.rig.seal(number), SealOutcome::Sealed { .. }));
    assert_eq!(small.rig.read(number), bytes);
    assert_eq!(small.rig.problems(VerifyDepth::Full), []);
}

#[test]
fn an_overlay_that_does_not_fit_goes_on_when_there_is_space() {
    let small = SmallDisk::new();
    let bytes = bytes(1, 3 << 19);
    let base = small.rig.sealed(&bytes);
    let mut draft = Draft::over(small.rig.store().drafts(), &small.rig.reader(base)).unwrap();
    draft.write_at(1 << 20, b"edited").unwrap();
    small.fill();
    let err = draft.materialize().unwrap_err();
    assert!(err.is_full(), "{err}");
    assert!(draft.is_overlay() && !draft.is_poisoned());
    small.free();
    draft.materialize().unwrap();
    let mut expected = bytes;
    expected[1 << 20..(1 << 20) + 6].copy_from_slice(b"edited");
    let number = small.rig.publish(&draft);
    assert_eq!(small.rig.read(number), expected);
}

#[test]
fn a_copy_that_does_not_fit_leaves_no_file() {
    let small = SmallDisk::new();
    let bytes = bytes(1, 5 << 19);
    let base = small.rig.reader(small.rig.sealed(&bytes));
    for _ in 0..3 {
        let err = Draft::copy_of(small.rig.store().drafts(), &base).unwrap_err();
        assert!(err.is_full(), "{err}");
        assert_eq!(small.rig.full_drafts(), 0);
    }
    let room = fs::File::create(small.disk.path().join("room")).unwrap();
    std::io::Write::write_all(&mut &room, &[1; 1 << 20]).unwrap();
}

#[test]
fn deleting_works_on_a_full_disk() {
    let small = SmallDisk::new();
    let number = small.rig.sealed(&bytes(1, 1 << 20));
    small.fill();
    small.rig.drop_reference(number);
    let request = crate::GcRequest { grace: Duration::ZERO, dry_run: false };
    assert_eq!(small.rig.store().gc(&request).unwrap().size_bytes, 1 << 20);
    small.rig.published(&bytes(2, 1 << 20));
}
