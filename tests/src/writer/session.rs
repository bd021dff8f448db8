//! A handle of a writer, from its open to its close.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Stop, Writer};
use crate::close::close;
use crate::content::fill;
use crate::state::{Bytes, File, FileId, Floor, Piece};

/// How many writes a handle sees at most between open and close.
const WRITES_MAX: u64 = 4;
/// Files stay below this, so that a round's versions fit in memory.
pub(super) const SIZE_MAX: usize = 768 * 1024;

/// A file open for writing.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: fs::File,
    pub(super) id: FileId,
    pub(super) name: String,
    pub(super) content: Vec<u8>,
    pub(super) append: bool,
    pub(super) dirty: bool,
    pub(super) fsynced: bool,
}

impl Writer<'_> {
    pub(super) fn open_new(&mut self, name: &str) -> Result<Open, Stop> {
        let id = self.next_file;
        self.next_file += 1;
        let mut after = self.state.clone();
        after.names.insert(name.to_owned(), id);
        after.files.insert(id, File::created());
        let file = self.act(&format!("create {name} as file {id}"), after, |dir| {
            OpenOptions::new().read(true).write(true).create_new(true).open(dir.join(name))
        })?;
        let name = name.to_owned();
        let content = Vec::new();
        Ok(Open { file, id, name, content, append: false, dirty: true, fsynced: false })
    }

    pub(super) fn open_existing(
        &mut self,
        name: &str,
        options: &OpenOptions,
    ) -> Result<Open, Stop> {
        let id = self.state.names[name];
        self.close_held(id)?;
        let content = match self.state.file(name).and_then(File::current) {
            Some(bytes) => bytes.to_vec(),
            None => self.call(&format!("read {name}"), |dir| fs::read(dir.join(name)))?,
        };
        let file = self.call(&format!("open {name}"), |dir| options.open(dir.join(name)))?;
        let name = name.to_owned();
        Ok(Open { file, id, name, content, append: false, dirty: false, fsynced: false })
    }

    /// Closes the held handle if it is one of file `id`: a second writer of a file joins its line;
    /// the sessions are kept apart.
    pub(super) fn close_held(&mut self, id: FileId) -> Result<(), Stop> {
        match self.open.take_if(|held| held.id == id) {
            Some(held) => self.close(held),
            None => Ok(()),
        }
    }

    /// Copies `input`, which holds `bytes`, into the empty `open` by copy_file_range(2).
    pub(super) fn copy_whole(
        &mut self,
        input: &fs::File,
        open: &mut Open,
        bytes: &Bytes,
    ) -> Result<(), Stop> {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() as u64 {
            let rest = bytes.len() - usize::try_from(from).expect("no longer than the bytes");
            let copied = self.call(&format!("copy {rest} into {}", open.name), |_| {
                let copy = rustix::fs::copy_file_range;
                Ok(copy(input, Some(&mut from), &open.file, Some(&mut to), rest)?)
            })?;
            if copied == 0 {
                let what = format!("a copy into {} ends at {from}, {rest} too early", open.name);
                self.signals.stopped.store(true, Ordering::Release);
                return Err(Stop::Wrong { what });
            }
        }
        open.content.clone_from(bytes);
        open.dirty = true;
        self.counts.copies += 1;
        Ok(())
    }

    pub(super) fn write_and_close(&mut self, mut open: Open) -> Result<(), Stop> {
        for _ in 0..=self.random.below(WRITES_MAX) {
            self.write(&mut open)?;
            if self.random.chance(8) {
                self.fsync(&mut open)?;
            }
        }
        self.close(open)
    }

    pub(super) fn write(&mut self, open: &mut Open) -> Result<(), Stop> {
        let size = open.content.len();
        let mut offset = if open.append { size } else { self.random.index(size + 1) };
        let mut len = self.length();
        if offset + len > SIZE_MAX {
            if open.append {
                return Ok(());
            }
            offset /= 2;
            len = len.min(SIZE_MAX / 2);
        }
        let at = u64::try_from(offset).expect("an offset fits");
        let bytes: Bytes = Arc::new(fill(open.id, self.next_write, at, len));
        self.next_write += 1;
        if open.fsynced {
            // Bytes reach the disk in any order: beside each state since that fsync.
            for state in self.earlier.iter_mut().chain([&mut self.state]) {
                if let Some(File { floor: Floor::Fsynced { later, .. }, .. }) =
                    state.files.get_mut(&open.id)
                {
                    later.push(Piece { offset, bytes: Arc::clone(&bytes) });
                }
            }
        }
        let what = format!("write {} {len} at {offset} as {}", open.name, self.next_write - 1);
        if open.append {
            let file = &mut open.file;
            self.call(&what, |_| file.write_all(&bytes))?;
        } else {
            self.call(&what, |_| open.file.write_all_at(&bytes, at))?;
        }
        let end = offset + bytes.len();
        open.content.resize(size.max(end), 0);
        open.content[offset..end].copy_from_slice(&bytes);
        open.dirty = true;
        Ok(())
    }

    pub(super) fn fsync(&mut self, open: &mut Open) -> Result<(), Stop> {
        let mut after = self.state.clone();
        let durable = if open.dirty {
            after.fsync(open.id, Arc::new(open.content.clone()));
            true
        } else {
            after.fsync_clean(open.id)
        };
        self.act(&format!("fsync {}", open.name), after, |_| open.file.sync_all())?;
        self.counts.fsyncs += 1;
        open.fsynced |= open.dirty;
        if durable {
            self.forget_earlier();
        }
        Ok(())
    }

    pub(super) fn close(&mut self, open: Open) -> Result<(), Stop> {
        let mut after = self.state.clone();
        if open.dirty {
            after.close(open.id, Arc::new(open.content));
        }
        let file = open.file;
        self.act(&format!("close {}", open.name), after, |_| close(file))?;
        self.counts.closes += u64::from(open.dirty);
        Ok(())
    }

    /// Mostly small, sometimes above what fits in a row, sometimes large.
    fn length(&mut self) -> usize {
        match self.random.below(20) {
            0 => 0,
            1..=11 => self.random.index(6_000),
            12..=16 => self.random.index(60_000),
            17..=18 => self.random.index(200_000),
            _ => 4096 * self.random.index(64),
        }
    }
}
