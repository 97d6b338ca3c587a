//! Permitting less than was asked: a new revision, to be signed anew.
//!
//! Terms only shrink here, so that an approver cannot be led to widen what somebody asked for.
//! Signatures over the revision before are void because they are over other bytes, and what ran on
//! it ends.

use super::{
    super::{
        Call, Fault, Reply,
        change::usage,
        effects::{Ground, revoke},
        rows,
        values::Span,
    },
    ticket,
};
use crate::{
    args,
    ledger::{Batch, ChangeError, NewEntry},
    notices::{self, Notice},
};
use audit_schema::{
    event::{Actor, Event},
    hash::Hash,
};
use bastion_core::{
    consent::{RecordingLevel, Terms, Ticket, TicketEvent},
    id::{CustomerId, Handle, TicketId},
    lease::Cause,
    policy::Policy,
};
use clap::Args;
use serde_json::json;
use std::sync::Arc;

/// Narrower terms; what is not given stays.
#[derive(Debug, Args)]
pub struct Narrow {
    /// Which ticket.
    ticket: TicketId,
    #[command(flatten)]
    less: Less,
}

/// What there may be less of.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Less {
    /// How long, from the start of the window: 30m.
    #[arg(long = "for", value_name = "TIME")]
    span: Option<Span>,
    /// Sessions at most.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    sessions: Option<u32>,
    /// The provider may not open the recordings.
    #[arg(long)]
    no_recording_access: bool,
    /// Record less: digests.
    #[arg(long, value_name = "LEVEL")]
    recording: Option<RecordingLevel>,
    /// Only these of the operators that were named; repeat it. It drops the team.
    #[arg(long = "operator", value_name = "NAME")]
    operators: Vec<Handle>,
}

/// `consent narrow`.
pub async fn narrow(call: &Call<'_>, customer: CustomerId, narrow: Narrow) -> Result<Reply, Fault> {
    let actor = call.actor();
    let frame = (call.app.config.origin.clone(), call.app.policy.current());
    let change = call.change("consent narrow", move |batch| {
        Box::pin(revise(batch, actor, (customer, narrow), frame))
    });
    let ticket = change.await?.into_inner();
    call.app.live.wake();
    Ok(Reply::Said {
        text: format!(
            "ticket {} is at revision {} now; read it with `consent show {}` and sign it anew\n",
            ticket.id, ticket.revision, ticket.id
        ),
        json: json!({ "ticket": ticket.id, "revision": ticket.revision, "state": "pending" }),
    })
}

fn shrink(terms: &mut Terms, less: Less) -> Result<(), ChangeError> {
    let before = terms.clone();
    if let Some(span) = less.span {
        let end = terms.not_before.plus_seconds(span.seconds);
        if end > terms.not_after {
            return Err(usage("--for is longer than what was asked; it can only be shorter"));
        }
        terms.not_after = end;
    }
    if let Some(sessions) = less.sessions {
        if sessions > terms.sessions_max {
            return Err(usage("--sessions is more than what was asked; it can only be less"));
        }
        terms.sessions_max = sessions;
    }
    match less.recording {
        Some(RecordingLevel::Full) if terms.recording != RecordingLevel::Full => {
            return Err(usage("--recording full is more than what was asked; it can only be less"));
        }
        Some(level) => terms.recording = level,
        None => {}
    }
    terms.recording_access &= !less.no_recording_access;
    if !less.operators.is_empty() {
        let named = |handle: &Handle| terms.operators.iter().any(|one| one.handle == *handle);
        if let Some(other) = less.operators.iter().find(|handle| !named(handle)) {
            return Err(usage(format!("the ticket does not name the operator `{other}`")));
        }
        terms.operators.retain(|one| less.operators.contains(&one.handle));
        terms.team = None;
    }
    if *terms == before {
        return Err(usage("these are the terms already; give something narrower"));
    }
    Ok(())
}

async fn revise(
    batch: &mut Batch,
    actor: Actor,
    (customer, narrow): (CustomerId, Narrow),
    (origin, policy): (String, Arc<Policy>),
) -> Result<Ticket, ChangeError> {
    let stored = ticket::load(batch.tx(), &customer, &narrow.ticket).await?;
    let state = stored.step(TicketEvent::Revised)?;
    let mut ticket = stored.ticket;
    shrink(&mut ticket.terms, narrow.less)?;
    if ticket.terms.not_after <= batch.now() {
        return Err(usage(
            "with that time the window is over already; withdraw the ticket instead",
        ));
    }
    ticket.revision += 1;
    ticket.opened_at = batch.now();
    let statement = ticket::compose(batch, &ticket, &origin, &policy).await?;
    let sql = "UPDATE tickets SET revision = $1, state = $2, scope_json = $3, statement = $4, \
               not_after = $5 WHERE id = $6";
    let row = args![
        ticket.revision,
        state.as_str(),
        rows::to_json(&ticket)?,
        statement.clone(),
        ticket.terms.not_after,
        ticket.id.as_str()
    ];
    batch.tx().run(sql, &row).await?;
    let leases = revoke(batch, Ground::Ticket(&ticket.id), Cause::ConsentRevised).await?;
    let event = Event::ConsentRevised {
        leases,
        not_after: ticket.terms.not_after.to_string(),
        revision: ticket.revision,
        sessions_max: u64::from(ticket.terms.sessions_max),
        statement: Hash::of(&statement).to_string(),
        ticket: ticket.id.to_string(),
    };
    let seq = batch.append(NewEntry::new(actor, event).of_customer(&customer)).await?;
    let facts = json!({ "ticket": ticket.id, "revision": ticket.revision });
    let notice = Notice { customer: &customer, kind: "consent.revised", seq, facts };
    notices::enqueue(batch, &notice).await?;
    Ok(ticket)
}
