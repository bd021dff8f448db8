//! Shows a [`Vfs`] as a folder, through the kernel's FUSE.
//!
//! The adapter converts requests and calls the core; what it decides is only what the kernel's
//! caches make it decide: which node id stands for which content ([`nodes`]), and whether the
//! kernel reads and writes a file by itself ([`passthrough`]).
//!
//! [`Vfs`]: crate::Vfs

mod adapter;
mod aside;
mod change;
mod convert;
mod directories;
mod handles;
mod later;
mod lease;
mod linger;
mod mount;
mod mount_point;
mod negotiate;
mod nodes;
mod notify;
mod open;
mod passthrough;
mod shared;
mod shown;
mod sight;
mod switch;
mod table;

pub use self::{
    mount::{Mode, Mount, MountOptions, Passthrough, Unmount, Unmounted},
    mount_point::{MountError, detach_stale, require_mountable, stale_mount},
};
