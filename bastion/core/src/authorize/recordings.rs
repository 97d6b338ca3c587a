//! May a recording of a data channel be opened? It is customer data, so only under a live consent
//! that says so.
//!
//! The consent need not be the one that the channel rested on: what counts is that the customer
//! permits, now, that the provider looks at what was recorded on this account of this instance.
//! Sessions are not counted, and the rules of channels do not matter: no channel is opened.

use super::{
    Reason,
    consents::{ConsentFact, Signatures, signed},
};
use crate::{
    consent::{ApproverKey, Statement, TicketState},
    id::{AccountName, CustomerId, InstanceId, TicketId},
};
use audit_schema::{event::Level, time::Timestamp};

/// What is asked about one recording.
#[derive(Clone, Debug)]
pub struct RecordingAsked<'a> {
    /// The time of the entry that will record the answer.
    pub now: Timestamp,
    /// This deployment's name.
    pub origin: &'a str,
    /// Whose data it holds.
    pub customer: &'a CustomerId,
    /// The instance that it was made on.
    pub instance: &'a InstanceId,
    /// The account that it was made on.
    pub account: &'a AccountName,
    /// That account's level.
    pub level: Level,
    /// Distinct signatures that the customer asks for now.
    pub signatures_needed: u64,
    /// The customer's approver keys, removed ones included.
    pub approver_keys: &'a [ApproverKey],
    /// The customer's tickets.
    pub consents: &'a [ConsentFact],
}

/// The ticket under which it may be opened; `None` for a recording that holds no customer data.
pub fn recording_access(asked: &RecordingAsked<'_>) -> Result<Option<TicketId>, Reason> {
    if asked.level == Level::Troubleshoot {
        return Ok(None);
    }
    let permits = |fact: &&ConsentFact| permits(asked, fact);
    let live = asked.consents.iter().find(permits);
    live.map(|fact| Some(fact.ticket.clone())).ok_or(Reason::ConsentMissing)
}

fn permits(asked: &RecordingAsked<'_>, fact: &ConsentFact) -> bool {
    let Ok(statement) = Statement::parse(&fact.statement) else { return false };
    let terms = &statement.terms;
    let about = statement.customer == *asked.customer
        && terms.covers(asked.instance)
        && terms.account == *asked.account
        && terms.level == asked.level
        && terms.recording_access;
    let live = fact.state == TicketState::Granted
        && terms.not_before <= asked.now
        && asked.now < terms.not_after;
    let signatures = Signatures {
        now: asked.now,
        origin: asked.origin,
        needed: asked.signatures_needed,
        keys: asked.approver_keys,
    };
    about && live && signed(&signatures, fact, &statement).is_ok()
}
