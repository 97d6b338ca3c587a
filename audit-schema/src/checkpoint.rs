//! Checkpoints: the log's size and root, signed, so that a cut-off tail or a changed entry shows.
//!
//! ```text
//! bastion.example/log
//! 4
//! 3X4B…=
//!
//! — bastion.example/log Az3g…=
//! ```
//!
//! A C2SP tlog-checkpoint (c2sp.org/tlog-checkpoint) in a C2SP signed note
//! (c2sp.org/signed-note), narrowed: the key's name is the origin, there are no extension lines,
//! and base64 has its padding and no stray bits. A note may carry signatures of other keys
//! (witnesses, a next key): see [`cosignature`](crate::cosignature) and [`policy`](crate::policy).
//! What was verified re-encodes to its bytes.

pub use crate::note::{BadNote, BadVkey, Vkey};
use crate::{
    hash::Hash,
    merkle::{SIZE_MAX, TreeHead},
    note,
    vkey::is_name,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;

/// What a checkpoint says: this log had this many entries and this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is also the name of the key that signs.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The RFC 6962 root over their lines.
    pub root: Hash,
}

/// Sign a checkpoint with the log's key, under the log's name: the whole note.
///
/// An origin that cannot be a key's name, or a size above 2^53, is [`BadNote::Text`].
pub fn sign(checkpoint: &Checkpoint, key: &SigningKey) -> Result<String, BadNote> {
    note::sign(&checkpoint.text()?, &checkpoint.origin, key)
}

/// The checkpoint of a note that this key signed; anything else is refused.
///
/// Signatures of other keys are ignored (C2SP signed-note), but must be spelled like signatures.
pub fn verify(note: &str, vkey: &Vkey) -> Result<Checkpoint, BadNote> {
    let checkpoint = Checkpoint::parse_text(note::open(note, vkey)?)?;
    if checkpoint.origin == vkey.name() { Ok(checkpoint) } else { Err(BadNote::Origin) }
}

impl Checkpoint {
    /// Size and root.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root }
    }

    /// The three lines that are signed.
    pub(crate) fn text(&self) -> Result<String, BadNote> {
        if !is_name(&self.origin) || self.size > SIZE_MAX {
            return Err(BadNote::Text);
        }
        let root = STANDARD.encode(self.root.0);
        Ok(format!("{}\n{}\n{root}\n", self.origin, self.size))
    }

    pub(crate) fn parse_text(text: &str) -> Result<Self, BadNote> {
        let mut lines = text.strip_suffix('\n').ok_or(BadNote::Text)?.split('\n');
        let mut line = || lines.next().ok_or(BadNote::Text);
        let (origin, size, root) = (line()?, line()?, line()?);
        let root = STANDARD.decode(root).map_err(|_| BadNote::Text)?;
        let checkpoint = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| BadNote::Text)?,
            root: Hash::from_slice(&root).map_err(|_| BadNote::Text)?,
        };
        // One spelling only: `+4`, `04`, a fourth line and the like end here.
        if checkpoint.text()? == text { Ok(checkpoint) } else { Err(BadNote::Text) }
    }
}
