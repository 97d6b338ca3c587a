//! A report as CSV files, one for each list. Times are UTC; the last column names the entries.

use super::words;
use bastion_core::{
    escape,
    report::{Access, Change, Report, Said},
};

/// One file for each list; a list that is empty still has its file, with its first line.
pub(super) fn files(report: &Report) -> Vec<(String, Vec<u8>)> {
    vec![
        ("verification.csv".into(), verification(report)),
        ("population.csv".into(), population(report)),
        ("files.csv".into(), transfers(report)),
        ("forwards.csv".into(), forwards(report)),
        ("refusals.csv".into(), refusals(report)),
        ("consents.csv".into(), consents(report)),
        ("services.csv".into(), services(report)),
        ("changes.csv".into(), changes(&report.changes)),
        ("readings.csv".into(), changes(&report.readings)),
        ("exceptions.csv".into(), changes(&report.exceptions)),
        ("breaks.csv".into(), breaks(report)),
    ]
}

/// Rows of fields; every field is escaped here and nowhere else.
struct Sheet {
    text: String,
    width: usize,
}

impl Sheet {
    fn new(heads: &[&str]) -> Self {
        let mut sheet = Self { text: String::new(), width: heads.len() };
        sheet.row(heads);
        sheet
    }
    fn row<T: AsRef<str>>(&mut self, fields: &[T]) {
        debug_assert_eq!(fields.len(), self.width, "a row as wide as its head");
        let fields: Vec<String> = fields.iter().map(|f| escape::csv(f.as_ref())).collect();
        self.text += &fields.join(",");
        self.text += "\r\n";
    }
    fn bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}

fn verification(report: &Report) -> Vec<u8> {
    let found = &report.verification;
    let mut sheet = Sheet::new(&["what", "value"]);
    let mut row = |what: &str, value: &str| sheet.row(&[what, value]);
    row("holds", if found.holds { "yes" } else { "NO" });
    row("finding", &found.finding);
    row("witnessed", found.witnessed.as_deref().unwrap_or("no (unwitnessed)"));
    row("origin", &found.origin);
    row("log key", &found.log_key);
    row("entries", &found.size.to_string());
    row("root", &found.root);
    row("from", &report.from.to_string());
    row("to", &report.to.to_string());
    row("customer", report.customer.as_deref().unwrap_or("all"));
    if let Some((first, last)) = report.summary.customer_entries {
        row("customer's first entry in the period", &first.to_string());
        row("customer's last entry in the period", &last.to_string());
    }
    sheet.bytes()
}

fn population(report: &Report) -> Vec<u8> {
    let mut sheet = Sheet::new(&[
        "granted_at",
        "ended_at",
        "lease",
        "session",
        "customer",
        "operator",
        "handle",
        "team",
        "employing_entity",
        "country",
        "source",
        "service",
        "vm",
        "instance",
        "account",
        "level",
        "channel",
        "command",
        "ticket",
        "revision",
        "reason_code",
        "case",
        "justification",
        "signed_by",
        "training",
        "policies",
        "policy_digest",
        "certificate_serial",
        "outcome",
        "reason",
        "exit_status",
        "bytes_in",
        "bytes_out",
        "files",
        "forwards",
        "detected_commands_an_aid",
        "recording",
        "recording_level",
        "recording_sha256",
        "entries",
    ]);
    for access in &report.accesses {
        sheet.row(&access_fields(access));
    }
    sheet.bytes()
}

fn access_fields(access: &Access) -> Vec<String> {
    let ended = access.ended.as_ref();
    let ground = access.consent.as_ref();
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let text = |said: Option<&Option<Said>>| said.map(words::said).unwrap_or_default();
    let signed: Vec<String> = ground
        .map(|ground| ground.signatures.iter())
        .into_iter()
        .flatten()
        .map(|s| format!("{} {} entry {}", s.approver, s.fingerprint, s.entry))
        .collect();
    vec![
        access.granted_at.to_string(),
        ended.map(|e| e.at.to_string()).unwrap_or_default(),
        access.lease.clone(),
        access.session.clone(),
        access.customer.clone(),
        access.who.operator.clone(),
        words::said(&access.who.handle),
        access.who.team.clone(),
        access.who.employing_entity.clone(),
        access.who.country.clone(),
        words::said(&access.source),
        access.place.service.clone(),
        access.place.vm.clone(),
        access.place.instance.clone(),
        access.place.account.clone(),
        access.place.level.as_str().to_owned(),
        access.channel.as_str().to_owned(),
        words::said(&access.command),
        ground.map(|g| g.ticket.clone()).unwrap_or_default(),
        number(ground.map(|g| g.revision)),
        ground.map(|g| g.reason_code.clone()).unwrap_or_default(),
        text(ground.map(|g| &g.case)),
        text(ground.map(|g| &g.justification)),
        signed.join("; "),
        words::training(&access.training),
        access.policies.join(" "),
        access.policy_digest.clone(),
        number(access.certificate_serial),
        words::ending(&access.ended),
        ended.map(|e| e.reason.clone()).unwrap_or_default(),
        number(ended.and_then(|e| e.exit_status)),
        number(ended.map(|e| e.bytes_in)),
        number(ended.map(|e| e.bytes_out)),
        access.files.len().to_string(),
        access.forwards.len().to_string(),
        words::said(&access.commands_seen),
        access.recording.clone().unwrap_or_default(),
        access.recording_level.clone(),
        ended.and_then(|e| e.recording_digest.clone()).unwrap_or_default(),
        words::entries(&access.entries),
    ]
}

