//! Rows from entries.

use super::{
    Access, Audience, Change, Consent, Ending, Forwarded, Ground, Openings, Person, Refusal, Said,
    Service, Summary, Where,
};
use audit_schema::{
    entry::Entry,
    event::{ActorKind, ChannelKind, Direction, Event, Level, Place},
    time::Timestamp,
};
use std::collections::BTreeMap;

/// A ticket in the making.
pub(super) struct Ticket {
    pub(super) consent: Consent,
    /// Whether something of it happened within the period.
    pub(super) within: bool,
}

/// An entry with what is needed to make rows of it.
pub(super) struct At<'a> {
    pub(super) entry: &'a Entry,
    pub(super) openings: &'a Openings,
    pub(super) audience: Audience,
    pub(super) within: bool,
}

impl At<'_> {
    pub(super) fn owner(&self) -> String {
        self.entry.customer.as_ref().map(|link| link.id.clone()).unwrap_or_default()
    }

    /// What a commitment opens to, for this audience.
    pub(super) fn said(&self, field: &str) -> Option<Said> {
        self.entry.commit.get(field)?;
        let names_a_person = matches!(field, "handle" | "source" | "client" | "login");
        if names_a_person && self.audience == Audience::Customer {
            return Some(Said::Withheld);
        }
        Some(match self.openings.get(field) {
            Some(text) => Said::Text(text.clone()),
            None => Said::Erased,
        })
    }

    pub(super) fn change(&self, what: String) -> Change {
        let actor = &self.entry.actor;
        Change {
            at: self.entry.time,
            event: self.entry.type_name().map(|(name, _)| name.to_owned()).unwrap_or_default(),
            actor: format!("{}:{}", kind(actor.kind), actor.id),
            what,
            why: self.said("justification"),
            entries: vec![self.entry.seq],
        }
    }
}

fn kind(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::Operator => "operator",
        ActorKind::Officer => "officer",
        ActorKind::Approver => "approver",
        ActorKind::Local => "local",
        ActorKind::Gateway => "gateway",
    }
}

/// Entries of no customer that a customer's report still lists.
pub(super) fn concerns_everybody(event: &Event) -> bool {
    matches!(
        event,
        Event::PolicyChanged { .. }
            | Event::CaChanged { .. }
            | Event::OperatorAdded { .. }
            | Event::OperatorChanged { .. }
            | Event::OperatorDisabled { .. }
            | Event::OperatorEnabled { .. }
            | Event::TrainingRecorded { .. }
            | Event::KeyAdded { role: ActorKind::Operator, .. }
            | Event::KeyRemoved { role: ActorKind::Operator, .. }
    )
}

fn place(place: &Place) -> Where {
    Where {
        service: place.service.clone(),
        vm: place.vm.clone(),
        instance: place.instance.clone(),
        account: place.account.clone(),
        level: place.level,
    }
}

pub(super) fn granted(at: &At<'_>, event: &Event) -> Option<Access> {
    let Event::AccessGranted {
        channel,
        country,
        deadline,
        employing_entity,
        lease,
        operator,
        place: to,
        policies,
        policy_digest,
        recording_level,
        revision,
        session,
        team,
        ticket,
        training,
        beside: _,
        destination: _,
    } = event
    else {
        return None;
    };
    let consent = ticket.as_ref().map(|ticket| Ground {
        ticket: ticket.clone(),
        revision: revision.unwrap_or_default(),
        reason_code: String::new(),
        case: None,
        justification: None,
        signatures: Vec::new(),
    });
    Some(Access {
        lease: lease.clone(),
        session: session.clone(),
        granted_at: at.entry.time,
        deadline: deadline.clone(),
        customer: at.owner(),
        who: Person {
            operator: operator.clone(),
            handle: at.said("handle"),
            team: team.clone(),
            employing_entity: employing_entity.clone(),
            country: country.clone(),
        },
        source: at.said("source"),
        place: place(to),
        channel: *channel,
        command: at.said("command").or_else(|| at.said("destination")),
        consent,
        training: training.clone(),
        policies: policies.clone(),
        policy_digest: policy_digest.clone(),
        certificate_serial: None,
        recording: None,
        recording_level: recording_level.clone().unwrap_or_else(|| "full".to_owned()),
        files: Vec::new(),
        file_changes: 0,
        forwards: Vec::new(),
        detected_commands: 0,
        commands_seen: None,
        ended: None,
        entries: vec![at.entry.seq],
    })
}

