//! A ticket ends: refused, withdrawn, run out, or what it names is gone. Nothing reopens it.
//!
//! One approver is enough to close what took several to open. The leases that rest on a ticket lose
//! their ground in the transaction that closes it: a channel that is being opened meanwhile is
//! either marked by it, or reads that the consent is gone.

use super::{
    super::{
        Call, Fault, Reply,
        effects::{Ground, revoke},
    },
    ticket::{self, Stored, ticket_columns},
};
use crate::{
    app::App,
    args,
    ledger::{Batch, ChangeError, LedgerError, NewEntry},
    notices::{self, Notice},
    store::Db,
};
use audit_schema::{event::Event, time::Timestamp};
use bastion_core::{
    consent::{FreeText, TicketEvent, TicketState},
    id::{ApproverId, CustomerId, TicketId},
    lease::Cause,
    limits::{CONSENT_PENDING_SECONDS_MAX, TICKETS_PER_SWEEP_MAX},
    vm::VmInstance,
};
use serde_json::json;

/// `consent refuse`.
pub async fn refuse(
    call: &Call<'_>,
    customer: CustomerId,
    id: TicketId,
    reason: Option<FreeText>,
) -> Result<Reply, Fault> {
    let actor = call.actor();
    let name = id.clone();
    let change = call.close("consent refuse", move |batch| {
        Box::pin(async move {
            let stored = ticket::load(batch.tx(), &customer, &name).await?;
            let state = stored.step(TicketEvent::Refused)?;
            ticket::set_state(batch.tx(), &name, state).await?;
            let revision = stored.ticket.revision;
            let event = Event::ConsentRefused { revision, ticket: name.to_string() };
            let entry = with_reason(NewEntry::new(actor, event).of_customer(&customer), reason);
            let seq = batch.append(entry).await?;
            tell(batch, &stored, "consent.refused", seq).await
        })
    });
    change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("refused ticket {id}; another request is another ticket\n"),
        json: json!({ "ticket": id, "state": "refused" }),
    })
}

/// `consent withdraw`.
pub async fn withdraw(
    call: &Call<'_>,
    customer: CustomerId,
    id: TicketId,
    reason: Option<FreeText>,
) -> Result<Reply, Fault> {
    let actor = call.actor();
    let name = id.clone();
    let change = call.close("consent withdraw", move |batch| {
        Box::pin(async move {
            let stored = ticket::load(batch.tx(), &customer, &name).await?;
            let state = stored.step(TicketEvent::Withdrawn)?;
            ticket::set_state(batch.tx(), &name, state).await?;
            let leases = revoke(batch, Ground::Ticket(&name), Cause::ConsentWithdrawn).await?;
            let event = Event::ConsentWithdrawn {
                leases: leases.clone(),
                revision: stored.ticket.revision,
                ticket: name.to_string(),
            };
            let entry = with_reason(NewEntry::new(actor, event).of_customer(&customer), reason);
            let seq = batch.append(entry).await?;
            tell(batch, &stored, "consent.withdrawn", seq).await?;
            Ok(leases)
        })
    });
    let leases = change.await?.into_inner();
    call.app.live.wake();
    Ok(Reply::Said {
        text: format!("withdrew ticket {id}; {} channel(s) are being ended\n", leases.len()),
        json: json!({ "ticket": id, "state": "withdrawn", "leases": leases }),
    })
}

fn with_reason(entry: NewEntry, reason: Option<FreeText>) -> NewEntry {
    match reason {
        Some(reason) => entry.with("justification", reason.as_str()),
        None => entry,
    }
}

async fn tell(
    batch: &mut Batch,
    stored: &Stored,
    kind: &'static str,
    seq: u64,
) -> Result<(), ChangeError> {
    let ticket = &stored.ticket;
    let facts = json!({ "ticket": ticket.id, "revision": ticket.revision });
    notices::enqueue(batch, &Notice { customer: &ticket.customer, kind, seq, facts }).await
}

