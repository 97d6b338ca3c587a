//! Commitments: what an entry says of personal data and free text without saying it.
//!
//! An entry's `commit.FIELD` is HMAC-SHA256 (RFC 2104) with a salt of 32 random bytes as the key
//! and the UTF-8 bytes of the value as the message. Whoever has the [`Opening`] (salt and value)
//! can check it; whoever has not learns nothing, and once the opening is erased nobody can.
//!
//! ```json
//! {"field":"source","salt":"…64 hex…","seq":41,"value":"192.0.2.7"}
//! ```

use crate::{
    canonical::{self, CanonicalError},
    entry::Entry,
    hash::Hash,
};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// HMAC-SHA256 with the salt as the key over the value's UTF-8 bytes.
pub fn commitment(salt: &[u8; 32], value: &str) -> Hash {
    Hash(mac(salt, value).finalize().into_bytes().into())
}

/// Whether a commitment opens to this value with this salt; compared in constant time.
pub fn opens(commitment: &Hash, salt: &[u8; 32], value: &str) -> bool {
    mac(salt, value).verify_slice(&commitment.0).is_ok()
}

/// What opens one commitment of one entry: a line of its own, beside the log and erasable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The name under the entry's `commit`.
    pub field: String,
    /// 32 random bytes, drawn for this field of this entry alone; spelled like a digest.
    pub salt: Hash,
    /// The entry.
    pub seq: u64,
    /// What the entry commits to.
    pub value: String,
}

/// Why an opening does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOpening {
    /// Not canonical JSON.
    #[error("{0}")]
    Canonical(#[from] CanonicalError),
    /// Canonical JSON, but not the fields of an opening.
    #[error("not the fields of an opening: {0}")]
    Shape(String),
    /// For another entry than the one that it was held against.
    #[error("it opens entry {0}, not this one")]
    Entry(u64),
    /// The entry commits to nothing of that name.
    #[error("the entry has no commitment of this name")]
    Field,
    /// The entry commits to another value or another salt.
    #[error("the entry commits to something else")]
    Value,
}

impl Opening {
    /// The canonical line, without a newline.
    pub fn to_line(&self) -> Result<Vec<u8>, BadOpening> {
        let value = serde_json::to_value(self).map_err(|e| BadOpening::Shape(e.to_string()))?;
        Ok(canonical::encode(&value)?)
    }

    /// The opening of a line; exactly one spelling is accepted.
    pub fn parse(line: &[u8]) -> Result<Self, BadOpening> {
        let value = canonical::decode(line)?;
        let opening: Self =
            serde_json::from_value(value).map_err(|e| BadOpening::Shape(e.to_string()))?;
        // serde takes an array of values where an object of fields is due: one spelling only.
        if opening.to_line()? == line {
            Ok(opening)
        } else {
            Err(BadOpening::Shape("an object is spelled in another way".into()))
        }
    }

    /// Check that this opens a commitment of that entry.
    pub fn check(&self, entry: &Entry) -> Result<(), BadOpening> {
        if self.seq != entry.seq {
            return Err(BadOpening::Entry(self.seq));
        }
        let commitment = entry.commit.get(&self.field).ok_or(BadOpening::Field)?;
        if opens(commitment, &self.salt.0, &self.value) { Ok(()) } else { Err(BadOpening::Value) }
    }
}

fn mac(salt: &[u8; 32], value: &str) -> Hmac<Sha256> {
    // 32 bytes are less than a block of 64: a key that is neither hashed nor cut. The conversion
    // from a full block cannot fail, so there is no error to swallow.
    let mut block = [0; 64];
    block[..32].copy_from_slice(salt);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(value.as_bytes());
    mac
}
