//! Reading a recording back: from its plaintext, piece by piece, to what happened and when.
//!
//! The plaintext has one form per kind of channel (`relay/RECORDING.md`): an asciicast, streams
//! under a line each, or JSON lines of operations. It may be gigabytes, so it is taken as it comes
//! out of the container and nothing is kept but the piece that is not whole yet.

use crate::limits::PLAYBACK_LINE_BYTES_MAX;
use serde_json::Value;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// It began: a terminal of this many columns and rows.
    Terminal(u64, u64),
    /// It began: a channel without a terminal, with what its first line says.
    Began(Value),
    /// The VM sent this.
    Output(Vec<u8>),
    /// The VM sent this on standard error.
    Error(Vec<u8>),
    /// The operator sent this.
    Input(Vec<u8>),
    /// The terminal has another size.
    Resized(u64, u64),
    /// Something besides: `eof`, `exit 0`.
    Note(String),
    /// A line of operations: sftp, a forward's connections.
    Operation(Value),
}

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Microseconds since the recording began.
    pub at_micros: u64,
    /// What.
    pub what: Happened,
}

/// A plaintext that is not what its payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recording is not in the form that its first line names")]
pub struct BadPlayback;

/// Takes plaintext apart.
pub struct Playback {
    form: Form,
    rest: Vec<u8>,
    micros: u64,
    began: bool,
    /// Exact bytes that the next event of this code is the readable form of.
    exact: Option<(String, Vec<u8>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Cast,
    Streams,
    Lines,
}

impl Playback {
    /// For the payload that a container names; one that is not known is taken for JSON lines.
    pub fn new(payload: &str) -> Self {
        let form = match payload {
            "asciicast-v3" => Form::Cast,
            "timed-streams-v1" => Form::Streams,
            _ => Form::Lines,
        };
        Self { form, rest: Vec::new(), micros: 0, began: false, exact: None }
    }

