//! Mount points: missing, full, taken, impossible.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use tesfs_tests::{Mode, Node};

use crate::bench::{Bench, tree};

fn mount(args: &[&str]) {
    let status = Command::new("mount").args(args).status().unwrap();
    assert!(status.success(), "mount {args:?}");
}

#[test]
fn a_missing_mount_point_is_made_and_stays_after_the_umount() {
    let bench = Bench::with_bucket();
    assert!(!bench.at("keep").exists());
    let node = bench.start(Mode::Passthrough);
    assert!(tree(&bench.at("keep")) == tree(&bench.at("kept")));
    node.unmount().unwrap();
    assert_eq!(fs::read_dir(bench.at("keep")).unwrap().count(), 0);
    bench.nothing_is_lost();
}

#[test]
fn a_mount_point_without_a_parent_is_refused_and_nothing_is_made() {
    let bench = Bench::with_bucket();
    let ran = bench.run(&["mount", "missing/folder"]);
    let message = format!("the parent of {} does not exist", bench.said("missing/folder"));
    ran.refused(4, &message, "make the directory above it first");
    assert!(!bench.at("missing").exists());
    assert_eq!(bench.buckets(), ["keep"], "a refused mount makes no bucket");
    bench.nothing_is_lost();
}

#[test]
fn a_mount_point_that_is_not_empty_is_refused_and_left_alone() {
    let bench = Bench::with_bucket();
    let before = tree(&bench.at("kept"));
    let ran = bench.run(&["mount", "kept"]);
    ran.refused(4, &format!("{} is not empty", bench.said("kept")), "`tesfs import`");
    assert!(tree(&bench.at("kept")) == before);
    assert_eq!(bench.buckets(), ["keep"], "a refused mount makes no bucket");
    bench.nothing_is_lost();
}

#[test]
fn a_file_is_no_mount_point_and_neither_is_a_place_below_it() {
    let bench = Bench::with_bucket();
    let message = format!("{} is not a directory", bench.said("kept/note.txt"));
    let hint = "choose an empty or a new directory";
    bench.run(&["mount", "kept/note.txt"]).refused(4, &message, hint);
    bench.run(&["mount", "kept/note.txt/below"]).refused(4, &message, hint);
    assert_eq!(bench.buckets(), ["keep"], "a refused mount makes no bucket");
    bench.nothing_is_lost();
}

#[test]
fn a_symlink_to_a_directory_is_followed_and_one_to_nothing_is_refused() {
    let bench = Bench::with_bucket();
    fs::create_dir(bench.at("real")).unwrap();
    symlink("real", bench.at("link")).unwrap();
    bench.run(&["mount", "keep", "link", "--background"]).ok();
    assert!(tree(&bench.at("real")) == tree(&bench.at("kept")));
    bench.run(&["umount", "link"]).ok();
    symlink("nowhere", bench.at("dangling")).unwrap();
    let ran = bench.run(&["mount", "keep", "dangling"]);
    let message = format!("{} is not a directory", bench.said("dangling"));
    ran.refused(4, &message, "choose an empty or a new directory");
    assert_eq!(fs::read_link(bench.at("dangling")).unwrap(), Path::new("nowhere"));
    bench.nothing_is_lost();
}

#[test]
fn a_folder_that_tesfs_shows_already_is_refused_with_the_bucket_in_it() {
    let bench = Bench::with_bucket();
    let node = bench.start(Mode::Cached);
    let there = bench.said("keep");
    let hint = format!("`tesfs umount {there}`");
    let said = format!("'keep' is mounted at {there}");
    bench.run(&["mount", "keep"]).refused(4, &said, &hint);
    bench.run(&["bucket", "create", "other"]).ok();
    bench.run(&["mount", "other", "keep"]).refused(4, &said, &hint);
    // The same bucket, elsewhere; and the same folder, from another node.
    bench.run(&["mount", "keep", "second"]).refused(4, &said, &hint);
    assert!(!bench.at("second").exists());
    let elsewhere = bench.run(&["--data-dir", "data2", "mount", "keep"]);
    elsewhere.refused(4, &format!("something is mounted at {there} already (tesfs:keep"), "umount");
    assert!(tree(&bench.at("keep")) == tree(&bench.at("kept")), "the mount goes on");
    node.unmount().unwrap();
    bench.nothing_is_lost();
}

#[test]
fn a_folder_where_something_else_is_mounted_is_refused_and_named() {
    let bench = Bench::with_bucket();
    fs::create_dir(bench.at("taken")).unwrap();
    let taken = bench.said("taken");
    mount(&["-t", "tmpfs", "stick", &taken]);
    let message = format!("something is mounted at {taken} already (stick, tmpfs)");
    bench.run(&["mount", "taken"]).refused(4, &message, &format!("`umount {taken}`"));
    bench.write("taken/file", "theirs");
    bench.run(&["mount", "taken"]).refused(4, &message, &format!("`umount {taken}`"));
    let ran = bench.run(&["umount", "taken"]);
    ran.refused(3, &format!("nothing of tesfs is mounted at {taken}"), "tesfs status");
    assert_eq!(fs::read(bench.at("taken/file")).unwrap(), b"theirs");
    assert_eq!(bench.buckets(), ["keep"], "a refused mount makes no bucket");
    bench.nothing_is_lost();
}

