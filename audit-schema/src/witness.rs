//! What a log and a witness say to each other (c2sp.org/tlog-witness): the bodies alone.
//!
//! The log posts the size that it believes the witness to have, a consistency proof from there,
//! and its checkpoint:
//!
//! ```text
//! old 20852014
//! PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
//!
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — example.com/behind-the-sofa Az3grlgt…=
//! ```
//!
//! The witness answers with cosignature lines (200), or with the size that it has (409), so that
//! the log can ask again. [`judge`] is the witness's whole decision; keeping its result, atomically
//! and before it answers, is the server's part.

use crate::{
    checkpoint::{self, Checkpoint, Vkey},
    cosignature::{self, WitnessKey},
    hash::Hash,
    merkle::{self, SIZE_MAX, TreeHead},
    note::{self, BadNote, NOTE_BYTES_MAX, Note},
    proof::parse_hash,
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// The most hashes of a consistency proof that C2SP lets a client send.
pub const HASHES_MAX: usize = 63;

/// The longest request body: the longest note, the proof and its line of size.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + HASHES_MAX * 45 + 32;

/// The media type of the answer that tells a size.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";

/// A body that is not in its one spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a body of the witness protocol")]
pub struct BadBody;

/// The body of `add-checkpoint`; nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the checkpoint that the witness cosigned last, as the log believes.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

impl AddCheckpoint {
    /// The body.
    pub fn to_text(&self) -> Result<String, BadBody> {
        if self.proof.len() > HASHES_MAX {
            return Err(BadBody);
        }
        Note::parse(&self.checkpoint).map_err(|_| BadBody)?;
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            text += &format!("{}\n", STANDARD.encode(hash.0));
        }
        Ok(text + "\n" + &self.checkpoint)
    }

    /// The request of a body; exactly one spelling is accepted.
    pub fn parse(text: &str) -> Result<Self, BadBody> {
        if text.len() > REQUEST_BYTES_MAX {
            return Err(BadBody);
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(BadBody)?;
        let mut lines = head.strip_prefix("old ").ok_or(BadBody)?.split('\n');
        let old = lines.next().and_then(|old| old.parse().ok()).ok_or(BadBody)?;
        let proof = lines.map(parse_hash).collect::<Option<Vec<_>>>().ok_or(BadBody)?;
        let request = Self { old, proof, checkpoint: checkpoint.to_owned() };
        if request.to_text()? == text { Ok(request) } else { Err(BadBody) }
    }

    /// The origin that the note names, before anything of it is believed: to find its keys.
    pub fn origin(&self) -> Result<&str, BadBody> {
        let note = Note::parse(&self.checkpoint).map_err(|_| BadBody)?;
        note.text.split('\n').next().filter(|origin| !origin.is_empty()).ok_or(BadBody)
    }
}

/// Why a witness does not cosign; each has its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: the old size is above the checkpoint's, or the body is none.
    #[error("not a request of the witness protocol, or its old size is above the checkpoint's")]
    Malformed,
    /// 403: no key that is trusted for this origin signed it.
    #[error("no key that this witness trusts for the log has signed the checkpoint: {0}")]
    Unsigned(BadNote),
    /// 409: the witness has another size, which is the answer's body.
    #[error("the newest checkpoint that this witness cosigned has {size} entries")]
    Conflict {
        /// What it has.
        size: u64,
    },
    /// 409: the same size with another root: the log showed two histories.
    #[error("another root of the same {size} entries: the log showed two histories")]
    Fork {
        /// The size of both.
        size: u64,
    },
    /// 422: the proof does not prove that the checkpoint extends the old one.
    #[error("the checkpoint does not extend the one that this witness cosigned last")]
    Inconsistent,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unsigned(_) => 403,
            Self::Conflict { .. } | Self::Fork { .. } => 409,
            Self::Inconsistent => 422,
        }
    }

    /// The body of a 409 that tells a size.
    pub fn size_body(&self) -> Option<String> {
        match self {
            Self::Conflict { size } | Self::Fork { size } => Some(size_body(*size)),
            _ => None,
        }
    }
}

/// What a witness decides on a request: the checkpoint to keep and to cosign, or why not. `last` is
/// the newest that it cosigned for this origin, or `None`; `trusted` are the log's keys.
///
/// Between reading `last` and keeping what comes of it nobody else may do either.
pub fn judge(
    request: &AddCheckpoint,
    trusted: &[Vkey],
    last: Option<&TreeHead>,
) -> Result<Checkpoint, Refusal> {
    let mut worst = BadNote::Unsigned;
    let signed = trusted.iter().find_map(|vkey| {
        checkpoint::verify(&request.checkpoint, vkey).map_err(|bad| worst = bad).ok()
    });
    let checkpoint = signed.ok_or(Refusal::Unsigned(worst))?;
    if request.old > checkpoint.size {
        return Err(Refusal::Malformed);
    }
    let none = TreeHead { size: 0, root: Hash::of(b"") };
    let last = last.unwrap_or(&none);
    if request.old != last.size {
        return Err(Refusal::Conflict { size: last.size });
    }
    // Two roots of nothing are no fork: one of them is none.
    if checkpoint.size == last.size && checkpoint.root != last.root && last.size > 0 {
        return Err(Refusal::Fork { size: last.size });
    }
    // Of an empty old tree the proof is empty, and so is it of the same tree.
    merkle::verify_consistency(last, &checkpoint.head(), &request.proof)
        .map_err(|_| Refusal::Inconsistent)?;
    Ok(checkpoint)
}

/// The body that tells a size: its digits and a newline.
pub fn size_body(size: u64) -> String {
    format!("{size}\n")
}

/// The size of such a body.
pub fn parse_size(body: &str) -> Result<u64, BadBody> {
    let size = body.strip_suffix('\n').and_then(|size| size.parse().ok()).ok_or(BadBody)?;
    if size_body(size) == body && size <= SIZE_MAX { Ok(size) } else { Err(BadBody) }
}

/// Take a witness's answer into a note: its cosignature, verified, added or put in place of an
/// older one, and when it was made. Lines of keys that were not asked for are left out.
pub fn accept(note: &str, answer: &str, witness: &WitnessKey) -> Result<(String, u64), BadNote> {
    let text = Note::parse(note)?.text;
    let answered = format!("{text}\n{answer}");
    let seconds = cosignature::verify(&answered, witness)?;
    let mark = format!("\u{2014} {} ", witness.name());
    let id = witness.id();
    let ours = |line: &&str| {
        let blob = line.strip_prefix(&mark).and_then(|blob| STANDARD.decode(blob.trim_end()).ok());
        blob.is_some_and(|blob| blob.starts_with(&id))
    };
    let lines: String = answer.split_inclusive('\n').filter(ours).collect();
    Ok((note::add(note, &lines)?, seconds))
}
