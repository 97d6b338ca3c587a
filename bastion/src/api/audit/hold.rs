//! `audit hold …`: what must not be erased now, because a court or an inquiry may want it.
//!
//! A hold is on a person, on a customer, or on everything. Adding one takes one officer; removing
//! one lets something be erased, so it takes two. The reason is a text of the log; the row says no
//! more than whose and since when.

use crate::{
    api::{Call, Fault, Reply, change, print::Table, values},
    args,
    entropy::draw,
    ledger::{Batch, ChangeError, NewEntry},
};
use audit_schema::{event::Event, time::Timestamp};
use bastion_core::{
    consent::FreeText,
    id::{CustomerId, HoldId},
    limits::HOLDS_MAX,
};
use clap::Subcommand;
use serde_json::json;

/// `audit hold …`
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Nothing of a person, a customer, or (with neither) anybody is erased from now on
    Add {
        /// Of this person: an id as entries name it
        #[arg(long, value_name = "ID", conflicts_with = "customer")]
        subject: Option<String>,
        /// Of this customer
        #[arg(long)]
        customer: Option<CustomerId>,
        /// Why
        #[arg(long, num_args = 1.., required = true, value_name = "TEXT")]
        reason: Vec<String>,
    },
    /// End a hold
    Remove {
        /// Which one: h-…
        hold: HoldId,
        /// Why
        #[arg(long, num_args = 1.., required = true, value_name = "TEXT")]
        reason: Vec<String>,
    },
    /// The holds in force
    List,
}

pub(super) async fn run(call: &Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Add { subject, customer, reason } => {
            let reason = values::text("--reason", &reason)?;
            let subject = match subject {
                Some(asked) => Some(super::facts::Subject::resolve(call, &asked).await?.id),
                None => None,
            };
            add(call, (subject, customer), reason).await
        }
        Verb::Remove { hold, reason } => {
            remove(call, hold, values::text("--reason", &reason)?).await
        }
        Verb::List => list(call).await,
    }
}

async fn add(
    call: &Call<'_>,
    (subject, customer): (Option<String>, Option<CustomerId>),
    reason: FreeText,
) -> Result<Reply, Fault> {
    let actor = call.actor();
    let added = call.change("audit hold add", move |batch| {
        Box::pin(async move {
            let held = batch.tx().row_opt("SELECT COUNT(*) FROM holds", &[]).await?;
            if held.map(|row| row.u64(0)).transpose()?.unwrap_or_default() >= HOLDS_MAX {
                return Err(change::conflict(format!("{HOLDS_MAX} holds are in force already")));
            }
            if let Some(customer) = &customer {
                let sql = "SELECT id FROM customers WHERE id = $1";
                if batch.tx().row_opt(sql, &args![customer]).await?.is_none() {
                    return Err(change::unknown("customer", customer.as_str()));
                }
            }
            let id = HoldId::from_entropy(draw()?);
            let sql = "INSERT INTO holds (id, subject, customer, officer, added_at) \
                       VALUES ($1, $2, $3, $4, $5)";
            let named = customer.as_ref().map(|customer| customer.to_string());
            let row = args![&id, subject.clone(), named, actor.id.as_str(), batch.now()];
            batch.tx().run(sql, &row).await?;
            let event = Event::HoldAdded { hold: id.to_string(), subject };
            let mut entry = NewEntry::new(actor, event);
            entry.customer = customer;
            batch.append(entry.with("justification", reason.as_str())).await?;
            Ok(id)
        })
    });
    let id = added.await?.into_inner();
    Ok(Reply::Said {
        text: format!("hold {id}: nothing that it covers is erased until it is removed\n"),
        json: json!({ "hold": id, "state": "in force" }),
    })
}

async fn remove(call: &Call<'_>, hold: HoldId, reason: FreeText) -> Result<Reply, Fault> {
    let (actor, id) = (call.actor(), hold.clone());
    let removed = call.change("audit hold remove", move |batch| {
        Box::pin(async move {
            let sql = "SELECT customer FROM holds WHERE id = $1";
            let row = batch.tx().row_opt(sql, &args![&id]).await?;
            let row = row.ok_or_else(|| change::unknown("hold", id.as_str()))?;
            let customer: Option<CustomerId> = row.opt_parsed(0)?;
            batch.tx().run("DELETE FROM holds WHERE id = $1", &args![&id]).await?;
            let event = Event::HoldRemoved { hold: id.to_string() };
            let mut entry = NewEntry::new(actor, event);
            entry.customer = customer;
            batch.append(entry.with("justification", reason.as_str())).await?;
            Ok(())
        })
    });
    removed.await?.into_inner();
    Ok(Reply::Said {
        text: format!("removed {hold}\n"),
        json: json!({ "hold": hold, "state": "removed" }),
    })
}

async fn list(call: &Call<'_>) -> Result<Reply, Fault> {
    let sql = "SELECT id, subject, customer, officer, added_at FROM holds ORDER BY added_at, id";
    let mut table = Table::new(&["hold", "of", "officer", "since"]);
    let mut holds = Vec::new();
    for row in call.db().rows(sql, &[]).await? {
        let (id, officer) = (row.text(0)?, row.text(3)?);
        let (subject, customer) = (row.opt_text(1)?, row.opt_text(2)?);
        let since = Timestamp::from_micros(row.i64(4)?);
        let of = subject.clone().or_else(|| customer.clone()).unwrap_or_else(|| "all".into());
        table.row(&[&id, &of, &officer, &since.to_string()]);
        holds.push(json!({
            "hold": id, "subject": subject, "customer": customer, "officer": officer,
            "since": since,
        }));
    }
    Ok(Reply::Said { text: table.or("no hold is in force"), json: json!({ "holds": holds }) })
}

/// Refuses what a hold covers: of this person, in the chains of these customers.
pub(in crate::api) async fn refuse(
    batch: &mut Batch,
    subject: Option<&str>,
    customers: &[CustomerId],
) -> Result<(), ChangeError> {
    for row in batch.tx().rows("SELECT id, subject, customer FROM holds", &[]).await? {
        let (held, of) = (row.opt_text(1)?, row.opt_text(2)?);
        let covers = match (&held, &of) {
            (None, None) => true,
            (Some(held), _) => subject == Some(held.as_str()),
            (None, Some(of)) => customers.iter().any(|customer| customer.as_str() == of),
        };
        if covers {
            let hold = row.text(0)?;
            let sentence = format!("legal hold {hold} covers it: see `audit hold list`");
            return Err(ChangeError::refused("legal-hold", sentence));
        }
    }
    Ok(())
}
