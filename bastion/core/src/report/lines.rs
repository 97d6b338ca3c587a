//! One sentence for each event that a report lists as a change, a reading or an exception.

use audit_schema::event::{ActorKind, Event};

/// What a change is about, so that a customer is not told of people who never reached it.
pub(super) enum About {
    /// Of an operator: listed for a customer only if that operator reached it.
    Operator(String),
    /// Of whoever the entry belongs to.
    Entry,
}

/// The sentence of an event that is a change of policy, people, keys or inventory.
pub(super) fn change(event: &Event) -> Option<(About, String)> {
    let other = || {
        approvers(event)
            .or_else(|| inventory(event))
            .or_else(|| of_vm(event))
            .map(|what| (About::Entry, what))
    };
    person(event).or_else(other)
}

/// Who decides for the customer, and how that changed.
fn approvers(event: &Event) -> Option<String> {
    Some(match event {
        Event::ApproverInvited { approver, expires_at, .. } => {
            format!("approver {approver} invited, until {expires_at}")
        }
        Event::ApproverInvitationVoided { approver } => format!("invitation {approver} voided"),
        Event::ApproversChangeProposed { change, revision, statement } => {
            format!("a new set of approvers proposed as {change}, {}, {revision}", short(statement))
        }
        Event::ApproversChangeSigned { change, fingerprint, .. } => {
            format!("the new set {change} signed by {fingerprint}")
        }
        Event::ApproversChangeDropped { change } => format!("the new set {change} dropped"),
        Event::ApproversChanged { change, revision, signatures_needed, .. } => format!(
            "the set of approvers is {change} from here on, revision {revision}; a consent takes \
             {signatures_needed} signature(s)"
        ),
        Event::ApproversResetBegun { reset, effective_at } => {
            format!("officers reset all approvers ({reset}), in force at {effective_at}")
        }
        Event::ApproversResetReminded { reset, effective_at } => {
            format!("the approvers are told again of {reset}, in force at {effective_at}")
        }
        Event::ApproversResetStopped { reset } => format!("the reset {reset} stopped"),
        Event::ApproversReset { epoch, removed, reset } => format!(
            "all {} approver(s) ended by the officers' reset {reset}; VM instances from before \
             take no consent of those who follow (epoch {epoch})",
            removed.len()
        ),
        _ => return None,
    })
}

fn person(event: &Event) -> Option<(About, String)> {
    Some(match event {
        Event::OperatorAdded { operator, team, employing_entity, country } => (
            About::Operator(operator.clone()),
            format!("operator {operator} added: {team}, {employing_entity}, {country}"),
        ),
        Event::OperatorChanged { operator, team, employing_entity, country } => (
            About::Operator(operator.clone()),
            format!("operator {operator} changed: {team}, {employing_entity}, {country}"),
        ),
        Event::OperatorDisabled { operator, leases } => (
            About::Operator(operator.clone()),
            format!("operator {operator} disabled{}", ended(leases)),
        ),
        Event::OperatorEnabled { operator } => {
            (About::Operator(operator.clone()), format!("operator {operator} enabled"))
        }
        Event::TrainingRecorded { operator, course, completed_at, valid_until } => (
            About::Operator(operator.clone()),
            format!(
                "operator {operator} completed {course} at {completed_at}, valid to {valid_until}"
            ),
        ),
        Event::KeyAdded { fingerprint, role, subject } => {
            let what = format!("key {fingerprint} of {subject} added");
            (key_of(*role, subject), what)
        }
        Event::KeyRemoved { fingerprint, role, subject } => {
            let what = format!("key {fingerprint} of {subject} removed");
            (key_of(*role, subject), what)
        }
        _ => return None,
    })
}

fn key_of(role: ActorKind, subject: &str) -> About {
    match role {
        ActorKind::Operator => About::Operator(subject.to_owned()),
        _ => About::Entry,
    }
}

