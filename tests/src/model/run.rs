//! Doing the same to the model and to a filesystem, and comparing what comes of it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use super::{
    driver::{Answer, Driver, Found},
    inode::{Id, What},
    op::{At, How, Op},
    tree::{Model, Refusal, Role},
};

/// How many operations lie between two looks behind the tree.
const CHECK_EVERY: usize = 4;

/// How the filesystem differs from the model.
#[derive(Debug)]
pub struct Mismatch(pub(super) String);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) type Same = Result<(), Mismatch>;

pub(super) fn differ<T>(what: impl fmt::Display) -> Result<T, Mismatch> {
    Err(Mismatch(what.to_string()))
}

/// One case in progress.
pub struct Run<'a, D: Driver> {
    pub(super) driver: &'a mut D,
    pub(super) model: Model,
    pub(super) handles: BTreeMap<usize, D::Handle>,
    /// The inode of each number that was ever shown.
    pub(super) numbers: HashMap<u64, Id>,
}

/// Does `ops`, closes what is open then, and looks at everything once more.
///
/// # Errors
///
/// The first difference.
pub fn run<D: Driver>(driver: &mut D, ops: &[Op]) -> Same {
    let mut run = Run::new(driver);
    for (nth, op) in ops.iter().enumerate() {
        let in_op = |err: Mismatch| Mismatch(format!("after operation {nth}, {op:?}: {err}"));
        run.step(op).map_err(in_op)?;
        run.compare_tree().map_err(in_op)?;
        run.compare_handles().map_err(in_op)?;
        if nth % CHECK_EVERY == CHECK_EVERY - 1 || matches!(op, Op::Kill | Op::PowerCut) {
            run.driver.check(false).map_err(Mismatch).map_err(in_op)?;
        }
    }
    run.finish().map_err(|err| Mismatch(format!("at the end: {err}")))
}

impl<'a, D: Driver> Run<'a, D> {
    fn new(driver: &'a mut D) -> Self {
        let model = Model::new(driver.owner());
        Self { driver, model, handles: BTreeMap::new(), numbers: HashMap::new() }
    }

    fn finish(&mut self) -> Same {
        while let Some((handle, opened)) = self.handles.pop_first() {
            self.model.release(handle);
            same("release", Ok(()), self.driver.release(opened))?;
        }
        self.compare_tree()?;
        self.driver.check(false).map_err(Mismatch)?;
        self.driver.rest();
        self.driver.seal();
        self.model.seal();
        self.driver.collect();
        self.compare_tree()?;
        self.driver.rest();
        self.driver.check(true).map_err(Mismatch)
    }

    fn step(&mut self, op: &Op) -> Same {
        match op {
            Op::Pause { seconds } => {
                self.driver.pause(Duration::from_secs(*seconds));
                self.model.pause(*seconds);
            }
            Op::Seal => {
                self.driver.seal();
                self.model.seal();
            }
            Op::Collect => self.driver.collect(),
            Op::Kill | Op::PowerCut => {
                let power_cut = matches!(op, Op::PowerCut);
                let handles = std::mem::take(&mut self.handles).into_values().collect();
                self.driver.crash(handles, power_cut);
                self.model.crash(power_cut);
            }
            Op::Create { .. } | Op::OpenRead { .. } | Op::OpenWrite { .. } | Op::Save { .. } => {
                return self.open(op);
            }
            Op::Write { .. }
            | Op::Resize { .. }
            | Op::Allocate { .. }
            | Op::Copy { .. }
            | Op::Seek { .. }
            | Op::Flush { .. }
            | Op::Fsync { .. }
            | Op::Release { .. } => return self.use_handle(op),
            Op::Make { .. }
            | Op::Link { .. }
            | Op::Unlink { .. }
            | Op::Rmdir { .. }
            | Op::Rename { .. } => return self.change_names(op),
            Op::Chmod { .. }
            | Op::Chown { .. }
            | Op::SetTimes { .. }
            | Op::SetXattr { .. }
            | Op::RemoveXattr { .. }
            | Op::ResizePath { .. } => return self.change_attributes(op),
        }
        Ok(())
    }

