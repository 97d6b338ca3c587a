//! What stands inside a recording: one plaintext form per kind of channel.
//!
//! - `asciicast-v3` for a channel with a terminal: see [`bastion_core::cast`].
//! - `timed-streams-v1` for a channel without: exact bytes, each piece under a line with the
//!   stream (`i` from the operator, `o` and `e` from the VM, `c` for what happened), microseconds
//!   since the start, and length. A JSON line with the command comes first:
//!
//! ```text
//! {"command":"wc -c","timestamp":1795507200,"version":1}
//! i 1520 6
//! hello
//!
//! c 1533 3
//! eof
//! o 8127 2
//! 6
//!
//! c 8240 6
//! exit 0
//! ```
//!
//!   A forwarded connection has the same form; its JSON line names the `destination` instead.
//! - `digests-v1` for both where only digests are recorded: see the module `digests`.
//! - `operations-v1` for sftp: one JSON object a line and operation. The contents of files are not
//!   in it; their SHA-256 is.

use super::sheet::Sheet;
use bastion_core::cast::{self, Cast, Way};
use bytes::Bytes;
use serde_json::json;

/// What a recording will hold.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A terminal's history.
    Terminal {
        /// Columns at the start.
        columns: u32,
        /// Rows at the start.
        rows: u32,
        /// The terminal's type.
        term: String,
    },
    /// Streams without a terminal.
    Streams {
        /// The command, absent for a shell.
        command: Option<Vec<u8>>,
    },
    /// File operations.
    Operations,
    /// How much went which way, and digests of it.
    Digests,
    /// The bytes of a forwarded connection.
    Forward {
        /// Where it goes.
        to: String,
    },
}

impl Payload {
    /// The form's name in a container's header.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Terminal { .. } => "asciicast-v3",
            Self::Streams { .. } | Self::Forward { .. } => "timed-streams-v1",
            Self::Operations => "operations-v1",
            Self::Digests => "digests-v1",
        }
    }
}

/// Something that happened on a channel.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'a> {
    /// Bytes from the operator.
    Input(&'a Bytes),
    /// Bytes from the VM's standard output.
    Output(&'a Bytes),
    /// Bytes from the VM's standard error.
    Error(&'a Bytes),
    /// The operator will send no more.
    InputEnd,
    /// The terminal has another size.
    Resize {
        /// Columns now.
        columns: u32,
        /// Rows now.
        rows: u32,
    },
    /// The operator sent a signal.
    Signal(&'a str),
    /// The program ended: `exit 0`, `signal TERM`.
    Exit(&'a str),
    /// A line of operations, without its newline.
    Operation(&'a str),
}

/// Turns moments into plaintext.
pub(super) enum Encoder {
    Terminal(Cast),
    Streams,
    Operations,
}

impl Encoder {
    pub(super) fn begin(payload: &Payload, timestamp: i64, text: &mut Vec<u8>) -> Self {
        match payload {
            Payload::Terminal { columns, rows, term } => {
                // `ssh -tt` without a terminal of its own asks for one of no size; a player needs
                // one.
                let size = |asked: u32, normal: u32| if asked == 0 { normal } else { asked };
                let (columns, rows, term) = (size(*columns, 80), size(*rows, 24), term.clone());
                let header = cast::Header { columns, rows, term, timestamp };
                Self::Terminal(Cast::begin(&header, text))
            }
            Payload::Streams { command } => {
                let command = command.as_ref().map(|c| String::from_utf8_lossy(c).into_owned());
                let line = json!({"command": command, "timestamp": timestamp, "version": 1});
                text.extend_from_slice(format!("{line}\n").as_bytes());
                Self::Streams
            }
            Payload::Forward { to } => {
                let line = json!({"destination": to, "timestamp": timestamp, "version": 1});
                text.extend_from_slice(format!("{line}\n").as_bytes());
                Self::Streams
            }
            Payload::Operations => {
                let line = json!({"timestamp": timestamp, "version": 1});
                text.extend_from_slice(format!("{line}\n").as_bytes());
                Self::Operations
            }
            // What the writer thread's `Digester` eats; the file begins with its own line.
            Payload::Digests => Self::Streams,
        }
    }

    pub(super) fn add(&mut self, micros: u64, moment: Moment<'_>, sheet: &mut Sheet) {
        match self {
            Self::Terminal(cast) => terminal(cast, micros, moment, sheet.text()),
            Self::Streams => streams(micros, moment, sheet),
            Self::Operations => {
                // The line is a JSON object; the time becomes its first member.
                if let Moment::Operation(line) = moment
                    && let Some(rest) = line.strip_prefix('{')
                {
                    let line = format!("{{\"at_micros\":{micros},{rest}\n");
                    sheet.text().extend_from_slice(line.as_bytes());
                }
            }
        }
    }
}

impl Encoder {
    /// Bytes of a character that never became whole.
    pub(super) fn finish(&mut self, micros: u64, text: &mut Vec<u8>) {
        if let Self::Terminal(cast) = self {
            cast.end(micros, None, text);
        }
    }
}

fn terminal(cast: &mut Cast, micros: u64, moment: Moment<'_>, text: &mut Vec<u8>) {
    match moment {
        Moment::Input(data) => cast.data(micros, Way::Input, data, text),
        // A terminal has one screen: standard error is on it.
        Moment::Output(data) | Moment::Error(data) => cast.data(micros, Way::Output, data, text),
        Moment::Resize { columns, rows } => cast.resize(micros, columns, rows, text),
        Moment::Exit(how) => cast.end(micros, Some(how.strip_prefix("exit ").unwrap_or(how)), text),
        Moment::InputEnd | Moment::Signal(_) | Moment::Operation(_) => {}
    }
}

fn streams(micros: u64, moment: Moment<'_>, sheet: &mut Sheet) {
    let (letter, data) = match moment {
        Moment::Input(data) => ('i', data),
        Moment::Output(data) => ('o', data),
        Moment::Error(data) => ('e', data),
        Moment::InputEnd => ('c', &Bytes::from_static(b"eof")),
        Moment::Resize { columns, rows } => ('c', &format!("resize {columns}x{rows}").into()),
        Moment::Signal(name) => ('c', &format!("sent {name}").into()),
        Moment::Exit(how) => ('c', &how.to_owned().into()),
        Moment::Operation(line) => ('c', &line.to_owned().into()),
    };
    sheet.text().extend_from_slice(format!("{letter} {micros} {}\n", data.len()).as_bytes());
    sheet.put(data);
    sheet.text().push(b'\n');
}
