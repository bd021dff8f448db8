//! SIGKILL, which nobody can prepare for.

use std::{
    fs::{self, File},
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use tesfs_tests::{Mode, close, eventually};

use crate::bench::{Bench, SOON, large, tree};

#[test]
fn a_node_killed_while_idle_starts_again_with_everything() {
    for mode in [Mode::Passthrough, Mode::Cached] {
        let bench = Bench::with_bucket();
        let mut node = bench.start(mode);
        node.kill().unwrap();
        let node = bench.start(mode);
        assert!(tree(&bench.at("keep")) == tree(&bench.at("kept")));
        assert!(
            !bench.at("keep/.tesfs/recovered").exists()
                || tree(&bench.at("keep/.tesfs/recovered")).is_empty()
        );
        node.unmount().unwrap();
        bench.nothing_is_lost();
    }
}

#[test]
fn a_node_killed_while_files_are_written_keeps_the_versions_before_and_the_bytes() {
    for mode in [Mode::Passthrough, Mode::Cached] {
        let bench = Bench::with_bucket();
        let mut node = bench.start(mode);
        let mut rewriting = File::create(bench.at("keep/below/photo.raw")).unwrap();
        rewriting.write_all(&large(5)).unwrap();
        let mut synced = File::create(bench.at("keep/synced")).unwrap();
        synced.write_all(&large(3)).unwrap();
        synced.sync_all().unwrap();
        fs::write(bench.at("keep/closed"), large(7)).unwrap();
        node.kill().unwrap();
        drop((rewriting, synced));
        let node = bench.start(mode);
        for (name, seed) in [("below/photo.raw", 1), ("synced", 3), ("closed", 7)] {
            let bytes = fs::read(bench.at("keep").join(name)).unwrap();
            assert!(bytes == large(seed), "{name} in {mode:?} is {} bytes", bytes.len());
        }
        let recovered = tree(&bench.at("keep/.tesfs/recovered"));
        assert!(recovered.values().any(|bytes| bytes == &large(5)), "{:?}", recovered.keys());
        assert!(bench.log().contains("kept under .tesfs/recovered"), "{}", bench.log());
        node.unmount().unwrap();
        for (name, seed) in [("synced", 3), ("closed", 7)] {
            bench.write(&format!("kept/{name}"), large(seed));
        }
        bench.nothing_is_lost();
    }
}

#[test]
fn a_node_killed_between_closes_keeps_every_one_that_returned() {
    let bench = Bench::with_bucket();
    let mut node = bench.start(Mode::Passthrough);
    let closed = AtomicU64::new(0);
    thread::scope(|scope| {
        let write = || {
            for number in 0..u64::MAX {
                let path = bench.at("keep").join(number.to_string());
                let Ok(mut file) = File::create(path) else { return };
                let written = file.write_all(&number.to_le_bytes().repeat(4000));
                if written.and(close(file)).is_err() {
                    return;
                }
                closed.store(number + 1, Ordering::SeqCst);
            }
        };
        thread::Builder::new().spawn_scoped(scope, write).unwrap();
        let enough = || (closed.load(Ordering::SeqCst) > 200).then_some(());
        eventually(SOON, enough).expect("files are written");
        node.kill().unwrap();
    });
    let node = bench.start(Mode::Passthrough);
    for number in 0..closed.load(Ordering::SeqCst) {
        let bytes = fs::read(bench.at("keep").join(number.to_string())).unwrap();
        assert!(bytes == number.to_le_bytes().repeat(4000), "file {number} was closed");
    }
    node.unmount().unwrap();
    let said = bench.run(&["verify", "--full"]).ok();
    assert!(said.contains("no damage found"), "{said}");
}

#[test]
fn a_client_of_a_killed_node_is_told_so() {
    let bench = Bench::with_bucket();
    let mut node = bench.start(Mode::Cached);
    bench.write("odd/large", vec![7; 256 << 20]);
    let client = bench.command(&["import", "odd", "keep:odd"]);
    let ran = thread::scope(|scope| {
        let mut client = client;
        let ran = thread::Builder::new().spawn_scoped(scope, move || client.output().unwrap());
        let has_begun = || bench.at("keep/odd/large").exists().then_some(());
        eventually(SOON, has_begun).expect("the import begins");
        node.kill().unwrap();
        crate::ran::Ran::from(ran.unwrap().join().unwrap())
    });
    ran.refused(1, "the node ended before it answered", "start it again");
    bench.run(&["umount", "keep"]).ok();
    let said = bench.run(&["verify", "--full"]).ok();
    assert!(said.contains("no damage found"), "{said}");
}
