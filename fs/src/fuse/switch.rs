//! Switching a live mount to another branch, or to what was.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, PoisonError, mpsc::channel},
};

use tesfs_pathtree::{Chain, Ino};
use tracing::error;

use super::{
    notify::{Notice, Stale},
    shared::Shared,
};
use crate::{FsError, Vfs};

/// Rows that the kernel is told of at once: so many names are in memory, and the notifier goes on
/// with other things in between.
const ROWS_PER_NOTICE: usize = 1000;

impl Shared {
    /// Shows another filesystem of the same bucket from now on. When it returns, the kernel knows
    /// nothing any more that is otherwise there. Returns how many files are open in what was shown.
    ///
    /// Requests that are under way end in what was shown when they began; handles stay in it. A
    /// name that such a request makes known is in the directory's log by the time that is read,
    /// and the kernel keeps the directory locked until it has taken the answer in: so whatever it
    /// learned of what was shown before, it is told to forget after that.
    pub(super) fn switch(&self, to: &Arc<Vfs>) -> Result<usize, FsError> {
        let mut in_use = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
        let from = Arc::clone(&self.sights.now().vfs);
        if Arc::ptr_eq(&from, to) {
            return Ok(0);
        }
        // Asked before anything is changed, so that a database that can not answer changes nothing.
        from.changed_apart(to)?;
        to.take_over(&from);
        let (sight, next_in_use) = self.sights.begin(to);
        self.observe(&sight);
        let led_away = {
            let mut nodes = self.nodes.lock();
            let led_away = nodes.begin_switch(sight.id);
            self.sights.show(sight);
            led_away
        };
        if let Some(before) = in_use.replace(next_in_use) {
            before.wait();
        }
        // What callers do next is no part of what they did before.
        from.end_operations();
        if let Err(err) = self.tell_switched((&from, to), &led_away) {
            // What is read and written is right all the same; names and attributes may not be.
            error!(error = %Chain(&err), "the kernel may still believe names from before a switch");
        }
        let held = self.nodes.lock().end_switch();
        held.into_iter().for_each(|resume| resume(self));
        Ok(from.open_files())
    }

    /// Tells the kernel what it must not believe any more, and waits until it has heard.
    fn tell_switched(&self, (from, to): (&Vfs, &Vfs), led_away: &[Ino]) -> Result<(), FsError> {
        for inodes in led_away.chunks(ROWS_PER_NOTICE) {
            let mut names = Vec::new();
            for ino in inodes {
                names.extend(from.names(*ino)?);
            }
            let names = self.names_at(names);
            self.tell(Stale { names, directories: Vec::new(), attributes: Vec::new() });
        }
        let rows: Vec<Ino> = from.changed_apart(to)?.into_iter().collect();
        for rows in rows.chunks(ROWS_PER_NOTICE) {
            let stale = self.stale((from, to), rows)?;
            self.tell(stale);
        }
        Ok(())
    }

    fn stale(&self, (from, to): (&Vfs, &Vfs), rows: &[Ino]) -> Result<Stale, FsError> {
        let (mut names, mut directories, mut inodes) =
            (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for apart in from.apart(to, rows)? {
            names.extend(apart.names);
            directories.extend(apart.parents);
            inodes.insert(apart.ino);
        }
        let names = self.names_at(names);
        let nodes = self.nodes.lock();
        Ok(Stale {
            names,
            directories: directories.into_iter().map(|ino| nodes.own(ino)).collect(),
            attributes: inodes.into_iter().flat_map(|ino| nodes.all(ino)).collect(),
        })
    }

    /// Tells the kernel, and waits until it has heard. Not for the thread of a request.
    fn tell(&self, stale: Stale) {
        // Its end tells, also when the mount has ended and nobody is left to hear.
        let (heard, is_heard) = channel::<Infallible>();
        self.notices.send_then(Notice::Stale(stale), Box::new(move || drop(heard)));
        let Err(_heard) = is_heard.recv();
    }
}