    fn change_names(&mut self, op: &Op) -> Same {
        let (model, driver) = (&mut self.model, &mut *self.driver);
        let (want, got) = match op {
            Op::Make { at, what, mode } => {
                let path = model.path(at);
                let target = match What::made(*what) {
                    What::Symlink(target) => target,
                    _ => vec![],
                };
                let got = driver.make(&path, *what, &target, *mode);
                (model.make(at, *what, *mode), got)
            }
            Op::Link { from, to } => {
                let (here, there) = (model.path(from), model.path(to));
                (model.link(from, to), driver.link(&here, &there))
            }
            Op::Unlink { at } => {
                let path = model.path(at);
                (model.unlink(at), driver.unlink(&path))
            }
            Op::Rmdir { at } => {
                let path = model.path(at);
                (model.rmdir(at), driver.rmdir(&path))
            }
            Op::Rename { from, to, mode } => {
                let (here, there) = (model.path(from), model.path(to));
                (model.rename(from, to, *mode), driver.rename(&here, &there, *mode))
            }
            _ => unreachable!("only what changes names comes here"),
        };
        same("answer", want, got)
    }

    fn change_attributes(&mut self, op: &Op) -> Same {
        let (model, driver) = (&mut self.model, &mut *self.driver);
        let (Op::Chmod { at, .. }
        | Op::Chown { at, .. }
        | Op::SetTimes { at, .. }
        | Op::SetXattr { at, .. }
        | Op::RemoveXattr { at, .. }
        | Op::ResizePath { at, .. }) = op
        else {
            unreachable!("only what changes attributes comes here")
        };
        let path = model.path(at);
        let is = model.find(at).map(|id| &model.inodes[id].what);
        let (want, got) = match op {
            // Linux has no modes for links, and attributes of one's own only for these two.
            Op::Chmod { .. } if matches!(is, Some(What::Symlink(_))) => return Ok(()),
            Op::SetXattr { .. } | Op::RemoveXattr { .. }
                if matches!(is, Some(What::Symlink(_) | What::Fifo)) =>
            {
                return Ok(());
            }
            Op::ResizePath { .. } if matches!(is, Some(What::Symlink(_) | What::Fifo)) => {
                return Ok(());
            }
            Op::Chmod { mode, .. } => (model.chmod(at, *mode), driver.chmod(&path, *mode)),
            Op::Chown { uid: None, gid: None, .. } => return Ok(()),
            Op::Chown { uid, gid, .. } => {
                (model.chown(at, *uid, *gid), driver.chown(&path, *uid, *gid))
            }
            Op::SetTimes { atime_ns, mtime_ns, .. } => {
                let got = driver.set_times(&path, *atime_ns, *mtime_ns);
                (model.set_times(at, *atime_ns, *mtime_ns), got)
            }
            Op::SetXattr { name, value, edit, .. } => {
                let got = driver.set_xattr(&path, name, value, *edit);
                (model.set_xattr(at, (name, value), *edit), got)
            }
            Op::RemoveXattr { name, .. } => {
                (model.remove_xattr(at, name), driver.remove_xattr(&path, name))
            }
            Op::ResizePath { size, .. } => {
                (model.resize_path(at, small(*size)), driver.resize_path(&path, *size))
            }
            _ => unreachable!("all of them are above"),
        };
        same("answer", want, got)
    }

    fn open(&mut self, op: &Op) -> Same {
        let (Op::Create { at, .. }
        | Op::OpenRead { at, .. }
        | Op::OpenWrite { at, .. }
        | Op::Save { at, .. }) = op
        else {
            unreachable!("only what opens comes here")
        };
        let is = self.model.find(at).map(|id| &self.model.inodes[id].what);
        if !matches!(op, Op::Create { .. }) && matches!(is, Some(What::Symlink(_) | What::Fifo)) {
            // Opening a pipe waits, and opening a link is refused by its own rules.
            return Ok(());
        }
        match op {
            Op::Create { at, mode, how } => self.create(at, *mode, *how).map(drop),
            Op::OpenRead { at, direct } => {
                let path = self.model.path(at);
                if matches!(is, Some(What::Directory)) {
                    return Ok(());
                }
                let (want, got) = (self.model.open_read(at), self.driver.open_read(&path, *direct));
                self.opened(want, got).map(drop)
            }
            Op::OpenWrite { at, how, truncate } => self.open_write(at, *how, *truncate).map(drop),
            Op::Save { at, len, fill } => {
                let how = How::default();
                let opened = match is {
                    None => self.create(at, 0o644, how)?,
                    Some(_) => self.open_write(at, how, true)?,
                };
                let Some(handle) = opened else { return Ok(()) };
                self.write(handle, 0, *len, *fill)?;
                self.release(handle)
            }
            _ => unreachable!("all of them are above"),
        }
    }

