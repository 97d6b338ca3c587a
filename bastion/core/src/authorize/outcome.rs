//! What a decision is: a grant or a denial, each with the event that records it.

use super::{Asked, ConsentUse, Reason, Refusal};
use crate::{
    consent::RecordingLevel,
    destination::Destination,
    file_rule::FileRule,
    id::{CustomerId, LeaseId, SessionId, TicketId},
    lease::Cause,
    operator::Operator,
    policy::Permit,
    request::{AccessRequest, Beside},
    vm::{Account, VmInstance},
};
use audit_schema::{
    event::{ChannelKind, Event, Level, Place, TrainingState},
    hash::Hash,
    time::Timestamp,
};

/// May they?
#[derive(Clone, Debug)]
#[must_use]
pub enum Decision {
    /// Yes, until the grant's deadline.
    Granted(Box<Grant>),
    /// No, and why.
    Denied(Box<Denial>),
}

/// A yes. Only [`super::authorize`] makes one.
#[derive(Clone, Debug)]
pub struct Grant {
    request: AccessRequest,
    ground: Ground,
    policy_digest: Hash,
    granted_at: Timestamp,
}

/// What a grant rests on.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub operator: Operator,
    pub instance: VmInstance,
    pub account: Account,
    pub recording_key: String,
    pub training: Vec<TrainingState>,
    pub consent: Option<ConsentUse>,
    pub permit: Permit,
    pub deadline: (Timestamp, Cause),
    pub destination: Option<Destination>,
    pub beside: Beside,
}

impl Grant {
    pub(super) fn of(asked: &Asked<'_>, ground: Ground) -> Self {
        Self {
            request: asked.request.clone(),
            ground,
            policy_digest: asked.policy.digest(),
            granted_at: asked.facts.now,
        }
    }

    /// What was asked.
    pub fn request(&self) -> &AccessRequest {
        &self.request
    }
    /// The lease that it is for.
    pub fn lease(&self) -> &LeaseId {
        &self.request.lease
    }
    /// The session that it is part of.
    pub fn session(&self) -> &SessionId {
        &self.request.session
    }
    /// What kind of channel.
    pub fn kind(&self) -> ChannelKind {
        self.request.kind
    }
    /// Whether a terminal goes with it.
    pub fn pty(&self) -> bool {
        self.request.pty
    }
    /// `host:port` of the VM's sshd.
    pub fn address(&self) -> &str {
        &self.ground.instance.address
    }
    /// The Unix user to log in as.
    pub fn unix_user(&self) -> &str {
        &self.ground.account.unix_user
    }
    /// PEM of the key to which recordings of data channels of this service are sealed.
    pub fn recording_key(&self) -> &str {
        &self.ground.recording_key
    }
    /// Who.
    pub fn operator(&self) -> &Operator {
        &self.ground.operator
    }
    /// Where: the VM instance with its address.
    pub fn instance(&self) -> &VmInstance {
        &self.ground.instance
    }
    /// As whom.
    pub fn account(&self) -> &Account {
        &self.ground.account
    }
    /// What that reaches.
    pub fn level(&self) -> Level {
        self.ground.account.level
    }
    /// Whose data.
    pub fn customer(&self) -> &CustomerId {
        &self.ground.instance.customer
    }
    /// The consent that it rests on; always there for data.
    pub fn consent(&self) -> Option<&ConsentUse> {
        self.ground.consent.as_ref()
    }
    /// The ticket of that consent.
    pub fn ticket(&self) -> Option<&TicketId> {
        self.ground.consent.as_ref().map(|consent| &consent.ticket)
    }
    /// The training state that was found.
    pub fn training(&self) -> &[TrainingState] {
        &self.ground.training
    }
    /// The command that the certificate forces.
    pub fn force_command(&self) -> Option<&str> {
        self.ground.permit.force_command.as_deref()
    }
    /// What is recorded: as the customer signed, or else as the policy says.
    pub fn recording_level(&self) -> RecordingLevel {
        self.consent().map_or(self.ground.permit.recording, |consent| consent.recording)
    }
    /// Which way files may go; nothing if either way.
    pub fn file_rule(&self) -> Option<&FileRule> {
        self.ground.permit.files.as_ref()
    }
    /// The listed item that a forward goes to.
    pub fn destination(&self) -> Option<&Destination> {
        self.ground.destination.as_ref()
    }
    /// Its name, as entries have it.
    pub fn destination_name(&self) -> Option<String> {
        self.destination().map(|item| item.name.to_string())
    }
    /// What goes with a session channel.
    pub fn beside(&self) -> Beside {
        self.ground.beside
    }
    /// The ids of the deciding policies.
    pub fn policies(&self) -> &[String] {
        &self.ground.permit.policies
    }
    /// The policy that decided.
    pub fn policy_digest(&self) -> Hash {
        self.policy_digest
    }
    /// When it was granted.
    pub fn granted_at(&self) -> Timestamp {
        self.granted_at
    }
    /// When it is over at the latest.
    pub fn deadline(&self) -> Timestamp {
        self.ground.deadline.0
    }
    /// What it is that ends then.
    pub fn deadline_cause(&self) -> Cause {
        self.ground.deadline.1
    }
    /// The place, as entries name it.
    pub fn place(&self) -> Place {
        place(&self.ground.instance, &self.ground.account)
    }

