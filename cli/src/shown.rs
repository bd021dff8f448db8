//! What a `BUCKET[@BRANCH|@TIME]` on the command line shows: a branch or snapshot, now or as it was.

mod error;

use serde::{Deserialize, Serialize};
use tesfs_pathtree::{
    BranchNumber, Hlc,
    branch::{self, Branch},
    bucket::Bucket,
    moment::{self, MomentError},
    tree::{self, View},
};

pub(crate) use self::error::ShownError;
use crate::{
    error::CliError,
    node::{Mounted, Node},
    said::Said,
    suggest::nearest,
    target::{BucketName, WirePath},
    time::Moment,
};

/// What two that show the same have in common: the branch, and the reading it is shown as of.
pub(crate) type ShownKey = (BranchNumber, Option<Hlc>);

/// A branch or snapshot of a bucket, now or as of a reading.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) bucket: Bucket,
    pub(crate) branch: Branch,
    /// `None`: as it is now.
    pub(crate) at: Option<Hlc>,
}

/// Which bucket, and which branch of it, a command means that names neither.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Context {
    /// What `--bucket` said.
    pub(crate) bucket: Option<BucketName>,
    /// Where the command was given.
    pub(crate) dir: WirePath,
}

impl Shown {
    /// `photos`, `photos@try` where it is not the branch `main`, and the time behind another `@`
    /// where it is not as it is now.
    pub(crate) fn name(&self) -> String {
        match (self.branch.name.as_str(), self.at) {
            (branch::MAIN, None) => self.bucket.name.clone(),
            _ => format!("{}@{}", self.bucket.name, self.name_in_bucket()),
        }
    }

    /// The same without the bucket: `main`, `try`, `try@2026-11-01T17:00:05Z`.
    pub(crate) fn name_in_bucket(&self) -> String {
        let at = self.at.map(|at| moment::label(at.unix_ns()));
        match (self.branch.name.as_str(), at) {
            (branch, None) => branch.to_owned(),
            (branch::MAIN, Some(at)) => at,
            (branch, Some(at)) => format!("{branch}@{at}"),
        }
    }

    /// The same branch as of a reading.
    pub(crate) fn as_of(&self, at: Hlc) -> Self {
        Self { at: Some(at), ..self.clone() }
    }

    /// What of it tells whether two show the same.
    pub(crate) fn key(&self) -> ShownKey {
        (self.branch.number, self.at)
    }

    /// Whether nothing can be changed in it.
    pub(crate) fn is_past(&self) -> bool {
        self.branch.frozen || self.at.is_some()
    }
}

impl Node {
    /// Finds what `name` says.
    ///
    /// # Errors
    ///
    /// No such bucket, or no such branch, snapshot or time, with the one that was probably meant.
    pub(crate) fn shown(&self, name: &BucketName) -> Result<Shown, CliError> {
        let bucket = self.require_bucket(name)?;
        let branch = self.require_branch(&bucket, None)?;
        let main = Shown { bucket, branch, at: None };
        match &name.branch {
            None => Ok(main),
            Some(said) => self.shown_in(&main, said),
        }
    }

    /// Finds what a command means that names nothing: what the mounted folder shows that it was
    /// given in, else what `--bucket` says, else the only bucket.
    ///
    /// # Errors
    ///
    /// There are several buckets, or none.
    pub(crate) fn here(&self, context: &Context) -> Result<Shown, CliError> {
        if let Some(bucket) = &context.bucket {
            return self.shown(bucket);
        }
        let dir = crate::paths::resolved(&context.dir.0);
        if let Some((mounted, _)) = self.mounts().holding(&dir) {
            return self.shown_by(&mounted);
        }
        let buckets = self.bucket_names()?;
        match buckets.as_slice() {
            [only] => self.shown(&BucketName { bucket: only.clone(), branch: None }),
            _ => Err(ShownError::WhichBucket { buckets }.into()),
        }
    }

    /// What a mounted folder shows, by the name that its bucket has now.
    ///
    /// # Errors
    ///
    /// The bucket is gone.
    pub(crate) fn shown_by(&self, mounted: &Mounted) -> Result<Shown, CliError> {
        let shown = mounted.shown();
        let bucket = self.bucket_by_number(shown.bucket.number)?;
        Ok(Shown { bucket, ..shown })
    }

