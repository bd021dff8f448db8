//! Tells the kernel what it must no longer believe.
//!
//! The kernel takes a directory's lock to drop a name, and whoever holds that lock may be waiting
//! for an answer of ours: so notices are sent by threads that hold no request. One of them sends what
//! takes such a lock. An answer that whoever holds it waits for may itself have to wait until
//! attributes were dropped: so those are dropped by the other one, which waits for no lock.

use std::{
    ffi::OsStr,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use fuser::Notifier;
use tesfs_pathtree::Name;
use tracing::{debug, error};

use super::{
    convert::inode_number,
    nodes::{NodeId, SightId},
};
use crate::Touched;

/// Notices that may wait. Each one that is waited for belongs to a process in close(2); when there
/// are more, the sender gets a thread of its own rather than block the thread of a request.
const WAITING_MAX: usize = 4096;

/// What is to be sent.
pub(super) enum Notice {
    /// These names must be looked up again, and their directories listed again.
    Names(Vec<(NodeId, Name)>),
    /// Attributes of these nodes are out of date.
    Attributes(Vec<NodeId>),
    /// A node's attributes and cached bytes are out of date.
    Node(NodeId),
    /// Cached bytes of a node are out of date.
    Bytes { node: NodeId, offset: u64, len: u64 },
    /// Something changed in a filesystem without the kernel's doing; what that means is found out
    /// on the thread.
    Touched(SightId, Touched),
    /// Another filesystem is shown.
    Stale(Stale),
}

/// What the kernel must not believe any more after a switch.
pub(super) struct Stale {
    /// Names that lead elsewhere.
    pub(super) names: Vec<(NodeId, Name)>,
    /// Directories that may list other names, or whose names may have other attributes.
    pub(super) directories: Vec<NodeId>,
    /// Nodes that may have other attributes.
    pub(super) attributes: Vec<NodeId>,
}

impl Stale {
    /// Sends all of it; what the kernel does not take keeps it from nothing else.
    fn send(&self, notifier: &Notifier) -> io::Result<()> {
        let names = self.names.iter().map(|(parent, name)| {
            let parent = inode_number(*parent);
            notifier.inval_entry(parent, name.as_os_str())
        });
        let directories = self.directories.iter().map(|directory| {
            let directory = inode_number(*directory);
            // Nothing has this name: the kernel only takes the directory's lock, so that every
            // lookup and listing that is under way there has ended before the rest is dropped.
            notifier.inval_entry(directory, OsStr::new("."))?;
            notifier.inval_inode(directory, 0, 0)
        });
        let attributes =
            self.attributes.iter().map(|node| notifier.inval_inode(inode_number(*node), -1, 0));
        names.chain(directories).chain(attributes).fold(Ok(()), io::Result::and)
    }
}

/// What is done once a notice was sent: an answer that had to wait for it.
pub(super) type Then = Box<dyn FnOnce() + Send>;

/// A notice, and what waits for it.
type Message = (Notice, Option<Then>);

/// Turns something that changed behind the kernel's back into notices.
pub(super) type Resolve = Box<dyn Fn(SightId, &Touched) -> Vec<Notice> + Send + Sync>;

/// Where notices are handed in.
#[derive(Clone)]
pub(super) struct Notices {
    /// Those of attributes alone, which take no lock of the kernel that a request holds.
    attributes: SyncSender<Message>,
    others: SyncSender<Message>,
}

/// The other ends, before there is a session to send through.
pub(super) struct Outbox {
    attributes: Receiver<Message>,
    others: Receiver<Message>,
}

/// Returns both ends.
pub(super) fn notices() -> (Notices, Outbox) {
    let (attributes, to_attributes) = sync_channel(WAITING_MAX);
    let (others, to_others) = sync_channel(WAITING_MAX);
    (Notices { attributes, others }, Outbox { attributes: to_attributes, others: to_others })
}

impl Notices {
    /// Hands in a notice; does not block.
    pub(super) fn send(&self, notice: Notice) {
        self.hand_in((notice, None));
    }

    /// Hands in a notice and does `then` when the kernel has heard it; does not block.
    pub(super) fn send_then(&self, notice: Notice, then: Then) {
        self.hand_in((notice, Some(then)));
    }

    fn hand_in(&self, message: Message) {
        let queue = match message.0 {
            Notice::Attributes(_) => &self.attributes,
            _ => &self.others,
        };
        match queue.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => {
                let sender = queue.clone();
                let spawned = thread::Builder::new().name("fuse-notices".into()).spawn(move || {
                    // It fails only when the mount has ended, and with it all that waits.
                    drop(sender.send(message));
                });
                if let Err(err) = spawned {
                    error!(error = %err, "a notice to the kernel is lost");
                }
            }
            // The mount has ended: nothing is cached any more, and nobody waits.
            Err(TrySendError::Disconnected((_, then))) => {
                if let Some(then) = then {
                    then();
                }
            }
        }
    }
}

impl Outbox {
    /// Starts the threads that send, until all [`Notices`] are dropped.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(self, notifier: &Notifier, resolve: Resolve) -> io::Result<()> {
        let resolve = Arc::new(resolve);
        for (name, receiver) in [("fuse-attrs", self.attributes), ("fuse-notify", self.others)] {
            let (notifier, resolve) = (notifier.clone(), Arc::clone(&resolve));
            let run = move || {
                for (notice, then) in receiver {
                    send(&notifier, &resolve, &notice);
                    if let Some(then) = then {
                        then();
                    }
                }
            };
            drop(thread::Builder::new().name(name.into()).spawn(run)?);
        }
        Ok(())
    }
}

fn send(notifier: &Notifier, resolve: &Resolve, notice: &Notice) {
    let result = match notice {
        Notice::Names(names) => names.iter().try_for_each(|(parent, name)| {
            let parent = inode_number(*parent);
            notifier.inval_entry(parent, name.as_os_str())?;
            // The listing of a directory is cached apart from its names.
            notifier.inval_inode(parent, 0, 0)
        }),
        // A negative offset spares the cached bytes.
        Notice::Attributes(nodes) => {
            nodes.iter().try_for_each(|node| notifier.inval_inode(inode_number(*node), -1, 0))
        }
        Notice::Node(node) => notifier.inval_inode(inode_number(*node), 0, 0),
        Notice::Bytes { node, offset, len } => {
            let (offset, len) = (offset.cast_signed(), len.cast_signed());
            notifier.inval_inode(inode_number(*node), offset, len)
        }
        Notice::Stale(stale) => stale.send(notifier),
        Notice::Touched(sight, touched) => {
            resolve(*sight, touched).iter().for_each(|notice| send(notifier, resolve, notice));
            Ok(())
        }
    };
    if let Err(err) = result {
        debug!(error = %err, "the kernel did not take a notice");
    }
}
