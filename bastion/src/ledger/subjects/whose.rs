//! Whose text it is: every opening belongs to one data subject, and goes when that subject does.
//!
//! The rule, in its order:
//!
//! 1. Whoever appends the entry may say whose a field is ([`NewEntry::owned_by`]); a text that
//!    names several people is theirs together, and goes with the first of them.
//! 2. A `handle` belongs to the person whom the event names.
//! 3. A `webhook` belongs to the customer's contact.
//! 4. Everything else (free text, addresses, command lines, paths) belongs to whoever caused the
//!    entry. What somebody else wrote *about* a person is found by the erasure itself: command
//!    lines that hold the person's name go with them, other texts are shown to the officers.
//! 5. What nobody caused whose identity was settled (failed logins) belongs to the unknown people
//!    of its day, who are erased together: nothing tells them apart, and their key's name must not.

use super::super::NewEntry;
use audit_schema::{
    event::{Actor, ActorKind},
    time::Timestamp,
};
use bastion_core::id::CustomerId;
use serde_json::Value;

/// The subject of texts of a day that belong to nobody who is known; `day` is `2026-11-24`.
pub fn unknown_of(day: &str) -> String {
    format!("unknown:{day}")
}

/// The subject of how a customer is told.
pub fn contact(customer: &CustomerId) -> String {
    format!("contact:{customer}")
}

/// Whose the text of a field is.
pub(in super::super) fn whose(
    new: &NewEntry,
    (event, at): (&Value, Timestamp),
    field: &str,
) -> String {
    if let Some((_, owner)) = new.owners.iter().find(|(name, _)| *name == field) {
        return owner.clone();
    }
    match (field, &new.customer) {
        ("handle", _) => named(event).unwrap_or_else(|| of_actor(&new.actor, at)),
        ("webhook", Some(customer)) => contact(customer),
        _ => of_actor(&new.actor, at),
    }
}

/// The person that the event is about.
fn named(event: &Value) -> Option<String> {
    let fields = ["operator", "officer", "approver"].into_iter();
    let mut found = fields.filter_map(|field| event.get(field)?.as_str());
    found.next().map(str::to_owned)
}

fn of_actor(actor: &Actor, at: Timestamp) -> String {
    match actor.kind {
        ActorKind::Gateway => unknown_of(at.to_string().get(..10).unwrap_or_default()),
        ActorKind::Local => format!("local:{}", actor.id),
        ActorKind::Operator | ActorKind::Officer | ActorKind::Approver => actor.id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit_schema::{entry::event_value, event::Event};

    fn owner(kind: ActorKind, id: &str, event: Event, field: &'static str) -> String {
        let new = NewEntry::new(Actor { id: id.into(), kind }, event).with(field, "x");
        whose(&new, (&event_value(&new.event).unwrap(), Timestamp::from_micros(0)), field)
    }

    #[test]
    fn a_text_belongs_to_whom_it_names_or_who_wrote_it() {
        let added = || Event::OfficerAdded { officer: "of-2".into() };
        assert_eq!(owner(ActorKind::Officer, "of-1", added(), "handle"), "of-2");
        assert_eq!(owner(ActorKind::Officer, "of-1", added(), "arguments"), "of-1");
        assert_eq!(owner(ActorKind::Local, "1000", added(), "arguments"), "local:1000");
        assert_eq!(
            owner(ActorKind::Gateway, "gw-1", added(), "source_prefix"),
            "unknown:1970-01-01"
        );
        let new = NewEntry::new(Actor { id: "op-1".into(), kind: ActorKind::Operator }, added())
            .of_customer(&"acme".parse().unwrap())
            .with("webhook", "x")
            .owned_by("handle", ["op-2", "op-1", "op-2"]);
        let event = event_value(&new.event).unwrap();
        let at = Timestamp::from_micros(0);
        assert_eq!(whose(&new, (&event, at), "webhook"), "contact:acme");
        assert_eq!(whose(&new, (&event, at), "handle"), "op-1 op-2");
    }
}
