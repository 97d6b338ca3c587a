//! `vm bootstrap`: what a fresh VM needs to take the bastion's certificates and nothing else, and
//! what it fetches by itself from then on.
//!
//! The officer's command makes a one-time token and prints a script ([`script`]); the VM runs it,
//! brings its host key with the token over https and gets its host certificate ([`enrol`]); a timer
//! fetches the two lists of what is revoked ([`lists`]). Without `[https]` the host key is given to
//! the command, and the certificate stands in the script.

mod lists;
mod script;

pub use lists::{krl_for, revocations_for, show as show_krl};

use super::{
    Call, Fault, Reply,
    change::{conflict, unknown},
    host::{self, Host},
    keys, rows,
    token::{self, Token},
};
use crate::{
    app::App,
    args,
    ledger::{Batch, ChangeError, NewEntry},
};
use audit_schema::{
    event::{Actor, ActorKind, Event, Level},
    time::Timestamp,
};
use bastion_core::{
    id::{CustomerId, InstanceId, VmName},
    limits::VM_TOKEN_SECONDS,
    vm::VmInstance,
};
use clap::{Args, ValueEnum};
use script::Script;
use serde_json::{Value, json};

/// What `vm bootstrap` is asked.
#[derive(Debug, Args)]
pub struct Ask {
    /// Its name.
    vm: VmName,
    /// For a shell, or as user data of a cloud.
    #[arg(long, value_enum, default_value = "shell")]
    format: Format,
    /// Its public host key, - for standard input: the certificate stands in the script then.
    #[arg(long)]
    host_key: Option<String>,
}

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A script for root.
    Shell,
    /// User data of a cloud: the same script.
    CloudInit,
}

/// What is read under the head of the log.
struct Found {
    instance: VmInstance,
    approvers: Vec<(String, String)>,
    signatures_needed: u64,
    expires_at: Timestamp,
    host: Option<Host>,
}

/// `vm bootstrap`.
pub async fn bootstrap(call: &mut Call<'_>, ask: Ask) -> Result<Reply, Fault> {
    let key = match &ask.host_key {
        Some(given) => Some(call.key(&given.clone()).await?),
        None if call.app.config.https.is_none() => {
            return Err(Fault::Usage(
                "this gateway serves no https: give the VM's host key, as in `vm bootstrap NAME \
                 --host-key - < ssh_host_ed25519_key.pub`"
                    .into(),
            ));
        }
        None => None,
    };
    let token = match key {
        Some(_) => None,
        None => Some(Token::draw().map_err(|none| Fault::Failed(none.to_string()))?),
    };
    let (actor, name) = (call.actor(), ask.vm.clone());
    let (kept, fingerprint) = (token.as_ref().map(Token::digest), key.clone());
    let change = call.change("vm bootstrap", move |batch| {
        Box::pin(async move {
            let found = find(batch, &name).await?;
            offer(batch, &actor, found, (kept, fingerprint.map(|key| key.fingerprint))).await
        })
    });
    let found = change.await?.into_inner();
    let certificate = match (&found.host, &key) {
        (Some(host), Some(key)) => Some(host::sign(call.app, host, &key.line)?),
        _ => None,
    };
    let script = Script::of(call.app, &found, (token.as_ref(), certificate.as_deref()))?;
    let text = match ask.format {
        Format::Shell => script.shell(),
        Format::CloudInit => script.cloud_init(),
    };
    let json = json!({
        "vm": ask.vm, "instance": found.instance.id, "expires_at": found.expires_at,
        "script": text, "guard_config": script.guard_config(),
    });
    Ok(Reply::Said { text, json })
}

/// `vm check`: the script that looks at the VM, and changes nothing there.
pub async fn check(call: &Call<'_>, vm: VmName) -> Result<Reply, Fault> {
    let name = vm.clone();
    let found = call.db().read(move |tx| {
        Box::pin(async move { crate::gate::facts::live_instance(tx, &name).await })
    });
    let missing = || crate::ledger::LedgerError::from(unknown("VM", vm.as_str()));
    let instance = found.await?.ok_or_else(missing)?;
    let text = script::check(&call.app.config.origin, &instance);
    let json = json!({ "vm": vm, "instance": instance.id, "script": text });
    Ok(Reply::Said { text, json })
}

async fn find(batch: &mut Batch, name: &VmName) -> Result<Found, ChangeError> {
    let instance = rows::live_instance(batch.tx(), name).await?;
    let instance = instance.ok_or_else(|| unknown("VM", name.as_str()))?;
    let signatures_needed = rows::signatures_needed(batch.tx(), &instance.customer).await?;
    let sql = "SELECT a.id, k.public_key FROM approvers a \
               JOIN keys k ON k.subject = a.id AND k.role = 'approver' AND k.removed_at IS NULL \
               JOIN customers c ON c.id = a.customer AND c.approver_epoch = a.epoch \
               JOIN instances i ON i.id = $2 AND i.approver_epoch = a.epoch \
               WHERE a.customer = $1 AND a.state = 'enabled' ORDER BY a.id, k.public_key";
    let whose = args![instance.customer.as_str(), instance.id.as_str()];
    let mut approvers = Vec::new();
    for row in batch.tx().rows(sql, &whose).await? {
        approvers.push((row.text(0)?, row.text(1)?));
    }
    let has_data = instance.accounts.iter().any(|account| account.level == Level::Data);
    if has_data && approvers.is_empty() {
        return Err(conflict(format!(
            "{name} has a data account, and {} has no approver whose key it could know: `approver \
             invite` first",
            instance.customer
        )));
    }
    let expires_at = batch.now().plus_seconds(VM_TOKEN_SECONDS);
    Ok(Found { instance, approvers, signatures_needed, expires_at, host: None })
}

