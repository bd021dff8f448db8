//! One writer of the crash campaigns: a seeded mix of operations in a directory of its own.
//!
//! It remembers what it was promised: the state after the last acknowledged call, and the state
//! that the call in flight would lead to. Its journal, outside the mount, tells the story.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::close::close;
use crate::content::{describe, fill};
use crate::eventually;
use crate::oracle::Cut;
use crate::random::Random;
use crate::state::{Bytes, File, FileId, Floor, Piece, State};

/// Few names, so that operations meet each other.
const NAMES: u64 = 18;
const DIRECTORIES: [&str; 3] = ["", "one/", "two/"];
/// How many writes a handle sees at most between open and close.
const WRITES_MAX: u64 = 4;
/// Files stay below this, so that a round's versions fit in memory.
const SIZE_MAX: usize = 768 * 1024;

/// How long a writer whose call failed waits for the node to be killed.
const END_WITHIN: Duration = Duration::from_secs(120);

/// Why a writer stopped.
#[derive(Debug)]
pub enum Stop {
    /// A call failed: expected once the node was killed.
    Failed { what: String, error: io::Error },
    /// A read did not show the last closed version.
    Wrong { what: String },
}

/// What a round leaves of a writer: where the tree may be, oldest first.
#[derive(Debug)]
pub struct WriterReport {
    pub candidates: Vec<State>,
    pub acknowledged: u64,
    pub stop: Option<Stop>,
}

/// A file open for writing.
#[derive(Debug)]
struct Open {
    file: fs::File,
    id: FileId,
    name: String,
    content: Vec<u8>,
    append: bool,
    dirty: bool,
    fsynced: bool,
}

/// What a campaign tells its writers.
#[derive(Debug, Default)]
pub struct Signals {
    /// No further operation.
    pub stop: AtomicBool,
    /// The power is being cut: what a call says from now on is no promise. (ext4 answers an fsync
    /// that is under way at the cut as if it had succeeded; a real machine would not answer.)
    pub dark: AtomicBool,
    /// Calls acknowledged so far, by all writers.
    pub acknowledged: AtomicU64,
    /// Some writer stopped by itself.
    pub stopped: AtomicBool,
}

/// Makes operations until it is told to stop or a call fails.
#[derive(Debug)]
pub struct Writer<'c> {
    signals: &'c Signals,
    dir: PathBuf,
    random: Random,
    cut: Cut,
    state: State,
    earlier: Vec<State>,
    in_flight: Option<State>,
    open: Option<Open>,
    next_file: FileId,
    next_write: u64,
    acknowledged: u64,
    journal: BufWriter<fs::File>,
}

impl<'c> Writer<'c> {
    /// Makes a writer for `dir`, which shows `state`; its journal is appended to `journal`.
    ///
    /// # Errors
    ///
    /// The directories or the journal could not be made.
    pub fn new(
        dir: &Path,
        state: State,
        random: Random,
        cut: Cut,
        journal: &Path,
        signals: &'c Signals,
    ) -> io::Result<Self> {
        for name in DIRECTORIES {
            fs::create_dir_all(dir.join(name))?;
        }
        let journal = OpenOptions::new().create(true).append(true).open(journal)?;
        Ok(Self {
            signals,
            dir: dir.to_path_buf(),
            next_file: state.files.keys().last().map_or(1, |last| last + 1),
            next_write: random.clone().below(1 << 20),
            random,
            cut,
            earlier: vec![state.clone()],
            state,
            in_flight: None,
            open: None,
            acknowledged: 0,
            journal: BufWriter::new(journal),
        })
    }

    /// Works until it is told to stop or a call fails.
    pub fn run(mut self) -> WriterReport {
        let mut stopped = None;
        while stopped.is_none() && !self.signals.stop.load(Ordering::Acquire) {
            let before = self.acknowledged;
            stopped = self.step().err();
            let more = self.acknowledged - before;
            self.signals.acknowledged.fetch_add(more, Ordering::AcqRel);
        }
        if stopped.is_none()
            && let Some(held) = self.open.take()
        {
            stopped = self.close(held).err();
        }
        if let Some(why) = &stopped {
            self.note(&format!("stopped: {why:?}"));
        }
        drop(self.journal.flush());
        let mut candidates = self.earlier;
        candidates.push(self.state);
        candidates.extend(self.in_flight);
        WriterReport { candidates, acknowledged: self.acknowledged, stop: stopped }
    }

    fn step(&mut self) -> Result<(), Stop> {
        match self.random.below(100) {
            0..=21 => self.create(),
            22..=33 => self.rewrite(),
            34..=45 => self.change(),
            46..=57 => self.append(),
            58..=66 => self.replace(),
            67..=76 => self.rename(),
            77..=79 => self.exchange(),
            80..=81 => self.link(),
            82..=89 => self.unlink(),
            90..=94 => self.read(),
            _ => self.hold(),
        }
    }

