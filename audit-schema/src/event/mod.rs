//! The closed set of audit events.
//!
//! An event says what happened in ids, enums, times, counts and digests. Personal data and free
//! text never stand here: they are *commitments* beside the event (see [`crate::commit`]), named
//! in the docs of each event as "commits".
//!
//! ```json
//! {"channel":"exec","lease":"l-…","outcome":"completed","type":"channel.closed","v":1}
//! ```
//!
//! Evolution: a type or a field is never removed or given another meaning. What must change gets
//! a new `v`, or a new type. A verifier that meets an unknown type still verifies the chain; only
//! the fold into a report needs to know it. Times are RFC 3339 UTC with six decimals, digests and
//! fingerprints lower-case hex or OpenSSH's `SHA256:…`, counts non-negative integers.
//!
//! The set is one enum, so that no `match` can leave an event out, written in one file for each
//! idea: `log.rs`, `access.rs` and so on. Each file is a macro that hands its variants, after those
//! before, to the next; the last declares the enum. A new event goes into the file of its idea.

#[macro_use]
mod log;
#[macro_use]
mod access;
#[macro_use]
mod consent;
#[macro_use]
mod people;
#[macro_use]
mod inventory;
#[macro_use]
mod control;
mod parts;

pub use parts::{Actor, ActorKind, ChannelKind, Direction, Level, Outcome, Place, TrainingState};

use serde::{Deserialize, Serialize};

/// The version of every event type (`v`).
pub const EVENT_VERSION: u64 = 1;

/// The last of the chain: the variants of all files are here.
macro_rules! declare {
    ([] $($variants:tt)*) => {
        /// The closed set of events. The serde name of a variant is the entry's `event.type`.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "type")]
        #[allow(missing_docs)] // a variant says what its fields are; a field is named for it
        #[allow(clippy::large_enum_variant)] // an event is built once, encoded and dropped
        pub enum Event { $($variants)* }
    };
}

log_events! { [access_events consent_events people_events inventory_events control_events declare] }

impl Event {
    /// The entry's `event.type`.
    pub fn type_name(&self) -> String {
        // Serialising a closed enum with string keys cannot fail; an empty name would be refused
        // by the entry's own check, so nothing wrong could be appended.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => {
                map.get("type").and_then(|t| t.as_str()).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        }
    }
}
