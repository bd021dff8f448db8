//! Sets what a bucket does, and shows it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tesfs_pathtree::{
    Db,
    bucket::Bucket,
    settings::{self, SettingsError, Wish},
};

use crate::{
    control::Request,
    error::CliError,
    node::Node,
    output::{Show, table},
    progress::Progress,
    time::Moment,
};

/// One setting of a bucket.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct SettingInfo {
    pub(crate) value: String,
    /// When it was set; `None` where the default is in force.
    pub(crate) set: Option<Moment>,
}

/// The settings of one bucket by name.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct SettingsInfo(BTreeMap<String, SettingInfo>);

impl SettingsInfo {
    pub(super) fn of(db: &Db, bucket: &Bucket) -> Result<Self, SettingsError> {
        let list = db.read(|conn| settings::list(conn, bucket.number))?;
        let info = list.into_iter().map(|setting| {
            let set = setting.set.map(|stamp| Moment(stamp.hlc.unix_ns()));
            (setting.key.to_string(), SettingInfo { value: setting.value, set })
        });
        Ok(Self(info.collect()))
    }
}

impl Show for SettingsInfo {
    fn show(&self) -> String {
        let rows = self.0.iter().map(|(key, setting)| {
            let set = match setting.set {
                Some(set) => format!("set {set}"),
                None => "default".to_owned(),
            };
            vec![key.clone(), setting.value.clone(), set]
        });
        table(&["setting", "value", "from"], &[], rows.collect())
    }
}

/// Sets settings of a bucket, all of them or none.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Set {
    pub(crate) name: String,
    /// Each as `KEY=VALUE`.
    pub(crate) settings: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    pub(crate) name: String,
    /// What is otherwise than before.
    pub(crate) changed: Vec<ChangedInfo>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ChangedInfo {
    pub(crate) key: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

impl Show for Answer {
    fn show(&self) -> String {
        if self.changed.is_empty() {
            return format!("bucket '{}' is set so already; nothing changed", self.name);
        }
        let line = |changed: &ChangedInfo| {
            let ChangedInfo { key, from, to } = changed;
            format!("{key} of bucket '{}' is now {to} (was {from})", self.name)
        };
        self.changed.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Request for Set {
    type Answer = Answer;
    const PATH: &'static str = "/v1/bucket/set";

    fn run(self, node: &Arc<Node>, _progress: &Progress) -> Result<Answer, CliError> {
        let wishes: Vec<Wish> =
            self.settings.iter().map(|written| Wish::parse(written)).collect::<Result<_, _>>()?;
        let bucket = node.require_whole_bucket(&self.name)?;
        let changed = node.db().write_durable(|tx| settings::set(tx, bucket.number, &wishes))?;
        node.settings_changed(&bucket);
        let changed = changed.into_iter().map(|changed| ChangedInfo {
            key: changed.key.to_string(),
            from: changed.from,
            to: changed.to,
        });
        Ok(Answer { name: bucket.name, changed: changed.collect() })
    }
}