    fn create(&mut self) -> Result<(), Stop> {
        let name = self.any_name();
        if self.state.names.contains_key(&name) {
            return Ok(());
        }
        let open = self.open_new(&name)?;
        self.write_and_close(open)
    }

    /// Truncates at open and writes anew.
    fn rewrite(&mut self) -> Result<(), Stop> {
        let Some(name) = self.existing_name() else { return Ok(()) };
        let mut open = self.open_existing(&name, OpenOptions::new().write(true).truncate(true))?;
        open.content.clear();
        open.dirty = true;
        self.write_and_close(open)
    }

    /// Writes somewhere into a file, or cuts it.
    fn change(&mut self) -> Result<(), Stop> {
        let Some(name) = self.existing_name() else { return Ok(()) };
        let mut open = self.open_existing(&name, OpenOptions::new().read(true).write(true))?;
        if self.random.chance(20) {
            let size = self.random.index(open.content.len() + 1);
            self.call(&format!("ftruncate {name} {size}"), |_| {
                let size = u64::try_from(size).expect("a size fits");
                open.file.set_len(size)
            })?;
            open.content.truncate(size);
            open.dirty = true;
        }
        self.write_and_close(open)
    }

    fn append(&mut self) -> Result<(), Stop> {
        let Some(name) = self.existing_name() else { return Ok(()) };
        let mut open = self.open_existing(&name, OpenOptions::new().append(true))?;
        open.append = true;
        self.write_and_close(open)
    }

    /// Writes a new file beside, and renames it over the name: how editors save.
    fn replace(&mut self) -> Result<(), Stop> {
        let Some(name) = self.existing_name() else { return Ok(()) };
        let temporary = format!("{name}.new");
        if self.state.names.contains_key(&temporary) {
            return Ok(());
        }
        let open = self.open_new(&temporary)?;
        self.write_and_close(open)?;
        self.rename_to(&temporary, &name)
    }

    fn rename(&mut self) -> Result<(), Stop> {
        let Some(from) = self.existing_name() else { return Ok(()) };
        let to = self.any_name();
        self.rename_to(&from, &to)
    }

    fn rename_to(&mut self, from: &str, to: &str) -> Result<(), Stop> {
        let mut after = self.state.clone();
        after.rename(from, to);
        self.act(&format!("rename {from} {to}"), after, |dir| {
            fs::rename(dir.join(from), dir.join(to))
        })
    }

    fn exchange(&mut self) -> Result<(), Stop> {
        let (Some(one), Some(other)) = (self.existing_name(), self.existing_name()) else {
            return Ok(());
        };
        let mut after = self.state.clone();
        after.exchange(&one, &other);
        self.act(&format!("exchange {one} {other}"), after, |dir| {
            let cwd = rustix::fs::CWD;
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            Ok(rustix::fs::renameat_with(cwd, dir.join(&one), cwd, dir.join(&other), flags)?)
        })
    }

    fn link(&mut self) -> Result<(), Stop> {
        let (Some(from), to) = (self.existing_name(), self.any_name()) else { return Ok(()) };
        if self.state.names.contains_key(&to) {
            return Ok(());
        }
        let mut after = self.state.clone();
        let id = after.names[&from];
        after.names.insert(to.clone(), id);
        self.act(&format!("link {from} {to}"), after, |dir| {
            fs::hard_link(dir.join(&from), dir.join(&to))
        })
    }

    fn unlink(&mut self) -> Result<(), Stop> {
        let Some(name) = self.existing_name() else { return Ok(()) };
        let mut after = self.state.clone();
        after.unlink(&name);
        self.act(&format!("unlink {name}"), after, |dir| fs::remove_file(dir.join(&name)))
    }

    /// Reads a file that nobody writes: it must show the last closed version.
    fn read(&mut self) -> Result<(), Stop> {
        let Some(name) = self.existing_name() else { return Ok(()) };
        let id = self.state.names[&name];
        let held = self.open.as_ref().is_some_and(|open| open.id == id);
        let Some(want) = self.state.file(&name).and_then(File::current) else { return Ok(()) };
        if held {
            return Ok(());
        }
        let seen = self.call(&format!("read {name}"), |dir| fs::read(dir.join(&name)))?;
        if seen == *want {
            return Ok(());
        }
        self.signals.stopped.store(true, Ordering::Release);
        let at = seen.iter().zip(want.iter()).take_while(|(one, other)| one == other).count();
        Err(Stop::Wrong {
            what: format!(
                "{name} reads {} bytes, at {at} {}; closed were {} bytes, {}",
                seen.len(),
                describe(&seen, at),
                want.len(),
                describe(&want, at)
            ),
        })
    }

