//! Machines that lack something, and users who may not.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use tesfs_tests::Node;

use crate::{bench::Bench, outsider::Outsider, ran::Ran};

#[test]
fn without_the_fuse_device_a_mount_says_how_to_get_it() {
    let bench = Bench::with_bucket();
    let change =
        "mkdir machine/dev; mknod -m 666 machine/dev/null c 1 3; mount --bind machine/dev /dev";
    let outsider = Outsider::new(&bench, change);
    let ran = outsider.root(&["mount", "keep", "folder"]);
    ran.refused(7, "/dev/fuse is missing", "modprobe fuse");
    outsider.user(&["mount", "home/folder"]).refused(7, "/dev/fuse is missing", "modprobe fuse");
    assert!(!bench.at("folder").exists());
    bench.nothing_is_lost();
}

#[test]
fn a_fuse_device_without_the_kernels_module_counts_as_missing() {
    let bench = Bench::with_bucket();
    let change = "mknod -m 666 machine/none c 10 250; mount --bind machine/none /dev/fuse";
    let outsider = Outsider::new(&bench, change);
    let ran = outsider.root(&["mount", "keep", "folder"]);
    ran.refused(7, "/dev/fuse is missing", "modprobe fuse");
    bench.nothing_is_lost();
}

#[test]
fn a_fuse_device_that_only_root_may_open_is_what_a_user_is_told() {
    let bench = Bench::with_bucket();
    let outsider = Outsider::new(&bench, "chmod 600 machine/fuse");
    let ran = outsider.user(&["mount", "home/folder"]);
    ran.refused(4, "no permission to open /dev/fuse", "chmod 666 /dev/fuse");
    outsider.root(&["mount", "keep", "folder", "--background"]).ok();
    outsider.root(&["umount", "folder"]).ok();
    bench.nothing_is_lost();
}

#[test]
fn without_fusermount3_a_user_is_told_what_to_install() {
    let bench = Bench::with_bucket();
    let outsider = Outsider::new(&bench, "");
    let ran = outsider.user_with_path("/nowhere", &["mount", "home/folder"]);
    ran.refused(7, "fusermount3 is missing", "package `fuse3`");
    assert_eq!(outsider.user(&["bucket", "list"]).ok(), outsider.user(&["bucket", "list"]).ok());
    assert!(!outsider.user(&["bucket", "list"]).out.contains("folder"), "no bucket is made");
    bench.nothing_is_lost();
}

#[test]
fn an_ordinary_user_mounts_his_own_folder_and_no_other() {
    let bench = Bench::with_bucket();
    let outsider = Outsider::new(&bench, "");
    outsider.user(&["mount", "home/folder", "--background"]).ok();
    outsider.user_shell("echo his > home/folder/file; cat home/folder/file").ok();
    for dir in ["theirs", "closed"] {
        fs::create_dir(bench.at(dir)).unwrap();
    }
    fs::set_permissions(bench.at("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    for dir in ["theirs", "theirs/new", "closed", "closed/new"] {
        let ran = outsider.user(&["mount", dir]);
        let message = format!("no permission to mount at {}", bench.said(dir));
        ran.refused(4, &message, "choose a folder that is yours");
    }
    let said = outsider.user(&["bucket", "list"]).ok();
    assert_eq!(said.lines().count(), 2, "a refused mount makes no bucket: {said}");
    let ran = outsider.user(&["mount", "home/shared", "--allow-other"]);
    ran.refused(4, "user_allow_other is not set in /etc/fuse.conf", "leave --allow-other out");
    for option in ["--suid", "--dev"] {
        let ran = outsider.user(&["mount", "home/root", option]);
        ran.refused(4, &format!("only root may mount with {option}"), "leave");
    }
    outsider.user(&["umount", "home/folder"]).ok();
    let said = outsider.user(&["verify", "--full"]).ok();
    assert!(said.contains("no damage found"), "{said}");
    bench.nothing_is_lost();
}

#[test]
fn a_user_cleans_what_his_killed_node_left_mounted() {
    let bench = Bench::with_bucket();
    let outsider = Outsider::new(&bench, "");
    outsider.user(&["mount", "home/folder", "--background"]).ok();
    outsider.user_shell("echo his > home/folder/file").ok();
    let script = "pid=$(head -n 1 home/data/lock); kill -9 $pid; while kill -0 $pid; do :; done";
    outsider.user_shell(script);
    let ran = outsider.user(&["mount", "home/folder", "--background"]);
    assert!(ran.err.contains("was left mounted by a node that died: cleaned"), "{ran:#?}");
    ran.ok();
    assert_eq!(outsider.user_shell("cat home/folder/file").ok(), "his\n");
    outsider.user(&["umount", "home/folder"]).ok();
    bench.nothing_is_lost();
}

#[test]
fn root_without_the_right_to_mount_is_told_so() {
    let bench = Bench::with_bucket();
    let mut command = Command::new("/usr/bin/setpriv");
    bench.settle_in(&mut command);
    command.args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]);
    command.arg(Node::binary().unwrap()).args(["mount", "keep", "folder"]);
    let ran = Ran::from(command.output().unwrap());
    let message = format!("no permission to mount at {}", bench.said("folder"));
    ran.refused(4, &message, "--cap-add SYS_ADMIN");
    bench.nothing_is_lost();
}

#[test]
fn a_pid_namespace_whose_session_began_outside_of_it_is_a_place_to_work() {
    let bench = Bench::new();
    bench.run(&["bucket", "create", "keep"]).ok();
    let mut command = Command::new("unshare");
    bench.settle_in(&mut command);
    command.args(["--pid", "--fork"]).arg(Node::binary().unwrap());
    let ran: Ran = command.args(["import", "kept", "keep:"]).output().unwrap().into();
    assert!(ran.ok().contains("imported 2 files"));
    bench.nothing_is_lost();
}
