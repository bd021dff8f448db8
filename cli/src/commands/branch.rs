//! Makes, lists, renames, abandons and restores branches and snapshots.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tesfs_pathtree::{
    branch::{self, Branch, NewBranch},
    bucket::Bucket,
    schedule,
};

use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, table},
    progress::Progress,
    said::Said,
    shown::{Context, Shown, ShownError},
    target::WirePath,
    time::Moment,
};

/// Branches, or snapshots: which are branches that are never written to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Branch,
    Snapshot,
}

impl Kind {
    fn of(branch: &Branch) -> Self {
        if branch.frozen { Self::Snapshot } else { Self::Branch }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Makes a branch or snapshot.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Create {
    pub(crate) kind: Kind,
    pub(crate) place: Context,
    pub(crate) name: String,
    /// A branch, a snapshot, `BRANCH@TIME` or `@TIME`; `None`: what the folder shows, else `main`.
    pub(crate) from: Option<Said>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Created {
    pub(crate) kind: Kind,
    pub(crate) bucket: String,
    pub(crate) name: String,
    pub(crate) from: String,
}

impl Show for Created {
    fn show(&self) -> String {
        let Self { kind, bucket, name, from } = self;
        let next = match kind {
            Kind::Branch => format!("`tesfs mount {bucket}@{name} DIR` shows it beside"),
            Kind::Snapshot => format!("`tesfs mount {bucket}@{name} DIR` shows it"),
        };
        format!("{} '{name}' of '{bucket}' is made from '{from}'; {next}", kind.word())
    }
}

impl Request for Create {
    type Answer = Created;
    const PATH: &'static str = "/v1/branch/create";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Created, CliError> {
        branch::check_not_automatic(&self.name)?;
        let here = node.here(&self.place)?;
        let from = match &self.from {
            None => here,
            Some(from) => node.shown_in(&here, from)?,
        };
        // What writers have closed is what shows; what they have open goes on where it is.
        let made = node.db().write_durable(|tx| {
            let frozen = self.kind == Kind::Snapshot;
            let new = NewBranch { name: &self.name, from: &from.branch, at: from.at, frozen };
            branch::create(tx, &from.bucket, &new)
        })?;
        Ok(Created {
            kind: self.kind,
            name: made.name,
            from: from.name_in_bucket(),
            bucket: from.bucket.name,
        })
    }
}

/// Lists branches or snapshots.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct List {
    pub(crate) kind: Kind,
    pub(crate) place: Context,
    /// Abandoned ones, too.
    pub(crate) all: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Listed {
    pub(crate) kind: Kind,
    pub(crate) bucket: String,
    pub(crate) branches: Vec<BranchInfo>,
}

/// One branch or snapshot.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct BranchInfo {
    pub(crate) name: String,
    /// Of `main` none.
    pub(crate) from: Option<String>,
    pub(crate) created: Moment,
    /// What it shows of the branch it is from; of `main` none.
    pub(crate) shows_until: Option<Moment>,
    pub(crate) abandoned: Option<Moment>,
    pub(crate) mounted_at: Option<WirePath>,
    /// How often such a snapshot is taken by itself; of others none.
    pub(crate) automatic: Option<String>,
}

impl Show for Listed {
    fn show(&self) -> String {
        if self.branches.is_empty() {
            return format!(
                "no {kind}s of '{}'; `tesfs {kind} create NAME` makes one",
                self.bucket,
                kind = self.kind.word()
            );
        }
        let rows = self.branches.iter().map(|branch| {
            let place = match (&branch.abandoned, &branch.mounted_at) {
                (Some(abandoned), _) => format!("abandoned {abandoned}"),
                (None, Some(dir)) => dir.to_string(),
                (None, None) => "-".to_owned(),
            };
            let from = branch.from.clone().unwrap_or_else(|| "-".to_owned());
            let made = branch.created.to_string();
            let taken = branch.automatic.clone().unwrap_or_else(|| "by hand".to_owned());
            match self.kind {
                Kind::Branch => vec![branch.name.clone(), from, made, place],
                Kind::Snapshot => vec![branch.name.clone(), from, made, taken, place],
            }
        });
        let header: &[&str] = match self.kind {
            Kind::Branch => &["branch", "from", "made", "mounted at"],
            Kind::Snapshot => &["snapshot", "from", "made", "taken", "mounted at"],
        };
        table(header, &[], rows.collect())
    }
}

impl Request for List {
    type Answer = Listed;
    const PATH: &'static str = "/v1/branch/list";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Listed, CliError> {
        let bucket = node.here(&self.place)?.bucket;
        let all = node.db().read(|conn| branch::list(conn, &bucket))?;
        let name_of = |number| all.iter().find(|one| one.number == number).map(|b| b.name.clone());
        let wanted = all.iter().filter(|one| Kind::of(one) == self.kind);
        let wanted = wanted.filter(|one| self.all || one.abandoned_ns.is_none());
        let branches = wanted.map(|one| BranchInfo {
            name: one.name.clone(),
            from: one.fork.and_then(|fork| name_of(fork.parent)),
            created: Moment(one.born.hlc.unix_ns()),
            shows_until: one.fork.map(|fork| Moment(fork.through.unix_ns())),
            automatic: schedule::automatic(&one.name)
                .filter(|_| one.frozen)
                .map(|period| period.adverb().to_owned()),
            abandoned: one.abandoned_ns.map(Moment),
            mounted_at: node.mounts().showing((one.number, None)).map(|m| m.dir.as_path().into()),
        });
        Ok(Listed { kind: self.kind, branches: branches.collect(), bucket: bucket.name })
    }
}

