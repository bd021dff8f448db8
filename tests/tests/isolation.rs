//! Readers and writers of one file at once, through the mount: nobody sees a mixture of versions,
//! nothing older than the last close, and the file keeps its inode number.
//!
//! Every version says which it is in each of its words, so that a mixture shows wherever it is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs::{self, File, Metadata, OpenOptions},
    io::Write as _,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::{FileExt as _, MetadataExt as _},
    },
    path::Path,
    process::Command,
    ptr, slice, thread,
    time::{Duration, SystemTime},
};

use tesfs_tests::{Mode, Rig, close, eventually};

/// Sizes of a version: one that is kept in the database, one that is a file.
const SIZES: [usize; 2] = [4096, 64 * 1024];
const CLOSES: u64 = 60;
const WRITERS: u64 = 4;
const READERS: usize = 3;
const OPENS: usize = 250;
const HELD: usize = 8;
/// How long the end of a mapping may take to be noticed.
const PATIENCE: Duration = Duration::from_secs(5);

fn version(id: u64, size: usize) -> Vec<u8> {
    id.to_le_bytes().repeat(size / 8)
}

/// Returns the version that all of `bytes` belong to.
fn one_version(bytes: &[u8], size: usize, what: &str) -> u64 {
    assert_eq!(bytes.len(), size, "{what}: a version is seen whole");
    let words = || bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    let seen: BTreeSet<u64> = words().collect();
    assert_eq!(seen.len(), 1, "{what}: a mixture of {seen:x?}");
    words().next().unwrap()
}

/// Reads a whole file by read(2) and by a mapping; both show one and the same version.
fn read_version(file: &File, size: usize, what: &str) -> u64 {
    let mut bytes = vec![0; size + 8];
    let mut filled = 0;
    loop {
        match file.read_at(&mut bytes[filled..], filled as u64).unwrap() {
            0 => break,
            more => filled += more,
        }
    }
    let read = one_version(&bytes[..filled], size, what);
    let mapped = mapped_version(file, size, what);
    assert_eq!(read, mapped, "{what}: read and mapping agree");
    read
}

#[expect(unsafe_code, reason = "a mapping is what is tested")]
fn mapped_version(file: &File, size: usize, what: &str) -> u64 {
    let (protection, flags) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice; it is read only within its
    // length, only while it lasts, and the file is never cut while the test runs.
    unsafe {
        let fd = file.as_fd().as_raw_fd();
        let start = libc::mmap(ptr::null_mut(), size, protection, flags, fd, 0);
        assert_ne!(start, libc::MAP_FAILED, "{what}: {}", std::io::Error::last_os_error());
        let bytes = slice::from_raw_parts(start.cast::<u8>(), size).to_vec();
        assert_eq!(libc::munmap(start, size), 0);
        one_version(&bytes, size, what)
    }
}

fn write_version(path: &Path, id: u64, size: usize) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    for part in version(id, size).chunks(1024) {
        file.write_all(part).unwrap();
    }
    close(file).unwrap();
}

fn open(path: &Path) -> File {
    File::open(path).unwrap()
}

/// Every open after a close sees what was closed, from this process and from another.
fn a_close_is_seen_by_every_later_open(mode: Mode) {
    let Some(rig) = Rig::start(mode, "isolation-close") else { return };
    for size in SIZES {
        let path = rig.at(&format!("file-{size}"));
        fs::write(&path, version(0, size)).unwrap();
        let ino = fs::metadata(&path).unwrap().ino();
        let mut held = Vec::new();
        for id in 1..=CLOSES {
            write_version(&path, id, size);
            let file = open(&path);
            assert_eq!(read_version(&file, size, "after a close"), id);
            assert_eq!(fs::metadata(&path).unwrap().ino(), ino);
            assert_eq!(file.metadata().unwrap().ino(), ino);
            if id % 6 == 0 {
                let other = Command::new("od").args(["-An", "-tu8", "-N8"]).arg(&path).output();
                let said = String::from_utf8(other.unwrap().stdout).unwrap();
                assert_eq!(said.trim().parse(), Ok(id), "another process");
            }
            held.push((id, file));
            if held.len() > HELD {
                let (id, file) = held.remove(0);
                assert_eq!(read_version(&file, size, "a handle held"), id);
            }
        }
    }
}

/// What stat said before the close holds after it: git takes a file that differs for changed.
fn a_close_changes_no_attribute(mode: Mode) {
    let Some(rig) = Rig::start(mode, "isolation-still") else { return };
    for (round, size) in (0_u64..30).flat_map(|round| SIZES.map(|size| (round, size))) {
        let path = rig.at(&format!("f{}", round % 7));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
        (&file).write_all(&version(round, size)).unwrap();
        if round % 3 == 0 {
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(round)).unwrap();
        }
        let open = attributes(&file.metadata().unwrap());
        close(file).unwrap();
        assert_eq!(attributes(&fs::metadata(&path).unwrap()), open, "after the close");
        assert_eq!(read_version(&File::open(&path).unwrap(), size, "a read"), round);
        assert_eq!(attributes(&fs::metadata(&path).unwrap()), open, "after a read");
    }
}

