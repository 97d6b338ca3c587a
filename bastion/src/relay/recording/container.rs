//! The sealed container: how a recording lies on disk. `relay/RECORDING.md` is its specification,
//! with a recipe that opens one with `openssl` and a shell.
//!
//! ```text
//! bastion-recording/1 {"created_at":"…","lease":"l-…","payload":"…","recording":"r-…"}
//! D 0000000311
//! …311 bytes of ciphertext…
//! S 0000000000 0000000000000419 ⟨SHA-256 of the file so far⟩ ⟨tag⟩
//! E 0000000001 0000000000000579 ⟨SHA-256 of the file so far⟩ ⟨tag⟩
//! ```
//!
//! `D` lines carry pieces of one AES-256-CTR stream. An `S` line seals a segment: it holds the
//! digest of *everything before it*, so a digest that once stood in the log fixes all bytes up to
//! there, their order and their number, and one pass of SHA-256 serves all. The tag is
//! HMAC-SHA256 over the line's beginning: what nobody sealed cannot be made to look sealed. The
//! `E` line says that the recording ended in order; without it, the tail is missing.
//!
//! One random 512-bit key per file: 32 bytes for the cipher, 32 for the tags. It is not in the
//! file, but wrapped in a store of its own: deleting it there erases every copy of the recording.

use crate::relay::{
    keystream::{CipherFailed, Keystream},
    page::Page,
};
use audit_schema::hash::Hash;
use aws_lc_rs::{digest, hmac};
use bastion_core::limits::RECORDING_FRAME_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// The first word of a container.
pub(super) const MAGIC: &str = "bastion-recording/1 ";
/// The bytes of a `D` line.
pub(super) const FRAME_LINE_BYTES: usize = 13;
/// The bytes of an `S` or `E` line that its tag covers.
pub(super) const SEAL_SIGNED_BYTES: usize = 94;
/// The bytes of a whole `S` or `E` line.
pub const SEAL_LINE_BYTES: usize = 160;

/// The key of one container: 32 bytes for the cipher, 32 for the tags.
pub struct ContainerKey(pub(super) [u8; 64]);

impl ContainerKey {
    /// A fresh one.
    pub fn draw() -> Result<Self, CipherFailed> {
        let mut bytes = [0; 64];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CipherFailed)?;
        Ok(Self(bytes))
    }
    pub(super) fn keystream(&self) -> Result<Keystream, CipherFailed> {
        let mut key = [0; 32];
        key.copy_from_slice(&self.0[..32]);
        Keystream::new(&key)
    }
    pub(super) fn tags(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0[32..])
    }
}

impl Drop for ContainerKey {
    fn drop(&mut self) {
        self.0.fill(0);
    }
}

/// What the first line of a container says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// When the recording began.
    pub created_at: String,
    /// The lease whose channel it records.
    pub lease: String,
    /// What the plaintext is: `asciicast-v3`, `timed-streams-v1` or `operations-v1`.
    pub payload: String,
    /// Its id.
    pub recording: String,
}

/// A seal: the file up to `bytes` is whole, and its SHA-256 is `digest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The segment's number, from 0.
    pub index: u64,
    /// The file's bytes before this seal.
    pub bytes: u64,
    /// Their SHA-256.
    pub digest: Hash,
}

/// Makes the bytes of a container, in order. Where they are written is the caller's business.
pub struct Writer {
    stream: Keystream,
    tags: hmac::Key,
    sha: digest::Context,
    bytes: u64,
    segments: u64,
    /// Bytes of frames since the last seal.
    unsealed: u64,
}

impl Writer {
    /// Begins one with its header line.
    pub fn begin(
        header: &Header,
        key: &ContainerKey,
        file: &mut Page,
    ) -> Result<Self, CipherFailed> {
        let json = serde_json::to_string(header).map_err(|_| CipherFailed)?;
        let mut writer = Self {
            stream: key.keystream()?,
            tags: key.tags(),
            sha: digest::Context::new(&digest::SHA256),
            bytes: 0,
            segments: 0,
            unsealed: 0,
        };
        writer.emit(format!("{MAGIC}{json}\n").as_bytes(), file);
        Ok(writer)
    }

    /// Seals plaintext into frames.
    pub fn data(&mut self, plain: &[u8], file: &mut Page) -> Result<(), CipherFailed> {
        self.pieces(plain.len(), std::iter::once(plain), file)
    }

    /// The same of plaintext that lies in pieces, `left` bytes in all.
    pub(super) fn pieces<'a>(
        &mut self,
        mut left: usize,
        pieces: impl Iterator<Item = &'a [u8]>,
        file: &mut Page,
    ) -> Result<(), CipherFailed> {
        let mut frame = 0;
        for mut piece in pieces {
            while !piece.is_empty() {
                let start = file.len();
                if frame == 0 {
                    frame = left.min(RECORDING_FRAME_BYTES_MAX);
                    left -= frame;
                    file.put(format!("D {frame:010}\n").as_bytes());
                }
                let (now, later) = piece.split_at(piece.len().min(frame));
                self.stream.apply(now, file)?;
                // While it is still near the processor.
                self.count(start, file);
                self.unsealed += now.len() as u64;
                frame -= now.len();
                piece = later;
            }
        }
        // A frame that says more than there is would make the file unreadable.
        if frame == 0 && left == 0 { Ok(()) } else { Err(CipherFailed) }
    }

    /// How many segments are sealed.
    pub(super) fn segments(&self) -> u64 {
        self.segments
    }

    pub(super) fn unsealed(&self) -> u64 {
        self.unsealed
    }

    /// Ends a segment.
    pub fn seal(&mut self, file: &mut Page) -> Segment {
        let segment = self.line('S', file);
        self.segments += 1;
        self.unsealed = 0;
        segment
    }

    /// Ends the recording. Returns the bytes and the SHA-256 of the whole file.
    pub fn end(mut self, file: &mut Page) -> (u64, Hash) {
        if self.unsealed > 0 {
            self.seal(file);
        }
        self.line('E', file);
        (self.bytes, digest_of(self.sha))
    }

    fn line(&mut self, letter: char, file: &mut Page) -> Segment {
        let segment = Segment {
            index: self.segments,
            bytes: self.bytes,
            digest: digest_of(self.sha.clone()),
        };
        let signed = signed_part(letter, &segment);
        let tag = hmac::sign(&self.tags, signed.as_bytes());
        self.emit(format!("{signed} {}\n", hex(tag.as_ref())).as_bytes(), file);
        segment
    }

    fn emit(&mut self, bytes: &[u8], file: &mut Page) {
        let start = file.len();
        file.put(bytes);
        self.count(start, file);
    }

    fn count(&mut self, start: usize, file: &Page) {
        let new = &file.filled()[start..];
        self.sha.update(new);
        self.bytes += new.len() as u64;
    }
}

/// What the tag of an `S` or `E` line covers.
pub(super) fn signed_part(letter: char, segment: &Segment) -> String {
    format!("{letter} {:010} {:016} {}", segment.index, segment.bytes, segment.digest)
}

pub(super) fn digest_of(sha: digest::Context) -> Hash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(sha.finish().as_ref());
    Hash(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}
