//! What a crash left open is closed at the next start, each with an entry that says so; and the
//! entries of starting and stopping.

mod left;

pub use left::{OpenLease, OpenRecording};

use super::{Batch, ChangeError, Ledger, LedgerError, NewEntry, Recorded, reading::ReadError};
use crate::{
    args,
    store::{Query, StoreError},
};
use audit_schema::event::Event;
use bastion_core::id::SessionId;

/// What is on disk of a recording that nobody closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingFound {
    /// Bytes of whole sealed segments.
    pub bytes: u64,
    /// SHA-256 over them, in hex; empty where there are none.
    pub digest: String,
    /// Bytes that the log fixed and that are not there as they were.
    pub missing: u64,
    /// Bytes behind the last whole segment.
    pub unsealed: u64,
}

/// What a start closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Leases.
    pub leases: u64,
    /// Sessions.
    pub sessions: u64,
}

/// An open lease with what is on disk of its recordings: its own, and those of connections that
/// were lent under it.
struct Looked {
    open: OpenLease,
    own: Option<RecordingFound>,
    lent: Vec<Option<RecordingFound>>,
}

/// Leases and sessions closed by one change.
const AT_ONCE: i64 = 256;

impl Ledger {
    /// Closes what this gateway left open: call it before the first connection is accepted.
    /// `find` looks at what is on disk of a recording; it runs outside the log's lock.
    pub async fn recover(
        &self,
        mut find: impl FnMut(&OpenRecording) -> Option<RecordingFound>,
    ) -> Result<Recovery, LedgerError> {
        let mut recovery = Recovery::default();
        loop {
            let open = self.open_leases().await?;
            if open.is_empty() {
                break;
            }
            recovery.leases += open.len() as u64;
            let open = self.with_entered(open).await?;
            let looked = open.into_iter().map(|open| Looked {
                own: open.recording.as_ref().and_then(&mut find),
                lent: open.lent.iter().map(|lent| find(&lent.recording)).collect(),
                open,
            });
            self.close_leases(looked.collect()).await?;
        }
        loop {
            let closed = self.close_sessions().await?.into_inner();
            recovery.sessions += closed;
            if closed < AT_ONCE.unsigned_abs() {
                return Ok(recovery);
            }
        }
    }

    async fn open_leases(&self) -> Result<Vec<OpenLease>, LedgerError> {
        let mut query = Query::new(OpenLease::ROWS);
        query.push(" WHERE gateway = ").bind(self.gateway());
        query.push(" AND closed_at IS NULL ORDER BY id LIMIT ").bind(AT_ONCE);
        let rows = self.db().query(&query).await?;
        Ok(rows.iter().map(OpenLease::read).collect::<Result<_, StoreError>>()?)
    }

    /// Each lease with what the log says of it since its grant: one walk from the oldest.
    async fn with_entered(&self, mut open: Vec<OpenLease>) -> Result<Vec<OpenLease>, LedgerError> {
        let oldest = open.iter().map(|lease| lease.serial).min().unwrap_or_default();
        let unread = |why: ReadError| match why {
            ReadError::Store(error) => LedgerError::from(error),
            broken => LedgerError::Unavailable(broken.to_string()),
        };
        let mut lines = self.lines(oldest, u64::MAX).await.map_err(unread)?;
        while let Some(line) = lines.next().await.map_err(unread)? {
            left::note(&mut open, self.gateway(), &line.entry);
        }
        Ok(open)
    }

