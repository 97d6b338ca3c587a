//! The report as a page that a customer's officer can read and print: whether the log holds comes
//! first, then what was found, then every line with the entries that it stands on.

use super::{
    page::{Html, STYLE, flag, lines, pairs, section, table, text},
    words,
};
use audit_schema::event::Level;
use bastion_core::report::{Access, Audience, Change, Consent, Refusal, Report};

/// The whole page. No script, no style sheet, no picture from elsewhere.
pub(super) fn page(report: &Report) -> String {
    let whose = report.customer.as_deref().unwrap_or("all customers");
    let title = text(format!("Access report: {whose}")).0;
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n<p>{}</p>\n\
         </header>\n<main>\n",
        text(period(report)).0
    );
    out += &verdict(report);
    out += &section("Summary", SUMMARY, &summary(report));
    out += &section("Accesses", ACCESSES, &accesses(report));
    out += &section("Files transferred", FILES, &transfers(report));
    out += &section("Forwarded connections", FORWARDS, &forwards(report));
    out += &section("Commands seen to be typed", COMMANDS, &commands(report));
    out += &section("Refusals", REFUSALS, &refusals(report));
    out += &section("Consents", CONSENTS, &consents(report));
    out += &section("Services", SERVICES, &services(report));
    out += &section(
        "Changes of policy, people, keys and inventory",
        "What was changed that the accesses above depended on.",
        &changes("Nothing was changed in this period.", &report.changes),
    );
    out += &section(
        "Readings",
        "Who read the log or a recording. Reading is itself entered in the log.",
        &changes("Nothing was read in this period.", &report.readings),
    );
    out += &section("Breaks in service", BREAKS, &breaks(report));
    out += &section(
        "To look at",
        "What is not wrong by itself, but somebody should have looked at.",
        &changes("Nothing.", &report.exceptions),
    );
    out += "</main>\n<footer>\n<p>";
    out += &text(FOOTER).0;
    out += "</p>\n</footer>\n</body>\n</html>\n";
    out
}

fn period(report: &Report) -> String {
    let eyes = match report.audience {
        Audience::Customer => {
            "Operators are named by pseudonym, team, employing entity and country."
        }
        Audience::Auditor => "For the provider's officers and auditors: holds personal data.",
    };
    format!(
        "From {} up to {} (UTC, end not included). {eyes}",
        words::time(report.from),
        words::time(report.to)
    )
}

fn verdict(report: &Report) -> String {
    let found = &report.verification;
    let class = if found.holds { "verdict" } else { "verdict broken" };
    let mut out = format!("<section class=\"{class}\" role=\"status\">\n");
    out += &format!("<p><strong>{}</strong></p>\n", text(words::verdict(report)).0);
    out += &format!("<p>{}</p>\n", text(&found.finding).0);
    out += &format!("<p>{}</p>\n", text(words::witnessed(found.witnessed.as_deref())).0);
    if report.unknown_entries > 0 {
        let unknown = format!(
            "{} entries are of types that this version does not know; they are in the chain, but \
             not in this report.",
            report.unknown_entries
        );
        out += &format!("<p>{}</p>\n", flag(&unknown).0);
    }
    out += &pairs(vec![
        ("Log", text(&found.origin)),
        ("Log key", text(&found.log_key)),
        ("Entries up to the end of the period", text(found.size.to_string())),
        ("Root over them (RFC 6962)", text(&found.root)),
    ])
    .0;
    out + "</section>\n"
}

fn summary(report: &Report) -> Html {
    let sum = &report.summary;
    let consented = if sum.data_accesses == sum.data_accesses_consented {
        text(format!("{} of {}", sum.data_accesses_consented, sum.data_accesses))
    } else {
        flag(&format!("{} of {}", sum.data_accesses_consented, sum.data_accesses))
    };
    let reasons: Vec<String> =
        sum.refusals_by_reason.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    let wide = match sum.wide_open_services {
        0 => text("none"),
        n => flag(&format!("{n}: operators may connect from anywhere")),
    };
    let own = match sum.customer_entries {
        Some((first, last)) => {
            text(format!("{first} to {last}, without a gap: {} entries", last - first + 1))
        }
        None => text("none in this period, or not counted for all customers"),
    };
    pairs(vec![
        ("Accesses", text(sum.accesses.to_string())),
        ("of these to customer data", text(sum.data_accesses.to_string())),
        ("of these under a signed consent", consented),
        ("Operators who had access", text(sum.operators.to_string())),
        ("Still open at the end", text(sum.still_open.to_string())),
        ("Refusals", lines(&[sum.refusals.to_string(), reasons.join(", ")])),
        ("Files from the VMs", text(sum.files_downloaded.to_string())),
        ("Files to the VMs", text(sum.files_uploaded.to_string())),
        ("Services without a source range", wide),
        ("The customer's own entries", own),
    ])
}

