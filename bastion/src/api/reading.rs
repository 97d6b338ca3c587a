//! What every reading command does before its first byte of answer: settle whose log may be read,
//! and enter that it is read.

use super::{Call, Fault, change};
use crate::{
    args,
    ledger::{NewEntry, projection::ProjectionError, reading::ReadError, told::is_withheld},
};
use audit_schema::{
    commit::Opening,
    entry::Entry,
    event::{ActorKind, Event},
};
use bastion_core::{id::CustomerId, limits::REFUSED_ARGUMENTS_CHARS_MAX};

/// Whose entries this caller may read: an approver's are their customer's, whatever they ask for.
pub(super) fn scope(
    call: &Call<'_>,
    asked: Option<&CustomerId>,
) -> Result<Option<CustomerId>, Fault> {
    match (call.caller.actor.kind, &call.caller.customer, asked) {
        (ActorKind::Officer | ActorKind::Local, _, asked) => Ok(asked.cloned()),
        (ActorKind::Approver, Some(own), None) => Ok(Some(own.clone())),
        (ActorKind::Approver, Some(own), Some(asked)) if own == asked => Ok(Some(own.clone())),
        (_, _, Some(asked)) => Err(no_customer(asked)),
        // The table of permissions lets nobody else come here.
        (_, _, None) => Err(Fault::refused("unknown", "there is nothing here for you to read")),
    }
}

fn no_customer(asked: &CustomerId) -> Fault {
    Fault::refused("unknown", format!("no customer `{asked}` here"))
}

/// Whether names and addresses are kept from this caller.
pub(super) fn withholds(call: &Call<'_>) -> bool {
    call.caller.actor.kind == ActorKind::Approver
}

/// Enters that the log is read; answers how many entries there are, this one included.
pub(super) async fn enter(call: &Call<'_>, customer: Option<&CustomerId>) -> Result<u64, Fault> {
    let actor = call.actor();
    let (command, customer) = (call.command.clone(), customer.cloned());
    let arguments: String = call.argv.join(" ").chars().take(REFUSED_ARGUMENTS_CHARS_MAX).collect();
    let head = *call.app.ledger.size().borrow();
    let entered = call.app.ledger.record("log read", move |batch| {
        Box::pin(async move {
            let read = Event::LogRead { command, head };
            let mut entry = NewEntry::new(actor, read).with("arguments", arguments);
            if let Some(customer) = customer {
                let sql = "SELECT id FROM customers WHERE id = $1";
                if batch.tx().row_opt(sql, &args![customer.as_str()]).await?.is_none() {
                    return Err(change::unknown("customer", customer.as_str()));
                }
                entry = entry.of_customer(&customer);
            }
            batch.append(entry).await
        })
    });
    Ok(entered.await?.seq() + 1)
}

/// The openings of an entry that this caller may see, each checked against its commitment.
pub(super) async fn openings(call: &Call<'_>, entry: &Entry) -> Result<Vec<Opening>, Fault> {
    if entry.commit.is_empty() {
        return Ok(Vec::new());
    }
    let found = call.app.ledger.openings(entry.seq).await?;
    for opening in &found {
        opening.check(entry).map_err(|bad| Fault::Unverified {
            code: "opening-broken",
            sentence: format!("entry {}, field {}: {bad}", entry.seq, opening.field),
        })?;
    }
    let withholds = withholds(call);
    Ok(found.into_iter().filter(|o| !withholds || !is_withheld(entry, &o.field)).collect())
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            broken @ ReadError::Broken { .. } => {
                Self::Unverified { code: "log-broken", sentence: broken.to_string() }
            }
        }
    }
}

impl From<ProjectionError> for Fault {
    fn from(error: ProjectionError) -> Self {
        match error {
            ProjectionError::Store(error) => error.into(),
            ProjectionError::Log(error) => error.into(),
            behind @ ProjectionError::Behind { .. } => Self::Failed(behind.to_string()),
        }
    }
}
