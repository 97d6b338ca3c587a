//! Names of things: what may stand in a principal, a key id, an entry, a path.
//!
//! Each id is its own type, so that a ticket cannot be passed for a lease. All are lower-case
//! ASCII letters, digits, `-`, and (for VM names) `.`, so they need no escaping anywhere.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use std::{fmt, str::FromStr};

/// The longest id in bytes.
pub const ID_BYTES_MAX: usize = 63;

/// A text that cannot be an id of the kind that it was read for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a valid {kind}: use 1 to 63 of a-z, 0-9 and '-'{dot}, starting with a letter or digit"
)]
pub struct BadId {
    /// Which kind of id was expected.
    pub kind: &'static str,
    dot: &'static str,
}

/// Crockford's base 32 in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn check(text: &str, kind: &'static str, dotted: bool) -> Result<(), BadId> {
    let good =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || dotted && b == b'.';
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if first && text.len() <= ID_BYTES_MAX && text.bytes().all(good) && !text.contains("..") {
        Ok(())
    } else {
        Err(BadId { kind, dot: if dotted { " and '.'" } else { "" } })
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $dotted:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str { &self.0 }
            /// A new id from randomness that the caller drew: a prefix and 10 characters, 50 bits.
            pub fn from_entropy(bytes: [u8; 10]) -> Self {
                let text = bytes.iter().map(|b| char::from(ALPHABET[usize::from(b & 31)]));
                Self($prefix.chars().chain(text).collect())
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                check(text, $kind, $dotted).map(|()| Self(text.to_owned()))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

id!(/** An operator: a pseudonym, `op-…`. */ OperatorId, "operator id", false, "op-");
id!(/** A security officer: `of-…`. */ OfficerId, "officer id", false, "of-");
id!(/** A change that an officer proposed: `c-…`. */ ChangeId, "change", false, "c-");
id!(/** An approver of a customer: `ap-…`. */ ApproverId, "approver id", false, "ap-");
id!(/** A new set of approvers that waits: `as-…`. */ SetChangeId, "change", false, "as-");
id!(/** A reset of approvers: `ar-…`. */ ResetId, "reset", false, "ar-");
id!(/** What a person is called when typed: `olga`. Personal data. */ Handle, "name", true, "h-");
id!(/** A customer: `acme`. */ CustomerId, "customer id", false, "c-");
id!(/** A service of a customer: `acme-pg`. */ ServiceId, "service id", false, "s-");
id!(/** A VM's name, kept through all its lives: `pg-1.acme`. */ VmName, "VM name", true, "vm-");
id!(/** One life of a VM: `i-…`. */ InstanceId, "VM instance id", false, "i-");
id!(/** An account on a VM: `ops`. */ AccountName, "account", false, "a-");
id!(/** A destination, by the list's name. */ DestinationName, "destination", false, "d-");
id!(/** A consent ticket: `t-…`. */ TicketId, "ticket", false, "t-");
id!(/** A lease: `l-…`. */ LeaseId, "lease", false, "l-");
id!(/** A session, one operator connection: `s-…`. */ SessionId, "session", false, "s-");
id!(/** A legal hold: `h-…`. */ HoldId, "hold", false, "h-");
id!(/** A recording: `r-…`. */ RecordingId, "recording", false, "r-");
