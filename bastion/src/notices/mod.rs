//! Notices to approvers: what the customer hears without asking.
//!
//! A notice is a row that the causing change writes in its own transaction, so there is no event
//! without its notice and no notice without its event. A task ([`deliver`]) hands each one to the
//! customer's webhook ([`webhook`]) and to a program of the deployment ([`hook`]), tries again with
//! growing pauses, and in the end says in the customer's own log that it gave up. Delivery is at
//! least once: a notice has an `id` by which whoever receives it can tell a repetition.
//!
//! ```json
//! {"customer":"acme","facts":{"revision":1,"ticket":"t-…"},"id":"n-…","kind":"consent.requested",
//!  "origin":"bastion.example","seq":42,"time":"2026-11-24T08:02:00.000001Z","v":1}
//! ```

pub mod alarms;
pub mod deliver;
mod hook;
pub mod webhook;

pub use crate::https::Trust;
pub use deliver::{Courier, Tried, Tries, run};
pub use hook::HookName;
pub use webhook::WebhookUrl;

use crate::{
    args,
    entropy::draw,
    ledger::{Batch, ChangeError},
    store::StoreError,
};
use bastion_core::{id::CustomerId, limits::NOTICE_BYTES_MAX};
use serde_json::{Value, json};

/// Something that a customer's approvers have to hear.
pub struct Notice<'a> {
    /// Whose approvers.
    pub customer: &'a CustomerId,
    /// What happened, in the word of the log's event.
    pub kind: &'static str,
    /// The entry that says so.
    pub seq: u64,
    /// The ids and counts that belong to it.
    pub facts: Value,
}

/// Puts a notice into the outbox, in the transaction of its cause. A customer that is told nowhere
/// gets no row: what happened stands in its log all the same.
pub async fn enqueue(batch: &mut Batch, notice: &Notice<'_>) -> Result<(), ChangeError> {
    let sql = "SELECT webhook_url, hook_command FROM customers WHERE id = $1";
    let row = batch.tx().row_opt(sql, &args![notice.customer.as_str()]).await?;
    let Some(row) = row else { return Ok(()) };
    if row.opt_text(0)?.is_none() && row.opt_text(1)?.is_none() {
        return Ok(());
    }
    let id = id()?;
    let now = batch.now();
    let payload = json!({
        "customer": notice.customer, "facts": notice.facts, "id": id, "kind": notice.kind,
        "seq": notice.seq, "time": now, "v": 1,
    });
    let text = payload.to_string();
    if text.len() > NOTICE_BYTES_MAX {
        return Err(StoreError::failed("a notice is too long").into());
    }
    let gateway = batch.gateway().to_owned();
    let sql = "INSERT INTO notices (id, customer, payload_json, gateway, created_at) \
               VALUES ($1, $2, $3, $4, $5)";
    batch.tx().run(sql, &args![id, notice.customer.as_str(), text, gateway, now]).await?;
    Ok(())
}

fn id() -> Result<String, ChangeError> {
    let bytes: [u8; 16] = draw().map_err(|none| StoreError::failed(none.to_string()))?;
    Ok(bytes.iter().fold(String::from("n-"), |id, byte| format!("{id}{byte:02x}")))
}
