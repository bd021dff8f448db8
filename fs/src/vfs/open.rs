//! Opening: a reader pins a version, a writer joins the inode's line.

use std::sync::{Arc, atomic::AtomicBool};

use tesfs_blobs::{BlobError, BlobReader, Draft, Store};
use tesfs_pathtree::{
    Ino, Name,
    tree::{self, Inode, TreeError, View},
};

use super::{Vfs, hidden};
use crate::{
    attributes::{Attributes, MakeInode},
    caller::Caller,
    error::FsError,
    line::{Line, Own},
    open_file::{ContentKey, OpenFile, OpenWrite, Role, Source},
};

/// How often an open looks again when the version it found was replaced before it had the bytes.
const LOOKS_MAX: usize = 16;

impl Vfs {
    /// Opens a file for reading: the handle shows the version that is current now, until released.
    ///
    /// # Errors
    ///
    /// [`TreeError::InodeGone`], [`TreeError::IsADirectory`], bytes that are damaged or absent.
    pub fn open_read(&self, caller: &Caller, ino: Ino) -> Result<Arc<OpenFile>, FsError> {
        if hidden::is_hidden(ino) {
            let role = self.open_seen(ino)?;
            return Ok(self.handle(caller, ino, role));
        }
        if self.options.shared_writes {
            return self.join(caller, ino, OpenWrite::default(), false);
        }
        self.hold(ino);
        match self.pin(&self.view, ino, Some(caller)) {
            Ok((source, inode)) => {
                let (content, shown) = (ContentKey::of(inode.content), Attributes::from(&inode));
                let role = Role::Pinned { source, content, shown: Box::new(shown) };
                Ok(self.handle(caller, ino, role))
            }
            Err(err) => {
                self.unhold(ino)?;
                Err(err)
            }
        }
    }

    /// Opens a file for writing: the handle joins the inode's line.
    ///
    /// # Errors
    ///
    /// As [`Vfs::open_read`], and [`FsError::ReadOnly`].
    pub fn open_write(
        &self,
        caller: &Caller,
        ino: Ino,
        how: OpenWrite,
    ) -> Result<Arc<OpenFile>, FsError> {
        if self.options.read_only || hidden::is_hidden(ino) {
            return Err(FsError::ReadOnly);
        }
        let file = self.join(caller, ino, how, true)?;
        if how.truncate {
            if let Role::OnLine { line, .. } = &file.role {
                let mut state = line.lock();
                self.publish_cut(caller, line, &mut state, 0)?;
                let old = state.truncate(self.store.drafts())?;
                old.into_iter().for_each(|file| self.let_linger(file));
                self.publish_cut(caller, line, &mut state, u64::MAX)?;
            }
            if how.kill_privileges {
                self.clear_privileges(caller, ino)?;
            }
        }
        Ok(file)
    }

    /// Creates an empty file and opens it for writing.
    ///
    /// # Errors
    ///
    /// As [`Vfs::make`].
    pub fn create(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &Name,
        mode: u32,
        how: OpenWrite,
    ) -> Result<(Attributes, Arc<OpenFile>), FsError> {
        self.refuse_hidden(parent, name)?;
        // The close publishes the file, and what it publishes is promised: only then its birth is.
        let inode = self.change_ahead(caller, |tx, operation| {
            let parent = self.require_directory(tx, parent)?;
            let new = self.new_inode(caller, &parent, &MakeInode::File, mode)?;
            Ok(tree::create(tx, &self.view, operation, &parent, name, &new)?)
        })?;
        self.hold(inode.ino);
        let line = self.lines.join(inode.ino, || {
            let line = Line::starting(&inode, None);
            // The empty version is this line's own: its first publish takes its place.
            line.lock().own = Some(Own { version: inode.content, blob: None, settled: false });
            Ok(line)
        })?;
        let role = Role::OnLine { line, how, writes: true };
        Ok((Attributes::from(&inode), self.handle(caller, inode.ino, role)))
    }

    /// Returns which content a reader would pin now.
    ///
    /// # Errors
    ///
    /// [`TreeError::InodeGone`].
    pub fn published(&self, ino: Ino) -> Result<ContentKey, FsError> {
        if !hidden::is_hidden(ino) {
            return Ok(ContentKey::of(self.require_inode(ino)?.content));
        }
        let Some((view, own)) = self.seen(ino)? else {
            let side = self.published_side(ino)?;
            return Ok(side.unwrap_or(ContentKey { version: None }));
        };
        let found = self.db.read(|conn| tree::inode(conn, &view, own))?;
        Ok(ContentKey::of(found.ok_or(TreeError::InodeGone(ino))?.content))
    }

