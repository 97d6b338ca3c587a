//! `customer …`: the parties whose systems are reached and whose consent counts.

use super::{
    Call, Fault, Reply,
    change::{conflict, unknown},
    print::Table,
    values::text,
};
use crate::{
    args,
    ledger::{Batch, ChangeError, NewEntry},
    notices::{HookName, WebhookUrl},
};
use audit_schema::event::{Actor, Event};
use bastion_core::{consent::FreeText, id::CustomerId, limits::CONSENT_SIGNATURES_MAX};
use clap::{Args, Subcommand};
use serde_json::json;

/// What an officer does with customers.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Take on a customer
    #[command(after_help = "Example:\n  ssh bastion customer add acme --name 'Acme Ltd' \
        --signatures 2 --webhook https://acme.example/consent\n\
        Who receives it checks the header Bastion-Signature with the notice key that `ca show` \
        prints.")]
    Add(Add),
    /// Say where the customer's approvers are told
    Notify(Notify),
    /// Every customer
    List,
}

/// A new customer.
#[derive(Debug, Args)]
pub struct Add {
    /// Its id: a-z, 0-9 and '-'.
    customer: CustomerId,
    /// What people call it.
    #[arg(long, required = true, num_args = 1.., value_name = "TEXT")]
    name: Vec<String>,
    /// How many of its approvers have to sign a consent.
    #[arg(long, default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=CONSENT_SIGNATURES_MAX))]
    signatures: u64,
    /// Where notices are posted, signed: https://HOST/PATH, or http:// to loopback.
    #[arg(long)]
    webhook: Option<WebhookUrl>,
    /// Which of the programs in the gateway's `hooks` folder is given each notice.
    #[arg(long)]
    hook: Option<HookName>,
}

/// Where a customer's approvers are told; what is not given stops.
#[derive(Clone, Debug, Args)]
pub struct Notify {
    /// Which customer.
    customer: CustomerId,
    /// Where notices are posted, signed: https://HOST/PATH, or http:// to loopback.
    #[arg(long)]
    webhook: Option<WebhookUrl>,
    /// Which of the programs in the gateway's `hooks` folder is given each notice.
    #[arg(long)]
    hook: Option<HookName>,
}

/// Runs one of them.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Add(add) => take_on(call, add).await,
        Verb::Notify(notify) => change_notify(call, notify).await,
        Verb::List => list(call).await,
    }
}

async fn take_on(call: &Call<'_>, add: Add) -> Result<Reply, Fault> {
    let actor = call.actor();
    let customer = add.customer.clone();
    let name: FreeText = text("--name", &add.name)?;
    let change =
        call.change("customer add", move |batch| Box::pin(insert(batch, actor, add, name)));
    change.await?.into_inner();
    // Its VMs will want a revocation list.
    call.app.live.wake();
    Ok(Reply::Said {
        text: format!(
            "added customer {customer}; next: `approver invite … --customer {customer}` and \
             `service add … --customer {customer}`\n"
        ),
        json: json!({ "customer": customer }),
    })
}

async fn insert(
    batch: &mut Batch,
    actor: Actor,
    add: Add,
    name: FreeText,
) -> Result<(), ChangeError> {
    let id = add.customer;
    let taken = "SELECT id FROM customers WHERE id = $1";
    if batch.tx().row_opt(taken, &args![id.as_str()]).await?.is_some() {
        return Err(conflict(format!("there is a customer `{id}` already")));
    }
    let sql = "INSERT INTO customers (id, name, signatures_needed, webhook_url, hook_command) \
               VALUES ($1, $2, $3, $4, $5)";
    let webhook = add.webhook.as_ref().map(WebhookUrl::as_str);
    let hook = add.hook.as_ref().map(HookName::as_str);
    let row = args![id.as_str(), name.as_str(), add.signatures, webhook, hook];
    batch.tx().run(sql, &row).await?;
    let event = Event::CustomerAdded { signatures_needed: add.signatures };
    batch.append(NewEntry::new(actor, event).of_customer(&id)).await?;
    Ok(())
}

async fn change_notify(call: &Call<'_>, notify: Notify) -> Result<Reply, Fault> {
    let actor = call.actor();
    let customer = notify.customer.clone();
    let told = notify.webhook.is_some() || notify.hook.is_some();
    let (asked, new) = (notify.clone(), notify);
    let change = call.change_if(
        "customer notify",
        move |batch| Box::pin(stops(batch, asked)),
        move |batch| Box::pin(put_notify(batch, actor, new)),
    );
    change.await?.into_inner();
    let text = if told {
        format!("the approvers of {customer} are told there from now on\n")
    } else {
        format!("the approvers of {customer} are told nowhere; that is in their log\n")
    };
    Ok(Reply::Said { text, json: json!({ "customer": customer }) })
}

/// Whether somewhere that is told now is told no more.
async fn stops(batch: &mut Batch, new: Notify) -> Result<bool, ChangeError> {
    let sql = "SELECT webhook_url, hook_command FROM customers WHERE id = $1";
    let row = batch.tx().row_opt(sql, &args![new.customer.as_str()]).await?;
    let row = row.ok_or_else(|| unknown("customer", new.customer.as_str()))?;
    let gone = |old: Option<String>, new| old.is_some_and(|old| Some(old.as_str()) != new);
    Ok(gone(row.opt_text(0)?, new.webhook.as_ref().map(WebhookUrl::as_str))
        || gone(row.opt_text(1)?, new.hook.as_ref().map(HookName::as_str)))
}

async fn put_notify(batch: &mut Batch, actor: Actor, notify: Notify) -> Result<(), ChangeError> {
    let sql = "UPDATE customers SET webhook_url = $1, hook_command = $2 WHERE id = $3";
    let webhook = notify.webhook.as_ref().map(WebhookUrl::as_str);
    let hook = notify.hook.as_ref().map(HookName::as_str);
    let row = args![webhook, hook, notify.customer.as_str()];
    if batch.tx().run(sql, &row).await? == 0 {
        return Err(unknown("customer", notify.customer.as_str()));
    }
    let event = Event::NoticesChanged { hook: hook.map(str::to_owned), webhook: webhook.is_some() };
    let entry = NewEntry::new(actor, event).of_customer(&notify.customer);
    batch.append(entry.with("webhook", webhook.unwrap_or_default())).await?;
    Ok(())
}

async fn list(call: &Call<'_>) -> Result<Reply, Fault> {
    let sql = "SELECT id, name, signatures_needed, webhook_url, hook_command FROM customers \
               ORDER BY id";
    let mut table = Table::new(&["customer", "name", "signatures", "webhook", "hook"]);
    let mut customers = Vec::new();
    for row in call.db().rows(sql, &[]).await? {
        let (id, name, needed) = (row.text(0)?, row.text(1)?, row.u64(2)?);
        let (webhook, hook) = (row.opt_text(3)?, row.opt_text(4)?);
        let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        table.row(&[&id, &name, &needed.to_string(), &dash(&webhook), &dash(&hook)]);
        customers.push(json!({
            "customer": id, "name": name, "signatures_needed": needed,
            "webhook": webhook, "hook": hook,
        }));
    }
    Ok(Reply::Said {
        text: table.or("no customers yet; add one with `customer add`"),
        json: json!({ "customers": customers }),
    })
}
