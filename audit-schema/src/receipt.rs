//! Receipts: entries with the proof that a signed checkpoint covers them.
//!
//! ```text
//! bastion-receipt/v1
//! entry {"actor":{…},…,"seq":41,…}
//! hash 3X4B…=
//! hash Rk2o…=
//!
//! bastion.example
//! 42
//! 9hTz…=
//!
//! — bastion.example Az3g…=
//! ```
//!
//! Each `entry` is a line of the log, its `hash` lines are its inclusion proof (RFC 6962, the
//! lowest first) in the tree of the checkpoint, which is a whole signed note with whatever
//! cosignatures it has. A certificate carries such a text, so that a VM can see without any
//! network that its own issuance stands in the log. One encoding only: what is parsed composes to
//! the same text again.

use crate::{
    checkpoint::{self, BadNote, Checkpoint, Vkey},
    entry::{Entry, EntryError},
    hash::Hash,
    merkle::{self, BadProof},
    note::NOTE_BYTES_MAX,
    policy::{Policy, Unwitnessed},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

const HEADER: &str = "bastion-receipt/v1";
/// The most entries of one receipt.
pub const ENTRIES_MAX: usize = 16;
/// The longest proof: the tree has at most 2^53 leaves.
const HASHES_MAX: usize = 53;

/// An entry with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The exact line, without its newline.
    pub line: Vec<u8>,
    /// Its inclusion proof in the checkpoint's tree.
    pub proof: Vec<Hash>,
}

/// Entries, their proofs and the checkpoint; nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entries, in the order in which whoever made it put them.
    pub entries: Vec<Proven>,
    /// The signed note.
    pub checkpoint: String,
}

/// A receipt that holds. Only [`Receipt::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    checkpoint: Checkpoint,
    cosigned: Vec<(String, u64)>,
    entries: Vec<Entry>,
}

impl Checked {
    /// What the log's key signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
    /// The witnesses that cosigned it, by name, and when, in seconds since 1970; empty where no
    /// policy asked for any.
    pub fn cosigned(&self) -> &[(String, u64)] {
        &self.cosigned
    }
    /// The entries, in the receipt's order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// Why a text is no receipt, or one that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReceipt {
    /// Not a receipt in the one spelling.
    #[error("not a receipt in its one spelling")]
    Spelling,
    /// A line of it is no entry.
    #[error("the receipt's entry is none: {0}")]
    Entry(#[from] EntryError),
    /// An entry is not in the checkpoint's tree.
    #[error("the receipt does not prove its entry {seq}: {cause}")]
    Proof {
        /// The entry's `seq`.
        seq: u64,
        /// What is wrong.
        cause: BadProof,
    },
    /// No known key signed the checkpoint.
    #[error("the receipt's checkpoint does not hold: {0}")]
    Checkpoint(#[from] BadNote),
    /// Too few witnesses cosigned the checkpoint, or too long ago.
    #[error("the receipt's checkpoint is not witnessed as it must be: {0}")]
    Policy(#[from] Unwitnessed),
}

impl Receipt {
    /// The text.
    pub fn to_text(&self) -> Result<String, BadReceipt> {
        if self.entries.is_empty() || self.entries.len() > ENTRIES_MAX {
            return Err(BadReceipt::Spelling);
        }
        let mut text = format!("{HEADER}\n");
        for proven in &self.entries {
            let line = std::str::from_utf8(&proven.line).map_err(|_| BadReceipt::Spelling)?;
            if line.contains('\n') || proven.proof.len() > HASHES_MAX {
                return Err(BadReceipt::Spelling);
            }
            text += &format!("entry {line}\n");
            for hash in &proven.proof {
                text += &format!("hash {}\n", STANDARD.encode(hash.0));
            }
        }
        if self.checkpoint.len() > NOTE_BYTES_MAX || !self.checkpoint.ends_with('\n') {
            return Err(BadReceipt::Spelling);
        }
        Ok(text + "\n" + &self.checkpoint)
    }

    /// The receipt of a text.
    pub fn parse(text: &str) -> Result<Self, BadReceipt> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(BadReceipt::Spelling)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(BadReceipt::Spelling);
        }
        let mut entries: Vec<Proven> = Vec::new();
        for line in lines {
            match line.split_once(' ') {
                Some(("entry", line)) if entries.len() < ENTRIES_MAX => {
                    entries.push(Proven { line: line.as_bytes().to_vec(), proof: Vec::new() });
                }
                Some(("hash", hash)) => {
                    let bytes = STANDARD.decode(hash).map_err(|_| BadReceipt::Spelling)?;
                    let hash = Hash::from_slice(&bytes).map_err(|_| BadReceipt::Spelling)?;
                    entries.last_mut().ok_or(BadReceipt::Spelling)?.proof.push(hash);
                }
                _ => return Err(BadReceipt::Spelling),
            }
        }
        let receipt = Self { entries, checkpoint: checkpoint.to_owned() };
        if receipt.to_text()? == text { Ok(receipt) } else { Err(BadReceipt::Spelling) }
    }

    /// Checks everything: the checkpoint under one of these keys (two while one is being
    /// replaced), and each entry's place in its tree.
    pub fn verify(&self, vkeys: &[Vkey]) -> Result<Checked, BadReceipt> {
        let mut worst = BadNote::Unsigned;
        let found = vkeys.iter().find_map(|vkey| {
            let outcome = checkpoint::verify(&self.checkpoint, vkey);
            outcome.map_err(|bad| worst = if worst == BadNote::Unsigned { bad } else { worst }).ok()
        });
        self.check(found.ok_or(worst)?, Vec::new())
    }

    /// The same under a policy: the log's key is one of these, or where there are none one that the
    /// policy lists, and the quorum cosigned at `seconds` since 1970 or later.
    pub fn verify_with(
        &self,
        policy: &Policy,
        vkeys: &[Vkey],
        seconds: u64,
    ) -> Result<Checked, BadReceipt> {
        let check = |pinned| policy.check_since(&self.checkpoint, pinned, seconds);
        let (first, rest) = match vkeys.split_first() {
            Some((first, rest)) => (check(Some(first)), rest),
            None => (check(None), vkeys),
        };
        let witnessed =
            rest.iter().fold(first, |found, key| found.or_else(|_| check(Some(key))))?;
        self.check(witnessed.checkpoint, witnessed.cosigned)
    }

    fn check(
        &self,
        checkpoint: Checkpoint,
        cosigned: Vec<(String, u64)>,
    ) -> Result<Checked, BadReceipt> {
        let head = checkpoint.head();
        let mut entries = Vec::new();
        for proven in &self.entries {
            let entry = Entry::parse(&proven.line)?;
            let leaf = merkle::leaf_hash(&proven.line);
            merkle::verify_inclusion(&leaf, entry.seq, &proven.proof, &head)
                .map_err(|cause| BadReceipt::Proof { seq: entry.seq, cause })?;
            entries.push(entry);
        }
        Ok(Checked { checkpoint, cosigned, entries })
    }
}
