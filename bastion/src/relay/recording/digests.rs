//! A recording without contents: how much went which way and when, with digests that prove it.
//!
//! The relay hands over the same pieces as for a full recording, at the same pace; only here, on
//! the writer thread, are they hashed instead of kept. So what an operator can do does not depend
//! on the level. A stream's digest is over all its bytes so far: whoever holds the bytes can check
//! each segment as the difference between two lines, and the last line covers everything.

use super::container::digest_of;
use aws_lc_rs::digest::{Context, SHA256};
use serde_json::json;

/// When it began.
pub(super) fn first_line(timestamp: i64) -> String {
    format!("{}\n", json!({ "timestamp": timestamp, "version": 1 }))
}

/// Turns the text of `timed-streams-v1` into that of `digests-v1`, segment by segment.
pub(super) struct Digester {
    streams: [Stream; 3],
    /// Bytes of contents since the last segment.
    unsealed: u64,
}

struct Stream {
    letter: u8,
    sha: Context,
    bytes: u64,
    /// When the first and the last piece of this segment came.
    seen: Option<(u64, u64)>,
}

impl Digester {
    pub(super) fn new() -> Self {
        let stream = |letter| Stream { letter, sha: Context::new(&SHA256), bytes: 0, seen: None };
        Self { streams: [b'i', b'o', b'e'].map(stream), unsealed: 0 }
    }

    /// A sheet, as the encoder of streams writes it: lines, each followed by its contents.
    pub(super) fn eat<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
        let mut open: Option<Line> = None;
        for mut text in pieces {
            while !text.is_empty() {
                let Some(line) = open.take() else {
                    // A line is never divided.
                    let Some((line, rest)) = Line::first(text) else { break };
                    (open, text) = (Some(line), rest);
                    continue;
                };
                let (data, rest) = text.split_at(text.len().min(line.left));
                text = rest;
                if !data.is_empty() {
                    self.take(&line, data, out);
                }
                let left = line.left - data.len();
                match text.strip_prefix(b"\n") {
                    Some(rest) if left == 0 => text = rest,
                    _ => open = Some(Line { left, ..line }),
                }
            }
        }
    }

    fn take(&mut self, line: &Line, data: &[u8], out: &mut Vec<u8>) {
        let micros = line.micros;
        let Some(stream) = self.streams.iter_mut().find(|s| s.letter == line.letter) else {
            return note(micros, data, out);
        };
        stream.sha.update(data);
        stream.bytes += data.len() as u64;
        self.unsealed += data.len() as u64;
        let first = stream.seen.map_or(micros, |(first, _)| first);
        stream.seen = Some((first, micros));
    }

    /// Bytes of contents that no segment covers yet.
    pub(super) fn unsealed(&self) -> u64 {
        self.unsealed
    }

    /// The lines of the segment that ends now.
    pub(super) fn segment(&mut self, index: u64, out: &mut Vec<u8>) {
        self.unsealed = 0;
        for stream in &mut self.streams {
            let Some((first, last)) = stream.seen.take() else { continue };
            let line = json!({
                "bytes": stream.bytes,
                "first_micros": first,
                "last_micros": last,
                "segment": index,
                "sha256": digest_of(stream.sha.clone()),
                "stream": char::from(stream.letter).to_string(),
            });
            out.extend_from_slice(format!("{line}\n").as_bytes());
        }
    }

    /// The last lines: everything.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        for stream in &self.streams {
            let line = json!({
                "bytes": stream.bytes,
                "end": true,
                "sha256": digest_of(stream.sha.clone()),
                "stream": char::from(stream.letter).to_string(),
            });
            out.extend_from_slice(format!("{line}\n").as_bytes());
        }
    }
}

/// What happened, and what was done to files: neither is contents.
fn note(micros: u64, data: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(data);
    let line = match text.strip_prefix('{') {
        Some(rest) => format!("{{\"at_micros\":{micros},{rest}\n"),
        None => format!("{}\n", json!({ "at_micros": micros, "event": text })),
    };
    out.extend_from_slice(line.as_bytes());
}

/// A line before contents: whose they are, from when, and how many are still to come.
struct Line {
    letter: u8,
    micros: u64,
    left: usize,
}

impl Line {
    /// The one that a text begins with, and what follows it.
    fn first(text: &[u8]) -> Option<(Self, &[u8])> {
        let end = text.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&text[..end]).ok()?;
        let mut words = line.split(' ');
        let (letter, micros, left) = (words.next()?, words.next()?, words.next()?);
        let letter = *letter.as_bytes().first()?;
        let line = Self { letter, micros: micros.parse().ok()?, left: left.parse().ok()? };
        Some((line, &text[end + 1..]))
    }
}
