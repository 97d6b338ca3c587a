//! Granting: a signature over the exact bytes of the statement.
//!
//! Whoever brings the signature is an approver of the same customer; who *signed* is settled by the
//! signature's key alone. The time of the decision is the time of its entry.

use super::{
    super::{Call, Fault, Reply},
    ticket::{self, Stored},
};
use crate::{
    args,
    ledger::{Batch, ChangeError, NewEntry},
    notices::{self, Notice},
    store::{Row, StoreError, Tx},
};
use audit_schema::{
    event::{Actor, Event},
    time::Timestamp,
};
use bastion_core::{
    consent::{
        ApproverKey, BadSignature, SignatureCheck, Signed, Ticket, TicketEvent, TicketState,
        verify_signature,
    },
    id::{CustomerId, TicketId},
};
use serde_json::json;

/// What a signature led to.
struct Decided {
    stored: Stored,
    state: TicketState,
    fingerprint: String,
    now: u64,
    needed: u64,
}

/// `consent decide`.
pub async fn decide(
    call: &mut Call<'_>,
    customer: CustomerId,
    ticket: TicketId,
) -> Result<Reply, Fault> {
    let signature = call.input("the signature (the .sig file of ssh-keygen -Y sign)").await?;
    if !signature.trim_start().starts_with("-----BEGIN SSH SIGNATURE-----") {
        return Err(Fault::Usage(BadSignature::Armor.to_string()));
    }
    let actor = call.actor();
    let origin = call.app.config.origin.clone();
    let change = call.change("consent decide", move |batch| {
        Box::pin(async move {
            let stored = ticket::load(batch.tx(), &customer, &ticket).await?;
            sign(batch, stored, &Brought { actor, origin, signature }).await
        })
    });
    let decided = change.await?.into_inner();
    Ok(said(&decided))
}

/// A signature, and who brought it.
struct Brought {
    actor: Actor,
    origin: String,
    signature: String,
}

async fn sign(
    batch: &mut Batch,
    stored: Stored,
    brought: &Brought,
) -> Result<Decided, ChangeError> {
    let ticket = &stored.ticket;
    // Where the ticket stands is said before the signature is looked at, and the window too: a
    // signature that comes too late opens nothing.
    stored.step(TicketEvent::Signed { now: 0, needed: 1 })?;
    if batch.now() >= stored.decide_by() {
        let late = "the time for a decision is over; ask for a new ticket";
        return Err(ChangeError::refused("ticket-late", late));
    }
    let already = ticket::signers(batch.tx(), ticket).await?;
    let keys = keys(batch.tx(), &ticket.customer).await?;
    let check = SignatureCheck {
        statement: &stored.statement,
        signature: &brought.signature,
        origin: &brought.origin,
        customer: &ticket.customer,
        ticket: &ticket.id,
        revision: ticket.revision,
        keys: &keys,
        decided_at: batch.now(),
        signed_already: &already,
    };
    let signed = verify_signature(&check).map_err(refused)?;
    of_their_epoch(batch.tx(), ticket).await?;
    let needed = signed.statement().signatures_needed;
    let now = already.len() as u64 + 1;
    let state = stored.step(TicketEvent::Signed { now, needed })?;
    let seq = append(batch, &stored, &signed, (now, needed), &brought.actor).await?;
    insert(batch, &stored, &signed, (seq, &brought.signature)).await?;
    ticket::set_state(batch.tx(), &ticket.id, state).await?;
    let facts = json!({
        "ticket": ticket.id, "revision": ticket.revision, "approver": signed.approver(),
        "state": state, "signatures_now": now, "signatures_needed": needed,
    });
    let notice = Notice { customer: &ticket.customer, kind: "consent.granted", seq, facts };
    notices::enqueue(batch, &notice).await?;
    let fingerprint = signed.fingerprint().to_owned();
    Ok(Decided { stored, state, fingerprint, now, needed })
}

