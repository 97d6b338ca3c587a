//! The lists of what is revoked, as a VM fetches them.
//!
//! The KRL is made anew for whoever asks, of what the store says now: CA keys that were rotated
//! out, and the certificates of leases that lost their ground while they could still log in. It
//! goes out below an SSH signature of the notice key, which the VM knows from its bootstrap:
//! `ssh-keygen -Y verify` checks it there before it is installed.

use super::customer_of;
use crate::{
    api::{Call, Fault, Reply, revocations},
    app::App,
    args, clock, keyfile,
    store::StoreError,
};
use audit_schema::hash::Hash;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bastion_core::{
    id::InstanceId,
    krl::Krl,
    limits::{KRL_LEASE_SECONDS, KRL_SERIALS_MAX},
};
use russh::keys::{
    HashAlg, PrivateKey,
    ssh_key::{LineEnding, private::Ed25519Keypair},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
};

/// The namespace of the signature over a deployment's KRLs.
pub fn krl_namespace(origin: &str) -> String {
    format!("bastion-krl@{origin}")
}

/// What is revoked now.
async fn krl(app: &App) -> Result<Krl, Fault> {
    let now = clock::now();
    let sql = "SELECT serial FROM leases WHERE revoked_at IS NOT NULL AND granted_at > $1 \
               ORDER BY serial DESC LIMIT $2";
    let since = args![now.plus_seconds(-KRL_LEASE_SECONDS), KRL_SERIALS_MAX];
    let mut serials = BTreeSet::new();
    for row in app.ledger.db().rows(sql, &since).await? {
        serials.insert(row.u64(0)?);
    }
    let mut keys = BTreeSet::new();
    for row in app.ledger.db().rows("SELECT digest FROM revoked_keys", &[]).await? {
        let bad = |_| StoreError::failed("a revoked key is no digest");
        keys.insert(row.text(0)?.parse::<Hash>().map_err(bad)?);
    }
    let ca = app.ca.user_ca().to_bytes();
    let ca = ca.map_err(|error| Fault::Failed(format!("the user CA's key: {error}")))?;
    Ok(Krl {
        version: *app.ledger.size().borrow(),
        generated: now,
        keys,
        serials: BTreeMap::from([(ca, serials)]),
    })
}

/// The key that signs KRLs, as an SSH key.
pub(super) fn signer(app: &App) -> Result<PrivateKey, Fault> {
    let key = keyfile::read_log_key(&app.config.keys.notices)
        .map_err(|error| Fault::Failed(format!("cannot read the notice key: {error}")))?;
    Ok(PrivateKey::from(Ed25519Keypair::from_seed(&key.to_bytes())))
}

/// The KRL below its signature: an armored SSH signature, and then the list in base 64.
async fn signed_krl(app: &App) -> Result<String, Fault> {
    let bytes = krl(app).await?.to_bytes();
    let signature = signer(app)?
        .sign(&krl_namespace(&app.config.origin), HashAlg::Sha512, &bytes)
        .and_then(|signature| signature.to_pem(LineEnding::LF))
        .map_err(|error| Fault::Failed(format!("the KRL cannot be signed: {error}")))?;
    Ok(format!("{}\n{}\n", signature.trim_end(), BASE64.encode(&bytes)))
}

/// The KRL for an instance that lives.
pub async fn krl_for(app: &App, instance: &InstanceId) -> Result<Option<String>, Fault> {
    match customer_of(app, instance).await? {
        Some(_) => signed_krl(app).await.map(Some),
        None => Ok(None),
    }
}

/// `ca krl`: the list alone, as sshd reads it.
pub async fn show(call: &Call<'_>) -> Result<Reply, Fault> {
    Ok(Reply::Bytes(krl(call.app).await?.to_bytes()))
}

/// The guard's list for an instance: the file that the gateway keeps for its customer.
pub async fn revocations_for(app: &App, instance: &InstanceId) -> Result<Option<String>, Fault> {
    let Some(customer) = customer_of(app, instance).await? else { return Ok(None) };
    // A customer's id holds no slash and no dot: see `core::id`.
    let file = revocations::folder(&app.config).join(customer.as_str());
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::Failed(format!("{}: {error}", file.display()))),
    }
}
