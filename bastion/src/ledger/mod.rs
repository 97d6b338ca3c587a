//! The log: nothing that the bastion does counts until it stands here.
//!
//! One change goes like this. Somebody calls [`Ledger::record`] with a closure. The single writer
//! ([`sequencer`]) opens a transaction, takes the head of the log, and runs the closure in it: the
//! closure reads facts, decides, writes rows and appends entries through [`Batch`]. The writer goes
//! on with whatever else is queued, links all entries ([`batch`]), writes and flushes them in one
//! commit ([`mod@write`]), reads them back, hashes them again, and only then answers every caller.
//!
//! What an answer means:
//!
//! - [`Recorded`]: the entries and every row of the change are on the disk (PostgreSQL: flushed by
//!   the server), and have been read back. There is no other way to make one.
//! - [`LedgerError::Refused`]: the closure said no. Nothing of it was written.
//! - [`LedgerError::Full`], [`LedgerError::Unavailable`], [`LedgerError::Failed`]: nothing of it
//!   was written, and nothing will be.
//! - [`LedgerError::Closed`]: the writer has ended; the process is about to.
//!
//! Facts that a closure reads cannot change before its entry is durable: whoever changes a fact
//! does so in a closure too, and there is one head. A commit whose outcome is unknown ends the
//! process with code 70 (see [`hooks`]): whatever was true is found at the next start, and nobody
//! was told anything in between.

mod answered;
pub mod batch;
mod change;
pub mod epochs;
pub mod erasure;
pub mod head;
pub mod heartbeat;
pub mod hooks;
mod job;
pub mod mark;
pub mod open;
pub mod projection;
mod proofs;
pub mod publish;
pub mod reading;
pub mod recorded;
pub mod recover;
mod rollback;
mod room;
pub mod sequencer;
pub mod signer;
pub mod subjects;
mod tail;
pub(crate) mod told;
mod wal;
pub mod whole;
pub mod witnessed;
mod write;

pub use batch::{Batch, NewEntry};
pub use hooks::Hooks;
pub use open::{OpenError, Opening};
pub use proofs::{Signed, Unsigned};
pub use recorded::{ChangeError, Entered, LedgerError, Recorded, Refusal};
pub use recover::{OpenRecording, RecordingFound};
pub use subjects::SubjectKeys;
pub use witnessed::{NotWitnessed, Shown};

pub use ed25519_dalek::SigningKey;

use crate::{
    store::{Db, tx::Conn},
    witness::panel::Panel,
};
use answered::Answered;
use audit_schema::merkle::Frontier;
use bastion_core::limits::{APPEND_WAIT_SECONDS_MAX, LEDGER_QUEUE_CHANGES_MAX};
use futures_util::future::BoxFuture;
use job::{Job, Purpose, Turn};
use mark::Mark;
use proofs::Tree;
use signer::LogSigner;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// A handle to the log; cheap to clone. The writer ends when the last handle is gone.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    db: Db,
    keys: SubjectKeys,
    names: Names,
    gateway: String,
    signer: Arc<dyn LogSigner>,
    tree: Arc<Tree>,
    mark: Option<Arc<Mark>>,
    panel: Option<Arc<Panel>>,
    queue: mpsc::Sender<Job>,
    /// The size of the log as this gateway last saw it; whoever follows waits for it to change.
    size: watch::Receiver<u64>,
    trouble: watch::Receiver<Option<Instant>>,
    close: watch::Sender<bool>,
    metrics: Arc<sequencer::Metrics>,
}

/// What a log is called.
struct Names {
    /// By the deployment that it is of, for good.
    deployment: String,
    /// In its checkpoints, until the epoch ends.
    origin: String,
}

/// What a log is started from.
struct Start {
    db: Db,
    opening: Opening,
    names: Names,
    signer: Arc<dyn LogSigner>,
    tree: Arc<Tree>,
    head: head::Head,
    conn: Option<Conn>,
}

