//! The log's signature: a C2SP signed note over size and root.
//!
//! The key remembers the last head that it signed and never signs one of the same size with
//! another root, nor goes back: two such notes would be proof that the log was split.

use super::LedgerError;
use audit_schema::{
    checkpoint::{self, BadVkey, Checkpoint, Vkey},
    merkle::Frontier,
};
use ed25519_dalek::SigningKey;
use std::sync::{Mutex, PoisonError};

/// The signing key of a log.
pub struct LogKey {
    key: SigningKey,
    origin: String,
    last: Mutex<Frontier>,
}

impl LogKey {
    pub(super) fn new(key: SigningKey, origin: String) -> Self {
        Self { key, origin, last: Mutex::new(Frontier::new()) }
    }

    /// The signed note over a head.
    pub(super) fn checkpoint(&self, head: &Frontier) -> Result<String, LedgerError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if head.size() == last.size() && head.root() != last.root() && head.size() > 0 {
            let fault = format!("two roots of size {}: not signed", head.size());
            return Err(LedgerError::Unavailable(fault));
        }
        // A reader that was overtaken by another: the later head is as true.
        if head.size() >= last.size() {
            *last = head.clone();
        }
        let origin = self.origin.clone();
        let checkpoint = Checkpoint { origin, size: last.size(), root: last.root() };
        checkpoint::sign(&checkpoint, &self.key)
            .map_err(|bad| LedgerError::Unavailable(bad.to_string()))
    }

    /// `name+hash+base64`; the origin was checked when the log was made.
    pub(super) fn vkey(&self) -> String {
        vkey(&self.key, &self.origin).unwrap_or_default()
    }
}

/// The verifier key of a log: `name+hash+base64`.
pub(super) fn vkey(key: &SigningKey, origin: &str) -> Result<String, BadVkey> {
    Vkey::new(origin, key.verifying_key()).map(|vkey| vkey.to_string())
}
