//! Proofs of one entry as a file (c2sp.org/tlog-proof): index, inclusion proof, checkpoint.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 3
//! gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
//! B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
//!
//! bastion.example/log
//! 4
//! sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=
//!
//! — bastion.example/log hI2DJw…=
//! ```
//!
//! Whoever has the entry's line, the log's key, and a policy where witnesses are demanded can check
//! it without asking anybody. The extra data proves nothing and is not trusted.

use crate::{
    checkpoint::{self, BadNote, Checkpoint, Vkey},
    hash::Hash,
    merkle::{self, BadProof, SIZE_MAX},
    note::{NOTE_BYTES_MAX, Note},
    policy::{Policy, Unwitnessed, Witnessed},
};
use base64::{Engine, engine::general_purpose::STANDARD};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most hashes of an inclusion proof: the tree has at most 2^53 leaves.
const HASHES_MAX: usize = 53;

/// The most extra data.
pub const EXTRA_BYTES_MAX: usize = 65_536;

/// A proof file; nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Whatever somebody put in: not authenticated.
    pub extra: Option<Vec<u8>>,
    /// The entry's index, which is its `seq`.
    pub index: u64,
    /// The inclusion proof, the leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The signed note, with whatever cosignatures it has.
    pub checkpoint: String,
}

/// Why a file is no proof, or one that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProofFile {
    /// Not a proof file in the one spelling.
    #[error("not a tlog-proof: a header, an index, hashes, an empty line and a checkpoint")]
    Spelling,
    /// The hashes do not lead from the entry to the root.
    #[error("the entry is not proven: {0}")]
    Proof(#[from] BadProof),
    /// The checkpoint does not hold.
    #[error("the checkpoint does not hold: {0}")]
    Checkpoint(#[from] BadNote),
    /// The checkpoint is not what the policy asks for.
    #[error("the policy is not met: {0}")]
    Policy(#[from] Unwitnessed),
}

use BadProofFile::Spelling;

impl Proof {
    /// The file.
    pub fn to_text(&self) -> Result<String, BadProofFile> {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            if extra.is_empty() || extra.len() > EXTRA_BYTES_MAX {
                return Err(Spelling);
            }
            text += &format!("extra {}\n", STANDARD.encode(extra));
        }
        if self.index >= SIZE_MAX || self.hashes.len() > HASHES_MAX {
            return Err(Spelling);
        }
        text += &format!("index {}\n", self.index);
        for hash in &self.hashes {
            text += &format!("{}\n", STANDARD.encode(hash.0));
        }
        Note::parse(&self.checkpoint)?;
        Ok(text + "\n" + &self.checkpoint)
    }

    /// The proof of a file; exactly one spelling is accepted.
    pub fn parse(text: &str) -> Result<Self, BadProofFile> {
        if text.len() > NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX {
            return Err(Spelling);
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(Spelling)?;
        let rest = head.strip_prefix(HEADER).ok_or(Spelling)?;
        let mut lines = rest.strip_prefix('\n').ok_or(Spelling)?.split('\n').peekable();
        let extra = lines.peek().and_then(|line| line.strip_prefix("extra "));
        let extra = extra.map(|extra| STANDARD.decode(extra)).transpose().map_err(|_| Spelling)?;
        if extra.is_some() {
            lines.next();
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(Spelling)?;
        let index = index.parse().map_err(|_| Spelling)?;
        let hashes = lines.map(parse_hash).collect::<Option<Vec<_>>>().ok_or(Spelling)?;
        let proof = Self { extra, index, hashes, checkpoint: checkpoint.to_owned() };
        if proof.to_text()? == text { Ok(proof) } else { Err(Spelling) }
    }

    /// Check that the entry with this leaf hash is in the log, under a checkpoint of this key.
    pub fn verify(&self, leaf: &Hash, vkey: &Vkey) -> Result<Checkpoint, BadProofFile> {
        let checkpoint = checkpoint::verify(&self.checkpoint, vkey)?;
        merkle::verify_inclusion(leaf, self.index, &self.hashes, &checkpoint.head())?;
        Ok(checkpoint)
    }

    /// The same under a policy: a checkpoint of a log that it lists, or of this key, which as many
    /// witnesses cosigned as it asks for.
    pub fn verify_under(
        &self,
        leaf: &Hash,
        policy: &Policy,
        vkey: Option<&Vkey>,
    ) -> Result<Witnessed, BadProofFile> {
        let witnessed = policy.check(&self.checkpoint, vkey)?;
        let head = witnessed.checkpoint.head();
        merkle::verify_inclusion(leaf, self.index, &self.hashes, &head)?;
        Ok(witnessed)
    }
}

/// A line that is 32 bytes as base64.
pub(crate) fn parse_hash(line: &str) -> Option<Hash> {
    Hash::from_slice(&STANDARD.decode(line).ok()?).ok()
}
