//! The host keys that the gateway shows: its own, and one for each VM that `ssh -J` names.
//!
//! Clients know the gateway-host CA, or keep what they have seen. So a VM's key here is derived for
//! its instance (`ca::shown_key`) when the VM is first named, certified for a short while, and the
//! same one after that and on every gateway. The VM's own host key is another thing; egress checks
//! that.

use super::algorithms::Offers;
use crate::{app::App, ca::HostError, clock, keyfile};
use audit_schema::time::Timestamp;
use bastion_core::{
    id::InstanceId,
    limits::{SHOWN_CERT_SECONDS, SHOWN_KEYS_MAX},
    vm::VmInstance,
};
use russh::keys::PrivateKey;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Why there is no host key to show.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The key file.
    #[error("the gateway's host key: {0}")]
    File(String),
    /// The gateway-host CA.
    #[error("the gateway-host CA: {0}")]
    Sign(#[from] HostError),
}

/// Host keys with their certificates, until these have to be renewed; the gateway's own is that of
/// no VM.
#[derive(Default)]
pub(super) struct HostKeys(Mutex<HashMap<Option<InstanceId>, Shown>>);

/// What is shown, and until when.
type Shown = (Timestamp, Offers);

impl HostKeys {
    /// What to show in front of a VM. Only for VMs that the operator may know.
    pub(super) fn for_vm(&self, app: &App, vm: &VmInstance) -> Result<Offers, HostKeyError> {
        self.known_or(Some(&vm.id), || {
            let key = app.ca.shown_key(&vm.id)?;
            certified(app, key, &[vm.vm.to_string()])
        })
    }

    /// What the gateway shows on its own port.
    pub(super) fn own(&self, app: &App) -> Result<Offers, HostKeyError> {
        self.known_or(None, || {
            let key = keyfile::read_ssh(&app.config.keys.gateway_host)
                .map_err(|error| HostKeyError::File(error.to_string()))?;
            certified(app, key, &names(app))
        })
    }

    fn known_or(
        &self,
        whose: Option<&InstanceId>,
        make: impl FnOnce() -> Result<Offers, HostKeyError>,
    ) -> Result<Offers, HostKeyError> {
        let (whose, now) = (whose.cloned(), clock::now());
        // No code panics while it holds the lock; if one did, the map is still whole.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, offers)) = known.get(&whose)
            && *until > now
        {
            return Ok(offers.clone());
        }
        if known.len() >= SHOWN_KEYS_MAX {
            known.clear();
        }
        let offers = make()?;
        // Half of the validity: whoever gets it now has the other half to log in.
        known.insert(whose, (now.plus_seconds(SHOWN_CERT_SECONDS / 2), offers.clone()));
        Ok(offers)
    }
}

/// The names under which operators reach the gateway.
fn names(app: &App) -> Vec<String> {
    let config = &app.config;
    let mut names = vec!["bastion".to_owned(), config.gateway.clone()];
    let host = config.origin.split(['/', ':']).next().unwrap_or_default();
    names.extend((!host.is_empty()).then(|| host.to_owned()));
    names.extend(config.ingress.host_names.iter().cloned());
    names.extend(
        config.listen.iter().filter(|at| !at.ip().is_unspecified()).map(|at| at.ip().to_string()),
    );
    names.sort();
    names.dedup();
    names
}

fn certified(app: &App, key: PrivateKey, names: &[String]) -> Result<Offers, HostKeyError> {
    let certificate = app.ca.gateway_host_certificate(key.public_key(), names, clock::now())?;
    Ok(Offers::new(&app.config.ingress, &key, Some(&certificate)))
}
