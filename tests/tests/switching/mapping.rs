//! Mappings of files that are open across a switch.

use std::{
    fs::{self, File, OpenOptions},
    ptr,
    time::Duration,
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use tesfs_tests::close;

use crate::rig::{LARGE, on_both, text, write};

/// A shared mapping of a whole file.
struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    #[expect(unsafe_code, reason = "no safe wrapper maps a file")]
    fn of(file: &File, len: usize, access: ProtFlags) -> Self {
        // SAFETY: the kernel chooses the place; nobody else knows it before it is unmapped.
        let at = unsafe { mmap(ptr::null_mut(), len, access, MapFlags::SHARED, file, 0) };
        Self { at: at.unwrap().cast(), len }
    }

    #[expect(unsafe_code, reason = "no safe wrapper maps a file")]
    fn bytes(&self) -> Vec<u8> {
        // SAFETY: it is mapped for reading, so long, until it is dropped.
        unsafe { std::slice::from_raw_parts(self.at, self.len) }.to_vec()
    }

    #[expect(unsafe_code, reason = "no safe wrapper maps a file")]
    fn store(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len);
        // SAFETY: it is mapped for writing, so long, and no slice of it is alive.
        unsafe { self.at.add(at).copy_from(bytes.as_ptr(), bytes.len()) };
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "no safe wrapper maps a file")]
    fn drop(&mut self) {
        // SAFETY: it was mapped by `of`, so long, and is used no more.
        unsafe { munmap(self.at.cast(), self.len) }.unwrap();
    }
}

#[test]
fn mappings_keep_the_bytes_of_their_branch_and_store_into_it() {
    on_both(
        |rig| {
            for file in ["read", "written"] {
                write(&rig.at(file), &text("one", LARGE));
            }
            rig.ok(&["branch", "create", "try"]);
            let open =
                |path: &str| OpenOptions::new().read(true).write(true).open(rig.at(path)).unwrap();
            let reader = File::open(rig.at("read")).unwrap();
            let read = Mapping::of(&reader, LARGE, ProtFlags::READ);
            let writer = open("written");
            let written = Mapping::of(&writer, LARGE, ProtFlags::READ | ProtFlags::WRITE);
            written.store(0, b"before");
            close(writer).unwrap();
            rig.switch("try");
            for file in ["read", "written"] {
                write(&rig.at(file), &text("try", LARGE));
            }
            let others = open("written");
            let other = Mapping::of(&others, LARGE, ProtFlags::READ | ProtFlags::WRITE);
            other.store(3, b"other");
            written.store(6, b"after");
            assert!(read.bytes() == text("one", LARGE));
            let (mut on_main, mut on_try) = (text("one", LARGE), text("try", LARGE));
            on_main[..11].copy_from_slice(b"beforeafter");
            on_try[3..8].copy_from_slice(b"other");
            assert!(written.bytes() == on_main && other.bytes() == on_try);
            drop((read, reader, written, other));
            close(others).unwrap();
            rig.shows("written", Some(&on_try));
            rig.switch("main");
            // The last stores are published when the mapping is seen to be gone.
            let seen = || (fs::read(rig.at("written")).unwrap() == on_main).then_some(());
            assert!(tesfs_tests::eventually(Duration::from_secs(5), seen).is_some());
            rig.shows("read", Some(&text("one", LARGE)));
        },
        "mappings",
    );
}