    /// Says whether anybody has the inode open for writing.
    pub fn has_writers(&self, ino: Ino) -> bool {
        self.lines.find(ino).is_some()
    }

    /// Says whether anybody has any file open for writing.
    pub fn has_any_writers(&self) -> bool {
        !self.lines.all().is_empty()
    }

    /// Commits a birth that was left to the publish, where there was nothing to publish.
    pub(crate) fn commit_birth(&self) -> Result<(), FsError> {
        Ok(self.db.commit_ahead()?)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn release_hold(&self, ino: Ino) -> Result<(), FsError> {
        if hidden::is_hidden(ino) { Ok(()) } else { self.unhold(ino) }
    }

    fn handle(&self, caller: &Caller, ino: Ino, role: Role) -> Arc<OpenFile> {
        let vfs = self.me.upgrade().expect("a borrowed Vfs is alive, and always in an Arc");
        Arc::new(OpenFile { vfs, ino, caller: *caller, role, released: AtomicBool::new(false) })
    }

    fn join(
        &self,
        caller: &Caller,
        ino: Ino,
        how: OpenWrite,
        writes: bool,
    ) -> Result<Arc<OpenFile>, FsError> {
        self.hold(ino);
        let joined = self.lines.join(ino, || match self.current(&self.view, ino) {
            Ok((inode, base)) => Ok(Line::starting(&inode, base)),
            // Who replaces all bytes needs none of those that are gone.
            Err(FsError::Blob(err)) if how.truncate && err.is_damage() => {
                let line = Line::starting(&self.require_inode(ino)?, None);
                line.lock().forced = true;
                Ok(line)
            }
            Err(err) => Err(err),
        });
        match joined {
            Ok(line) => Ok(self.handle(caller, ino, Role::OnLine { line, how, writes })),
            Err(err) => {
                self.unhold(ino)?;
                Err(err)
            }
        }
    }

    /// Reads an inode together with the bytes of the version that a view shows.
    fn current(&self, view: &View, ino: Ino) -> Result<(Inode, Option<BlobReader>), FsError> {
        let mut looks = 0;
        loop {
            let found = self.db.glance(|conn| tree::inode(conn, view, ino))?;
            let inode = found.ok_or(TreeError::InodeGone(ino))?;
            if inode.is_directory() {
                return Err(TreeError::IsADirectory(ino).into());
            }
            if !inode.is_file() {
                return Err(FsError::Invalid("only regular files have bytes"));
            }
            let Some(blob) = inode.blob else { return Ok((inode, None)) };
            looks += 1;
            match self.db.glance(|conn| self.store.reader(conn, blob)) {
                Ok(reader) => return Ok((inode, Some(reader))),
                // Replaced between the two looks.
                Err(BlobError::NotFound(_)) if looks < LOOKS_MAX => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Returns the bytes of the version that a view shows, to be read for as long as one likes.
    ///
    /// With a caller, whose view is the mount's own, what was written by then into a version that is
    /// published becomes a version first.
    pub(super) fn pin(
        &self,
        view: &View,
        ino: Ino,
        caller: Option<&Caller>,
    ) -> Result<(Source, Inode), FsError> {
        let mut looks = 0;
        loop {
            let ends = self.lines.ends();
            let line = self.lines.find(ino);
            let mut state = line.as_ref().map(|line| line.lock());
            looks += 1;
            if state.as_ref().is_some_and(|state| state.has_ended) && looks < LOOKS_MAX {
                continue;
            }
            if let (Some(caller), Some(line), Some(state)) = (caller, &line, &mut state)
                && state.frozen
                && state.shared
            {
                // The kernel may have written into the version's own file: its size and bytes are
                // brought together first.
                self.publish(caller, line, state)?;
            }
            let (inode, reader) = self.current(view, ino)?;
            // A line that began or ended since may have published what was just read, and may be
            // writing into its file.
            let is_late = line.is_none() && (ends != self.lines.ends() || self.has_writers(ino));
            if is_late && looks < LOOKS_MAX {
                continue;
            }
            let is_written =
                |blob| is_late || state.as_ref().is_some_and(|s| s.publishes_into(blob));
            let source = match reader {
                None => Source::Empty,
                Some(reader) if is_written(reader.number()) => self.private_copy(&reader)?,
                Some(reader) => Source::Blob(reader),
            };
            return Ok((source, inode));
        }
    }

    /// Copies a version whose file the kernel may still write into, so that the reader keeps it.
    pub(super) fn private_copy(&self, reader: &BlobReader) -> Result<Source, FsError> {
        let copy = Draft::copy_of(self.store.drafts(), reader)?;
        // It needs no name: nobody is to find it after a crash.
        self.store.release_draft(copy.draft_file().clone())?;
        Ok(Source::Copy(Box::new(copy)))
    }
}
