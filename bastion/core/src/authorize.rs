//! The one place where a [`Grant`] or a [`Denial`] is made.
//!
//! The question is one channel: this operator, this VM, this account, this kind. The facts were
//! read in the transaction that will record the answer, so they cannot change before it is
//! durable. The hard rules come first, in the order in which their answers may be told: who you
//! are, then whether this VM exists for you, and only then anything about it. For data the
//! customer's signature is verified anew, from the stored bytes, each time. Cedar comes last and
//! can only refuse more.
//!
//! A grant has private fields and no other constructor: holding one means that all of this was
//! asked. A denial is an outcome like a grant: it has a stable code and is recorded before it is
//! spoken.

use crate::{
    channel::is_forward,
    code::codes,
    consent::ReasonCode,
    destination::{self, Destination, Unreachable, Wanted},
    id::{CustomerId, TicketId},
    lease::Cause,
    limits::{CHANNEL_SECONDS_MAX, COMMAND_BYTES_MAX},
    operator::Operator,
    policy::{Permit, Policy, Question, Refused},
    request::{AccessRequest, Beside},
    training::{self, Training, TrainingRecord},
    vm::{Account, Service, VmInstance},
};
use audit_schema::{
    event::{ChannelKind, Level, Place, TrainingState},
    time::Timestamp,
};

mod consents;
mod outcome;
mod recordings;
mod sentence;

pub use consents::{ConsentFact, ConsentUse, SignatureFact};
pub use outcome::{Decision, Denial, Grant};
pub use recordings::{RecordingAsked, recording_access};

/// Everything that the decision reads, gathered beforehand.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The time of the entry that will record the answer.
    pub now: Timestamp,
    /// This deployment's name.
    pub origin: String,
    /// The operator of the request, if the inventory knows them.
    pub operator: Option<Operator>,
    /// Their training records.
    pub training: Vec<TrainingRecord>,
    /// The courses that are mandatory here.
    pub required_courses: Vec<String>,
    /// The live instance of the VM of the request; absent where it is unknown or retired.
    pub instance: Option<VmInstance>,
    /// The service of that instance.
    pub service: Option<Service>,
    /// Distinct signatures that the customer asks for now.
    pub signatures_needed: u64,
    /// The customer's approver keys, removed ones included.
    pub approver_keys: Vec<crate::consent::ApproverKey>,
    /// The customer's tickets that may bear on this request; more do no harm.
    pub consents: Vec<ConsentFact>,
    /// What the inventory lists as destinations of that instance; read for forwards only.
    pub destinations: Vec<Destination>,
}

codes!(/** Why a request is denied. */ Reason {
    /// The request cannot mean anything.
    RequestMalformed = "request_malformed": "the request makes no sense",
    /// The operator is not in the inventory.
    OperatorUnknown = "operator_unknown": "the operator is unknown",
    /// The operator is disabled.
    OperatorDisabled = "operator_disabled": "the operator is disabled",
    /// No live VM instance of this name.
    VmUnknown = "vm_unknown": "no such VM",
    /// The VM exists, but policy does not let this operator know; spoken like [`Self::VmUnknown`].
    VmNotListed = "vm_not_listed": "the VM is not to be told to this operator",
    /// A fact is missing or contradicts another: nothing is granted on guesses.
    FactsIncomplete = "facts_incomplete": "the inventory contradicts itself",
    /// The VM has no such account.
    AccountUnknown = "account_unknown": "no such account on this VM",
    /// The operator's address is outside the service's ranges.
    SourceNotAllowed = "source_not_allowed": "the source address is not allowed",
    /// Mandatory training has lapsed.
    TrainingLapsed = "training_lapsed": "mandatory training has lapsed",
    /// A forward to somewhere that the inventory does not list for this VM.
    DestinationRefused = "destination_refused": "the destination is not offered",
    /// A forward from a troubleshooting account to what reaches customer data.
    DestinationOfData = "destination_of_data": "the destination reaches customer data",
    /// No ticket covers this.
    ConsentMissing = "consent_missing": "no consent covers this",
    /// A ticket covers another life of this VM.
    ConsentOtherInstance = "consent_other_instance": "the consent is for another VM instance",
    /// A ticket waits for signatures.
    ConsentPending = "consent_pending": "the consent waits for the customer",
    /// The customer refused.
    ConsentRefused = "consent_refused": "the customer refused consent",
    /// The consent was withdrawn.
    ConsentWithdrawn = "consent_withdrawn": "the consent was withdrawn",
    /// The consent is over.
    ConsentExpired = "consent_expired": "the consent is over",
    /// The consent's window has not begun.
    ConsentNotYet = "consent_not_yet": "the consent has not begun",
    /// All its sessions are used.
    ConsentUsedUp = "consent_used_up": "the consent's sessions are used up",
    /// The rules of the level changed since it was signed.
    ConsentRulesChanged = "consent_rules_changed": "the rules changed since the consent was signed",
    /// Its signatures do not verify, or are too few.
    ConsentUnsigned = "consent_unsigned": "the consent's signatures do not suffice",
    /// No statement of the policy permits it.
    PolicyNotPermitted = "policy_not_permitted": "no policy permits this",
    /// A statement of the policy forbids it.
    PolicyForbidden = "policy_forbidden": "a policy forbids this",
    /// The policy could not be evaluated.
    PolicyFailed = "policy_failed": "the policy could not be evaluated",
});

