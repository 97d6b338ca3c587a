//! Keeping SQLite's write-ahead log short, off the path of a commit.
//!
//! A checkpoint in the background moves the bulk into the database while batches go on; it alone
//! never catches up with a busy writer. So when it is done, the writer does a short one between
//! two batches: with nothing left to move, the next commit begins the log from its start. The size
//! of the file says nothing of how much it holds (it is not cut when it begins anew), so what was
//! written is estimated, and put right by what each checkpoint answers.

use super::sequencer::Metrics;
use crate::store::{Db, StoreError, sqlite::SqliteStore};
use bastion_core::limits::{SQLITE_WAL_ALARM_BYTES, SQLITE_WAL_CHECKPOINT_BYTES};
use std::sync::atomic::Ordering;
use tokio::task::JoinHandle;

/// What a batch writes beside its lines: pages of heads, openings and facts, about sixteen.
const BATCH_OVERHEAD_BYTES: u64 = 16 * 4096;

/// The writer's view of the write-ahead log.
#[derive(Default)]
pub(super) struct Wal {
    /// About how many bytes are still to be moved.
    held: u64,
    background: Option<JoinHandle<Result<u64, StoreError>>>,
}

impl Wal {
    /// A batch with this many bytes of lines is being written; openings weigh about as much.
    pub fn note(&mut self, line_bytes: usize) {
        self.held += BATCH_OVERHEAD_BYTES + 2 * line_bytes as u64;
    }

    /// Between two batches.
    pub async fn after_batch(&mut self, db: &Db, metrics: &Metrics) {
        let Db::Sqlite(store) = db else {
            return;
        };
        let bytes = store.wal_bytes();
        metrics.wal_bytes.store(bytes, Ordering::Relaxed);
        if bytes >= SQLITE_WAL_ALARM_BYTES {
            tracing::error!(bytes, "the write-ahead log grows: a reader is stuck");
        }
        match &self.background {
            Some(task) if task.is_finished() => {
                self.background = None;
                self.settle(store).await;
            }
            None if self.held >= SQLITE_WAL_CHECKPOINT_BYTES => {
                let store = store.clone();
                self.background = Some(tokio::spawn(async move { store.checkpoint().await }));
            }
            _ => {}
        }
    }

    /// The short one: what came in since the one in the background began.
    async fn settle(&mut self, store: &SqliteStore) {
        match store.checkpoint().await {
            Ok(left) => self.held = left,
            // Nothing is lost: the log only stays longer, and the alarm above says when too long.
            Err(error) => tracing::warn!(%error, "the write-ahead log was not checkpointed"),
        }
    }
}
