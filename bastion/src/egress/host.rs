//! Who is at the other end: russh's callbacks of a connection to a VM.
//!
//! Russh verifies that the VM holds the key of the certificate that it shows. Whether that
//! certificate means anything is decided here: an approved CA, a host certificate, this very
//! instance, valid now. A plain key is refused whatever it is; there is no first use to trust.

use bastion_core::{hostcert, id::InstanceId};
use russh::{
    client,
    keys::{
        PublicKeyOrCertificate,
        ssh_key::{Certificate, public::KeyData},
    },
};
use std::sync::{Arc, Mutex, PoisonError};

/// The callbacks of one connection to a VM.
pub(crate) struct HostHandler {
    authorities: Arc<[KeyData]>,
    instance: InstanceId,
    refusal: Refusal,
}

/// Why the VM was refused; russh's own error only says that it was.
#[derive(Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<String>>>);

impl Refusal {
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
    fn set(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

impl HostHandler {
    pub(super) fn new(authorities: &Arc<[KeyData]>, instance: &InstanceId) -> Self {
        Self {
            authorities: Arc::clone(authorities),
            instance: instance.clone(),
            refusal: Refusal::default(),
        }
    }

    pub(super) fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }

    fn judge(&self, certificate: &Certificate) -> Result<(), String> {
        let check = hostcert::HostCheck {
            certificate,
            authorities: &self.authorities,
            instance: &self.instance,
            now: crate::clock::now(),
        };
        hostcert::check(&check).map(drop).map_err(|why| why.to_string())
    }
}

impl client::Handler for HostHandler {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let judged = match shown {
            PublicKeyOrCertificate::Certificate(certificate) => self.judge(certificate),
            PublicKeyOrCertificate::PublicKey { .. } => {
                Err("it shows a plain host key, no certificate of the VM-host CA".to_owned())
            }
        };
        match judged {
            Ok(()) => Ok(true),
            Err(why) => {
                tracing::warn!(instance = %self.instance, %why, "a VM's host key is refused");
                self.refusal.set(why);
                Ok(false)
            }
        }
    }
}