    async fn close_leases(&self, leases: Vec<Looked>) -> Result<Recorded<()>, LedgerError> {
        self.record("recover leases", move |batch| {
            Box::pin(async move {
                for Looked { open, own, lent } in leases {
                    for (lent, found) in open.lent.iter().zip(lent) {
                        let event = recovered(&open, Some(&lent.recording), found);
                        enter(batch, &open, event).await?;
                    }
                    for (watcher, event) in open.watches_ended() {
                        batch
                            .append(NewEntry::new(watcher, event).of_customer(&open.customer))
                            .await?;
                    }
                    let event = recovered(&open, None, own);
                    enter(batch, &open, event).await?;
                    let now = batch.now();
                    batch
                        .tx()
                        .run(
                            "UPDATE leases SET closed_at = $1 WHERE id = $2 AND closed_at IS NULL",
                            &args![now, &open.lease],
                        )
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Closes some of the open sessions; answers how many.
    async fn close_sessions(&self) -> Result<Recorded<u64>, LedgerError> {
        self.record("recover sessions", move |batch| {
            Box::pin(async move {
                let gateway = batch.gateway().to_owned();
                let rows = batch
                    .tx()
                    .rows(
                        "SELECT id FROM sessions WHERE gateway = $1 AND closed_at IS NULL
                         ORDER BY id LIMIT $2",
                        &args![gateway, AT_ONCE],
                    )
                    .await?;
                for row in &rows {
                    let session: SessionId = row.parsed(0)?;
                    let event = Event::Recovered {
                        lease: None,
                        recording: None,
                        recording_bytes: None,
                        recording_digest: None,
                        recording_missing: None,
                        recording_unsealed: None,
                        session: Some(session.to_string()),
                    };
                    let actor = batch.gateway_actor();
                    batch.append(NewEntry::new(actor, event)).await?;
                    let now = batch.now();
                    batch
                        .tx()
                        .run(
                            "UPDATE sessions SET closed_at = $1 WHERE id = $2",
                            &args![now, &session],
                        )
                        .await?;
                }
                Ok(rows.len() as u64)
            })
        })
        .await
    }

    /// The gateway is about to accept connections. `offline_reads`: how often the store was read
    /// while no gateway ran.
    pub async fn started(
        &self,
        policy_digest: &str,
        offline_reads: u64,
    ) -> Result<Recorded<()>, LedgerError> {
        let policy_digest = policy_digest.to_owned();
        self.record("gateway start", move |batch| {
            Box::pin(async move {
                let clean = set_running(batch, "running").await? != Some("running".to_owned());
                let event = Event::GatewayStarted {
                    clean,
                    offline_reads,
                    policy_digest,
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                };
                let actor = batch.gateway_actor();
                batch.append_for_everybody(NewEntry::new(actor, event)).await
            })
        })
        .await
    }

    /// The gateway ends in an orderly way: the last entry that it writes.
    pub async fn stopped(&self, reason: &str) -> Result<Recorded<()>, LedgerError> {
        let reason = reason.to_owned();
        self.record("gateway stop", move |batch| {
            Box::pin(async move {
                set_running(batch, "stopped").await?;
                let actor = batch.gateway_actor();
                let event = Event::GatewayStopped { reason };
                batch.append_for_everybody(NewEntry::new(actor, event)).await
            })
        })
        .await
    }
}

/// What an entry says of a lease, or of a connection that was lent under it.
fn recovered(
    open: &OpenLease,
    lent: Option<&OpenRecording>,
    found: Option<RecordingFound>,
) -> Event {
    let entered = lent.or(open.recording.as_ref()).and_then(|of| of.entered.as_ref());
    // No file at all: all that the log fixed is gone.
    let gone = entered.map_or(0, |(bytes, _)| *bytes);
    let missing = found.as_ref().map_or(gone, |found| found.missing);
    let unsealed = found.as_ref().map_or(0, |found| found.unsealed);
    let found = found.filter(|found| found.bytes > 0);
    let (bytes, digest) = found.map(|f| (f.bytes, f.digest)).unzip();
    Event::Recovered {
        lease: Some(open.lease.to_string()),
        recording: lent.map(|lent| lent.id.to_string()),
        recording_bytes: bytes,
        recording_digest: digest,
        recording_missing: Some(missing).filter(|bytes| *bytes > 0),
        recording_unsealed: Some(unsealed).filter(|bytes| *bytes > 0),
        session: Some(open.session.to_string()),
    }
}

async fn enter(batch: &mut Batch, open: &OpenLease, event: Event) -> Result<(), ChangeError> {
    let actor = batch.gateway_actor();
    batch.append(NewEntry::new(actor, event).of_customer(&open.customer)).await.map(drop)
}

/// Notes the state of this gateway beside the entry that says it; answers the one before.
async fn set_running(
    batch: &mut super::Batch,
    state: &'static str,
) -> Result<Option<String>, StoreError> {
    let key = format!("gateway.{}", batch.gateway());
    let tx = batch.tx();
    let row = tx.row_opt("SELECT value FROM settings WHERE key = $1", &args![&key]).await?;
    tx.run(
        "INSERT INTO settings (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        &args![&key, state],
    )
    .await?;
    row.map(|row| row.text(0)).transpose()
}
