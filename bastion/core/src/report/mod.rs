//! The report: what was done to a customer's services in a period, as a fold over the log.
//!
//! ```text
//! verified entries ─▶ Fold::push ─▶ Fold::finish(verification) ─▶ Report ─▶ HTML, CSV, JSON
//! ```
//!
//! Nothing else goes in: no table of the store, no clock. So whoever has the entries and their
//! openings gets the same report, byte for byte, and every line of it names the entries that it
//! stands on. Only entries before the end of the period count: a report on last month says next
//! year what it says today (but for openings that were erased since).

mod fold;
mod lines;
mod made;
mod rows;

pub use fold::{Fold, Openings};
pub use rows::*;

use crate::id::CustomerId;
use audit_schema::time::Timestamp;
use serde::Serialize;

/// What a report is about.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose services; none: all customers.
    pub customer: Option<CustomerId>,
    /// From this moment on.
    pub from: Timestamp,
    /// Up to this moment, itself not included.
    pub to: Timestamp,
    /// For whose eyes.
    pub audience: Audience,
}

/// For whose eyes a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// The customer's: operators by pseudonym, team, employing entity and country; no names, no
    /// addresses. Whose access it was can be asked, and then is in the log.
    Customer,
    /// The provider's officers and their auditor: names and addresses too.
    Auditor,
}

/// What was found when the entries were verified, before any of them was folded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether all of it holds.
    pub holds: bool,
    /// What was checked, or the first thing that does not hold.
    pub finding: String,
    /// How many entries there are before the end of the period.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: String,
    /// The log's name.
    pub origin: String,
    /// The key that signs its checkpoints.
    pub log_key: String,
    /// Who has cosigned the log, in words; none where the policy of witnesses is not satisfied.
    pub witnessed: Option<String>,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// `bastion-report/1`.
    pub format: &'static str,
    /// For whose eyes.
    pub audience: Audience,
    /// Whose services; none: all customers.
    pub customer: Option<String>,
    /// The period's first moment.
    pub from: Timestamp,
    /// The period's end, itself not included.
    pub to: Timestamp,
    /// Whether the log holds.
    pub verification: Verification,
    /// Counts of what follows.
    pub summary: Summary,
    /// Every access: each channel that was granted and lived within the period.
    pub accesses: Vec<Access>,
    /// Every channel that was refused.
    pub refusals: Vec<Refusal>,
    /// Every consent ticket that was touched or used in the period.
    pub consents: Vec<Consent>,
    /// The services, as they were at the end of the period.
    pub services: Vec<Service>,
    /// What was changed of policy, people, keys and inventory.
    pub changes: Vec<Change>,
    /// Who read the log or a recording.
    pub readings: Vec<Change>,
    /// When a gateway was not running, or had to recover.
    pub breaks: Vec<Break>,
    /// What somebody should look at; empty is an answer too.
    pub exceptions: Vec<Change>,
    /// Entries of types that this version does not know: counted, never guessed at.
    pub unknown_entries: u64,
}
