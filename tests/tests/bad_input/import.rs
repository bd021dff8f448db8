//! Imports of what cannot be taken, or changes while it is taken.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tesfs_tests::{Mode, eventually};

use crate::{
    bench::{Bench, SOON, tree},
    outsider::Outsider,
};

/// Large enough that reading it takes a while.
const SLOW_BYTES: usize = 64 << 20;
/// So many that nobody copies them all before somebody else moves one.
const DIRECTORIES: usize = 40;

#[test]
fn names_of_any_bytes_are_taken_and_come_back() {
    let bench = Bench::with_bucket();
    let names: [&[u8]; 5] =
        [b"caf\xe9", b"\xff\xfe", b"line\nbreak", "🦀".as_bytes(), &[b'n'; 255]];
    fs::create_dir(bench.at("odd")).unwrap();
    for name in names {
        fs::write(bench.at("odd").join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::create_dir(bench.at("odd").join(OsStr::from_bytes(b"dir\xe9"))).unwrap();
    bench.run(&["import", "odd", "keep:odd"]).ok();
    bench.run(&["export", "keep:odd", "back"]).ok();
    assert!(tree(&bench.at("odd")) == tree(&bench.at("back")));
    // The source itself may have such a name, and the place in the bucket.
    let args = [b"import".as_slice(), b"odd/caf\xe9", b"keep:other\xff/"].map(OsStr::from_bytes);
    bench.run(&args).ok();
    bench.run(&[b"export".as_slice(), b"keep:other\xff", b"other"].map(OsStr::from_bytes)).ok();
    assert_eq!(
        fs::read(bench.at("other").join(OsStr::from_bytes(b"caf\xe9"))).unwrap(),
        b"caf\xe9"
    );
    let said = bench.run(&["verify", "--full"]).ok();
    assert!(said.contains("no damage found"), "{said}");
}

#[test]
fn names_over_255_bytes_are_refused_by_length() {
    // No file of this machine can have such a name: it can only be asked for.
    let bench = Bench::with_bucket();
    let long = "n".repeat(300);
    for dest in [format!("keep:{long}"), format!("keep:{long}/below"), format!("keep:new/{long}")] {
        let ran = bench.run(&["import", "kept/note.txt", &dest]);
        ran.refused(2, "a name of 300 bytes is too long (at most 255)", "choose a shorter");
    }
    let node = bench.start(Mode::Passthrough);
    let err = File::create(bench.at("keep").join(&long)).unwrap_err();
    assert_eq!(err.raw_os_error(), Some(libc::ENAMETOOLONG));
    node.unmount().unwrap();
    bench.nothing_is_lost();
}

#[test]
fn sockets_are_listed_and_everything_else_is_taken() {
    let bench = Bench::with_bucket();
    bench.write("odd/file", "file");
    let _socket = UnixListener::bind(bench.at("odd/socket")).unwrap();
    let status = std::process::Command::new("mkfifo").arg(bench.at("odd/fifo")).status().unwrap();
    assert!(status.success());
    let ran = bench.run(&["import", "odd", "keep:odd"]);
    ran.partial(&format!("{}: a socket", bench.said("odd/socket")));
    bench.run(&["export", "keep:odd", "back"]).ok();
    let back: Vec<_> = tree(&bench.at("back")).into_keys().collect();
    assert_eq!(back, [Path::new("fifo"), Path::new("file")]);
    bench.run(&["import", "odd/socket", "keep:alone"]).partial("a socket");
}

#[test]
fn symlinks_are_kept_as_they_are_and_never_followed() {
    let bench = Bench::with_bucket();
    fs::create_dir_all(bench.at("odd/below")).unwrap();
    for (target, name) in [
        ("b", "a"),
        ("a", "b"),
        ("self", "self"),
        ("..", "below/up"),
        ("/etc/passwd", "outside"),
        ("missing", "dangling"),
    ] {
        symlink(target, bench.at("odd").join(name)).unwrap();
    }
    bench.run(&["import", "odd", "keep:odd"]).ok();
    bench.run(&["export", "keep:odd", "back"]).ok();
    assert!(tree(&bench.at("odd")) == tree(&bench.at("back")));
    let ran = bench.run(&["import", "odd/a", "keep:"]);
    ran.refused(4, &bench.said("odd/a"), "its symlinks lead to each other");
    bench.run(&["import", "odd/dangling", "keep:"]).refused(3, "does not exist", "import");
    // In the way of an import, one leads nowhere else.
    let ran = bench.run(&["import", "kept", "keep:odd/below/up"]);
    ran.refused(4, "'odd/below/up' in bucket 'keep' is no directory", "`tesfs mount keep DIR`");
}

#[test]
fn hard_links_stay_links() {
    let bench = Bench::with_bucket();
    bench.write("odd/one", "one");
    fs::create_dir(bench.at("odd/below")).unwrap();
    for name in ["two", "below/three"] {
        fs::hard_link(bench.at("odd/one"), bench.at("odd").join(name)).unwrap();
    }
    bench.run(&["import", "odd", "keep:odd"]).ok();
    bench.run(&["export", "keep:odd", "back"]).ok();
    let ino = |name: &str| fs::metadata(bench.at("back").join(name)).unwrap().ino();
    assert!(ino("one") == ino("two") && ino("one") == ino("below/three"));
}

#[test]
fn what_a_user_may_not_read_is_listed_and_everything_else_is_taken() {
    let bench = Bench::with_bucket();
    let outsider = Outsider::new(&bench, "");
    bench.write("odd/open", "open");
    bench.write("odd/secret", "secret");
    bench.write("odd/closed/file", "file");
    for name in ["secret", "closed"] {
        let none = fs::Permissions::from_mode(0o700);
        fs::set_permissions(bench.at("odd").join(name), none).unwrap();
    }
    outsider.user(&["bucket", "create", "his"]).ok();
    let ran = outsider.user(&["import", "odd", "his:"]);
    for name in ["odd/secret", "odd/closed"] {
        let reason = "cannot be read: permission denied";
        ran.partial(&format!("{}: {reason}", bench.said(name)));
    }
    outsider.user(&["export", "his:open", "home/open"]).ok();
    let ran = outsider.user(&["import", "odd/closed", "his:alone"]);
    ran.refused(4, &bench.said("odd/closed"), "may read");
    outsider.user(&["import", "odd/secret", "his:"]).partial("permission denied");
    let said = outsider.user(&["verify", "--full"]).ok();
    assert!(said.contains("no damage found"), "{said}");
}

#[test]
fn a_missing_source_is_refused() {
    let bench = Bench::with_bucket();
    let ran = bench.run(&["import", "missing", "keep:"]);
    ran.refused(3, &format!("{} does not exist", bench.said("missing")), "tesfs import SRC DEST");
    bench.nothing_is_lost();
}

#[test]
fn a_file_that_changes_all_the_time_is_taken_and_listed() {
    let bench = Bench::with_bucket();
    let path = bench.write("odd/changing", vec![0; SLOW_BYTES]);
    bench.write("odd/still", "still");
    let done = AtomicBool::new(false);
    let ran = thread::scope(|scope| {
        let change = || {
            let file = File::options().write(true).open(&path).unwrap();
            let mut byte = 0_u8;
            while !done.load(Ordering::Relaxed) {
                byte = byte.wrapping_add(1);
                file.write_all_at(&[byte], 4096).unwrap();
            }
        };
        thread::Builder::new().spawn_scoped(scope, change).unwrap();
        let ran = bench.run(&["import", "odd", "keep:odd"]);
        done.store(true, Ordering::Relaxed);
        ran
    });
    ran.partial(&format!("{}: it changed while it was read", path.display()));
    bench.run(&["export", "keep:odd", "back"]).ok();
    assert_eq!(fs::metadata(bench.at("back/changing")).unwrap().len(), SLOW_BYTES as u64);
    assert_eq!(fs::read(bench.at("back/still")).unwrap(), b"still");
    // Now that it is still, the next import takes it as it is.
    bench.run(&["import", "odd", "keep:odd"]).ok();
    bench.run(&["export", "keep:odd", "again"]).ok();
    assert!(tree(&bench.at("odd")) == tree(&bench.at("again")));
}

#[test]
fn a_directory_that_vanishes_is_listed_and_everything_else_is_taken() {
    let bench = Bench::with_bucket();
    // Through a mounted bucket, where the first file shows when the import is under way.
    let node = bench.start(Mode::Cached);
    let names: Vec<String> = (0..DIRECTORIES).map(|number| number.to_string()).collect();
    for name in &names {
        bench.write(&format!("odd/{name}/large"), vec![1; SLOW_BYTES / 16]);
    }
    fs::create_dir(bench.at("away")).unwrap();
    let ran = thread::scope(|scope| {
        let vanish = || {
            // Whichever is copied first, all the others vanish meanwhile.
            let has_begun = |name: &&String| bench.at("keep/odd").join(name).exists();
            let first = eventually(SOON, || names.iter().find(has_begun));
            let first = first.expect("the import begins");
            for name in names.iter().filter(|name| *name != first) {
                fs::rename(bench.at("odd").join(name), bench.at("away").join(name)).unwrap();
            }
        };
        thread::Builder::new().spawn_scoped(scope, vanish).unwrap();
        bench.run(&["import", "odd", "keep:odd"])
    });
    ran.partial(": cannot be read: no such file");
    let taken = tree(&bench.at("keep/odd"));
    for name in &names {
        let is_taken = taken.contains_key(Path::new(name));
        let is_listed =
            ran.out.contains(&format!("{}: cannot", bench.said(&format!("odd/{name}"))));
        assert!(is_taken != is_listed, "{name} is either taken or listed: {ran:#?}");
        let bytes = taken.get(&Path::new(name).join("large"));
        assert!(bytes.is_none_or(|bytes| bytes.len() == SLOW_BYTES / 16), "{name} is whole");
    }
    node.unmount().unwrap();
    let said = bench.run(&["verify", "--full"]).ok();
    assert!(said.contains("no damage found"), "{said}");
}

#[test]
fn an_import_of_the_data_directory_or_of_a_mounted_folder_takes_neither() {
    let bench = Bench::with_bucket();
    let node = bench.start(Mode::Passthrough);
    bench.run(&["import", "keep", "keep:copy"]).refused(4, "that this node mounts", "cp -a");
    let ran = bench.run(&["import", ".", "keep:bench"]);
    for name in ["data", "keep"] {
        ran.partial(&format!("{}: it belongs to this node", bench.said(name)));
    }
    assert!(!bench.at("keep/bench/data").exists() && !bench.at("keep/bench/keep").exists());
    assert!(tree(&bench.at("keep/bench/kept")) == tree(&bench.at("kept")));
    let ran = bench.run(&["import", "data", "keep:data"]);
    ran.refused(
        4,
        &format!("{} is the data directory or inside it", bench.said("data")),
        "`cp -a`",
    );
    node.unmount().unwrap();
}

#[test]
fn an_import_that_is_broken_off_leaves_whole_files_only() {
    let bench = Bench::with_bucket();
    let node = bench.start(Mode::Cached);
    for number in 0..20 {
        bench.write(&format!("odd/{number:02}"), vec![number; SLOW_BYTES / 4]);
    }
    let mut child = bench.command(&["import", "odd", "keep:odd"]).spawn().unwrap();
    let has_begun = || bench.at("keep/odd/01").exists().then_some(());
    eventually(SOON, has_begun).expect("the import begins");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    node.unmount().unwrap();
    bench.run(&["export", "keep:odd", "back"]).ok();
    let (whole, back) = (tree(&bench.at("odd")), tree(&bench.at("back")));
    assert!(back.len() < whole.len(), "the import was broken off");
    for (name, bytes) in &back {
        assert!(bytes == &whole[name], "{} is not whole", name.display());
    }
    bench.run(&["import", "odd", "keep:odd"]).ok();
    bench.run(&["export", "keep:odd", "again"]).ok();
    assert!(tree(&bench.at("again")) == whole);
}
