//! What a crash left open is closed at the next start, each with an entry that says so; and the
//! entries of starting and stopping.

use super::{Ledger, LedgerError, NewEntry, Recorded, reading::ReadError};
use crate::{args, store::StoreError};
use audit_schema::event::Event;
use bastion_core::id::{CustomerId, LeaseId, RecordingId, SessionId};

/// A lease that was live when the gateway ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLease {
    /// The lease.
    pub lease: LeaseId,
    /// The connection that it belonged to.
    pub session: SessionId,
    /// Whose VM it was for.
    pub customer: CustomerId,
    /// Its recording, if one was begun.
    pub recording: Option<RecordingId>,
    /// Where its grant stands in the log.
    pub serial: u64,
    /// What the log fixed of the recording last: bytes, and their SHA-256 in hex.
    pub entered: Option<(u64, String)>,
}

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

/// Leases and sessions closed by one change.
const AT_ONCE: i64 = 256;

impl Ledger {
    /// Closes what this gateway left open: call it before the first connection is accepted.
    /// `recording` looks at what is on disk of a lease's recording; it runs outside the log's
    /// lock.
    pub async fn recover(
        &self,
        mut recording: impl FnMut(&OpenLease) -> Option<RecordingFound>,
    ) -> Result<Recovery, LedgerError> {
        let mut recovery = Recovery::default();
        loop {
            let open = self.open_leases().await?;
            if open.is_empty() {
                break;
            }
            recovery.leases += open.len() as u64;
            let open = self.with_entered(open).await?;
            let found = open.into_iter().map(|lease| {
                let found = recording(&lease);
                (lease, found)
            });
            self.close_leases(found.collect()).await?;
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
        let rows = self
            .db()
            .rows(
                "SELECT id, session, customer, recording, serial FROM leases
                 WHERE gateway = $1 AND closed_at IS NULL ORDER BY id LIMIT $2",
                &args![self.gateway(), AT_ONCE],
            )
            .await?;
        let leases = rows.iter().map(|row| {
            Ok::<_, StoreError>(OpenLease {
                lease: row.parsed(0)?,
                session: row.parsed(1)?,
                customer: row.parsed(2)?,
                recording: row.opt_parsed(3)?,
                serial: row.u64(4)?,
                entered: None,
            })
        });
        Ok(leases.collect::<Result<_, _>>()?)
    }

    /// Each lease with what the log says of its recording: one walk from the oldest grant.
    async fn with_entered(&self, mut open: Vec<OpenLease>) -> Result<Vec<OpenLease>, LedgerError> {
        let oldest = open.iter().map(|lease| lease.serial).min().unwrap_or_default();
        let unread = |why: ReadError| match why {
            ReadError::Store(error) => LedgerError::from(error),
            broken => LedgerError::Unavailable(broken.to_string()),
        };
        let mut lines = self.lines(oldest, u64::MAX).await.map_err(unread)?;
        while let Some(line) = lines.next().await.map_err(unread)? {
            let Some(Event::RecordingSegment { bytes, digest, recording, .. }) = line.entry.event()
            else {
                continue;
            };
            let of = |lease: &&mut OpenLease| {
                lease.recording.as_ref().is_some_and(|id| id.as_str() == recording)
            };
            if let Some(lease) = open.iter_mut().find(of) {
                lease.entered = Some((bytes, digest));
            }
        }
        Ok(open)
    }

    async fn close_leases(
        &self,
        leases: Vec<(OpenLease, Option<RecordingFound>)>,
    ) -> Result<Recorded<()>, LedgerError> {
        self.record("recover leases", move |batch| {
            Box::pin(async move {
                for (open, found) in leases {
                    // No file at all: all that the log fixed is gone.
                    let gone = open.entered.map_or(0, |(bytes, _)| bytes);
                    let missing = found.as_ref().map_or(gone, |found| found.missing);
                    let unsealed = found.as_ref().map_or(0, |found| found.unsealed);
                    let found = found.filter(|found| found.bytes > 0);
                    let (bytes, digest) = found.map(|f| (f.bytes, f.digest)).unzip();
                    let event = Event::Recovered {
                        lease: Some(open.lease.to_string()),
                        recording_bytes: bytes,
                        recording_digest: digest,
                        recording_missing: Some(missing).filter(|bytes| *bytes > 0),
                        recording_unsealed: Some(unsealed).filter(|bytes| *bytes > 0),
                        session: Some(open.session.to_string()),
                    };
                    let actor = batch.gateway_actor();
                    batch.append(NewEntry::new(actor, event).of_customer(&open.customer)).await?;
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
