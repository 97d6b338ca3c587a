//! Moments, to the microsecond, in exactly one spelling: `2026-11-24T08:02:00.000001Z`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// Microseconds since 1970-01-01 UTC, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not a moment in the one spelling, or a moment outside the years 0 to 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time like 2026-11-24T08:02:00.000001Z")]
pub struct BadTime;

/// 9999-12-31T23:59:59.999999Z: the last moment that RFC 3339 can spell.
const MICROS_MAX: i64 = 253_402_300_799_999_999;

impl Timestamp {
    /// A moment from microseconds since 1970 UTC; what RFC 3339 cannot spell is clamped.
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
        // `from_micros` clamps to what chrono can spell; the fallback is never reached.
        let at = DateTime::<Utc>::from_timestamp_micros(self.0).unwrap_or_default();
        f.write_str(&at.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl FromStr for Timestamp {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Self, BadTime> {
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| BadTime)?;
        let stamp = Self::from_micros(at.timestamp_micros());
        // One spelling only: what does not print as it was read was something else.
        if stamp.to_string() == text {
            Ok(stamp)
        } else {
            Err(BadTime)
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
