//! The `tesfs` command as a person runs it, without a mount.

mod bench;
mod buckets;
mod config;
mod copies;
mod damage;
mod help;
mod owners;
