//! The statement: the exact bytes that an approver of the customer signs.
//!
//! ```json
//! {"account":"dba","case":"ZD-1042","channel_rules":"…64 hex…","customer":"acme",
//!  "decision":"grant","instances":[{"instance":"i-7","service":"acme-pg","vm":"pg-1.acme"}],
//!  "justification":"…","level":"data","nonce":"…32 hex…","not_after":"…","not_before":"…",
//!  "opened_by":{"id":"op-1","kind":"operator"},"operators":[{"handle":"olga","id":"op-1"}],
//!  "origin":"bastion.example","policy":"…64 hex…","reason":"CUSTOMER_REQUEST","recording":"full",
//!  "recording_access":false,"revision":1,"schema":"operator-consent/v1","sessions_max":1,
//!  "signatures_needed":1,"summary":"…","ticket":"t-1"}
//! ```
//!
//! on one line of canonical JSON, without a newline. It says everything that the consent permits
//! and where it holds: the deployment's origin, the customer, the ticket and its revision, so that
//! a signature cannot be moved. `summary` says the same in plain words; it is made from the other
//! fields alone, and every reader makes it again and compares, so what a person reads is what a
//! program enforces. `channel_rules` binds: if the rules of that level are changed, the consent no
//! longer opens anything. `policy` only informs.

use crate::{
    consent::{BadTerms, Terms, Ticket},
    id::{CustomerId, TicketId},
    limits::{CONSENT_SIGNATURES_MAX, ORIGIN_BYTES_MAX, STATEMENT_BYTES_MAX},
    vm::describe_level,
};
use audit_schema::{
    canonical::{self, CanonicalError},
    event::Actor,
    hash::Hash,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, fmt::Write as _, str::FromStr};

/// The `schema` of every statement of this form.
pub const SCHEMA: &str = "operator-consent/v1";

/// The namespace that signatures over a deployment's statements carry.
pub fn namespace(origin: &str) -> String {
    format!("operator-consent@{origin}")
}

/// Sixteen random bytes that make two statements of the same terms different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub [u8; 16]);

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The deployment that it holds for.
    pub origin: String,
    /// Distinct approvers that have to sign before anything opens.
    pub signatures_needed: u64,
    /// Makes it unlike every other statement.
    pub nonce: Nonce,
    /// Digest of the channel and recording rules of its level; binding.
    pub channel_rules: Hash,
    /// Digest of the whole policy when it was composed; informative.
    pub policy: Hash,
    /// Whose data.
    pub customer: CustomerId,
    /// The ticket.
    pub ticket: TicketId,
    /// Its revision.
    pub revision: u64,
    /// Who opened the ticket.
    pub opened_by: Actor,
    /// What is permitted.
    pub terms: Terms,
}

/// What a statement needs besides its ticket.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// The deployment's name.
    pub origin: &'a str,
    /// Distinct approvers that have to sign.
    pub signatures_needed: u64,
    /// Drawn by the caller.
    pub nonce: Nonce,
    /// [`crate::policy::Policy::channel_rules`] of the level.
    pub channel_rules: Hash,
    /// [`crate::policy::Policy::digest`].
    pub policy: Hash,
}

/// Why bytes are no statement, or terms cannot make one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStatement {
    /// Longer than any that we compose.
    #[error("the statement is too long")]
    Long,
    /// Not canonical JSON.
    #[error("the statement is not as it was composed: {0}")]
    Canonical(#[from] CanonicalError),
    /// Canonical JSON, but not the fields of a statement.
    #[error("not the fields of a statement: {0}")]
    Shape(String),
    /// Another schema or decision.
    #[error("not a statement of the form {SCHEMA} with the decision `grant`")]
    Schema,
    /// Terms that cannot be permitted.
    #[error("{0}")]
    Terms(#[from] BadTerms),
    /// The number of signatures makes no sense.
    #[error("signatures needed must be 1 to {CONSENT_SIGNATURES_MAX}")]
    Signatures,
    /// An empty or unprintable origin.
    #[error(
        "the origin must be 1 to {ORIGIN_BYTES_MAX} printable ASCII characters without white space"
    )]
    Origin,
    /// The plain words do not say what the fields say.
    #[error("the summary does not say what the fields say: do not sign it")]
    Summary,
}

impl Statement {
    /// The statement of a ticket.
    pub fn of(ticket: &Ticket, frame: &Frame<'_>) -> Self {
        Self {
            origin: frame.origin.to_owned(),
            signatures_needed: frame.signatures_needed,
            nonce: frame.nonce,
            channel_rules: frame.channel_rules,
            policy: frame.policy,
            customer: ticket.customer.clone(),
            ticket: ticket.id.clone(),
            revision: ticket.revision,
            opened_by: ticket.opened_by.clone(),
            terms: ticket.terms.clone().sorted(),
        }
    }

