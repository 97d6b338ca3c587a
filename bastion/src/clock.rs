//! The wall clock, read in one place. What decides gets the time as an argument.

use audit_schema::time::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now. A clock before 1970 reads as 1970: everything that has a deadline is then expired or not
/// yet valid, so nothing is granted.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
