//! What a `BUCKET[@BRANCH]` on the command line shows: a branch or snapshot, now or as it was.

mod error;

use serde::{Deserialize, Serialize};
use tesfs_pathtree::{
    Hlc,
    branch::{self, Branch},
    bucket::Bucket,
    tree::View,
};

pub(crate) use self::error::ShownError;
use crate::{
    error::CliError,
    node::Node,
    suggest::nearest,
    target::{BucketName, WirePath},
};

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
    /// `photos`, or `photos@try` where it is not the branch `main`.
    pub(crate) fn name(&self) -> String {
        match self.branch.name.as_str() {
            branch::MAIN => self.bucket.name.clone(),
            branch => format!("{}@{branch}", self.bucket.name),
        }
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
    /// No such bucket, or no such branch or snapshot, with the one that was probably meant.
    pub(crate) fn shown(&self, name: &BucketName) -> Result<Shown, CliError> {
        let bucket = self.require_bucket(name)?;
        let branch = self.require_branch(&bucket, name.branch.as_deref())?;
        Ok(Shown { bucket, branch, at: None })
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
            let bucket = self.bucket_by_number(mounted.shown.bucket.number)?;
            return Ok(Shown { bucket, ..mounted.shown.clone() });
        }
        let buckets = self.bucket_names()?;
        match buckets.as_slice() {
            [only] => self.shown(&BucketName { bucket: only.clone(), branch: None }),
            _ => Err(ShownError::WhichBucket { buckets }.into()),
        }
    }

    /// Finds what `BRANCH`, `SNAPSHOT` or `BUCKET@BRANCH` says, of `bucket` where it names none.
    ///
    /// # Errors
    ///
    /// There is none, with the one that was probably meant.
    pub(crate) fn shown_in(&self, bucket: &Bucket, word: &str) -> Result<Shown, CliError> {
        let branch = self.require_branch(bucket, Some(word))?;
        Ok(Shown { bucket: bucket.clone(), branch, at: None })
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
        let all = self.db().read(|conn| branch::list(conn, bucket))?;
        let (bucket, branch) = (bucket.name.clone(), name.to_owned());
        if all.iter().any(|one| one.name == name) {
            return Err(ShownError::BranchAbandoned { bucket, branch }.into());
        }
        let mut known: Vec<String> =
            all.into_iter().filter(|one| one.abandoned_ns.is_none()).map(|one| one.name).collect();
        known.sort_unstable();
        let nearest = nearest(name, known.iter().map(String::as_str));
        Err(ShownError::UnknownBranch { bucket, branch, nearest, known }.into())
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
