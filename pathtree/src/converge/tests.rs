mod histories;
mod invariants;
mod lies;
mod moves;
mod names;
mod one_name;
mod removals;
mod rules;
mod writer;

use std::collections::BTreeSet;

use proptest::{
    prelude::RngExt as _,
    test_runner::{RngAlgorithm, TestRng},
};

use self::writer::Writer;
use super::*;
use crate::{id::Hlc, name::Name};

/// 2026-01-01T00:00:00Z: where the clocks of the writers begin.
const START: Hlc = Hlc(1_767_225_600_000 << 16);

fn stamp(reading: u64, actor: u8) -> WireStamp {
    WireStamp { hlc: Hlc(reading), actor: Actor([actor; 16]) }
}

/// As buckets have it: older than everything.
fn root() -> InodeId {
    InodeId(stamp(0, 0))
}

fn name(text: &str) -> Name {
    Name::from_bytes(text.as_bytes()).unwrap()
}

fn rng(seed: u64) -> TestRng {
    // Seeds that are alike would give histories that begin alike.
    let bytes = blake3::hash(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::XorShift, &bytes.as_bytes()[..16])
}

fn shuffle<T>(items: &mut [T], rng: &mut TestRng) {
    for last in (1..items.len()).rev() {
        items.swap(last, rng.random_range(0..=last));
    }
}

fn all_of(versions: impl IntoIterator<Item = Version>) -> Versions {
    let mut all = Versions::new(root());
    all.extend(versions);
    all
}

/// What every device shows that has heard of everything these have written.
fn united(writers: &[&Writer]) -> Tree {
    all_of(writers.iter().flat_map(|writer| writer.written.clone())).tree()
}

/// Three devices that have heard of everything the first one wrote.
fn writers<T>(prepare: impl FnOnce(&mut Writer) -> T) -> [Writer; 3] {
    let mut first = Writer::new(1);
    prepare(&mut first);
    let mut writers = [first.clone(), Writer::new(2), Writer::new(3)];
    writers[1..].iter_mut().for_each(|writer| writer.hear(&first));
    writers
}

fn sizes(versions: &[FileVersion]) -> Vec<u64> {
    versions.iter().map(|version| version.content.size_bytes).collect()
}

fn reasons(tree: &Tree) -> Vec<Reason> {
    tree.lost.iter().map(|lost| lost.reason).collect()
}
