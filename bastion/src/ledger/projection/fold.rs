//! One entry, one row.
//!
//! Many entries name only their lease, ticket or session. So that a query for a VM finds the whole
//! story, the row of such an entry takes its missing columns from the entry that began it: the
//! grant of the lease, the request of the ticket, the instance's addition.

use crate::ledger::told;
use audit_schema::{commit::Opening, entry::Entry};
use bastion_core::{limits::WORDS_KEPT_MAX, words as core_words};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;

/// The columns of a row that may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Columns {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

/// What later entries may take their missing columns from, by name (`lease l-…`).
#[derive(Debug, Default)]
pub(super) struct Contexts {
    known: HashMap<String, Option<Columns>>,
    /// Known here, not in the store yet.
    fresh: Vec<String>,
}

/// A row without its place and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folded {
    pub kind: String,
    pub actor_kind: String,
    pub columns: Columns,
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub said: Said,
}

/// The words of what an entry's commitments open to. A text ends where [`BETWEEN`] stands, so that
/// no phrase goes from one into the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// What a customer is told.
    pub told: Vec<String>,
    /// The rest.
    pub withheld: Vec<String>,
}

/// Stands between texts; nobody can ask for it, as it is neither a letter nor a digit.
pub(super) const BETWEEN: &str = "\u{b6}";

impl Contexts {
    /// Which of an entry's contexts are not known yet, and must be looked up in the store.
    pub fn missing(&self, entry: &Entry) -> Vec<String> {
        let names = names(&own_columns(entry)).into_iter();
        names.filter(|name| !self.known.contains_key(name)).collect()
    }
    /// What the store has of a name.
    pub fn learn(&mut self, name: String, columns: Option<Columns>) {
        self.known.insert(name, columns);
    }
    /// What has to be stored with the rows of this batch.
    pub fn take_fresh(&mut self) -> Vec<(String, Columns)> {
        let fresh = std::mem::take(&mut self.fresh);
        let with = |name: String| {
            let columns = self.known.get(&name).cloned().flatten()?;
            Some((name, columns))
        };
        fresh.into_iter().filter_map(with).collect()
    }
    /// Forgets what the store knows, once it is a lot.
    pub fn shrink(&mut self, most: usize) {
        if self.known.len() > most {
            self.known.clear();
        }
    }
    fn begin(&mut self, name: String, columns: &Columns) {
        self.known.insert(name.clone(), Some(columns.clone()));
        self.fresh.push(name);
    }
}

/// The row of an entry.
pub(super) fn fold(entry: &Entry, openings: &[Opening], contexts: &mut Contexts) -> Folded {
    let kind = text_at(&entry.event, "type").unwrap_or_default();
    let mut columns = own_columns(entry);
    for name in names(&columns) {
        if let Some(Some(known)) = contexts.known.get(&name) {
            columns.fill_from(known);
        }
    }
    match kind.as_str() {
        "access.granted" => begin(contexts, "lease", &columns.lease, &columns),
        "consent.requested" | "consent.opened" => {
            begin(contexts, "ticket", &columns.ticket, &columns);
        }
        "session.opened" => begin(contexts, "session", &columns.session, &columns),
        "vm.added" => begin(contexts, "instance", &columns.instance, &columns),
        _ => {}
    }
    let actor_kind = serde_json::to_value(entry.actor.kind).ok();
    Folded {
        outcome: outcome(&kind, &entry.event),
        reason: text_at(&entry.event, "reason").or_else(|| text_at(&entry.event, "reason_code")),
        said: said(entry, openings, columns.level.as_deref()),
        actor_kind: actor_kind.and_then(|kind| Some(kind.as_str()?.to_owned())).unwrap_or_default(),
        kind,
        columns,
    }
}

fn begin(contexts: &mut Contexts, what: &str, id: &Option<String>, columns: &Columns) {
    if let Some(id) = id {
        contexts.begin(format!("{what} {id}"), columns);
    }
}

/// What the entry says itself.
fn own_columns(entry: &Entry) -> Columns {
    let event = &entry.event;
    let place = |field: &str| event.get("place").and_then(|place| text_at(place, field));
    let field = |name: &str| place(name).or_else(|| text_at(event, name));
    let by_operator = entry.actor.kind == audit_schema::event::ActorKind::Operator;
    // A ticket names the instances that it is for; one is the usual case.
    let only_instance = || match event.get("instances").and_then(Value::as_array)?.as_slice() {
        [one] => one.as_str().map(str::to_owned),
        _ => None,
    };
    Columns {
        operator: field("operator").or_else(|| by_operator.then(|| entry.actor.id.clone())),
        service: field("service"),
        vm: field("vm"),
        instance: field("instance").or_else(only_instance),
        account: field("account"),
        level: field("level"),
        lease: field("lease"),
        session: field("session"),
        ticket: field("ticket"),
    }
}

/// The contexts that a row belongs to, the nearest first.
fn names(columns: &Columns) -> Vec<String> {
    let of = |what: &str, id: &Option<String>| id.as_ref().map(|id| format!("{what} {id}"));
    let all = [
        of("lease", &columns.lease),
        of("ticket", &columns.ticket),
        of("session", &columns.session),
        of("instance", &columns.instance),
    ];
    all.into_iter().flatten().collect()
}

impl Columns {
    fn fill_from(&mut self, other: &Self) {
        let pairs = [
            (&mut self.operator, &other.operator),
            (&mut self.service, &other.service),
            (&mut self.vm, &other.vm),
            (&mut self.instance, &other.instance),
            (&mut self.account, &other.account),
            (&mut self.level, &other.level),
            (&mut self.session, &other.session),
            (&mut self.ticket, &other.ticket),
        ];
        for (mine, theirs) in pairs {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
    }
}

/// How it ended; for decisions, the decision.
fn outcome(kind: &str, event: &Value) -> Option<String> {
    let decided = match kind {
        "access.granted" | "consent.granted" => "granted",
        "access.denied" => "denied",
        "consent.refused" => "refused",
        "consent.withdrawn" => "withdrawn",
        _ => return text_at(event, "outcome"),
    };
    Some(decided.to_owned())
}

/// The words of what may be found.
fn said(entry: &Entry, openings: &[Opening], level: Option<&str>) -> Said {
    let mut said = Said::default();
    for opened in openings.iter().filter(|opened| told::is_found(&opened.field, level)) {
        let words = match told::is_withheld(entry, &opened.field) {
            true => &mut said.withheld,
            false => &mut said.told,
        };
        words.extend(core_words::words(&opened.value));
        words.push(BETWEEN.to_owned());
        words.truncate(WORDS_KEPT_MAX);
    }
    said
}

/// A text of an object. PostgreSQL cannot hold a NUL.
fn text_at(value: &Value, field: &str) -> Option<String> {
    value.get(field)?.as_str().map(|text| text.replace('\0', "\u{2400}"))
}
