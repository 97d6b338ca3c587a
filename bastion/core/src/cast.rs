//! asciicast v3: a terminal's history as text, which any player can play.
//!
//! ```text
//! {"version":3,"term":{"cols":80,"rows":24,"type":"xterm-256color"},"timestamp":1795507200}
//! [0.248848, "o", "$ "]
//! [1.001376, "i", "l"]
//! [0.000214, "r", "100x30"]
//! [0.500000, "x", "0"]
//! ```
//!
//! The first line is the header; each further line is the time since the line before, in seconds,
//! a code, and text. SSH packets may end in the middle of a UTF-8 character: its first bytes wait
//! here for the rest, one wait per direction. Bytes that are not UTF-8 at all become U+FFFD for
//! the player, and stand before it exactly, as a comment in hex, for the auditor.

use std::fmt::Write as _;

/// The header of a cast.
#[derive(Clone, Debug)]
pub struct Header {
    /// Columns at the start.
    pub columns: u32,
    /// Rows at the start.
    pub rows: u32,
    /// The terminal's type, as in `TERM`.
    pub term: String,
    /// Seconds since 1970 UTC at the start.
    pub timestamp: i64,
}

/// Which way text went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the VM.
    Output,
    /// From the operator.
    Input,
}

/// Turns packets into the lines of a cast, appended to a text that the caller takes away.
#[derive(Debug, Default)]
pub struct Cast {
    last_micros: u64,
    output_rest: Vec<u8>,
    input_rest: Vec<u8>,
}

impl Cast {
    /// A cast whose clock starts at zero, and its header line.
    pub fn begin(header: &Header, text: &mut Vec<u8>) -> Self {
        let Header { columns, rows, term, timestamp } = header;
        let term = serde_json::Value::from(term.as_str());
        // By hand, so that one recording has one spelling whatever features serde_json has.
        let line = format!(
            "{{\"version\":3,\"term\":{{\"cols\":{columns},\"rows\":{rows},\"type\":{term}}},\
             \"timestamp\":{timestamp}}}\n"
        );
        text.extend_from_slice(line.as_bytes());
        Self::default()
    }

    /// A packet, `micros` after the start.
    pub fn data(&mut self, micros: u64, way: Way, data: &[u8], text: &mut Vec<u8>) {
        let rest = match way {
            Way::Output => &mut self.output_rest,
            Way::Input => &mut self.input_rest,
        };
        let waited = std::mem::take(rest);
        let joined;
        let whole = if waited.is_empty() {
            data
        } else {
            joined = [waited.as_slice(), data].concat();
            &joined
        };
        let cut = whole.len() - unfinished(whole);
        *rest = whole[cut..].to_vec();
        self.text(micros, way, &whole[..cut], text);
    }

    /// The terminal has another size.
    pub fn resize(&mut self, micros: u64, columns: u32, rows: u32, text: &mut Vec<u8>) {
        self.line(micros, 'r', &format!("{columns}x{rows}"), text);
    }

    /// The end: bytes that still waited for their rest, and how the program ended.
    pub fn end(&mut self, micros: u64, status: Option<&str>, text: &mut Vec<u8>) {
        for way in [Way::Output, Way::Input] {
            let rest = match way {
                Way::Output => std::mem::take(&mut self.output_rest),
                Way::Input => std::mem::take(&mut self.input_rest),
            };
            self.text(micros, way, &rest, text);
        }
        if let Some(status) = status {
            self.line(micros, 'x', status, text);
        }
    }

    fn text(&mut self, micros: u64, way: Way, bytes: &[u8], text: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let code = match way {
            Way::Output => 'o',
            Way::Input => 'i',
        };
        if std::str::from_utf8(bytes).is_err() {
            let mut comment = format!("# {code} ");
            for byte in bytes {
                // Writing to a String cannot fail.
                write!(comment, "{byte:02x}").unwrap_or_default();
            }
            comment.push('\n');
            text.extend_from_slice(comment.as_bytes());
        }
        self.line(micros, code, &String::from_utf8_lossy(bytes), text);
    }

    fn line(&mut self, micros: u64, code: char, data: &str, text: &mut Vec<u8>) {
        let since = micros.saturating_sub(self.last_micros);
        self.last_micros = micros.max(self.last_micros);
        let (seconds, micros) = (since / 1_000_000, since % 1_000_000);
        let data = serde_json::Value::from(data);
        let line = format!("[{seconds}.{micros:06}, \"{code}\", {data}]\n");
        text.extend_from_slice(line.as_bytes());
    }
}

/// How many bytes at the end begin a UTF-8 character that is not finished: 0 to 3.
pub fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let wanted = match bytes[bytes.len() - back] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return 0,
        };
        return if back < wanted { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(packets: &[(&[u8], Way)]) -> String {
        let mut text = Vec::new();
        let header =
            Header { columns: 80, rows: 24, term: "xterm".into(), timestamp: 1_795_507_200 };
        let mut cast = Cast::begin(&header, &mut text);
        for (number, (data, way)) in packets.iter().enumerate() {
            cast.data(number as u64 * 1_500_000, *way, data, &mut text);
        }
        cast.end(10_000_000, Some("0"), &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_cast_is_a_header_and_lines() {
        let text = cast(&[(b"$ ", Way::Output), (b"ls\r", Way::Input)]);
        let expected = concat!(
            r#"{"version":3,"term":{"cols":80,"rows":24,"type":"xterm"},"timestamp":1795507200}"#,
            "\n[0.000000, \"o\", \"$ \"]\n[1.500000, \"i\", \"ls\\r\"]\n[8.500000, \"x\", \"0\"]\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_character_in_two_packets_stays_whole() {
        let text = cast(&[("é".as_bytes().split_at(1).0, Way::Output), (&[0xa9], Way::Output)]);
        assert!(text.contains("[1.500000, \"o\", \"é\"]"), "{text}");
        assert!(!text.contains('\u{fffd}'));
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_in_a_comment() {
        let text = cast(&[(&[b'a', 0xff, b'b'], Way::Output)]);
        assert!(text.contains("# o 61ff62\n"), "{text}");
        assert!(text.contains("a\u{fffd}b"));
    }
}