/// Gives a branch or snapshot another name, ends it or brings it back.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) place: Context,
    pub(crate) name: String,
    pub(crate) change: Changed,
}

/// What is to be done with it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Changed {
    Rename { new: String },
    Abandon,
    Restore,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ChangeAnswer {
    pub(crate) kind: Kind,
    pub(crate) bucket: String,
    pub(crate) name: String,
    pub(crate) change: Changed,
}

impl Show for ChangeAnswer {
    fn show(&self) -> String {
        let Self { bucket, name, .. } = self;
        let kind = self.kind.word();
        match (&self.change, self.kind) {
            (Changed::Rename { new }, _) => {
                format!("{kind} '{name}' of '{bucket}' is now called '{new}'")
            }
            (Changed::Abandon, Kind::Branch) => format!(
                "branch '{name}' of '{bucket}' is abandoned; `tesfs branch restore {name}` brings \
                 it back, with everything on it"
            ),
            (Changed::Abandon, Kind::Snapshot) => {
                format!(
                    "snapshot '{name}' of '{bucket}' is removed; `tesfs snapshot restore {name}` \
                     brings it back"
                )
            }
            (Changed::Restore, _) => format!("{kind} '{name}' of '{bucket}' is back"),
        }
    }
}

impl Request for Change {
    type Answer = ChangeAnswer;
    const PATH: &'static str = "/v1/branch/change";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<ChangeAnswer, CliError> {
        let bucket = node.here(&self.place)?.bucket;
        match self.change {
            Changed::Restore => self.require_kind_of_abandoned(node, &bucket)?,
            Changed::Rename { .. } | Changed::Abandon => self.require_kind(node, &bucket)?,
        }
        if let Changed::Rename { new } = &self.change {
            branch::check_not_automatic(new)?;
        }
        node.db().write_durable(|tx| match &self.change {
            Changed::Rename { new } => branch::rename(tx, &bucket, &self.name, new),
            Changed::Abandon => branch::abandon(tx, &bucket, &self.name),
            Changed::Restore => branch::restore(tx, &bucket, &self.name),
        })?;
        let Self { kind, name, change, .. } = self;
        Ok(ChangeAnswer { kind, bucket: bucket.name, name, change })
    }
}

impl Change {
    /// Refuses to restore the one as the other.
    fn require_kind_of_abandoned(&self, node: &Node, bucket: &Bucket) -> Result<(), CliError> {
        let all = node.db().read(|conn| branch::list(conn, bucket))?;
        let abandoned = all.iter().filter(|one| one.name == self.name);
        match abandoned.max_by_key(|one| one.abandoned_ns) {
            Some(newest) if newest.abandoned_ns.is_some() => self.require_same(newest),
            _ => Ok(()),
        }
    }

    fn require_same(&self, branch: &Branch) -> Result<(), CliError> {
        if Kind::of(branch) == self.kind {
            return Ok(());
        }
        let (is, isnt) = (Kind::of(branch).word(), self.kind.word());
        Err(ShownError::OtherKind { name: self.name.clone(), is, isnt }.into())
    }

    /// Refuses a snapshot where a branch is meant, the other way round, and what is mounted.
    fn require_kind(&self, node: &Node, bucket: &Bucket) -> Result<(), CliError> {
        let branch = node.require_branch(bucket, Some(&self.name))?;
        self.require_same(&branch)?;
        let shown = Shown { bucket: bucket.clone(), branch, at: None };
        match node.mounts().of_branch(shown.branch.number) {
            Some(mounted) if matches!(self.change, Changed::Abandon) => {
                let dir = mounted.dir.clone();
                Err(CliError::BucketMounted { bucket: shown.name(), dir })
            }
            _ => Ok(()),
        }
    }
}
