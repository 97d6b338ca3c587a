//! Values of command lines, each checked once, with an error that says what would be right.

use super::Fault;
use audit_schema::time::Timestamp;
use bastion_core::{
    consent::BadText,
    id::{AccountName, BadId},
    limits::UNIX_USER_BYTES_MAX,
};
use std::{net::SocketAddr, str::FromStr};

/// Free text that was given as the words up to the next option: over SSH the caller's own shell
/// has taken the quotes away, and what people mean by `--note disk is full` is plain.
pub fn text<T>(option: &str, words: &[String]) -> Result<T, Fault>
where
    T: FromStr<Err = BadText>,
{
    words.join(" ").parse().map_err(|bad: BadText| Fault::Usage(format!("{option}: {bad}")))
}

/// The same, where it may be left out.
pub fn opt_text<T>(option: &str, words: &[String]) -> Result<Option<T>, Fault>
where
    T: FromStr<Err = BadText>,
{
    if words.is_empty() { Ok(None) } else { text(option, words).map(Some) }
}

/// A length of time, as `90s`, `30m`, `1h` or `2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its seconds.
    pub seconds: i64,
}

impl FromStr for Span {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write a number and a unit, as 90s, 30m, 1h or 2d";
        let unit = match text.as_bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 24 * 3600,
            _ => return Err(WRONG),
        };
        // The last byte is ASCII, so this cuts between characters.
        let number = &text[..text.len() - 1];
        if number.is_empty() || number.len() > 7 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(WRONG);
        }
        match number.parse::<i64>() {
            Ok(0) => Err("the time must be longer than nothing"),
            Ok(count) => Ok(Self { seconds: count * unit }),
            Err(_) => Err(WRONG),
        }
    }
}

/// A moment: a day as `2026-11-24`, its first instant in UTC, or an instant as
/// `2026-11-24T08:02:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl FromStr for Moment {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write a day as 2026-11-24, or an instant as 2026-11-24T08:02:00Z";
        let whole = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            _ => text.to_owned(),
        };
        let seconds = whole.strip_suffix('Z').ok_or(WRONG)?;
        let spelled = match seconds.split_once('.') {
            None => format!("{seconds}.000000Z"),
            Some((_, digits)) if digits.len() == 6 => whole.clone(),
            Some(_) => return Err(WRONG),
        };
        spelled.parse().map(Self).map_err(|_| WRONG)
    }
}

/// A country by its ISO 3166-1 alpha-2 code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Country(pub String);

impl FromStr for Country {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("write the country as two capital letters, as DE (ISO 3166-1 alpha-2)")
        }
    }
}

/// A word that is shown and compared, not spoken: a course, a region, a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

impl FromStr for Word {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (1..=63).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err("use 1 to 63 of A-Z, a-z, 0-9, '-', '_' and '.'")
        }
    }
}

/// Where a VM's sshd listens: `192.0.2.7:22` or `[2001:db8::7]:22`. No name: whoever answers for a
/// name could move the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(pub String);

impl FromStr for Address {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write ADDRESS:PORT, as 192.0.2.7:22 or [2001:db8::7]:22";
        let address: SocketAddr = text.parse().map_err(|_| WRONG)?;
        if address.port() == 0 || address.to_string() != text {
            return Err(WRONG);
        }
        Ok(Self(text.to_owned()))
    }
}

/// An account of a VM as it is given: `ops:troubleshoot`, or with the Unix user it is on the VM,
/// `dba:data:postgres-admin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSpec {
    /// What operators type.
    pub name: AccountName,
    /// What it reaches.
    pub level: audit_schema::event::Level,
    /// The Unix user; the account's own name if it was not given.
    pub unix_user: String,
}

impl FromStr for AccountSpec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        use audit_schema::event::Level;
        let mut parts = text.splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        let name: AccountName = name.parse().map_err(|e: BadId| e.to_string())?;
        let level = match parts.next() {
            Some("troubleshoot") => Level::Troubleshoot,
            Some("data") => Level::Data,
            _ => return Err("write NAME:LEVEL, level `troubleshoot` or `data`".into()),
        };
        let unix_user = parts.next().unwrap_or(name.as_str()).to_owned();
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        let first = unix_user.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
        if !first || unix_user.len() > UNIX_USER_BYTES_MAX || !unix_user.bytes().all(good) {
            let letters = "a-z, 0-9, '-' and '_', starting with a letter or '_'";
            return Err(format!("a Unix user is 1 to {UNIX_USER_BYTES_MAX} of {letters}"));
        }
        Ok(Self { name, level, unix_user })
    }
}

/// A level by its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelWord(pub audit_schema::event::Level);

impl FromStr for LevelWord {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use audit_schema::event::Level;
        match text {
            "troubleshoot" => Ok(Self(Level::Troubleshoot)),
            "data" => Ok(Self(Level::Data)),
            _ => Err("the level is `troubleshoot` or `data`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_moments_and_addresses_have_one_spelling_each() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("1h", 3600), ("2d", 172_800)] {
            assert_eq!(text.parse::<Span>().unwrap().seconds, seconds);
        }
        for text in
            ["", "1", "h", "0h", "-1h", "1.5h", "1 h", "+1h", "1H", "99999999s", "1h30m", "٣h"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for (text, same) in [
            ("2026-11-24", "2026-11-24T00:00:00.000000Z"),
            ("2026-11-24T08:02:00Z", "2026-11-24T08:02:00.000000Z"),
            ("2026-11-24T08:02:00.000001Z", "2026-11-24T08:02:00.000001Z"),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().0.to_string(), same);
        }
        for text in [
            "",
            "today",
            "24.11.2026",
            "2026-13-01",
            "2026-02-30",
            "2026-11-24T08:02Z",
            "2026-11-24T08:02:00",
            "2026-11-24T08:02:00+01:00",
            "2026-11-24T08:02:00.5Z",
            "2026-11-24 08:02:00Z",
            "0000-00-00",
            "2026-11-2٤",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
        for text in ["192.0.2.7:22", "[2001:db8::7]:22"] {
            assert_eq!(text.parse::<Address>().unwrap().0, text);
        }
        for text in [
            "",
            "pg-1",
            "pg-1:22",
            "192.0.2.7",
            "192.0.2.7:0",
            "192.0.2.7:022",
            "192.0.2.7:65536",
            "2001:db8::7:22",
            "[::1:22",
            "a b:22",
            "-x:22",
            "a..b:22",
            "1.2.3:22",
            "300.1.1.1:22",
            "a:+22",
            "a/b:22",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn accounts_say_what_they_reach() {
        let spec: AccountSpec = "dba:data".parse().unwrap();
        assert_eq!((spec.name.as_str(), spec.level.as_str()), ("dba", "data"));
        assert_eq!(spec.unix_user, "dba");
        assert_eq!("ops:troubleshoot:_ops".parse::<AccountSpec>().unwrap().unix_user, "_ops");
        for text in [
            "",
            "dba",
            "dba:",
            "dba:root",
            "DBA:data",
            "dba:data:",
            "dba:data:a b",
            "dba:data:Root",
            "dba:data:x:y",
            ":data",
        ] {
            assert!(text.parse::<AccountSpec>().is_err(), "{text}");
        }
    }
}
