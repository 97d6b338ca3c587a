//! Host certificates: what a client or a gateway is shown so that nobody has to trust at first use.
//!
//! Two authorities, kept apart. Operators trust the *gateway-host* CA: it certifies the gateway
//! and, for `ssh -J`, the name of each VM that the operator may list. Gateways trust the *VM-host*
//! CA: it certifies instances. If one CA did both, whoever holds a VM's key could pass for the
//! gateway.
//!
//! The key that is shown for a VM on `ssh -J` is derived, not drawn: a client that knows no host
//! certificates keeps it in its known_hosts, where it must stay right over certificates, restarts
//! and gateways. A rebuilt VM is another instance, and has another key.

use super::Ca;
use audit_schema::time::Timestamp;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use bastion_core::{
    id::{InstanceId, VmName},
    limits::{CERT_BACKDATE_SECONDS, GATEWAY_HOST_CERT_SECONDS, VM_HOST_CERT_SECONDS},
};
use russh::keys::{
    PrivateKey, PublicKey,
    ssh_key::{
        self, Certificate,
        certificate::{Builder, CertType},
        private::{Ed25519Keypair, KeypairData},
    },
};

/// Why there is no host certificate.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The system has no randomness.
    #[error("the system has no randomness")]
    Entropy,
    /// Nobody is named: that would mean everybody.
    #[error("a host certificate names at least one host")]
    NoPrincipal,
    /// The authority's key is of a kind that nothing can be derived from.
    #[error("the gateway-host CA's key is not ed25519, ecdsa or rsa: make one of these")]
    Kind,
    /// The library refuses.
    #[error("the host certificate cannot be made: {0}")]
    Encoding(#[from] ssh_key::Error),
}

impl Ca {
    /// A certificate of the gateway-host CA, for the gateway's key or a VM's name on `ssh -J`.
    pub fn gateway_host_certificate(
        &self,
        key: &PublicKey,
        names: &[String],
        now: Timestamp,
    ) -> Result<Certificate, HostError> {
        let key_id = format!("gateway-host/{}", names.first().map_or("", String::as_str));
        let until = now.plus_seconds(GATEWAY_HOST_CERT_SECONDS);
        sign(&self.gateway_host, Subject { key, names, key_id, serial: 0 }, (now, until))
    }

    /// The key that the gateways show for an instance on `ssh -J`: always the same one, and nobody
    /// can tell it without the CA's own key.
    pub fn shown_key(&self, instance: &InstanceId) -> Result<PrivateKey, HostError> {
        let secret = secret(&self.gateway_host).ok_or(HostError::Kind)?;
        let mut seed = [0; 32];
        let instance = [instance.as_str().as_bytes()];
        let extracted = Salt::new(HKDF_SHA256, SHOWN_KEY_SALT).extract(&secret);
        // As long as the digest, which is never too long to expand to.
        let expanded = extracted.expand(&instance, HKDF_SHA256);
        expanded.and_then(|out| out.fill(&mut seed)).map_err(|_| HostError::Kind)?;
        Ok(PrivateKey::from(Ed25519Keypair::from_seed(&seed)))
    }

    /// A certificate of the VM-host CA for an instance. Its principals are the instance, which is
    /// what gateways check, and the VM's name, for people who look at it.
    pub fn vm_host_certificate(
        &self,
        key: &PublicKey,
        (instance, vm): (&InstanceId, &VmName),
        (serial, now): (u64, Timestamp),
    ) -> Result<Certificate, HostError> {
        let names = [instance.to_string(), vm.to_string()];
        let key_id = format!("vm-host/{instance}");
        let until = now.plus_seconds(VM_HOST_CERT_SECONDS);
        sign(&self.vm_host, Subject { key, names: &names, key_id, serial }, (now, until))
    }

    /// The user CA's public key: what a VM's `TrustedUserCAKeys` holds.
    pub fn user_ca(&self) -> &PublicKey {
        self.signer.user_ca()
    }
    /// The gateway-host CA's public key: what operators' known_hosts hold.
    pub fn gateway_host_ca(&self) -> &PublicKey {
        self.gateway_host.public_key()
    }
    /// The VM-host CA's public key: what this gateway trusts VMs by.
    pub fn vm_host_ca(&self) -> &PublicKey {
        self.vm_host.public_key()
    }
}

/// What keeps keys derived here apart from any that are derived elsewhere.
const SHOWN_KEY_SALT: &[u8] = b"bastion gateway-host key of an instance, v1";

/// The part of a key that nobody else knows.
fn secret(key: &PrivateKey) -> Option<Vec<u8>> {
    match key.key_data() {
        KeypairData::Ed25519(pair) => Some(pair.private.to_bytes().to_vec()),
        KeypairData::Ecdsa(pair) => Some(pair.private_key_bytes().to_vec()),
        KeypairData::Rsa(pair) => Some(pair.private().d().as_bytes().to_vec()),
        _ => None,
    }
}

struct Subject<'a> {
    key: &'a PublicKey,
    names: &'a [String],
    key_id: String,
    serial: u64,
}

fn sign(
    ca: &PrivateKey,
    subject: Subject<'_>,
    (now, until): (Timestamp, Timestamp),
) -> Result<Certificate, HostError> {
    if subject.names.is_empty() {
        return Err(HostError::NoPrincipal);
    }
    let nonce = super::entropy().map_err(|_| HostError::Entropy)?;
    let seconds = |at: Timestamp| u64::try_from(at.seconds()).unwrap_or_default();
    let from = seconds(now.plus_seconds(-CERT_BACKDATE_SECONDS));
    let mut builder = Builder::new(nonce, subject.key.key_data().clone(), from, seconds(until))?;
    builder.cert_type(CertType::Host)?;
    builder.serial(subject.serial)?;
    builder.key_id(subject.key_id)?;
    for name in subject.names {
        builder.valid_principal(name.clone())?;
    }
    Ok(builder.sign(ca)?)
}