/// Ends a ticket that nobody closed, if it is still open; the gateway is the actor.
pub async fn end(
    batch: &mut Batch,
    id: &TicketId,
    reason: &'static str,
    cause: Cause,
) -> Result<bool, ChangeError> {
    let sql = concat!(ticket_columns!(), "WHERE id = $1");
    let row = batch.tx().row_opt(sql, &args![id.as_str()]).await?;
    let Some(stored) = row.map(|row| ticket::of(&row)).transpose()? else { return Ok(false) };
    if stored.state.is_final() {
        return Ok(false);
    }
    let state = stored.step(TicketEvent::Ended)?;
    ticket::set_state(batch.tx(), id, state).await?;
    revoke(batch, Ground::Ticket(id), cause).await?;
    let event = Event::ConsentEnded {
        reason: reason.to_owned(),
        revision: stored.ticket.revision,
        ticket: id.to_string(),
    };
    let actor = batch.gateway_actor();
    let seq =
        batch.append(NewEntry::new(actor, event).of_customer(&stored.ticket.customer)).await?;
    tell(batch, &stored, "consent.ended", seq).await?;
    Ok(true)
}

/// The open tickets that lose their last living instance with this one.
pub async fn orphaned(
    batch: &mut Batch,
    instance: &VmInstance,
) -> Result<Vec<TicketId>, ChangeError> {
    let sql = concat!(
        ticket_columns!(),
        "WHERE customer = $1 AND state IN ('pending', 'granted') ORDER BY id"
    );
    let rows = batch.tx().rows(sql, &args![instance.customer.as_str()]).await?;
    let mut orphans = Vec::new();
    for row in &rows {
        let ticket = ticket::of(row)?.ticket;
        if ticket.terms.covers(&instance.id) && !any_lives(batch, &ticket.terms).await? {
            orphans.push(ticket.id);
        }
    }
    Ok(orphans)
}

/// The open tickets whose present revision somebody signed.
pub async fn signed_by(
    batch: &mut Batch,
    approver: &ApproverId,
) -> Result<Vec<TicketId>, ChangeError> {
    let sql = "SELECT t.id FROM tickets t JOIN consent_signatures s \
               ON s.ticket = t.id AND s.revision = t.revision \
               WHERE s.approver = $1 AND t.state IN ('pending', 'granted') ORDER BY t.id";
    let rows = batch.tx().rows(sql, &args![approver]).await?;
    Ok(rows.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?)
}

async fn any_lives(
    batch: &mut Batch,
    terms: &bastion_core::consent::Terms,
) -> Result<bool, ChangeError> {
    let sql = "SELECT id FROM instances WHERE id = $1 AND retired_at IS NULL";
    for scoped in &terms.instances {
        let row = batch.tx().row_opt(sql, &args![scoped.instance.as_str()]).await?;
        if row.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ends what ran out by now; answers how many. One task of each gateway calls this all the time;
/// several gateways may find the same ticket, and the first one ends it.
pub async fn expire(app: &App, now: Timestamp) -> Result<usize, LedgerError> {
    let due = due(app.ledger.db(), now).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let change = app.ledger.record_closing("consent expiry", move |batch| {
        Box::pin(async move {
            let mut ended = 0;
            for (id, state) in due {
                let reason = match state {
                    TicketState::Pending => "undecided",
                    _ => "window",
                };
                // The clock of the log decides, not the one by which the ticket was found.
                if is_due(batch, &id).await?
                    && end(batch, &id, reason, Cause::ConsentExpired).await?
                {
                    ended += 1;
                }
            }
            Ok(ended)
        })
    });
    let ended = change.await?.into_inner();
    app.live.wake();
    Ok(ended)
}

/// What is due: the end of the window, or for what is undecided the end of the wait.
macro_rules! due_sql {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM tickets WHERE ((state IN ('pending', 'granted') AND not_after <= $1) \
             OR (state = 'pending' AND created_at <= $2)) ",
            $rest
        )
    };
}

async fn due(db: &Db, now: Timestamp) -> Result<Vec<(TicketId, TicketState)>, LedgerError> {
    let sql = due_sql!("id, state", "ORDER BY not_after LIMIT $3");
    let waited = now.plus_seconds(-CONSENT_PENDING_SECONDS_MAX);
    let mut due = Vec::new();
    for row in db.rows(sql, &args![now, waited, TICKETS_PER_SWEEP_MAX]).await? {
        let state = TicketState::from_word(&row.text(1)?).unwrap_or(TicketState::Granted);
        due.push((row.parsed(0)?, state));
    }
    Ok(due)
}

async fn is_due(batch: &mut Batch, id: &TicketId) -> Result<bool, ChangeError> {
    let now = batch.now();
    let waited = now.plus_seconds(-CONSENT_PENDING_SECONDS_MAX);
    let args = args![now, waited, id.as_str()];
    Ok(batch.tx().row_opt(due_sql!("id", "AND id = $3"), &args).await?.is_some())
}