impl Ledger {
    fn start(start: Start) -> Self {
        let Start { db, opening, names, signer, tree, head, conn } = start;
        let (queue, jobs) = mpsc::channel(LEDGER_QUEUE_CHANGES_MAX);
        let (size_seen, size) = watch::channel(head.size());
        let (close, closing) = watch::channel(false);
        let (trouble_seen, trouble) = watch::channel(None);
        let metrics = Arc::new(sequencer::Metrics::default());
        let keys = opening.keys;
        let writer = sequencer::Sequencer::new(sequencer::Parts {
            db: db.clone(),
            gateway: opening.gateway.clone(),
            keys: keys.clone(),
            hooks: opening.hooks,
            head,
            size: size_seen,
            trouble: trouble_seen,
            answered: Answered {
                tree: Arc::clone(&tree),
                mark: opening.mark.clone(),
                origin: names.origin.clone(),
            },
            metrics: Arc::clone(&metrics),
            exclusive: opening.exclusive,
            conn,
        });
        spawn_writer(&db, writer.run(jobs, closing));
        let gateway = opening.gateway;
        let shared = Shared {
            db,
            keys,
            names,
            gateway,
            signer,
            tree,
            mark: opening.mark,
            panel: opening.panel,
            queue,
            size,
            trouble,
            close,
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Ends the log in an orderly way: what is queued is written, then every connection closes.
    pub async fn close(self) {
        self.shared.close.send_replace(true);
        let mut size = self.shared.size.clone();
        // The writer owns the sending half, so an error means that it has ended.
        while size.changed().await.is_ok() {}
        self.shared.db.close().await;
        self.shared.keys.close().await;
    }

    /// Runs a change under the head of the log and answers when it is durable.
    ///
    /// `label` names the change in messages and metrics. The closure must do nothing but work on
    /// its [`Batch`]: everybody else waits for it. It may be dropped unrun. If the future of this
    /// call is dropped while the change waits, the change is not made; once it runs, it is made or
    /// refused whether or not anybody still listens, so spawn what must not be cut short.
    pub async fn record<T, F>(
        &self,
        label: &'static str,
        change: F,
    ) -> Result<Recorded<T>, LedgerError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<T, ChangeError>> + Send + 'static,
    {
        self.submit(Purpose::Change, label, change).await
    }

    /// [`Self::record`] for what ends something that is open (a channel, a session): when the disk
    /// is full, it may use the room that is kept for it, and nothing else may.
    pub async fn record_closing<T, F>(
        &self,
        label: &'static str,
        change: F,
    ) -> Result<Recorded<T>, LedgerError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<T, ChangeError>>
            + Clone
            + Send
            + 'static,
    {
        match self.submit(Purpose::Closing, label, change.clone()).await {
            // The disk became full with it. Its room is free now.
            Err(LedgerError::Full) => self.submit(Purpose::Closing, label, change).await,
            outcome => outcome,
        }
    }

    async fn submit<T, F>(
        &self,
        purpose: Purpose,
        label: &'static str,
        change: F,
    ) -> Result<Recorded<T>, LedgerError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<T, ChangeError>> + Send + 'static,
    {
        let (job, mut answer, turn) = Job::new(purpose, label, change);
        let deadline = tokio::time::sleep(Duration::from_secs(APPEND_WAIT_SECONDS_MAX));
        tokio::pin!(deadline);
        let place = tokio::select! {
            place = self.shared.queue.reserve() => place.map_err(|_| LedgerError::Closed)?,
            () = &mut deadline => return Err(too_long(label)),
        };
        place.send(job);
        // Withdraws the change if this future is dropped here before the change's turn.
        let waiting = WithdrawOnDrop(turn);
        let outcome = tokio::select! {
            outcome = &mut answer => outcome,
            () = &mut deadline => {
                if waiting.0.withdraw() {
                    return Err(too_long(label));
                }
                // It runs already. The writer bounds every step of a batch, and ends the process
                // when it cannot tell the outcome, so an answer comes.
                answer.await
            }
        };
        outcome.map_err(|_| LedgerError::Closed)?
    }

    /// Appends entries that need no facts and no rows.
    pub async fn append(
        &self,
        label: &'static str,
        entries: Vec<NewEntry>,
    ) -> Result<Recorded<()>, LedgerError> {
        self.record(label, move |batch| {
            Box::pin(async move {
                for entry in entries {
                    batch.append(entry).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The database, for reading.
    pub fn db(&self) -> &Db {
        &self.shared.db
    }

    /// The keys of the data subjects, for reading what commitments open to.
    pub fn keys(&self) -> &SubjectKeys {
        &self.shared.keys
    }

    /// The log's name: the first line of its checkpoints.
    pub fn origin(&self) -> &str {
        &self.shared.names.origin
    }

    /// The name of the deployment, which is the log's first name.
    pub fn deployment(&self) -> &str {
        &self.shared.names.deployment
    }

    /// What the log's folders are called after it: nothing in its first epoch, so that each epoch
    /// is published beside the one before.
    pub fn epoch_folder(&self) -> &str {
        let Names { deployment, origin } = &self.shared.names;
        origin.strip_prefix(deployment.as_str()).unwrap_or_default().trim_start_matches('/')
    }

    /// The name of this gateway, as entries have it.
    pub fn gateway(&self) -> &str {
        &self.shared.gateway
    }

    /// The size of the log as this gateway last saw it, and a way to wait for it to change.
    pub fn size(&self) -> watch::Receiver<u64> {
        self.shared.size.clone()
    }

    /// Since when nothing can be written, none while all is well; a way to wait for a change. The
    /// sending half is gone when the writer has ended: then nothing can be written any more.
    pub fn trouble(&self) -> watch::Receiver<Option<Instant>> {
        self.shared.trouble.clone()
    }

    /// Numbers for the metrics page.
    pub fn metrics(&self) -> &sequencer::Metrics {
        &self.shared.metrics
    }

    /// The key that verifies [`Self::checkpoint`], as `name+hash+base64`.
    pub fn vkey(&self) -> String {
        self.shared.signer.vkey().to_string()
    }
}

/// The writer of an SQLite log is a thread of its own: it goes to and fro with the thread of its
/// connection twenty times a batch, and each time a pool of worker threads would wake another of
/// them to look for work.
fn spawn_writer(db: &Db, writer: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Handle::current();
    if db.is_postgres() {
        runtime.spawn(writer);
        return;
    }
    let thread = std::thread::Builder::new().name("log".into());
    let ours = runtime.clone();
    // Without a thread the writer is gone at once, and every caller hears that the log is closed.
    if let Err(error) = thread.spawn(move || ours.block_on(writer)) {
        tracing::error!(%error, "the log has no thread to write with");
    }
}

fn too_long(label: &str) -> LedgerError {
    LedgerError::Unavailable(format!(
        "{label} waited {APPEND_WAIT_SECONDS_MAX} s for the log and was not recorded: \
         run `bastion doctor`"
    ))
}

struct WithdrawOnDrop(Turn);

impl Drop for WithdrawOnDrop {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}

/// The right edge of an empty log.
fn empty() -> Frontier {
    Frontier::new()
}
