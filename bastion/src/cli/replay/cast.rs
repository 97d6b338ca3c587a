//! An asciicast that is written. Every character that could harm whoever looks at the file is
//! spelled by its number, as JSON allows.

use bastion_core::{
    cast::{Cast, Header, Way},
    text::is_plain,
};
use std::{
    fmt::Write as _,
    io::{self, Write},
};

/// An asciicast in the making.
pub(super) struct CastWriter(Cast);

impl CastWriter {
    /// Writes its first line.
    pub(super) fn begin((columns, rows): (usize, usize), out: &mut dyn Write) -> io::Result<Self> {
        // Sizes of screens are bounded far below.
        let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let (columns, rows) = (number(columns), number(rows));
        let header = Header { columns, rows, term: "xterm-256color".into(), timestamp: 0 };
        let mut text = Vec::new();
        let cast = Cast::begin(&header, &mut text);
        out.write_all(&text)?;
        Ok(Self(cast))
    }

    pub(super) fn output(
        &mut self,
        micros: u64,
        bytes: &[u8],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        self.0.data(micros, Way::Output, bytes, &mut text);
        out.write_all(spelled(&text).as_bytes())
    }

    pub(super) fn resize(
        &mut self,
        micros: u64,
        columns: u64,
        rows: u64,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let number = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
        let mut text = Vec::new();
        self.0.resize(micros, number(columns), number(rows), &mut text);
        out.write_all(&text)
    }
}

fn spelled(lines: &[u8]) -> String {
    let mut out = String::new();
    for character in String::from_utf8_lossy(lines).chars() {
        if character == '\n' || is_plain(character) {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            write!(out, "\\u{unit:04x}").unwrap_or_default();
        }
    }
    out
}
