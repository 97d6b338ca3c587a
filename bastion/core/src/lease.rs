//! A grant made usable for one channel, and why it ends.
//!
//! A lease is born with its grant, gets its certificate only after the issuance entry, is live
//! while its channel runs, and ends once: by the channel's own end, or because the ground that it
//! rests on is gone. [`next`] is the one step; live running and the recovery after a crash take
//! it alike.

use crate::code::codes;
use audit_schema::event::Outcome;

codes!(/** Why a lease ends before its channel does. */ Cause {
    /// The customer, or whoever asked, took the consent back.
    ConsentWithdrawn = "consent_withdrawn": "the consent was withdrawn",
    /// The consent's window ran out.
    ConsentExpired = "consent_expired": "the consent's time is over",
    /// The consent was revised: what was signed is no longer what is permitted.
    ConsentRevised = "consent_revised": "the terms of the consent changed",
    /// A mandatory course ran out.
    TrainingLapsed = "training_lapsed": "a mandatory training has lapsed",
    /// The operator was disabled.
    OperatorDisabled = "operator_disabled": "your access was disabled",
    /// The VM instance was rebuilt or retired.
    VmRetired = "vm_retired": "this VM instance is rebuilt or retired",
    /// The service no longer allows the operator's address.
    SourceNotAllowed = "source_not_allowed": "your address is no longer allowed for this service",
    /// A security officer ended it.
    Officer = "officer": "a security officer ended this session",
    /// Where the forward goes is not listed any more, or is data now.
    DestinationChanged = "destination_changed": "the VM's list of destinations changed",
    /// The policy in force no longer permits it.
    PolicyChanged = "policy_changed": "the policy changed and no longer permits this",
    /// The log cannot be written.
    LogUnavailable = "log_unavailable": "the audit log cannot be written",
    /// The recording cannot be written.
    RecordingFailed = "recording_failed": "the recording cannot be written",
    /// The gateway could not confirm that the lease still stands.
    Unconfirmed = "unconfirmed": "the gateway cannot confirm that this access still stands",
    /// Too few witnesses of the log have cosigned the entry, and this level demands it.
    Unwitnessed = "unwitnessed": "the log's witnesses have not cosigned the entry of this access",
    /// Nothing went through for too long.
    Idle = "idle": "nothing happened for too long",
    /// The longest life of a channel, or the policy's own bound, is reached.
    Deadline = "deadline": "the time granted for this channel is over",
    /// The operator's connection is gone.
    SessionGone = "session_gone": "the connection is gone",
    /// The gateway stops.
    GatewayStopping = "gateway_stopping": "the gateway is stopping",
});

impl Cause {
    /// What the operator reads when it happens, without a newline.
    pub fn sentence(self) -> String {
        format!("bastion: this channel ends now: {}.", self.words())
    }
}

/// Where a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Granted; waits for the entry of its certificate.
    AwaitsIssuance,
    /// Its certificate may be signed; waits for the VM.
    AwaitsVm,
    /// Bytes may pass.
    Live,
    /// The ground is gone; the channel is being ended.
    Ending(Cause),
    /// Over.
    Closed(Outcome),
}

/// What can happen to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The issuance entry is durable.
    Issued,
    /// The VM accepted the login.
    Opened,
    /// The ground is gone.
    Revoked(Cause),
    /// The channel is over.
    Closed(Outcome),
    /// A start-up found it open after a crash.
    Recovered,
}

/// An event that a lease in this state cannot meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lease in the state {state:?} cannot meet {event:?}")]
pub struct IllegalLeaseEvent {
    /// The state.
    pub state: LeaseState,
    /// The event.
    pub event: LeaseEvent,
}

/// The one step of a lease.
pub fn next(state: LeaseState, event: LeaseEvent) -> Result<LeaseState, IllegalLeaseEvent> {
    use LeaseEvent as E;
    use LeaseState as S;
    match (state, event) {
        (S::AwaitsIssuance, E::Issued) => Ok(S::AwaitsVm),
        (S::AwaitsVm, E::Opened) => Ok(S::Live),
        // The first cause stands: it is what the log will say.
        (S::Ending(first), E::Revoked(_)) => Ok(S::Ending(first)),
        (S::AwaitsIssuance | S::AwaitsVm | S::Live, E::Revoked(cause)) => Ok(S::Ending(cause)),
        // Whoever loses the ground was cut, whatever the program on the VM did meanwhile.
        (S::Ending(_), E::Closed(_)) => Ok(S::Closed(Outcome::Cut)),
        (S::Live, E::Closed(outcome)) => Ok(S::Closed(outcome)),
        (S::AwaitsIssuance | S::AwaitsVm, E::Closed(outcome)) if outcome != Outcome::Completed => {
            Ok(S::Closed(outcome))
        }
        (S::Closed(_), E::Recovered) => Err(IllegalLeaseEvent { state, event }),
        (_, E::Recovered) => Ok(S::Closed(Outcome::Failed)),
        (state, event) => Err(IllegalLeaseEvent { state, event }),
    }
}
