//! Sealing one opening: AES-256-GCM under the subject's key, bound to its place in the log.
//!
//! ```text
//! nonce (12 random bytes) ‖ AES-256-GCM(key, nonce, aad = seq (8 bytes, big end first) ‖ field,
//!                                       salt (32 bytes) ‖ value (UTF-8)) ‖ tag (16 bytes)
//! ```
//!
//! Nonces are random: a person would have to write four billion texts before one had a fair chance
//! to repeat. The place in the log goes in as associated data, so that a sealed text cannot be
//! moved to another entry.

use crate::store::StoreError;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// A subject's key, ready for use.
pub(super) struct Key(LessSafeKey);

impl Key {
    pub fn new(bytes: &[u8]) -> Result<Self, StoreError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes)
            .map_err(|_| StoreError::Shape("a subject's key has 32 bytes".into()))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    pub fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        place: (u64, &str),
        salt: &[u8; 32],
        value: &str,
    ) -> Result<Vec<u8>, StoreError> {
        let mut text = Vec::with_capacity(NONCE_LEN + 32 + value.len() + 16);
        text.extend(nonce);
        text.extend(salt);
        text.extend(value.as_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad(place)), &mut text[NONCE_LEN..])
            .map_err(|_| StoreError::failed("a text could not be sealed"))?;
        text.extend(tag.as_ref());
        Ok(text)
    }

    /// Salt and value; none if this is not what was sealed here with this key.
    pub fn unseal(&self, place: (u64, &str), mut bytes: Vec<u8>) -> Option<([u8; 32], String)> {
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.0.open_in_place(nonce, Aad::from(aad(place)), sealed).ok()?;
        let (salt, value) = text.split_first_chunk::<32>()?;
        Some((*salt, std::str::from_utf8(value).ok()?.to_owned()))
    }
}

fn aad((seq, field): (u64, &str)) -> Vec<u8> {
    let mut aad = seq.to_be_bytes().to_vec();
    aad.extend(field.as_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_in_its_place_with_its_key_and_nowhere_else() {
        let (key, other) = (Key::new(&[1; 32]).unwrap(), Key::new(&[2; 32]).unwrap());
        let sealed = key.seal([3; 12], (41, "source"), &[4; 32], "192.0.2.7 ü").unwrap();
        assert!(!sealed.windows(9).any(|found| found == b"192.0.2.7"));
        assert_eq!(sealed.len(), 12 + 32 + "192.0.2.7 ü".len() + 16);
        let opened = key.unseal((41, "source"), sealed.clone());
        assert_eq!(opened, Some(([4; 32], "192.0.2.7 ü".to_owned())));
        assert_eq!(key.unseal((42, "source"), sealed.clone()), None);
        assert_eq!(key.unseal((41, "sourc"), sealed.clone()), None);
        assert_eq!(other.unseal((41, "source"), sealed.clone()), None);
        for length in 0..sealed.len() {
            assert_eq!(key.unseal((41, "source"), sealed[..length].to_vec()), None);
        }
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.unseal((41, "source"), bent), None, "bit {bit}");
        }
        assert!(Key::new(&[1; 31]).is_err());
    }
}