/// May they? The answer, with everything that the log, the certificate and the operator need.
pub fn authorize(request: &AccessRequest, facts: &Facts, policy: &Policy) -> Decision {
    let asked = Asked { request, facts, policy };
    match asked.decide() {
        Ok(grant) => Decision::Granted(Box::new(grant)),
        Err(refusal) => Decision::Denied(Box::new(Denial::of(&asked, refusal))),
    }
}

/// One question with all that it is answered from.
struct Asked<'a> {
    request: &'a AccessRequest,
    facts: &'a Facts,
    policy: &'a Policy,
}

/// Why not, and how much of the place may be told.
struct Refusal {
    reason: Reason,
    policies: Vec<String>,
    detail: Option<String>,
    ticket: Option<TicketId>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, policies: Vec::new(), detail: None, ticket: None }
    }
}

impl Asked<'_> {
    /// The rules, in order.
    fn decide(&self) -> Result<Grant, Refusal> {
        self.well_formed()?;
        let operator = self.operator()?;
        let instance = self.instance(operator)?;
        let service = self.service(instance)?;
        let account = instance.account(&self.request.account).ok_or(Reason::AccountUnknown)?;
        if !service.sources.allow(self.request.source) {
            return Err(Reason::SourceNotAllowed.into());
        }
        let training = self.training(operator)?;
        let consent = match account.level {
            Level::Troubleshoot => None,
            Level::Data => Some(consents::live(self, operator, instance, account)?),
        };
        let reason = consent.as_ref().map(|consent| consent.reason);
        let mut permit = self.policy(operator, instance, (account, reason), self.request.kind)?;
        alone(instance, account, &permit)?;
        let destination = self.destination(instance, account)?;
        let beside = self
            .beside(&mut permit, |kind| self.policy(operator, instance, (account, reason), kind));
        let deadline = self.deadline(&training, consent.as_ref(), &permit);
        Ok(Grant::of(
            self,
            outcome::Ground {
                operator: operator.clone(),
                instance: instance.clone(),
                account: account.clone(),
                recording_key: service.recording_key.clone(),
                training: training.states,
                consent,
                permit,
                deadline,
                destination,
                beside,
            },
        ))
    }

    /// What no policy should have to think about.
    fn well_formed(&self) -> Result<(), Refusal> {
        let r = self.request;
        let command_fits = r.command.as_ref().is_none_or(|c| c.len() <= COMMAND_BYTES_MAX);
        let shape = match r.kind {
            ChannelKind::Shell => r.command.is_none() && r.destination.is_none(),
            ChannelKind::Exec => r.command.is_some() && r.destination.is_none(),
            ChannelKind::Sftp => r.command.is_none() && r.destination.is_none() && !r.pty,
            kind => {
                let wanted = r.destination.as_ref().map(Wanted::kind);
                // Nobody asks for the agent or the display of somewhere.
                let lent = matches!(kind, ChannelKind::ForwardAgent | ChannelKind::ForwardX11);
                let meant = if lent { wanted.is_none() } else { wanted == Some(kind) };
                meant && r.command.is_none() && !r.pty && r.beside == Beside::default()
            }
        };
        if command_fits && shape { Ok(()) } else { Err(Reason::RequestMalformed.into()) }
    }

    fn operator(&self) -> Result<&Operator, Refusal> {
        let operator = self.facts.operator.as_ref().ok_or(Reason::OperatorUnknown)?;
        if operator.id != self.request.operator {
            return Err(Reason::FactsIncomplete.into());
        }
        if !operator.enabled {
            return Err(Reason::OperatorDisabled.into());
        }
        Ok(operator)
    }

    /// The live instance, if this operator may know that the VM exists.
    fn instance(&self, operator: &Operator) -> Result<&VmInstance, Refusal> {
        let instance = self.facts.instance.as_ref().ok_or(Reason::VmUnknown)?;
        if instance.vm != self.request.vm {
            return Err(Reason::FactsIncomplete.into());
        }
        match self.policy.may_list(operator, instance) {
            Ok(_) => Ok(instance),
            Err(refusal) => Err(Refusal {
                policies: refusal.policies,
                detail: refusal.errors.into_iter().next(),
                ..Reason::VmNotListed.into()
            }),
        }
    }

    fn service(&self, instance: &VmInstance) -> Result<&Service, Refusal> {
        let service = self.facts.service.as_ref().ok_or(Reason::FactsIncomplete)?;
        if service.id != instance.service || service.customer != instance.customer {
            return Err(Reason::FactsIncomplete.into());
        }
        Ok(service)
    }

    fn training(&self, operator: &Operator) -> Result<Training, Refusal> {
        let training = self.training_state(operator);
        if training.lapsed.is_empty() {
            return Ok(training);
        }
        let detail = Some(training.lapsed.join(", "));
        Err(Refusal { detail, ..Reason::TrainingLapsed.into() })
    }

    fn training_state(&self, operator: &Operator) -> Training {
        let f = self.facts;
        training::state(&operator.id, &f.training, &f.required_courses, f.now)
    }

    /// A forward goes to a listed item of this very instance, never of a higher level.
    fn destination(
        &self,
        instance: &VmInstance,
        account: &Account,
    ) -> Result<Option<Destination>, Refusal> {
        let Some(wanted) = self.request.destination.as_ref() else { return Ok(None) };
        if self.facts.destinations.iter().any(|item| item.instance != instance.id) {
            return Err(Reason::FactsIncomplete.into());
        }
        let reached = destination::reach(wanted, &self.facts.destinations, account.level);
        reached.cloned().map(Some).map_err(|why| match why {
            Unreachable::Unlisted => Reason::DestinationRefused.into(),
            Unreachable::Data => Reason::DestinationOfData.into(),
        })
    }

    /// What goes with a session channel of all that was asked for: policy may permit it or not, and
    /// the channel is granted either way.
    fn beside(
        &self,
        permit: &mut Permit,
        ask: impl Fn(ChannelKind) -> Result<Permit, Refusal>,
    ) -> Beside {
        let mut granted = Beside::default();
        for kind in self.request.beside.kinds() {
            let Ok(more) = ask(kind) else { continue };
            match kind {
                ChannelKind::ForwardAgent => granted.agent = true,
                _ => granted.x11 = true,
            }
            let shortest = permit.seconds_max.into_iter().chain(more.seconds_max).min();
            permit.seconds_max = shortest;
            permit.policies.extend(more.policies);
        }
        permit.policies.sort();
        permit.policies.dedup();
        granted
    }

    fn policy(
        &self,
        operator: &Operator,
        instance: &VmInstance,
        (account, consent): (&Account, Option<ReasonCode>),
        kind: ChannelKind,
    ) -> Result<Permit, Refusal> {
        let pty = self.request.pty && !is_forward(kind);
        let question = Question { operator, instance, account, kind, pty, consent };
        self.policy.decide(&question).map_err(|refusal| {
            let reason = match refusal.why {
                Refused::NotPermitted => Reason::PolicyNotPermitted,
                Refused::Forbidden => Reason::PolicyForbidden,
                Refused::Failed => Reason::PolicyFailed,
            };
            Refusal {
                policies: refusal.policies,
                detail: refusal.errors.into_iter().next(),
                ..reason.into()
            }
        })
    }

    /// The earliest end of all that the grant rests on.
    fn deadline(
        &self,
        training: &Training,
        consent: Option<&ConsentUse>,
        permit: &Permit,
    ) -> (Timestamp, Cause) {
        let now = self.facts.now;
        let longest = (now.plus_seconds(CHANNEL_SECONDS_MAX), Cause::Deadline);
        let policy = permit.seconds_max.map(|s| (now.plus_seconds(s), Cause::Deadline));
        let consent = consent.map(|consent| (consent.not_after, Cause::ConsentExpired));
        let training = training.until.map(|until| (until, Cause::TrainingLapsed));
        let ends = [training, consent, policy].into_iter().flatten();
        ends.fold(longest, |first, next| if next.0 < first.0 { next } else { first })
    }

    /// The place, as far as this operator may know it.
    fn place(&self, reason: Reason) -> (Option<CustomerId>, Option<Place>) {
        use Reason as R;
        let untold = [R::RequestMalformed, R::OperatorUnknown, R::OperatorDisabled, R::VmUnknown];
        if untold.contains(&reason) || matches!(reason, R::VmNotListed | R::FactsIncomplete) {
            return (None, None);
        }
        let Some(instance) = &self.facts.instance else { return (None, None) };
        let account = instance.account(&self.request.account);
        let place = account.map(|account| outcome::place(instance, account));
        (Some(instance.customer.clone()), place)
    }

    /// The training state that goes into a denial's entry.
    fn training_states(&self) -> Vec<TrainingState> {
        let operator = self.facts.operator.as_ref();
        operator.map(|operator| self.training_state(operator).states).unwrap_or_default()
    }
}

/// Where a rule says which way files may go, the account's Unix user is no other account's: what
/// that one may do would get round it.
fn alone(instance: &VmInstance, account: &Account, permit: &Permit) -> Result<(), Refusal> {
    let Some(rule) = &permit.files else { return Ok(()) };
    let is_same = |other: &&Account| other.unix_user == account.unix_user;
    if instance.accounts.iter().filter(is_same).count() == 1 {
        return Ok(());
    }
    let user = &account.unix_user;
    Err(Refusal {
        policies: rule.policies.clone(),
        detail: Some(format!("a rule on files, and another account is the Unix user {user} too")),
        ..Reason::PolicyFailed.into()
    })
}