pub(super) fn denied(at: &At<'_>, event: &Event) -> Option<Refusal> {
    let Event::AccessDenied { place: to, channel, operator, policies, reason, training, .. } =
        event
    else {
        return None;
    };
    Some(Refusal {
        at: at.entry.time,
        customer: at.entry.customer.as_ref().map(|link| link.id.clone()),
        operator: operator.clone(),
        handle: at.said("handle"),
        source: at.said("source"),
        place: to.as_ref().map(place),
        asked: at.said("asked"),
        channel: *channel,
        command: at.said("command").or_else(|| at.said("destination")),
        reason: reason.clone(),
        policies: policies.clone(),
        training: training.clone(),
        entries: vec![at.entry.seq],
    })
}

pub(super) fn closed(at: &At<'_>, event: &Event) -> Option<Ending> {
    let Event::ChannelClosed {
        outcome,
        reason,
        exit_status,
        exit_signal,
        bytes_in,
        bytes_out,
        bytes_err,
        recording_digest,
        ..
    } = event
    else {
        return None;
    };
    Some(Ending {
        at: at.entry.time,
        outcome: Some(*outcome),
        reason: reason.clone(),
        exit_status: *exit_status,
        exit_signal: exit_signal.clone(),
        bytes_in: *bytes_in,
        bytes_out: bytes_out.saturating_add(*bytes_err),
        recording_digest: recording_digest.clone(),
        entry: at.entry.seq,
    })
}