fn attributes(of: &Metadata) -> [i64; 8] {
    let (ino, size) = (of.ino().cast_signed(), of.size().cast_signed());
    let modes = [i64::from(of.mode()), of.nlink().cast_signed()];
    [ino, size, modes[0], modes[1], of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()]
}

/// Readers, among writers that never stop, only ever see whole versions, and none twice backwards.
fn readers_among_writers_see_whole_versions(mode: Mode) {
    let Some(rig) = Rig::start(mode, "isolation-many") else { return };
    for size in SIZES {
        let path = rig.at(&format!("file-{size}"));
        fs::write(&path, version(0, size)).unwrap();
        let ino = fs::metadata(&path).unwrap().ino();
        // Two writers truncate and write at once: their line is a mixture while they do, and so
        // may be what the first of them closes. Each write is therefore of one version only.
        let turn = std::sync::Mutex::new(0);
        thread::scope(|scope| {
            for writer in 1..=WRITERS {
                let (path, turn) = (&path, &turn);
                scope.spawn(move || {
                    for number in 1..=CLOSES {
                        let mut last = turn.lock().unwrap();
                        *last = writer << 32 | number;
                        write_version(path, *last, size);
                        let seen = read_version(&open(path), size, "what was just closed");
                        assert_eq!(seen, *last);
                    }
                });
            }
            for reader in 0..READERS {
                let path = &path;
                scope.spawn(move || read_on(path, size, ino, reader));
            }
        });
        let last = *turn.lock().unwrap();
        assert_eq!(read_version(&open(&path), size, "in the end"), last);
    }
}

fn read_on(path: &Path, size: usize, ino: u64, reader: usize) {
    let what = format!("reader {reader}");
    let mut held: Vec<(u64, File)> = Vec::new();
    for _ in 0..OPENS {
        let file = open(path);
        let id = read_version(&file, size, &what);
        assert_eq!(file.metadata().unwrap().ino(), ino, "{what}: the inode number stays");
        assert_eq!(file.metadata().unwrap().size(), size as u64);
        held.push((id, file));
        if held.len() > HELD {
            let (id, file) = held.remove(0);
            let again = read_version(&file, size, &what);
            assert_eq!(again, id, "{what}: a handle keeps its version");
        }
    }
}

/// Hard links are names of one file: all of them show the version that was closed last.
fn all_names_show_the_version_closed_last(mode: Mode) {
    let Some(rig) = Rig::start(mode, "isolation-names") else { return };
    let size = SIZES[1];
    let (first, second) = (rig.at("first"), rig.at("second"));
    fs::write(&first, version(0, size)).unwrap();
    fs::hard_link(&first, &second).unwrap();
    let ino = fs::metadata(&first).unwrap().ino();
    let old = open(&first);
    for id in 1..=CLOSES {
        let (written, other) = if id % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let held = open(other);
        write_version(written, id, size);
        assert_eq!(read_version(&open(other), size, "the other name"), id);
        assert_eq!(read_version(&held, size, "a handle of the other name"), id - 1);
        for name in [&first, &second] {
            let meta = fs::metadata(name).unwrap();
            assert_eq!((meta.ino(), meta.nlink(), meta.size()), (ino, 2, size as u64));
        }
    }
    assert_eq!(read_version(&old, size, "the first handle"), 0);
    fs::remove_file(&first).unwrap();
    assert_eq!(old.metadata().unwrap().nlink(), 1);
    assert_eq!(read_version(&old, size, "the first handle, its name removed"), 0);
}

/// Appends by many threads, each open and closed by itself, are all kept.
fn no_append_is_lost(mode: Mode) {
    let Some(rig) = Rig::start(mode, "isolation-append") else { return };
    let path = rig.at("log");
    fs::write(&path, "").unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = &path;
            scope.spawn(move || {
                for line in 0..CLOSES * 5 {
                    let mut file = OpenOptions::new().append(true).open(path).unwrap();
                    file.write_all(format!("{writer}-{line}\n").as_bytes()).unwrap();
                    close(file).unwrap();
                }
            });
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    let kept: BTreeSet<&str> = text.lines().collect();
    let lines = usize::try_from(WRITERS * CLOSES * 5).unwrap();
    assert_eq!((kept.len(), text.lines().count()), (lines, lines));
}

/// A size changed by name is a version like any other: older readers keep theirs.
fn a_truncation_by_name_leaves_readers_alone(mode: Mode) {
    let Some(rig) = Rig::start(mode, "isolation-truncate") else { return };
    for size in SIZES {
        let path = rig.at(&format!("file-{size}"));
        fs::write(&path, version(7, size)).unwrap();
        let before = open(&path);
        let by_name = Command::new("truncate").arg("-s").arg("8").arg(&path).status().unwrap();
        assert!(by_name.success());
        assert_eq!(read_version(&before, size, "a handle from before"), 7);
        assert_eq!(fs::metadata(&path).unwrap().size(), 8);
        assert_eq!(fs::read(&path).unwrap(), version(7, 8));
        assert_eq!(before.metadata().unwrap().size(), size as u64);
    }
}