fn transfers(report: &Report) -> Vec<u8> {
    let mut sheet =
        Sheet::new(&["lease", "direction", "path", "bytes", "sha256", "complete", "entries"]);
    for access in &report.accesses {
        for file in &access.files {
            sheet.row(&[
                access.lease.clone(),
                words::direction(file.direction).to_owned(),
                words::said(&file.path),
                file.bytes.to_string(),
                file.sha256.clone(),
                file.complete.to_string(),
                file.entry.to_string(),
            ]);
        }
    }
    sheet.bytes()
}

fn forwards(report: &Report) -> Vec<u8> {
    let mut sheet = Sheet::new(&[
        "lease",
        "channel",
        "destination",
        "opened_at",
        "bytes_in",
        "bytes_out",
        "duration_ms",
        "outcome",
        "reason",
        "recording",
        "recording_sha256",
        "entries",
    ]);
    for access in &report.accesses {
        for forwarded in &access.forwards {
            sheet.row(&[
                access.lease.clone(),
                forwarded.channel.as_str().to_owned(),
                forwarded.destination.clone().unwrap_or_default(),
                forwarded.opened_at.to_string(),
                forwarded.bytes_in.to_string(),
                forwarded.bytes_out.to_string(),
                forwarded.duration_ms.map(|ms| ms.to_string()).unwrap_or_default(),
                words::outcome(forwarded.outcome).to_owned(),
                forwarded.reason.clone(),
                forwarded.recording.clone(),
                forwarded.recording_digest.clone().unwrap_or_default(),
                words::entries(&forwarded.entries),
            ]);
        }
    }
    sheet.bytes()
}

fn refusals(report: &Report) -> Vec<u8> {
    let mut sheet = Sheet::new(&[
        "at", "customer", "operator", "handle", "source", "service", "vm", "instance", "account",
        "level", "asked", "channel", "command", "reason", "policies", "training", "entries",
    ]);
    for refusal in &report.refusals {
        let place = refusal.place.as_ref();
        sheet.row(&[
            refusal.at.to_string(),
            refusal.customer.clone().unwrap_or_default(),
            refusal.operator.clone(),
            words::said(&refusal.handle),
            words::said(&refusal.source),
            place.map(|p| p.service.clone()).unwrap_or_default(),
            place.map(|p| p.vm.clone()).unwrap_or_default(),
            place.map(|p| p.instance.clone()).unwrap_or_default(),
            place.map(|p| p.account.clone()).unwrap_or_default(),
            place.map(|p| p.level.as_str().to_owned()).unwrap_or_default(),
            words::said(&refusal.asked),
            refusal.channel.as_str().to_owned(),
            words::said(&refusal.command),
            refusal.reason.clone(),
            refusal.policies.join(" "),
            words::training(&refusal.training),
            words::entries(&refusal.entries),
        ]);
    }
    sheet.bytes()
}

fn consents(report: &Report) -> Vec<u8> {
    let mut sheet = Sheet::new(&[
        "made_at",
        "ticket",
        "revision",
        "customer",
        "made_by",
        "service",
        "instances",
        "account",
        "level",
        "reason_code",
        "case",
        "justification",
        "signed_by",
        "signatures_needed",
        "not_before",
        "not_after",
        "ended",
        "leases",
        "entries",
    ]);
    for consent in &report.consents {
        let signed: Vec<String> = consent
            .signatures
            .iter()
            .map(|s| format!("{} {} entry {}", s.approver, s.fingerprint, s.entry))
            .collect();
        sheet.row(&[
            consent.made_at.to_string(),
            consent.ticket.clone(),
            consent.revision.to_string(),
            consent.customer.clone(),
            consent.made_by.clone(),
            consent.service.clone(),
            consent.instances.join(" "),
            consent.account.clone(),
            consent.level.as_str().to_owned(),
            consent.reason_code.clone(),
            words::said(&consent.case),
            words::said(&consent.justification),
            signed.join("; "),
            consent.signatures_needed.map(|n| n.to_string()).unwrap_or_default(),
            consent.not_before.clone().unwrap_or_default(),
            consent.not_after.clone().unwrap_or_default(),
            consent.ended.clone().unwrap_or_default(),
            consent.leases.join(" "),
            words::entries(&consent.entries),
        ]);
    }
    sheet.bytes()
}

fn services(report: &Report) -> Vec<u8> {
    let mut sheet =
        Sheet::new(&["service", "customer", "sources", "wide_open", "vms", "touched", "entries"]);
    for service in &report.services {
        sheet.row(&[
            service.service.clone(),
            service.customer.clone(),
            service.sources.join(" "),
            service.wide_open.to_string(),
            service.vms.join(" "),
            service.touched.join(" "),
            words::entries(&service.entries),
        ]);
    }
    sheet.bytes()
}

fn changes(changes: &[Change]) -> Vec<u8> {
    let mut sheet = Sheet::new(&["at", "event", "actor", "what", "why", "entries"]);
    for change in changes {
        sheet.row(&[
            change.at.to_string(),
            change.event.clone(),
            change.actor.clone(),
            change.what.clone(),
            words::said(&change.why),
            words::entries(&change.entries),
        ]);
    }
    sheet.bytes()
}

fn breaks(report: &Report) -> Vec<u8> {
    let mut sheet = Sheet::new(&["gateway", "from", "to", "in_order", "recovered", "entries"]);
    for gap in &report.breaks {
        sheet.row(&[
            gap.gateway.clone(),
            gap.from.to_string(),
            gap.to.map(|to| to.to_string()).unwrap_or_default(),
            gap.in_order.to_string(),
            gap.recovered.to_string(),
            words::entries(&gap.entries),
        ]);
    }
    sheet.bytes()
}
