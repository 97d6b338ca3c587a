//! Backups of the log and of all that stands beside it, and putting one back.
//!
//! `BACKUP.md` is the format's specification, with the recipe that opens one with a shell,
//! `openssl`, and `sqlite3` or `psql`. In short: a first line that says what it is; a line for each
//! recording with its wrapped key, so that erasing a recording reaches backups ([`forget`]); the
//! same sealed container as a recording's, around plain SQL ([`text`]); a signature.
//!
//! ```text
//! snapshot ─▶ rows as SQL ─▶ sealed file, under another name ─▶ read back: every tag, every entry
//!                                                                 └▶ `backup.made` ─▶ its name
//! ```
//!
//! The facts, the wrapped keys and the head come from one snapshot. The entries are read after it,
//! a few at a time: they never change, so a backup of a large log holds up neither SQLite's
//! write-ahead log nor PostgreSQL's vacuum. (Openings may be erased meanwhile, and are then not in
//! it.) A restore ([`restore()`]) executes nothing that stands in the file, replays the whole log,
//! and goes into an empty place only.
//!
//! Keys that sign are in no backup, nor are those of data subjects: what they seal stays erased
//! when an older backup comes back. They have a file of their own ([`subjects`]).

mod body;
mod check;
mod file;
pub mod forget;
mod make;
mod reader;
mod restore;
mod snapshot;
pub mod subjects;
mod text;

pub use make::{Made, make};
pub use restore::{RESTORED, Restored, restore};

use crate::{
    keyfile::KeyFileError,
    ledger::{LedgerError, OpenError, subjects::KeyStoreError},
    relay::recording::{BadRecording, CipherFailed, KeyError},
    store::StoreError,
};
use audit_schema::hash::Hash;
use bastion_core::limits::BACKUP_HEADER_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The first word of a backup.
pub(super) const MAGIC: &str = "bastion-backup/1 ";

/// What the first line of a backup says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Its id: `b-…`.
    pub backup: String,
    /// The log's signed head just before the snapshot; empty for keys.
    pub checkpoint: String,
    /// SHA-256 of the configuration file.
    pub config: Hash,
    /// When it was made.
    pub created_at: String,
    /// Which gateway made it.
    pub gateway: String,
    /// What it is of: `log` or `keys`.
    pub kind: String,
    /// The deployment's name.
    pub origin: String,
    /// How many lines of recordings' keys follow.
    pub recordings: u64,
    /// The container's key, wrapped, as beside a recording.
    pub sealed: serde_json::Value,
    /// How many entries the log had.
    pub size: u64,
    /// Which database reads the text: `sqlite` or `postgres`.
    pub store: String,
}

impl Header {
    fn line(&self) -> Result<String, BackupError> {
        let json = serde_json::to_string(self).map_err(|why| BackupError::Bad(why.to_string()))?;
        Ok(format!("{MAGIC}{json}\n"))
    }

    fn parse(line: &[u8]) -> Result<Self, BackupError> {
        let json = line.strip_prefix(MAGIC.as_bytes());
        let json = json.and_then(|json| json.strip_suffix(b"\n"));
        json.filter(|json| json.len() < BACKUP_HEADER_BYTES_MAX)
            .and_then(|json| serde_json::from_slice(json).ok())
            .ok_or_else(|| body::bad("it does not begin with bastion-backup/1"))
    }
}

/// Why there is no backup, or why one is not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot go there.
    #[error("{0}")]
    Place(String),
    /// Another one is being written.
    #[error("{0} is being written by another backup: wait for it, or name another place")]
    Busy(PathBuf),
    /// No room is left.
    #[error(
        "no room is left on the disk of {0}: nothing stands there under that name. Make room, or \
         name another place"
    )]
    Full(PathBuf),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// It was made by a build with another schema.
    #[error("this backup's schema is of another build: restore it with the build that made it")]
    OtherBuild,
    /// It is not a whole backup.
    #[error("not a whole backup: {0}")]
    Bad(String),
    /// The log in it does not hold.
    #[error("the log in it does not hold: {0}")]
    Log(String),
    /// It was signed by somebody else.
    #[error(
        "its signature is not of this deployment's notice key (`[keys] notices`): somebody else \
         made or changed it, or the key was changed since"
    )]
    Signature,
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key of the deployment.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The container.
    #[error(transparent)]
    Container(#[from] BadRecording),
    /// The crypto provider said no.
    #[error(transparent)]
    Cipher(#[from] CipherFailed),
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The log of this gateway.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// What was put back does not hold.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// The keys of data subjects.
    #[error("{0}")]
    Keys(#[from] KeyStoreError),
    /// A part of it ended early.
    #[error("it was broken off")]
    Ended,
}

fn io_error(path: &Path, why: io::Error) -> BackupError {
    match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            BackupError::Full(path.to_owned())
        }
        _ => BackupError::Io(path.to_owned(), why),
    }
}
