//! What a change does to what is live: leases lose their ground in the transaction that takes it.
//!
//! The rows are marked here, under the head of the log; the gateways that run the channels see the
//! marks (at once on this one, at the next tick on others) and end them. A channel that is being
//! opened meanwhile either inserted its lease before this transaction, and is marked by it, or
//! inserts it after, and then reads that the ground is gone.

use crate::{
    args,
    ledger::{Batch, ChangeError},
    store::{Row, StoreError},
};
use bastion_core::{
    destination::Destination,
    id::{InstanceId, OperatorId, ServiceId, TicketId},
    lease::Cause,
    limits::LEASES_LISTED_MAX,
    vm::SourceRanges,
};
use std::net::IpAddr;

/// Which ground is gone.
pub enum Ground<'a> {
    /// The operator may no longer come.
    Operator(&'a OperatorId),
    /// The VM instance is gone.
    Instance(&'a InstanceId),
    /// The consent no longer holds, in any revision.
    Ticket(&'a TicketId),
}

/// Marks every live lease that stands on a ground, and names them for the entry.
pub async fn revoke(
    batch: &mut Batch,
    ground: Ground<'_>,
    cause: Cause,
) -> Result<Vec<String>, ChangeError> {
    let (sql, id) = match ground {
        Ground::Operator(id) => (
            "SELECT id FROM leases \
             WHERE closed_at IS NULL AND revoked_at IS NULL AND operator = $1",
            id.as_str(),
        ),
        Ground::Instance(id) => (
            "SELECT id FROM leases \
             WHERE closed_at IS NULL AND revoked_at IS NULL AND instance = $1",
            id.as_str(),
        ),
        Ground::Ticket(id) => (
            "SELECT id FROM leases WHERE closed_at IS NULL AND revoked_at IS NULL AND ticket = $1",
            id.as_str(),
        ),
    };
    let rows = batch.tx().rows(sql, &args![id]).await?;
    let leases = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
    mark(batch, leases, cause).await
}

/// Marks the live leases of a service whose operator comes from where none may come any more.
pub async fn revoke_outside(
    batch: &mut Batch,
    service: &ServiceId,
    sources: &SourceRanges,
) -> Result<Vec<String>, ChangeError> {
    let sql = "SELECT id, source FROM leases \
               WHERE closed_at IS NULL AND revoked_at IS NULL AND service = $1";
    let rows = batch.tx().rows(sql, &args![service.as_str()]).await?;
    let outside = |row: &Row| -> Result<Option<String>, StoreError> {
        // A source that cannot be read is not known to be allowed.
        let allowed = row.text(1)?.parse::<IpAddr>().is_ok_and(|source| sources.allow(source));
        Ok(if allowed { None } else { Some(row.text(0)?) })
    };
    let found = rows.iter().map(outside).collect::<Result<Vec<_>, _>>()?;
    mark(batch, found.into_iter().flatten().collect(), Cause::SourceNotAllowed).await
}

/// Marks the live forwards to a listed item of an instance.
pub async fn revoke_destination(
    batch: &mut Batch,
    item: &Destination,
) -> Result<Vec<String>, ChangeError> {
    let sql = "SELECT id FROM leases WHERE closed_at IS NULL AND revoked_at IS NULL \
               AND instance = $1 AND destination = $2";
    let rows = batch.tx().rows(sql, &args![item.instance.as_str(), item.name.as_str()]).await?;
    let leases = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
    mark(batch, leases, Cause::DestinationChanged).await
}

/// Marks the live troubleshooting forwards of an instance: what they reach may be data from now on.
pub async fn revoke_troubleshooting_forwards(
    batch: &mut Batch,
    instance: &InstanceId,
) -> Result<Vec<String>, ChangeError> {
    let sql = "SELECT id FROM leases WHERE closed_at IS NULL AND revoked_at IS NULL \
               AND instance = $1 AND level = 'troubleshoot' AND destination IS NOT NULL";
    let rows = batch.tx().rows(sql, &args![instance.as_str()]).await?;
    let leases = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
    mark(batch, leases, Cause::DestinationChanged).await
}

async fn mark(
    batch: &mut Batch,
    leases: Vec<String>,
    cause: Cause,
) -> Result<Vec<String>, ChangeError> {
    let now = batch.now();
    let sql = "UPDATE leases SET revoked_at = $1, revoked_cause = $2 \
               WHERE id = $3 AND revoked_at IS NULL";
    for lease in &leases {
        batch.tx().run(sql, &args![now, cause.as_str(), lease.as_str()]).await?;
    }
    // The entry has a bounded size. Every lease has a closing entry with this cause besides.
    Ok(leases.into_iter().take(LEASES_LISTED_MAX).collect())
}
