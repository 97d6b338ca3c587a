//! What was recorded on a data channel is customer data: whether the provider may see it now.

use crate::{
    gate::facts,
    ledger::{Batch, ChangeError},
    store::{StoreError, Tx},
};
use audit_schema::{event::Level, time::Timestamp};
use bastion_core::{
    authorize::{RecordingAsked, recording_access},
    id::CustomerId,
};

/// The ticket under which recordings of this account may be seen, or the refusal of a command.
/// What the customer signed decides, as for a channel.
pub(super) async fn ensure(
    batch: &mut Batch,
    origin: &str,
    customer: &CustomerId,
    place: (String, String),
) -> Result<String, ChangeError> {
    let now = batch.now();
    let found = ticket(batch.tx(), (now, origin), customer, place).await?;
    found.ok_or_else(|| {
        ChangeError::refused(
            "no-recording-access",
            "the recording of a data channel is customer data: it takes a live consent of the \
             customer that includes recording access; ask for one",
        )
    })
}

/// The ticket that permits it at this moment; none if nothing does.
pub(super) async fn ticket(
    tx: &mut Tx,
    (now, origin): (Timestamp, &str),
    customer: &CustomerId,
    (instance, account): (String, String),
) -> Result<Option<String>, StoreError> {
    let unreadable = |what: &str| StoreError::Shape(format!("the {what} of a lease"));
    let instance = instance.parse().map_err(|_| unreadable("instance"))?;
    let account = account.parse().map_err(|_| unreadable("account"))?;
    let asked = RecordingAsked {
        now,
        origin,
        customer,
        instance: &instance,
        account: &account,
        level: Level::Data,
        signatures_needed: facts::signatures_needed(tx, customer).await?,
        approver_keys: &facts::approver_keys(tx, customer).await?,
        consents: &facts::consents(tx, customer, now).await?,
    };
    // A data account never comes out as one that needs no consent; if it did, it would not do.
    Ok(recording_access(&asked).ok().flatten().map(|ticket| ticket.to_string()))
}
