//! One-time tokens: shown once to whoever makes them, and known here by their digest alone.

use crate::entropy::{NoEntropy, draw};
use audit_schema::hash::Hash;
use bastion_core::limits::TOKEN_BYTES;
use std::fmt;

/// A token that was just made.
pub struct Token(String);

impl Token {
    /// A fresh one: 32 characters of Crockford's base 32, easy to read out and to type.
    pub fn draw() -> Result<Self, NoEntropy> {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let bytes: [u8; TOKEN_BYTES] = draw()?;
        let mut text = String::new();
        for five in bytes.chunks(5) {
            let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for place in (0..8).rev() {
                // Five bits are a place in the alphabet, always.
                text.push(char::from(ALPHABET[usize::from((bits >> (place * 5)) as u8 & 31)]));
            }
        }
        Ok(Self(text))
    }

    /// What the store keeps of it.
    pub fn digest(&self) -> String {
        digest(&self.0)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The digest of a token as somebody gives it.
pub fn digest(token: &str) -> String {
    Hash::of(token.trim().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_plain_and_never_the_same() {
        let [one, two] = [Token::draw(), Token::draw()].map(|token| token.expect("randomness"));
        assert_eq!(one.to_string().len(), 32);
        assert!(one.to_string().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert_ne!(one.to_string(), two.to_string());
        assert_eq!(digest(&format!("{one}\n")), one.digest());
    }
}