async fn offer(
    batch: &mut Batch,
    actor: &Actor,
    mut found: Found,
    (token, fingerprint): (Option<String>, Option<String>),
) -> Result<Found, ChangeError> {
    let instance = &found.instance;
    let event = Event::VmBootstrapped {
        approvers: found.approvers.iter().map(|(id, _)| id.clone()).collect(),
        instance: instance.id.to_string(),
        token_until: token.as_ref().map(|_| found.expires_at.to_string()),
        vm: instance.vm.to_string(),
    };
    batch.append(NewEntry::new(actor.clone(), event).of_customer(&instance.customer)).await?;
    if let Some(token) = token {
        let sql = "UPDATE vm_tokens SET state = 'void' WHERE instance = $1 AND state = 'open'";
        batch.tx().run(sql, &args![instance.id.as_str()]).await?;
        let sql = "INSERT INTO vm_tokens (token, instance, expires_at, state) \
                   VALUES ($1, $2, $3, 'open')";
        batch.tx().run(sql, &args![token, instance.id.as_str(), found.expires_at]).await?;
    }
    if let Some(fingerprint) = fingerprint {
        found.host = Some(host::enter(batch, actor, instance, &fingerprint).await?);
    }
    Ok(found)
}

/// A VM brings its token and its public host key; the answer is its certificate.
pub async fn enrol(app: &App, token: &str, key: &str) -> Result<String, Fault> {
    let key = keys::parse(key)?;
    let (digest, fingerprint) = (token::digest(token), key.fingerprint.clone());
    let change = app.ledger.record("vm enrol", move |batch| {
        Box::pin(async move {
            let now = batch.now();
            let bad = || {
                let sentence =
                    "no VM waits with this token: it was used, has expired, or never was";
                ChangeError::refused("token", sentence)
            };
            let sql = "SELECT i.vm, i.id FROM vm_tokens t JOIN instances i ON i.id = t.instance \
                       AND i.retired_at IS NULL \
                       WHERE t.token = $1 AND t.state = 'open' AND t.expires_at > $2";
            let row = batch.tx().row_opt(sql, &args![digest.as_str(), now]).await?;
            let row = row.ok_or_else(bad)?;
            let instance = rows::live_instance(batch.tx(), &row.parsed(0)?).await?;
            let instance = instance.ok_or_else(bad)?;
            let sql = "UPDATE vm_tokens SET state = 'used' WHERE token = $1 AND state = 'open'";
            batch.tx().run(sql, &args![digest.as_str()]).await?;
            // The VM has no name of its own in the log: whoever holds the token is the gateway's
            // business.
            let actor = Actor { id: batch.gateway().to_owned(), kind: ActorKind::Gateway };
            host::enter(batch, &actor, &instance, &fingerprint).await
        })
    });
    let host = change.await?.into_inner();
    Ok(format!("{}\n", host::sign(app, &host, &key.line)?))
}

/// The customer of an instance that lives.
async fn customer_of(app: &App, instance: &InstanceId) -> Result<Option<CustomerId>, Fault> {
    let sql = "SELECT customer FROM instances WHERE id = $1 AND retired_at IS NULL";
    let row = app.ledger.db().row_opt(sql, &args![instance.as_str()]).await?;
    Ok(row.map(|row| row.parsed(0)).transpose()?)
}

/// The guard's configuration of a VM, with the witnesses that the gateway demands itself.
fn guard_config(app: &App, found: &Found, user_cas: &[String]) -> Result<Value, Fault> {
    let instance = &found.instance;
    let account = |account: &bastion_core::vm::Account| {
        json!({
            "account": account.name, "level": account.level, "unix_user": account.unix_user,
        })
    };
    let approver = |(id, key): &(String, String)| json!({ "approver": id, "key": key });
    let mut config = json!({
        "origin": app.config.origin,
        "log_keys": [app.ledger.vkey().to_string()],
        "user_cas": user_cas,
        "customer": instance.customer,
        "instance": instance.id,
        "accounts": instance.accounts.iter().map(account).collect::<Vec<_>>(),
        "approvers": found.approvers.iter().map(approver).collect::<Vec<_>>(),
        "signatures_needed": found.signatures_needed,
        "revocations": "/var/lib/bastion/revocations",
    });
    if let Some(witness) = app.config.witness.as_ref().filter(|w| !w.demand.is_empty()) {
        let (_, text) = witness.read().map_err(Fault::Failed)?;
        config["witnesses"] = json!(text);
        config["witnessed"] = json!(witness.demand);
    }
    Ok(config)
}
