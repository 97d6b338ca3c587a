//! SSH signatures over a statement, as `ssh-keygen -Y sign` makes them.
//!
//! Verified are the stored bytes, never bytes made again; then the statement is parsed and must be
//! the one that was asked for. Everything that OpenSSH leaves to its caller is checked here: the
//! namespace, the hash, the key's algorithm and size, the enrolment at the moment of the decision,
//! and for security keys that somebody touched the key (`ssh-keygen -Y verify` only logs that).

use crate::{
    algorithm::{WeakKey, accept_signature, printable},
    id::{ApproverId, CustomerId, TicketId},
    limits::SIGNATURE_BYTES_MAX,
    statement::{BadStatement, Statement, namespace},
};
use audit_schema::{hash::Hash, time::Timestamp};
use ed25519_dalek::Verifier as _;
use ssh_key::{HashAlg, LineEnding, PublicKey, SshSig, public::KeyData};

/// A key that an approver enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApproverKey {
    /// Whose.
    pub approver: ApproverId,
    /// The customer that they decide for.
    pub customer: CustomerId,
    /// The key in OpenSSH's form, `ssh-ed25519 AAAA…`.
    pub public_key: String,
    /// When it was enrolled.
    pub added_at: Timestamp,
    /// When it was removed, if it was.
    pub removed_at: Option<Timestamp>,
}

/// What is asked of a signature.
#[derive(Clone, Debug)]
pub struct SignatureCheck<'a> {
    /// The stored bytes of the statement.
    pub statement: &'a [u8],
    /// The armored signature as it came.
    pub signature: &'a str,
    /// This deployment.
    pub origin: &'a str,
    /// The customer whose ticket it is.
    pub customer: &'a CustomerId,
    /// The ticket that is being decided.
    pub ticket: &'a TicketId,
    /// Its current revision.
    pub revision: u64,
    /// The keys of the customer's approvers, removed ones included.
    pub keys: &'a [ApproverKey],
    /// The time of the entry that records the decision.
    pub decided_at: Timestamp,
    /// Approvers that signed this revision already.
    pub signed_already: &'a [ApproverId],
}

/// A signature that holds. Only [`verify_signature`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    approver: ApproverId,
    fingerprint: String,
    statement: Statement,
    statement_digest: Hash,
    signature_digest: Hash,
    touched: Option<bool>,
    verified: Option<bool>,
}

