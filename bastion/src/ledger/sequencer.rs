//! The single writer: takes what is queued, runs it under the head of the log, commits, answers.
//!
//! There is no timer. An idle log answers after one flush; under load, what is queued while one
//! batch is flushed is the next one, so batches grow by themselves. On PostgreSQL the head is
//! locked first and the queue is drained after, so that a gateway that waited for its turn takes
//! along everything that came in meanwhile.

use super::{
    Batch, LedgerError,
    answered::Answered,
    batch::Pending,
    change::{self, Ran},
    head::Head,
    hooks::{Hooks, Step},
    job::Job,
    reading::line_raw,
    room::Room,
    subjects::SubjectKeys,
    wal::Wal,
    write::{self, Failure, bounded, step},
};
use crate::{
    args,
    metrics::{Alarm, METRICS},
    store::{Db, StoreError, Tx, tx::Conn},
};
use audit_schema::{hash::Hash, merkle, time::Timestamp};
use bastion_core::limits::{
    BATCH_ENTRIES_MAX, BATCH_MILLIS_MAX, CLOCK_SKEW_MICROS_MAX, LOG_PROBE_MILLIS,
    POSTGRES_STATEMENT_SECONDS_MAX,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// What a writer is made of.
pub(super) struct Parts {
    pub db: Db,
    pub gateway: String,
    pub keys: SubjectKeys,
    pub hooks: Hooks,
    pub head: Head,
    pub size: watch::Sender<u64>,
    /// Since when nothing can be written; none while all is well.
    pub trouble: watch::Sender<Option<Instant>>,
    /// The tree over the entries, and the mark that says how far it went.
    pub answered: Answered,
    pub metrics: Arc<Metrics>,
    /// Whether no other process may write under this gateway's name.
    pub exclusive: bool,
    /// The connection that proved it.
    pub conn: Option<Conn>,
}

/// What the writer did beyond what [`METRICS`] counts. Counters only grow.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Batches that are durable.
    pub batches: AtomicU64,
    /// Entries that are durable, of this gateway.
    pub entries: AtomicU64,
    /// Changes that said no.
    pub refused: AtomicU64,
    /// Changes that failed.
    pub failed: AtomicU64,
    /// Microseconds of the last batch, from its lock to its answers.
    pub last_batch_micros: AtomicU64,
    /// Bytes of SQLite's write-ahead log.
    pub wal_bytes: AtomicU64,
}

/// The task that writes.
pub(super) struct Sequencer {
    parts: Parts,
    gateway: Arc<str>,
    /// The connection between two batches.
    conn: Option<Conn>,
    /// The head that was last seen: the log must never shrink, nor change behind it.
    seen: Head,
    wal: Wal,
    room: Room,
}

/// How often a log in trouble is tried.
const PROBE_PAUSE: Duration = Duration::from_millis(LOG_PROBE_MILLIS);

/// What the writer does next.
enum Next {
    /// A batch that begins with this change.
    Batch(Job),
    /// See whether it can be written again.
    Probe,
    /// Write what is queued, and take nothing more.
    Drain,
    /// There is nothing more.
    End,
}

/// The writer is to end.
struct Ended;

impl Sequencer {
    pub(super) fn new(mut parts: Parts) -> Self {
        let gateway = Arc::from(parts.gateway.as_str());
        let seen = parts.head.clone();
        let conn = parts.conn.take();
        let room = Room::of(&parts.db);
        Self { parts, gateway, conn, seen, wal: Wal::default(), room }
    }

    /// Until the last handle is gone, the log is closed and its queue empty, or the outcome of a
    /// batch is unknown.
    pub(super) async fn run(
        mut self,
        mut jobs: mpsc::Receiver<Job>,
        mut close: watch::Receiver<bool>,
    ) {
        loop {
            let in_trouble = self.parts.trouble.borrow().is_some();
            let next = tokio::select! {
                job = jobs.recv() => job.map_or(Next::End, Next::Batch),
                _ = close.wait_for(|close| *close), if !jobs.is_closed() => Next::Drain,
                () = tokio::time::sleep(PROBE_PAUSE), if in_trouble => Next::Probe,
            };
            let done = match next {
                Next::Batch(first) => self.batch(first, &mut jobs).await,
                Next::Probe => self.probe().await,
                Next::Drain => {
                    jobs.close();
                    Ok(())
                }
                Next::End => Err(Ended),
            };
            if let Err(Ended) = done {
                break;
            }
            self.wal.after_batch(&self.parts.db, &self.parts.metrics).await;
        }
        // What is still queued is dropped, and its callers hear that the log is closed.
    }

