//! `[log]` and `[publish]`: what makes the log provable to those who do not trust this machine.

use super::{
    Alarms, Provable,
    file::{Wrong, seconds},
};
use bastion_core::limits::HEARTBEAT_MINUTES_MAX;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    origin: String,
    high_water: PathBuf,
    heartbeat_minutes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPublish {
    folder: PathBuf,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { origin: String::new(), high_water: "keys/high-water".into(), heartbeat_minutes: 10 }
    }
}

impl Default for RawPublish {
    fn default() -> Self {
        Self { folder: "tiles".into() }
    }
}

/// `[alarms]`: who of the provider's people is told when something stops.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAlarms {
    hook: String,
    webhook: String,
}

impl RawAlarms {
    /// Empty means nobody, as the template shows it.
    pub(super) fn check(self) -> Alarms {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Alarms { hook: given(self.hook), webhook: given(self.webhook) }
    }
}

/// The two sections together, with the deployment's folder and name.
pub(super) fn check(
    (log, publish): (RawLog, RawPublish),
    dir: &Path,
    origin: &str,
) -> Result<Provable, Wrong> {
    let name = match log.origin.as_str() {
        "" => origin,
        name if name == origin || is_epoch_of(name, origin) => name,
        _ => {
            let cause = format!("must be {origin:?}, or what `audit new-epoch` said");
            return Err(Wrong("log.origin", cause));
        }
    };

    let minutes = "log.heartbeat_minutes";
    let heartbeat = log.heartbeat_minutes.saturating_mul(60);
    // Empty means none, as the template shows it.
    let folder = Some(publish.folder).filter(|folder| !folder.as_os_str().is_empty());
    Ok(Provable {
        origin: name.to_owned(),
        high_water: dir.join(log.high_water),
        heartbeat: seconds(minutes, heartbeat, HEARTBEAT_MINUTES_MAX * 60)
            .map_err(|_| Wrong(minutes, format!("must be 1 to {HEARTBEAT_MINUTES_MAX}")))?,
        tiles: folder.map(|folder| dir.join(folder)),
    })
}

fn is_epoch_of(name: &str, origin: &str) -> bool {
    let epoch = name.strip_prefix(origin).and_then(|rest| rest.strip_prefix("/epoch-"));
    epoch.is_some_and(|number| number.parse::<u8>().is_ok_and(|n| n >= 2))
}
