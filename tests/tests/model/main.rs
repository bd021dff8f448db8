//! The core, and mounts of it, do what the model does, whatever happens in between.
//!
//! `PROPTEST_CASES` says how many cases are drawn, `PROPTEST_RNG_SEED` which; the seed is printed
//! when one fails, and its smallest case becomes a named test in [`shrunk`]. The mounts need root
//! and /dev/fuse.

mod core;
mod mounted;
mod node;
mod shrunk;

use proptest::{prelude::*, test_runner::RngSeed};
use tesfs_fs::fuse::Passthrough;
use tesfs_pathtree::Clock;
use tesfs_tests::model::{Driver, Op, Profile, ops, run};

use crate::{core::Core, mounted::Mounted};

/// Operations in one case, at most.
const OPS_MAX: usize = 40;

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn the_core_agrees_with_the_model(ops in ops(Profile::Core, OPS_MAX)) {
        agrees(&mut Core::new(), &ops)?;
    }
}

proptest! {
    #![proptest_config(cases(50))]

    #[test]
    fn a_passthrough_mount_agrees_with_the_model(ops in ops(Profile::Mounted, OPS_MAX)) {
        agrees(&mut Mounted::new(Passthrough::Auto), &ops)?;
    }

    #[test]
    fn a_cached_mount_agrees_with_the_model(ops in ops(Profile::Mounted, OPS_MAX)) {
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
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => Clock::system().now_ns().unsigned_abs(),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    println!("PROPTEST_RNG_SEED={seed}");
    config
}

fn agrees(driver: &mut impl Driver, ops: &[Op]) -> Result<(), TestCaseError> {
    run(driver, ops).map_err(|mismatch| TestCaseError::fail(mismatch.to_string()))
}
