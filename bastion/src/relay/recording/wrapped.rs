//! The key of a recording, wrapped for those who may open it.
//!
//! ```json
//! {"alg":"RSA-OAEP-SHA256",
//!  "keys":[{"recipient":"⟨SHA-256 of the public key⟩","wrapped":"⟨base64⟩"}],
//!  "recording":"r-…"}
//! ```
//!
//! In one line, without spaces. The gateway holds public keys only: it can seal, and never open.
//! `recipient` is the SHA-256 of the key's SubjectPublicKeyInfo, so that the holder of many keys
//! finds the right one.

use super::container::ContainerKey;
use crate::keyfile;
use audit_schema::hash::Hash;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

const ALGORITHM: &str = "RSA-OAEP-SHA256";

/// Why a key could not be wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The recipient's key is not usable.
    #[error("the recording key is not a PEM public key (RSA, at least 3072 bits)")]
    Public,
    /// The private key is not usable.
    #[error("the private key is not a PEM `PRIVATE KEY` (PKCS#8, RSA, unencrypted)")]
    Private,
    /// The wrapped form is not ours.
    #[error("the wrapped key is not in the form that a gateway writes")]
    Form,
    /// Made for somebody else.
    #[error("this recording was not sealed for that private key")]
    NotForThisKey,
}

/// The public key of somebody who may open recordings.
#[derive(Clone)]
pub struct Recipient {
    key: PublicEncryptingKey,
    id: Hash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    alg: String,
    keys: Vec<WrappedFor>,
    recording: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrappedFor {
    recipient: Hash,
    wrapped: String,
}

impl Recipient {
    /// From a PEM file's text.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = keyfile::pem_body(pem, "PUBLIC KEY").ok_or(KeyError::Public)?;
        let key = PublicEncryptingKey::from_der(&der).map_err(|_| KeyError::Public)?;
        if key.key_size_bits() < 3072 {
            return Err(KeyError::Public);
        }
        Ok(Self { key, id: Hash::of(&der) })
    }

    fn wrap(&self, key: &ContainerKey) -> Result<WrappedFor, KeyError> {
        let oaep = OaepPublicEncryptingKey::new(self.key.clone()).map_err(|_| KeyError::Public)?;
        let mut sealed = vec![0; oaep.ciphertext_size()];
        let sealed = oaep
            .encrypt(&OAEP_SHA256_MGF1SHA256, &key.0, &mut sealed, None)
            .map_err(|_| KeyError::Public)?;
        Ok(WrappedFor { recipient: self.id, wrapped: BASE64_STANDARD.encode(sealed) })
    }
}

/// The key of a container, wrapped for each of those who may open it.
pub fn wrap(
    recording: &str,
    key: &ContainerKey,
    recipients: &[&Recipient],
) -> Result<String, KeyError> {
    let keys = recipients.iter().map(|to| to.wrap(key)).collect::<Result<_, _>>()?;
    let wrapped = Wrapped { alg: ALGORITHM.into(), keys, recording: recording.into() };
    serde_json::to_string(&wrapped).map_err(|_| KeyError::Form)
}

/// The key of a recording, for the holder of a recipient's private key (PEM, PKCS#8).
pub fn unwrap(wrapped_json: &str, private_key_pem: &str) -> Result<ContainerKey, KeyError> {
    let der = keyfile::pem_body(private_key_pem, "PRIVATE KEY").ok_or(KeyError::Private)?;
    let private = PrivateDecryptingKey::from_pkcs8(&der).map_err(|_| KeyError::Private)?;
    let oaep = OaepPrivateDecryptingKey::new(private).map_err(|_| KeyError::Private)?;
    let wrapped: Wrapped = serde_json::from_str(wrapped_json).map_err(|_| KeyError::Form)?;
    let spelling = serde_json::to_string(&wrapped).map_err(|_| KeyError::Form)?;
    if wrapped.alg != ALGORITHM || spelling != wrapped_json {
        return Err(KeyError::Form);
    }
    for sealed in &wrapped.keys {
        let sealed = BASE64_STANDARD.decode(&sealed.wrapped).map_err(|_| KeyError::Form)?;
        let mut plain = vec![0; oaep.min_output_size()];
        let opened = oaep.decrypt(&OAEP_SHA256_MGF1SHA256, &sealed, &mut plain, None);
        if let Ok(bytes) =
            opened.map_err(|_| ()).and_then(|p| <[u8; 64]>::try_from(&*p).map_err(|_| ()))
        {
            return Ok(ContainerKey(bytes));
        }
    }
    Err(KeyError::NotForThisKey)
}
