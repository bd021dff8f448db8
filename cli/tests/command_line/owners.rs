//! Who may use a data directory, and who may not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::bench::Bench;

#[test]
fn a_data_directory_that_another_process_holds_is_refused_with_its_name() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "b"]);
    let lock = fs::File::options().write(true).open(bench.data_dir().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    fs::write(bench.data_dir().join("lock"), "4242\nimport\n").unwrap();
    let said = bench.refused(4, &["status"]);
    insta::assert_snapshot!(said);
    drop(lock);
    bench.ok(&["status"]);
}

#[test]
fn a_socket_that_nobody_listens_to_is_in_nobodys_way() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "b"]);
    drop(std::os::unix::net::UnixListener::bind(bench.data_dir().join("control.sock")).unwrap());
    bench.ok(&["bucket", "list"]);
}

#[test]
fn a_directory_with_other_things_in_it_is_no_data_directory() {
    let bench = Bench::new();
    bench.write("papers/letter.txt", "dear");
    let said = bench.refused(4, &["--data-dir", "papers", "bucket", "create", "b"]);
    insta::assert_snapshot!(said);
    assert_eq!(fs::read_dir(bench.home().join("papers")).unwrap().count(), 1);
}

#[test]
fn the_data_directory_and_what_is_in_it_is_private() {
    let bench = Bench::new();
    bench.ok(&["bucket", "create", "b"]);
    for name in ["", "key", "node.db", "lock"] {
        let mode = fs::metadata(bench.data_dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} has mode {mode:o}");
    }
}

#[test]
fn a_data_directory_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let dir = bench.home().join("theirs");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::chown(&dir, Some(12345), Some(12345)).unwrap();
    insta::assert_snapshot!(bench.refused(4, &["--data-dir", "theirs", "bucket", "create", "b"]));
}
