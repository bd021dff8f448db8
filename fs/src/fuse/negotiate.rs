//! What is agreed with the kernel when a mount begins.

use fuser::{InitFlags, KernelConfig};
use tracing::debug;

/// Largest read and write. Larger ones gain nothing, and each thread keeps a buffer of that size.
const REQUEST_BYTES_MAX: u32 = 1 << 20;

/// Requests the kernel may have under way that nobody waits for: readahead and releases.
const BACKGROUND_MAX: u16 = 64;

/// Filesystems that may lie between a file and its backing file: none. Backing files are on a
/// plain disk, and this filesystem may itself be stacked upon.
const STACK_DEPTH: u32 = 1;

/// Asked for where the kernel has it. Not asked for, with reason:
///
/// - writeback cache: it hides writes from drafts until long after close, and excludes passthrough;
/// - mmap of direct handles: their pages would land in the page cache of a node that stands for
///   another content;
/// - POSIX ACLs: the kernel would enforce what is not stored;
/// - export: node ids do not outlive the kernel's knowing them.
const WANTED: &[InitFlags] = &[
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_BIG_WRITES,
    InitFlags::FUSE_MAX_PAGES,
];

/// Agrees with the kernel, and says whether it takes backing files, should that be wanted.
pub(super) fn negotiate(config: &mut KernelConfig, wants_passthrough: bool) -> bool {
    for wanted in WANTED {
        if let Err(missing) = config.add_capabilities(*wanted) {
            debug!(?missing, "the kernel lacks a capability");
        }
    }
    let sized = config.set_max_write(REQUEST_BYTES_MAX).is_ok()
        && config.set_max_background(BACKGROUND_MAX).is_ok();
    assert!(sized, "only values out of range are refused");
    wants_passthrough
        && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
        && config.set_max_stack_depth(STACK_DEPTH).is_ok()
}
