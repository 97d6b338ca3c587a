//! Keys of the inventory.

use super::{Identity, Method, Who};
use crate::{
    args,
    store::{Arg, Db, Row, StoreError},
};
use bastion_core::limits::{RSA_BITS_MAX, RSA_BITS_MIN};
use russh::keys::{
    PublicKey,
    ssh_key::{Algorithm, EcdsaCurve, HashAlg, public::KeyData},
};

/// One statement for all three roles: a key has one owner, and what takes the same steps takes the
/// same time. A removed key and a disabled owner are not found.
const BY_FINGERPRINT: &str = "\
    SELECT k.role, k.subject, o.handle, '' AS customer, k.public_key FROM keys k \
    JOIN operators o ON k.role = 'operator' AND o.id = k.subject AND o.state = 'enabled' \
    WHERE k.fingerprint = $1 AND k.removed_at IS NULL \
    UNION ALL \
    SELECT k.role, k.subject, o.handle, '' AS customer, k.public_key FROM keys k \
    JOIN officers o ON k.role = 'officer' AND o.id = k.subject AND o.state = 'enabled' \
    WHERE k.fingerprint = $1 AND k.removed_at IS NULL \
    UNION ALL \
    SELECT k.role, k.subject, a.handle, a.customer, k.public_key FROM keys k \
    JOIN approvers a ON k.role = 'approver' AND a.id = k.subject AND a.state = 'enabled' \
    WHERE k.fingerprint = $1 AND k.removed_at IS NULL";

/// The algorithms with which somebody can prove who they are. SHA-1 signatures, DSA and whatever
/// this build does not know are out.
pub const ALGORITHMS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::SkEd25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Whether a signature of this key and algorithm can prove anything: no SHA-1, no DSA, no RSA key
/// that is too short.
pub(super) fn strong(key: &PublicKey, algorithm: &Algorithm) -> bool {
    ALGORITHMS.contains(algorithm) && long_enough(key)
}

/// Whether a key is long enough for what it proves.
pub(super) fn long_enough(key: &PublicKey) -> bool {
    match key.key_data() {
        KeyData::Rsa(rsa) => (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&rsa.key_size()),
        _ => true,
    }
}

/// The owner of a key, if the key and its owner are in force.
pub(super) async fn lookup(
    db: &Db,
    fingerprint: &str,
    key: &PublicKey,
) -> Result<Option<Identity>, StoreError> {
    let Some(row) = db.row_opt(BY_FINGERPRINT, &args![fingerprint]).await? else {
        return Ok(None);
    };
    // The fingerprint is only the index: the whole key decides.
    let stored = PublicKey::from_openssh(&row.text(4)?)
        .map_err(|error| StoreError::Shape(format!("the key {fingerprint}: {error}")))?;
    if stored.key_data() != key.key_data() {
        return Ok(None);
    }
    let method = match key.key_data() {
        KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => Method::SecurityKey,
        _ => Method::Key,
    };
    identity(&row, fingerprint.to_owned(), method).map(Some)
}

fn identity(row: &Row, fingerprint: String, method: Method) -> Result<Identity, StoreError> {
    let who = match row.text(0)?.as_str() {
        "operator" => Who::Operator(row.parsed(1)?),
        "officer" => Who::Officer(row.parsed(1)?),
        "approver" => Who::Approver(row.parsed(1)?, row.parsed(3)?),
        other => return Err(StoreError::Shape(format!("a key of the role {other}"))),
    };
    Ok(Identity { who, handle: row.parsed(2)?, fingerprint, method })
}

/// What to ask the store about an identity that was settled earlier: its key, or for a certificate
/// its operator.
pub(super) fn standing(identity: &Identity) -> (&'static str, [Arg; 1]) {
    match identity.method {
        Method::Certificate => (
            "SELECT 'operator', id, handle FROM operators WHERE id = $1 AND state = 'enabled'",
            args![identity.actor().id],
        ),
        Method::Key | Method::SecurityKey => (BY_FINGERPRINT, args![&identity.fingerprint]),
    }
}

/// Whether the store's answer is the same party.
pub(super) fn is_same(row: Option<&Row>, identity: &Identity) -> Result<bool, StoreError> {
    let Some(row) = row else { return Ok(false) };
    let owner = self::identity(row, identity.fingerprint.clone(), identity.method)?;
    Ok(owner.who == identity.who)
}
