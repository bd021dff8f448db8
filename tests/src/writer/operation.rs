//! What a writer does with names: one operation a step, chosen by the seed.

use std::fs::{self, OpenOptions};
use std::sync::atomic::Ordering;

use super::{DIRECTORIES, Stop, Writer};
use crate::content::describe;
use crate::state::File;

/// Few names, so that operations meet each other.
const NAMES: u64 = 18;

impl Writer<'_> {
    pub(super) fn step(&mut self) -> Result<(), Stop> {
        match self.random.below(200) {
            0..=40 => self.create(),
            41..=63 => self.rewrite(),
            64..=86 => self.change(),
            87..=108 => self.append(),
            109..=125 => self.replace(),
            126..=144 => self.rename(),
            145..=151 => self.exchange(),
            152..=157 => self.link(),
            158..=172 => self.unlink(),
            173..=182 => self.read(),
            183 => self.sync_directory(),
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
        let over = self.state.names.get(to).is_some_and(|old| *old != self.state.names[from]);
        self.act(&format!("rename {from} {to}"), after, |dir| {
            fs::rename(dir.join(from), dir.join(to))
        })?;
        self.counts.rename_overs += u64::from(over);
        Ok(())
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
        })?;
        self.counts.exchanges += 1;
        Ok(())
    }

    fn link(&mut self) -> Result<(), Stop> {
        let (Some(from), to) = (self.existing_name(), self.any_name()) else { return Ok(()) };
        if self.state.names.contains_key(&to) {
            return Ok(());
        }
        let mut after = self.state.clone();
        after.link(&from, &to);
        self.act(&format!("link {from} {to}"), after, |dir| {
            fs::hard_link(dir.join(&from), dir.join(&to))
        })?;
        self.counts.links += 1;
        Ok(())
    }

    fn unlink(&mut self) -> Result<(), Stop> {
        let Some(name) = self.existing_name() else { return Ok(()) };
        let mut after = self.state.clone();
        after.unlink(&name);
        self.act(&format!("unlink {name}"), after, |dir| fs::remove_file(dir.join(&name)))
    }

    /// Fsyncs a directory: every change so far, closed bytes included, survives a power cut. Rare,
    /// or there would be nothing left that a power cut may take.
    fn sync_directory(&mut self) -> Result<(), Stop> {
        let name = DIRECTORIES[self.random.index(DIRECTORIES.len())];
        let writing = self.open.as_ref().filter(|open| open.dirty).map(|open| open.id);
        let mut after = self.state.clone();
        after.fsync_directory(writing);
        self.act(&format!("fsync directory {name}"), after, |dir| {
            fs::File::open(dir.join(name))?.sync_all()
        })?;
        self.counts.directory_fsyncs += 1;
        self.forget_earlier();
        Ok(())
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
