//! What the customer permits: a ticket, its terms and its states.
//!
//! An operator asks, or the customer opens a ticket itself; either way a ticket of revision 1 is
//! *pending* and its [`Statement`] is composed, once, as the exact bytes that approvers sign.
//! [`verify_signature`] accepts a signature over those bytes; when enough distinct approvers have
//! signed, the ticket is *granted*. Refusing ends it before, withdrawing ends it at any time, and
//! nothing reopens it: another try is another ticket. A change of terms is a new revision, and
//! earlier signatures are void because they are over other bytes.

pub use crate::{
    code::BadCode,
    sshsig::{ApproverKey, BadSignature, SignatureCheck, Signed, verify_signature},
    statement::{BadStatement, Nonce, Statement},
    text::{BadText, FreeText},
};

use crate::{
    code::codes,
    id::{AccountName, CustomerId, Handle, InstanceId, OperatorId, ServiceId, TicketId, VmName},
    limits::{
        CONSENT_INSTANCES_MAX, CONSENT_OPERATORS_MAX, CONSENT_SESSIONS_MAX,
        CONSENT_WINDOW_SECONDS_MAX,
    },
    operator::Operator,
};
use audit_schema::{
    event::{Actor, Level},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// A ticket as it is stored (`tickets.scope_json`), whatever its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// Whose data it is about.
    pub customer: CustomerId,
    /// Grows by one with each change of terms.
    pub revision: u64,
    /// Who asked: an operator, or an approver of the customer.
    pub opened_by: Actor,
    /// When this revision was composed.
    pub opened_at: Timestamp,
    /// What it permits.
    pub terms: Terms,
}

/// What a ticket permits. Everything here is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The account on each of the instances.
    pub account: AccountName,
    /// The customer's or provider's case, like `ZD-1042`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<FreeText>,
    /// The VM instances: a service is expanded when the statement is composed, so that a VM that
    /// comes later is not covered.
    pub instances: Vec<ScopedInstance>,
    /// Why, in the words of whoever asks.
    pub justification: FreeText,
    /// What the account reaches.
    pub level: Level,
    /// The end of the window.
    pub not_after: Timestamp,
    /// The start of the window.
    pub not_before: Timestamp,
    /// The operators that may use it, by name.
    pub operators: Vec<NamedOperator>,
    /// Why, as a code.
    pub reason: ReasonCode,
    /// What is recorded.
    pub recording: RecordingLevel,
    /// Whether the provider may open the recordings while the consent is live.
    pub recording_access: bool,
    /// Sessions (operator connections) at most.
    pub sessions_max: u32,
    /// A team whose members may use it, besides the named operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamName>,
}

/// A VM instance that a consent covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopedInstance {
    /// The instance: what counts.
    pub instance: InstanceId,
    /// Its service.
    pub service: ServiceId,
    /// Its VM's name, for the reader.
    pub vm: VmName,
}

/// An operator that a consent names. The id counts; the rest tells the approver who that is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedOperator {
    /// The pseudonym: what counts.
    pub id: OperatorId,
    /// What people call them. A statement is not in the log (only its digest is), so it can be
    /// erased with them.
    pub handle: Handle,
}

/// A team of operators, as the inventory spells it: printable, 1 to 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TeamName(FreeText);

impl TeamName {
    /// The team's name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl std::str::FromStr for TeamName {
    type Err = BadText;
    fn from_str(text: &str) -> Result<Self, BadText> {
        if text.chars().count() > crate::id::ID_BYTES_MAX {
            return Err(BadText::Long);
        }
        text.parse().map(Self)
    }
}

codes!(/** Why access is asked for. */ ReasonCode {
    /// The customer asked for exactly this.
    CustomerRequest = "CUSTOMER_REQUEST": "the customer asked for it",
    /// The customer opened a support case.
    CustomerInitiatedSupport = "CUSTOMER_INITIATED_SUPPORT": "a support case of the customer",
    /// The provider maintains its service.
    ProviderInitiatedService = "PROVIDER_INITIATED_SERVICE": "the provider maintains its service",
    /// An alarm rang.
    ProductionAlert = "PRODUCTION_ALERT": "an alarm in production",
    /// A security review.
    SecurityReview = "SECURITY_REVIEW": "a security review",
    /// A third party (an authority) asks for data.
    ThirdPartyDataRequest = "THIRD_PARTY_DATA_REQUEST": "a third party asks for data",
    /// Planned maintenance.
    ScheduledMaintenance = "SCHEDULED_MAINTENANCE": "planned maintenance",
});

codes!(/** What is recorded; only what the gateway enforces has a value. */ RecordingLevel {
    /// Everything typed and everything shown.
    Full = "full": "everything typed and everything shown is recorded",
    /// How much went which way and when, and its SHA-256; of files also their paths.
    Digests = "digests":
        "how much was typed and shown is recorded, with times and digests, not what",
});

impl Default for RecordingLevel {
    /// Everything, unless somebody who may say so says less.
    fn default() -> Self {
        Self::Full
    }
}