    /// One batch, beginning with one change.
    async fn batch(&mut self, first: Job, jobs: &mut mpsc::Receiver<Job>) -> Result<(), Ended> {
        let began = Instant::now();
        let mut batch = match self.begin().await {
            Ok(batch) => batch,
            Err(Failure::NotWritten(error)) => return self.refuse_all(first, jobs, &error),
            Err(Failure::Unknown(what)) => return Err(self.unknown(&what)),
        };
        let mut ran = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            if !self.room.admits(&job) {
                if job.take() {
                    self.fail(job, LedgerError::Full);
                }
                next = jobs.try_recv().ok();
                continue;
            }
            match change::run(job, &mut batch, &self.parts.hooks, &self.parts.metrics).await {
                Ok(stands) => ran.extend(stands),
                // Dropping the batch closes its connection, which rolls everything back.
                Err(error) => return self.not_written(ran, &error),
            }
            let room = batch.pending().len() < BATCH_ENTRIES_MAX
                && ran.len() < BATCH_ENTRIES_MAX
                && began.elapsed() < Duration::from_millis(BATCH_MILLIS_MAX);
            next = if room { jobs.try_recv().ok() } else { None };
        }
        let head = batch.head().clone();
        let entries = batch.pending().len();
        self.wal.note(batch.pending().iter().map(|entry| entry.line.len()).sum());
        match self.finish(batch).await {
            Ok(written) => {
                self.parts.answered.batch(written, &head);
                let size = head.size();
                self.seen = head;
                // Before the answers: whoever is told of an entry finds it counted.
                self.parts.size.send_replace(size);
                self.answer(ran, entries, began);
                Ok(())
            }
            Err(Failure::NotWritten(error)) => self.not_written(ran, &error),
            Err(Failure::Unknown(what)) => Err(self.unknown(&what)),
        }
    }

    /// A batch is lost, and known to be: everybody in it hears so.
    fn not_written(&mut self, ran: Vec<Ran>, error: &StoreError) -> Result<(), Ended> {
        if *error == StoreError::Full {
            self.room.is_full();
        }
        self.note_trouble(error);
        tracing::error!(%error, "a batch was not recorded; run `bastion doctor`");
        let error = LedgerError::from(error.clone());
        ran.into_iter().for_each(|(job, _)| self.fail(job, error.clone()));
        Ok(())
    }

    /// Begins the transaction and takes the head.
    async fn begin(&mut self) -> Result<Batch, Failure> {
        if let Db::Sqlite(store) = &self.parts.db {
            store.check_file().map_err(|error| Failure::Unknown(error.to_string()))?;
        }
        let conn = self.conn.take();
        let parts = &self.parts;
        let lock = async {
            let conn = match conn {
                Some(conn) => conn,
                None if parts.exclusive => writer_of(&parts.db, &parts.gateway).await?,
                None => parts.db.writer().await?,
            };
            let mut tx = Tx::begin_write(conn).await?;
            let (head, clock) = Head::lock(&mut tx).await?;
            if head.size() != self.seen.size() {
                parts.keys.forget_erased(&mut tx).await?;
            }
            Ok((tx, head, clock))
        };
        let lock = step(&self.parts.hooks, Step::Lock, lock);
        let (tx, head, clock) =
            bounded(POSTGRES_STATEMENT_SECONDS_MAX, lock).await.map_err(Failure::NotWritten)?;
        self.check_seen(&head)?;
        self.check_clock(&head, clock).map_err(Failure::NotWritten)?;
        let made_with = (Arc::clone(&self.gateway), self.parts.keys.clone());
        Ok(Batch::new(tx, head, made_with))
    }

    /// The head must be the one that was seen last, or (other gateways) a later one.
    fn check_seen(&self, head: &Head) -> Result<(), Failure> {
        let (is, was) = (head.size(), self.seen.size());
        if is > was || *head == self.seen {
            return Ok(());
        }
        Err(Failure::Unknown(format!(
            "the log's head is not what it was ({is} entries, {was} before): the store was put \
             back to another state while it was open"
        )))
    }

    /// A clock that is behind the head, or off the database's, would give entries and
    /// certificates a time that is not.
    fn check_clock(&self, head: &Head, database: Option<Timestamp>) -> Result<(), StoreError> {
        let now = (self.parts.hooks.clock)();
        let behind = head.time().micros() - now.micros();
        let off = database.map_or(0, |database| (database.micros() - now.micros()).abs());
        if behind > CLOCK_SKEW_MICROS_MAX {
            return Err(StoreError::Unavailable(format!(
                "this machine's clock is {} ms behind the last entry: set the clock",
                behind / 1000
            )));
        }
        if off > CLOCK_SKEW_MICROS_MAX {
            return Err(StoreError::Unavailable(format!(
                "this machine's clock is {} ms off the database's: set the clock",
                off / 1000
            )));
        }
        Ok(())
    }

    /// Writes what the changes appended. A batch that appended nothing has nothing to write.
    async fn finish(&mut self, batch: Batch) -> Result<Vec<Pending>, Failure> {
        let parts = batch.into_parts();
        if parts.pending.is_empty() {
            self.conn = Some(parts.tx.rollback().await.map_err(Failure::NotWritten)?);
            return Ok(parts.pending);
        }
        let first = parts.pending.first().map(|entry| (entry.seq, entry.leaf));
        match write::write(parts, &self.parts.hooks).await {
            Ok((conn, written)) => {
                self.conn = Some(conn);
                Ok(written)
            }
            Err(Failure::NotWritten(StoreError::Full)) => Err(self.surely_full(first).await),
            Err(failure) => Err(failure),
        }
    }

    /// A full disk takes the batch back. Looked at again on a fresh connection, because "not
    /// recorded" must be true.
    async fn surely_full(&self, first: Option<(u64, Hash)>) -> Failure {
        let Some((seq, leaf)) = first else {
            return Failure::NotWritten(StoreError::Full);
        };
        match line_raw(&self.parts.db, seq).await {
            Ok(Some(line)) if merkle::leaf_hash(&line) == leaf => {
                Failure::Unknown("the disk was full, yet the batch is there".into())
            }
            Ok(_) => Failure::NotWritten(StoreError::Full),
            Err(error) => Failure::Unknown(format!("the disk was full, then: {error}")),
        }
    }

    fn answer(&self, ran: Vec<Ran>, entries: usize, began: Instant) {
        let metrics = &self.parts.metrics;
        let micros = |since: Instant| u64::try_from(since.elapsed().as_micros()).unwrap_or(0);
        for (job, stamp) in ran {
            METRICS.appended(job.queued_at.elapsed());
            job.recorded(stamp);
        }
        METRICS.batch(entries);
        self.note_well();
        metrics.batches.fetch_add(1, Ordering::Relaxed);
        metrics.entries.fetch_add(entries as u64, Ordering::Relaxed);
        metrics.last_batch_micros.store(micros(began), Ordering::Relaxed);
    }

    /// The head cannot be had: everybody who waits hears so, rather than each after a timeout of
    /// its own.
    fn refuse_all(
        &self,
        first: Job,
        jobs: &mut mpsc::Receiver<Job>,
        error: &StoreError,
    ) -> Result<(), Ended> {
        self.note_trouble(error);
        tracing::error!(%error, "the log is not available; run `bastion doctor`");
        let error = LedgerError::from(error.clone());
        // Those that waited with it; who comes after this answer gets a try of their own.
        let waiting = (0..jobs.len()).map_while(|_| jobs.try_recv().ok()).collect::<Vec<_>>();
        for job in std::iter::once(first).chain(waiting) {
            if job.take() {
                self.fail(job, error.clone());
            }
        }
        Ok(())
    }

    /// From now on nothing can be written: channels that may not go on without a log hear of it.
    fn note_trouble(&self, error: &StoreError) {
        METRICS.alarm(Alarm::Log, true);
        if matches!(error, StoreError::Full | StoreError::Unavailable(_)) {
            self.parts.trouble.send_if_modified(|since| {
                let first = since.is_none();
                since.get_or_insert_with(Instant::now);
                first
            });
        }
    }

    /// A batch is durable. (Closing entries still are while the disk is full.)
    fn note_well(&self) {
        let well = !self.room.found_full();
        METRICS.alarm(Alarm::Log, !well);
        self.parts.trouble.send_if_modified(|since| well && since.take().is_some());
    }

    /// In trouble, and nobody asks for an entry: whether the head can be had again, and there is
    /// room. Otherwise an idle log would look broken long after it is not.
    async fn probe(&mut self) -> Result<(), Ended> {
        match self.begin().await {
            Ok(batch) => {
                self.conn = batch.into_parts().tx.rollback().await.ok();
                if self.conn.is_some() && self.room.has_room() {
                    self.note_well();
                }
                Ok(())
            }
            Err(Failure::NotWritten(_)) => Ok(()),
            Err(Failure::Unknown(what)) => Err(self.unknown(&what)),
        }
    }

    fn fail(&self, job: Job, error: LedgerError) {
        self.parts.metrics.failed.fetch_add(1, Ordering::Relaxed);
        job.failed(error);
    }

    fn unknown(&self, what: &str) -> Ended {
        self.note_trouble(&StoreError::Unavailable(what.to_owned()));
        (self.parts.hooks.fatal)(what);
        Ended
    }
}