fn accesses(report: &Report) -> Html {
    let heads = ["When", "Who", "Where", "Level", "Why", "Training", "How it ended", "Entries"];
    let rows = report.accesses.iter().map(access).collect();
    table("Nobody had access in this period.", &heads, rows)
}

fn access(access: &Access) -> Vec<Html> {
    let until = match &access.ended {
        Some(ended) => format!("to {}", words::time(ended.at)),
        None => String::new(),
    };
    let recording = access.ended.as_ref().and_then(|ended| ended.recording_digest.as_ref());
    vec![
        lines(&[words::time(access.granted_at), until]),
        lines(&[
            access.who.operator.clone(),
            words::said(&access.who.handle),
            format!("{}, {}, {}", access.who.team, access.who.employing_entity, access.who.country),
            words::said(&access.source),
        ]),
        lines(&[
            format!("{}@{}", access.place.account, access.place.vm),
            format!("instance {}", access.place.instance),
            format!("{} of {}", access.place.service, access.customer),
            format!("{} {}", access.channel.as_str(), words::said(&access.command)),
        ]),
        match access.place.level {
            Level::Data => Html(format!("<strong>{}</strong>", text(words::level(Level::Data)).0)),
            Level::Troubleshoot => text(words::level(Level::Troubleshoot)),
        },
        why(access),
        text(words::training(&access.training)),
        lines(&[
            words::ending(&access.ended),
            words::transferred(access),
            recording
                .map(|digest| format!("recording ({}) SHA-256 {digest}", access.recording_level))
                .unwrap_or_default(),
        ]),
        lines(&[access.lease.clone(), words::entries(&access.entries)]),
    ]
}

fn why(access: &Access) -> Html {
    let policies = format!("policy: {}", access.policies.join(", "));
    let Some(ground) = &access.consent else {
        return lines(&["no consent needed at this level".to_owned(), policies]);
    };
    let mut all = vec![
        format!("consent {} revision {}", ground.ticket, ground.revision),
        format!("{} {}", ground.reason_code, words::said(&ground.case)),
        quoted(&ground.justification),
    ];
    all.extend(ground.signatures.iter().map(|signature| {
        format!(
            "signed by {} at {} (entry {})",
            signature.approver,
            words::time(signature.at),
            signature.entry
        )
    }));
    all.push(policies);
    let mut cell = lines(&all);
    if ground.signatures.is_empty() && access.place.level == Level::Data {
        cell.0 += &format!("<br>{}", flag("no signature in the log").0);
    }
    cell
}

fn transfers(report: &Report) -> Html {
    let heads = ["Access", "Direction", "Path", "Bytes", "SHA-256", "Complete", "Entry"];
    let mut rows = Vec::new();
    for access in &report.accesses {
        rows.extend(access.files.iter().map(|file| {
            vec![
                text(&access.lease),
                text(words::direction(file.direction)),
                text(words::said(&file.path)),
                text(file.bytes.to_string()),
                text(&file.sha256),
                text(if file.complete { "yes" } else { "in part" }),
                text(file.entry.to_string()),
            ]
        }));
    }
    table("No file went through sftp in this period.", &heads, rows)
}

fn forwards(report: &Report) -> Html {
    let heads = ["Access", "Kind", "To", "Began", "Bytes in, out", "Seconds", "End", "Entries"];
    let mut rows = Vec::new();
    for access in &report.accesses {
        rows.extend(access.forwards.iter().map(|forwarded| {
            let seconds = forwarded.duration_ms.map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000));
            vec![
                text(&access.lease),
                text(forwarded.channel.as_str()),
                text(forwarded.destination.as_deref().unwrap_or("the operator's own")),
                text(words::time(forwarded.opened_at)),
                text(format!("{}, {}", forwarded.bytes_in, forwarded.bytes_out)),
                text(seconds.unwrap_or_default()),
                lines(&[
                    words::outcome(forwarded.outcome).to_owned(),
                    forwarded.reason.clone(),
                    match &forwarded.recording_digest {
                        Some(digest) => format!("recording SHA-256 {digest}"),
                        None => String::new(),
                    },
                ]),
                text(words::entries(&forwarded.entries)),
            ]
        }));
    }
    table("No connection was forwarded in this period.", &heads, rows)
}

fn commands(report: &Report) -> Html {
    let rows = report.accesses.iter().filter(|access| access.detected_commands > 0).map(|access| {
        let seen = words::said(&access.commands_seen);
        let all: Vec<String> = seen.lines().map(str::to_owned).collect();
        vec![text(&access.lease), text(access.detected_commands.to_string()), lines(&all)]
    });
    table("None was seen in this period.", &["Access", "How many", "Commands"], rows.collect())
}

