//! Putting a backup back: a full replay, into an empty place, whole or not at all.
//!
//! One thread opens the file (signature, then every seal, then the replay of every entry) and hands
//! rows on; they go into a new SQLite file under another name, or into one transaction of an empty
//! PostgreSQL database. What is then stored is read once more and checked as `audit verify` does,
//! openings and customers' chains included, and only then has its name. If we crash on the way, a
//! file ending in `.restoring` is left, or an empty schema: the next try begins with it anew.
//!
//! The log is what it was at the time of the backup. Who remembers more refuses its start.

use super::{BackupError, body::Body, check::Replay, io_error, reader::Sealed, text::Dialect};
use crate::{
    args,
    config::{Config, Store},
    keyfile,
    ledger::{SubjectKeys, head::Head, open::verify_whole},
    relay::recording::{ContainerKey, unwrap},
    store::{Db, Options, Tx},
};
use audit_schema::{checkpoint::Vkey, hash::Hash};
use bastion_core::limits::{BACKUP_PIECE_BYTES, RESTORE_BATCH_BYTES, RESTORE_PIECES_WAITING_MAX};
use serde_json::json;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;

/// What was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The backup's id.
    pub backup: String,
    /// When it was made.
    pub created_at: String,
    /// How many entries the log has.
    pub entries: u64,
    /// The root over them.
    pub root: Hash,
    /// Whether the configuration file is the one of then.
    pub same_config: bool,
}

/// Puts a backup of the log into the store of a configuration, which must be empty.
pub async fn restore(config: &Config, from: &Path, pem: &str) -> Result<Restored, BackupError> {
    let sealed = Sealed::open(from)?;
    check_it_is_ours(config, &sealed, "log")?;
    let keys = SubjectKeys::open_read_only(&config.erasure.keys).await?;
    let notices = keyfile::read_log_key(&config.keys.notices)?.verifying_key();
    let log_key = keyfile::read_log_key(&config.keys.log)?.verifying_key();
    let digest = sealed.check_signature(&notices)?;
    let header = sealed.header.clone();
    let key = unwrap(&header.sealed.to_string(), pem)?;
    let origin = header.checkpoint.lines().next().unwrap_or_default();
    let vkey = Vkey::new(origin, log_key);
    let vkey = vkey.map_err(|bad| BackupError::Log(format!("{origin}: {bad}")))?;
    let note = json!({
        "backup": header.backup, "digest": digest.to_string(), "entries": header.size,
    });
    let replay = Rows { sealed, key, vkey };
    let head = match &config.store {
        Store::Sqlite { file, index } => {
            into_file((file, index), (replay, note.to_string()), &keys).await?
        }
        Store::Postgres { url } => into_database(url, (replay, note.to_string()), &keys).await?,
    };
    let text = fs::read(&config.file).map_err(|why| io_error(&config.file, why))?;
    Ok(Restored {
        backup: header.backup,
        created_at: header.created_at,
        entries: head.size(),
        root: head.frontier().root(),
        same_config: Hash::of(&text) == header.config,
    })
}

/// A backup of another deployment or kind does not come so far as to be opened.
pub(super) fn check_it_is_ours(
    config: &Config,
    sealed: &Sealed,
    kind: &str,
) -> Result<(), BackupError> {
    let header = &sealed.header;
    let wrong = |what: String| Err(BackupError::Place(what));
    if header.kind != kind {
        return wrong(format!("it is a backup of the {}, not of the {kind}", header.kind));
    }
    if header.origin != config.origin {
        let (its, ours) = (&header.origin, &config.origin);
        return wrong(format!("it is a backup of {its}, and this deployment is {ours}"));
    }
    let store = match (kind, &config.store) {
        ("log", Store::Postgres { .. }) => Dialect::Postgres,
        ("log", Store::Sqlite { .. }) => Dialect::Sqlite,
        _ => Dialect::of(config.erasure.keys.starts_with("postgres")),
    };
    match header.store == store.name() {
        true => Ok(()),
        false => wrong(format!(
            "it is a backup for {}, and the configuration names a store of {}",
            header.store,
            store.name()
        )),
    }
}

/// The rows of a backup, which are replayed as they come.
struct Rows {
    sealed: Sealed,
    key: ContainerKey,
    vkey: Vkey,
}

