//! SQLite, made to keep its word.
//!
//! Write-ahead log with a flush for every commit (`synchronous=FULL`; NORMAL would lose answered
//! commits when the power goes). Every setting is read back on every connection, because a pragma
//! that SQLite does not like is ignored in silence. One connection writes, the others only read.
//! A lock file of our own keeps a second gateway out: SQLite's own exclusive mode would lock out
//! our readers too.

use super::{Options, StoreError};
use bastion_core::limits::{
    SCRUB_SECONDS_MAX, SQLITE_BUSY_SECONDS_MAX, SQLITE_READERS_MAX, SQLITE_ROWS_AT_ONCE,
    SQLITE_WAL_KEPT_BYTES, STORE_WAIT_SECONDS_MAX,
};
use nix::fcntl::{Flock, FlockArg};
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions,
        SqliteSynchronous,
    },
};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// An open SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    readers: SqlitePool,
    writer: SqlitePool,
    file: Arc<FileIdentity>,
    read_only: bool,
    /// Held until [`Self::close`], or until the last clone is gone; the kernel releases it when
    /// the process dies.
    lock: Arc<Mutex<Option<Flock<File>>>>,
}

/// Which file was opened: what is on disk under the same path must stay that file.
#[derive(Debug)]
struct FileIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SqliteStore {
    /// Opens a file; with `create`, makes it, readable by its owner alone.
    pub(super) async fn open(path: &Path, options: &Options) -> Result<Self, StoreError> {
        if path.as_os_str().is_empty() {
            let hint = "no file named: write sqlite:/path/to/bastion.db";
            return Err(StoreError::Unfit(hint.into()));
        }
        let lock = match options.read_only || options.shared {
            true => None,
            false => Some(lock_beside(path)?),
        };
        if options.create {
            make(path)?;
        }
        let file = Arc::new(FileIdentity::of(path)?);
        let store = Self {
            writer: pool(path, options, Use::Writer).await?,
            readers: pool(path, options, Use::Reader).await?,
            file,
            read_only: options.read_only,
            lock: Arc::new(Mutex::new(lock)),
        };
        Ok(store)
    }

    /// Connections that refuse to write.
    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// The one connection that writes.
    pub(super) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// Whether it was opened for looking only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Whether the path still leads to the file that was opened. One that was deleted or replaced
    /// under us would take commits that nobody can ever read.
    pub(crate) fn check_file(&self) -> Result<(), StoreError> {
        let found = FileIdentity::of(&self.file.path)?;
        if (found.device, found.inode) != (self.file.device, self.file.inode) {
            let path = self.file.path.display();
            return Err(StoreError::Unfit(format!("{path} was replaced while it was open")));
        }
        Ok(())
    }

    /// Moves what the write-ahead log holds into the database, as far as no reader is in the way;
    /// never waits for one. Answers how many bytes are left to move; at 0 the next commit begins
    /// the log from its start.
    pub(crate) async fn checkpoint(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&self.readers).await?;
        let (pages, moved): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        Ok(u64::try_from(pages - moved).unwrap_or(0) * PAGE_BYTES)
    }

    /// Moves everything into the database and cuts the write-ahead log to nothing, so that no page
    /// of it holds what was overwritten; false if a reader stood in the way all the time. What was
    /// overwritten in the database itself is zeroed by `secure_delete`.
    pub(crate) async fn scrub(&self) -> Result<bool, StoreError> {
        let give_up = tokio::time::Instant::now() + Duration::from_secs(SCRUB_SECONDS_MAX);
        loop {
            let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
            let row = sqlx::query(sql).fetch_one(&self.readers).await?;
            if row.try_get::<i64, _>(0)? == 0 {
                return Ok(true);
            }
            if tokio::time::Instant::now() >= give_up {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The path of a file beside the database.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.file.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    /// The size of the write-ahead log on disk.
    pub(crate) fn wal_bytes(&self) -> u64 {
        std::fs::metadata(self.beside("-wal")).map_or(0, |found| found.len())
    }
}

impl FileIdentity {
    fn of(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        let found = std::fs::metadata(path)
            .map_err(|error| StoreError::Unfit(format!("{shown}: {error}")))?;
        if found.nlink() == 0 || !found.is_file() {
            return Err(StoreError::Unfit(format!("{shown} is not a file, or was deleted")));
        }
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }
}

fn owned_by_us(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::Unfit(format!("{}: {error}", path.display())))
}

/// An empty file is an empty database, so making it ourselves settles its mode.
fn make(path: &Path) -> Result<(), StoreError> {
    owned_by_us(path).map(drop)
}

fn lock_beside(path: &Path) -> Result<Flock<File>, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = owned_by_us(Path::new(&name))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        let path = path.display();
        StoreError::Unfit(format!(
            "{path} is in use by another process: a running gateway answers commands itself"
        ))
    })
}

