//! A reset: officers end a whole set of approvers, for a customer whose people have all gone.
//!
//! It is the one way by which the provider touches who decides, so it is slow and loud: it takes
//! two officers where there are two, waits 72 hours, tells every approver at once and daily, any of
//! them stops it with one word, and it stands in the report. What comes after it begins from
//! nothing, by invitation, and decides nothing about the VM instances that live now: they know the
//! approvers of their own epoch alone.

use super::{
    super::{
        Call, Fault, Reply,
        change::{conflict, unknown},
        rows,
    },
    sets,
};
use crate::{
    app::App,
    args,
    entropy::draw,
    ledger::{Batch, ChangeError, LedgerError, NewEntry},
    notices::{self, Notice},
};
use audit_schema::{
    event::{Actor, Event},
    time::Timestamp,
};
use bastion_core::{
    consent::FreeText,
    id::{ApproverId, CustomerId, ResetId},
    limits::{RESET_REMINDER_SECONDS, RESET_WAIT_SECONDS},
};
use serde_json::json;

/// `approver reset`.
pub async fn begin(
    call: &Call<'_>,
    customer: CustomerId,
    reason: FreeText,
) -> Result<Reply, Fault> {
    let actor = call.actor();
    let whose = customer.clone();
    let change = call.change("approver reset", move |batch| {
        Box::pin(async move {
            rows::signatures_needed(batch.tx(), &customer).await?;
            let sql = "SELECT id FROM approvers WHERE customer = $1 AND state = 'enabled' LIMIT 1";
            if batch.tx().row_opt(sql, &args![customer.as_str()]).await?.is_none() {
                let none = format!("{customer} has no approver: `approver invite` makes the first");
                return Err(conflict(none));
            }
            let sql = "SELECT id FROM approver_resets WHERE customer = $1 AND state = 'waiting'";
            if batch.tx().row_opt(sql, &args![customer.as_str()]).await?.is_some() {
                return Err(conflict(format!("a reset for {customer} waits already")));
            }
            let (id, now) = (ResetId::from_entropy(draw()?), batch.now());
            let effective_at = now.plus_seconds(RESET_WAIT_SECONDS);
            let sql = "INSERT INTO approver_resets (id, customer, effective_at, told_at, state) \
                       VALUES ($1, $2, $3, $4, 'waiting')";
            let row = args![id.as_str(), customer.as_str(), effective_at, now];
            batch.tx().run(sql, &row).await?;
            let event = Event::ApproversResetBegun {
                effective_at: effective_at.to_string(),
                reset: id.to_string(),
            };
            let entry = NewEntry::new(actor, event).of_customer(&customer);
            let entry = entry.with("justification", reason.as_str());
            tell(batch, (&customer, &id), (entry, "approvers.reset_begun"), effective_at).await?;
            Ok((id, effective_at))
        })
    });
    let (id, effective_at) = change.await?.into_inner();
    Ok(Reply::Said {
        text: format!(
            "reset {id}: the approvers of {whose} are told, and are approvers no more from \
             {effective_at} on, unless one of them stops it before (`approver stop-reset`). VM \
             instances that live then take no consent of whoever comes after: rebuild them.\n"
        ),
        json: json!({ "reset": id, "customer": whose, "effective_at": effective_at }),
    })
}

async fn tell(
    batch: &mut Batch,
    (customer, id): (&CustomerId, &ResetId),
    (entry, kind): (NewEntry, &'static str),
    effective_at: Timestamp,
) -> Result<(), ChangeError> {
    let seq = batch.append(entry).await?;
    let facts = json!({ "reset": id, "effective_at": effective_at });
    notices::enqueue(batch, &Notice { customer, kind, seq, facts }).await
}

/// `approver stop-reset`: one approver's word, or the officers' own.
pub async fn stop(call: &Call<'_>, customer: CustomerId) -> Result<Reply, Fault> {
    let (actor, whose) = (call.actor(), customer.clone());
    let change = call.close("approver stop-reset", move |batch| {
        Box::pin(async move {
            let sql = "SELECT id, effective_at FROM approver_resets \
                       WHERE customer = $1 AND state = 'waiting'";
            let row = batch.tx().row_opt(sql, &args![customer.as_str()]).await?;
            let row = row.ok_or_else(|| unknown("reset that waits for", customer.as_str()))?;
            let (id, at): (ResetId, _) = (row.parsed(0)?, Timestamp::from_micros(row.i64(1)?));
            let sql = "UPDATE approver_resets SET state = 'stopped' WHERE id = $1";
            batch.tx().run(sql, &args![id.as_str()]).await?;
            let event = Event::ApproversResetStopped { reset: id.to_string() };
            let entry = NewEntry::new(actor, event).of_customer(&customer);
            tell(batch, (&customer, &id), (entry, "approvers.reset_stopped"), at).await?;
            Ok(id)
        })
    });
    let id = change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("stopped {id}; the approvers of {whose} stay\n"),
        json: json!({ "reset": id, "customer": whose, "state": "stopped" }),
    })
}

