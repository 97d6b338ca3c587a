//! One AES-256-CTR keystream, applied piece by piece.
//!
//! Recordings and spool files both need the same thing: a long stream, encrypted as it grows and
//! decrypted by position. Every key is drawn for one stream and never used for another, which is
//! why the counter may start at zero.

use super::page::Page;
use aws_lc_rs::{
    cipher::{AES_256, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey},
    iv::FixedLength,
};

/// A keystream and how far it has been used. In counter mode the same pass seals and opens.
pub(crate) struct Keystream {
    cipher: StreamingEncryptingKey,
}

/// The crypto provider refused; nothing in our arguments explains it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the cipher failed")]
pub struct CipherFailed;

/// The provider asks for room up to a whole block more than counter mode ever writes.
const ROOM_BEYOND: usize = 15;

impl Keystream {
    /// The stream of a key, from counter zero.
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self, CipherFailed> {
        let key = UnboundCipherKey::new(&AES_256, key).map_err(|_| CipherFailed)?;
        let start = EncryptionContext::Iv128(FixedLength::from([0_u8; 16]));
        let cipher = StreamingEncryptingKey::less_safe_ctr(key, start).map_err(|_| CipherFailed)?;
        Ok(Self { cipher })
    }

    /// Applies the next `input.len()` bytes of the stream, appending to `output`.
    pub(crate) fn apply(&mut self, input: &[u8], output: &mut Page) -> Result<(), CipherFailed> {
        output.put_with(input.len() + ROOM_BEYOND, |room| {
            let done = self.cipher.update(input, room).map_err(|_| CipherFailed)?;
            let written = done.written().len();
            if written == input.len() { Ok(written) } else { Err(CipherFailed) }
        })
    }
}
