//! Room for the last words.
//!
//! When the disk of an SQLite log fills up, what is open must still be closed with an entry. So a
//! file beside the log takes up room while all is well. At the first "disk full" it is given up,
//! and from then on only changes that close something are let through. Once the file fits again,
//! with as much room left beside it, everything goes on. (On PostgreSQL the disk is the server's,
//! and so is its reserve.)

use super::job::{Job, Purpose};
use crate::{
    metrics::{Alarm, METRICS},
    store::Db,
};
use bastion_core::limits::{LOG_FULL_RETRY_MILLIS, LOG_RESERVE_BYTES};
use nix::{fcntl::posix_fallocate, sys::statvfs::statvfs};
use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Who may write.
pub(super) struct Room {
    /// The file that takes up room; none on PostgreSQL.
    reserve: Option<PathBuf>,
    /// The disk was found full; from this moment on it may be looked at again.
    full: Option<Instant>,
}

impl Room {
    /// Takes up the room. A disk that has none left counts as full from the start.
    pub fn of(db: &Db) -> Self {
        let Db::Sqlite(store) = db else {
            return Self { reserve: None, full: None };
        };
        if store.is_read_only() {
            return Self { reserve: None, full: None };
        }
        let mut room = Self { reserve: Some(store.beside(".reserve")), full: None };
        if let Err(error) = room.hold() {
            tracing::error!(%error, "no room is left on the disk of the log");
            room.is_full();
        }
        room
    }

    /// Whether a change may be made now.
    pub fn admits(&mut self, job: &Job) -> bool {
        job.purpose == Purpose::Closing || self.has_room()
    }

    /// Whether there is room; looks again if the disk was full, but not too often.
    pub fn has_room(&mut self) -> bool {
        let Some(look_at) = self.full else {
            return true;
        };
        let now = Instant::now();
        if now < look_at {
            return false;
        }
        match self.hold() {
            Ok(()) => {
                tracing::info!("there is room on the disk of the log again");
                self.full = None;
            }
            Err(_) => self.full = Some(now + Duration::from_millis(LOG_FULL_RETRY_MILLIS)),
        }
        self.full.is_none()
    }

    /// Whether the disk was found full and has not recovered yet.
    pub fn found_full(&self) -> bool {
        self.full.is_some()
    }

    /// The disk is full: gives up the room for those that close something.
    pub fn is_full(&mut self) {
        let Some(reserve) = &self.reserve else {
            return;
        };
        METRICS.alarm(Alarm::Log, true);
        match fs::remove_file(reserve) {
            Ok(()) => tracing::error!("the disk of the log is full: only what is open is closed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "the room kept for closing cannot be given up"),
        }
        self.full = Some(Instant::now());
    }

    /// Takes up the room, if as much is free beside it: a disk that would be full at the next
    /// entry is full.
    fn hold(&mut self) -> io::Result<()> {
        let Some(reserve) = &self.reserve else {
            return Ok(());
        };
        let held = fs::metadata(reserve).map_or(0, |found| found.len());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(reserve)?;
        if held >= LOG_RESERVE_BYTES {
            return Ok(());
        }
        let free = statvfs(reserve)?;
        let free = free.blocks_available() * free.fragment_size();
        let bytes = i64::try_from(LOG_RESERVE_BYTES).map_err(io::Error::other)?;
        if free >= 2 * LOG_RESERVE_BYTES && posix_fallocate(&file, 0, bytes).is_ok() {
            return Ok(());
        }
        fs::remove_file(reserve)?;
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
}
