//! Reading a container back: how much of it is whole, and what it says.
//!
//! Nothing here trusts a byte before a seal has covered it. A file whose tail is missing (a crash,
//! a cut) yields everything up to its last good seal and says what is missing; the same answer,
//! with a fault, is given where bytes were changed. Without the key the digests are checked, which
//! is what recovery and the log's verifier need; with it the tags are, too.

use super::container::{
    ContainerKey, FRAME_LINE_BYTES, Header, MAGIC, SEAL_LINE_BYTES, SEAL_SIGNED_BYTES, Segment,
    digest_of, signed_part,
};
use crate::relay::{keystream::CipherFailed, page::Page};
use audit_schema::hash::Hash;
use aws_lc_rs::{digest, hmac};
use bastion_core::limits::{RECORDING_FRAME_BYTES_MAX, RECORDING_HEADER_BYTES_MAX};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

/// How much of a container is whole.
#[derive(Clone, Debug)]
pub struct Found {
    /// What its first line says.
    pub header: Header,
    /// The seals, in order.
    pub segments: Vec<Segment>,
    /// Bytes of ciphertext under the last good seal.
    pub sealed_payload_bytes: u64,
    /// SHA-256 and size of the whole file, if it ended in order.
    pub whole: Option<(u64, Hash)>,
    /// Why it is not whole; absent when it is.
    pub fault: Option<String>,
}

impl Found {
    /// What is proven: bytes and SHA-256 of the whole file, or of what its last good seal covers.
    pub fn proven(&self) -> Option<(u64, Hash)> {
        self.whole.or_else(|| self.last().map(|seal| (seal.bytes, seal.digest)))
    }

    /// Bytes of the file up to and with the last good seal.
    pub fn sealed_file_bytes(&self) -> u64 {
        let seal = |segment: &Segment| segment.bytes + SEAL_LINE_BYTES as u64;
        self.whole.map_or_else(|| self.last().map_or(0, seal), |(bytes, _)| bytes)
    }

    /// The last good seal.
    pub fn last(&self) -> Option<&Segment> {
        self.segments.last()
    }
}

