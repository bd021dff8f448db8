//! Bad input: each with a clear message, a hint of what to do now, the documented exit code, and
//! nothing lost.
//!
//! Each test wants a process of its own, as `cargo nextest` gives it: a program that one thread
//! starts inherits what another has open until its exec, and that close publishes.

#![expect(clippy::unwrap_used, reason = "what a test builds on fails like the test itself")]

mod bench;
mod blobs;
mod capacity;
mod daemon;
mod data_directory;
mod database;
mod export;
mod full_disk;
mod import;
mod kill;
mod machine;
mod mount_point;
mod names;
mod outsider;
mod ran;
mod signals;
