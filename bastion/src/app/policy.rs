//! The policy of a deployment: made of the files of its folder, and in force only when the log
//! says so.

use super::StartError;
use crate::{
    args,
    config::Config,
    gate::facts,
    ledger::{Batch, ChangeError, Ledger, LedgerError, NewEntry, Recorded},
    store::{Db, StoreError},
};
use audit_schema::{
    event::{Actor, Event},
    hash::Hash,
};
use bastion_core::policy::{Policy, PolicyErrors};

/// Names and texts of policy files, as [`crate::config::policy_files`] reads them.
pub type Files = [(String, String)];

/// The policy of the configured folder.
pub fn of_folder(config: &Config) -> Result<Policy, StartError> {
    let folder = &config.policies;
    let files = config.policy_files().map_err(|error| StartError::Io(folder.clone(), error))?;
    load(&files).map_err(|errors| StartError::Policy(folder.clone(), errors))
}

/// A policy of all the Cedar files among these and their one schema, strictly validated.
pub fn load(files: &Files) -> Result<Policy, PolicyErrors> {
    let schemas = ending(files, ".cedarschema");
    let [(_, schema)] = schemas.as_slice() else {
        let what = format!("one .cedarschema file is needed, {} are there", schemas.len());
        return Err(PolicyErrors(vec![what]));
    };
    Policy::load(&ending(files, ".cedar"), schema)
}

fn ending<'a>(files: &'a Files, end: &str) -> Vec<(&'a str, &'a str)> {
    let named = files.iter().filter(|(name, _)| name.ends_with(end));
    named.map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

/// Puts a policy in force for all gateways, with its entry for each customer; answers the one
/// before. Nothing is entered for one that is in force already.
pub(crate) async fn put(
    batch: &mut Batch,
    actor: Actor,
    digest: Hash,
) -> Result<Option<Hash>, ChangeError> {
    let before = facts::policy_in_force(batch.tx()).await?;
    if before == Some(digest) {
        return Ok(before);
    }
    let sql = "INSERT INTO settings (key, value) VALUES ('policy_digest', $1) \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    batch.tx().run(sql, &args![digest.to_string()]).await?;
    let event = Event::PolicyChanged {
        before: before.map(|hash| hash.to_string()).unwrap_or_default(),
        digest: digest.to_string(),
    };
    batch.append_for_everybody(NewEntry::new(actor, event)).await?;
    Ok(before)
}

/// Puts the policy that a gateway starts with in force, in the gateway's own name.
pub(crate) async fn adopt(
    ledger: &Ledger,
    digest: Hash,
) -> Result<Recorded<Option<Hash>>, LedgerError> {
    ledger
        .record("policy", move |batch| {
            Box::pin(async move {
                let actor = batch.gateway_actor();
                put(batch, actor, digest).await
            })
        })
        .await
}

/// The digest of the policy in force, read outside any change.
pub async fn in_force(db: &Db) -> Result<Option<Hash>, StoreError> {
    db.read(|tx| Box::pin(facts::policy_in_force(tx))).await
}
