//! Signed notes (c2sp.org/signed-note): a text, an empty line, and signature lines.
//!
//! ```text
//! text that is signed, to its last newline
//!
//! — example.org/key x08go/ZJkuBS9UG/…=
//! ```
//!
//! Exactly one encoding is accepted: base64 with its padding and no stray bits (RFC 4648 §4), no
//! control characters, a newline at the end. Only Ed25519 (signature type 0x01) is known.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// The signature type byte of Ed25519 in signed notes.
const ED25519: u8 = 0x01;

/// The most signatures that a note may carry; C2SP asks verifiers to take at least 16.
pub const SIGNATURES_MAX: usize = 16;

/// The longest note in bytes: 16 post-quantum signatures of 5 kB each, and room.
pub const NOTE_BYTES_MAX: usize = 131_072;

/// A public key with its name: `name+hash+base64`, as signed notes name verifier keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vkey {
    name: String,
    key: VerifyingKey,
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
    /// An algorithm other than Ed25519.
    #[error("not an ed25519 key")]
    Algorithm,
    /// No point of the curve, or one of small order.
    #[error("not a usable ed25519 public key")]
    Key,
    /// The hash in the text is not that of this name and key.
    #[error("the hash is not that of this name and key: one of them was changed")]
    Hash,
}

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
    let mut blob = vkey.id().to_vec();
    blob.extend(key.sign(text.as_bytes()).to_bytes());
    Ok(format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(blob)))
}

/// The text of a note that this key signed; anything else is refused.
///
/// Signatures of other keys are ignored, but must be spelled like signatures.
pub fn open<'a>(note: &'a str, vkey: &Vkey) -> Result<&'a str, BadNote> {
    let (text, signatures) = split(note)?;
    let id = vkey.id();
    let mut ours =
        signatures.iter().filter(|(name, blob)| *name == vkey.name && blob.starts_with(&id));
    let (_, blob) = ours.next().ok_or(BadNote::Unsigned)?;
    // Two of the same key would be a second encoding of one.
    if ours.next().is_some() {
        return Err(BadNote::Signature);
    }
    let signature = Signature::from_slice(&blob[id.len()..]).map_err(|_| BadNote::Signature)?;
    vkey.key.verify_strict(text.as_bytes(), &signature).map_err(|_| BadNote::Signature)?;
    Ok(text)
}

impl Vkey {
    /// A verifier key of this name.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, BadVkey> {
        if !is_name(name) {
            return Err(BadVkey::Name);
        }
        // A key of small order "signs" everything.
        if key.is_weak() {
            return Err(BadVkey::Key);
        }
        let name = name.to_owned();
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
        let digest = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.as_bytes())
            .finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = vec![ED25519];
        blob.extend(self.key.as_bytes());
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode(blob))
    }
}

impl FromStr for Vkey {
    type Err = BadVkey;
    fn from_str(text: &str) -> Result<Self, BadVkey> {
        // Base64 has plus signs of its own: only the first two cut.
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(BadVkey::Spelling);
        let (name, id, blob) = (part()?, part()?, part()?);
        let blob = STANDARD.decode(blob).map_err(|_| BadVkey::Spelling)?;
        let (algorithm, key) = blob.split_first().ok_or(BadVkey::Spelling)?;
        if *algorithm != ED25519 {
            return Err(BadVkey::Algorithm);
        }
        let key: &[u8; 32] = key.try_into().map_err(|_| BadVkey::Key)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| BadVkey::Key)?;
        let vkey = Self::new(name, key)?;
        if format!("{:08x}", u32::from_be_bytes(vkey.id())) != id {
            return Err(BadVkey::Hash);
        }
        // A point has one encoding only if it is read back as it was written.
        if vkey.to_string() == text { Ok(vkey) } else { Err(BadVkey::Spelling) }
    }
}

/// What a key's name may be (C2SP signed-note), and so what an origin may be here.
pub(crate) fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.contains(bad)
}

/// The text of a note, and its signatures as key name and key id with signature bytes.
type Split<'a> = (&'a str, Vec<(&'a str, Vec<u8>)>);

fn split(note: &str) -> Result<Split<'_>, BadNote> {
    if note.len() > NOTE_BYTES_MAX {
        return Err(BadNote::Long);
    }
    if has_control(note) {
        return Err(BadNote::Note);
    }
    let end = note.rfind("\n\n").ok_or(BadNote::Note)?;
    let (text, lines) = (&note[..=end], &note[end + 2..]);
    let lines = lines.strip_suffix('\n').ok_or(BadNote::Note)?;
    if lines.split('\n').count() > SIGNATURES_MAX {
        return Err(BadNote::Long);
    }
    let signatures: Option<Vec<_>> = lines.split('\n').map(split_signature).collect();
    Ok((text, signatures.ok_or(BadNote::Note)?))
}

fn split_signature(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, blob) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let blob = STANDARD.decode(blob).ok()?;
    (is_name(name) && blob.len() > 4).then_some((name, blob))
}

fn has_control(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' && byte != b'\n')
}
