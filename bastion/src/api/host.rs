//! `ca …` and `vm certify`: the public keys to install, and the certificates that VMs show.

use super::{
    Call, Fault, Reply,
    change::{conflict, unknown},
    keys::{self, PersonKey},
    provision, rows,
};
use crate::{
    app::App,
    args, keyfile,
    ledger::{Batch, ChangeError, NewEntry},
};
use audit_schema::{
    event::{Actor, Event},
    hash::Hash,
    time::Timestamp,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bastion_core::{
    id::{InstanceId, VmName},
    limits::VM_HOST_CERT_SECONDS,
    vm::VmInstance,
};
use clap::Subcommand;
use russh::keys::PublicKey;
use serde_json::json;

/// What an officer does with the authorities.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// The public keys, and where each is installed
    Show,
    /// The list of what is revoked, as sshd reads it (RevokedKeys)
    #[command(after_help = "VMs fetch it by themselves, under a signature, where the gateway \
        serves https. Example:\n  ssh bastion ca krl > krl && ssh-keygen -Q -l -f krl")]
    Krl,
    /// A key that counts no more, a CA that was replaced, say: it stands in every KRL from now on
    #[command(
        after_help = "What it signed opens no VM any more, once the VM has fetched the list. \
        Example:\n  ssh bastion ca revoke user-ca --key - < old-user-ca.pub"
    )]
    Revoke {
        /// What it was.
        #[arg(value_parser = ["user-ca", "gateway-host-ca", "vm-host-ca"])]
        was: String,
        /// The public key: a line of a .pub file, or - for standard input.
        #[arg(long)]
        key: String,
    },
}

/// Runs it.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Show => show(call),
        Verb::Krl => provision::show_krl(call).await,
        Verb::Revoke { was, key } => {
            let key = call.key(&key).await?;
            revoke(call, was, key).await
        }
    }
}

/// Puts a key into every KRL; one that is in use would lock everybody out.
async fn revoke(call: &Call<'_>, was: String, key: PersonKey) -> Result<Reply, Fault> {
    let ca = &call.app.ca;
    for used in [ca.user_ca(), ca.gateway_host_ca(), ca.vm_host_ca()] {
        if line(used)? == key.line {
            let how = "this key is in use: replace it first, and then revoke what it was";
            return Err(Fault::Conflict(how.into()));
        }
    }
    let bad = |error: String| Fault::Usage(format!("not a public key: {error}"));
    let public = PublicKey::from_openssh(&key.line).map_err(|e| bad(e.to_string()))?;
    let digest = Hash::of(&public.to_bytes().map_err(|e| bad(e.to_string()))?);
    let (actor, fingerprint) = (call.actor(), key.fingerprint);
    let (text, json) = (
        format!("revoked {was} {fingerprint}: it stands in every KRL from now on\n"),
        json!({ "was": was, "fingerprint": fingerprint }),
    );
    let change = call.change("ca revoke", move |batch| {
        Box::pin(async move {
            let sql = "SELECT what FROM revoked_keys WHERE digest = $1";
            let digest = digest.to_string();
            if batch.tx().row_opt(sql, &args![digest.as_str()]).await?.is_some() {
                return Err(conflict("this key is revoked already"));
            }
            let sql = "INSERT INTO revoked_keys (digest, what, revoked_at) VALUES ($1, $2, $3)";
            let now = batch.now();
            batch.tx().run(sql, &args![digest, was.as_str(), now]).await?;
            let event = Event::CaChanged { action: "revoked".into(), ca: was, fingerprint };
            // It touches everybody: each customer's own chain says so.
            batch.append(NewEntry::new(actor.clone(), event.clone())).await?;
            for row in batch.tx().rows("SELECT id FROM customers ORDER BY id", &[]).await? {
                let entry = NewEntry::new(actor.clone(), event.clone());
                batch.append(entry.of_customer(&row.parsed(0)?)).await?;
            }
            Ok(())
        })
    });
    change.await?.into_inner();
    Ok(Reply::Said { text, json })
}

