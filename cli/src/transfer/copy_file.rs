//! Copies one file of this machine into a bucket, whole or not at all.

use std::{
    ffi::OsStr,
    fs::File,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::FileExt as _,
    },
};

use rustix::fs::{self, OFlags, Stat};
use tesfs_fs::{AttributeChange, Attributes, FileKind, OpenFile, OpenWrite, RenameMode};
use tesfs_pathtree::{Chain, Ino, Name};

use super::{CHUNK_BYTES, CopyIn, Stop, copy_in::unreadable, host};
use crate::progress::Step;

/// How often a file that changes while it is read is read anew.
const READS_MAX: u32 = 3;

impl CopyIn<'_> {
    /// Copies a file; where one is already, the new one takes its place when it is whole.
    pub(super) fn file(
        &mut self,
        source: BorrowedFd<'_>,
        into: Ino,
        own_name: &OsStr,
        name: &Name,
        stat: &Stat,
        there: Option<Attributes>,
    ) -> Result<Ino, Stop> {
        if let Some(there) = there.filter(|there| same_file(there, stat)) {
            self.counts.unchanged += 1;
            return Ok(there.ino);
        }
        // O_NONBLOCK: a pipe that took the file's place meanwhile does not hold us.
        let fd = host::open_at(source, own_name, OFlags::RDONLY | OFlags::NONBLOCK)
            .map_err(unreadable)?;
        let found = fs::fstat(&fd).map_err(|err| unreadable(err.into()))?;
        if (found.st_dev, found.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(Stop::Skip("replaced while it was read".to_owned()));
        }
        let file = File::from(fd);
        let at = match there {
            Some(_) => self.unfinished_name(),
            None => name.clone(),
        };
        let write = OpenWrite::default();
        let (made, out) =
            self.vfs.create(&self.me, into, &at, 0o600, write).map_err(|err| self.refused(err))?;
        let copied = self.publish(&file, &out).and_then(|()| match there {
            Some(_) => self
                .vfs
                .rename(&self.me, (into, &at), (into, name), RenameMode::Replace)
                .map_err(|err| self.refused(err)),
            None => Ok(()),
        });
        if let Err(stop) = copied {
            self.take_back(into, &at, &out);
            return Err(stop);
        }
        self.counts.files += 1;
        Ok(made.ino)
    }

    /// Fills the new file and publishes it, with all its attributes, as one version.
    fn publish(&mut self, file: &File, out: &OpenFile) -> Result<(), Stop> {
        let stat = self.fill(file, out)?;
        self.keep_attributes(out.ino(), &stat, Some(file.as_fd()))?;
        out.flush().map_err(|err| self.refused(err))?;
        out.release().map_err(|err| self.refused(err))
    }

    /// Reads the file until two looks at it agree; after [`READS_MAX`] tries what was read last
    /// is kept, and the file is listed.
    fn fill(&mut self, file: &File, out: &OpenFile) -> Result<Stat, Stop> {
        let mut tries = 0;
        let look = || fs::fstat(file).map_err(|err| unreadable(err.into()));
        let mut before = look()?;
        loop {
            tries += 1;
            let size = self.copy_bytes(file, out, &before)?;
            let after = look()?;
            if host::same_content(&before, &after) {
                return Ok(after);
            }
            if tries == READS_MAX {
                let reason = "it changed while it was read; what was read last is in the bucket";
                self.left_out.add(&self.path, reason);
                return Ok(after);
            }
            before = after;
            self.counts.bytes -= size;
            self.resize(out, 0)?;
        }
    }

    /// Copies the runs of data; what lies between stays a hole.
    fn copy_bytes(&mut self, file: &File, out: &OpenFile, stat: &Stat) -> Result<u64, Stop> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut buffer =
            vec![0; CHUNK_BYTES.min(usize::try_from(size).unwrap_or(CHUNK_BYTES).max(1))];
        let mut offset = 0;
        while let Some(run) = host::data_run(file, offset, size).map_err(unreadable)? {
            offset = run.start;
            while offset < run.end {
                let left = usize::try_from(run.end - offset).unwrap_or(CHUNK_BYTES);
                let want = left.min(buffer.len());
                let read = file.read_at(&mut buffer[..want], offset).map_err(unreadable)?;
                if read == 0 {
                    break;
                }
                self.write(out, offset, &buffer[..read])?;
                offset += read as u64;
                self.tell_bytes(read as u64)?;
            }
            offset = offset.max(run.end);
        }
        self.resize(out, size)?;
        Ok(size)
    }

    fn write(&self, out: &OpenFile, mut offset: u64, mut bytes: &[u8]) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let wrote = out.write_at(offset, bytes, false).map_err(|err| self.refused(err))?;
            offset += wrote as u64;
            bytes = &bytes[wrote..];
        }
        Ok(())
    }

    fn resize(&self, out: &OpenFile, size: u64) -> Result<(), Stop> {
        let change =
            AttributeChange { size: Some(size), file: Some(out), ..AttributeChange::default() };
        match self.vfs.set_attributes(&self.me, out.ino(), &change) {
            Ok(_) => Ok(()),
            Err(err) => Err(self.refused(err)),
        }
    }

    fn tell_bytes(&mut self, bytes: u64) -> Result<(), Stop> {
        self.counts.bytes += bytes;
        let (counts, path) = (self.counts, &self.path);
        Ok(self.progress.step(|| Step {
            doing: "importing".to_owned(),
            files: counts.files + counts.unchanged,
            bytes: counts.bytes,
            bytes_total: self.bytes_total(),
            current: path.display().to_string(),
        })?)
    }

    /// Takes a file back that did not become whole.
    fn take_back(&self, into: Ino, at: &Name, out: &OpenFile) {
        // Its bytes first: they may be what fills the disk, and an unlink takes space.
        if let Err(Stop::Fatal(err)) = self.resize(out, 0) {
            tracing::debug!(error = %Chain(&err), "unfinished file not emptied");
        }
        if let Err(err) = self.vfs.unlink(&self.me, into, at) {
            tracing::warn!(error = %Chain(&err), "unfinished file not removed");
        }
        if let Err(err) = out.release() {
            tracing::debug!(error = %Chain(&err), "unfinished file not closed");
        }
    }

    /// A name for a file that is not whole yet.
    fn unfinished_name(&mut self) -> Name {
        self.unfinished += 1;
        let name = format!(".tesfs-import-{}-{}", std::process::id(), self.unfinished);
        Name::parse(OsStr::new(&name)).expect("digits and dashes make a name")
    }
}

/// Whether the bucket has this file already: size and time are those of the source.
fn same_file(there: &Attributes, stat: &Stat) -> bool {
    there.kind == FileKind::File
        && u64::try_from(stat.st_size).is_ok_and(|size| size == there.size)
        && there.mtime_ns == host::mtime_ns(stat)
}
