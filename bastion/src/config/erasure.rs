//! `[erasure]`: where the keys of data subjects stand, and how long nothing may be erased.

use super::{Erasure, Store, file::Wrong};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawErasure {
    keys: String,
    retention_days_min: u64,
}

impl Default for RawErasure {
    fn default() -> Self {
        Self { keys: "keys/subjects.db".into(), retention_days_min: 365 }
    }
}

impl RawErasure {
    pub(super) fn check(self, store: &Store, dir: &Path) -> Result<Erasure, Wrong> {
        if self.retention_days_min > 36_500 {
            return Err(Wrong("erasure.retention_days_min", "must be 0 to 36500".into()));
        }
        Ok(Erasure {
            keys: keys(&self.keys, store, dir)?,
            retention_days_min: self.retention_days_min,
        })
    }
}

/// Keys that lie where the store lies go into its backups, and nothing could be erased from those.
fn keys(keys: &str, store: &Store, dir: &Path) -> Result<String, Wrong> {
    let wrong = |cause: &str| Err(Wrong("erasure.keys", cause.into()));
    if keys.starts_with("postgres://") || keys.starts_with("postgresql://") {
        return match store {
            Store::Postgres { url } if url == keys => {
                wrong("must be another database than the store: its backups must not hold the keys")
            }
            _ => Ok(keys.to_owned()),
        };
    }
    if keys.is_empty() || keys.contains('?') || keys.contains(':') {
        return wrong("must be a file, or postgres://USER@HOST/DATABASE for several gateways");
    }
    let file: PathBuf = dir.join(keys);
    match store {
        Store::Sqlite { file: log, .. } if log.parent() == file.parent() => {
            wrong("must lie in another folder than the store, and in another backup")
        }
        _ => Ok(format!("sqlite:{}", file.display())),
    }
}
