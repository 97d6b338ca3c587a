//! One entry: one line of canonical JSON, without its newline.
//!
//! ```text
//! {"actor":{"id":"op-1f2e3d4c","kind":"operator"},"commit":{"source":"…64 hex…"},
//!  "customer":{"id":"acme","prev":"…","seq":7},"event":{"type":"session.closed","v":1,…},
//!  "gateway":"gw-1","prev":"…","seq":41,"time":"2026-11-24T08:02:00.000001Z"}
//! ```
//!
//! (Cut into three lines for this page alone.)
//!
//! `prev` is the leaf hash of entry `seq - 1`; `customer.prev` that of the customer's entry
//! `customer.seq - 1`; both are 64 zeros at the beginning. The leaf hash is SHA-256 of a zero byte
//! and the line (RFC 6962 §2.1). The exact bytes are stored and hashed; nothing is serialised
//! again to verify.

use crate::{
    canonical::{self, CanonicalError},
    event::{Actor, EVENT_VERSION, Event},
    hash::Hash,
    merkle,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The hard limit of a line in bytes: what a C2SP tlog-tiles entry bundle can hold.
pub const LINE_BYTES_MAX: usize = 65_535;

/// The version of the format that this crate writes and verifies: `format` of the genesis event.
pub const FORMAT: u64 = 1;

/// What a line should stay under; bulk goes in by digest.
pub const LINE_BYTES_TARGET: usize = 4_096;

/// Where an entry stands in the customer's own chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerLink {
    /// The customer.
    pub id: String,
    /// The leaf hash of this customer's previous entry; zeros at its first.
    pub prev: Hash,
    /// Gap-free, from 0, for this customer alone.
    pub seq: u64,
}

/// An entry as parsed from its line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Who caused it.
    pub actor: Actor,
    /// HMAC-SHA256 commitments to personal data and free text, by field; absent where there is
    /// none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "not_empty")]
    pub commit: BTreeMap<String, Hash>,
    /// The customer's own chain; absent where no customer is touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerLink>,
    /// The event: an object with at least `type` (a name) and `v` (its version).
    pub event: Value,
    /// The gateway that wrote it.
    pub gateway: String,
    /// The leaf hash of the entry before; zeros at entry 0.
    pub prev: Hash,
    /// Gap-free, from 0.
    pub seq: u64,
    /// When; never before the time of the entry before.
    pub time: Timestamp,
}

/// The exact bytes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(Vec<u8>);

/// Why something is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not canonical JSON.
    #[error("{0}")]
    Canonical(#[from] CanonicalError),
    /// Canonical JSON, but not the fields of an entry.
    #[error("not the fields of an entry: {0}")]
    Shape(String),
    /// Longer than [`LINE_BYTES_MAX`].
    #[error("longer than 65,535 bytes")]
    Long,
}

impl Entry {
    /// The line of an entry, its event as [`event_value`] made it.
    ///
    /// Fails where the entry cannot be: longer than [`LINE_BYTES_MAX`], a number beyond 2^53-1, a
    /// null or float in the event, an event without `type` and `v`.
    pub fn to_line(&self) -> Result<Line, EntryError> {
        self.type_name()?;
        let shape = |e: serde_json::Error| EntryError::Shape(e.to_string());
        // The fields are declared in the order of their names, so this is nearly always canonical
        // already; where it is not (a map that keeps insertion order), the slow way sorts.
        let mut bytes = serde_json::to_vec(self).map_err(shape)?;
        if canonical::check(&bytes).is_err() {
            bytes = canonical::encode(&serde_json::to_value(self).map_err(shape)?)?;
        }
        if bytes.len() > LINE_BYTES_MAX {
            return Err(EntryError::Long);
        }
        Ok(Line(bytes))
    }

    /// The entry of a line; exactly one spelling is accepted, and unknown event types are.
    pub fn parse(line: &[u8]) -> Result<Self, EntryError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(EntryError::Long);
        }
        canonical::check(line)?;
        let shape = |e: serde_json::Error| EntryError::Shape(e.to_string());
        let entry: Self = serde_json::from_slice(line).map_err(shape)?;
        // serde takes an array of values where an object of fields is due: one spelling only.
        if serde_json::to_vec(&entry).map_err(shape)? != line {
            return Err(EntryError::Shape("an object is spelled in another way".into()));
        }
        entry.type_name()?;
        Ok(entry)
    }

    /// The event's type and version.
    pub fn type_name(&self) -> Result<(&str, u64), EntryError> {
        let name = self.event.get("type").and_then(Value::as_str).filter(|name| !name.is_empty());
        let version = self.event.get("v").and_then(Value::as_u64);
        name.zip(version).ok_or_else(|| EntryError::Shape("event has no type and v".into()))
    }

    /// The event, or `None` for a type or version that this build does not know.
    pub fn event(&self) -> Option<Event> {
        let mut value = self.event.clone();
        let version = value.as_object_mut()?.remove("v")?;
        if version.as_u64() != Some(EVENT_VERSION) {
            return None;
        }
        serde_json::from_value(value).ok()
    }
}

/// The JSON of an event with its `v`, as it stands in an entry.
pub fn event_value(event: &Event) -> Result<Value, EntryError> {
    let mut value = serde_json::to_value(event).map_err(|e| EntryError::Shape(e.to_string()))?;
    if let Some(map) = value.as_object_mut() {
        map.insert("v".into(), EVENT_VERSION.into());
    }
    // As it will stand: a map that keeps the order of insertion has `type` first.
    value.sort_all_objects();
    Ok(value)
}

impl Line {
    /// The bytes, without a newline.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
    /// The bytes, without a newline: canonical JSON, so UTF-8.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
    /// SHA-256 of a zero byte and the line.
    pub fn leaf_hash(&self) -> Hash {
        merkle::leaf_hash(&self.0)
    }
}

/// An empty `commit` would be a second spelling of an absent one.
fn not_empty<'de, D>(deserializer: D) -> Result<BTreeMap<String, Hash>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let map = BTreeMap::deserialize(deserializer)?;
    if map.is_empty() {
        return Err(serde::de::Error::custom("commit is empty"));
    }
    Ok(map)
}
