//! What a writer does with names: one operation a step, chosen by the seed.

use std::fs::{self, OpenOptions};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::session::{Open, SIZE_MAX};
use super::{DIRECTORIES, Stop, Writer};
use crate::content::describe;
use crate::state::File;

/// Few names, so that operations meet each other.
const NAMES: u64 = 18;

impl Writer<'_> {
    pub(super) fn step(&mut self) -> Result<(), Stop> {
        match self.random.below(200) {
            0..=38 => self.create(),
            39..=59 => self.rewrite(),
            60..=80 => self.change(),
            81..=100 => self.append(),
            101..=116 => self.replace(),
            117..=134 => self.rename(),
            135..=140 => self.exchange(),
            141..=146 => self.link(),
            147..=160 => self.unlink(),
            161..=165 => self.read(),
            166..=168 => self.sync_file(),
            169..=174 => self.truncate(),
            175..=181 => self.copy(),
            182..=186 => self.take_name_away(),
            187 => self.sync_directory(),
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

    /// Cuts or lengthens a file that nobody has open for writing: a version at once.
    fn truncate(&mut self) -> Result<(), Stop> {
        let Some(name) = self.existing_name() else { return Ok(()) };
        let id = self.state.names[&name];
        self.close_held(id)?;
        let Some(current) = self.state.file(&name).and_then(File::current) else { return Ok(()) };
        let mut content = current.to_vec();
        let longer = (content.len() + self.random.index(20_000)).min(SIZE_MAX);
        let shorter = self.random.index(content.len() + 1);
        content.resize(if self.random.chance(30) { longer } else { shorter }, 0);
        let size = i64::try_from(content.len()).expect("a size fits");
        let mut after = self.state.clone();
        after.close(id, Arc::new(content));
        self.act(&format!("truncate {name} {size}"), after, |dir| {
            Ok(nix::unistd::truncate(&dir.join(&name), size)?)
        })?;
        self.counts.truncations += 1;
        Ok(())
    }

    /// Copies a whole file into a new or an emptied one, which the node may do by sharing bytes.
    fn copy(&mut self) -> Result<(), Stop> {
        let (Some(from), to) = (self.existing_name(), self.any_name()) else { return Ok(()) };
        let source = self.state.names[&from];
        let held = self.open.as_ref().is_some_and(|open| open.id == source);
        let Some(bytes) = self.state.file(&from).and_then(File::current) else { return Ok(()) };
        if held || self.state.names.get(&to) == Some(&source) {
            return Ok(());
        }
        let input = self.call(&format!("open {from}"), |dir| fs::File::open(dir.join(&from)))?;
        let mut open = if self.state.names.contains_key(&to) {
            self.open_existing(&to, OpenOptions::new().write(true).truncate(true))?
        } else {
            self.open_new(&to)?
        };
        self.copy_whole(&input, &mut open, &bytes)?;
        if self.random.chance(30) {
            return self.write_and_close(open);
        }
        self.close(open)
    }

    /// Writes a new file beside, and renames it over the name: how editors save.
    fn replace(&mut self) -> Result<(), Stop> {
        let Some(name) = self.existing_name() else { return Ok(()) };
        self.replace_name(&name)
    }

    fn replace_name(&mut self, name: &str) -> Result<(), Stop> {
        let temporary = format!("{name}.new");
        if self.state.names.contains_key(&temporary) {
            return Ok(());
        }
        let open = self.open_new(&temporary)?;
        self.write_and_close(open)?;
        self.rename_to(&temporary, name)
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
        self.unlink_name(&name)
    }

    fn unlink_name(&mut self, name: &str) -> Result<(), Stop> {
        let mut after = self.state.clone();
        after.unlink(name);
        self.act(&format!("unlink {name}"), after, |dir| fs::remove_file(dir.join(name)))
    }

    /// Takes the name of a file that is held open away, and fsyncs the file then: should a power cut
    /// take what replaced it, the name has to lead to what was fsynced without it.
    fn take_name_away(&mut self) -> Result<(), Stop> {
        let mut held = match self.open.take() {
            Some(held) if self.state.is_named(held.id) => held,
            nameless => {
                nameless.map_or(Ok(()), |nameless| self.close(nameless))?;
                let Some(name) = self.existing_name() else { return Ok(()) };
                self.open_existing(&name, OpenOptions::new().read(true).write(true))?
            }
        };
        let mut names = self.state.names.iter().filter(|(_, id)| **id == held.id);
        let name = names.next().expect("the held file has a name").0.clone();
        if self.random.chance(50) {
            self.write(&mut held)?;
        }
        if self.random.chance(40) {
            self.unlink_name(&name)?;
        } else {
            self.replace_name(&name)?;
        }
        if self.random.chance(60) {
            self.write(&mut held)?;
        }
        self.fsync(&mut held)?;
        self.open = Some(held);
        Ok(())
    }

    /// Fsyncs a file through a handle that writes nothing, or can not: what was closed before is
    /// meant.
    fn sync_file(&mut self) -> Result<(), Stop> {
        let Some(name) = self.existing_name() else { return Ok(()) };
        let write = self.random.chance(50);
        let mut open = self.open_existing(&name, OpenOptions::new().read(true).write(write))?;
        self.fsync(&mut open)?;
        self.close(open)
    }

    /// Fsyncs a directory: every change so far, closed bytes included, survives a power cut. Rare,
    /// or there would be nothing left that a power cut may take.
    fn sync_directory(&mut self) -> Result<(), Stop> {
        let name = DIRECTORIES[self.random.index(DIRECTORIES.len())];
        let writing = self.open.as_ref().filter(|open| open.dirty).map(|open| open.id);
        let mut after = self.state.clone();
        after.fsync_directory(name, writing);
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
                let append = self.random.chance(30);
                let mut options = OpenOptions::new();
                let options = options.read(true).write(true).append(append);
                Open { append, ..self.open_existing(&name, options)? }
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
