//! Drafts: bytes that are written and not yet part of the store.

mod body;
mod copy;
mod file;
mod front;
mod layout;
mod pool;
mod syncs;

pub use self::{
    body::{Allocate, Draft},
    file::DraftFile,
    layout::DraftLayout,
    pool::DraftPool,
};
pub(crate) use self::{
    copy::{seek_data, seek_hole},
    front::Front,
    pool::numbers_in,
    syncs::Syncs,
};
