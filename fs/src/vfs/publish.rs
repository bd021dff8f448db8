//! Publishing a line's bytes, and ending a line.

use std::time::Duration;

use tesfs_blobs::{BlobError, BlobReader, Draft, INLINE_MAX, SettleOutcome, Store};
use tesfs_pathtree::{
    BlobNumber, Tx,
    tree::{self, AttributeEdit, NewContent, TreeError},
};

use super::Vfs;
use crate::{
    caller::Caller,
    error::FsError,
    line::{Line, LineState, Own, PendingTimes},
    open_file::{ContentKey, Published},
};

/// The bytes of a version about to be published.
enum NewBytes {
    None,
    /// Small enough for the row.
    Inline(Vec<u8>),
    /// Those of another version, shared.
    Adopted(BlobNumber, u64),
    /// The draft's file, which its version names from now on.
    Draft {
        size: u64,
        durable: bool,
    },
}

/// How a version is published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publish {
    /// It takes the place of bytes that survive a power cut, so that its own have to before it is
    /// there.
    is_promised: bool,
    /// Its bytes stay in the draft's file even if they would fit into the row.
    in_place: bool,
    /// What lies behind is about to be cut off.
    size_max: u64,
}

/// How often bytes are synced that somebody goes on writing.
const SYNCS_MAX: usize = 16;

/// As fsync publishes.
pub(super) const PROMISED: Publish =
    Publish { is_promised: true, in_place: false, size_max: u64::MAX };

impl NewBytes {
    fn size(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Adopted(_, size) | Self::Draft { size, .. } => *size,
        }
    }

    /// Says whether the bytes survive a power cut whenever their row does.
    fn settles_with_row(&self) -> bool {
        match self {
            Self::None | Self::Inline(_) => true,
            Self::Adopted(..) => false,
            Self::Draft { durable, .. } => *durable,
        }
    }
}

impl Vfs {
    /// Makes the line's bytes the current version, if they differ from it.
    ///
    /// The bytes are in a file or in the row before the row that names them is committed, so a
    /// kill leaves either version whole.
    pub(crate) fn publish(
        &self,
        caller: &Caller,
        line: &Line,
        state: &mut LineState,
    ) -> Result<Published, FsError> {
        let is_promised = self.is_promised(state)?;
        self.publish_as(caller, line, state, Publish { is_promised, ..PROMISED })
    }

    /// Publishes that the file of the line's own version is about to be cut to `size`: no version
    /// may be longer than its file, whenever the process is killed. Again after the cut, with
    /// `u64::MAX`, so that nobody takes it for a change that is still to be published. Until the
    /// writer's close this is no version to fall back to.
    pub(crate) fn publish_cut(
        &self,
        caller: &Caller,
        line: &Line,
        state: &mut LineState,
        size: u64,
    ) -> Result<(), FsError> {
        if !(state.frozen && state.shared) {
            return Ok(());
        }
        state.forced = true;
        let is_promised = self.is_promised(state)?;
        let how = Publish { is_promised, in_place: true, size_max: size };
        self.publish_as(caller, line, state, how)?;
        // Of a version that survives a power cut, the file must not be cut while the row may not be.
        if is_promised { Ok(self.db.sync()?) } else { Ok(()) }
    }

