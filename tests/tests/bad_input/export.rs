//! Exports to places that cannot take them.

use std::fs;

use tesfs_tests::Mode;

use crate::{
    bench::{Bench, tree},
    capacity::Capacity,
    outsider::Outsider,
};

#[test]
fn an_export_never_writes_into_what_is_there() {
    let bench = Bench::with_bucket();
    bench.write("there/mine", "mine");
    let before = tree(&bench.at("there"));
    let message = format!("{} exists and is not an empty directory", bench.said("there"));
    bench.run(&["export", "keep:", "there"]).refused(4, &message, "does not exist yet");
    let message = format!("{} exists already", bench.said("there/mine"));
    let ran = bench.run(&["export", "keep:note.txt", "there/mine"]);
    ran.refused(4, &message, "does not exist yet");
    let ran = bench.run(&["export", "keep:", "there/mine"]);
    ran.refused(4, &bench.said("there/mine"), "does not exist yet");
    assert!(tree(&bench.at("there")) == before);
    fs::create_dir(bench.at("empty")).unwrap();
    bench.run(&["export", "keep:", "empty"]).ok();
    assert!(tree(&bench.at("empty")) == tree(&bench.at("kept")));
    bench.nothing_is_lost();
}

#[test]
fn an_export_below_a_missing_directory_is_refused() {
    let bench = Bench::with_bucket();
    for args in [&["export", "keep:", "missing/back"], &["export", "keep:note.txt", "missing/back"]]
    {
        let ran = bench.run(args);
        ran.refused(3, &bench.said("missing"), "make the directory above it first");
    }
    assert!(!bench.at("missing").exists());
    bench.nothing_is_lost();
}

#[test]
fn an_export_into_a_mounted_folder_is_refused() {
    let bench = Bench::with_bucket();
    let node = bench.start(Mode::Passthrough);
    let ran = bench.run(&["export", "keep:below", "keep/copy"]);
    ran.refused(4, "is inside a folder that this node mounts", "cp -a");
    node.unmount().unwrap();
    bench.nothing_is_lost();
}

#[test]
fn an_export_to_a_full_disk_says_so_and_keeps_what_there_is() {
    let bench = Bench::with_bucket();
    let disk = Capacity::tmpfs(&bench, "stick", 1);
    disk.fill();
    let ran = bench.run(&["export", "keep:", "stick/back"]);
    ran.refused(7, "No space left on device", "make room on the disk of");
    assert!(ran.err.contains(&bench.said("stick/back")), "{ran:#?}");
    bench.nothing_is_lost();
}

#[test]
fn an_export_where_a_user_may_not_write_is_refused() {
    let bench = Bench::with_bucket();
    let outsider = Outsider::new(&bench, "");
    outsider.user(&["bucket", "create", "his"]).ok();
    let ran = outsider.user(&["export", "his:", "theirs"]);
    ran.refused(4, &bench.said("theirs"), "that you may read and write");
    assert!(!bench.at("theirs").exists());
}
