//! The model of tesfs: ids, clock, tree, history, and the node database they live in.
//!
//! Floor 0. Everything above names things by the types of this crate and changes them through
//! [`Db::write`], so that a change that spans crates is one transaction.

pub mod boot;
pub mod branch;
pub mod bucket;
mod clock;
mod conflict_name;
pub mod converge;
mod db;
mod id;
mod identity;
pub mod moment;
mod name;
mod pattern;
mod period;
pub mod retention;
pub mod schedule;
pub mod settings;
pub mod tree;

pub use crate::{
    clock::Clock,
    db::{
        Chain, CheckDepth, Db, DbError, DbSettings, Doing, Migration, OpenError, Room, Schema,
        Synchronous, Tx, Wake, outbox,
    },
    id::{
        ActorNumber, BlobNumber, BranchNumber, BucketId, BucketNumber, EdgeId, Hlc, Ino, InodeId,
        OperationId, Stamp,
    },
    identity::{DeviceId, Identity, IdentityError},
    name::{NAME_BYTES_MAX, Name, NameError},
    pattern::Patterns,
    period::Period,
};

/// The tables of this crate.
pub const SCHEMA: Schema = Schema {
    owner: "pathtree",
    migrations: &[
        Migration { version: 1, name: "tree", sql: include_str!("../migrations/0001-tree.sql") },
        Migration {
            version: 2,
            name: "history",
            sql: include_str!("../migrations/0002-history.sql"),
        },
    ],
};
