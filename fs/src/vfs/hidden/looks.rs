//! The looks of one mount: which views are shown under `.tesfs`, and the numbers that stand for
//! what is in them.
//!
//! A look is numbered, and the number of an inode in it is made of both numbers: nothing is kept
//! for an inode. A look is kept while the kernel knows any inode in it, and its number is given to
//! no other. One state of the tree is one look, whatever words led there, so that its pages are
//! cached once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tesfs_pathtree::{BranchNumber, Hlc, Ino, Name, tree::View};

use crate::error::FsError;

/// Set in the numbers of what is in a look.
const LOOK_BIT: u64 = 1 << 61;
/// Bits of a number that are the inode's own: a node gives out fewer in a lifetime.
const INO_BITS: u32 = 38;
/// Looks that have a number: 8 million states of the tree, each looked at after the one before was
/// forgotten.
const LOOKS_MAX: u64 = 1 << (61 - INO_BITS);

/// How long words mean the same time since they were last used: a program that goes through a
/// folder by its name is to see one state, and whoever comes back later another.
const WORDS_NS: i64 = 60_000_000_000;
/// A look that was just made is not forgotten before the kernel is told of it.
const JUST_NS: i64 = 1_000_000_000;
/// Looks, and words, that may be kept before those are dropped that nobody needs.
const KEPT_MIN: usize = 1024;

/// The look that shows what was removed; it is always there.
pub(super) const REMOVED: u64 = 0;

/// How a look shows its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Showing {
    /// As it was; it never changes.
    Still,
    /// A branch as it is now.
    Live,
    /// What was removed from its directories.
    Removed,
}

/// One view that is shown under `.tesfs`.
#[derive(Debug)]
pub(super) struct Look {
    number: u64,
    pub(super) view: View,
    pub(super) showing: Showing,
}

/// What makes two looks the same: the branch, and its newest change that shows.
pub(super) type State = (BranchNumber, Option<Hlc>);

/// The looks of one mount.
pub(super) struct Looks {
    /// Protects all of it; nothing else is locked under it.
    table: Mutex<Table>,
}

struct Table {
    looks: HashMap<u64, Kept>,
    by_state: HashMap<State, u64>,
    by_words: HashMap<Name, Said>,
    next: u64,
    /// How many there may be before it is looked for those that nobody needs.
    looks_max: usize,
    words_max: usize,
}

struct Kept {
    look: Arc<Look>,
    state: State,
    /// Lookups the kernel has not forgotten, of all inodes in it.
    lookups: u64,
    used_ns: i64,
}

/// What words were said to mean.
struct Said {
    look: u64,
    used_ns: i64,
    /// The time that was meant was over then; else it was cut off at the present.
    was_over: bool,
}

impl Look {
    /// Returns the number of an inode in this look.
    ///
    /// # Errors
    ///
    /// [`FsError::NumbersUsedUp`].
    pub(super) fn number(&self, ino: Ino) -> Result<Ino, FsError> {
        number(self.number, ino)
    }
}

/// Returns the number of an inode in the look of that number.
///
/// # Errors
///
/// [`FsError::NumbersUsedUp`].
pub(super) fn number(look: u64, ino: Ino) -> Result<Ino, FsError> {
    if ino.0 >> INO_BITS > 0 {
        return Err(FsError::NumbersUsedUp);
    }
    Ok(Ino(LOOK_BIT | look << INO_BITS | ino.0))
}

/// Says whether a number is one of those that are made of a look's and an inode's.
pub(super) fn is_in_look(ino: Ino) -> bool {
    ino.0 & LOOK_BIT != 0
}

impl Looks {
    /// Begins with the look that shows what was removed from `view`.
    pub(super) fn new(view: &View) -> Self {
        let look = Look { number: REMOVED, view: view.clone(), showing: Showing::Removed };
        let mut table = Table {
            looks: HashMap::new(),
            by_state: HashMap::new(),
            by_words: HashMap::new(),
            next: REMOVED + 1,
            looks_max: KEPT_MIN,
            words_max: KEPT_MIN,
        };
        // Its one reference is the mount's.
        let state = (view.branch, None);
        table.looks.insert(REMOVED, Kept { look: Arc::new(look), state, lookups: 1, used_ns: 0 });
        Self { table: Mutex::new(table) }
    }

    /// Forgets every look, and gives none of the next the number of one of `before`.
    #[cfg(any(test, feature = "fuse"))]
    pub(super) fn begin_behind(&self, before: &Self) {
        let next = before.lock().next;
        let mut table = self.lock();
        table.looks.retain(|number, _| *number == REMOVED);
        table.by_state.clear();
        table.by_words.clear();
        table.next = table.next.max(next);
    }

