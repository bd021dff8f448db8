//! What a filesystem under test is asked.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::op::{Allocate, How, Made, RenameMode, XattrEdit};

/// The errno of a refused call.
pub type Answer<T> = Result<T, i32>;

/// What stat shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    pub nlink: u64,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub atime_ns: i64,
    pub mtime_ns: i64,
}

/// What a seek found: the next data, if there is any, and the next hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub data: Option<u64>,
    pub hole: Option<u64>,
}

/// Whether what is written reaches the file behind a line without anybody's knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Served,
    Direct,
    /// The kernel decides.
    Either,
}

/// A filesystem under test. Paths are relative to its root; no call follows a symbolic link.
pub trait Driver {
    type Handle;

    /// The user and group that things belong to that are made here.
    fn owner(&self) -> (u32, u32);

    fn create(&mut self, at: &Path, mode: u32, how: How) -> Answer<Self::Handle>;
    fn make(&mut self, at: &Path, what: Made, target: &[u8], mode: u32) -> Answer<()>;
    fn link(&mut self, from: &Path, to: &Path) -> Answer<()>;
    fn unlink(&mut self, at: &Path) -> Answer<()>;
    fn rmdir(&mut self, at: &Path) -> Answer<()>;
    fn rename(&mut self, from: &Path, to: &Path, mode: RenameMode) -> Answer<()>;

    fn open_read(&mut self, at: &Path, direct: bool) -> Answer<Self::Handle>;
    fn open_write(&mut self, at: &Path, how: How, truncate: bool) -> Answer<Self::Handle>;
    /// Says whether the handle, open for writing, writes the file behind it directly.
    fn access(&self, handle: &Self::Handle) -> Access;
    /// Reads everything.
    fn read(&mut self, handle: &Self::Handle) -> Answer<Vec<u8>>;
    /// Writes everything; an appending handle does not look at the offset.
    fn write(&mut self, handle: &Self::Handle, offset: u64, data: &[u8]) -> Answer<()>;
    fn resize(&mut self, handle: &Self::Handle, size: u64) -> Answer<()>;
    fn resize_path(&mut self, at: &Path, size: u64) -> Answer<()>;
    fn allocate(
        &mut self,
        handle: &Self::Handle,
        mode: Allocate,
        offset: u64,
        len: u64,
    ) -> Answer<()>;
    /// Copies a range and says how much it was.
    fn copy(
        &mut self,
        from: (&Self::Handle, u64),
        to: (&Self::Handle, u64),
        len: u64,
    ) -> Answer<u64>;
    fn seek(&mut self, handle: &Self::Handle, offset: u64) -> Answer<Found>;
    fn flush(&mut self, handle: &Self::Handle) -> Answer<()>;
    fn fsync(&mut self, handle: &Self::Handle) -> Answer<()>;
    fn release(&mut self, handle: Self::Handle) -> Answer<()>;
    fn stat_handle(&mut self, handle: &Self::Handle) -> Answer<Seen>;

    fn chmod(&mut self, at: &Path, mode: u32) -> Answer<()>;
    fn chown(&mut self, at: &Path, uid: Option<u32>, gid: Option<u32>) -> Answer<()>;
    fn set_times(&mut self, at: &Path, atime_ns: i64, mtime_ns: i64) -> Answer<()>;
    fn set_xattr(&mut self, at: &Path, name: &str, value: &[u8], edit: XattrEdit) -> Answer<()>;
    fn remove_xattr(&mut self, at: &Path, name: &str) -> Answer<()>;

    fn stat(&mut self, at: &Path) -> Answer<Seen>;
    fn list(&mut self, at: &Path) -> Answer<Vec<Vec<u8>>>;
    fn read_link(&mut self, at: &Path) -> Answer<Vec<u8>>;
    fn xattrs(&mut self, at: &Path) -> Answer<BTreeMap<Vec<u8>, Vec<u8>>>;

    /// Lets time pass, where the driver has the clock.
    fn pause(&mut self, time: Duration);
    /// Makes everything that is published durable.
    fn seal(&mut self);
    /// Deletes what nothing names.
    fn collect(&mut self);
    /// Ends the node without a word and starts it again; the handles mean nothing afterwards.
    fn crash(&mut self, handles: Vec<Self::Handle>, power_cut: bool);
    /// Waits for what goes on after the last close.
    fn rest(&mut self) {}
    /// Looks at what lies behind the tree; `at_rest`, nothing is open and everything is settled.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn check(&mut self, at_rest: bool) -> Result<(), String>;
}
