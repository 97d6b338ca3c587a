//! What `session replay` can be asked for. It runs on the caller's side (`cli/replay`); the gateway
//! only knows its words, to say so.

use super::Named;
use clap::{Args, ValueEnum};
use std::{path::PathBuf, str::FromStr};

/// `session replay`
#[derive(Clone, Debug, Args)]
pub struct Replay {
    /// Of which lease, l-…, or which one of it, r-… (`session show` lists them)
    #[arg(required_unless_present = "file", conflicts_with = "file", value_name = "ID")]
    pub named: Option<Named>,
    /// What `session fetch` gave, instead of a lease
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// The private key that the recording is sealed to: PEM
    #[arg(long, alias = "key", value_name = "FILE")]
    pub identity: PathBuf,
    /// How much faster than it was
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// Begin there: 90s, 1m30s or 01:30
    #[arg(long, value_name = "TIME")]
    pub from: Option<Offset>,
    /// End there
    #[arg(long, value_name = "TIME")]
    pub to: Option<Offset>,
    /// Make a pause in which nothing happened no longer than this; 2s on a terminal
    #[arg(long, value_name = "TIME")]
    pub idle_max: Option<Offset>,
    /// In which form; by default `terminal` where there is one, else `text`
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Into a new file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The same as --format text
    #[arg(long, conflicts_with = "format")]
    pub plain: bool,
    /// As it was, byte for byte: only for recordings that you trust
    #[arg(long, conflicts_with = "plain")]
    pub raw: bool,
}

/// How a recording is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The screen as it was, at the speed that it had
    Terminal,
    /// The lines of text that were on it, at once
    Text,
    /// An asciicast of the screen, for `asciinema play`
    Asciicast,
}

/// A moment of a recording, from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset {
    /// Its microseconds.
    pub micros: u64,
}

impl FromStr for Offset {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let micros = if text.contains(':') { clock(text) } else { spans(text) };
        micros.map(|micros| Self { micros }).ok_or("write a time as 90s, 1m30s, 1h, 1.5s or 01:30")
    }
}

/// `1h2m3.5s`, each unit once and in this order; a number alone is seconds.
fn spans(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut micros = 0_u64;
    for (unit, worth) in [('h', 3_600_000_000), ('m', 60_000_000), ('s', 1_000_000)] {
        if let Some((number, after)) = rest.split_once(unit) {
            micros = micros.checked_add(times(number, worth)?)?;
            rest = after;
        }
    }
    match rest {
        "" if !text.is_empty() => Some(micros),
        number if number.len() == text.len() => times(number, 1_000_000),
        _ => None,
    }
}

/// `02:01:30` or `01:30`
fn clock(text: &str) -> Option<u64> {
    let parts: Vec<&str> = text.split(':').collect();
    let worths: &[u64] = match parts.len() {
        2 => &[60_000_000, 1_000_000],
        3 => &[3_600_000_000, 60_000_000, 1_000_000],
        _ => return None,
    };
    let sum = |sum: u64, (part, worth): (&&str, &u64)| sum.checked_add(times(part, *worth)?);
    parts.iter().zip(worths).try_fold(0, sum)
}

/// A decimal number with up to six decimals, times what it counts.
fn times(number: &str, worth: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    if !digits(whole, 9) || !digits(part, 6) {
        return None;
    }
    let millionths = format!("{part:0<6}").parse::<u64>().ok()?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(worth)?;
    whole.checked_add(millionths * (worth / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90s", Some(90.0)),
            ("1m30s", Some(90.0)),
            ("01:30", Some(90.0)),
            ("1:00:00", Some(3600.0)),
            ("1.5s", Some(1.5)),
            ("2", Some(2.0)),
            ("0", Some(0.0)),
            ("1h2m", Some(3720.0)),
            ("1h2m3.25s", Some(3723.25)),
            ("", None),
            ("s", None),
            ("1s2m", None),
            ("1m2", None),
            ("-1", None),
            ("1e9", None),
            ("1:2:3:4", None),
            ("9999999999h", None),
        ] {
            let micros = text.parse::<Offset>().ok().map(|offset| offset.micros);
            assert_eq!(micros, seconds.map(|s: f64| (s * 1e6) as u64), "{text}");
        }
    }
}
