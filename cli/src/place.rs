//! Where a [`Target`] leads: a bucket and the names from its root.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path},
};

use tesfs_fs::{Attributes, Caller, FileKind, Vfs};
use tesfs_pathtree::{Ino, Name, bucket::Bucket};

use crate::{
    error::CliError,
    node::Node,
    shown::{Shown, ShownError},
    suggest::nearest,
    target::{Target, WirePath},
};

/// Whom commands act as: the owner of the node, who owns what they make.
pub(crate) fn owner() -> Caller {
    Caller {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        pid: std::process::id(),
    }
}

/// A place in a branch of a bucket; nothing need be there yet.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) shown: Shown,
    /// From the root down; empty for the root itself.
    pub(crate) names: Vec<Name>,
    /// The path was written with a slash at its end: a directory is meant.
    pub(crate) wants_directory: bool,
}

impl Node {
    /// Finds the place that `target` says.
    ///
    /// # Errors
    ///
    /// No such bucket, or a path of this machine outside every mounted folder.
    pub(crate) fn place(&self, target: &Target) -> Result<Place, CliError> {
        match target {
            Target::InBucket { bucket, path } => Place::new(self.shown(bucket)?, &path.0),
            Target::Local { path, written, bucket } => {
                let resolved = crate::paths::resolved(&path.0);
                for path in [&path.0, &resolved] {
                    if let Some((mounted, rest)) = self.mounts().holding(path) {
                        let mut place = Place::new(self.shown_by(&mounted)?, &rest)?;
                        place.wants_directory = ends_with_slash(written);
                        return Ok(place);
                    }
                }
                match bucket {
                    Some(bucket) => Place::new(self.shown(bucket)?, &written.0),
                    None => Err(CliError::NotInBucket {
                        written: written.0.clone(),
                        buckets: self.bucket_names()?,
                    }),
                }
            }
        }
    }

    /// The names of the buckets in use.
    pub(crate) fn bucket_names(&self) -> Result<Vec<String>, CliError> {
        let buckets = self.buckets()?;
        Ok(buckets.into_iter().filter(|b| b.removed_ns.is_none()).map(|b| b.name).collect())
    }

    /// The bucket of that number, by the name it has now.
    pub(crate) fn bucket_by_number(
        &self,
        number: tesfs_pathtree::BucketNumber,
    ) -> Result<Bucket, CliError> {
        let gone = || ShownError::UnknownBucket {
            name: format!("number {number}"),
            nearest: None,
            known: Vec::new(),
        };
        self.buckets()?
            .into_iter()
            .find(|bucket| bucket.number == number)
            .ok_or_else(gone)
            .map_err(CliError::from)
    }
}

fn ends_with_slash(path: &WirePath) -> bool {
    path.0.as_os_str().as_bytes().ends_with(b"/")
}

impl Place {
    fn new(shown: Shown, path: &Path) -> Result<Self, CliError> {
        let mut names = Vec::new();
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => {
                    return Err(CliError::ParentInPath { path: path.display().to_string() });
                }
                Component::Normal(name) => names.push(Name::parse(name).map_err(|err| {
                    CliError::BadName { name: name.display().to_string(), rule: err.to_string() }
                })?),
            }
        }
        let wants_directory = path.as_os_str().as_bytes().ends_with(b"/");
        Ok(Self { shown, names, wants_directory })
    }

    /// The root of a branch.
    pub(crate) fn root(shown: Shown) -> Self {
        Self { shown, names: Vec::new(), wants_directory: true }
    }

    /// The path inside the bucket, for people.
    pub(crate) fn path(&self) -> String {
        join(&self.names)
    }

    /// Finds what is at the place.
    ///
    /// # Errors
    ///
    /// Nothing is there.
    pub(crate) fn require(&self, vfs: &Vfs) -> Result<Attributes, CliError> {
        match self.find(vfs)? {
            Some(found) => Ok(found),
            None => Err(self.missing(vfs)),
        }
    }

    /// Says that nothing is at the place.
    pub(crate) fn missing(&self, vfs: &Vfs) -> CliError {
        CliError::NoSuchPath {
            bucket: self.shown.name(),
            path: self.path(),
            nearest: self.nearest(vfs),
        }
    }

    /// The path that was probably meant: the first name that is missing is looked for among those
    /// that are there.
    fn nearest(&self, vfs: &Vfs) -> Option<String> {
        let mut directory = vfs.root();
        for (depth, name) in self.names.iter().enumerate() {
            if let Ok(next) = vfs.lookup(&owner(), directory, name) {
                directory = next.ino;
                continue;
            }
            let listed = vfs.list_with_attributes(directory).ok()?;
            let there: Vec<String> = listed
                .iter()
                .map(|(entry, _)| entry.name.as_os_str().display().to_string())
                .collect();
            let typed = name.as_os_str().display().to_string();
            let meant = nearest(&typed, there.iter().map(String::as_str))?;
            let above = join(&self.names[..depth]);
            return Some(if above.is_empty() { meant } else { format!("{above}/{meant}") });
        }
        None
    }

    /// Looks at what is at the place; `None` when its last name, or one before it, is missing.
    pub(crate) fn find(&self, vfs: &Vfs) -> Result<Option<Attributes>, CliError> {
        let mut found = attributes(vfs, vfs.root(), "")?;
        for (depth, name) in self.names.iter().enumerate() {
            if found.kind != FileKind::Directory {
                return Err(CliError::NotADirectory {
                    bucket: self.shown.name(),
                    path: join(&self.names[..depth]),
                });
            }
            match vfs.lookup(&owner(), found.ino, name) {
                Ok(next) => found = next,
                Err(err) if err.errno() == libc::ENOENT => return Ok(None),
                Err(source) => {
                    return Err(CliError::tree("looking", self.path(), source));
                }
            }
        }
        Ok(Some(found))
    }
}

fn attributes(vfs: &Vfs, ino: Ino, path: &str) -> Result<Attributes, CliError> {
    vfs.attributes(ino).map_err(|source| CliError::tree("looking", path.to_owned(), source))
}

/// Names as a path, for people.
pub(crate) fn join(names: &[Name]) -> String {
    let names: Vec<String> =
        names.iter().map(|name| name.as_os_str().display().to_string()).collect();
    names.join("/")
}
