//! Who is this? A certificate of an operator CA, checked in full: the way in for an identity
//! provider that signs short certificates after a second factor.
//!
//! russh checks the validity and that the signature fits the CA key inside the certificate; that
//! this CA is ours, that the certificate names this operator, and every critical option, is
//! checked here.

use crate::hostcert::{BadCertificate, fingerprint, proven};
use audit_schema::time::Timestamp;
use ipnet::IpNet;
use ssh_key::{Certificate, certificate::CertType, public::KeyData};
use std::net::IpAddr;

/// What is asked of an operator's certificate.
#[derive(Clone, Debug)]
pub struct OperatorCheck<'a> {
    /// What the operator showed.
    pub certificate: &'a Certificate,
    /// The operator CAs that this gateway trusts.
    pub authorities: &'a [KeyData],
    /// The names under which the inventory knows the operator: handle and id.
    pub names: &'a [&'a str],
    /// From where they come.
    pub source: IpAddr,
    /// Now.
    pub now: Timestamp,
}

/// An operator's certificate that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorIdentity {
    /// The name that matched.
    pub name: String,
    /// The certified key, `SHA256:…`.
    pub fingerprint: String,
    /// The CA, `SHA256:…`.
    pub authority: String,
    /// The certificate's serial.
    pub serial: u64,
}

/// Checks an operator's certificate in full.
pub fn check(check: &OperatorCheck<'_>) -> Result<OperatorIdentity, BadCertificate> {
    let certificate = check.certificate;
    proven(certificate, check.authorities, (CertType::User, "user"), check.now)?;
    if certificate.valid_principals().is_empty() {
        return Err(BadCertificate::NoPrincipal);
    }
    let named = |name: &&&str| certificate.valid_principals().iter().any(|p| p == **name);
    let Some(name) = check.names.iter().find(named) else {
        let wanted = check.names.first().copied().unwrap_or_default();
        return Err(BadCertificate::Principal(wanted.to_owned()));
    };
    for (option, value) in certificate.critical_options().iter() {
        if option != "source-address" {
            return Err(BadCertificate::CriticalOption(crate::algorithm::printable(option)));
        }
        from_allowed(value, check.source)?;
    }
    Ok(OperatorIdentity {
        name: (*name).to_owned(),
        fingerprint: fingerprint(certificate.public_key()),
        authority: fingerprint(certificate.signature_key()),
        serial: certificate.serial(),
    })
}

/// `source-address`: addresses and CIDR ranges with commas between. Anything else in it, OpenSSH's
/// patterns included, refuses.
fn from_allowed(list: &str, source: IpAddr) -> Result<(), BadCertificate> {
    let mut allowed = false;
    for item in list.split(',') {
        let range = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
        let range = range.map_err(|_| BadCertificate::SourceUnreadable)?;
        allowed |= range.contains(&source.to_canonical());
    }
    if allowed { Ok(()) } else { Err(BadCertificate::Source) }
}
