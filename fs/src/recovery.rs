//! Recovery: what a start does with what the last run left.
//!
//! Under the same boot nothing was lost but memory: every published version stands. Under another
//! one the page cache went too: versions whose bytes were not synced fall back to their base. In
//! both, a draft that was fsynced is published, and the bytes of other drafts are set aside.

use std::{ffi::OsString, io::ErrorKind, path::PathBuf};

use tesfs_blobs::{BlobError, Draft, DraftRecord, INLINE_MAX, Store};
use tesfs_pathtree::{
    BlobNumber, Chain, Db, Ino, Name, boot,
    tree::{self, NewContent, NewOperation, View, Withdrawn},
};

use crate::error::FsError;

/// Versions looked at in one transaction.
const VERSIONS_PER_ROUND: usize = 1000;

/// What recovery did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Files whose fsynced draft was published.
    pub published: Vec<Ino>,
    /// Versions that a power cut took, each of which fell back to its base.
    pub withdrawn: Vec<Withdrawn>,
    /// Where the bytes of other drafts are now.
    pub recovered: Vec<PathBuf>,
}

impl Recovered {
    /// Says whether there was anything to recover.
    pub fn is_empty(&self) -> bool {
        self.published.is_empty() && self.withdrawn.is_empty() && self.recovered.is_empty()
    }
}

/// Brings tree and bytes together after the last run, however it ended. Before any mount.
///
/// Idempotent: a crash in the middle leaves the rest to the next start.
///
/// # Errors
///
/// The disk or the database failed; nothing is lost then.
pub fn recover(db: &Db, store: &Store, boot_id: &str) -> Result<Recovered, FsError> {
    let mut done = Recovered::default();
    // First what was fsynced: it may lie over a version that is not, and may be all that keeps a
    // file its name.
    for record in db.read(|conn| store.draft_records(conn))? {
        if let Err(err) = recover_draft(db, store, &record, &mut done) {
            // Its record stays for the next start: one file must not keep all others away.
            tracing::error!(draft = record.number, error = %Chain(&err),
                "an fsynced draft could not be published, and waits");
        }
    }
    let noted = db.read(boot::noted)?;
    if noted != boot_id {
        if !noted.is_empty() {
            withdraw_unsettled(db, store, &mut done)?;
        }
        db.write_durable(|tx| boot::note(tx, boot_id))?;
    }
    set_aside(db, store, &mut done)?;
    for path in &done.recovered {
        tracing::warn!(path = %path.display(), "an unfinished draft was set aside");
    }
    Ok(done)
}

/// Lets every version whose bytes may be gone fall back to its base; the bytes are set aside.
fn withdraw_unsettled(db: &Db, store: &Store, done: &mut Recovered) -> Result<(), FsError> {
    loop {
        let unsettled = db.read(|conn| store.unsettled(conn, VERSIONS_PER_ROUND))?;
        if unsettled.is_empty() {
            return Ok(());
        }
        for blob in unsettled {
            withdraw(db, store, blob, done)?;
        }
    }
}

fn withdraw(db: &Db, store: &Store, blob: BlobNumber, done: &mut Recovered) -> Result<(), FsError> {
    let lost = db.write(|tx| Lost::withdraw(tx, store, blob))?;
    for version in &lost.versions {
        tracing::warn!(ino = %version.ino, version = %version.version,
            "a power cut took the bytes of a version: it fell back to the one before");
    }
    done.recovered.extend(lost.set_aside(store)?);
    done.withdrawn.extend(lost.versions);
    Ok(())
}

/// What is known of a blob whose versions fell back to their bases.
pub(crate) struct Lost {
    pub(crate) versions: Vec<Withdrawn>,
    /// The draft file that no row names any more, and a name for it.
    draft: Option<(u64, OsString)>,
}

impl Lost {
    /// Lets every version of a blob fall back to its base.
    pub(crate) fn withdraw(
        tx: &tesfs_pathtree::Tx<'_>,
        store: &Store,
        blob: BlobNumber,
    ) -> Result<Self, FsError> {
        let versions = tree::withdraw_blob(tx, blob)?;
        let name = versions.first().map(|version| name_of(tx, version)).transpose()?.flatten();
        let name = name.map_or_else(|| OsString::from("draft"), |name| name.to_os_string());
        let mut draft = None;
        for _ in 0..versions.len().max(1) {
            draft = store.withdraw(tx, blob)?.or(draft);
        }
        Ok(Self { versions, draft: draft.map(|draft| (draft, name)) })
    }

