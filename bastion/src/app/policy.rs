//! The policy of a deployment: loaded from its folder, and in force only when the log says so.

use super::StartError;
use crate::{
    args,
    config::Config,
    ledger::{Ledger, LedgerError, NewEntry},
};
use audit_schema::event::Event;
use bastion_core::policy::{Policy, PolicyErrors};

/// Loads and strictly validates the policy files of the configured folder.
pub fn load(config: &Config) -> Result<Policy, StartError> {
    let folder = &config.policies;
    let files = config.policy_files().map_err(|error| StartError::Io(folder.clone(), error))?;
    let ending = |end: &str| {
        let named = files.iter().filter(|(name, _)| name.ends_with(end));
        named.map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>()
    };
    let schemas = ending(".cedarschema");
    let [(_, schema)] = schemas.as_slice() else {
        let what = format!("one .cedarschema file is needed, {} are there", schemas.len());
        return Err(StartError::Policy(folder.clone(), PolicyErrors(vec![what])));
    };
    Policy::load(&ending(".cedar"), schema)
        .map_err(|errors| StartError::Policy(folder.clone(), errors))
}

/// Puts the first policy of a new deployment in force.
pub(super) async fn first(ledger: &Ledger, policy: &Policy) -> Result<(), LedgerError> {
    put_in_force(ledger, policy).await
}

/// Whether this is the policy in force; otherwise what is.
pub(crate) async fn in_force(ledger: &Ledger) -> Result<Option<String>, LedgerError> {
    let sql = "SELECT value FROM settings WHERE key = 'policy_digest'";
    let row = ledger.db().row_opt(sql, &[]).await?;
    Ok(row.map(|row| row.text(0)).transpose()?)
}

/// Puts a policy in force, with its entry for each customer, in one commit.
pub(crate) async fn put_in_force(ledger: &Ledger, policy: &Policy) -> Result<(), LedgerError> {
    let digest = policy.digest().to_string();
    let recorded = ledger
        .record("policy", move |batch| {
            Box::pin(async move {
                let sql = "SELECT value FROM settings WHERE key = 'policy_digest'";
                let before = batch.tx().row_opt(sql, &[]).await?;
                let before = before.map(|row| row.text(0)).transpose()?.unwrap_or_default();
                let sql = "INSERT INTO settings (key, value) VALUES ('policy_digest', $1) \
                           ON CONFLICT (key) DO UPDATE SET value = excluded.value";
                batch.tx().run(sql, &args![&digest]).await?;
                let actor = batch.gateway_actor();
                let event = Event::PolicyChanged { before, digest };
                batch.append_for_everybody(NewEntry::new(actor, event)).await
            })
        })
        .await?;
    recorded.into_inner();
    Ok(())
}