    /// The event that records it. Personal data goes beside it as commitments: `source`,
    /// `command`, `handle`.
    pub fn event(&self) -> Event {
        let operator = &self.ground.operator;
        Event::AccessGranted {
            beside: self.beside().kinds().collect(),
            destination: self.destination_name(),
            channel: self.request.kind,
            country: operator.country.clone(),
            deadline: self.ground.deadline.0.to_string(),
            employing_entity: operator.employing_entity.clone(),
            lease: self.request.lease.to_string(),
            operator: operator.id.to_string(),
            place: self.place(),
            policies: self.policies().to_vec(),
            policy_digest: self.policy_digest.to_string(),
            recording_level: match self.recording_level() {
                RecordingLevel::Full => None,
                less => Some(less.to_string()),
            },
            revision: self.consent().map(|consent| consent.revision),
            session: self.request.session.to_string(),
            team: operator.team.clone(),
            ticket: self.ticket().map(ToString::to_string),
            training: self.ground.training.clone(),
        }
    }
}

/// A no. Only [`super::authorize`] makes one.
#[derive(Clone, Debug)]
pub struct Denial {
    pub(super) request: AccessRequest,
    pub(super) reason: Reason,
    pub(super) policies: Vec<String>,
    policy_digest: Hash,
    pub(super) detail: Option<String>,
    pub(super) ticket: Option<TicketId>,
    customer: Option<CustomerId>,
    place: Option<Place>,
    training: Vec<TrainingState>,
}

impl Denial {
    pub(super) fn of(asked: &Asked<'_>, refusal: Refusal) -> Self {
        let (customer, place) = asked.place(refusal.reason);
        Self {
            request: asked.request.clone(),
            reason: refusal.reason,
            policies: refusal.policies,
            policy_digest: asked.policy.digest(),
            detail: refusal.detail,
            ticket: refusal.ticket,
            customer,
            place,
            training: asked.training_states(),
        }
    }

    /// What was asked.
    pub fn request(&self) -> &AccessRequest {
        &self.request
    }
    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }
    /// The reason as the operator may know it: unknown and not-to-be-told are one.
    pub fn spoken_reason(&self) -> Reason {
        match self.reason {
            Reason::VmNotListed => Reason::VmUnknown,
            reason => reason,
        }
    }
    /// The ids of the policies that forbid it.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }
    /// More about the reason, for our own log: evaluation errors, lapsed courses.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
    /// The ticket that came nearest.
    pub fn ticket(&self) -> Option<&TicketId> {
        self.ticket.as_ref()
    }
    /// Whose VM it is about; absent where the VM is unknown or not to be told.
    pub fn customer(&self) -> Option<&CustomerId> {
        self.customer.as_ref()
    }
    /// Where; absent where the VM or the account is unknown or not to be told.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The event that records it. Personal data goes beside it as commitments: `source`,
    /// `command`, `handle`, `asked`.
    pub fn event(&self) -> Event {
        Event::AccessDenied {
            place: self.place.clone(),
            channel: self.request.kind,
            operator: self.request.operator.to_string(),
            policies: self.policies.clone(),
            policy_digest: self.policy_digest.to_string(),
            reason: self.reason.as_str().to_owned(),
            session: self.request.session.to_string(),
            training: self.training.clone(),
        }
    }
}

pub(super) fn place(instance: &VmInstance, account: &Account) -> Place {
    Place {
        account: account.name.to_string(),
        instance: instance.id.to_string(),
        level: account.level,
        service: instance.service.to_string(),
        vm: instance.vm.to_string(),
    }
}