    /// The next piece of plaintext; what is whole goes to `each`.
    pub fn push<E>(
        &mut self,
        plain: &[u8],
        mut each: impl FnMut(Moment) -> Result<(), E>,
    ) -> Result<Result<(), E>, BadPlayback> {
        self.rest.extend_from_slice(plain);
        let rest = std::mem::take(&mut self.rest);
        let mut left = rest.as_slice();
        while let Some((line, after)) = cut_line(left) {
            let (moment, after) = match (self.form, self.began) {
                (Form::Streams, true) => match piece(line, after)? {
                    Some(found) => found,
                    None => break,
                },
                _ => (self.line(line)?, after),
            };
            left = after;
            if let Some(moment) = moment
                && let Err(error) = each(moment)
            {
                return Ok(Err(error));
            }
        }
        self.rest = left.to_vec();
        match self.rest.len() > PLAYBACK_LINE_BYTES_MAX {
            true => Err(BadPlayback),
            false => Ok(Ok(())),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Moment>, BadPlayback> {
        let text = String::from_utf8_lossy(line);
        if let Some(comment) = text.strip_prefix('#') {
            self.exact = exact(comment);
            return Ok(None);
        }
        let value: Value = serde_json::from_str(&text).map_err(|_| BadPlayback)?;
        if !self.began {
            self.began = true;
            return Ok(Some(Moment { at_micros: 0, what: beginning(self.form, value) }));
        }
        match self.form {
            Form::Cast => self.event(&value).map(Some),
            Form::Streams | Form::Lines => {
                self.micros = value["at_micros"].as_u64().unwrap_or(self.micros);
                let what = Happened::Operation(value);
                Ok(Some(Moment { at_micros: self.micros, what }))
            }
        }
    }

    fn event(&mut self, value: &Value) -> Result<Moment, BadPlayback> {
        let (since, code, text) = (value[0].as_f64(), value[1].as_str(), value[2].as_str());
        let (Some(since), Some(code), Some(text)) = (since, code, text) else {
            return Err(BadPlayback);
        };
        // A damaged recording's negative or absurd time is no time.
        let since = if since.is_finite() { since.clamp(0.0, 1e9) } else { 0.0 };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped above
        let since = (since * 1e6).round() as u64;
        self.micros = self.micros.saturating_add(since);
        let exact = self.exact.take().filter(|(of, _)| of == code).map(|(_, bytes)| bytes);
        let bytes = || exact.unwrap_or_else(|| text.as_bytes().to_vec());
        let what = match code {
            "o" => Happened::Output(bytes()),
            "i" => Happened::Input(bytes()),
            "r" => {
                let size = text.split_once('x').ok_or(BadPlayback)?;
                let number = |text: &str| text.parse().map_err(|_| BadPlayback);
                Happened::Resized(number(size.0)?, number(size.1)?)
            }
            "x" if text.bytes().all(|b| b.is_ascii_digit()) => {
                Happened::Note(format!("exit {text}"))
            }
            _ => Happened::Note(text.to_owned()),
        };
        Ok(Moment { at_micros: self.micros, what })
    }
}

fn cut_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    Some((&text[..end], &text[end + 1..]))
}

fn beginning(form: Form, value: Value) -> Happened {
    match form {
        Form::Cast => {
            let size = |what: &str| value["term"][what].as_u64().unwrap_or(0);
            Happened::Terminal(size("cols"), size("rows"))
        }
        Form::Streams | Form::Lines => Happened::Began(value),
    }
}

/// `# o 61ff62`
fn exact(comment: &str) -> Option<(String, Vec<u8>)> {
    let (code, hex) = comment.trim().split_once(' ')?;
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    Some((code.to_owned(), digits.map(byte).collect::<Option<_>>()?))
}

/// What stands under a line of a stream, if all of it is there.
type Found<'a> = Option<(Option<Moment>, &'a [u8])>;

fn piece<'a>(line: &[u8], after: &'a [u8]) -> Result<Found<'a>, BadPlayback> {
    let line = str::from_utf8(line).map_err(|_| BadPlayback)?;
    let mut words = line.split(' ');
    let (Some(stream), Some(micros), Some(length), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BadPlayback);
    };
    let at_micros = micros.parse().map_err(|_| BadPlayback)?;
    let length: usize = length.parse().map_err(|_| BadPlayback)?;
    if length > PLAYBACK_LINE_BYTES_MAX {
        return Err(BadPlayback);
    }
    let (Some(data), Some(b'\n')) = (after.get(..length), after.get(length)) else {
        return if after.len() > length { Err(BadPlayback) } else { Ok(None) };
    };
    let what = match stream {
        "o" => Happened::Output(data.to_vec()),
        "e" => Happened::Error(data.to_vec()),
        "i" => Happened::Input(data.to_vec()),
        "c" => Happened::Note(String::from_utf8_lossy(data).into_owned()),
        _ => return Err(BadPlayback),
    };
    Ok(Some((Some(Moment { at_micros, what }), &after[length + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(payload: &str, plain: &[u8], step: usize) -> Result<Vec<Moment>, BadPlayback> {
        let mut playback = Playback::new(payload);
        let mut all = Vec::new();
        for bytes in plain.chunks(step) {
            let pushed = playback.push(bytes, |moment| {
                all.push(moment);
                Ok::<(), ()>(())
            });
            pushed?.unwrap();
        }
        Ok(all)
    }

    #[test]
    fn every_form_is_read_whatever_the_pieces() {
        let output =
            |at_micros, bytes: &[u8]| Moment { at_micros, what: Happened::Output(bytes.to_vec()) };
        let cast = b"{\"version\":3,\"term\":{\"cols\":40,\"rows\":5}}\n[0.5, \"o\", \"a\"]\n\
            # o 61ff\n[1.25, \"o\", \"a\xef\xbf\xbd\"]\n[0, \"r\", \"9x8\"]\n[0, \"x\", \"3\"]\n";
        let streams = b"{\"command\":\"wc\"}\ni 10 2\n\n\n\no 12 3\nabc\nc 20 6\nexit 0\n";
        let lines = b"{\"version\":1}\n{\"at_micros\":5,\"operation\":\"mkdir\"}\n";
        for step in [1, 2, 7, 1000] {
            let found = moments("asciicast-v3", cast, step).unwrap();
            assert_eq!(found[0].what, Happened::Terminal(40, 5));
            assert_eq!(found[1..3], [output(500_000, b"a"), output(1_750_000, b"a\xff")]);
            assert_eq!(found[3].what, Happened::Resized(9, 8));
            assert_eq!(found[4].what, Happened::Note("exit 3".into()));
            let found = moments("timed-streams-v1", streams, step).unwrap();
            assert_eq!(found[1].what, Happened::Input(b"\n\n".to_vec()));
            assert_eq!(found[2], output(12, b"abc"));
            assert_eq!(found[3].what, Happened::Note("exit 0".into()));
            let found = moments("operations-v1", lines, step).unwrap();
            assert_eq!(found[1].at_micros, 5);
        }
    }

    #[test]
    fn what_is_not_in_its_form_is_refused() {
        for (payload, plain) in [
            ("asciicast-v3", "{}\n[\"x\"]\n"),
            ("asciicast-v3", "{}\nno json\n"),
            ("timed-streams-v1", "{}\no 1 99999999999\n"),
            ("timed-streams-v1", "{}\no 1 2\nabc\n"),
            ("timed-streams-v1", "{}\nz 1 1\na\n"),
            ("operations-v1", "{}\n\u{1b}\n"),
        ] {
            assert_eq!(moments(payload, plain.as_bytes(), 9), Err(BadPlayback), "{plain:?}");
        }
    }
}
