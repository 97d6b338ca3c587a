//! Which signature algorithms count, for approvers, VMs and operators alike.
//!
//! Ed25519, ECDSA on the three NIST curves, RSA of at least 3072 bits with SHA-2, and the two
//! security-key forms. No DSA, no SHA-1.

use crate::limits::{RSA_BITS_MAX, RSA_BITS_MIN};
use ssh_key::{Algorithm, HashAlg, Signature, public::KeyData};

/// A key or signature of a form that does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// An algorithm that is not accepted, or that does not fit the key.
    #[error("the algorithm {0} is not accepted: use ed25519, ecdsa, rsa >= 3072 or sk-")]
    Algorithm(String),
    /// An RSA key that is too small or absurdly large.
    #[error("an RSA key of {0} bits is not accepted: use 3072 to 16384 bits, or ed25519")]
    RsaSize(u32),
}

/// Whether a key is strong enough.
pub fn accept_key(key: &KeyData) -> Result<(), WeakKey> {
    match key {
        KeyData::Rsa(rsa) if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&rsa.key_size()) => Ok(()),
        KeyData::Rsa(rsa) => Err(WeakKey::RsaSize(rsa.key_size())),
        KeyData::Ed25519(_)
        | KeyData::SkEd25519(_)
        | KeyData::Ecdsa(_)
        | KeyData::SkEcdsaSha2NistP256(_) => Ok(()),
        other => Err(WeakKey::Algorithm(printable(other.algorithm().as_str()))),
    }
}

/// Whether a signature is of the form that its key makes, with SHA-2.
pub fn accept_signature(key: &KeyData, signature: &Signature) -> Result<(), WeakKey> {
    accept_key(key)?;
    let fits = match (key, signature.algorithm()) {
        (KeyData::Rsa(_), Algorithm::Rsa { hash }) => {
            matches!(hash, Some(HashAlg::Sha256 | HashAlg::Sha512))
        }
        (KeyData::Ecdsa(key), Algorithm::Ecdsa { curve }) => key.curve() == curve,
        (KeyData::Ed25519(_), Algorithm::Ed25519)
        | (KeyData::SkEd25519(_), Algorithm::SkEd25519)
        | (KeyData::SkEcdsaSha2NistP256(_), Algorithm::SkEcdsaSha2NistP256) => true,
        _ => false,
    };
    let name = || printable(signature.algorithm().as_str());
    if fits { Ok(()) } else { Err(WeakKey::Algorithm(name())) }
}

/// A stranger's text, short and plain, for an error message.
pub(crate) fn printable(text: &str) -> String {
    let plain = |c: char| if crate::text::is_plain(c) { c } else { '?' };
    text.chars().take(64).map(plain).collect()
}
