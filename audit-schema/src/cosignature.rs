//! Cosignatures (c2sp.org/tlog-cosignature): a witness says that it saw this checkpoint, when, and
//! that it extends every one it saw before.
//!
//! The line that a witness adds to the note signs not the note's text alone but this message:
//!
//! ```text
//! cosignature/v1
//! time 1679315147
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```
//!
//! So a log's signature and a witness's are never one for the other, even of the same key.

pub use crate::vkey::{BadVkey, WitnessKey};
use crate::{
    checkpoint::Checkpoint,
    note::{BadNote, Note, signature_line},
    vkey::Cosigner,
};
use ed25519_dalek::{Signature, Signer, SigningKey};

/// The latest moment that a cosignature may name: 2^63 - 1 seconds.
pub const SECONDS_MAX: u64 = (1 << 63) - 1;

/// The signature line of a witness of this name over a checkpoint, at a moment in seconds since
/// 1970: its [`add`](crate::note::add) makes the cosigned note.
///
/// The caller has checked that the checkpoint extends every one that it cosigned before, and has
/// made that durable.
pub fn cosign(
    checkpoint: &Checkpoint,
    name: &str,
    key: &SigningKey,
    seconds: u64,
) -> Result<String, BadNote> {
    let witness = WitnessKey::new(name, key.verifying_key()).map_err(|_| BadNote::Text)?;
    if seconds > SECONDS_MAX {
        return Err(BadNote::Text);
    }
    let signature = key.sign(message(seconds, &checkpoint.text()?).as_bytes());
    let timed = [&seconds.to_be_bytes()[..], &signature.to_bytes()].concat();
    Ok(signature_line(name, witness.id(), &timed))
}

/// When this witness cosigned a note, in seconds since 1970. That the log's key signed it is for
/// [`checkpoint::verify`](crate::checkpoint::verify) to say.
pub fn verify(note: &str, witness: &WitnessKey) -> Result<u64, BadNote> {
    check(&Note::parse(note)?, witness)?.ok_or(BadNote::Unsigned)
}

/// When this witness cosigned, or `None` where it did not; a line of it that does not hold is an
/// error.
pub(crate) fn check(note: &Note<'_>, witness: &WitnessKey) -> Result<Option<u64>, BadNote> {
    let Some(bytes) = note.signature(witness.name(), witness.id())? else { return Ok(None) };
    let Cosigner::Ed25519(key) = witness.cosigner() else { return Err(BadNote::Algorithm) };
    let (seconds, signature) = bytes.split_first_chunk::<8>().ok_or(BadNote::Signature)?;
    let seconds = u64::from_be_bytes(*seconds);
    let signature = Signature::from_slice(signature).map_err(|_| BadNote::Signature)?;
    let message = message(seconds, note.text);
    if seconds > SECONDS_MAX || key.verify_strict(message.as_bytes(), &signature).is_err() {
        return Err(BadNote::Signature);
    }
    Ok(Some(seconds))
}

fn message(seconds: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}
