//! What is not offered, and how it is said.
//!
//! An attempt to reach something is entered before it is answered. What merely cannot be had (an
//! agent, X11, an unknown subsystem) is answered and not entered.

use super::session::Session;
use crate::app::End;
use crate::ledger::{LedgerError, NewEntry};
use audit_schema::event::{ChannelKind, Event};
use russh::ChannelOpenFailure;

/// SSH's code for "administratively prohibited".
const PROHIBITED: u32 = 1;

pub(super) const PORT: &str = "there is no such port: use 1 to 65535";
pub(super) const CHANNELS: &str = "too many channels are open: close one, or connect once more";

/// Why something is refused: a word for the entry and a sentence for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: &'static str,
    pub sentence: &'static str,
}

pub(super) const DESTINATION: Refusal = Refusal {
    code: "destination_refused",
    sentence: "the bastion forwards to the ssh port of VMs that you may reach, and to nothing \
               else: try `ssh bastion ls`",
};
pub(super) const REVERSE: Refusal =
    Refusal { code: "forward_refused", sentence: "forwarding from a VM to you is not offered" };
pub(super) const INNER: Refusal = Refusal {
    code: "inner_identity_differs",
    sentence: "log in to the VM with the key that you used for the bastion",
};
pub(super) const NOT_OPERATOR: Refusal = Refusal {
    code: "not_an_operator",
    sentence: "this key is not an operator's, and only operators reach VMs: try `ssh bastion help`",
};

/// The answer to a channel that is not opened.
pub(super) fn failure(sentence: &str) -> ChannelOpenFailure {
    ChannelOpenFailure::Other { code: PROHIBITED, reason: sentence.to_owned() }
}

/// Enters a refused attempt; durable when this returns. A session that collects too many of them
/// is ended, because each costs an entry.
pub(super) async fn record(
    session: &Session,
    kind: ChannelKind,
    refusal: Refusal,
    asked: &str,
) -> Result<(), LedgerError> {
    let app = &session.app;
    session.patience().await;
    let event = Event::AccessDenied {
        place: None,
        channel: kind,
        operator: session.identity.actor().id,
        policies: Vec::new(),
        policy_digest: app.policy.current().digest().to_string(),
        reason: refusal.code.to_owned(),
        session: session.id.to_string(),
        training: Vec::new(),
    };
    let entry = NewEntry::new(session.identity.actor(), event)
        .with("asked", bounded(asked))
        .with("handle", session.identity.handle.to_string())
        .with("source", session.source.to_string());
    app.ledger.append("access.denied", vec![entry]).await?;
    if !session.may_be_refused_again() {
        session.end(End::Refusals);
    }
    Ok(())
}

/// What somebody typed, cut to what an opening may hold.
fn bounded(asked: &str) -> String {
    asked.chars().take(255).collect()
}
