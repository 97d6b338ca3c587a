//! Is this VM the one that the grant names? Its host certificate, checked in full.
//!
//! russh hands the certificate over and checks nothing but the key exchange; everything else is
//! here. The certificate must be of a VM-host CA that this gateway trusts, for the *instance*, so
//! the VM of yesterday under the same name is refused.

use crate::{
    algorithm::{WeakKey, accept_key, accept_signature},
    id::InstanceId,
};
use audit_schema::time::Timestamp;
use ed25519_dalek::Verifier as _;
use ssh_key::{Certificate, HashAlg, certificate::CertType, public::KeyData};

/// What is asked of a host certificate.
#[derive(Clone, Debug)]
pub struct HostCheck<'a> {
    /// What the VM showed.
    pub certificate: &'a Certificate,
    /// The VM-host CAs that this gateway trusts.
    pub authorities: &'a [KeyData],
    /// The instance that was dialled.
    pub instance: &'a InstanceId,
    /// Now.
    pub now: Timestamp,
}

/// A VM that proved which instance it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIdentity {
    /// The host key, `SHA256:…`.
    pub fingerprint: String,
    /// The CA, `SHA256:…`.
    pub authority: String,
    /// The certificate's serial.
    pub serial: u64,
    /// Until when the certificate is valid.
    pub valid_before: Timestamp,
}

/// Why a certificate is not accepted; for hosts and operators alike.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each message says what the case is
pub enum BadCertificate {
    #[error("the certificate is for another purpose: a {wanted} certificate is needed")]
    Type { wanted: &'static str },
    #[error("the certificate's CA {0} is not trusted here")]
    Authority(String),
    #[error("{0}")]
    Weak(#[from] WeakKey),
    #[error("the certificate's signature does not hold")]
    Signature,
    #[error("the certificate is not yet valid: check the clocks")]
    NotYet,
    #[error("the certificate is over: renew it")]
    Over,
    #[error("the certificate names nobody, which would mean everybody")]
    NoPrincipal,
    #[error("the certificate is not for `{0}`")]
    Principal(String),
    #[error("the certificate's critical option `{0}` is not understood")]
    CriticalOption(String),
    #[error("the certificate's source-address does not parse")]
    SourceUnreadable,
    #[error("the certificate is not valid from your address")]
    Source,
}

/// Checks a VM's host certificate in full.
pub fn check(check: &HostCheck<'_>) -> Result<HostIdentity, BadCertificate> {
    let certificate = check.certificate;
    proven(certificate, check.authorities, (CertType::Host, "host"), check.now)?;
    if let Some(name) = certificate.critical_options().keys().next() {
        return Err(BadCertificate::CriticalOption(crate::algorithm::printable(name)));
    }
    if certificate.valid_principals().is_empty() {
        return Err(BadCertificate::NoPrincipal);
    }
    if !certificate.valid_principals().iter().any(|name| name == check.instance.as_str()) {
        return Err(BadCertificate::Principal(check.instance.to_string()));
    }
    let until = i64::try_from(certificate.valid_before()).unwrap_or(i64::MAX);
    Ok(HostIdentity {
        fingerprint: fingerprint(certificate.public_key()),
        authority: fingerprint(certificate.signature_key()),
        serial: certificate.serial(),
        valid_before: Timestamp::from_seconds(until),
    })
}

/// What holds for every certificate: its type, its CA, its algorithms, its signature, its time.
pub(crate) fn proven(
    certificate: &Certificate,
    authorities: &[KeyData],
    (kind, wanted): (CertType, &'static str),
    now: Timestamp,
) -> Result<(), BadCertificate> {
    if certificate.cert_type() != kind {
        return Err(BadCertificate::Type { wanted });
    }
    if !authorities.contains(certificate.signature_key()) {
        return Err(BadCertificate::Authority(fingerprint(certificate.signature_key())));
    }
    accept_key(certificate.public_key())?;
    accept_signature(certificate.signature_key(), certificate.signature())?;
    let blob = certificate.to_bytes().map_err(|_| BadCertificate::Signature)?;
    let signed = signed_part(&blob, certificate).ok_or(BadCertificate::Signature)?;
    let verdict = certificate.signature_key().verify(signed, certificate.signature());
    verdict.map_err(|_| BadCertificate::Signature)?;

    let seconds = u64::try_from(now.seconds()).unwrap_or_default();
    if seconds < certificate.valid_after() {
        return Err(BadCertificate::NotYet);
    }
    if seconds >= certificate.valid_before() {
        return Err(BadCertificate::Over);
    }
    Ok(())
}

/// The blob without its last field, the signature with its length before it.
fn signed_part<'a>(blob: &'a [u8], certificate: &Certificate) -> Option<&'a [u8]> {
    let signature: Vec<u8> = certificate.signature().clone().try_into().ok()?;
    blob.get(..blob.len().checked_sub(signature.len() + 4)?)
}

pub(crate) fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}