/// Terms that no statement may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each message says what the case is
pub enum BadTerms {
    #[error("the window ends before it starts: give a later end")]
    Window,
    #[error("the window is longer than 24 hours: ask for a shorter time")]
    WindowLong,
    #[error("sessions at most must be 1 to {CONSENT_SESSIONS_MAX}")]
    Sessions,
    #[error("name 1 to {CONSENT_INSTANCES_MAX} VM instances, each once, in order")]
    Instances,
    #[error("name at most {CONSENT_OPERATORS_MAX} operators, each once, in order, or a team")]
    Operators,
}

impl Terms {
    /// Lists in the one order; call before composing a statement.
    pub fn sorted(mut self) -> Self {
        self.instances.sort();
        self.instances.dedup();
        self.operators.sort();
        self.operators.dedup();
        self
    }

    /// Whether the terms are ones that a statement may have.
    pub fn check(&self) -> Result<(), BadTerms> {
        let seconds = self.not_after.seconds() - self.not_before.seconds();
        if self.not_after <= self.not_before {
            return Err(BadTerms::Window);
        }
        if seconds > CONSENT_WINDOW_SECONDS_MAX {
            return Err(BadTerms::WindowLong);
        }
        if !(1..=CONSENT_SESSIONS_MAX).contains(&self.sessions_max) {
            return Err(BadTerms::Sessions);
        }
        let in_order = self.instances.windows(2).all(|two| two[0].instance < two[1].instance);
        if self.instances.is_empty() || self.instances.len() > CONSENT_INSTANCES_MAX || !in_order {
            return Err(BadTerms::Instances);
        }
        let in_order = self.operators.windows(2).all(|two| two[0].id < two[1].id);
        let somebody = !self.operators.is_empty() || self.team.is_some();
        if !somebody || self.operators.len() > CONSENT_OPERATORS_MAX || !in_order {
            return Err(BadTerms::Operators);
        }
        Ok(())
    }

    /// Whether these terms name this operator, alone or through their team.
    pub fn names(&self, operator: &Operator) -> bool {
        self.operators.iter().any(|named| named.id == operator.id)
            || self.team.as_ref().is_some_and(|team| team.as_str() == operator.team)
    }

    /// Whether these terms cover this VM instance.
    pub fn covers(&self, instance: &InstanceId) -> bool {
        self.instances.iter().any(|scoped| scoped.instance == *instance)
    }
}

/// Where a ticket stands; the words of the `tickets.state` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketState {
    /// Waits for signatures.
    Pending,
    /// Enough approvers signed; whether its window includes now is another question.
    Granted,
    /// An approver said no.
    Refused,
    /// Taken back, by an approver or by whoever asked.
    Withdrawn,
    /// The window or the wait ran out, or what it names is gone.
    Ended,
}

impl TicketState {
    /// Every state.
    pub const ALL: &[Self] =
        &[Self::Pending, Self::Granted, Self::Refused, Self::Withdrawn, Self::Ended];
    /// The state's word in tables and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Ended => "ended",
        }
    }
    /// The state of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == word)
    }
    /// Whether nothing can follow.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Refused | Self::Withdrawn | Self::Ended)
    }
}

/// What can happen to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketEvent {
    /// An approver signed the current revision: distinct approvers so far, and how many it takes.
    Signed {
        /// Distinct approvers that signed this revision, this one included.
        now: u64,
        /// How many the customer asks for.
        needed: u64,
    },
    /// The terms changed: a new revision, without signatures.
    Revised,
    /// An approver refused.
    Refused,
    /// Withdrawn.
    Withdrawn,
    /// Time ran out, or what it names is gone.
    Ended,
}

/// An event that a ticket in this state cannot meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ticket is {}: {}", .state.as_str(), next_step(*.state))]
pub struct IllegalEvent {
    /// The state.
    pub state: TicketState,
    /// The event.
    pub event: TicketEvent,
}

fn next_step(state: TicketState) -> &'static str {
    match state {
        TicketState::Granted => "withdraw it to end it",
        TicketState::Pending => "sign, refuse or withdraw it",
        _ => "open a new ticket",
    }
}

/// The one step of a ticket; live running and replay both take it.
pub fn next(state: TicketState, event: TicketEvent) -> Result<TicketState, IllegalEvent> {
    use TicketState as S;
    match (state, event) {
        (S::Pending, TicketEvent::Signed { now, needed }) if now >= needed && needed > 0 => {
            Ok(S::Granted)
        }
        (S::Pending, TicketEvent::Signed { .. }) => Ok(S::Pending),
        (S::Pending | S::Granted, TicketEvent::Revised) => Ok(S::Pending),
        (S::Pending, TicketEvent::Refused) => Ok(S::Refused),
        (S::Pending | S::Granted, TicketEvent::Withdrawn) => Ok(S::Withdrawn),
        (S::Pending | S::Granted, TicketEvent::Ended) => Ok(S::Ended),
        (state, event) => Err(IllegalEvent { state, event }),
    }
}
