//! Moments, to the microsecond, in exactly one spelling: `2026-11-24T08:02:00.000001Z`.
//!
//! RFC 3339 in UTC with six decimals and a four-digit year from 1970 on: 27 bytes that sort as
//! text in the order of time.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};
use std::{fmt, str::FromStr};

/// Microseconds since 1970-01-01 UTC, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not a moment in the one spelling, or a moment outside the years 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time like 2026-11-24T08:02:00.000001Z")]
pub struct BadTime;

/// 9999-12-31T23:59:59.999999Z: the last moment that RFC 3339 can spell.
const MICROS_MAX: i64 = 253_402_300_799_999_999;

const DAY_SECONDS: i64 = 86_400;
/// Days of 400 years, after which the Gregorian calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01: years are counted from March, so that the leap day is last.
const EPOCH_DAYS: i64 = 719_468;

impl Timestamp {
    /// A moment from microseconds since 1970 UTC; what has no spelling is clamped.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(0, MICROS_MAX))
    }
    /// A moment from seconds since 1970 UTC.
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }
    /// Microseconds since 1970 UTC.
    pub fn micros(self) -> i64 {
        self.0
    }
    /// Whole seconds since 1970 UTC, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
    /// This moment, moved by seconds (negative: earlier).
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_micros(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (year, month, day) = date_of(seconds / DAY_SECONDS);
        let second = seconds % DAY_SECONDS;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

impl FromStr for Timestamp {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Self, BadTime> {
        let text: &[u8; 27] = text.as_bytes().try_into().map_err(|_| BadTime)?;
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.')];
        if text[26] != b'Z' || marks.iter().any(|(at, mark)| text[*at] != *mark) {
            return Err(BadTime);
        }
        let number = |from: usize, to: usize| {
            text[from..to].iter().try_fold(0, |sum: i64, byte| match byte {
                b'0'..=b'9' => Ok(sum * 10 + i64::from(byte - b'0')),
                _ => Err(BadTime),
            })
        };
        let date = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let days = days_of(date);
        // No leap second and no 24:00; and the 30th of February comes back as another day.
        if hour > 23 || minute > 59 || second > 59 || days < 0 || date_of(days) != date {
            return Err(BadTime);
        }
        let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second;
        Ok(Self(seconds * 1_000_000 + number(20, 26)?))
    }
}

/// Year, month and day of a day since 1970-01-01, for days from 0 on.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// Days since 1970-01-01 of a date of four, two and two digits; any date that is none gives the
/// days of another one, or a negative number.
fn days_of((year, month, day): (i64, i64, i64)) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let day = (153 * month + 2) / 5 + day - 1;
    era * ERA_DAYS + year * 365 + year / 4 - year / 100 + day - EPOCH_DAYS
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time like 2026-11-24T08:02:00.000001Z")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}
