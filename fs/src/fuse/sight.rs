//! What a mount shows: one filesystem at a time, and those it showed before while anything is open
//! in them.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        mpsc::{Receiver, Sender, channel},
    },
};

use arc_swap::{ArcSwap, Guard};

use super::nodes::SightId;
use crate::Vfs;

/// One filesystem that a mount shows or showed.
///
/// A request has it as long as it may make something of it known to the kernel, and no longer: a
/// switch waits for that. Handles keep the [`Vfs`] alone.
pub(super) struct Sight {
    pub(super) id: SightId,
    pub(super) vfs: Arc<Vfs>,
    /// Nothing is ever sent: its end tells that no request has this sight any more.
    _in_use: Sender<Infallible>,
}

/// The filesystems of one mount.
pub(super) struct Sights {
    /// Changed with the table of nodes locked, so that both agree for whoever holds that lock.
    current: ArcSwap<Sight>,
    /// Protects which are known; innermost.
    known: Mutex<Known>,
}

struct Known {
    /// Those in which something may be open.
    all: Vec<(SightId, Weak<Vfs>)>,
    next: u32,
}

/// Tells when no request has a sight any more that is not shown.
pub(super) struct InUse(Receiver<Infallible>);

impl InUse {
    /// Waits until the last one has ended.
    pub(super) fn wait(self) {
        let Err(_ended) = self.0.recv();
    }
}

impl Sights {
    /// Begins with one.
    pub(super) fn new(vfs: &Arc<Vfs>) -> (Self, InUse) {
        let (sight, in_use) = Sight::new(SightId::FIRST, vfs);
        let known = Known { all: vec![(sight.id, Arc::downgrade(vfs))], next: 1 };
        let sights = Self { current: ArcSwap::from_pointee(sight), known: Mutex::new(known) };
        (sights, in_use)
    }

    /// Returns what is shown.
    pub(super) fn now(&self) -> Guard<Arc<Sight>> {
        self.current.load()
    }

    /// Returns a filesystem that was shown, while anything is open in it.
    pub(super) fn find(&self, id: SightId) -> Option<Arc<Vfs>> {
        self.lock().all.iter().find(|(known, _)| *known == id)?.1.upgrade()
    }

    /// Returns every filesystem in which anything may be open.
    pub(super) fn all(&self) -> Vec<Arc<Vfs>> {
        self.lock().all.iter().filter_map(|(_, vfs)| vfs.upgrade()).collect()
    }

    /// Makes a sight of a filesystem, with the id it had if it was shown before.
    pub(super) fn begin(&self, vfs: &Arc<Vfs>) -> (Sight, InUse) {
        let mut known = self.lock();
        known.all.retain(|(_, vfs)| vfs.strong_count() > 0);
        let found = known.all.iter().find(|(_, known)| known.as_ptr() == Arc::as_ptr(vfs));
        if let Some((id, _)) = found {
            return Sight::new(*id, vfs);
        }
        let id = SightId(known.next);
        known.next += 1;
        known.all.push((id, Arc::downgrade(vfs)));
        Sight::new(id, vfs)
    }

    /// Shows a sight from now on.
    pub(super) fn show(&self, sight: Sight) {
        self.current.store(Arc::new(sight));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sight {
    fn new(id: SightId, vfs: &Arc<Vfs>) -> (Self, InUse) {
        let (sender, receiver) = channel();
        (Self { id, vfs: Arc::clone(vfs), _in_use: sender }, InUse(receiver))
    }
}