    /// Finds what `BRANCH`, `SNAPSHOT`, `TIME` or `BRANCH@TIME` says, in the bucket of `of`; a time
    /// alone is one of its branch. A branch or snapshot whose name could be a time is meant.
    ///
    /// # Errors
    ///
    /// There is none, with the one that was probably meant; or as [`Node::as_of`].
    pub(crate) fn shown_in(&self, of: &Shown, said: &Said) -> Result<Shown, CliError> {
        let find = |name: &str| self.db().read(|conn| branch::find(conn, &of.bucket, name));
        if let Some(branch) = find(&said.words)? {
            return Ok(Shown { bucket: of.bucket.clone(), branch, at: None });
        }
        if let Some((name, time)) = said.words.split_once('@')
            && let Some(branch) = find(name)?
        {
            let of = Shown { bucket: of.bucket.clone(), branch, at: None };
            return self.as_of(&of, &said.instead(time));
        }
        match self.as_of(of, said) {
            Err(CliError::Moment(MomentError::NotATime { .. })) => {
                Err(self.unknown_branch(&of.bucket, &said.words, true)?)
            }
            found => found,
        }
    }

    /// Finds what a branch showed at a time, or at the last before it that is kept.
    ///
    /// # Errors
    ///
    /// No time, one that is still to come, one before there was a bucket, or one of which nothing
    /// is kept any more.
    pub(crate) fn as_of(&self, of: &Shown, said: &Said) -> Result<Shown, CliError> {
        let at = Hlc::last_of_unix_ns(said.moment(self.clock().now_ns())?);
        let first = self.require_branch(&of.bucket, None)?.born.hlc;
        if at < first {
            return Err(ShownError::BeforeBucket {
                bucket: of.bucket.name.clone(),
                said: said.words.clone(),
                made: Moment(first.unix_ns()),
            }
            .into());
        }
        // Where history was thinned, the last state before that is whole.
        let view = self.view(of)?;
        match self.db().read(|conn| tree::nearest_kept(conn, &view, at))? {
            Some(kept) => Ok(of.as_of(kept)),
            None => {
                let (bucket, said) = (of.bucket.name.clone(), said.words.clone());
                Err(ShownError::NotKept { bucket, said }.into())
            }
        }
    }

    /// Finds a branch or snapshot of a bucket by its name; `main` where none is given.
    ///
    /// # Errors
    ///
    /// There is none, with the one that was probably meant.
    pub(crate) fn require_branch(
        &self,
        bucket: &Bucket,
        name: Option<&str>,
    ) -> Result<Branch, CliError> {
        let name = name.unwrap_or(branch::MAIN);
        if let Some(found) = self.db().read(|conn| branch::find(conn, bucket, name))? {
            return Ok(found);
        }
        Err(self.unknown_branch(bucket, name, false)?)
    }

    /// Why a name is that of no branch or snapshot in use, where a time was `or_time` asked for.
    fn unknown_branch(
        &self,
        bucket: &Bucket,
        name: &str,
        or_time: bool,
    ) -> Result<CliError, CliError> {
        let all = self.db().read(|conn| branch::list(conn, bucket))?;
        let (bucket, branch) = (bucket.name.clone(), name.to_owned());
        if all.iter().any(|one| one.name == name) {
            return Ok(ShownError::BranchAbandoned { bucket, branch }.into());
        }
        let mut known: Vec<String> =
            all.into_iter().filter(|one| one.abandoned_ns.is_none()).map(|one| one.name).collect();
        known.sort_unstable();
        let nearest = nearest(name, known.iter().map(String::as_str));
        Ok(ShownError::UnknownBranch { bucket, branch, nearest, known, or_time }.into())
    }

    /// Refuses what is as it was, and what is mounted read-only.
    ///
    /// # Errors
    ///
    /// [`ShownError::Past`], [`CliError::BucketReadOnly`].
    pub(crate) fn require_writable(&self, shown: &Shown) -> Result<(), CliError> {
        if shown.is_past() {
            let branch = shown.name_in_bucket();
            return Err(ShownError::Past { shown: shown.name(), branch }.into());
        }
        match self.mounts().showing(shown.key()) {
            Some(mounted) if mounted.wish.read_only => {
                let dir = mounted.dir.clone();
                Err(CliError::BucketReadOnly { bucket: shown.name(), dir })
            }
            _ => Ok(()),
        }
    }

    /// Returns the view of a branch as `shown`.
    ///
    /// # Errors
    ///
    /// The database failed, or the branch is gone.
    pub(crate) fn view(&self, shown: &Shown) -> Result<View, CliError> {
        let view = self.db().read(|conn| View::of(conn, shown.branch.number))?;
        let view = view.ok_or_else(|| ShownError::BranchAbandoned {
            bucket: shown.bucket.name.clone(),
            branch: shown.branch.name.clone(),
        })?;
        Ok(match shown.at {
            Some(at) => view.at(at),
            None => view,
        })
    }
}
