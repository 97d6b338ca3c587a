//! The certificate of a lease: what a VM's stock sshd is told about one login.
//!
//! An OpenSSH user certificate, ed25519, for one key made for one channel. Its serial is the `seq`
//! of the grant, its key id names the access without personal data, its one principal is
//! `<level>:<account>@<instance>`, so it is worth nothing on another account or another life of
//! the VM. It is valid from two minutes ago to five minutes from now, or to the grant's deadline
//! if that is sooner: only this login has to fit.
//!
//! What is hashed into the issuance entry: [`Draft::bytes`], the certificate blob from its first
//! byte up to, not including, the signature field (so with the CA's public key), as it would be
//! without the `receipt@…` and `consent@…` extensions, which can only be made after the entry. Take
//! those two out of a certificate found on a VM and hash the rest: it is the digest of the entry.

use crate::limits::CERT_EXTENSIONS_BYTES_MAX;
#[cfg(feature = "policy")]
use crate::{
    authorize::Grant,
    channel::is_forward,
    limits::{CERT_BACKDATE_SECONDS, CERT_VALIDITY_SECONDS},
};
#[cfg(feature = "policy")]
use audit_schema::event::ChannelKind;
use audit_schema::{hash::Hash, time::Timestamp};
use ed25519_dalek::{SignatureError, Signer};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use ssh_key::{
    Algorithm, Certificate, Signature,
    certificate::{Builder, CertType},
    public::KeyData,
};
use std::cell::RefCell;

pub use ssh_key::SigningKey;

#[cfg(feature = "policy")]
/// The forced command of a login that is there for a forward alone.
const NOTHING: &str = "/bin/false";

/// What a certificate needs besides its grant.
#[derive(Clone, Debug)]
pub struct CertTerms<'a> {
    /// The `seq` of the grant's entry.
    pub serial: u64,
    /// Now.
    pub now: Timestamp,
    /// The addresses that the gateway dials VMs from.
    pub egress: &'a [IpNet],
}

/// What stands in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertContent {
    /// The `seq` of the grant.
    pub serial: u64,
    /// `customer/service/instance/ticket/lease`; `-` where there is no ticket.
    pub key_id: String,
    /// `level:account@instance`.
    pub principal: String,
    /// From when.
    pub valid_after: Timestamp,
    /// Until when.
    pub valid_before: Timestamp,
    /// Critical option: CIDR ranges, joined with commas.
    pub source_address: String,
    /// Critical option: the command that sshd runs whatever is asked.
    pub force_command: Option<String>,
    /// Extension: a terminal may be made.
    pub permit_pty: bool,
    /// Extension: connections to ports and sockets, or a port to listen on.
    pub permit_port_forwarding: bool,
    /// Extension: the operator's agent.
    pub permit_agent_forwarding: bool,
    /// Extension: the operator's display.
    pub permit_x11_forwarding: bool,
}

/// Why no certificate can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertError {
    /// No egress range: the certificate would be good from anywhere.
    #[error("no egress range is configured: set the addresses that the gateway dials VMs from")]
    NoEgress,
    /// Serial 0 is `genesis`, and a KRL cannot revoke it.
    #[error("a certificate's serial is never 0")]
    Serial,
    /// The grant is over.
    #[error("the grant is over")]
    Over,
    /// The CA, or the key to certify, is not ed25519.
    #[error("certificates are ed25519 only, the CA's key too")]
    Algorithm,
    /// The key that signs is not the one of the draft.
    #[error("the signing key is not the CA of the draft")]
    OtherAuthority,
    /// More receipt and consent than sshd takes.
    #[error("receipt and consent extensions are larger than {CERT_EXTENSIONS_BYTES_MAX} bytes")]
    Extensions,
    /// The encoding failed; carries the library's words.
    #[error("the certificate cannot be encoded: {0}")]
    Encoding(String),
}

impl CertContent {
    /// The content for a grant.
    #[cfg(feature = "policy")]
    pub fn of(grant: &Grant, terms: &CertTerms<'_>) -> Result<Self, CertError> {
        if terms.serial == 0 {
            return Err(CertError::Serial);
        }
        if terms.egress.is_empty() {
            return Err(CertError::NoEgress);
        }
        // sshd compares whole seconds: rounding the end down never lengthens it.
        let end = terms.now.plus_seconds(CERT_VALIDITY_SECONDS).min(grant.deadline());
        let start = terms.now.plus_seconds(-CERT_BACKDATE_SECONDS);
        if end.seconds() <= terms.now.seconds() {
            return Err(CertError::Over);
        }
        let (instance, account) = (grant.instance(), grant.account());
        let ticket = grant.ticket().map_or("-", |ticket| ticket.as_str());
        let request = grant.request();
        let ranges: Vec<String> = terms.egress.iter().map(ToString::to_string).collect();
        Ok(Self {
            serial: terms.serial,
            key_id: format!(
                "{}/{}/{}/{ticket}/{}",
                instance.customer, instance.service, instance.id, request.lease
            ),
            principal: format!("{}:{}@{}", account.level.as_str(), account.name, instance.id),
            valid_after: Timestamp::from_seconds(start.seconds()),
            valid_before: Timestamp::from_seconds(end.seconds()),
            source_address: ranges.join(","),
            force_command: match is_forward(request.kind) {
                // A login for a forward runs nothing.
                true => Some(NOTHING.to_owned()),
                false => grant.force_command().map(str::to_owned),
            },
            permit_pty: request.pty
                && matches!(request.kind, ChannelKind::Shell | ChannelKind::Exec),
            permit_port_forwarding: grant.destination().is_some(),
            permit_agent_forwarding: grant.beside().agent,
            permit_x11_forwarding: grant.beside().x11,
        })
    }