    pub(super) fn publish_as(
        &self,
        caller: &Caller,
        line: &Line,
        state: &mut LineState,
        how: Publish,
    ) -> Result<Published, FsError> {
        // A line that has ended has let go of its bytes: whoever still holds it is late.
        if state.has_ended || !state.is_dirty()? {
            return Ok(Published::Nothing);
        }
        self.keep_adopted(state)?;
        let mtime_ns = state.mtime_ns()?.unwrap_or_else(|| self.db.clock().now_ns());
        let ctime_ns = state.ctime_ns()?;
        // What the kernel writes into the file while its bytes are gathered counts as written
        // after this version; only the daemon itself makes an overlay whole.
        let before = state.draft.as_ref().map(Draft::stamp).transpose()?;
        let bytes = gather(&self.store, state, how)?;
        let after = state.draft.as_ref().map(Draft::stamp).transpose()?;
        let clean = if state.shared { before } else { after };
        #[cfg(feature = "broken-publish-before-bytes")]
        let withheld = match (&bytes, &mut state.draft) {
            (NewBytes::Draft { .. }, Some(draft)) => Some(super::broken::withhold(draft)?),
            _ => None,
        };
        let stored = self.change(caller, |tx, operation| {
            let inode = tree::inode(tx, &self.view, line.ino)?;
            let inode = inode.ok_or(TreeError::InodeGone(line.ino))?;
            let is_nameless = inode.nlink == 0;
            // What is written in place is published all the same: history must not claim bytes
            // that are no longer there.
            // What is or was fsynced has to be there should a power cut give the name back.
            if is_nameless && !(state.frozen && state.shared) && !how.is_promised {
                return Ok(None);
            }
            if inode.content > state.version {
                // A merge or an undo came meanwhile; what these writers began with was older.
                let aside = tree::keep_as_conflict(tx, &self.view, operation, line.ino)?;
                if let Some(blob) = aside {
                    self.store.add_reference(tx, blob)?;
                }
            }
            let own_blob = state.own.and_then(|own| own.blob);
            let blob = store_bytes(&self.store, tx, state, &bytes)?;
            let content = NewContent { size: bytes.size(), blob, mtime_ns, ctime_ns };
            let own = self.replaceable(tx, state.own, &bytes, blob)?.map(|own| own.version);
            let published = tree::publish(tx, &self.view, operation, line.ino, &content, own)?;
            self.settle_references(tx, blob, own_blob, published.dropped)?;
            if let Some(atime_ns) = state.times.atime_ns {
                let edit = AttributeEdit { atime_ns: Some(atime_ns), ..AttributeEdit::default() };
                tree::set_attributes(tx, &self.view, operation, line.ino, &edit)?;
            }
            if let Some(synced) = &state.synced {
                self.store.forget_draft(tx, synced.file.number())?;
            }
            Ok(Some((published.version, blob)))
        })?;
        #[cfg(feature = "broken-publish-before-bytes")]
        if let (Some(bytes), Some(draft)) = (withheld, &mut state.draft) {
            super::broken::write_back(draft, &bytes)?;
        }
        // Without a name there is nobody to publish for: the bytes go with the last handle.
        let Some((version, blob)) = stored else { return Ok(Published::Nothing) };
        state.version = version;
        state.own = Some(Own { version, blob, settled: bytes.settles_with_row() });
        state.clean = clean;
        state.forced = false;
        state.times = PendingTimes::default();
        self.keep_recorded(state);
        state.frozen = matches!(bytes, NewBytes::Draft { .. });
        let size = bytes.size();
        state.inline = match bytes {
            NewBytes::Inline(bytes) if state.shared => Some(bytes),
            _ => None,
        };
        if let (Some(blob), Some(draft)) = (blob.filter(|_| state.frozen), &state.draft)
            && !state.shared
        {
            // Nothing may fail any more: the next write goes over this version or over none.
            state.base = Some(BlobReader::of_draft(blob, size, draft.draft_file()));
        }
        Ok(Published::NewVersion(ContentKey::of(version)))
    }

    /// Gives the line bytes of its own where those it adopted or lies over are no version's any
    /// more: the reader still has them, and nobody else.
    pub(super) fn keep_adopted(&self, state: &mut LineState) -> Result<(), FsError> {
        let Some(base) = state.base.as_ref().map(BlobReader::number) else { return Ok(()) };
        if state.draft.as_ref().is_some_and(|draft| !draft.is_overlay()) {
            return Ok(());
        }
        let row = self.db.glance(|conn| self.store.row(conn, base))?;
        if row.is_none_or(|row| row.refs == 0) {
            state.writable(self.store.drafts())?.materialize()?;
        }
        Ok(())
    }

    /// Says whether the next version takes the place of bytes that survive a power cut: those of an
    /// fsync, or a settled version in the very file that is published again.
    fn is_promised(&self, state: &LineState) -> Result<bool, FsError> {
        let blob = state.own.and_then(|own| own.blob).filter(|_| state.frozen);
        let (None, Some(blob)) = (&state.synced, blob) else { return Ok(state.synced.is_some()) };
        let row = self.db.glance(|conn| self.store.row(conn, blob))?;
        Ok(row.is_some_and(|row| row.settled))
    }