    /// Opens a file and keeps it open over other operations; writes, fsyncs or closes it later.
    fn hold(&mut self) -> Result<(), Stop> {
        let Some(mut open) = self.open.take() else {
            let name = self.any_name();
            let open = if self.state.names.contains_key(&name) {
                self.open_existing(&name, OpenOptions::new().read(true).write(true))?
            } else {
                self.open_new(&name)?
            };
            self.open = Some(open);
            return Ok(());
        };
        match self.random.below(4) {
            0 => return self.close(open),
            1 => self.fsync(&mut open)?,
            _ => self.write(&mut open)?,
        }
        self.open = Some(open);
        Ok(())
    }

    fn open_new(&mut self, name: &str) -> Result<Open, Stop> {
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

    fn open_existing(&mut self, name: &str, options: &OpenOptions) -> Result<Open, Stop> {
        let id = self.state.names[name];
        // A second writer of a file that is held open joins its line; keep the sessions apart.
        if let Some(held) = self.open.take() {
            if held.id == id {
                self.close(held)?;
            } else {
                self.open = Some(held);
            }
        }
        let content = match self.state.file(name).and_then(File::current) {
            Some(bytes) => bytes.to_vec(),
            None => self.call(&format!("read {name}"), |dir| fs::read(dir.join(name)))?,
        };
        let file = self.call(&format!("open {name}"), |dir| options.open(dir.join(name)))?;
        let name = name.to_owned();
        Ok(Open { file, id, name, content, append: false, dirty: false, fsynced: false })
    }

    fn write_and_close(&mut self, mut open: Open) -> Result<(), Stop> {
        for _ in 0..=self.random.below(WRITES_MAX) {
            self.write(&mut open)?;
            if self.random.chance(8) {
                self.fsync(&mut open)?;
            }
        }
        self.close(open)
    }

    fn write(&mut self, open: &mut Open) -> Result<(), Stop> {
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

    fn fsync(&mut self, open: &mut Open) -> Result<(), Stop> {
        let mut after = self.state.clone();
        let durable = if open.dirty {
            after.fsync(open.id, Arc::new(open.content.clone()));
            true
        } else {
            after.fsync_clean(open.id)
        };
        self.act(&format!("fsync {}", open.name), after, |_| open.file.sync_all())?;
        open.fsynced |= open.dirty;
        if durable {
            self.forget_earlier();
        }
        Ok(())
    }

    /// Every commit before a durable one is durable: no earlier state can come back.
    fn forget_earlier(&mut self) {
        if self.cut == Cut::Power {
            self.earlier.clear();
        }
    }

    fn close(&mut self, open: Open) -> Result<(), Stop> {
        let mut after = self.state.clone();
        if open.dirty {
            after.close(open.id, Arc::new(open.content));
        }
        let file = open.file;
        self.act(&format!("close {}", open.name), after, |_| close(file))
    }

    /// Makes a call that leads to `after` when it succeeds.
    fn act<T>(
        &mut self,
        what: &str,
        after: State,
        call: impl FnOnce(&Path) -> io::Result<T>,
    ) -> Result<T, Stop> {
        self.in_flight = Some(after);
        let value = self.call(what, call)?;
        if let Some(after) = self.in_flight.take() {
            let before = std::mem::replace(&mut self.state, after);
            if self.cut == Cut::Power {
                self.earlier.push(before);
            } else {
                self.earlier.clear();
            }
        }
        Ok(value)
    }

    /// Makes a call, with a line in the journal before and after it.
    fn call<T>(
        &mut self,
        what: &str,
        call: impl FnOnce(&Path) -> io::Result<T>,
    ) -> Result<T, Stop> {
        self.note(what);
        match call(&self.dir) {
            Ok(_) if self.signals.dark.load(Ordering::Acquire) => {
                let error = io::Error::other("answered in the dark");
                Err(self.failed(what, error))
            }
            Ok(value) => {
                self.acknowledged += 1;
                self.note("  done");
                Ok(value)
            }
            Err(error) => Err(self.failed(what, error)),
        }
    }

    /// Waits for the end of the node: a file dropped before that would be closed, and published.
    fn failed(&self, what: &str, error: io::Error) -> Stop {
        self.signals.stopped.store(true, Ordering::Release);
        eventually(END_WITHIN, || self.signals.stop.load(Ordering::Acquire).then_some(()));
        Stop::Failed { what: what.to_owned(), error }
    }

    fn note(&mut self, line: &str) {
        drop(writeln!(self.journal, "{line}"));
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

    fn any_name(&mut self) -> String {
        let dir = DIRECTORIES[self.random.index(DIRECTORIES.len())];
        format!("{dir}f{:02}", self.random.below(NAMES))
    }

    fn existing_name(&mut self) -> Option<String> {
        let count = self.state.names.len();
        if count == 0 {
            return None;
        }
        let index = self.random.index(count);
        self.state.names.keys().nth(index).cloned()
    }
}
