//! A filesystem small enough to be obviously right, and what is done to it beside the real one.
//!
//! [`Op`]s are drawn by proptest from tiny alphabets, so that most of them land on something that
//! exists. [`Run`] does each to the [`Model`] and to a [`Driver`], and compares the answer and
//! then the whole tree. The drivers are in the tests: the core without a mount, and a mount.

mod compare;
mod driver;
mod file;
mod inode;
mod op;
mod places;
mod run;
mod tree;

pub use self::{
    driver::{Access, Answer, Driver, Found, Seen},
    op::{Allocate, At, Focus, How, Made, Op, Profile, RenameMode, XattrEdit, ops},
    run::{Mismatch, Run, run},
    tree::{Model, Refusal},
};