    /// Returns the line's own version if a new one with these bytes may take its place.
    ///
    /// A version that survives a power cut is kept while its successor may not: it is what the
    /// successor falls back to.
    fn replaceable(
        &self,
        tx: &Tx<'_>,
        own: Option<Own>,
        bytes: &NewBytes,
        blob: Option<BlobNumber>,
    ) -> Result<Option<Own>, FsError> {
        let Some(own) = own else { return Ok(None) };
        if bytes.settles_with_row() || (own.blob.is_some() && own.blob == blob) {
            return Ok(Some(own));
        }
        // The settler may have come by since it was published.
        let row = own.blob.map(|blob| self.store.row(tx, blob)).transpose()?.flatten();
        let is_settled = own.settled || row.is_some_and(|row| row.settled);
        Ok((!is_settled).then_some(own))
    }

    /// Keeps the file of a record that a publish made up for: until that is durable a power cut
    /// may bring the record back.
    fn keep_recorded(&self, state: &mut LineState) {
        let Some(synced) = state.synced.take() else { return };
        match &state.draft {
            Some(draft) if draft.draft_file().number() == synced.file.number() => {
                state.lingers = true;
            }
            _ => self.let_linger(synced.file),
        }
    }

    /// Keeps the counts right where a version of the same file took the place of another.
    fn settle_references(
        &self,
        tx: &Tx<'_>,
        blob: Option<BlobNumber>,
        own_blob: Option<BlobNumber>,
        dropped: Option<BlobNumber>,
    ) -> Result<(), FsError> {
        match dropped {
            // One version instead of another of the same blob: nothing to count.
            Some(dropped) if Some(dropped) == blob => {}
            Some(dropped) => self.store.drop_reference(tx, dropped)?,
            // The same draft file under two versions: a consumer has seen the first.
            None if blob.is_some() && blob == own_blob => {
                self.store.add_reference(tx, blob.expect("checked in the guard"))?;
            }
            None => {}
        }
        Ok(())
    }

    /// Takes one writer off a line; the last one publishes what came late and ends it.
    pub(crate) fn leave_line(&self, caller: &Caller, line: &Line) -> Result<(), FsError> {
        let mut state = line.lock();
        if !self.lines.leave(line.ino) {
            return Ok(());
        }
        let published = self.publish(caller, line, &mut state).map(drop);
        if !self.lines.end(line.ino) {
            return published;
        }
        state.has_ended = true;
        let file = state.draft.take().map(Draft::into_draft_file);
        let (synced, lingers) = (state.synced.take(), state.lingers);
        drop(state);
        let recorded = synced.as_ref().map(|synced| synced.file.number());
        if let Some(file) = file.filter(|file| Some(file.number()) != recorded) {
            // A power cut may still undo the commit that forgot a record: keep the bytes.
            if lingers { self.let_linger(file) } else { self.store.release_draft(file)? }
        }
        // Fsynced and never published: its name is gone, or publishing failed. Then the record
        // stays, for the next start.
        if let Some(synced) = synced.filter(|_| published.is_ok()) {
            self.db.write(|tx| self.store.forget_draft(tx, synced.file.number()))?;
            self.let_linger(synced.file);
        }
        published
    }

    /// Publishes what every line holds: what an orderly stop does with handles that stay open.
    ///
    /// # Errors
    ///
    /// The first that could not be published.
    pub fn publish_all(&self, caller: &Caller) -> Result<(), FsError> {
        for line in self.lines.all() {
            self.publish(caller, &line, &mut line.lock())?;
        }
        Ok(())
    }

    /// Gives a published version whose file an idle writer keeps open a file of its own, so that it
    /// can be sealed; says whether it has one now.
    pub(crate) fn detach_idle(&self, blob: BlobNumber, idle: Duration) -> Result<bool, FsError> {
        let lines = self.lines.all();
        let Some(line) = lines.iter().find(|line| line.lock().publishes_into(blob)) else {
            return Ok(false);
        };
        let mut state = line.lock();
        let quiet_since_ns = self.db.clock().now_ns() - i64::try_from(idle.as_nanos()).unwrap_or(0);
        let is_quiet = state.clean.is_some_and(|stamp| stamp.mtime_ns <= quiet_since_ns);
        if !state.publishes_into(blob) || !is_quiet || state.is_dirty()? {
            return Ok(false);
        }
        let reader = self.db.glance(|conn| self.store.reader(conn, blob))?;
        let mut copy = Draft::copy_of(self.store.drafts(), &reader)?;
        let detached = self.detach(&mut state, &reader, &mut copy);
        // It stays where the version names it now.
        self.store.release_draft(copy.into_draft_file())?;
        detached
    }

