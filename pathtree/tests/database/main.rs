//! The node database from outside: the plans of its statements, old files, and its speed.

#![expect(clippy::unwrap_used, reason = "what a test builds on fails like the test itself")]

mod fixture;
mod measure;
mod measure_branches;
mod measure_prune;
mod plans;
mod statements;
mod tree;