/// The connection that writes, after it has shown that no other process is this gateway: two of
/// one name would each close what the other has open. (An SQLite file has its own lock.)
pub(super) async fn writer_of(db: &Db, gateway: &str) -> Result<Conn, StoreError> {
    /// Tells our locks from those of other programs on the same database.
    const LOCK_SPACE: i64 = 0x0062_6173;
    let mut conn = db.writer().await?;
    if !db.is_postgres() {
        return Ok(conn);
    }
    // The lock is the connection's: it must not go back to the pool with it.
    conn.close_on_drop();
    for _ in 0..NAME_TRIES {
        let ask = "SELECT pg_try_advisory_lock($1::bigint::integer, hashtext($2))";
        let rows = conn.rows(ask, &args![LOCK_SPACE, gateway]).await?;
        if rows.first().map(|row| row.bool(0)).transpose()? == Some(true) {
            return Ok(conn);
        }
        // It may be a connection of ours that broke: the server needs a moment to notice.
        tokio::time::sleep(NAME_PAUSE).await;
    }
    Err(StoreError::Unavailable(format!(
        "another process is gateway {gateway}: end it, or give this one another name"
    )))
}

/// How often the name is asked for, and the pause between.
const NAME_TRIES: u32 = 20;
const NAME_PAUSE: Duration = Duration::from_millis(50);