    fn detach(
        &self,
        state: &mut LineState,
        reader: &BlobReader,
        copy: &mut Draft,
    ) -> Result<bool, FsError> {
        copy.sync()?;
        if state.is_dirty()? {
            return Ok(false);
        }
        let blob = reader.number();
        let detached = self.db.write(|tx| {
            let own = self.store.insert_draft(tx, copy.draft_file(), reader.size(), true)?;
            let versions = tree::replace_blob(tx, blob, own)?;
            for _ in 1..versions {
                self.store.add_reference(tx, own)?;
            }
            for _ in 0..versions {
                // The file stays: it is the line's again, and nothing but the line's.
                self.store.withdraw(tx, blob)?;
            }
            Ok::<_, FsError>(own)
        })?;
        state.frozen = false;
        if let Some(own) = state.own.as_mut() {
            own.blob = Some(detached);
            own.settled = true;
        }
        Ok(true)
    }

    /// Says whether a writer may still change the file of this blob.
    pub(crate) fn is_being_written(&self, blob: BlobNumber) -> bool {
        self.lines.all().iter().any(|line| line.lock().publishes_into(blob))
    }
}

/// Makes one blob survive a power cut.
pub(super) fn settle(store: &Store, blob: BlobNumber) -> Result<(), FsError> {
    for _ in 0..SYNCS_MAX {
        match store.settle(&[blob])?.into_iter().next() {
            Some((_, Err(err))) => return Err(err.into()),
            Some((_, Ok(SettleOutcome::Changed))) => {}
            Some((_, Ok(SettleOutcome::Settled | SettleOutcome::Gone))) | None => return Ok(()),
        }
    }
    Err(FsError::KeepsChanging(blob))
}

/// Says what is to be published, and puts it where the version can name it.
fn gather(store: &Store, state: &mut LineState, how: Publish) -> Result<NewBytes, FsError> {
    let Publish { is_promised, in_place, size_max } = how;
    let is_synced = state.is_synced()?;
    let Some(draft) = state.draft.as_mut() else {
        return Ok(match &state.base {
            Some(reader) if reader.size() <= INLINE_MAX => {
                NewBytes::Inline(read_all(|at, buffer| reader.read_at(at, buffer), reader.size())?)
            }
            Some(reader) => {
                if is_promised {
                    settle(store, reader.number())?;
                }
                NewBytes::Adopted(reader.number(), reader.size())
            }
            None => NewBytes::None,
        });
    };
    if draft.is_poisoned() {
        return Err(BlobError::Poisoned { path: draft.draft_file().path().into() }.into());
    }
    let size = draft.size()?.min(size_max);
    if size == 0 && !in_place {
        return Ok(NewBytes::None);
    }
    if size <= INLINE_MAX && !in_place {
        return Ok(NewBytes::Inline(read_all(|at, buffer| draft.read_at(at, buffer), size)?));
    }
    let is_whole = !draft.is_overlay();
    draft.materialize()?;
    if is_promised && !(is_synced && is_whole) {
        draft.sync()?;
    }
    Ok(NewBytes::Draft { size, durable: is_promised })
}

pub(super) fn read_all(
    read_at: impl Fn(u64, &mut [u8]) -> Result<usize, BlobError>,
    size: u64,
) -> Result<Vec<u8>, FsError> {
    let mut bytes = vec![0; usize::try_from(size).expect("inline sizes are small")];
    let mut filled = 0;
    while filled < bytes.len() {
        match read_at(filled as u64, &mut bytes[filled..])? {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Stores the bytes, or names the file they are in, inside the version's transaction.
fn store_bytes(
    store: &Store,
    tx: &Tx<'_>,
    state: &LineState,
    bytes: &NewBytes,
) -> Result<Option<BlobNumber>, FsError> {
    Ok(match bytes {
        NewBytes::None => None,
        NewBytes::Inline(bytes) => Some(store.insert_inline(tx, bytes)?),
        NewBytes::Adopted(blob, _) => {
            store.add_reference(tx, *blob)?;
            Some(*blob)
        }
        NewBytes::Draft { size, durable } => {
            let draft = state.draft.as_ref().expect("these bytes are a draft's");
            match state.own.and_then(|own| own.blob).filter(|_| state.frozen) {
                Some(blob) => {
                    store.update_draft(tx, blob, draft.draft_file(), *size, *durable)?;
                    Some(blob)
                }
                None => Some(store.insert_draft(tx, draft.draft_file(), *size, *durable)?),
            }
        }
    })
}
