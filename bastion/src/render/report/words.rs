//! The words that the page and the CSV files share.

use audit_schema::{
    event::{Direction, Level, Outcome, TrainingState},
    time::Timestamp,
};
use bastion_core::report::{Access, Ending, Report, Said};

/// `2026-11-24 08:02:00`, in UTC.
pub(super) fn time(at: Timestamp) -> String {
    short(&at.to_string())
}

/// The same of a time that an entry spells out.
pub(super) fn short(at: &str) -> String {
    at.get(..19).unwrap_or(at).replace('T', " ")
}

/// A text that the log commits to.
pub(super) fn said(said: &Option<Said>) -> String {
    match said {
        None => String::new(),
        Some(Said::Text(text)) => text.clone(),
        Some(Said::Erased) => "(erased)".into(),
        Some(Said::Withheld) => "(withheld)".into(),
    }
}

/// Entry numbers.
pub(super) fn entries(entries: &[u64]) -> String {
    let numbers: Vec<String> = entries.iter().map(u64::to_string).collect();
    numbers.join(" ")
}

/// Training at that moment: `access-101 until 2027-01-01 00:00:00`, or what is missing.
pub(super) fn training(training: &[TrainingState]) -> String {
    let course = |state: &TrainingState| match &state.valid_until {
        Some(until) => format!("{} valid until {}", state.course, short(until)),
        None => format!("{} never completed", state.course),
    };
    let courses: Vec<String> = training.iter().map(course).collect();
    courses.join("; ")
}

/// The level in a customer's words.
pub(super) fn level(level: Level) -> &'static str {
    match level {
        Level::Troubleshoot => "troubleshoot (no customer data)",
        Level::Data => "data (reaches customer data)",
    }
}

/// How a channel or a connection ended, in short.
pub(super) fn outcome(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Completed) => "completed",
        Some(Outcome::Cut) => "ended by the gateway",
        Some(Outcome::Unreachable) => "not reached",
        Some(Outcome::Failed) => "failed",
        None => "closed after a crash",
    }
}

/// How a channel ended.
pub(super) fn ending(ended: &Option<Ending>) -> String {
    let Some(ended) = ended else { return "still open at the end of the period".into() };
    let mut text = outcome(ended.outcome).to_owned();
    if ended.outcome != Some(Outcome::Completed) {
        text += &format!(" ({})", ended.reason);
    }
    if let Some(status) = ended.exit_status {
        text += &format!(", exit status {status}");
    }
    if let Some(signal) = &ended.exit_signal {
        text += &format!(", signal {signal}");
    }
    text
}

/// What was transferred.
pub(super) fn transferred(access: &Access) -> String {
    let mut parts = Vec::new();
    if let Some(ended) = &access.ended {
        parts.push(format!("{} bytes in, {} bytes out", ended.bytes_in, ended.bytes_out));
    }
    if !access.files.is_empty() {
        parts.push(format!("{} file(s)", access.files.len()));
    }
    if access.file_changes > 0 {
        parts.push(format!("{} other change(s) by sftp", access.file_changes));
    }
    parts.join("; ")
}

/// The first sentence of every report.
pub(super) fn verdict(report: &Report) -> &'static str {
    if report.verification.holds {
        "The log holds: no entry up to the end of this period was changed, removed or reordered."
    } else {
        "THE LOG DOES NOT HOLD. Do not rely on anything below before this is explained."
    }
}

/// Whether the log is shown alike to everybody.
pub(super) fn witnessed(by: Option<&str>) -> String {
    match by {
        Some(words) => format!(
            "The log is {words}: independent parties, who keep to one history of it, have cosigned \
             it as it is."
        ),
        None => UNWITNESSED.to_owned(),
    }
}

/// What a reader must know as long as there is no witness.
const UNWITNESSED: &str = "Unwitnessed: no independent party has cosigned this log. \
    What is shown here was checked for changes, but that the log's owner shows everybody the same \
    log is not proven. Keep the checkpoints you are given, and compare them with later ones.";

/// Which way a file went.
pub(super) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Upload => "to the VM",
        Direction::Download => "from the VM",
    }
}
