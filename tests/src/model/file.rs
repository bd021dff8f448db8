//! What the model knows of a regular file: its versions, and the line of its writers.

use std::{cell::Cell, rc::Rc};

use super::driver::Access;

/// Bytes up to this many survive a power cut together with their version's row.
const IN_ROW_MAX: usize = 16 * 1024;

/// One version: bytes that were published.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) bytes: Rc<Vec<u8>>,
    /// The bytes survive a power cut. Versions that share their bytes share this.
    settled: Rc<Cell<bool>>,
}

impl Version {
    fn new(bytes: Vec<u8>, settled: bool) -> Self {
        Self { bytes: Rc::new(bytes), settled: Rc::new(Cell::new(settled)) }
    }
}

/// The bytes that all writers of a file share until they are published.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    writers: usize,
    dirty: bool,
    /// Its file was created by this line, and nothing was published since.
    owns_birth: bool,
    /// The bytes are those of another version, whole.
    adopted: Option<Version>,
    /// How writers reach the file behind the line.
    access: Access,
    /// What was published last is in that very file.
    in_place: bool,
    /// The bytes as they were at the last fsync, and after each change since: one of these is
    /// recovered for every byte. Empty where nothing was fsynced since the last publish.
    since_sync: Vec<Vec<u8>>,
}

/// A regular file.
#[derive(Debug)]
pub(super) struct File {
    versions: Vec<Version>,
    line: Option<Line>,
    /// A crash ended this line, and nobody has looked yet at what is left of it.
    ended: Option<Line>,
}

/// What a file is after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It has a version.
    Stands,
    /// A power cut took its only version, and its names with it.
    Gone,
}

impl File {
    /// An empty file with nobody in it.
    pub(super) fn new() -> Self {
        Self { versions: vec![Version::new(vec![], true)], line: None, ended: None }
    }

    /// An empty file that is open for writing.
    pub(super) fn created() -> Self {
        let mut file = Self::new();
        file.join();
        file.line.as_mut().expect("just joined").owns_birth = true;
        file
    }

    pub(super) fn published(&self) -> &Version {
        self.versions.last().expect("a file that can be seen has a version")
    }

