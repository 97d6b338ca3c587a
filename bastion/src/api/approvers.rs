//! `approver …`: the customer's people who decide about consent.
//!
//! Each change stands in the customer's own chain and is told to all of its approvers, so that a
//! provider that adds an approver of its own making cannot do it unseen.

use super::{
    Call, Fault, Reply,
    change::{conflict, unknown},
    consent,
    keys::{self, Holder, PersonKey},
    print::Table,
    rows,
};
use crate::{
    args,
    entropy::draw,
    ledger::{Batch, ChangeError, NewEntry},
    notices::{self, Notice},
};
use audit_schema::event::{Actor, ActorKind, Event};
use bastion_core::{
    id::{ApproverId, CustomerId, Handle},
    lease::Cause,
};
use clap::{Args, Subcommand};
use serde_json::json;

/// What an officer does with approvers.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Enrol an approver of a customer
    #[command(after_help = "Check the fingerprint with the customer over another way before you \
        enrol a key. Example:\n  ssh bastion approver add ada --customer acme --key - < ada.pub")]
    Add(Add),
    /// End an approver's right to decide; the open consents that they signed end with it
    Remove {
        /// Their name.
        handle: Handle,
        /// Whose approver.
        #[arg(long)]
        customer: CustomerId,
    },
    /// Every approver, or those of one customer
    List {
        /// Only this customer's.
        #[arg(long)]
        customer: Option<CustomerId>,
    },
}

/// A new approver.
#[derive(Debug, Args)]
pub struct Add {
    /// What people call them; a-z, 0-9, '-' and '.'.
    handle: Handle,
    /// Whose approver.
    #[arg(long)]
    customer: CustomerId,
    /// Their public key: a line of a .pub file, or - for standard input.
    #[arg(long)]
    key: String,
}

/// Runs one of them.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Add(add) => {
            let key = call.key(&add.key).await?;
            enrol(call, add, key).await
        }
        Verb::Remove { handle, customer } => remove(call, handle, customer).await,
        Verb::List { customer } => list(call, customer).await,
    }
}

fn holder(id: &ApproverId, customer: &CustomerId) -> Holder {
    Holder { role: ActorKind::Approver, id: id.to_string(), customer: Some(customer.clone()) }
}

async fn enrol(call: &Call<'_>, add: Add, key: PersonKey) -> Result<Reply, Fault> {
    let actor = call.actor();
    let (handle, customer) = (add.handle.clone(), add.customer.clone());
    let fingerprint = key.fingerprint.clone();
    let change = call.change("approver add", move |batch| Box::pin(insert(batch, actor, add, key)));
    let id = change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("enrolled {handle} ({id}) as approver of {customer}, key {fingerprint}\n"),
        json: json!({
            "approver": id, "handle": handle, "customer": customer, "fingerprint": fingerprint,
        }),
    })
}

async fn insert(
    batch: &mut Batch,
    actor: Actor,
    add: Add,
    key: PersonKey,
) -> Result<ApproverId, ChangeError> {
    let Add { handle, customer, .. } = add;
    rows::signatures_needed(batch.tx(), &customer).await?;
    if rows::approver(batch.tx(), &customer, &handle).await?.is_some() {
        let taken = format!("{customer} has or had an approver `{handle}`; take another name");
        return Err(conflict(taken));
    }
    let id = ApproverId::from_entropy(draw()?);
    let sql = "INSERT INTO approvers (id, handle, customer, state) VALUES ($1, $2, $3, 'enabled')";
    batch.tx().run(sql, &args![id.as_str(), handle.as_str(), customer.as_str()]).await?;
    let event = Event::ApproverAdded { approver: id.to_string() };
    let entry = NewEntry::new(actor.clone(), event).of_customer(&customer);
    let seq = batch.append(entry.with("handle", handle.as_str())).await?;
    keys::add(batch, &actor, &holder(&id, &customer), &key).await?;
    let facts = json!({ "approver": id, "handle": handle, "fingerprint": key.fingerprint });
    notices::enqueue(batch, &Notice { customer: &customer, kind: "approver.added", seq, facts })
        .await?;
    Ok(id)
}

async fn remove(call: &Call<'_>, handle: Handle, customer: CustomerId) -> Result<Reply, Fault> {
    let actor = call.actor();
    let text = format!("removed approver {handle} of {customer}\n");
    let json = json!({ "handle": handle, "customer": customer });
    let change = call.change("approver remove", move |batch| {
        Box::pin(async move {
            let id = rows::approver(batch.tx(), &customer, &handle).await?;
            let id = id.ok_or_else(|| unknown("approver", handle.as_str()))?;
            let sql = "UPDATE approvers SET state = 'disabled' WHERE id = $1 AND state = 'enabled'";
            if batch.tx().run(sql, &args![id.as_str()]).await? == 0 {
                return Err(conflict(format!("approver `{handle}` is removed already")));
            }
            let event = Event::ApproverRemoved { approver: id.to_string() };
            let entry = NewEntry::new(actor.clone(), event).of_customer(&customer);
            let seq = batch.append(entry).await?;
            keys::remove_all(batch, &actor, &holder(&id, &customer)).await?;
            let facts = json!({ "approver": id, "handle": handle });
            let notice = Notice { customer: &customer, kind: "approver.removed", seq, facts };
            notices::enqueue(batch, &notice).await?;
            for ticket in consent::signed_by(batch, &id).await? {
                consent::end(batch, &ticket, "approver_removed", Cause::ConsentWithdrawn).await?;
            }
            Ok(())
        })
    });
    change.await?.into_inner();
    call.app.live.wake();
    Ok(Reply::Said { text, json })
}

async fn list(call: &Call<'_>, customer: Option<CustomerId>) -> Result<Reply, Fault> {
    let sql = "SELECT a.customer, a.handle, a.id, a.state, k.fingerprint FROM approvers a \
               LEFT JOIN keys k ON k.subject = a.id AND k.role = 'approver' \
               AND k.removed_at IS NULL ORDER BY a.customer, a.handle, k.fingerprint";
    let mut table = Table::new(&["customer", "name", "id", "state", "key"]);
    let mut people = Vec::new();
    for row in call.db().rows(sql, &[]).await? {
        let of = row.text(0)?;
        if customer.as_ref().is_some_and(|wanted| wanted.as_str() != of) {
            continue;
        }
        let (handle, id, state) = (row.text(1)?, row.text(2)?, row.text(3)?);
        let key = row.opt_text(4)?;
        table.row(&[&of, &handle, &id, &state, key.as_deref().unwrap_or("-")]);
        people.push(json!({
            "customer": of, "handle": handle, "id": id, "state": state, "fingerprint": key,
        }));
    }
    Ok(Reply::Said {
        text: table.or("no approvers; enrol one with `approver add`"),
        json: json!({ "approvers": people }),
    })
}