    /// Moves the bytes, as far as they are there, to where the user finds them. After the commit.
    pub(crate) fn set_aside(&self, store: &Store) -> Result<Option<PathBuf>, FsError> {
        let Some((draft, name)) = &self.draft else { return Ok(None) };
        match store.move_to_recovered(*draft, name) {
            Ok(path) => Ok(Some(path)),
            // The power cut may have taken the file as well.
            Err(BlobError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err.into()),
        }
    }
}

fn name_of(tx: &tesfs_pathtree::Tx<'_>, version: &Withdrawn) -> Result<Option<Name>, FsError> {
    let Some(view) = View::of(tx, version.branch)? else { return Ok(None) };
    Ok(tree::last_name(tx, &view, version.ino)?)
}

/// Publishes a draft that was fsynced and not closed; forgets the record of any other.
fn recover_draft(
    db: &Db,
    store: &Store,
    record: &DraftRecord,
    done: &mut Recovered,
) -> Result<(), FsError> {
    if !record.durable {
        return Ok(db.write(|tx| store.forget_draft(tx, record.number))?);
    }
    if is_outdated(db, record)? {
        // Its publish failed, and somebody went on without it.
        tracing::warn!(ino = %record.ino, "an fsynced draft is older than what was closed since");
        return Ok(db.write_durable(|tx| store.forget_draft(tx, record.number))?);
    }
    let base = record.base.map(|base| db.read(|conn| store.reader(conn, base))).transpose();
    let opened = base.and_then(|base| Draft::reopen(store.drafts(), record, base));
    let mut draft = match opened {
        Ok(draft) => draft,
        Err(err) => {
            // Its bytes are set aside as a leftover; an unreadable record must not stop a start.
            tracing::error!(draft = record.number, error = %Chain(&err),
                "an fsynced draft could not be read back");
            return Ok(db.write(|tx| store.forget_draft(tx, record.number))?);
        }
    };
    draft.materialize()?;
    draft.sync()?;
    let size = draft.size()?;
    let mut small = Vec::new();
    if size <= INLINE_MAX {
        small.resize(usize::try_from(size).expect("inline sizes are small"), 0);
        let read = draft.read_at(0, &mut small)?;
        small.truncate(read);
    }
    let mtime_ns = draft.stamp()?.mtime_ns;
    let published = db.write_durable(|tx| {
        store.forget_draft(tx, record.number)?;
        let Some(view) = &View::of(tx, record.branch)? else { return Ok(false) };
        // Also for an inode without a name: a withdrawal may give it back.
        if tree::inode(tx, view, record.ino)?.is_none() {
            return Ok(false);
        }
        let stamp = tx.next_stamp();
        let new = NewOperation { who: "node", what: "recovery" };
        let operation = tree::store_operation(tx, view, stamp, &new)?;
        let blob = if small.len() as u64 == size && size > 0 {
            Some(store.insert_inline(tx, &small)?)
        } else if size > 0 {
            Some(store.insert_draft(tx, draft.draft_file(), size, true)?)
        } else {
            None
        };
        let content = NewContent { size, blob, mtime_ns, ctime_ns: None };
        tree::publish(tx, view, operation, record.ino, &content, None)?;
        Ok::<_, FsError>(true)
    })?;
    if published {
        done.published.push(record.ino);
        store.release_draft(draft.into_draft_file())?;
    }
    Ok(())
}

/// Says whether a version is current that was published after the draft began, by somebody else.
fn is_outdated(db: &Db, record: &DraftRecord) -> Result<bool, FsError> {
    let current = db.read(|conn| {
        let Some(view) = &View::of(conn, record.branch)? else { return Ok(None) };
        Ok::<_, FsError>(tree::inode(conn, view, record.ino)?.map(|inode| inode.content))
    })?;
    Ok(current.zip(record.base_stamp).is_some_and(|(current, base)| current > base))
}

/// Moves the bytes of every other draft to where the user finds them.
fn set_aside(db: &Db, store: &Store, done: &mut Recovered) -> Result<(), FsError> {
    for leftover in db.read(|conn| store.leftover_drafts(conn))? {
        let name = leftover
            .record
            .and_then(|record| record.name)
            .and_then(|name| Name::from_bytes(&name).ok())
            .map_or_else(|| OsString::from("draft"), |name| name.to_os_string());
        done.recovered.push(store.move_to_recovered(leftover.number, &name)?);
    }
    Ok(())
}