/// An instance knows the approvers of its own epoch alone: those who follow a reset by officers
/// decide nothing about what lived before it.
async fn of_their_epoch(tx: &mut Tx, ticket: &Ticket) -> Result<(), ChangeError> {
    let sql = "SELECT i.vm FROM instances i JOIN customers c ON c.id = i.customer \
               WHERE i.id = $1 AND i.approver_epoch <> c.approver_epoch";
    for scoped in &ticket.terms.instances {
        if let Some(row) = tx.row_opt(sql, &args![scoped.instance.as_str()]).await? {
            return Err(ChangeError::refused(
                "signature-epoch",
                format!(
                    "{} is older than the officers' reset of the approvers, and takes no consent \
                     of those who follow: it has to be rebuilt",
                    row.text(0)?
                ),
            ));
        }
    }
    Ok(())
}

fn refused(bad: BadSignature) -> ChangeError {
    let code = match bad {
        BadSignature::Repeated => "signature-repeated",
        _ => "signature-bad",
    };
    ChangeError::refused(code, bad.to_string())
}

/// Every key that an approver of the customer has or had.
async fn keys(tx: &mut Tx, customer: &CustomerId) -> Result<Vec<ApproverKey>, ChangeError> {
    let sql = "SELECT k.subject, k.public_key, k.added_at, k.removed_at FROM keys k \
               JOIN approvers a ON a.id = k.subject \
               WHERE k.role = 'approver' AND a.customer = $1";
    let key = |row: &Row| {
        Ok(ApproverKey {
            approver: row.parsed(0)?,
            customer: customer.clone(),
            public_key: row.text(1)?,
            added_at: Timestamp::from_micros(row.i64(2)?),
            removed_at: row.opt_i64(3)?.map(Timestamp::from_micros),
        })
    };
    let rows = tx.rows(sql, &args![customer.as_str()]).await?;
    Ok(rows.iter().map(key).collect::<Result<_, StoreError>>()?)
}

async fn append(
    batch: &mut Batch,
    stored: &Stored,
    signed: &Signed,
    (now, needed): (u64, u64),
    actor: &Actor,
) -> Result<u64, ChangeError> {
    let ticket = &stored.ticket;
    let event = Event::ConsentGranted {
        approver: signed.approver().to_string(),
        fingerprint: signed.fingerprint().to_owned(),
        not_after: ticket.terms.not_after.to_string(),
        not_before: ticket.terms.not_before.to_string(),
        revision: ticket.revision,
        signature: signed.signature_digest().to_string(),
        signatures_needed: needed,
        signatures_now: now,
        statement: signed.statement_digest().to_string(),
        ticket: ticket.id.to_string(),
    };
    batch.append(NewEntry::new(actor.clone(), event).of_customer(&ticket.customer)).await
}

async fn insert(
    batch: &mut Batch,
    stored: &Stored,
    signed: &Signed,
    (seq, signature): (u64, &str),
) -> Result<(), ChangeError> {
    let sql = "INSERT INTO consent_signatures (ticket, revision, approver, fingerprint, statement, \
               signature, signed_seq, decided_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let now = batch.now();
    let row = args![
        stored.ticket.id.as_str(),
        stored.ticket.revision,
        signed.approver().as_str(),
        signed.fingerprint(),
        stored.statement.clone(),
        signature,
        seq,
        now
    ];
    batch.tx().run(sql, &row).await?;
    Ok(())
}

fn said(decided: &Decided) -> Reply {
    let ticket = &decided.stored.ticket;
    let (now, needed) = (decided.now, decided.needed);
    let text = match decided.state {
        TicketState::Granted => format!(
            "granted: ticket {} holds until {}; take it back with `consent withdraw {}`\n",
            ticket.id, ticket.terms.not_after, ticket.id
        ),
        _ => format!(
            "signed: {now} of {needed} signatures for ticket {}; nothing is permitted yet, {} more \
             approver(s) have to sign\n",
            ticket.id,
            needed.saturating_sub(now)
        ),
    };
    Reply::Said {
        text,
        json: json!({
            "ticket": ticket.id, "revision": ticket.revision, "state": decided.state,
            "signatures_now": now, "signatures_needed": needed,
            "fingerprint": decided.fingerprint, "not_after": ticket.terms.not_after,
        }),
    }
}