fn inventory(event: &Event) -> Option<String> {
    Some(match event {
        Event::OfficerAdded { officer } => format!("security officer {officer} added"),
        Event::OfficerRemoved { officer } => format!("security officer {officer} removed"),
        Event::ChangeProposed { command, proposal, digest } => {
            format!("`{command}` proposed as {proposal}, digest {}", short(digest))
        }
        Event::ChangeApproved { approver, proposal, proposer, .. } => {
            format!("change {proposal} of {proposer} approved by {approver}")
        }
        Event::ChangeRefused { proposal, proposer, .. } => {
            format!("change {proposal} of {proposer} refused")
        }
        Event::ApproverAdded { approver, .. } => format!("approver {approver} added"),
        Event::ApproverRemoved { approver } => format!("approver {approver} removed"),
        Event::CustomerAdded { signatures_needed } => {
            format!("customer taken on; a consent takes {signatures_needed} signature(s)")
        }
        Event::ServiceAdded { service, sources, .. } => {
            format!("service {service} added; operators may come from {}", from(sources))
        }
        Event::ServiceSourcesChanged { service, sources, leases } => {
            format!("service {service}: operators may come from {}{}", from(sources), ended(leases))
        }
        Event::ServiceRecordingKeyChanged { service, recording_key } => {
            format!("service {service}: recordings are sealed to another key, {recording_key}")
        }
        Event::RecordingErased { lease, recording } => {
            format!("recording {recording} of {lease} erased: its keys are destroyed")
        }
        Event::PolicyChanged { before, digest } if before.is_empty() => {
            format!("policy {} put in force", short(digest))
        }
        Event::PolicyChanged { before, digest } => {
            format!("policy changed from {} to {}", short(before), short(digest))
        }
        Event::CaChanged { action, ca, fingerprint } => format!("key {ca} {action}: {fingerprint}"),
        Event::HostCertificateIssued { instance, valid_before, .. } => {
            format!("host certificate issued for instance {instance}, valid until {valid_before}")
        }
        _ => return None,
    })
}

/// The sentence of what an officer, or its own log, says of a VM.
fn of_vm(event: &Event) -> Option<String> {
    Some(match event {
        Event::VmAdded { vm, instance, accounts, replaces, .. } => {
            let accounts = accounts.join(", ");
            match replaces {
                Some(before) => {
                    format!("{vm} rebuilt: instance {instance} replaces {before}; {accounts}")
                }
                None => format!("{vm} added as instance {instance}; {accounts}"),
            }
        }
        Event::VmBootstrapped { vm, instance, approvers, .. } => {
            let count = approvers.len();
            format!(
                "bootstrap of {vm} printed, instance {instance}; it knows {count} approver key(s)"
            )
        }
        Event::VmTouched { vm, instance, lease } => {
            format!("{vm}, instance {instance}, is touched: {lease} is root there")
        }
        Event::VmReconciled { vm, matched, unlogged, unseen, .. } => format!(
            "{vm}: its own log compared; {matched} login(s) with their entry, {unlogged} without, \
             {unseen} entries without their login"
        ),
        Event::VmLoginUnlogged { vm, reason, .. } => {
            format!("{vm} accepted a login that no entry knows ({reason})")
        }
        Event::VmLoginUnseen { vm, lease, serial, .. } => {
            format!("{vm} has no login for {lease}, entry {serial}")
        }
        Event::VmRetired { vm, instance, leases, tickets } => format!(
            "{vm} retired, instance {instance}; {} ticket(s) void{}",
            tickets.len(),
            ended(leases)
        ),
        _ => return None,
    })
}

/// The sentence of an event that is a reading.
pub(super) fn reading(event: &Event) -> Option<String> {
    Some(match event {
        Event::LogRead { command, head } => {
            format!("`{command}` at {head} entries")
        }
        Event::RecordingSearched { channels, screens } => {
            let what = if *screens { "screens" } else { "commands" };
            format!("{what} of {channels} channel(s) searched")
        }
        Event::WatchStarted { lease, ticket: Some(ticket), .. } => {
            format!("{lease} watched, under consent {ticket}")
        }
        Event::WatchStarted { lease, .. } => format!("{lease} watched"),
        Event::WatchEnded { lease, duration_ms, .. } => {
            format!("{lease} watched no more, after {} s", duration_ms / 1000)
        }
        Event::RecordingRead { lease, recording, ticket } => match ticket {
            Some(ticket) => format!("recording {recording} of {lease}, under consent {ticket}"),
            None => format!("recording {recording} of {lease}"),
        },
        _ => return None,
    })
}

fn from(sources: &[String]) -> String {
    if sources.is_empty() { "anywhere".into() } else { sources.join(", ") }
}

fn ended(leases: &[String]) -> String {
    match leases {
        [] => String::new(),
        leases => format!("; ended {}", leases.join(", ")),
    }
}

fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}
