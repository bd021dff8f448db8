//! The core without a mount does what the model does, whatever happens in between.
//!
//! `PROPTEST_CASES` says how many cases are drawn; a seed that failed is printed, and its smallest
//! case becomes a named test in [`shrunk`].

mod core;
mod node;
mod shrunk;

use proptest::prelude::*;
use tesfs_tests::model::{Op, Profile, ops, run};

use crate::core::Core;

/// Operations in one case, at most.
const OPS_MAX: usize = 40;

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn the_core_agrees_with_the_model(ops in ops(Profile::Core, OPS_MAX)) {
        let outcome = run(&mut Core::new(), &ops);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}

/// So many cases, unless the environment says otherwise.
fn cases(count: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|asked| asked.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(count),
        // A case is long, and what shrinks it is mostly leaving operations out.
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Runs one case that failed once.
fn agree(ops: &[Op]) {
    if let Err(mismatch) = run(&mut Core::new(), ops) {
        panic!("{mismatch}");
    }
}