    /// The draft for a key, to be signed by a CA. The nonce is drawn by the caller.
    pub fn draft(
        &self,
        subject: &KeyData,
        ca: &KeyData,
        nonce: [u8; 32],
    ) -> Result<Draft, CertError> {
        if subject.algorithm() != Algorithm::Ed25519 || ca.algorithm() != Algorithm::Ed25519 {
            return Err(CertError::Algorithm);
        }
        let mut draft = Draft {
            content: self.clone(),
            subject: subject.clone(),
            ca: ca.clone(),
            nonce,
            bytes: Vec::new(),
        };
        let tape = Tape { ca: ca.clone(), tape: RefCell::default() };
        // The tape never signs, so the builder ends with an error once it has handed over the
        // bytes: they are the very bytes that it hands to a key that does sign.
        if draft.builder(&[])?.sign(&tape).is_ok() || tape.tape.borrow().is_empty() {
            return Err(CertError::Encoding("no bytes to sign".into()));
        }
        draft.bytes = tape.tape.into_inner();
        Ok(draft)
    }
}

/// A certificate that is complete but for its late extensions and its signature.
#[derive(Clone, Debug)]
pub struct Draft {
    content: CertContent,
    subject: KeyData,
    ca: KeyData,
    nonce: [u8; 32],
    bytes: Vec<u8>,
}

/// `receipt@…` or `consent@…`: a name with an `@`, and its text.
pub type LateExtension = (String, String);

/// The name of the extension with the receipt of the certificate's own issuance.
pub fn receipt_name(origin: &str) -> String {
    format!("receipt@{origin}")
}

/// The name of the extension with the customer's signed consent.
pub fn consent_name(origin: &str) -> String {
    format!("consent@{origin}")
}

impl Draft {
    /// What it will say.
    pub fn content(&self) -> &CertContent {
        &self.content
    }
    /// The key that it certifies.
    pub fn subject(&self) -> &KeyData {
        &self.subject
    }
    /// The bytes whose digest goes into the issuance entry; see the module's words.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// SHA-256 of [`Self::bytes`].
    pub fn digest(&self) -> Hash {
        Hash::of(&self.bytes)
    }

    /// The certificate. To be called only after the issuance entry is durable.
    pub fn sign<S: SigningKey>(
        &self,
        key: &S,
        late: &[LateExtension],
    ) -> Result<Certificate, CertError> {
        if key.public_key() != self.ca {
            return Err(CertError::OtherAuthority);
        }
        let bytes: usize = late.iter().map(|(name, text)| name.len() + text.len()).sum();
        let named = late.iter().all(|(name, _)| name.contains('@'));
        if bytes > CERT_EXTENSIONS_BYTES_MAX || !named {
            return Err(CertError::Extensions);
        }
        self.builder(late)?.sign(key).map_err(encoding)
    }

    fn builder(&self, late: &[LateExtension]) -> Result<Builder, CertError> {
        let c = &self.content;
        let seconds = |t: Timestamp| u64::try_from(t.seconds()).unwrap_or_default();
        let (from, to) = (seconds(c.valid_after), seconds(c.valid_before));
        let mut builder =
            Builder::new(self.nonce, self.subject.clone(), from, to).map_err(encoding)?;
        builder.cert_type(CertType::User).map_err(encoding)?;
        builder.serial(c.serial).map_err(encoding)?;
        builder.key_id(c.key_id.clone()).map_err(encoding)?;
        builder.valid_principal(c.principal.clone()).map_err(encoding)?;
        if let Some(command) = &c.force_command {
            builder.critical_option("force-command", command.clone()).map_err(encoding)?;
        }
        builder.critical_option("source-address", c.source_address.clone()).map_err(encoding)?;
        let permits = [
            ("permit-X11-forwarding", c.permit_x11_forwarding),
            ("permit-agent-forwarding", c.permit_agent_forwarding),
            ("permit-port-forwarding", c.permit_port_forwarding),
            ("permit-pty", c.permit_pty),
        ];
        for (name, _) in permits.into_iter().filter(|(_, permitted)| *permitted) {
            builder.extension(name, "").map_err(encoding)?;
        }
        for (name, text) in late {
            builder.extension(name.clone(), text.clone()).map_err(encoding)?;
        }
        Ok(builder)
    }
}

fn encoding(error: ssh_key::Error) -> CertError {
    CertError::Encoding(error.to_string())
}

/// A key that keeps what it is asked to sign, and does not sign.
struct Tape {
    ca: KeyData,
    tape: RefCell<Vec<u8>>,
}

impl Signer<Signature> for Tape {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, SignatureError> {
        self.tape.replace(message.to_vec());
        Err(SignatureError::new())
    }
}

impl From<&Tape> for KeyData {
    fn from(tape: &Tape) -> Self {
        tape.ca.clone()
    }
}
