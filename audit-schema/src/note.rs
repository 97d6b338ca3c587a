//! Signed notes (c2sp.org/signed-note): a text, an empty line, and signature lines.
//!
//! ```text
//! text that is signed, to its last newline
//!
//! — example.org/key x08go/ZJkuBS9UG/…=
//! — witness.example/w1 jWbPPwAAAABk…==
//! ```
//!
//! Exactly one encoding is accepted: base64 with its padding and no stray bits (RFC 4648 §4), no
//! control characters, a newline at the end. A signature of a key that is not asked for is ignored,
//! whatever its type; one of a key that is asked for must hold, and stand there once.

use crate::vkey::is_name;
pub use crate::vkey::{BadVkey, Vkey};
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey};

/// The most signatures that a note may carry; C2SP asks verifiers to take at least 16.
pub const SIGNATURES_MAX: usize = 16;

/// The longest note in bytes: 16 post-quantum signatures of 5 kB each, and room.
pub const NOTE_BYTES_MAX: usize = 131_072;

/// Why a text is no note that this key signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// Not a signed note.
    #[error("not a signed note: a text, an empty line and signature lines, each with a newline")]
    Note,
    /// A text that cannot be signed, or a signed note whose text is no checkpoint.
    #[error("not a checkpoint: its text is three lines, the origin, the size and the root")]
    Text,
    /// More than [`SIGNATURES_MAX`] signatures, or more than [`NOTE_BYTES_MAX`] bytes.
    #[error("more than 16 signatures or 128 KiB")]
    Long,
    /// The key did not sign it.
    #[error("this key has not signed it")]
    Unsigned,
    /// There is a signature with the key's name and id, and it is wrong; or there are two.
    #[error("the signature is wrong: the checkpoint was changed, or is of another key")]
    Signature,
    /// The key signs for a log of another name.
    #[error("the origin is not the key's name: it is another log's checkpoint")]
    Origin,
    /// A signature of a type that is known and not verified by this build.
    #[error("an ml-dsa-44 signature, which this build cannot verify: use an ed25519 key")]
    Algorithm,
}

/// Sign a text, which ends in a newline, under this name: the whole note.
///
/// A text without its newline or with control characters, and a name that no key may have, are
/// [`BadNote::Text`].
pub fn sign(text: &str, name: &str, key: &SigningKey) -> Result<String, BadNote> {
    let vkey = Vkey::new(name, key.verifying_key()).map_err(|_| BadNote::Text)?;
    if !text.ends_with('\n') || has_control(text) {
        return Err(BadNote::Text);
    }
    let line = signature_line(name, vkey.id(), &key.sign(text.as_bytes()).to_bytes());
    Ok(format!("{text}\n{line}"))
}

/// A note with more signature lines: those of a second key of the log, or of witnesses. A line of a
/// key that has signed already takes the place of the one before.
///
/// Nothing is verified: add what was.
pub fn add(note: &str, lines: &str) -> Result<String, BadNote> {
    let old = Note::parse(note)?;
    let more = signatures(lines)?;
    let replaced = |old: &Sign| more.iter().any(|new| (new.name, new.id) == (old.name, old.id));
    let mut out = format!("{}\n", old.text);
    for kept in old.signatures.iter().filter(|old| !replaced(old)).chain(&more) {
        out += &signature_line(kept.name, kept.id, &kept.bytes);
    }
    Note::parse(&out)?;
    Ok(out)
}

/// The text of a note that this key signed; anything else is refused.
///
/// Signatures of other keys are ignored, but must be spelled like signatures.
pub fn open<'a>(note: &'a str, vkey: &Vkey) -> Result<&'a str, BadNote> {
    let note = Note::parse(note)?;
    let bytes = note.signature(vkey.name(), vkey.id())?.ok_or(BadNote::Unsigned)?;
    let signature = Signature::from_slice(bytes).map_err(|_| BadNote::Signature)?;
    let held = vkey.key().verify_strict(note.text.as_bytes(), &signature);
    held.map_err(|_| BadNote::Signature)?;
    Ok(note.text)
}

/// One signature line: em dash, name, base64 of key id and signature, newline.
pub(crate) fn signature_line(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    let blob = [&id, signature].concat();
    format!("\u{2014} {name} {}\n", STANDARD.encode(blob))
}

/// A note taken apart; nothing of it is verified.
#[derive(Clone, Debug)]
pub(crate) struct Note<'a> {
    /// To be ignored until a signature over it holds.
    pub(crate) text: &'a str,
    signatures: Vec<Sign<'a>>,
}

/// A signature line.
#[derive(Clone, Debug)]
struct Sign<'a> {
    name: &'a str,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    pub(crate) fn parse(note: &'a str) -> Result<Self, BadNote> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(BadNote::Long);
        }
        if has_control(note) {
            return Err(BadNote::Note);
        }
        let end = note.rfind("\n\n").ok_or(BadNote::Note)?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        Ok(Self { text, signatures: signatures(lines)? })
    }

    /// The one signature of a key; two of it would be a second encoding of one.
    pub(crate) fn signature(&self, name: &str, id: [u8; 4]) -> Result<Option<&[u8]>, BadNote> {
        let mut found = self.signatures.iter().filter(|sign| sign.name == name && sign.id == id);
        match (found.next(), found.next()) {
            (first, None) => Ok(first.map(|sign| sign.bytes.as_slice())),
            (_, Some(_)) => Err(BadNote::Signature),
        }
    }
}

/// Signature lines, each with its newline, at least one.
fn signatures(lines: &str) -> Result<Vec<Sign<'_>>, BadNote> {
    let lines = lines.strip_suffix('\n').ok_or(BadNote::Note)?;
    if lines.split('\n').count() > SIGNATURES_MAX {
        return Err(BadNote::Long);
    }
    lines.split('\n').map(|line| split_signature(line).ok_or(BadNote::Note)).collect()
}

fn split_signature(line: &str) -> Option<Sign<'_>> {
    let (name, blob) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let blob = STANDARD.decode(blob).ok()?;
    let (id, bytes) = blob.split_first_chunk::<4>()?;
    let (id, bytes) = (*id, bytes.to_vec());
    (is_name(name) && !bytes.is_empty()).then_some(Sign { name, id, bytes })
}

fn has_control(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' && byte != b'\n')
}