impl Signed {
    /// Who signed.
    pub fn approver(&self) -> &ApproverId {
        &self.approver
    }
    /// Their key, `SHA256:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
    /// What they signed.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }
    /// SHA-256 of the statement's bytes.
    pub fn statement_digest(&self) -> Hash {
        self.statement_digest
    }
    /// SHA-256 of the armored signature.
    pub fn signature_digest(&self) -> Hash {
        self.signature_digest
    }
    /// Whether the key was touched; absent where a key cannot tell.
    pub fn user_present(&self) -> Option<bool> {
        self.touched
    }
    /// Whether the key checked a PIN or a finger; absent where a key cannot tell.
    pub fn user_verified(&self) -> Option<bool> {
        self.verified
    }
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each message says what the case is
pub enum BadSignature {
    #[error("the signature is too long: send the .sig file of ssh-keygen -Y sign")]
    Long,
    #[error("not an SSH signature: send the .sig file of ssh-keygen -Y sign, nothing else")]
    Armor,
    #[error("the signature is for the namespace `{found}`: sign with -n {wanted}")]
    Namespace { found: String, wanted: String },
    #[error("the signature uses a hash that is not accepted: sign with -O hashalg=sha512")]
    Hash,
    #[error("{0}")]
    Weak(#[from] WeakKey),
    #[error("the key {0} is not enrolled for this customer: sign with an enrolled key")]
    UnknownKey(String),
    #[error("the key {0} was not enrolled at the time of the decision: sign with an enrolled key")]
    KeyNotInForce(String),
    #[error("nobody touched the security key: sign again and touch it")]
    NotTouched,
    #[error("the security key was made for the application `{0}`: enrol one made for `ssh:`")]
    Application(String),
    #[error("the signature does not fit the statement: sign the statement as it was sent")]
    Mismatch,
    #[error("{0}")]
    Statement(#[from] BadStatement),
    #[error("the statement is for another deployment: fetch the statement from this one")]
    OtherOrigin,
    #[error("the statement is for another customer")]
    OtherCustomer,
    #[error("the statement is for ticket {0}: sign the statement of the ticket that you decide")]
    OtherTicket(TicketId),
    #[error("the statement is for revision {found}, now it is {current}: fetch it anew and sign")]
    OldRevision { found: u64, current: u64 },
    #[error("you signed this revision already; another approver has to sign")]
    Repeated,
}

/// Checks a signature in full.
pub fn verify_signature(check: &SignatureCheck<'_>) -> Result<Signed, BadSignature> {
    let sig = parse(check.signature)?;
    let wanted = namespace(check.origin);
    if sig.namespace() != wanted {
        let found = printable(sig.namespace());
        return Err(BadSignature::Namespace { found, wanted });
    }
    accept_signature(sig.public_key(), sig.signature())?;
    let (key, fingerprint) = enrolled(check, sig.public_key())?;
    verify_bytes(&sig, check.statement)?;
    let flags = security_key_flags(&sig)?;

    let statement = Statement::parse(check.statement)?;
    belongs(check, &statement)?;
    if check.signed_already.contains(&key.approver) {
        return Err(BadSignature::Repeated);
    }
    Ok(Signed {
        approver: key.approver.clone(),
        fingerprint,
        statement,
        statement_digest: Hash::of(check.statement),
        signature_digest: Hash::of(check.signature.as_bytes()),
        touched: flags.map(|flags| flags & USER_PRESENT != 0),
        verified: flags.map(|flags| flags & USER_VERIFIED != 0),
    })
}

/// Who signed bytes in a namespace: the key in the signature, which proves that somebody holds it
/// and nothing else.
pub fn verify_possession(
    armored: &str,
    wanted: &str,
    bytes: &[u8],
) -> Result<PublicKey, BadSignature> {
    let sig = parse(armored)?;
    if sig.namespace() != wanted {
        let found = printable(sig.namespace());
        return Err(BadSignature::Namespace { found, wanted: wanted.to_owned() });
    }
    accept_signature(sig.public_key(), sig.signature())?;
    verify_bytes(&sig, bytes)?;
    security_key_flags(&sig)?;
    Ok(PublicKey::from(sig.public_key().clone()))
}

/// One armor, one spelling: what was parsed must print as it came, but for the last newline.
fn parse(armored: &str) -> Result<SshSig, BadSignature> {
    if armored.len() > SIGNATURE_BYTES_MAX {
        return Err(BadSignature::Long);
    }
    let sig = SshSig::from_pem(armored.as_bytes()).map_err(|_| BadSignature::Armor)?;
    // `reserved` is empty in every signature that exists; what it would mean is not known.
    if sig.version() != SshSig::VERSION || !sig.reserved().is_empty() {
        return Err(BadSignature::Armor);
    }
    let again = sig.to_pem(LineEnding::LF).map_err(|_| BadSignature::Armor)?;
    if again.trim_end_matches('\n') != armored.strip_suffix('\n').unwrap_or(armored) {
        return Err(BadSignature::Armor);
    }
    Ok(sig)
}

fn enrolled<'a>(
    check: &SignatureCheck<'a>,
    data: &KeyData,
) -> Result<(&'a ApproverKey, String), BadSignature> {
    let fingerprint = data.fingerprint(HashAlg::Sha256).to_string();
    let same = |key: &ApproverKey| {
        let parsed = PublicKey::from_openssh(&key.public_key);
        parsed.is_ok_and(|parsed| parsed.key_data() == data)
    };
    let mut known = check.keys.iter().filter(|key| key.customer == *check.customer && same(key));
    let Some(first) = known.next() else {
        return Err(BadSignature::UnknownKey(fingerprint));
    };
    let in_force = |key: &&ApproverKey| {
        key.added_at <= check.decided_at
            && key.removed_at.is_none_or(|removed| check.decided_at < removed)
    };
    match std::iter::once(first).chain(known).find(in_force) {
        Some(key) => Ok((key, fingerprint)),
        None => Err(BadSignature::KeyNotInForce(fingerprint)),
    }
}

fn verify_bytes(sig: &SshSig, message: &[u8]) -> Result<(), BadSignature> {
    if !matches!(sig.hash_alg(), HashAlg::Sha256 | HashAlg::Sha512) {
        return Err(BadSignature::Hash);
    }
    let enveloped = SshSig::signed_data(sig.namespace(), sig.hash_alg(), message)
        .map_err(|_| BadSignature::Mismatch)?;
    let verdict = sig.public_key().verify(&enveloped, sig.signature());
    verdict.map_err(|_| BadSignature::Mismatch)
}

/// The flags of a security key's signature (PROTOCOL.u2f): they stand before the four bytes of the
/// counter, and the key signed them. Absent for other keys.
fn security_key_flags(sig: &SshSig) -> Result<Option<u8>, BadSignature> {
    let application = match sig.public_key() {
        KeyData::SkEd25519(key) => key.application(),
        KeyData::SkEcdsaSha2NistP256(key) => key.application(),
        _ => return Ok(None),
    };
    if application != "ssh:" {
        return Err(BadSignature::Application(printable(application)));
    }
    let bytes = sig.signature_bytes();
    let at = bytes.len().checked_sub(5).ok_or(BadSignature::Armor)?;
    let flags = bytes.get(at).copied().ok_or(BadSignature::Armor)?;
    if flags & USER_PRESENT == 0 {
        return Err(BadSignature::NotTouched);
    }
    Ok(Some(flags))
}

fn belongs(check: &SignatureCheck<'_>, statement: &Statement) -> Result<(), BadSignature> {
    if statement.origin != check.origin {
        return Err(BadSignature::OtherOrigin);
    }
    if statement.customer != *check.customer {
        return Err(BadSignature::OtherCustomer);
    }
    if statement.ticket != *check.ticket {
        return Err(BadSignature::OtherTicket(statement.ticket.clone()));
    }
    if statement.revision != check.revision {
        return Err(BadSignature::OldRevision {
            found: statement.revision,
            current: check.revision,
        });
    }
    Ok(())
}

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