fn refusals(report: &Report) -> Html {
    let heads = ["When", "Who", "Where", "What", "Reason", "Training", "Entries"];
    let row = |refusal: &Refusal| {
        let place = match &refusal.place {
            Some(place) => format!("{}@{} ({})", place.account, place.vm, place.level.as_str()),
            None => "no such VM, or not theirs to reach".into(),
        };
        vec![
            text(words::time(refusal.at)),
            lines(&[
                refusal.operator.clone(),
                words::said(&refusal.handle),
                words::said(&refusal.source),
            ]),
            lines(&[place, words::said(&refusal.asked)]),
            lines(&[refusal.channel.as_str().to_owned(), words::said(&refusal.command)]),
            lines(&[refusal.reason.clone(), refusal.policies.join(", ")]),
            text(words::training(&refusal.training)),
            text(words::entries(&refusal.entries)),
        ]
    };
    let rows = report.refusals.iter().map(row).collect();
    table("Nothing was refused in this period.", &heads, rows)
}

fn consents(report: &Report) -> Html {
    let heads = ["Ticket", "Made", "For", "Why", "Signed", "Window", "Ended", "Entries"];
    let row = |consent: &Consent| {
        let signed: Vec<String> = consent
            .signatures
            .iter()
            .map(|s| format!("{}, {}, entry {}", s.approver, words::time(s.at), s.entry))
            .collect();
        let window = |at: &Option<String>| at.as_deref().map(words::short).unwrap_or_default();
        vec![
            text(format!("{} revision {}", consent.ticket, consent.revision)),
            lines(&[words::time(consent.made_at), consent.made_by.clone()]),
            lines(&[
                format!("{} of {}", consent.service, consent.customer),
                format!("{} ({})", consent.account, consent.level.as_str()),
                consent.instances.join(" "),
            ]),
            lines(&[
                format!("{} {}", consent.reason_code, words::said(&consent.case)),
                quoted(&consent.justification),
            ]),
            if signed.is_empty() { text("not signed") } else { lines(&signed) },
            lines(&[window(&consent.not_before), window(&consent.not_after)]),
            text(consent.ended.as_deref().unwrap_or("not within the period")),
            lines(&[consent.leases.join(" "), words::entries(&consent.entries)]),
        ]
    };
    let rows = report.consents.iter().map(row).collect();
    table("No consent was asked for or used in this period.", &heads, rows)
}

fn services(report: &Report) -> Html {
    let heads = ["Service", "Operators may come from", "VM instances", "Touched", "Entries"];
    let rows = report.services.iter().map(|service| {
        vec![
            text(format!("{} of {}", service.service, service.customer)),
            if service.wide_open { flag("anywhere") } else { lines(&service.sources) },
            lines(&service.vms),
            lines(&service.touched),
            text(words::entries(&service.entries)),
        ]
    });
    table("There is no service.", &heads, rows.collect())
}

fn changes(none: &str, changes: &[Change]) -> Html {
    let rows = changes.iter().map(|change| {
        vec![
            text(words::time(change.at)),
            text(&change.actor),
            text(&change.event),
            lines(&[change.what.clone(), quoted(&change.why)]),
            text(words::entries(&change.entries)),
        ]
    });
    table(none, &["When", "Who", "Event", "What", "Entries"], rows.collect())
}

fn breaks(report: &Report) -> Html {
    let heads = ["Gateway", "From", "To", "How", "Recovered", "Entries"];
    let rows = report.breaks.iter().map(|gap| {
        let back = gap.to.map(words::time);
        vec![
            text(&gap.gateway),
            text(words::time(gap.from)),
            text(back.as_deref().unwrap_or("not back within the period")),
            if gap.in_order { text("stopped in order") } else { flag("not stopped in order") },
            text(gap.recovered.to_string()),
            text(words::entries(&gap.entries)),
        ]
    });
    table("Every gateway ran throughout the period.", &heads, rows.collect())
}

fn quoted(said: &Option<bastion_core::report::Said>) -> String {
    match words::said(said) {
        empty if empty.is_empty() => empty,
        text => format!("\u{201c}{text}\u{201d}"),
    }
}

const SUMMARY: &str = "Counts of what the rest of this page lists.";
const ACCESSES: &str = "Every channel that an operator was granted and that lived within the \
    period. A data account reaches customer data and needs a consent that the customer signed; a \
    troubleshoot account has no way to it.";
const FILES: &str = "Every file that went through sftp or scp, with the digest of what was seen.";
const FORWARDS: &str = "Each connection that went through a forward: to a destination of the VM's \
    list, or from the VM to the operator's agent, display or port.";
const COMMANDS: &str = "An aid, not a boundary: what a program or a script reads is not seen. The \
    recording has every byte.";
const REFUSALS: &str = "Every channel that was asked for and refused.";
const CONSENTS: &str = "Every consent ticket that was made, decided, used or ended.";
const SERVICES: &str = "As they were at the end of the period. A VM is touched once an operator \
    reached it with a data account, until it is rebuilt.";
const BREAKS: &str = "When a gateway did not run. Nobody reaches a VM while it does not.";
const FOOTER: &str = "Every line names the entries of the log that it stands on: `bastion audit \
    show NUMBER` shows one, `bastion audit export` gives them to you, and `bastion audit verify \
    --file` checks them on a machine of yours, without the provider.";
