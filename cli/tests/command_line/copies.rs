//! Import and export, there and back.

use std::{
    ffi::OsStr,
    fs::{self, File, FileTimes, Permissions},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use crate::bench::Bench;

/// 40 KiB that are not all the same: too many bytes for a row of the database.
fn large() -> Vec<u8> {
    (0..40_960_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn set_times(path: &Path, seconds: u64, nanos: u32) {
    let time = UNIX_EPOCH + Duration::new(seconds, nanos);
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    File::open(path).unwrap().set_times(times).unwrap();
}

/// Names, kinds, modes, times, links and bytes of a tree, one line each.
fn described(top: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut left = vec![top.to_owned()];
    while let Some(path) = left.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(top).unwrap().display().to_string();
        let content = if found.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if found.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if found.is_file() {
            format!("{:x?}", fs::read(&path).unwrap())
        } else {
            String::new()
        };
        let links = if found.is_dir() { 0 } else { found.nlink() };
        lines.push(format!(
            "{name} {:o} {}:{} {}.{:09} x{links} {content}",
            found.mode(),
            found.uid(),
            found.gid(),
            found.mtime(),
            found.mtime_nsec(),
        ));
    }
    lines.sort();
    lines
}

fn make_tree(bench: &Bench) -> std::path::PathBuf {
    let top = bench.home().join("src");
    bench.write("src/small.txt", "hello");
    bench.write("src/empty", "");
    bench.write("src/large.bin", large());
    bench.write("src/deep/er/nested.txt", "nested");
    bench.write("src/script.sh", "#!/bin/sh\n");
    fs::set_permissions(top.join("script.sh"), Permissions::from_mode(0o750)).unwrap();
    fs::hard_link(top.join("large.bin"), top.join("deep/same.bin")).unwrap();
    symlink("../small.txt", top.join("deep/link")).unwrap();
    symlink("/nowhere/at all", top.join("dangling")).unwrap();
    fs::write(top.join(OsStr::from_bytes(b"not \xff utf8")), "bytes").unwrap();
    fs::write(top.join("x".repeat(255)), "longest").unwrap();
    fs::write(top.join("🦕 emoji"), "🦕").unwrap();
    set_times(&top.join("small.txt"), 1_234_567_890, 123_456_789);
    set_times(&top.join("large.bin"), 1, 1);
    fs::set_permissions(top.join("deep/er"), Permissions::from_mode(0o555)).unwrap();
    set_times(&top.join("deep/er"), 1_000_000_000, 42);
    set_times(&top.join("deep"), 1_000_000_001, 43);
    set_times(&top, 1_000_000_002, 44);
    top
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let bench = Bench::new();
    let top = make_tree(&bench);
    bench.ok(&["bucket", "create", "photos"]);
    let said = bench.ok(&["import", "src", "photos:"]);
    assert!(said.starts_with("imported 8 files ("), "{said}");
    bench.ok(&["export", "photos:", "back"]);
    assert_eq!(described(&top), described(&bench.home().join("back")));
    bench.ok(&["verify", "--full"]);
}

#[test]
fn extended_attributes_come_back() {
    let bench = Bench::new();
    let path = bench.write("src/a.txt", "a");
    let set =
        rustix::fs::setxattr(&path, "user.colour", b"blue\0green", rustix::fs::XattrFlags::empty());
    assert_eq!(set, Ok(()), "this test needs a temporary directory with user attributes");
    bench.ok(&["bucket", "create", "b"]);
    bench.ok(&["import", "src", "b:"]);
    bench.ok(&["export", "b:", "back"]);
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(bench.home().join("back/a.txt"), "user.colour", &mut value);
    assert_eq!(&value[..length.unwrap()], b"blue\0green");
}

#[test]
fn holes_stay_holes() {
    let bench = Bench::new();
    let path = bench.write("src/sparse", "");
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"middle", 32 * 1024 * 1024).unwrap();
    file.set_len(64 * 1024 * 1024).unwrap();
    bench.ok(&["bucket", "create", "b"]);
    bench.ok(&["import", "src", "b:"]);
    bench.ok(&["export", "b:", "back"]);
    let back = bench.home().join("back/sparse");
    assert_eq!(fs::read(&path).unwrap(), fs::read(&back).unwrap());
    assert!(fs::metadata(&back).unwrap().blocks() < 2048, "the copy takes its full size on disk");
}

#[test]
fn what_cannot_be_taken_is_listed_and_the_rest_is_taken() {
    let bench = Bench::new();
    bench.write("src/good.txt", "good");
    let _socket = UnixListener::bind(bench.home().join("src/socket")).unwrap();
    bench.ok(&["bucket", "create", "b"]);
    let ran = bench.run(&["import", "src", "b:"]);
    assert_eq!(ran.code, 6, "{ran:?}");
    insta::assert_snapshot!(ran.out);
    bench.ok(&["export", "b:", "back"]);
    assert_eq!(fs::read(bench.home().join("back/good.txt")).unwrap(), b"good");
}

#[test]
fn a_second_import_takes_only_what_changed() {
    let bench = Bench::new();
    bench.write("src/same.txt", "same");
    let changed = bench.write("src/changed.txt", "before");
    symlink("same.txt", bench.home().join("src/link")).unwrap();
    bench.ok(&["bucket", "create", "b"]);
    bench.ok(&["import", "src", "b:"]);
    fs::write(&changed, "after!!").unwrap();
    let answer = bench.json(&["import", "src", "b:"]);
    assert_eq!(
        (&answer["counts"]["files"], &answer["counts"]["unchanged"]),
        (&1.into(), &2.into())
    );
    bench.ok(&["export", "b:changed.txt", "back.txt"]);
    assert_eq!(fs::read(bench.home().join("back.txt")).unwrap(), b"after!!");
}

#[test]
fn a_single_file_goes_into_a_directory_or_to_a_name() {
    let bench = Bench::new();
    bench.write("letter.txt", "dear");
    bench.ok(&["bucket", "create", "b"]);
    bench.ok(&["import", "letter.txt", "b:letters/"]);
    bench.ok(&["import", "letter.txt", "b:other/name.txt"]);
    bench.ok(&["export", "b:", "back"]);
    for path in ["back/letters/letter.txt", "back/other/name.txt"] {
        assert_eq!(fs::read(bench.home().join(path)).unwrap(), b"dear", "{path}");
    }
}

#[test]
fn symlinks_are_copied_and_never_followed() {
    let bench = Bench::new();
    bench.write("secret/inner.txt", "outside");
    bench.write("src/a.txt", "a");
    symlink(bench.home().join("secret"), bench.home().join("src/way-out")).unwrap();
    bench.ok(&["bucket", "create", "b"]);
    bench.ok(&["import", "src", "b:"]);
    assert_eq!(
        bench.json(&["bucket", "show", "b"])["bytes"],
        1 + bench.home().join("secret").as_os_str().len()
    );
    bench.ok(&["export", "b:", "back"]);
    assert!(fs::symlink_metadata(bench.home().join("back/way-out")).unwrap().is_symlink());
}

#[test]
fn wrong_sources_and_destinations_are_refused_with_a_hint() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "b"]);
    bench.write("src/a.txt", "a");
    bench.write("full/other.txt", "mine");
    insta::assert_snapshot!("import_no_source", bench.refused(3, &["import", "none", "b:"]));
    insta::assert_snapshot!("import_no_bucket", bench.refused(3, &["import", "src", "bb:"]));
    insta::assert_snapshot!("import_no_colon", bench.refused(3, &["import", "src", "b"]));
    insta::assert_snapshot!("import_dots", bench.refused(2, &["import", "src", "b:../x"]));
    insta::assert_snapshot!("export_full", bench.refused(4, &["export", "b:", "full"]));
    insta::assert_snapshot!("export_nothing", bench.refused(3, &["export", "b:none", "new"]));
    assert_eq!(fs::read(bench.home().join("full/other.txt")).unwrap(), b"mine");
    assert!(!bench.home().join("new").exists());
}
