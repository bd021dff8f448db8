//! What the tests above all floors share: a node as a child process, a disk whose
//! power can be cut, and a workload whose bytes describe themselves.
//!
//! Everything here drives the `tesfs` command as a user would; nothing links the product.

mod campaign;
mod check;
mod close;
mod content;
mod counts;
mod disk;
mod eventually;
pub mod model;
mod node;
mod observation;
mod oracle;
mod random;
mod rig;
mod state;
mod writer;

pub use campaign::{Campaign, Setup};
pub use check::Tally;
pub use close::close;
pub use content::{Word, describe, fill};
pub use counts::Counts;
pub use disk::{Disk, DiskError};
pub use eventually::eventually;
pub use node::{Mode, Node, NodeError, NodePlace, Verified, detach};
pub use observation::{Observation, Seen, observe};
pub use oracle::{Cut, Reconciled, Violation, reconcile};
pub use random::Random;
pub use rig::Rig;
pub use state::{Bytes, File, FileId, Floor, Piece, Replaced, State};
pub use writer::{Signals, Stop, Writer, WriterReport};