/// A public key as one line, without a comment.
pub(super) fn line(key: &PublicKey) -> Result<String, Fault> {
    let mut key = key.clone();
    key.set_comment("");
    key.to_openssh().map_err(|e| Fault::Failed(format!("cannot write a public key: {e}")))
}

fn show(call: &Call<'_>) -> Result<Reply, Fault> {
    let ca = &call.app.ca;
    let (user, vm) = (line(ca.user_ca())?, line(ca.vm_host_ca())?);
    let gateway = line(ca.gateway_host_ca())?;
    let log = call.app.ledger.vkey();
    let notices = keyfile::read_log_key(&call.app.config.keys.notices)
        .map_err(|e| Fault::Failed(format!("cannot read the notice key: {e}")))?;
    let notices = BASE64.encode(notices.verifying_key().to_bytes());
    let text = format!(
        "user CA: on VMs, the file that TrustedUserCAKeys names\n{user}\n\n\
         gateway-host CA: in operators' known_hosts, after `@cert-authority *`\n{gateway}\n\n\
         VM-host CA: trusted by gateways alone; never put it into a known_hosts\n{vm}\n\n\
         log key: verifies checkpoints\n{log}\n\n\
         notice key: ed25519, verifies the header Bastion-Signature of webhooks\n{notices}\n"
    );
    Ok(Reply::Said {
        text,
        json: json!({
            "user_ca": user, "gateway_host_ca": gateway, "vm_host_ca": vm, "log_key": log,
            "notice_key": notices,
        }),
    })
}

/// `vm certify`: the entry first, then the signature.
pub async fn certify(call: &mut Call<'_>, vm: VmName) -> Result<Reply, Fault> {
    let text = call.input("the VM's public host key (ssh_host_ed25519_key.pub)").await?;
    let key = keys::parse(&text)?;
    let (actor, name, fingerprint) = (call.actor(), vm, key.fingerprint.clone());
    let change = call.change("vm certify", move |batch| {
        Box::pin(async move {
            let instance = rows::live_instance(batch.tx(), &name).await?;
            let instance = instance.ok_or_else(|| unknown("VM", name.as_str()))?;
            enter(batch, &actor, &instance, &fingerprint).await
        })
    });
    let host = change.await?.into_inner();
    let certificate = sign(call.app, &host, &key.line)?;
    let Host { instance, serial, until, .. } = host;
    Ok(Reply::Said {
        text: format!("{certificate}\n"),
        json: json!({
            "certificate": certificate, "instance": instance, "serial": serial,
            "valid_before": until,
        }),
    })
}

/// A host certificate that stands in the log and waits for its signature.
pub(super) struct Host {
    instance: InstanceId,
    vm: VmName,
    serial: u64,
    now: Timestamp,
    until: Timestamp,
}

/// The entry of a host certificate.
pub(super) async fn enter(
    batch: &mut Batch,
    actor: &Actor,
    instance: &VmInstance,
    fingerprint: &str,
) -> Result<Host, ChangeError> {
    let serial = batch.next_seq();
    let until = batch.now().plus_seconds(VM_HOST_CERT_SECONDS);
    let event = Event::HostCertificateIssued {
        instance: instance.id.to_string(),
        public_key: fingerprint.to_owned(),
        serial,
        valid_before: until.to_string(),
    };
    batch.append(NewEntry::new(actor.clone(), event).of_customer(&instance.customer)).await?;
    let (instance, vm) = (instance.id.clone(), instance.vm.clone());
    Ok(Host { instance, vm, serial, now: batch.now(), until })
}

/// The signature, after the entry.
pub(super) fn sign(app: &App, host: &Host, key: &str) -> Result<String, Fault> {
    let failed = |why: String| Fault::Failed(format!("cannot sign the host certificate: {why}"));
    let public =
        PublicKey::from_openssh(key).map_err(|e| Fault::Usage(format!("not a public key: {e}")))?;
    app.ca
        .vm_host_certificate(&public, (&host.instance, &host.vm), (host.serial, host.now))
        .map_err(|e| failed(e.to_string()))?
        .to_openssh()
        .map_err(|e| failed(e.to_string()))
}
