//! Connections that a VM opens towards the operator under a lease that lends it a way: entered
//! before the first byte, with the key of a recording of their own, and again at their end.

use super::{Gate, close, facts};
use crate::{
    args, clock,
    ledger::{ChangeError, LedgerError, Recorded},
};
use audit_schema::{
    event::{ChannelKind, Event, Outcome},
    hash::Hash,
};
use bastion_core::{
    authorize::{Decision, Denial, Grant, authorize},
    id::RecordingId,
    request::AccessRequest,
};

/// One connection of a lease.
#[derive(Clone, Debug)]
pub struct Lent {
    /// Which way.
    pub kind: ChannelKind,
    /// Which one of the lease's, from 1.
    pub number: u64,
    /// Its recording.
    pub recording: RecordingId,
}

/// How such a connection ended.
#[derive(Clone, Debug)]
pub struct LentEnd {
    /// In one word.
    pub outcome: Outcome,
    /// A stable code.
    pub reason: String,
    /// From the operator.
    pub bytes_in: u64,
    /// From the VM.
    pub bytes_out: u64,
    /// How long it lasted.
    pub duration_ms: u64,
    /// SHA-256 and size of its recording, where that could be closed.
    pub sealed: Option<(Hash, u64)>,
}

impl Gate {
    /// Would this be granted? A yes is nothing yet: it is asked again, and entered, with the
    /// channel that it goes with. A no is spoken, so it is entered here.
    pub async fn would_grant(
        &self,
        request: AccessRequest,
    ) -> Result<Result<(), Recorded<Denial>>, LedgerError> {
        let (gate, asked) = (self.clone(), request.clone());
        let now = clock::now();
        let facts = self.ledger.db().read(move |tx| {
            Box::pin(async move { facts::of_request(tx, &asked, &gate.ground, now).await })
        });
        let facts = facts.await.map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        let handle = facts.operator.as_ref().map(|operator| operator.handle.to_string());
        match authorize(&request, &facts, &self.policy.current()) {
            Decision::Granted(_) => Ok(Ok(())),
            Decision::Denied(denial) => {
                let entered = self.ledger.record("decide", move |batch| {
                    Box::pin(async move {
                        batch.append(super::denied(&denial, handle)).await?;
                        Ok(Err::<(), _>(*denial))
                    })
                });
                Ok(entered.await?.split().map(drop))
            }
        }
    }

    /// Enters that a connection is about to be made, unless its lease has lost its ground.
    pub async fn lent(
        &self,
        grant: &Grant,
        lent: Lent,
        wrapped_json: String,
    ) -> Result<Recorded<()>, LedgerError> {
        let grant = grant.clone();
        let change = self.ledger.record("lend", move |batch| {
            Box::pin(async move {
                let live = "SELECT id FROM leases \
                            WHERE id = $1 AND closed_at IS NULL AND revoked_at IS NULL";
                if batch.tx().row_opt(live, &args![grant.lease()]).await?.is_none() {
                    return Err(ChangeError::refused("lease_closed", "this access has ended"));
                }
                let sql = "INSERT INTO recording_keys (recording, lease, wrapped_json, created_at) \
                           VALUES ($1, $2, $3, $4)";
                let now = batch.now();
                let row = args![&lent.recording, grant.lease(), wrapped_json, now];
                batch.tx().run(sql, &row).await?;
                let event = Event::ForwardOpened {
                    channel: lent.kind,
                    destination: grant.destination_name(),
                    lease: grant.lease().to_string(),
                    number: lent.number,
                    recording: lent.recording.to_string(),
                };
                batch.append(close::entry(&grant, event)).await?;
                Ok(())
            })
        });
        change.await
    }

    /// Enters the end of such a connection.
    pub async fn lent_closed(
        &self,
        grant: &Grant,
        lent: Lent,
        end: LentEnd,
    ) -> Result<Recorded<()>, LedgerError> {
        let event = Event::ForwardClosed {
            bytes_in: end.bytes_in,
            bytes_out: end.bytes_out,
            channel: lent.kind,
            destination: grant.destination_name(),
            duration_ms: end.duration_ms,
            lease: grant.lease().to_string(),
            number: lent.number,
            outcome: end.outcome,
            reason: end.reason,
            recording: lent.recording.to_string(),
            recording_bytes: end.sealed.map(|(_, bytes)| bytes),
            recording_digest: end.sealed.map(|(digest, _)| digest.to_string()),
        };
        let entry = close::entry(grant, event);
        let change = self.ledger.record_closing("lent closed", move |batch| {
            Box::pin(async move { batch.append(entry).await.map(drop) })
        });
        change.await
    }
}
