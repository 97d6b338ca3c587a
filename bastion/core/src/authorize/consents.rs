//! Whether a live consent covers a request for data.
//!
//! What is permitted is what stands in the bytes that the customer signed, so those bytes are
//! parsed and their signatures verified for each channel; the ticket's row says only which
//! revision is current, whether it was taken back, and which sessions used it.

use super::{Asked, Reason, Refusal};
use crate::{
    consent::{
        ApproverKey, ReasonCode, RecordingLevel, SignatureCheck, Statement, TicketState,
        verify_signature,
    },
    id::{ApproverId, SessionId, TicketId},
    operator::Operator,
    vm::{Account, VmInstance},
};
use audit_schema::{event::Level, time::Timestamp};

/// A ticket as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentFact {
    /// The ticket.
    pub ticket: TicketId,
    /// Its current revision.
    pub revision: u64,
    /// Where it stands.
    pub state: TicketState,
    /// The exact bytes of the current revision's statement.
    pub statement: Vec<u8>,
    /// The signatures over them.
    pub signatures: Vec<SignatureFact>,
    /// The sessions that used this revision.
    pub uses: Vec<SessionId>,
}

/// A stored signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureFact {
    /// The armored signature.
    pub signature: String,
    /// The time of the entry that recorded it.
    pub decided_at: Timestamp,
}

/// The consent that a grant rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentUse {
    /// The ticket.
    pub ticket: TicketId,
    /// Its revision.
    pub revision: u64,
    /// The end of its window.
    pub not_after: Timestamp,
    /// Why access was asked for.
    pub reason: ReasonCode,
    /// What is recorded.
    pub recording: RecordingLevel,
    /// Whether the provider may open the recordings.
    pub recording_access: bool,
    /// Who signed.
    pub approvers: Vec<ApproverId>,
    /// This session did not use it before: the caller counts it, in the same transaction.
    pub first_use: bool,
}

/// The consent that covers the request; else why the nearest ticket does not.
pub(super) fn live(
    asked: &Asked<'_>,
    operator: &Operator,
    instance: &VmInstance,
    account: &Account,
) -> Result<ConsentUse, Refusal> {
    let mut nearest: Option<(Reason, TicketId)> = None;
    let mut best: Option<ConsentUse> = None;
    for fact in &asked.facts.consents {
        let place = Place { operator, instance, account };
        match covers(asked, fact, &place) {
            Ok(consent) => best = Some(better(best, consent)),
            Err(Some(reason)) => {
                let nearer = nearest.as_ref().is_none_or(|(other, _)| rank(reason) > rank(*other));
                if nearer {
                    nearest = Some((reason, fact.ticket.clone()));
                }
            }
            Err(None) => {}
        }
    }
    if let Some(best) = best {
        return Ok(best);
    }
    let (reason, ticket) = match nearest {
        Some((reason, ticket)) => (reason, Some(ticket)),
        None => (Reason::ConsentMissing, None),
    };
    Err(Refusal { ticket, ..reason.into() })
}

struct Place<'a> {
    operator: &'a Operator,
    instance: &'a VmInstance,
    account: &'a Account,
}

/// Prefer one that this session uses already, then the one that lasts longest.
fn better(known: Option<ConsentUse>, new: ConsentUse) -> ConsentUse {
    let Some(known) = known else { return new };
    let key = |c: &ConsentUse| (!c.first_use, c.not_after, std::cmp::Reverse(c.ticket.clone()));
    if key(&new) > key(&known) { new } else { known }
}