#[test]
fn the_data_directory_is_neither_shown_over_nor_shown_in() {
    let bench = Bench::with_bucket();
    let data = bench.said("data");
    let hint = "choose a folder elsewhere";
    for dir in ["data", "data/blobs", "data/new", "data/../data/new"] {
        let message = format!("is inside the data directory {data}");
        bench.run(&["mount", "keep", dir]).refused(4, &message, hint);
    }
    symlink("data", bench.at("alias")).unwrap();
    let message = format!("is inside the data directory {data}");
    bench.run(&["mount", "keep", "alias/new"]).refused(4, &message, hint);
    for dir in [".", "/"] {
        let message = format!("the data directory {data} is inside ");
        bench.run(&["mount", "keep", dir]).refused(4, &message, hint);
    }
    assert!(!bench.at("data/new").exists());
    bench.nothing_is_lost();
}

#[test]
fn a_folder_whose_name_is_no_bucket_name_asks_for_one() {
    let bench = Bench::with_bucket();
    fs::create_dir(bench.at("...")).unwrap();
    let message = format!("{} has no name to call a bucket after", bench.said("..."));
    bench.run(&["mount", "..."]).refused(2, &message, "tesfs mount BUCKET DIR");
    bench.nothing_is_lost();
}

#[test]
fn what_a_killed_node_left_mounted_is_cleaned_by_the_next_mount_and_said() {
    let bench = Bench::with_bucket();
    let mut node = bench.start(Mode::Passthrough);
    // The kernel remembers the attributes of the root, so that a look at it finds nothing wrong.
    fs::metadata(bench.at("keep")).unwrap();
    node.kill().unwrap();
    let node = bench.start(Mode::Passthrough);
    let said = format!("{} was left mounted by a node that died: cleaned", bench.said("keep"));
    assert!(bench.log().contains(&said), "{}", bench.log());
    assert!(tree(&bench.at("keep")) == tree(&bench.at("kept")));
    node.unmount().unwrap();
    bench.nothing_is_lost();
}

#[test]
fn what_a_killed_node_left_mounted_is_taken_away_by_umount() {
    let bench = Bench::with_bucket();
    let mut node = bench.start(Mode::Cached);
    fs::metadata(bench.at("keep")).unwrap();
    node.kill().unwrap();
    let said = bench.run(&["umount", "keep"]).ok();
    assert!(said.contains("was left mounted by a node that died: cleaned"), "{said}");
    assert_eq!(fs::read_dir(bench.at("keep")).unwrap().count(), 0);
    bench.run(&["umount", "keep"]).refused(3, "nothing of tesfs is mounted at", "tesfs status");
    bench.nothing_is_lost();
}

#[test]
fn a_stale_folder_is_cleaned_for_another_bucket_too() {
    let bench = Bench::with_bucket();
    bench.run(&["bucket", "create", "other"]).ok();
    let mut node = bench.start(Mode::Cached);
    node.kill().unwrap();
    bench.run(&["mount", "other", "keep", "--background"]).ok();
    assert_eq!(fs::read_dir(bench.at("keep")).unwrap().count(), 0);
    bench.run(&["umount", "keep"]).ok();
    bench.nothing_is_lost();
}

#[test]
fn a_folder_in_use_is_not_taken_away_unless_asked_to() {
    let bench = Bench::with_bucket();
    let node = bench.start(Mode::Cached);
    let open = fs::File::open(bench.at("keep/below/photo.raw")).unwrap();
    let there = bench.said("keep");
    let ran = bench.run(&["umount", "keep"]);
    ran.refused(4, &format!("{there} is in use: 1 file open in it"), "--lazy");
    assert!(tree(&bench.at("keep")) == tree(&bench.at("kept")), "the mount goes on");
    bench.run(&["umount", "--lazy", "keep"]).ok();
    assert_eq!(fs::read_dir(bench.at("keep")).unwrap().count(), 0);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut &open, &mut bytes).unwrap();
    assert!(bytes == fs::read(bench.at("kept/below/photo.raw")).unwrap(), "the handle goes on");
    drop(open);
    wait_for_end(node);
    bench.nothing_is_lost();
}

/// Waits until a node ended because its last folder is gone.
fn wait_for_end(mut node: Node) {
    let ended = tesfs_tests::eventually(crate::bench::SOON, || node.ended());
    assert!(ended.expect("the node ends after its last folder").success());
}

#[test]
fn a_bucket_that_is_renamed_while_mounted_is_shown_by_its_new_name() {
    let bench = Bench::with_bucket();
    let node = bench.start(Mode::Cached);
    bench.run(&["bucket", "rename", "keep", "kept"]).ok();
    bench.run(&["bucket", "create", "keep"]).ok();
    let status = bench.run(&["status", "--json"]).ok();
    assert!(status.contains(r#""bucket": "kept""#), "{status}");
    assert!(!status.contains(r#""bucket": "keep""#), "{status}");
    let said = bench.run(&["umount", bench.said("keep").as_str()]).ok();
    assert!(said.contains("'kept'"), "{said}");
    drop(node);
}
