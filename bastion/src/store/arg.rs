//! What a placeholder stands for. Values travel beside the SQL, never in it.

use audit_schema::{event::Level, time::Timestamp};
use bastion_core::id::*;

/// A value for a `$1` placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// An integer, a time in microseconds, or a truth value (0 or 1).
    I64(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing, for a column of any type.
    Null,
    /// A `BIGINT[]`; PostgreSQL only, for inserting many rows in one statement.
    I64s(Vec<i64>),
    /// A `BYTEA[]`; PostgreSQL only.
    Blobs(Vec<Vec<u8>>),
    /// A `TEXT[]` whose members may be null; PostgreSQL only.
    Texts(Vec<Option<String>>),
}

/// The arguments of a statement: `args![id, now, note]`.
#[macro_export]
macro_rules! args {
    () => { [] as [$crate::store::Arg; 0] };
    ($($value:expr),+ $(,)?) => { [$($crate::store::Arg::from($value)),+] };
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}
impl From<u64> for Arg {
    /// Counts of this product stay below 2^53 (a line could not hold more); what is above is
    /// clamped, so that a comparison with it still answers as it should.
    fn from(value: u64) -> Self {
        Self::I64(i64::try_from(value).unwrap_or(i64::MAX))
    }
}
impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Self::I64(i64::from(value))
    }
}
impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::I64(i64::from(value))
    }
}
impl From<Timestamp> for Arg {
    fn from(value: Timestamp) -> Self {
        Self::I64(value.micros())
    }
}
impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}
impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}
impl From<&String> for Arg {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}
impl From<Vec<u8>> for Arg {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}
impl From<&[u8]> for Arg {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}
impl From<&Vec<u8>> for Arg {
    fn from(value: &Vec<u8>) -> Self {
        Self::Bytes(value.clone())
    }
}
impl From<Level> for Arg {
    fn from(value: Level) -> Self {
        Self::Text(value.as_str().to_owned())
    }
}
impl From<std::net::IpAddr> for Arg {
    fn from(value: std::net::IpAddr) -> Self {
        Self::Text(value.to_string())
    }
}
impl<T: Into<Arg>> From<Option<T>> for Arg {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! ids {
    ($($id:ty),+) => { $(
        impl From<&$id> for Arg {
            fn from(value: &$id) -> Self { Self::Text(value.as_str().to_owned()) }
        }
        impl From<$id> for Arg {
            fn from(value: $id) -> Self { Self::Text(value.as_str().to_owned()) }
        }
    )+ };
}
ids!(
    OperatorId,
    OfficerId,
    ApproverId,
    Handle,
    CustomerId,
    ServiceId,
    VmName,
    InstanceId,
    AccountName,
    TicketId,
    HoldId,
    LeaseId,
    SessionId,
    RecordingId
);
