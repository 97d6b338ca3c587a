//! Who signs the heads of the log: a C2SP signed note over size and root.
//!
//! Two notes of one size with different roots would be proof that the log was split, and a note
//! over a shorter tree that it was cut off. So whatever signs keeps the last size and root for
//! itself, outside the store, and is not asked to believe us: it gets the RFC 6962 proof that the
//! new head extends its own last one. It is a trait because the key may be in a process of its
//! own, away from the network; [`KeyInProcess`] is the one that is not.

use super::mark::{Mark, Remembered};
use audit_schema::{
    checkpoint::{self, BadVkey, Checkpoint, Vkey},
    hash::Hash,
    merkle::{self, TreeHead},
};
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};

/// A head to be signed, with the proof that it extends the one that was signed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadToSign {
    /// Size and root.
    pub head: TreeHead,
    /// The size from which the proof leads; 0 needs none.
    pub from: u64,
    /// RFC 6962 consistency proof between the tree of that size and this one.
    pub proof: Vec<Hash>,
}

/// Why a head was not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The proof does not begin where the signer is: here is where it is.
    #[error("the last checkpoint signed is of {} entries: prove from there", .0.size)]
    Behind(TreeHead),
    /// The head does not extend what was signed before. Never retried.
    #[error(
        "entries that a checkpoint of {} entries covers are not in this log of {}: not signed; \
         keep the store as it is and run `bastion doctor`", .last.size, .asked.size
    )]
    Fork {
        /// What was signed.
        last: TreeHead,
        /// What was to be signed.
        asked: TreeHead,
    },
    /// The signer does not answer, or cannot keep what it is to sign.
    #[error("the log's signer: {0}")]
    Unavailable(String),
}

/// What signs a log's heads.
pub trait LogSigner: Send + Sync {
    /// The key that verifies, under the name of the log's current epoch.
    fn vkey(&self) -> Vkey;
    /// The last head that it signed; size 0 before the first.
    fn last(&self) -> BoxFuture<'_, Result<TreeHead, SignError>>;
    /// The whole note over a head that extends the last one.
    fn sign(&self, ask: HeadToSign) -> BoxFuture<'_, Result<String, SignError>>;
}

/// A key in this process.
pub struct KeyInProcess {
    key: SigningKey,
    vkey: Vkey,
    mark: Option<Arc<Mark>>,
    last: Mutex<TreeHead>,
}

impl KeyInProcess {
    /// The key of a log. What it signs is kept in the gateway's mark, where there is one.
    pub fn new(key: SigningKey, origin: &str, mark: Option<Arc<Mark>>) -> Result<Self, BadVkey> {
        let vkey = Vkey::new(origin, key.verifying_key())?;
        let kept = mark.as_ref().and_then(|mark| mark.last());
        let last = kept.filter(|kept| kept.origin == origin).map_or_else(nothing, |kept| kept.head);
        Ok(Self { key, vkey, mark, last: Mutex::new(last) })
    }

    fn sign_now(&self, ask: &HeadToSign) -> Result<String, SignError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if ask.from != last.size {
            return Err(SignError::Behind(*last));
        }
        let extends = merkle::verify_consistency(&last, &ask.head, &ask.proof);
        extends.map_err(|_| SignError::Fork { last: *last, asked: ask.head })?;
        let unavailable = |why: String| SignError::Unavailable(why);
        // If we crash after this, a head is remembered that nobody has seen: it is in the log.
        if let Some(mark) = &self.mark {
            self.check_mark(mark, ask.head)?;
            let raised = mark.raise(self.vkey.name(), ask.head);
            raised.map_err(|error| unavailable(format!("{}: {error}", mark.path().display())))?;
        }
        let TreeHead { size, root } = ask.head;
        let checkpoint = Checkpoint { origin: self.vkey.name().to_owned(), size, root };
        let note = checkpoint::sign(&checkpoint, &self.key);
        let note = note.map_err(|bad| unavailable(bad.to_string()))?;
        *last = ask.head;
        Ok(note)
    }

    /// The writer raises the mark too, so it may be past this head, but never beside it.
    fn check_mark(&self, mark: &Mark, asked: TreeHead) -> Result<(), SignError> {
        match mark.last() {
            Some(Remembered { origin, head })
                if origin == self.vkey.name() && head.size == asked.size && head != asked =>
            {
                Err(SignError::Fork { last: head, asked })
            }
            _ => Ok(()),
        }
    }
}

impl LogSigner for KeyInProcess {
    fn vkey(&self) -> Vkey {
        self.vkey.clone()
    }
    fn last(&self) -> BoxFuture<'_, Result<TreeHead, SignError>> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(std::future::ready(Ok(last)))
    }
    fn sign(&self, ask: HeadToSign) -> BoxFuture<'_, Result<String, SignError>> {
        Box::pin(std::future::ready(self.sign_now(&ask)))
    }
}

/// The empty tree.
fn nothing() -> TreeHead {
    TreeHead { size: 0, root: merkle::root(&[]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "test.example/log";

    fn leaves(count: u64, salt: u8) -> Vec<Hash> {
        (0..count).map(|seq| merkle::leaf_hash(&[seq as u8, salt])).collect()
    }

    fn ask(leaves: &[Hash], from: u64) -> HeadToSign {
        HeadToSign {
            head: TreeHead { size: leaves.len() as u64, root: merkle::root(leaves) },
            from,
            proof: merkle::consistency_proof(leaves, from).unwrap(),
        }
    }

    fn signer() -> KeyInProcess {
        KeyInProcess::new(SigningKey::from_bytes(&[7; 32]), ORIGIN, None).unwrap()
    }

    #[test]
    fn only_what_extends_the_last_head_is_signed() {
        let (ours, other) = (leaves(9, 0), leaves(9, 1));
        let key = signer();
        let note = key.sign_now(&ask(&ours[..5], 0)).unwrap();
        assert_eq!(checkpoint::verify(&note, &key.vkey()).unwrap().size, 5);
        // The same head again, and one that extends it.
        key.sign_now(&ask(&ours[..5], 5)).unwrap();
        key.sign_now(&ask(&ours[..7], 5)).unwrap();
        let behind = key.sign_now(&ask(&ours, 5));
        assert!(matches!(behind, Err(SignError::Behind(head)) if head.size == 7));
        for forked in [ask(&other[..7], 7), ask(&other, 7)] {
            let refused = key.sign_now(&forked);
            assert!(matches!(refused, Err(SignError::Fork { .. })), "{refused:?}");
        }
        let shorter = HeadToSign { from: 7, proof: Vec::new(), ..ask(&ours[..6], 0) };
        assert!(matches!(key.sign_now(&shorter), Err(SignError::Fork { .. })));
        key.sign_now(&ask(&ours, 7)).unwrap();
    }
}
