//! Which texts of an entry a customer is told, and which may be found by their words.
//!
//! The same rule holds for what is shown and for what is found: a word in a text that a customer
//! is not shown must not be found either, or asking would tell.

use audit_schema::{entry::Entry, event::ActorKind};

/// The fields that name a person, or where they are: not for a customer's eyes.
const PERSONAL: [&str; 5] = ["handle", "source", "client", "login", "source_prefix"];

/// The fields that hold what went through a channel, not what was said about it.
const OF_CHANNELS: [&str; 5] = ["command", "commands", "path", "screen", "target"];

/// Whether a customer is not told this. What the provider's people typed may name one of them.
pub(crate) fn is_withheld(entry: &Entry, field: &str) -> bool {
    let typed_by_others = entry.actor.kind != ActorKind::Approver && field == "arguments";
    typed_by_others || PERSONAL.contains(&field)
}

/// Whether the words of this may be in the index. What went through a data channel is customer
/// data, and so is what went through one whose level is not known.
pub(super) fn is_found(field: &str, level: Option<&str>) -> bool {
    !OF_CHANNELS.contains(&field) || level == Some("troubleshoot")
}
