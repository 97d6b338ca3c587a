//! `[log]` and `[publish]`: what makes the log provable to those who do not trust this machine.

use super::{
    Provable,
    file::{Wrong, seconds},
};
use bastion_core::limits::HEARTBEAT_MINUTES_MAX;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
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
        Self { high_water: "keys/high-water".into(), heartbeat_minutes: 10 }
    }
}

impl Default for RawPublish {
    fn default() -> Self {
        Self { folder: "tiles".into() }
    }
}

/// The two sections together, with the deployment's folder.
pub(super) fn check(log: RawLog, publish: RawPublish, dir: &Path) -> Result<Provable, Wrong> {
    let minutes = "log.heartbeat_minutes";
    let heartbeat = log.heartbeat_minutes.saturating_mul(60);
    // Empty means none, as the template shows it.
    let folder = Some(publish.folder).filter(|folder| !folder.as_os_str().is_empty());
    Ok(Provable {
        high_water: dir.join(log.high_water),
        heartbeat: seconds(minutes, heartbeat, HEARTBEAT_MINUTES_MAX * 60)
            .map_err(|_| Wrong(minutes, format!("must be 1 to {HEARTBEAT_MINUTES_MAX}")))?,
        tiles: folder.map(|folder| dir.join(folder)),
    })
}
