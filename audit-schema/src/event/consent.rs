//! Events of a customer's consent.

macro_rules! consent_events {
    ([$next:ident $($rest:ident)*] $($before:tt)*) => { $next! { [$($rest)*] $($before)*

    /// An operator asks for consent. Commits: `justification`, `case`, `handle`.
    #[serde(rename = "consent.requested")]
    ConsentRequested {
        account: String,
        instances: Vec<String>,
        level: Level,
        reason_code: String,
        revision: u64,
        service: String,
        statement: String,
        ticket: String,
    },
    /// The customer opens a ticket itself. Commits: `justification`, `case`.
    #[serde(rename = "consent.opened")]
    ConsentOpened {
        account: String,
        instances: Vec<String>,
        level: Level,
        reason_code: String,
        revision: u64,
        service: String,
        statement: String,
        ticket: String,
    },
    /// The customer signed. `statement` and `signature` are SHA-256 of the exact bytes.
    #[serde(rename = "consent.granted")]
    ConsentGranted {
        approver: String,
        fingerprint: String,
        not_after: String,
        not_before: String,
        revision: u64,
        signature: String,
        signatures_needed: u64,
        signatures_now: u64,
        statement: String,
        ticket: String,
    },
    /// The customer said no; this revision never opens. Commits: `justification`.
    #[serde(rename = "consent.refused")]
    ConsentRefused { revision: u64, ticket: String },
    /// Withdrawn: every channel that rests on it is being ended. Commits: `justification`.
    #[serde(rename = "consent.withdrawn")]
    ConsentWithdrawn { leases: Vec<String>, revision: u64, ticket: String },
    /// The window, or the wait for a decision, ran out; or the VM instance it named is gone.
    #[serde(rename = "consent.ended")]
    ConsentEnded { reason: String, revision: u64, ticket: String },

    /// The customer permits less than was asked: new terms, unsigned, and every channel that
    /// rests on the terms before is being ended.
    #[serde(rename = "consent.revised")]
    ConsentRevised {
        leases: Vec<String>,
        not_after: String,
        revision: u64,
        sessions_max: u64,
        statement: String,
        ticket: String,
    },

    } };
}
