//! Verifier keys: a public key with its name, in one line of text.
//!
//! ```text
//! bastion.example/log+f2f45ecf+AdcZPA…=        a log's key: Ed25519, type 01
//! witness.example/w1+8d66cf3c+BNdaIB…=         a witness's key: Ed25519 cosignatures, type 04
//! ```
//!
//! `name+id+base64(type || public key)`, as c2sp.org/signed-note has it. A log's key and a
//! witness's are types of their own here, so that one never stands in for the other. ML-DSA-44 keys
//! of witnesses (type 06) are read and printed, but nothing that they sign is verified yet.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// The type byte of Ed25519 signatures of a note.
pub(crate) const ED25519: u8 = 0x01;
/// The type byte of timestamped Ed25519 cosignatures.
pub(crate) const COSIGNATURE: u8 = 0x04;
/// The type byte of ML-DSA-44 cosignatures.
pub(crate) const ML_DSA_44: u8 = 0x06;

/// The length of an ML-DSA-44 public key.
const ML_DSA_44_BYTES: usize = 1_312;

/// A log's public key with its name: `name+hash+base64`, as signed notes name verifier keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vkey {
    name: String,
    key: VerifyingKey,
}

/// A witness's public key with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    key: Cosigner,
}

/// What a witness cosigns with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cosigner {
    Ed25519(VerifyingKey),
    /// Known by its key id, so that a policy may name it; what it signs is not verified.
    MlDsa44(Vec<u8>),
}

/// A text that is no verifier key, or a name or key that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVkey {
    /// Not `name+hash+base64`, in the one spelling.
    #[error("not a verifier key: it has the form name+hash+base64")]
    Spelling,
    /// The name is empty, or has white space, a plus sign or a control character.
    #[error("a key's name is not empty and has no white space, no plus and no control characters")]
    Name,
    /// A key of another type than is due here: a log's, where a witness's is, or the reverse.
    #[error("not a key of the type that is due: a log's is 01 (ed25519), a witness's 04 or 06")]
    Algorithm,
    /// No point of the curve, or one of small order.
    #[error("not a usable ed25519 public key")]
    Key,
    /// The hash in the text is not that of this name and key.
    #[error("the hash is not that of this name and key: one of them was changed")]
    Hash,
}

impl Vkey {
    /// A verifier key of this name.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, BadVkey> {
        let (name, key) = usable(name, key)?;
        Ok(Self { name, key })
    }

    /// The name: for a log's key, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The key id: the first four bytes of SHA-256 over name, newline, type byte and key.
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, ED25519, self.key.as_bytes())
    }
}

impl WitnessKey {
    /// The key of a witness of this name that cosigns with Ed25519.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, BadVkey> {
        let (name, key) = usable(name, key)?;
        Ok(Self { name, key: Cosigner::Ed25519(key) })
    }

    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id: as of a log's key, with the type byte of cosignatures.
    pub fn id(&self) -> [u8; 4] {
        let (kind, key) = self.parts();
        key_id(&self.name, kind, key)
    }

    /// Whether this build can verify what it signs.
    pub fn is_verifiable(&self) -> bool {
        matches!(self.key, Cosigner::Ed25519(_))
    }

    pub(crate) fn cosigner(&self) -> &Cosigner {
        &self.key
    }

    /// The public key alone: two keys are the same when this is, whatever their names.
    pub(crate) fn material(&self) -> &[u8] {
        self.parts().1
    }

    fn parts(&self) -> (u8, &[u8]) {
        match &self.key {
            Cosigner::Ed25519(key) => (COSIGNATURE, key.as_bytes()),
            Cosigner::MlDsa44(key) => (ML_DSA_44, key),
        }
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&spell(&self.name, ED25519, self.key.as_bytes()))
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, key) = self.parts();
        f.write_str(&spell(&self.name, kind, key))
    }
}

impl FromStr for Vkey {
    type Err = BadVkey;
    fn from_str(text: &str) -> Result<Self, BadVkey> {
        let parts = Parts::of(text)?;
        if parts.kind != ED25519 {
            return Err(BadVkey::Algorithm);
        }
        let vkey = Self::new(parts.name, point(&parts.key)?)?;
        parts.check(text, vkey.id(), vkey.to_string())?;
        Ok(vkey)
    }
}

impl FromStr for WitnessKey {
    type Err = BadVkey;
    fn from_str(text: &str) -> Result<Self, BadVkey> {
        let parts = Parts::of(text)?;
        let key = match parts.kind {
            COSIGNATURE => Self::new(parts.name, point(&parts.key)?)?,
            ML_DSA_44 if !is_name(parts.name) => return Err(BadVkey::Name),
            ML_DSA_44 if parts.key.len() == ML_DSA_44_BYTES => {
                Self { name: parts.name.to_owned(), key: Cosigner::MlDsa44(parts.key.clone()) }
            }
            ML_DSA_44 => return Err(BadVkey::Key),
            _ => return Err(BadVkey::Algorithm),
        };
        parts.check(text, key.id(), key.to_string())?;
        Ok(key)
    }
}

/// A key's text, taken apart.
struct Parts<'a> {
    name: &'a str,
    id: &'a str,
    kind: u8,
    key: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, BadVkey> {
        // Base64 has plus signs of its own: only the first two cut.
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(BadVkey::Spelling);
        let (name, id, blob) = (part()?, part()?, part()?);
        let blob = STANDARD.decode(blob).map_err(|_| BadVkey::Spelling)?;
        let (kind, key) = blob.split_first().ok_or(BadVkey::Spelling)?;
        Ok(Self { name, id, kind: *kind, key: key.to_vec() })
    }

    fn check(&self, text: &str, id: [u8; 4], spelled: String) -> Result<(), BadVkey> {
        if format!("{:08x}", u32::from_be_bytes(id)) != self.id {
            return Err(BadVkey::Hash);
        }
        // A point has one encoding only if it is read back as it was written.
        if spelled == text { Ok(()) } else { Err(BadVkey::Spelling) }
    }
}

/// What a key's name may be (C2SP signed-note), and so what an origin may be here.
pub(crate) fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.contains(bad)
}

fn usable(name: &str, key: VerifyingKey) -> Result<(String, VerifyingKey), BadVkey> {
    if !is_name(name) {
        return Err(BadVkey::Name);
    }
    // A key of small order "signs" everything.
    if key.is_weak() { Err(BadVkey::Key) } else { Ok((name.to_owned(), key)) }
}

fn point(key: &[u8]) -> Result<VerifyingKey, BadVkey> {
    let key: &[u8; 32] = key.try_into().map_err(|_| BadVkey::Key)?;
    VerifyingKey::from_bytes(key).map_err(|_| BadVkey::Key)
}

fn key_id(name: &str, kind: u8, key: &[u8]) -> [u8; 4] {
    let digest =
        Sha256::new().chain_update(name).chain_update([b'\n', kind]).chain_update(key).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn spell(name: &str, kind: u8, key: &[u8]) -> String {
    let blob = [&[kind], key].concat();
    let id = u32::from_be_bytes(key_id(name, kind, key));
    format!("{name}+{id:08x}+{}", STANDARD.encode(blob))
}