    fn create(&mut self, at: &At, mode: u32, how: How) -> Result<Option<usize>, Mismatch> {
        let path = self.model.path(at);
        let role = Role::Writer { append: how.append, sync: how.sync };
        let want = self.model.create(at, mode, role);
        let got = self.driver.create(&path, mode, how);
        self.opened(want, got)
    }

    fn open_write(&mut self, at: &At, how: How, truncate: bool) -> Result<Option<usize>, Mismatch> {
        let path = self.model.path(at);
        let role = Role::Writer { append: how.append, sync: how.sync };
        let want = self.model.open_write(at, role, truncate);
        let got = self.driver.open_write(&path, how, truncate);
        self.opened(want, got)
    }

    fn opened(
        &mut self,
        want: Result<usize, Refusal>,
        got: Answer<D::Handle>,
    ) -> Result<Option<usize>, Mismatch> {
        match (want, got) {
            (Ok(number), Ok(handle)) => {
                let opened = &self.model.opened[&number];
                if matches!(opened.role, Role::Writer { .. }) {
                    let (id, access) = (opened.inode, self.driver.access(&handle));
                    self.model.file(id).note_access(access);
                }
                self.handles.insert(number, handle);
                Ok(Some(number))
            }
            (want, got) => {
                same("answer", want.map(drop), got.map(drop))?;
                Ok(None)
            }
        }
    }

    /// Returns the handle that is meant, out of all or out of those open for writing.
    fn pick(&self, nth: usize, writing: bool) -> Option<usize> {
        let fits = |number: &&usize| {
            !writing || matches!(self.model.opened[*number].role, Role::Writer { .. })
        };
        let numbers: Vec<usize> = self.handles.keys().filter(fits).copied().collect();
        numbers.get(nth % numbers.len().max(1)).copied()
    }

    fn use_handle(&mut self, op: &Op) -> Same {
        let (Op::Write { handle: nth, .. }
        | Op::Resize { handle: nth, .. }
        | Op::Allocate { handle: nth, .. }
        | Op::Copy { to: nth, .. }
        | Op::Seek { handle: nth, .. }
        | Op::Flush { handle: nth }
        | Op::Fsync { handle: nth }
        | Op::Release { handle: nth }) = op
        else {
            unreachable!("only what needs a handle comes here")
        };
        let any = matches!(op, Op::Seek { .. } | Op::Fsync { .. } | Op::Release { .. });
        let Some(number) = self.pick(*nth, !any) else { return Ok(()) };
        let id = self.model.opened[&number].inode;
        let got = match op {
            Op::Write { offset, len, fill, .. } => {
                return self.write(number, *offset, *len, *fill);
            }
            Op::Copy { from, offset_in, offset_out, len, .. } => {
                return self.copy(*from, number, (*offset_in, *offset_out), *len);
            }
            Op::Seek { offset, .. } => return self.seek(number, *offset),
            Op::Release { .. } => return self.release(number),
            Op::Resize { size, .. } => {
                self.model.resize(id, small(*size));
                self.driver.resize(&self.handles[&number], *size)
            }
            Op::Allocate { mode, offset, len, .. } => {
                self.model.allocate(id, *mode, small(*offset), small(*len));
                self.driver.allocate(&self.handles[&number], *mode, *offset, *len)
            }
            Op::Flush { .. } => {
                self.model.flush(id);
                self.driver.flush(&self.handles[&number])
            }
            Op::Fsync { .. } => {
                match self.model.opened[&number].role {
                    Role::Reader(_) => self.model.file(id).settle_current(),
                    Role::Writer { .. } => self.model.file(id).fsync(),
                }
                self.driver.fsync(&self.handles[&number])
            }
            _ => unreachable!("all of them are above"),
        };
        same("answer", Ok(()), got)
    }