/// A page of the database in the write-ahead log, with its header.
const PAGE_BYTES: u64 = 4096 + 24;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Writer,
    Reader,
}

async fn pool(path: &Path, options: &Options, purpose: Use) -> Result<SqlitePool, StoreError> {
    let synchronous = match (options.durable, options.shared) {
        // Without a write-ahead log, a commit is the end of the journal's name in its folder.
        (true, true) => SqliteSynchronous::Extra,
        (true, false) => SqliteSynchronous::Full,
        (false, _) => SqliteSynchronous::Normal,
    };
    let query_only = options.read_only || purpose == Use::Reader;
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(options.read_only)
        .busy_timeout(Duration::from_secs(SQLITE_BUSY_SECONDS_MAX))
        // Every answer is taken whole, so its rows cross to us in one go, not fifty at a time.
        .row_buffer_size(SQLITE_ROWS_AT_ONCE)
        .synchronous(synchronous)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("mmap_size", "0")
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", SQLITE_WAL_KEPT_BYTES.to_string())
        // The ledger checkpoints between batches, off the path of a commit.
        .pragma("wal_autocheckpoint", if options.durable { "0" } else { "1000" })
        .pragma("query_only", if query_only { "ON" } else { "OFF" });
    let connect = match (options.read_only, options.shared) {
        (true, _) => connect,
        (false, true) => connect.journal_mode(SqliteJournalMode::Delete),
        (false, false) => connect.journal_mode(SqliteJournalMode::Wal),
    };
    let expected = expected(options, query_only);
    // Once by hand: a pool tries a connection that fails again until its time is up, and then
    // does not say why.
    let mut first = connect.connect().await?;
    read_back(&mut first, expected).await.map_err(super::unfit)?;
    first.close().await?;
    let connections = match purpose {
        Use::Writer => 1,
        Use::Reader => SQLITE_READERS_MAX,
    };
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(STORE_WAIT_SECONDS_MAX))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(move |conn, _| Box::pin(read_back(conn, expected)))
        .connect_with(connect)
        .await?;
    Ok(pool)
}

type Settings = [(&'static str, &'static str); 8];

fn expected(options: &Options, query_only: bool) -> Settings {
    [
        ("PRAGMA journal_mode", if options.shared { "delete" } else { "wal" }),
        (
            "PRAGMA synchronous",
            match (options.durable, options.shared) {
                (true, true) => "3",
                (true, false) => "2",
                (false, _) => "1",
            },
        ),
        ("PRAGMA foreign_keys", "1"),
        ("PRAGMA trusted_schema", "0"),
        ("PRAGMA cell_size_check", "1"),
        ("PRAGMA mmap_size", "0"),
        ("PRAGMA secure_delete", "1"),
        ("PRAGMA query_only", if query_only { "1" } else { "0" }),
    ]
}

async fn read_back(conn: &mut SqliteConnection, expected: Settings) -> Result<(), sqlx::Error> {
    for (pragma, wanted) in expected {
        let row = sqlx::query(pragma).fetch_optional(&mut *conn).await?;
        // A pragma without an answer is one that this SQLite was built without: for mmap_size
        // that means 0, for the others that they are not in force.
        let found = match row {
            Some(row) => match row.try_get::<i64, _>(0) {
                Ok(number) => number.to_string(),
                Err(_) => row.try_get::<String, _>(0)?,
            },
            None if pragma == "PRAGMA mmap_size" => "0".to_owned(),
            None => "nothing".to_owned(),
        };
        if found != wanted {
            let fault = format!("SQLite answers {found} to `{pragma}`; it must be {wanted}");
            return Err(sqlx::Error::Configuration(fault.into()));
        }
    }
    Ok(())
}