    /// The exact bytes to sign.
    pub fn compose(&self) -> Result<Vec<u8>, BadStatement> {
        self.terms.check()?;
        if !(1..=CONSENT_SIGNATURES_MAX).contains(&self.signatures_needed) {
            return Err(BadStatement::Signatures);
        }
        let printable = self.origin.bytes().all(|b| b.is_ascii_graphic());
        if self.origin.is_empty() || self.origin.len() > ORIGIN_BYTES_MAX || !printable {
            return Err(BadStatement::Origin);
        }
        let shape = |error: serde_json::Error| BadStatement::Shape(error.to_string());
        let value = serde_json::to_value(self.wire()).map_err(shape)?;
        let bytes = canonical::encode(&value)?;
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(BadStatement::Long);
        }
        Ok(bytes)
    }

    /// The statement of exact bytes. What it parses composes to the same bytes again, so nothing
    /// in them is ignored: not a field, not a duplicate, not a spelling.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadStatement> {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(BadStatement::Long);
        }
        let value = canonical::decode(bytes)?;
        let wire: Wire = serde_json::from_value(value)
            .map_err(|error| BadStatement::Shape(error.to_string()))?;
        if wire.schema != SCHEMA || wire.decision != "grant" {
            return Err(BadStatement::Schema);
        }
        let summary = wire.summary.clone();
        let statement = wire.statement();
        if statement.summary() != summary {
            return Err(BadStatement::Summary);
        }
        if statement.compose()? != bytes {
            return Err(BadStatement::Shape("a field is unknown or spelled twice".into()));
        }
        Ok(statement)
    }

    /// What it says, in plain words: the same words for the same fields, always.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        self.write_summary(&mut out).unwrap_or_default();
        out
    }

    fn write_summary(&self, out: &mut String) -> fmt::Result {
        let t = &self.terms;
        writeln!(
            out,
            "Customer {} permits {} on the bastion {} (ticket {}, revision {}).",
            self.customer,
            describe_level(t.level),
            self.origin,
            self.ticket,
            self.revision
        )?;
        writeln!(out, "Who: {}.", self.who())?;
        let place = |i: &crate::consent::ScopedInstance| {
            format!("{} (instance {}, service {})", i.vm, i.instance, i.service)
        };
        let places: Vec<String> = t.instances.iter().map(place).collect();
        writeln!(out, "Where: {}.", places.join(", "))?;
        writeln!(out, "As: account {}, level {}.", t.account, t.level.as_str())?;
        let minutes = (t.not_after.seconds() - t.not_before.seconds()) / 60;
        writeln!(
            out,
            "When: from {} to {} ({} h {:02} min).",
            t.not_before,
            t.not_after,
            minutes / 60,
            minutes % 60
        )?;
        writeln!(out, "How often: {} session(s) at most.", t.sessions_max)?;
        writeln!(out, "Why: {} ({}).", t.reason, t.reason.words())?;
        if let Some(case) = &t.case {
            writeln!(out, "Case: {}.", case.quoted())?;
        }
        writeln!(out, "In their words: {}.", t.justification.quoted())?;
        let opened = if t.recording_access {
            "the provider may open the recordings while this consent is live"
        } else {
            "the provider may not open the recordings"
        };
        writeln!(out, "Recording: {}; {opened}.", t.recording.words())?;
        write!(out, "It takes {} approver(s) to sign.", self.signatures_needed)
    }

    fn who(&self) -> String {
        let named = |o: &crate::consent::NamedOperator| format!("{} ({})", o.handle, o.id);
        let mut who: Vec<String> = self.terms.operators.iter().map(named).collect();
        if let Some(team) = &self.terms.team {
            who.push(format!("any operator of the team \"{}\"", team.as_str()));
        }
        who.join(", ")
    }

    fn wire(&self) -> Wire {
        Wire {
            channel_rules: self.channel_rules,
            customer: self.customer.clone(),
            decision: "grant".into(),
            nonce: self.nonce,
            opened_by: self.opened_by.clone(),
            origin: self.origin.clone(),
            policy: self.policy,
            revision: self.revision,
            schema: SCHEMA.into(),
            signatures_needed: self.signatures_needed,
            summary: self.summary(),
            terms: self.terms.clone(),
            ticket: self.ticket.clone(),
        }
    }
}

/// The fields as they stand in JSON.
#[derive(Serialize, Deserialize)]
struct Wire {
    channel_rules: Hash,
    customer: CustomerId,
    decision: String,
    nonce: Nonce,
    opened_by: Actor,
    origin: String,
    policy: Hash,
    revision: u64,
    schema: String,
    signatures_needed: u64,
    summary: String,
    #[serde(flatten)]
    terms: Terms,
    ticket: TicketId,
}

impl Wire {
    fn statement(self) -> Statement {
        Statement {
            origin: self.origin,
            signatures_needed: self.signatures_needed,
            nonce: self.nonce,
            channel_rules: self.channel_rules,
            policy: self.policy,
            customer: self.customer,
            ticket: self.ticket,
            revision: self.revision,
            opened_by: self.opened_by,
            terms: self.terms,
        }
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Nonce {
    type Err = BadNonce;
    fn from_str(text: &str) -> Result<Self, BadNonce> {
        // A digest's parser knows hex; a nonce is half of one.
        let padded: Hash = format!("{text:0<64}").parse().map_err(|_| BadNonce)?;
        let half = padded.0.first_chunk::<16>().copied().map(Self);
        half.filter(|nonce| nonce.to_string() == text).ok_or(BadNonce)
    }
}

/// A text that is not 32 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 32 lower-case hex digits")]
pub struct BadNonce;

impl Serialize for Nonce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