    /// The bytes as writers see them; those published where there are no writers.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.line {
            Some(line) => &line.bytes,
            None => &self.published().bytes,
        }
    }

    pub(super) fn has_line(&self) -> bool {
        self.line.is_some()
    }

    pub(super) fn join(&mut self) {
        let bytes = self.published().bytes.to_vec();
        let line = self.line.get_or_insert_with(|| Line {
            bytes,
            writers: 0,
            dirty: false,
            owns_birth: false,
            adopted: None,
            access: Access::Served,
            in_place: false,
            since_sync: vec![],
        });
        line.writers += 1;
    }

    /// Notes how one more writer reaches the file behind the line.
    pub(super) fn note_access(&mut self, access: Access) {
        let line = self.line();
        if line.access != Access::Direct && access != Access::Served {
            line.access = access;
        }
    }

    /// Takes one writer off the line, which publishes when it was the last.
    pub(super) fn leave(&mut self, named: bool) {
        let line = self.line();
        line.writers -= 1;
        if line.writers == 0 {
            self.publish(named);
            self.line = None;
        }
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        if !data.is_empty() {
            self.change(|bytes| overwrite(bytes, offset, data));
        }
    }

    pub(super) fn resize(&mut self, size: usize) {
        let line = self.line();
        if size == 0 && line.bytes.is_empty() && !line.dirty {
            return;
        }
        self.change(|bytes| bytes.resize(size, 0));
        if self.line().in_place {
            // The version's own file was cut.
            self.publish_as(true, true);
        }
    }

    /// Makes a range zeros, in a file of at least `size` bytes.
    pub(super) fn zero(&mut self, offset: usize, end: usize, size: usize) {
        self.change(|bytes| {
            bytes.resize(size.max(bytes.len()), 0);
            let (start, end) = (offset.min(bytes.len()), end.min(bytes.len()));
            bytes[start..end].fill(0);
        });
    }

    /// Says whether the line would take the bytes of a whole version without copying them.
    pub(super) fn takes_whole(&self) -> bool {
        self.line
            .as_ref()
            .is_some_and(|line| line.access == Access::Served && line.bytes.is_empty())
    }

    pub(super) fn adopt(&mut self, version: &Version) {
        self.change(|bytes| *bytes = version.bytes.to_vec());
        let shares = version.bytes.len() > IN_ROW_MAX;
        self.line().adopted = shares.then(|| version.clone());
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let line = self.line();
        change(&mut line.bytes);
        line.dirty = true;
        line.adopted = None;
        if !line.since_sync.is_empty() {
            line.since_sync.push(line.bytes.clone());
        }
    }

    /// Makes the line's bytes the current version, if the file has a name, or if its version's own
    /// bytes were written.
    pub(super) fn publish(&mut self, named: bool) {
        self.publish_as(named, false);
    }

    /// Publishes; a version that `stays` in its file is not settled, however small.
    fn publish_as(&mut self, named: bool, stays: bool) {
        let is_wanted = |line: &&mut Line| line.dirty && (named || line.in_place);
        let Some(line) = self.line.as_mut().filter(is_wanted) else { return };
        let in_row = line.bytes.len() <= IN_ROW_MAX && !stays;
        let replaces_settled =
            line.in_place && self.versions.last().is_some_and(|version| version.settled.get());
        let settled = in_row || !line.since_sync.is_empty() || replaces_settled;
        let adopted = line.adopted.take();
        if let Some(adopted) = adopted.as_ref().filter(|_| settled) {
            adopted.settled.set(true);
        }
        line.in_place = line.access == Access::Direct && !in_row && adopted.is_none();
        if std::mem::take(&mut line.owns_birth) {
            self.versions.clear();
        }
        let version = adopted.unwrap_or_else(|| Version::new(line.bytes.clone(), settled));
        self.versions.push(version);
        line.dirty = false;
        line.since_sync.clear();
    }

    /// Makes what the line holds survive a crash; without a line, or with nothing new in it, the
    /// current version.
    pub(super) fn fsync(&mut self) {
        match self.line.as_mut().filter(|line| line.dirty) {
            Some(line) => line.since_sync = vec![line.bytes.clone()],
            None => self.settle_current(),
        }
    }

    pub(super) fn settle_current(&mut self) {
        self.published().settled.set(true);
        if let Some(line) = &mut self.line {
            // Also an empty file is promised its name.
            line.owns_birth = false;
        }
    }

    /// Settles every version; one that lies in the file of an idle writer gets its own.
    pub(super) fn settle_all(&mut self, idle: bool) {
        for version in &self.versions {
            version.settled.set(true);
        }
        if let Some(line) = self.line.as_mut().filter(|line| idle && !line.dirty) {
            line.in_place = false;
        }
    }

    /// Says whether a fresh reader may see `bytes`. What was fsynced, or is written directly, may
    /// be published before its close; once it is seen it is.
    pub(super) fn shows(&mut self, bytes: &[u8], named: bool) -> bool {
        let line = self.line.as_ref().filter(|line| line.dirty && line.bytes == bytes);
        let is_published = **self.published().bytes == *bytes;
        let may_be_early = line.is_some_and(|line| {
            line.in_place || line.access == Access::Either || !line.since_sync.is_empty()
        });
        // Looking at what is written in place publishes it.
        if may_be_early && (!is_published || line.is_some_and(|line| line.in_place)) {
            self.publish(named);
            return true;
        }
        is_published
    }

    /// Ends the line as a crash does, and says whether a version is left. [`File::recovers`] is
    /// asked afterwards about the bytes that are found.
    pub(super) fn crash(&mut self, power_cut: bool) -> After {
        let Some(line) = self.line.take() else { return self.cut(power_cut) };
        if !line.since_sync.is_empty() {
            self.versions.push(Version::new(line.bytes.clone(), true));
            self.ended = Some(line);
            return After::Stands;
        }
        let after = self.cut(power_cut);
        if line.in_place && line.dirty {
            self.ended = Some(line);
        }
        after
    }

    /// Says whether what is found is to be taken for the current version.
    pub(super) fn is_recovering(&self) -> bool {
        self.ended.is_some()
    }

    /// Says whether `found` is what a crash may have left, and takes it for the current version.
    pub(super) fn recovers(&mut self, found: &[u8]) -> bool {
        let Some(line) = self.ended.take() else { return false };
        let fits = if line.since_sync.is_empty() {
            // Written in place and not published: either, or the new bytes in the old size.
            let published = &self.published().bytes;
            **published == *found
                || line.bytes == found
                || line.bytes.get(..published.len()) == Some(found)
        } else {
            is_mixture(found, &line.since_sync)
        };
        let old = self.versions.pop().expect("a file that stands has a version");
        self.versions.push(Version::new(found.to_vec(), old.settled.get()));
        fits
    }

    /// A power cut takes every version that is not settled.
    fn cut(&mut self, power_cut: bool) -> After {
        if power_cut {
            self.versions.retain(|version| version.settled.get());
        }
        if self.versions.is_empty() {
            // Nobody will see it again, unless history is asked.
            self.versions.push(Version::new(vec![], true));
            return After::Gone;
        }
        After::Stands
    }

    fn line(&mut self) -> &mut Line {
        self.line.as_mut().expect("a writer is on the line")
    }
}

/// Says whether each byte, and the size, is that of one of `versions`.
fn is_mixture(found: &[u8], versions: &[Vec<u8>]) -> bool {
    versions.iter().any(|version| version.len() == found.len())
        && found.iter().enumerate().all(|(at, byte)| {
            versions.iter().any(|version| version.get(at).copied().unwrap_or(0) == *byte)
        })
}

fn overwrite(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}