/// A handle that is opened anew through /proc stays at the node of the version that was read there.
/// Whoever comes after that reader gets a node of his own.
fn a_handle_opened_anew_keeps_nobody_at_its_version(mode: Mode) {
    let Some(rig) = Rig::start(mode, "isolation-anew") else { return };
    let size = SIZES[1];
    for number in 0..HELD {
        let path = rig.at(&format!("file-{number}"));
        write_version(&rig.at("new"), 1, size);
        fs::rename(rig.at("new"), &path).unwrap();
        let reader = open(&path);
        let by_handle = format!("/proc/self/fd/{}", reader.as_fd().as_raw_fd());
        let anew = OpenOptions::new().write(true).open(by_handle).unwrap();
        close(reader).unwrap();
        for id in 2..=4 {
            write_version(&path, id, size);
            assert_eq!(read_version(&open(&path), size, "after a close"), id);
        }
        close(anew).unwrap();
        assert_eq!(read_version(&open(&path), size, "in the end"), 4);
    }
}

/// The kernel maps the one backing file of a node, for every handle: one whose mapping would store
/// into the version that is read there is refused.
fn a_version_is_never_mapped_for_writing(mode: Mode) {
    let Some(rig) = Rig::start(mode, "isolation-stores") else { return };
    let size = SIZES[1];
    let path = rig.at("file");
    write_version(&path, 1, size);
    let reader = open(&path);
    let by_handle = format!("/proc/self/fd/{}", reader.as_fd().as_raw_fd());
    match (mode, OpenOptions::new().read(true).write(true).open(by_handle)) {
        (Mode::Passthrough, opened) => {
            assert_eq!(opened.unwrap_err().raw_os_error(), Some(libc::EBUSY));
        }
        // There it has no backing file, and no mapping either.
        (Mode::Cached, opened) => drop(opened.unwrap()),
    }
    assert_eq!(read_version(&reader, size, "the reader"), 1);
    assert_eq!(read_version(&open(&path), size, "by name"), 1);
    close(reader).unwrap();
    write_version(&path, 2, size);
    assert_eq!(read_version(&open(&path), size, "in the end"), 2);
}

/// A file mapped for reading and writing.
struct Mapping {
    start: *mut libc::c_void,
    size: usize,
}

#[expect(unsafe_code, reason = "a mapping is what is tested")]
impl Mapping {
    fn of(file: &File, size: usize) -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, fd, 0) };
        assert_ne!(start, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Self { start, size }
    }

    fn store(&self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.size);
        // SAFETY: the mapping is as long and nobody cuts its file; no reference into it exists.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.cast(), bytes.len()) };
    }
}

#[expect(unsafe_code, reason = "a mapping is what is tested")]
impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length and nothing points into it.
        assert_eq!(unsafe { libc::munmap(self.start, self.size) }, 0);
    }
}

/// A mapping that outlives its handle belongs to the line: what was closed stays as it was, and late
/// stores are a version of their own. A reader at the line's node makes no difference.
fn late_stores_change_no_version(mode: Mode) {
    let Some(rig) = Rig::start(mode, "isolation-late") else { return };
    let size = SIZES[1];
    for with_reader in [false, true] {
        let path = rig.at(&format!("file-{with_reader}"));
        let mut options = OpenOptions::new();
        let writer = options.read(true).write(true).create_new(true).open(&path).unwrap();
        writer.write_all_at(&version(1, size), 0).unwrap();
        let mapping = Mapping::of(&writer, size);
        let by_handle = format!("/proc/self/fd/{}", writer.as_fd().as_raw_fd());
        let reader = with_reader.then(|| open(Path::new(&by_handle)));
        close(writer).unwrap();
        let closed = open(&path);
        assert_eq!(read_version(&closed, size, "what was closed"), 1);
        drop(reader);
        mapping.store(&version(2, size));
        assert_eq!(read_version(&closed, size, "after late stores"), 1);
        drop(mapping);
        let late = || (fs::read(&path).unwrap() == version(2, size)).then_some(());
        assert_eq!(eventually(PATIENCE, late), Some(()), "late stores are published");
        assert_eq!(read_version(&closed, size, "after their publish"), 1);
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
    a_close_is_seen_by_every_later_open,
    a_close_changes_no_attribute,
    readers_among_writers_see_whole_versions,
    all_names_show_the_version_closed_last,
    no_append_is_lost,
    a_truncation_by_name_leaves_readers_alone,
    a_handle_opened_anew_keeps_nobody_at_its_version,
    a_version_is_never_mapped_for_writing,
    late_stores_change_no_version
);
