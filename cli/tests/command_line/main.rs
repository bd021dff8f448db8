//! The `tesfs` command as a person runs it, without a mount.

#![expect(clippy::unwrap_used, reason = "what a test builds on fails like the test itself")]

mod bench;
mod branches;
mod buckets;
mod config;
mod copies;
mod damage;
mod help;
mod history;
mod merging;
mod owners;
mod pruning;
mod settings;
mod times;