    /// Returns the look that a number is in, and the inode's own number; `None` if it was forgotten.
    pub(super) fn find(&self, ino: Ino, now_ns: i64) -> Option<(Arc<Look>, Ino)> {
        let (number, own) = parts(ino)?;
        let mut table = self.lock();
        let kept = table.looks.get_mut(&number)?;
        kept.used_ns = now_ns;
        Some((Arc::clone(&kept.look), own))
    }

    /// Returns the look at a state; a new one shows `view`.
    pub(super) fn at(
        &self,
        state: State,
        (view, showing): (View, Showing),
        now_ns: i64,
    ) -> Result<Arc<Look>, FsError> {
        let mut table = self.lock();
        if let Some(kept) =
            table.by_state.get(&state).copied().and_then(|n| table.looks.get_mut(&n))
        {
            kept.used_ns = now_ns;
            return Ok(Arc::clone(&kept.look));
        }
        if table.next >= LOOKS_MAX {
            return Err(FsError::NumbersUsedUp);
        }
        table.sweep_looks(now_ns);
        let number = table.next;
        table.next += 1;
        let look = Arc::new(Look { number, view, showing });
        let kept = Kept { look: Arc::clone(&look), state, lookups: 0, used_ns: now_ns };
        table.looks.insert(number, kept);
        table.by_state.insert(state, number);
        Ok(look)
    }

    /// Returns what words meant when they were used last, if that is not long ago and the time they
    /// mean did not end meanwhile; `is_over` says that it has ended.
    pub(super) fn said(&self, words: &Name, is_over: bool, now_ns: i64) -> Option<Arc<Look>> {
        let mut table = self.lock();
        let said = table.by_words.get_mut(words).filter(|said| said.holds(now_ns))?;
        if is_over && !said.was_over {
            return None;
        }
        said.used_ns = now_ns;
        let number = said.look;
        let kept = table.looks.get_mut(&number)?;
        kept.used_ns = now_ns;
        Some(Arc::clone(&kept.look))
    }

    /// Notes what words mean from now on. Of two who say the same at once the first is right.
    pub(super) fn say(
        &self,
        words: &Name,
        is_over: bool,
        look: Arc<Look>,
        now_ns: i64,
    ) -> Arc<Look> {
        if let Some(said) = self.said(words, is_over, now_ns) {
            return said;
        }
        let mut table = self.lock();
        table.sweep_words(now_ns);
        let said = Said { look: look.number, used_ns: now_ns, was_over: is_over };
        table.by_words.insert(words.clone(), said);
        look
    }

    /// Notes that the kernel knows an inode once more.
    pub(super) fn remember(&self, ino: Ino) {
        let Some((number, _)) = parts(ino) else { return };
        if let Some(kept) = self.lock().looks.get_mut(&number) {
            kept.lookups += 1;
        }
    }

    /// Notes that the kernel forgot so many lookups of an inode.
    pub(super) fn forget(&self, ino: Ino, lookups: u64) {
        let Some((number, _)) = parts(ino) else { return };
        let mut table = self.lock();
        if let Some(kept) = table.looks.get_mut(&number) {
            kept.lookups = kept.lookups.saturating_sub(lookups).max(u64::from(number == REMOVED));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Drops the looks that nobody needs, once there are twice as many as there were needed.
    fn sweep_looks(&mut self, now_ns: i64) {
        if self.looks.len() < self.looks_max {
            return;
        }
        let is_needed = |kept: &Kept| kept.lookups > 0 || is_within(JUST_NS, kept.used_ns, now_ns);
        for (_, gone) in self.looks.extract_if(|_, kept| !is_needed(kept)) {
            self.by_state.remove(&gone.state);
        }
        self.looks_max = KEPT_MIN.max(2 * self.looks.len());
    }

    fn sweep_words(&mut self, now_ns: i64) {
        if self.by_words.len() < self.words_max {
            return;
        }
        let looks = &self.looks;
        self.by_words.retain(|_, said| said.holds(now_ns) && looks.contains_key(&said.look));
        if self.by_words.len() >= KEPT_MIN {
            // More in a minute than anybody means: those said again mean their time anew.
            self.by_words.clear();
        }
        self.words_max = KEPT_MIN;
    }
}

impl Said {
    fn holds(&self, now_ns: i64) -> bool {
        is_within(WORDS_NS, self.used_ns, now_ns)
    }
}

/// Says whether `then_ns` was not long ago; a clock that was set back makes everything long ago.
fn is_within(length_ns: i64, then_ns: i64, now_ns: i64) -> bool {
    (0..length_ns).contains(&now_ns.saturating_sub(then_ns))
}

/// Returns the number of the look that a number is in, and the inode's own.
fn parts(ino: Ino) -> Option<(u64, Ino)> {
    let own = Ino(ino.0 & ((1 << INO_BITS) - 1));
    is_in_look(ino).then_some(((ino.0 & !LOOK_BIT) >> INO_BITS, own))
}

#[cfg(test)]
mod tests;