/// Rows of one table, as its database takes them.
type Piece = (&'static str, String);

impl Rows {
    /// Hands the rows on from a thread of its own; it answers when all of it holds.
    fn send(self) -> (mpsc::Receiver<Piece>, tokio::task::JoinHandle<Result<(), BackupError>>) {
        let (pieces, waiting) = mpsc::channel(RESTORE_PIECES_WAITING_MAX);
        (waiting, tokio::task::spawn_blocking(move || self.replay(&pieces)))
    }

    fn replay(&self, pieces: &mpsc::Sender<Piece>) -> Result<(), BackupError> {
        let Self { sealed, key, vkey } = self;
        let dialect = Dialect::named(&sealed.header.store)?;
        let mut body = Body::new(dialect);
        let mut replay = Replay::new(&sealed.header, vkey, sealed.keys()?)?;
        let mut piece: Piece = ("", String::new());
        let send = |piece: &mut Piece| {
            let full = (piece.0, std::mem::take(&mut piece.1));
            match full.1.is_empty() {
                true => Ok(()),
                // Who takes them has failed, and says why.
                false => pieces.blocking_send(full).map_err(|_| BackupError::Ended),
            }
        };
        sealed.lines(key, |line| {
            let Some(row) = body.line(line)? else { return Ok(()) };
            let row = replay.row(row)?;
            if row.table != piece.0 || piece.1.len() >= BACKUP_PIECE_BYTES {
                send(&mut piece)?;
                piece.0 = row.table;
            }
            dialect.row(row.table, &row.values, &mut piece.1);
            Ok(())
        })?;
        send(&mut piece)?;
        body.ended()?;
        replay.finish(&sealed.header).map(drop)
    }
}

const NOTE: &str = "INSERT INTO settings (key, value) VALUES ($1, $2)";
/// Where the store keeps that it was put back, until a start has entered it.
pub const RESTORED: &str = "restored";

/// The file under another name until all of it holds.
async fn into_file(
    (file, index): (&Path, &Path),
    (rows, note): (Rows, String),
    keys: &SubjectKeys,
) -> Result<Head, BackupError> {
    nothing_at(file)?;
    let unfinished = with(file, ".restoring");
    remove(&unfinished)?;
    let url = format!("sqlite:{}", unfinished.display());
    let head = filled(&url, (rows, note), keys).await;
    if head.is_err() {
        remove(&unfinished)?;
    }
    let head = head?;
    for left in ["-wal", "-shm", ".lock"] {
        remove_one(&with(&unfinished, left))?;
    }
    let flushed = File::open(&unfinished).and_then(|file| file.sync_all());
    flushed.map_err(|why| io_error(&unfinished, why))?;
    // It may be of entries that are not in this log: it is begun anew.
    for left in ["", "-wal", "-shm"] {
        remove_one(&with(index, left))?;
    }
    super::file::name_it(&unfinished, file)?;
    Ok(head)
}

async fn filled(
    url: &str,
    (rows, note): (Rows, String),
    keys: &SubjectKeys,
) -> Result<Head, BackupError> {
    let options = Options { durable: false, ..Options::CREATE };
    let db = Db::open(url, options).await?;
    let loaded = load(&db, (rows, note), RESTORE_BATCH_BYTES).await;
    db.close().await;
    loaded?;
    let db = Db::open(url, Options::OPEN).await?;
    let head = verify_whole(&db, keys).await;
    db.close().await;
    Ok(head?)
}

/// All rows in transactions of some size; the last one holds the note.
async fn load(
    db: &Db,
    (rows, note): (Rows, String),
    batch_bytes: usize,
) -> Result<(), BackupError> {
    let (mut pieces, thread) = rows.send();
    let mut tx = begin(db).await?;
    let mut bytes = 0;
    while let Some((table, rows)) = pieces.recv().await {
        bytes += rows.len();
        tx.load(table, rows).await?;
        if bytes >= batch_bytes {
            tx.commit().await.map(drop)?;
            (tx, bytes) = (begin(db).await?, 0);
        }
    }
    // Nothing is kept of a backup that does not hold to its end.
    thread.await.map_err(|_| BackupError::Ended)??;
    tx.run(NOTE, &args![RESTORED, note]).await?;
    tx.commit().await.map(drop)?;
    Ok(())
}

async fn begin(db: &Db) -> Result<Tx, BackupError> {
    let mut tx = Tx::begin_write(db.writer().await?).await?;
    if tx.is_postgres() {
        tx.script("SET LOCAL statement_timeout = '1h'").await?;
    }
    Ok(tx)
}

/// Everything in one transaction of an empty database.
async fn into_database(
    url: &str,
    (rows, note): (Rows, String),
    keys: &SubjectKeys,
) -> Result<Head, BackupError> {
    let db = Db::connect(url, &Options::CREATE).await?;
    let restored = within_database(&db, url, (rows, note), keys).await;
    db.close().await;
    restored
}

async fn within_database(
    db: &Db,
    url: &str,
    (rows, note): (Rows, String),
    keys: &SubjectKeys,
) -> Result<Head, BackupError> {
    let there = "SELECT COUNT(to_regclass('projection.projection_state'))";
    let indexed = db.row_opt(there, &[]).await?.map(|row| row.bool(0)).transpose()?;
    Db::open(url, Options::CREATE).await?.close().await;
    let used = Head::read(db).await.is_ok();
    if used || indexed == Some(true) {
        return Err(BackupError::Place(
            "the database of `store` is not empty: a backup is never put over a store. Name \
             another one, and keep this: it may hold what the backup does not"
                .into(),
        ));
    }
    load(db, (rows, note), usize::MAX).await?;
    Ok(verify_whole(db, keys).await?)
}

/// A backup is put over nothing.
pub(super) fn nothing_at(file: &Path) -> Result<(), BackupError> {
    match file.exists() || with(file, "-wal").exists() {
        false => Ok(()),
        true => Err(BackupError::Place(format!(
            "{} is there: a backup is never put over anything. Move it away, and keep it: it may \
             hold what the backup does not",
            file.display()
        ))),
    }
}

pub(super) fn with(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A file of SQLite with those beside it.
pub(super) fn remove(file: &Path) -> Result<(), BackupError> {
    ["", "-wal", "-shm", ".lock"].iter().try_for_each(|suffix| remove_one(&with(file, suffix)))
}

fn remove_one(file: &Path) -> Result<(), BackupError> {
    match fs::remove_file(file) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(io_error(file, why)),
        _ => Ok(()),
    }
}