/// A reset that waits.
struct Waiting {
    id: ResetId,
    customer: CustomerId,
    effective_at: Timestamp,
}

/// Tells again of resets that wait, and makes those whose time has come; answers how many were
/// made. Several gateways may find the same one: the first one acts, under the head of the log.
pub async fn sweep(app: &App, now: Timestamp) -> Result<usize, LedgerError> {
    let sql = "SELECT id FROM approver_resets WHERE state = 'waiting' \
               AND (effective_at <= $1 OR told_at <= $2) LIMIT 1";
    let due = args![now, now.plus_seconds(-RESET_REMINDER_SECONDS)];
    if app.ledger.db().row_opt(sql, &due).await?.is_none() {
        return Ok(0);
    }
    let change = app.ledger.record_closing("approver resets", move |batch| {
        Box::pin(async move {
            // The clock of the log decides, or the sweep's where that is behind it.
            let now = batch.now().min(now);
            let sql = "SELECT id, customer, effective_at, told_at FROM approver_resets \
                       WHERE state = 'waiting' AND (effective_at <= $1 OR told_at <= $2)";
            let due = args![now, now.plus_seconds(-RESET_REMINDER_SECONDS)];
            let mut made = 0;
            for row in batch.tx().rows(sql, &due).await? {
                let effective_at = Timestamp::from_micros(row.i64(2)?);
                let waiting =
                    Waiting { id: row.parsed(0)?, customer: row.parsed(1)?, effective_at };
                match effective_at <= now {
                    true => made += make(batch, &waiting).await?,
                    false => remind(batch, &waiting, now).await?,
                }
            }
            Ok(made)
        })
    });
    let made = change.await?.into_inner();
    if made > 0 {
        app.live.wake();
    }
    Ok(made)
}

async fn remind(batch: &mut Batch, waiting: &Waiting, now: Timestamp) -> Result<(), ChangeError> {
    let Waiting { id, customer, effective_at } = waiting;
    let sql = "UPDATE approver_resets SET told_at = $1 WHERE id = $2";
    batch.tx().run(sql, &args![now, id.as_str()]).await?;
    let event = Event::ApproversResetReminded {
        effective_at: effective_at.to_string(),
        reset: id.to_string(),
    };
    let entry = NewEntry::new(batch.gateway_actor(), event).of_customer(customer);
    tell(batch, (customer, id), (entry, "approvers.reset_reminded"), *effective_at).await
}

async fn make(batch: &mut Batch, waiting: &Waiting) -> Result<usize, ChangeError> {
    let Waiting { id, customer, effective_at } = waiting;
    let actor: Actor = batch.gateway_actor();
    let sql = "UPDATE approver_resets SET state = 'made' WHERE id = $1";
    batch.tx().run(sql, &args![id.as_str()]).await?;
    let sql = "SELECT id FROM approvers WHERE customer = $1 AND state = 'enabled' ORDER BY id";
    let rows = batch.tx().rows(sql, &args![customer.as_str()]).await?;
    let gone: Vec<ApproverId> = rows.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?;
    let sql = "UPDATE customers SET approver_epoch = approver_epoch + 1, \
               approver_revision = approver_revision + 1 WHERE id = $1";
    batch.tx().run(sql, &args![customer.as_str()]).await?;
    for sql in [
        "UPDATE set_changes SET state = 'void' WHERE customer = $1 AND state = 'open'",
        "UPDATE invitations SET state = 'void' WHERE customer = $1 AND state = 'open'",
    ] {
        batch.tx().run(sql, &args![customer.as_str()]).await?;
    }
    let sql = "SELECT approver_epoch FROM customers WHERE id = $1";
    let epoch = batch.tx().row_opt(sql, &args![customer.as_str()]).await?;
    let event = Event::ApproversReset {
        epoch: epoch.map(|row| row.u64(0)).transpose()?.unwrap_or_default(),
        removed: gone.iter().map(ToString::to_string).collect(),
        reset: id.to_string(),
    };
    let entry = NewEntry::new(actor.clone(), event).of_customer(customer);
    tell(batch, (customer, id), (entry, "approvers.reset"), *effective_at).await?;
    for approver in &gone {
        sets::remove(batch, &actor, (approver, customer)).await?;
    }
    Ok(1)
}
