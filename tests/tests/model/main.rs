//! The core, and mounts of it, do what the model does, whatever happens in between.
//!
//! `PROPTEST_CASES` says how many cases are drawn, `PROPTEST_RNG_SEED` which; the seed is printed
//! when one fails, and its smallest case becomes a named test in [`shrunk`]. The mounts need root
//! and /dev/fuse.

mod core;
mod mounted;
mod node;
mod shrunk;

use std::sync::OnceLock;

use proptest::{prelude::*, test_runner::RngSeed};
use tesfs_fs::fuse::Passthrough;
use tesfs_pathtree::Clock;
use tesfs_tests::model::{Driver, Focus, Mismatch, Op, Profile, ops, run};

use crate::{core::Core, mounted::Mounted};

/// Operations in one case, at most.
const OPS_MAX: usize = 40;

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn a_tree_agrees_with_the_model(ops in ops(Profile::Core, Focus::Tree, OPS_MAX)) {
        agrees(&mut Core::new(), &ops)?;
    }

    #[test]
    fn two_files_agree_with_the_model(ops in ops(Profile::Core, Focus::Bytes, OPS_MAX)) {
        agrees(&mut Core::new(), &ops)?;
    }
}

proptest! {
    #![proptest_config(cases(75))]

    #[test]
    fn a_tree_agrees_through_passthrough(ops in ops(Profile::Mounted, Focus::Tree, OPS_MAX)) {
        agrees(&mut Mounted::new(Passthrough::Auto), &ops)?;
    }

    #[test]
    fn two_files_agree_through_passthrough(ops in ops(Profile::Mounted, Focus::Bytes, OPS_MAX)) {
        agrees(&mut Mounted::new(Passthrough::Auto), &ops)?;
    }

    #[test]
    fn a_tree_agrees_through_the_cache(ops in ops(Profile::Mounted, Focus::Tree, OPS_MAX)) {
        agrees(&mut Mounted::new(Passthrough::Off), &ops)?;
    }

    #[test]
    fn two_files_agree_through_the_cache(ops in ops(Profile::Mounted, Focus::Bytes, OPS_MAX)) {
        agrees(&mut Mounted::new(Passthrough::Off), &ops)?;
    }
}

/// So many cases, unless the environment says otherwise.
fn cases(count: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        // A case is long, and what shrinks it is mostly leaving operations out.
        max_shrink_iters: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = count;
    }
    config.rng_seed = RngSeed::Fixed(seed());
    config
}

/// What the cases of this process are drawn from.
fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match ProptestConfig::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => Clock::system().now_ns().unsigned_abs(),
    })
}

fn agrees(driver: &mut impl Driver, ops: &[Op]) -> Result<(), TestCaseError> {
    let failed = |mismatch: Mismatch| format!("{mismatch} (PROPTEST_RNG_SEED={})", seed());
    run(driver, ops).map_err(|mismatch| TestCaseError::fail(failed(mismatch)))
}