/// A forwarded connection: one that was lent, at its beginning or end, or a channel that is one.
pub(super) fn forwarded(at: &At<'_>, event: &Event) -> Option<Forwarded> {
    let (kind, to, recording) = match event {
        Event::ForwardOpened { channel, destination, recording, .. }
        | Event::ForwardClosed { channel, destination, recording, .. } => {
            (channel, destination, recording)
        }
        Event::ChannelClosed {
            channel: kind @ (ChannelKind::ForwardLocal | ChannelKind::ForwardStreamlocal),
            destination,
            recording,
            ..
        } => (kind, destination, recording),
        _ => return None,
    };
    let begun = Forwarded {
        channel: *kind,
        destination: to.clone(),
        opened_at: at.entry.time,
        bytes_in: 0,
        bytes_out: 0,
        duration_ms: None,
        outcome: None,
        reason: String::new(),
        recording: recording.clone(),
        recording_digest: None,
        entries: vec![at.entry.seq],
    };
    let (Event::ForwardClosed {
        bytes_in,
        bytes_out,
        duration_ms,
        outcome,
        reason,
        recording_digest,
        ..
    }
    | Event::ChannelClosed {
        bytes_in,
        bytes_out,
        duration_ms,
        outcome,
        reason,
        recording_digest,
        ..
    }) = event
    else {
        return Some(begun);
    };
    let micros = i64::try_from(duration_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    Some(Forwarded {
        opened_at: Timestamp::from_micros(at.entry.time.micros().saturating_sub(micros)),
        bytes_in: *bytes_in,
        bytes_out: *bytes_out,
        duration_ms: Some(*duration_ms),
        outcome: Some(*outcome),
        reason: reason.clone(),
        recording_digest: recording_digest.clone(),
        ..begun
    })
}

pub(super) fn made(at: &At<'_>, event: &Event) -> Option<Consent> {
    let (Event::ConsentRequested {
        account,
        instances,
        level,
        reason_code,
        revision,
        service,
        ticket,
        ..
    }
    | Event::ConsentOpened {
        account,
        instances,
        level,
        reason_code,
        revision,
        service,
        ticket,
        ..
    }) = event
    else {
        return None;
    };
    Some(Consent {
        ticket: ticket.clone(),
        customer: at.owner(),
        revision: *revision,
        made_by: format!("{}:{}", kind(at.entry.actor.kind), at.entry.actor.id),
        made_at: at.entry.time,
        service: service.clone(),
        instances: instances.clone(),
        account: account.clone(),
        level: *level,
        reason_code: reason_code.clone(),
        case: at.said("case"),
        justification: at.said("justification"),
        signatures: Vec::new(),
        signatures_needed: None,
        not_before: None,
        not_after: None,
        ended: None,
        leases: Vec::new(),
        entries: Vec::new(),
    })
}

impl Ticket {
    /// A new ticket, or a new revision of one: its terms change and its signatures are void, but
    /// where it came from, and what rested on it, stay.
    pub(super) fn revised(before: Option<Self>, mut consent: Consent, at: &At<'_>) -> Self {
        let mut within = false;
        if let Some(Self { consent: old, within: was }) = before {
            consent.made_by = old.made_by;
            consent.made_at = old.made_at;
            consent.leases = old.leases;
            consent.entries = old.entries;
            within = was;
        }
        let mut ticket = Self { consent, within };
        ticket.touch(at);
        ticket
    }

    pub(super) fn touch(&mut self, at: &At<'_>) {
        self.consent.entries.push(at.entry.seq);
        self.within |= at.within;
    }
}

impl Ending {
    pub(super) fn recovered(at: &At<'_>) -> Self {
        Self {
            at: at.entry.time,
            outcome: None,
            reason: "recovered".into(),
            exit_status: None,
            exit_signal: None,
            bytes_in: 0,
            bytes_out: 0,
            recording_digest: None,
            entry: at.entry.seq,
        }
    }
}

impl Service {
    pub(super) fn new(service: &str, customer: String, sources: &[String], seq: u64) -> Self {
        let mut row = Self {
            service: service.to_owned(),
            customer,
            sources: Vec::new(),
            wide_open: true,
            vms: Vec::new(),
            touched: Vec::new(),
            entries: Vec::new(),
        };
        row.open_to(sources, seq);
        row
    }

    pub(super) fn open_to(&mut self, sources: &[String], seq: u64) {
        self.sources = sources.to_vec();
        self.wide_open = sources.is_empty() || sources.iter().any(|range| range.ends_with("/0"));
        self.entries.push(seq);
    }
}

pub(super) fn summary(
    accesses: &[Access],
    refusals: &[Refusal],
    services: &[Service],
    customer_entries: Option<(u64, u64)>,
    operators: usize,
) -> Summary {
    let count = |test: &dyn Fn(&Access) -> bool| {
        accesses.iter().filter(|access| test(access)).count() as u64
    };
    let is_data = |access: &Access| access.place.level == Level::Data;
    let is_signed = |access: &Access| {
        access.consent.as_ref().is_some_and(|ground| !ground.signatures.is_empty())
    };
    let moved = |way| {
        let files = accesses.iter().flat_map(|access| &access.files);
        files.filter(|file| file.direction == way).count() as u64
    };
    let mut by_reason = BTreeMap::new();
    for refusal in refusals {
        *by_reason.entry(refusal.reason.clone()).or_default() += 1;
    }
    Summary {
        accesses: accesses.len() as u64,
        data_accesses: count(&is_data),
        data_accesses_consented: count(&|access| is_data(access) && is_signed(access)),
        operators: operators as u64,
        refusals: refusals.len() as u64,
        refusals_by_reason: by_reason,
        files_downloaded: moved(Direction::Download),
        files_uploaded: moved(Direction::Upload),
        still_open: count(&|access| access.ended.is_none()),
        wide_open_services: services.iter().filter(|service| service.wide_open).count() as u64,
        customer_entries,
    }
}
