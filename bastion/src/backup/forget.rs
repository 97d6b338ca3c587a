//! The erasure of a recording reaches backups: its wrapped key is overwritten in the file.
//!
//! The lines of keys stand outside what is sealed and signed, and what is sealed holds their
//! digests. So a line that was erased shows as that, one that was changed otherwise shows too, and
//! nothing else of a backup has to be written anew. What replaces a key has its length
//! (`recording erase` saw to it). A backup on storage that cannot be written to keeps the key.

use super::{BackupError, io_error, reader::Sealed};
use crate::{args, store::Db};
use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Keys that were overwritten now.
    pub now: u64,
    /// Keys that had been before.
    pub before: u64,
    /// Keys of recordings that are not erased.
    pub kept: u64,
}

/// Overwrites the keys in a backup whose recordings this store knows to be erased.
pub async fn forget(db: &Db, backup: &Path) -> Result<Forgotten, BackupError> {
    let path = backup.to_owned();
    let keys = tokio::task::spawn_blocking(move || erasable(&path));
    let (mut found, keys) = keys.await.map_err(|_| BackupError::Ended)??;
    let mut erased = Vec::new();
    for (at, recording, length) in keys {
        let sql = "SELECT wrapped_json FROM recording_keys WHERE recording = $1";
        let row = db.row_opt(sql, &args![recording]).await?;
        match row.map(|row| row.text(0)).transpose()? {
            Some(mark) if mark.starts_with("erased ") && mark.len() == length => {
                erased.push((at, mark));
            }
            _ => found.kept += 1,
        }
    }
    found.now = erased.len() as u64;
    let path = backup.to_owned();
    let written = tokio::task::spawn_blocking(move || overwrite(&path, &erased));
    written.await.map_err(|_| BackupError::Ended)??;
    Ok(found)
}

/// A key that is still there: where, of what, how long.
type Kept = (u64, String, usize);

/// The keys that are still there.
fn erasable(path: &Path) -> Result<(Forgotten, Vec<Kept>), BackupError> {
    let mut keys = Sealed::open(path)?.keys()?;
    let (mut found, mut there) = (Forgotten::default(), Vec::new());
    while let Some(line) = keys.next()? {
        match line.wrapped.starts_with("erased ") {
            true => found.before += 1,
            false => there.push((line.at, line.recording, line.wrapped.len())),
        }
    }
    Ok((found, there))
}

fn overwrite(path: &PathBuf, erased: &[(u64, String)]) -> Result<(), BackupError> {
    if erased.is_empty() {
        return Ok(());
    }
    let write = || {
        let file = OpenOptions::new().write(true).open(path)?;
        for (at, mark) in erased {
            file.write_all_at(mark.as_bytes(), *at)?;
        }
        file.sync_all()
    };
    write().map_err(|why| io_error(path, why))
}
