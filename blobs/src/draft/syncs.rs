//! Syncs of draft files, and which drafts the disk refused to keep.

use std::{
    collections::HashSet,
    fs::File,
    io,
    sync::{Mutex, MutexGuard},
};

use super::file::lock;

/// The drafts whose bytes a sync could not bring to the disk.
///
/// The kernel tells of lost writes once: a file that is opened later syncs as if nothing had
/// happened. So a draft that was refused stays that, whoever asks next, until its bytes are in
/// another file.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    /// Protects the numbers of refused drafts; taken last.
    refused: Mutex<HashSet<u64>>,
    #[cfg(test)]
    instead: tests::Instead,
}

impl Syncs {
    /// Makes the bytes of the draft `number` survive a power cut.
    pub(crate) fn sync(&self, number: u64, file: &File) -> io::Result<()> {
        if self.refused().contains(&number) {
            return Err(io::Error::other("an earlier sync of this draft failed"));
        }
        #[cfg(test)]
        let synced = self.instead.sync(number, file);
        #[cfg(not(test))]
        let synced = file.sync_data();
        if synced.is_err() {
            self.refused().insert(number);
        }
        synced
    }

    /// Notes that the draft's bytes are in another file, or that nobody wants them any more.
    pub(crate) fn forget(&self, number: u64) {
        self.refused().remove(&number);
    }

    fn refused(&self) -> MutexGuard<'_, HashSet<u64>> {
        lock(&self.refused)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fmt};

    use super::*;

    type Act = Box<dyn FnOnce(&File) -> io::Result<()> + Send>;

    /// What the next sync of a draft does in place of what the disk would.
    #[derive(Default)]
    pub(super) struct Instead(Mutex<HashMap<u64, Act>>);

    impl Instead {
        pub(super) fn sync(&self, number: u64, file: &File) -> io::Result<()> {
            let act = lock(&self.0).remove(&number);
            act.map_or_else(|| file.sync_data(), |act| act(file))
        }
    }

    impl fmt::Debug for Instead {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(out, "{} acts", lock(&self.0).len())
        }
    }

    impl Syncs {
        /// Lets the next sync of a draft do something else.
        pub(crate) fn instead(
            &self,
            number: u64,
            act: impl FnOnce(&File) -> io::Result<()> + Send + 'static,
        ) {
            lock(&self.instead.0).insert(number, Box::new(act));
        }

        /// Lets the next sync of a draft fail as on a bad disk.
        pub(crate) fn fail_once(&self, number: u64) {
            self.instead(number, |_| Err(io::Error::from_raw_os_error(5)));
        }
    }
}
