//! What one caller looks at: a branch over its ancestors, now or as of a time.

use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::{
    bucket::Bucket,
    db::{Db, DbError, Doing as _, LostNames},
    id::{BranchNumber, BucketNumber, Hlc, Ino, Stamp},
};

/// No reading is later: what is shown to this one is shown as it is now.
pub(super) const NOW: Hlc = Hlc(i64::MAX.cast_unsigned());

/// A branch of a bucket as somebody sees it.
///
/// It shows the branch's own versions over what its parent showed at the fork, over what the
/// grandparent showed at that fork, and so on.
#[derive(Clone, Debug)]
pub struct View {
    /// The bucket.
    pub bucket: BucketNumber,
    /// The branch whose versions show, and which a change goes to.
    pub branch: BranchNumber,
    /// The root directory, the same on every branch of a bucket.
    pub root: Ino,
    /// The branch and its ancestors, nearest first.
    levels: Arc<[Level]>,
    lost_names: Option<Arc<LostNames>>,
}

/// One branch of a view's lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) branch: BranchNumber,
    /// Of this branch the view shows what was there up to this reading.
    pub(super) through: Hlc,
}

impl View {
    /// Returns the view of a bucket's branch `main`.
    pub fn main(bucket: &Bucket) -> Self {
        Self::plain(bucket.number, bucket.main, bucket.root)
    }

    /// Returns the view of a branch that inherits nothing.
    pub(super) fn plain(bucket: BucketNumber, branch: BranchNumber, root: Ino) -> Self {
        Self {
            bucket,
            branch,
            root,
            levels: Arc::new([Level { branch, through: NOW }]),
            lost_names: None,
        }
    }

    /// Returns the view of any branch; `None` where there is none of that number.
    ///
    /// # Errors
    ///
    /// A failed query.
    pub fn of(conn: &Connection, branch: BranchNumber) -> Result<Option<Self>, DbError> {
        let mut levels = Vec::new();
        let mut of = None;
        let mut next = Some((branch, NOW));
        while let Some((branch, through)) = next {
            let Some(found) = Ancestor::find(conn, branch)? else { break };
            levels.push(Level { branch, through });
            of.get_or_insert((found.bucket, found.root));
            // What was forked as of a time before its parent's fork shows nothing that came between.
            next = found.parent.map(|(parent, fork)| (parent, fork.min(through)));
        }
        let levels = levels.into();
        Ok(of.map(|(bucket, root)| Self { bucket, branch, root, levels, lost_names: None }))
    }

    /// Lets the view know which directories lost names since its forks: a look for a name need not
    /// ask for the past of the others. For a view that is looked at often.
    ///
    /// # Errors
    ///
    /// A failed query.
    pub fn remembering(self, db: &Db) -> Result<Self, DbError> {
        if self.is_plain() {
            return Ok(self);
        }
        let lost_names = Some(db.lost_names_since(self.oldest_reading())?);
        Ok(Self { lost_names, ..self })
    }

    /// Says whether a directory may have names at the view's readings that it lost since.
    pub(super) fn may_have_lost(&self, directory: Ino) -> bool {
        let known = self.lost_names.as_ref();
        !known.is_some_and(|known| known.none_after(directory, self.oldest_reading()))
    }

    fn oldest_reading(&self) -> Hlc {
        self.levels.iter().map(|level| level.through).min().unwrap_or(NOW)
    }

    /// Returns the same branch as it was at a reading, by what is known now.
    pub fn at(&self, through: Hlc) -> Self {
        let cut = |level: &Level| Level { through: level.through.min(through), ..*level };
        Self { levels: self.levels.iter().map(cut).collect(), ..self.clone() }
    }

    /// Returns what the branch showed when it was forked; `None` for `main`.
    pub(super) fn inherited(&self) -> Option<Self> {
        let (_, levels) = self.levels.split_first()?;
        let parent = levels.first()?.branch;
        Some(Self { branch: parent, levels: levels.into(), ..self.clone() })
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Says whether it shows one branch as it is now: then the newest rows are all there is.
    pub(super) fn is_plain(&self) -> bool {
        matches!(*self.levels, [Level { through: NOW, .. }])
    }

    /// Says whether a version was there before the branch: not its own, but of an ancestor.
    pub(super) fn inherits(&self, version: Stamp) -> bool {
        self.levels.get(1).is_some_and(|parent| version.hlc <= parent.through)
    }

    /// Says whether a branch is of the view's lineage, and how far from its own.
    pub(super) fn depth_of(&self, branch: BranchNumber) -> Option<usize> {
        self.levels.iter().position(|level| level.branch == branch)
    }
}

/// What a branch's row says of its place.
struct Ancestor {
    bucket: BucketNumber,
    root: Ino,
    parent: Option<(BranchNumber, Hlc)>,
}

impl Ancestor {
    fn find(conn: &Connection, branch: BranchNumber) -> Result<Option<Self>, DbError> {
        let found = conn
            .prepare_cached("SELECT bucket, root, parent, fork FROM branches WHERE number = ?1")
            .and_then(|mut stmt| {
                let mut rows = stmt.query(params![branch])?;
                let Some(row) = rows.next()? else { return Ok(None) };
                let parent = row.get::<_, Option<BranchNumber>>(2)?;
                let parent = parent.zip(row.get::<_, Option<Hlc>>(3)?);
                Ok(Some(Self { bucket: row.get(0)?, root: row.get(1)?, parent }))
            });
        found.doing("reading a branch's lineage")
    }
}