/// `Err(None)`: the ticket is about something else.
fn covers(
    asked: &Asked<'_>,
    fact: &ConsentFact,
    place: &Place<'_>,
) -> Result<ConsentUse, Option<Reason>> {
    let statement = Statement::parse(&fact.statement).map_err(|_| None)?;
    let terms = &statement.terms;
    let about = statement.customer == place.instance.customer
        && terms.account == place.account.name
        && terms.level == Level::Data
        && terms.level == place.account.level
        && terms.names(place.operator);
    if !about {
        return Err(None);
    }
    let this = &place.instance.id;
    let scoped = terms.instances.iter().find(|scoped| scoped.instance == *this);
    if scoped.is_none_or(|scoped| scoped.service != place.instance.service) {
        let earlier = terms.instances.iter().any(|scoped| scoped.vm == place.instance.vm);
        return Err(earlier.then_some(Reason::ConsentOtherInstance));
    }
    stands(asked, fact, &statement)?;
    let signatures = Signatures {
        now: asked.facts.now,
        origin: &asked.facts.origin,
        needed: asked.facts.signatures_needed,
        keys: &asked.facts.approver_keys,
    };
    let approvers = signed(&signatures, fact, &statement)?;
    Ok(ConsentUse {
        ticket: fact.ticket.clone(),
        revision: fact.revision,
        not_after: terms.not_after,
        reason: terms.reason,
        recording: terms.recording,
        recording_access: terms.recording_access,
        approvers,
        first_use: !fact.uses.contains(&asked.request.session),
    })
}

/// State, window, uses, rules.
fn stands(
    asked: &Asked<'_>,
    fact: &ConsentFact,
    statement: &Statement,
) -> Result<(), Option<Reason>> {
    let (now, terms) = (asked.facts.now, &statement.terms);
    let uses = u64::try_from(fact.uses.len()).unwrap_or(u64::MAX);
    let counted = fact.uses.contains(&asked.request.session);
    let reason = match fact.state {
        TicketState::Refused => Reason::ConsentRefused,
        TicketState::Withdrawn => Reason::ConsentWithdrawn,
        TicketState::Ended => Reason::ConsentExpired,
        _ if now >= terms.not_after => Reason::ConsentExpired,
        TicketState::Pending => Reason::ConsentPending,
        TicketState::Granted if now < terms.not_before => Reason::ConsentNotYet,
        TicketState::Granted if !counted && uses >= u64::from(terms.sessions_max) => {
            Reason::ConsentUsedUp
        }
        TicketState::Granted
            if statement.channel_rules != asked.policy.channel_rules(terms.level) =>
        {
            Reason::ConsentRulesChanged
        }
        TicketState::Granted => return Ok(()),
    };
    Err(Some(reason))
}

/// What signatures are checked against.
pub(super) struct Signatures<'a> {
    pub now: Timestamp,
    pub origin: &'a str,
    pub needed: u64,
    pub keys: &'a [ApproverKey],
}

/// The distinct approvers whose signatures hold; enough of them, by the statement and by what the
/// customer asks for now.
pub(super) fn signed(
    against: &Signatures<'_>,
    fact: &ConsentFact,
    statement: &Statement,
) -> Result<Vec<ApproverId>, Reason> {
    let mut approvers: Vec<ApproverId> = Vec::new();
    for stored in &fact.signatures {
        let check = SignatureCheck {
            statement: &fact.statement,
            signature: &stored.signature,
            origin: against.origin,
            customer: &statement.customer,
            ticket: &fact.ticket,
            revision: fact.revision,
            keys: against.keys,
            decided_at: stored.decided_at,
            signed_already: &approvers,
        };
        // One that does not hold is no reason to refuse: it only does not count.
        if stored.decided_at <= against.now
            && let Ok(signed) = verify_signature(&check)
        {
            approvers.push(signed.approver().clone());
        }
    }
    let needed = statement.signatures_needed.max(against.needed).max(1);
    if u64::try_from(approvers.len()).unwrap_or(0) < needed {
        return Err(Reason::ConsentUnsigned);
    }
    Ok(approvers)
}

/// How near a ticket came: the nearest says what to do next.
fn rank(reason: Reason) -> u8 {
    match reason {
        Reason::ConsentUnsigned => 9,
        Reason::ConsentRulesChanged => 8,
        Reason::ConsentUsedUp => 7,
        Reason::ConsentNotYet => 6,
        Reason::ConsentPending => 5,
        Reason::ConsentWithdrawn => 4,
        Reason::ConsentRefused => 3,
        Reason::ConsentExpired => 2,
        _ => 1,
    }
}
