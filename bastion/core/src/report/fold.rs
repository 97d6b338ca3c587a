//! The fold: one entry after the other, and at the end the report.

mod channels;

use super::{
    Access, Audience, Break, Change, Consent, Question, Refusal, Report, Service, Signature,
    Verification,
    lines::{self, About},
    made::{At, Ticket, concerns_everybody, made, summary},
};
use audit_schema::{
    entry::Entry,
    event::{Event, Level, Outcome},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the commitments of one entry open to, by field; each was checked against its commitment.
pub type Openings = BTreeMap<String, String>;

/// A report in the making.
pub struct Fold {
    ask: Question,
    accesses: BTreeMap<String, Access>,
    refusals: Vec<Refusal>,
    tickets: BTreeMap<String, Ticket>,
    services: BTreeMap<String, Service>,
    changes: Vec<(About, Change)>,
    readings: Vec<Change>,
    exceptions: Vec<Change>,
    breaks: Vec<Break>,
    gateways: BTreeMap<String, Gateway>,
    recordings: BTreeMap<String, String>,
    customer_entries: Option<(u64, u64)>,
    unknown: u64,
}

struct Gateway {
    last: (Timestamp, u64),
    stopped: bool,
}

impl Fold {
    /// Begins with nothing.
    pub fn new(ask: Question) -> Self {
        Self {
            ask,
            accesses: BTreeMap::new(),
            refusals: Vec::new(),
            tickets: BTreeMap::new(),
            services: BTreeMap::new(),
            changes: Vec::new(),
            readings: Vec::new(),
            exceptions: Vec::new(),
            breaks: Vec::new(),
            gateways: BTreeMap::new(),
            recordings: BTreeMap::new(),
            customer_entries: None,
            unknown: 0,
        }
    }

    /// Takes the next verified entry. Those after the end of the period change nothing.
    pub fn push(&mut self, entry: &Entry, openings: &Openings) {
        if entry.time >= self.ask.to {
            return;
        }
        let within = entry.time >= self.ask.from;
        let Some(event) = entry.event() else {
            self.unknown += u64::from(within);
            return;
        };
        self.follow_gateway(entry, &event);
        let asked = self.ask.customer.as_ref();
        let owner = entry.customer.as_ref().map(|link| link.id.as_str());
        match (asked, owner) {
            (Some(asked), Some(owner)) if asked.as_str() != owner => return,
            (Some(_), Some(_)) if within => {
                let seq = entry.customer.as_ref().map_or(0, |link| link.seq);
                let first = self.customer_entries.map_or(seq, |(first, _)| first);
                self.customer_entries = Some((first, seq));
            }
            // Without a customer: only what concerns everybody is folded further down.
            (Some(_), None) if !concerns_everybody(&event) => return,
            _ => {}
        }
        let at = At { entry, openings, audience: self.ask.audience, within };
        self.fold_channel(&at, &event);
        self.fold_consent(&at, &event);
        self.fold_inventory(&at, &event);
        self.fold_lists(&at, &event);
    }

    /// The report.
    pub fn finish(mut self, verification: Verification) -> Report {
        let mut accesses: Vec<Access> = std::mem::take(&mut self.accesses).into_values().collect();
        accesses.sort_by_key(|access| access.entries.first().copied());
        accesses.iter_mut().for_each(|access| self.sign(access));
        self.note_exceptions(&accesses);
        self.close_breaks();
        let seen: BTreeSet<&str> = accesses.iter().map(|a| a.who.operator.as_str()).collect();
        let told = |about: &About| match (about, self.ask.audience) {
            (About::Operator(operator), Audience::Customer) => seen.contains(operator.as_str()),
            _ => true,
        };
        let changes = self.changes.iter().filter(|(about, _)| told(about));
        let changes: Vec<Change> = changes.map(|(_, change)| change.clone()).collect();
        let services: Vec<Service> = self.services.into_values().collect();
        let summary =
            summary(&accesses, &self.refusals, &services, self.customer_entries, seen.len());
        let consents = self.tickets.into_values().filter(|ticket| ticket.within);
        let mut consents: Vec<Consent> = consents.map(|ticket| ticket.consent).collect();
        consents.sort_by_key(|consent| consent.entries.first().copied());
        self.exceptions.sort_by_key(|exception| exception.entries.first().copied());
        Report {
            format: "bastion-report/1",
            audience: self.ask.audience,
            customer: self.ask.customer.map(|id| id.to_string()),
            from: self.ask.from,
            to: self.ask.to,
            verification,
            summary,
            accesses,
            refusals: self.refusals,
            consents,
            services,
            changes,
            readings: self.readings,
            breaks: self.breaks,
            exceptions: self.exceptions,
            unknown_entries: self.unknown,
        }
    }

    fn fold_consent(&mut self, at: &At<'_>, event: &Event) {
        match event {
            Event::ConsentRequested { .. } | Event::ConsentOpened { .. } => {
                if let Some(consent) = made(at, event) {
                    let before = self.tickets.remove(&consent.ticket);
                    let ticket = Ticket::revised(before, consent, at);
                    self.tickets.insert(ticket.consent.ticket.clone(), ticket);
                }
            }
            Event::ConsentGranted {
                ticket,
                approver,
                fingerprint,
                statement,
                signature,
                signatures_needed,
                not_before,
                not_after,
                ..
            } => {
                if let Some(ticket) = self.tickets.get_mut(ticket) {
                    ticket.consent.signatures_needed = Some(*signatures_needed);
                    ticket.consent.not_before = Some(not_before.clone());
                    ticket.consent.not_after = Some(not_after.clone());
                    ticket.consent.signatures.push(Signature {
                        approver: approver.clone(),
                        fingerprint: fingerprint.clone(),
                        at: at.entry.time,
                        statement: statement.clone(),
                        signature: signature.clone(),
                        entry: at.entry.seq,
                    });
                    ticket.touch(at);
                }
            }
            Event::ConsentRefused { ticket, .. } => self.end_ticket(ticket, "refused", at),
            Event::ConsentWithdrawn { ticket, .. } => self.end_ticket(ticket, "withdrawn", at),
            Event::ConsentEnded { ticket, reason, .. } => self.end_ticket(ticket, reason, at),
            _ => {}
        }
    }

    fn end_ticket(&mut self, ticket: &str, how: &str, at: &At<'_>) {
        if let Some(ticket) = self.tickets.get_mut(ticket) {
            ticket.consent.ended = Some(how.to_owned());
            ticket.touch(at);
        }
    }

    fn fold_inventory(&mut self, at: &At<'_>, event: &Event) {
        let seq = at.entry.seq;
        match event {
            Event::ServiceAdded { service, sources, .. } => {
                let customer = at.owner();
                let row = Service::new(service, customer, sources, seq);
                self.services.insert(service.clone(), row);
            }
            Event::ServiceSourcesChanged { service, sources, .. } => {
                if let Some(row) = self.services.get_mut(service) {
                    row.open_to(sources, seq);
                }
            }
            Event::VmAdded { service, vm, instance, replaces, .. } => {
                if let Some(before) = replaces {
                    self.retire(before);
                }
                if let Some(row) = self.services.get_mut(service) {
                    row.vms.push(format!("{vm}/{instance}"));
                    row.entries.push(seq);
                }
            }
            Event::VmRetired { instance, .. } => self.retire(instance),
            _ => {}
        }
    }

    fn retire(&mut self, instance: &str) {
        let end = format!("/{instance}");
        for row in self.services.values_mut() {
            row.vms.retain(|vm| !vm.ends_with(&end));
            row.touched.retain(|vm| !vm.ends_with(&end));
        }
    }

    fn touch_instance(&mut self, access: &Access) {
        let vm = format!("{}/{}", access.place.vm, access.place.instance);
        if let Some(row) = self.services.get_mut(&access.place.service)
            && access.place.level == Level::Data
            && !row.touched.contains(&vm)
        {
            row.touched.push(vm);
        }
    }

    fn fold_lists(&mut self, at: &At<'_>, event: &Event) {
        if !at.within {
            return;
        }
        if let Some((about, what)) = lines::change(event) {
            self.changes.push((about, at.change(what)));
        }
        if let Some(what) = lines::reading(event) {
            self.readings.push(at.change(what));
        }
        let exception = match event {
            Event::SessionEndRequested { session } => {
                format!("an officer ended {session}")
            }
            Event::Recovered { lease: Some(lease), recording: None, .. } => {
                format!("{lease} was closed by the next start: the gateway had not ended in order")
            }
            Event::ConsentWithdrawn { ticket, leases, .. } => {
                format!("consent {ticket} withdrawn; {} channel(s) ended", leases.len())
            }
            Event::ChannelClosed { lease, outcome: Outcome::Failed, reason, .. } => {
                format!("{lease} failed: {reason}")
            }
            _ => return,
        };
        self.exceptions.push(at.change(exception));
    }

    /// Puts the signatures under an access: those that stood in the log when it was granted.
    fn sign(&self, access: &mut Access) {
        let granted = access.entries.first().copied().unwrap_or_default();
        let Some(ground) = &mut access.consent else { return };
        if let Some(ticket) = self.tickets.get(&ground.ticket) {
            let consent = &ticket.consent;
            ground.reason_code = consent.reason_code.clone();
            ground.case = consent.case.clone();
            ground.justification = consent.justification.clone();
            let before = consent.signatures.iter().filter(|signature| signature.entry < granted);
            ground.signatures = before.cloned().collect();
        }
    }

    fn note_exceptions(&mut self, accesses: &[Access]) {
        for access in accesses {
            let signed =
                access.consent.as_ref().is_some_and(|ground| !ground.signatures.is_empty());
            if access.place.level == Level::Data && !signed {
                self.exceptions.push(Change {
                    at: access.granted_at,
                    event: "access.granted".into(),
                    actor: format!("operator:{}", access.who.operator),
                    what: format!("{} reached data without a signed consent", access.lease),
                    why: None,
                    entries: access.entries.clone(),
                });
            }
        }
    }

    fn follow_gateway(&mut self, entry: &Entry, event: &Event) {
        let (now, name) = ((entry.time, entry.seq), entry.gateway.clone());
        let before = self.gateways.get(&name).map(|gateway| (gateway.last, gateway.stopped));
        match event {
            Event::GatewayStarted { .. } => {
                if let Some((last, stopped)) = before
                    && entry.time >= self.ask.from
                {
                    self.breaks.push(Break {
                        gateway: name.clone(),
                        from: last.0,
                        to: Some(entry.time),
                        in_order: stopped,
                        recovered: 0,
                        entries: vec![last.1, entry.seq],
                    });
                }
            }
            Event::Recovered { .. } => {
                if let Some(latest) = self.breaks.iter_mut().rev().find(|b| b.gateway == name) {
                    latest.recovered += 1;
                }
            }
            // Reading a store whose gateway does not run does not mean that it runs.
            Event::LogRead { .. } | Event::RecordingRead { .. }
                if before.is_some_and(|(_, stopped)| stopped) =>
            {
                return;
            }
            _ => {}
        }
        let stopped = matches!(event, Event::GatewayStopped { .. });
        self.gateways.insert(name, Gateway { last: now, stopped });
    }

    fn close_breaks(&mut self) {
        for (name, gateway) in &self.gateways {
            if gateway.stopped {
                self.breaks.push(Break {
                    gateway: name.clone(),
                    from: gateway.last.0,
                    to: None,
                    in_order: true,
                    recovered: 0,
                    entries: vec![gateway.last.1],
                });
            }
        }
    }
}