/// A file that cannot be read as a recording at all.
#[derive(Debug, thiserror::Error)]
pub enum BadRecording {
    /// Not a container.
    #[error("not a recording: {0}")]
    Header(&'static str),
    /// The key does not fit: no tag holds.
    #[error("the key does not fit this recording, or its first seal was changed")]
    Key,
    /// The disk said no.
    #[error("cannot read the recording: {0}")]
    Io(#[from] io::Error),
    /// The crypto provider said no.
    #[error(transparent)]
    Cipher(#[from] CipherFailed),
}

/// What the first line of a container says.
pub fn header<R: Read>(file: R) -> Result<Header, BadRecording> {
    Scan::begin(file).map(|scan| scan.header)
}

/// Checks a container: its structure and digests, and with the key its tags.
pub fn verify<R: Read>(file: R, key: Option<&ContainerKey>) -> Result<Found, BadRecording> {
    let mut scan = Scan::begin(file)?;
    let tags = key.map(ContainerKey::tags);
    let mut found = Found {
        header: scan.header.clone(),
        segments: Vec::new(),
        sealed_payload_bytes: 0,
        whole: None,
        fault: None,
    };
    found.fault = loop {
        match scan.step(tags.as_ref())? {
            Step::Frame => {}
            Step::Seal(segment) if segment.index == found.segments.len() as u64 => {
                found.segments.push(segment);
                found.sealed_payload_bytes = scan.payload_bytes;
            }
            Step::Seal(_) => break Some("a seal is out of order".into()),
            Step::End(segment) => {
                if segment.index != found.segments.len() as u64
                    || scan.payload_bytes != found.sealed_payload_bytes
                {
                    break Some("the end does not follow the last seal".into());
                }
                found.whole = Some((scan.bytes, digest_of(scan.sha.clone())));
                break match scan.file.fill_buf()? {
                    [] => None,
                    _ => Some("bytes follow the end".into()),
                };
            }
            Step::Fault(fault) => break Some(fault),
        }
    };
    if found.fault.is_some() {
        found.whole = None;
    }
    Ok(found)
}

/// Checks a container and writes the plaintext under its good seals to `plain`.
pub fn open<R: Read + Seek, W: Write>(
    mut file: R,
    key: &ContainerKey,
    plain: &mut W,
) -> Result<Found, BadRecording> {
    let found = verify(&mut file, Some(key))?;
    if found.segments.is_empty() && found.whole.is_none() {
        // Either nothing was ever sealed, or not by this key. The digests tell which.
        file.seek(SeekFrom::Start(0))?;
        if verify(&mut file, None)?.last().is_some() {
            return Err(BadRecording::Key);
        }
    }
    file.seek(SeekFrom::Start(0))?;
    let mut scan = Scan::begin(file)?;
    let mut stream = key.keystream()?;
    let mut piece = Page::default();
    while scan.payload_bytes < found.sealed_payload_bytes {
        if let Step::Frame = scan.step(None)? {
            piece.clear();
            stream.apply(&scan.frame, &mut piece)?;
            plain.write_all(piece.filled())?;
        }
    }
    Ok(found)
}

/// The same on bytes in memory: the plaintext under the good seals, and how much that is.
pub fn open_container(file: &[u8], key: &ContainerKey) -> Result<(Vec<u8>, Found), BadRecording> {
    let mut plain = Vec::new();
    let found = open(io::Cursor::new(file), key, &mut plain)?;
    Ok((plain, found))
}

enum Step {
    Frame,
    Seal(Segment),
    End(Segment),
    Fault(String),
}

/// One walk down a file, line by line, with the digest of what lies behind.
struct Scan<R> {
    file: BufReader<R>,
    header: Header,
    sha: digest::Context,
    bytes: u64,
    payload_bytes: u64,
    frame: Vec<u8>,
}

impl<R: Read> Scan<R> {
    fn begin(file: R) -> Result<Self, BadRecording> {
        let mut file = BufReader::with_capacity(256 << 10, file);
        let mut line = Vec::new();
        let limit = RECORDING_HEADER_BYTES_MAX as u64;
        (&mut file).take(limit).read_until(b'\n', &mut line)?;
        let json = line
            .strip_prefix(MAGIC.as_bytes())
            .ok_or(BadRecording::Header("it does not begin with bastion-recording/1"))?;
        let json = json.strip_suffix(b"\n").ok_or(BadRecording::Header("no whole first line"))?;
        let header = serde_json::from_slice(json)
            .map_err(|_| BadRecording::Header("its first line is not what a gateway writes"))?;
        let mut sha = digest::Context::new(&digest::SHA256);
        sha.update(&line);
        let bytes = line.len() as u64;
        Ok(Self { file, header, sha, bytes, payload_bytes: 0, frame: Vec::new() })
    }

    fn step(&mut self, tags: Option<&hmac::Key>) -> Result<Step, BadRecording> {
        let letter = match self.file.fill_buf()? {
            [] => return Ok(Step::Fault("the file stops without an end".into())),
            [letter, ..] => *letter,
        };
        match letter {
            b'D' => self.frame(),
            b'S' | b'E' => self.seal(char::from(letter), tags),
            _ => Ok(self.fault("no line of a recording")),
        }
    }

    fn frame(&mut self) -> Result<Step, BadRecording> {
        let mut line = [0; FRAME_LINE_BYTES];
        if !self.read(&mut line)? {
            return Ok(self.fault("the file stops in a frame's line"));
        }
        let length = number(&line[2..12]).filter(|_| line.starts_with(b"D ") && line[12] == b'\n');
        let length = length.and_then(|length| usize::try_from(length).ok());
        let Some(length) = length.filter(|length| *length <= RECORDING_FRAME_BYTES_MAX) else {
            return Ok(self.fault("a frame's line is damaged"));
        };
        let mut frame = std::mem::take(&mut self.frame);
        frame.resize(length, 0);
        let is_whole = self.read(&mut frame)?;
        self.frame = frame;
        if !is_whole {
            return Ok(self.fault("the file stops in a frame"));
        }
        self.sha.update(&line);
        self.sha.update(&self.frame);
        self.bytes += (line.len() + length) as u64;
        self.payload_bytes += length as u64;
        Ok(Step::Frame)
    }

    fn seal(&mut self, letter: char, tags: Option<&hmac::Key>) -> Result<Step, BadRecording> {
        let mut line = [0; SEAL_LINE_BYTES];
        if !self.read(&mut line)? {
            return Ok(self.fault("the file stops in a seal"));
        }
        let Some(index) = number(&line[2..12]) else {
            return Ok(self.fault("a seal's line is damaged"));
        };
        let segment = Segment { index, bytes: self.bytes, digest: digest_of(self.sha.clone()) };
        let signed = signed_part(letter, &segment);
        let is_form = line[SEAL_SIGNED_BYTES] == b' ' && line[SEAL_LINE_BYTES - 1] == b'\n';
        if !is_form || &line[..SEAL_SIGNED_BYTES] != signed.as_bytes() {
            return Ok(self.fault("what stands before a seal is not what was sealed"));
        }
        let tag = unhex(&line[SEAL_SIGNED_BYTES + 1..SEAL_LINE_BYTES - 1]);
        let Some(tag) = tag else { return Ok(self.fault("a seal's line is damaged")) };
        if tags.is_some_and(|key| hmac::verify(key, signed.as_bytes(), &tag).is_err()) {
            return Ok(self.fault("a seal was not made with this key"));
        }
        self.sha.update(&line);
        self.bytes += line.len() as u64;
        Ok(if letter == 'S' { Step::Seal(segment) } else { Step::End(segment) })
    }

    fn read(&mut self, into: &mut [u8]) -> Result<bool, BadRecording> {
        match self.file.read_exact(into) {
            Ok(()) => Ok(true),
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(why) => Err(why.into()),
        }
    }

    fn fault(&self, what: &str) -> Step {
        Step::Fault(format!("{what}, after byte {}", self.bytes))
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_digits = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_digits)?.parse().ok()
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let hash: Hash = text.parse().ok()?;
    Some(hash.as_bytes().to_vec())
}