    fn write(&mut self, number: usize, offset: u64, len: usize, fill: u8) -> Same {
        let data = pattern(len, fill);
        self.model.write(number, small(offset), &data);
        same("write", Ok(()), self.driver.write(&self.handles[&number], offset, &data))
    }

    fn release(&mut self, number: usize) -> Same {
        self.model.release(number);
        let handle = self.handles.remove(&number).expect("it is open");
        same("release", Ok(()), self.driver.release(handle))
    }

    fn copy(&mut self, from: usize, to: usize, offsets: (u64, u64), len: u64) -> Same {
        let Some(from) = self.pick(from, false) else { return Ok(()) };
        let (source, target) = (&self.model.opened[&from], &self.model.opened[&to]);
        let appends = matches!(target.role, Role::Writer { append: true, .. });
        if source.inode == target.inode || appends {
            // Ranges that overlap, and appending handles, have rules of their own.
            return Ok(());
        }
        let whole = match &source.role {
            Role::Reader(version) => Some(version.clone()),
            Role::Writer { .. } => None,
        };
        let id = target.inode;
        let bytes = self.model.handle_bytes(from);
        let start = bytes.len().min(small(offsets.0));
        let end = bytes.len().min(start + small(len));
        let is_whole = offsets == (0, 0) && end == bytes.len() && end > 0;
        match whole.filter(|_| is_whole && self.model.file(id).takes_whole()) {
            Some(version) => {
                self.model.resize(id, 0);
                self.model.file(id).adopt(&version);
            }
            None => drop(self.model.write(to, small(offsets.1), &bytes[start..end])),
        }
        let (source, target) = (&self.handles[&from], &self.handles[&to]);
        let got = self.driver.copy((source, offsets.0), (target, offsets.1), len);
        match got {
            Ok(copied) if copied == (end - start) as u64 => Ok(()),
            other => differ(format!("copied {other:?} instead of {} bytes", end - start)),
        }
    }

    /// Holes are the filesystem's to choose, but they have to be zeros.
    fn seek(&mut self, number: usize, offset: u64) -> Same {
        let bytes = self.model.handle_bytes(number);
        let found = self.driver.seek(&self.handles[&number], offset);
        let at = small(offset);
        if at >= bytes.len() {
            return match found {
                Ok(Found { data: None, hole: None }) => Ok(()),
                other => differ(format!("seeking behind the end found {other:?}")),
            };
        }
        let Ok(Found { data, hole: Some(hole) }) = found else {
            return differ(format!("seeking at {offset} found {found:?}"));
        };
        let data = data.map_or(bytes.len(), small);
        let hole = small(hole);
        if data < at || hole < at || data > bytes.len() || hole > bytes.len() {
            return differ(format!("seeking at {offset} found data {data}, hole {hole}"));
        }
        if bytes[at..data].iter().any(|byte| *byte != 0) {
            return differ(format!("seeking at {offset} missed data before {data}"));
        }
        match bytes.get(hole) {
            None | Some(0) => Ok(()),
            Some(_) => differ(format!("seeking at {offset} found a hole in data, at {hole}")),
        }
    }
}

/// Compares the answer to one call.
fn same(what: &str, want: Result<(), Refusal>, got: Answer<()>) -> Same {
    match (want, got) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(Refusal(errnos)), Err(errno)) if errnos.contains(&errno) => Ok(()),
        (want, got) => differ(format!("{what}: got {got:?}, want {want:?}")),
    }
}

/// Bytes that differ from place to place and from write to write; none is zero.
fn pattern(len: usize, fill: u8) -> Vec<u8> {
    let byte = |at: usize| u8::try_from((at + usize::from(fill)) % 251).expect("below 251") + 1;
    (0..len).map(byte).collect()
}

fn small(number: u64) -> usize {
    usize::try_from(number).expect("sizes in tests are small")
}
