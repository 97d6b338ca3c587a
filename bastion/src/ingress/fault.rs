//! Why a granted channel did not come to be, or could not even be asked for: an outcome and a word
//! for the entry, a sentence for the operator, the details for our own log.

use crate::{
    app::End, ca::CaError, egress::EgressError, entropy::NoEntropy, ledger::LedgerError,
    relay::recording::RecorderError,
};
use audit_schema::event::Outcome;
use bastion_core::lease::Cause;

/// Nobody but an officer can do something about it, and only where it lasts.
const UNWITNESSED: &str = "access at this level waits until the log's witnesses have cosigned its \
                           entry, and too few did in time: try again; if it lasts, tell a \
                           security officer, who sees with `bastion doctor` who is missing";

/// A channel that does not come to be.
#[derive(Debug)]
pub(super) struct Fault {
    pub outcome: Outcome,
    /// The word in the entry.
    pub reason: String,
    /// What the operator reads; says nothing that they may not know.
    pub sentence: String,
}

impl Fault {
    fn ours(reason: &str, error: &dyn std::fmt::Display, sentence: &str) -> Self {
        tracing::error!(reason, %error, "a channel failed");
        Self { outcome: Outcome::Failed, reason: reason.into(), sentence: sentence.into() }
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Refused(refusal) => Self {
                outcome: Outcome::Cut,
                reason: refusal.code.to_owned(),
                sentence: refusal.sentence,
            },
            error => Self::ours(
                Cause::LogUnavailable.as_str(),
                &error,
                "the gateway's log cannot be written, so nothing is possible: try again later",
            ),
        }
    }
}

impl From<CaError> for Fault {
    fn from(error: CaError) -> Self {
        if let CaError::Unwitnessed(why) = &error {
            tracing::warn!(%why, "not witnessed, as this level demands");
            return Self {
                outcome: Outcome::Cut,
                reason: Cause::Unwitnessed.as_str().to_owned(),
                sentence: UNWITNESSED.to_owned(),
            };
        }
        Self::ours("certificate", &error, "no certificate could be made: tell a security officer")
    }
}

impl From<NoEntropy> for Fault {
    fn from(error: NoEntropy) -> Self {
        Self::ours("certificate", &error, "the gateway has no randomness: tell a security officer")
    }
}

impl From<RecorderError> for Fault {
    fn from(error: RecorderError) -> Self {
        let sentence =
            "the session cannot be recorded, so it cannot begin: tell a security officer";
        Self::ours(Cause::RecordingFailed.as_str(), &error, sentence)
    }
}

impl From<EgressError> for Fault {
    fn from(error: EgressError) -> Self {
        if let EgressError::Ended(cause) = error {
            return cause.into();
        }
        tracing::warn!(%error, "a VM was not reached");
        Self {
            outcome: Outcome::Unreachable,
            reason: error.reason().to_owned(),
            sentence: error.to_string(),
        }
    }
}

impl From<End> for Fault {
    fn from(end: End) -> Self {
        let (reason, sentence) = (end.as_str().to_owned(), end.sentence().to_owned());
        Self { outcome: Outcome::Cut, reason, sentence }
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        let reason = cause.as_str().to_owned();
        Self { outcome: Outcome::Cut, reason, sentence: cause.sentence() }
    }
}
