//! The end of a channel, entered: how it ended, what went through, and the recording's digest.

use super::{Gate, actor};
use crate::{
    args,
    ledger::{Batch, ChangeError, LedgerError, NewEntry, Recorded},
    notices::{self, Notice},
};
use audit_schema::event::{Direction, Event, Outcome};
use bastion_core::{authorize::Grant, id::RecordingId, typed::Commands};

/// How a channel ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// In one word.
    pub outcome: Outcome,
    /// A stable code: a cause, or what failed.
    pub reason: String,
    /// Which recording it has; none where it failed before there was one.
    pub recording: Option<RecordingId>,
    /// SHA-256 and size of the sealed file; absent where it could not be closed.
    pub sealed: Option<(audit_schema::hash::Hash, u64)>,
    /// From the operator.
    pub bytes_in: u64,
    /// From the VM's standard output.
    pub bytes_out: u64,
    /// From the VM's standard error.
    pub bytes_err: u64,
    /// How long it lasted.
    pub duration_ms: u64,
    /// The program's exit status.
    pub exit_status: Option<u64>,
    /// The signal that ended the program.
    pub exit_signal: Option<String>,
    /// What sftp did that no entry says yet.
    pub files: Vec<FileEvent>,
    /// The commands that were seen to be typed.
    pub commands: Commands,
}

/// One thing that sftp did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileEvent {
    /// Bytes of a file went through.
    Transferred {
        /// The file, as the request named it.
        path: String,
        /// Which way.
        direction: Direction,
        /// How many bytes.
        bytes: u64,
        /// Whether every byte from the first to the last was seen, in order.
        complete: bool,
        /// Of the bytes that went through.
        sha256: audit_schema::hash::Hash,
        /// Where they begin in the file.
        offset: u64,
        /// The SFTP status of its end.
        status: u64,
    },
    /// A file was renamed, removed, or had its attributes changed.
    Changed {
        /// `rename`, `remove`, `mkdir`, `rmdir`, `setstat`, `symlink`.
        operation: &'static str,
        /// The file, as the request named it.
        path: String,
        /// The second name of a rename or link.
        target: Option<String>,
        /// The SFTP status of the answer.
        status: u64,
    },
    /// A request was refused by the rule on the direction of files, and never reached the VM.
    Refused {
        /// `upload`, `download`, `rename` …
        operation: &'static str,
        /// What it was about.
        path: String,
        /// The second name of a rename or link.
        target: Option<String>,
    },
}

impl Gate {
    /// Enters the end of a channel and closes its lease, in one commit.
    pub async fn close(&self, grant: &Grant, ended: Ended) -> Result<Recorded<()>, LedgerError> {
        let grant = grant.clone();
        self.ledger
            .record_closing("close", move |batch| {
                Box::pin(async move { close(batch, &grant, ended).await })
            })
            .await
    }

    /// Enters what sftp did while the channel still runs, so that a long session neither keeps its
    /// evidence in memory nor loses it in a crash.
    pub async fn files(
        &self,
        grant: &Grant,
        files: Vec<FileEvent>,
    ) -> Result<Recorded<()>, LedgerError> {
        let entries = files.into_iter().map(|file| file_entry(grant, file)).collect();
        self.ledger.append("files", entries).await
    }

    /// Enters a sealed segment of a recording that still runs.
    pub async fn segment(
        &self,
        grant: &Grant,
        recording: &RecordingId,
        (index, bytes, digest): (u64, u64, audit_schema::hash::Hash),
    ) -> Result<Recorded<()>, LedgerError> {
        let event = Event::RecordingSegment {
            bytes,
            digest: digest.to_string(),
            index,
            recording: recording.to_string(),
        };
        self.ledger.append("segment", vec![entry(grant, event)]).await
    }
}

async fn close(batch: &mut Batch, grant: &Grant, ended: Ended) -> Result<(), ChangeError> {
    let now = batch.now();
    let lease = &grant.request().lease;
    let sql = "UPDATE leases SET closed_at = $1 WHERE id = $2 AND closed_at IS NULL";
    if batch.tx().run(sql, &args![now, lease]).await? == 0 {
        // Recovery, or an earlier call, has entered its end: a channel ends once.
        return Err(ChangeError::refused("lease_closed", "this channel is closed already"));
    }
    for file in ended.files {
        batch.append(file_entry(grant, file)).await?;
    }
    if let Some(commands) = commands_entry(grant, ended.commands) {
        batch.append(commands).await?;
    }
    let event = Event::ChannelClosed {
        bytes_err: ended.bytes_err,
        bytes_in: ended.bytes_in,
        bytes_out: ended.bytes_out,
        channel: grant.request().kind,
        destination: grant.destination_name(),
        duration_ms: ended.duration_ms,
        exit_signal: ended.exit_signal,
        exit_status: ended.exit_status,
        lease: lease.to_string(),
        outcome: ended.outcome,
        reason: ended.reason,
        recording: ended.recording.map(|id| id.to_string()).unwrap_or_default(),
        recording_bytes: ended.sealed.map(|(_, bytes)| bytes),
        recording_digest: ended.sealed.map(|(digest, _)| digest.to_string()),
    };
    let seq = batch.append(entry(grant, event)).await?;
    tell(batch, grant, ("channel.closed", seq)).await
}

/// Tells the customer's approvers of a channel that rests on their consent.
pub(super) async fn tell(
    batch: &mut Batch,
    grant: &Grant,
    (kind, seq): (&'static str, u64),
) -> Result<(), ChangeError> {
    let Some(ticket) = grant.ticket() else { return Ok(()) };
    let request = grant.request();
    let facts = serde_json::json!({
        "account": grant.account().name,
        "lease": request.lease,
        "operator": request.operator,
        "session": request.session,
        "ticket": ticket,
        "vm": grant.instance().vm,
    });
    let notice = Notice { customer: grant.customer(), kind, seq, facts };
    notices::enqueue(batch, &notice).await
}

pub(super) fn entry(grant: &Grant, event: Event) -> NewEntry {
    NewEntry::new(actor(&grant.request().operator), event).of_customer(grant.customer())
}

/// The rule stands in the grant, and so do the statements that made it.
fn refused_event(grant: &Grant, lease: String, operation: &str) -> Event {
    let rule = grant.file_rule();
    Event::FileRefused {
        lease,
        operation: operation.to_owned(),
        policies: rule.map(|rule| rule.policies.clone()).unwrap_or_default(),
        rule: rule.map(|rule| rule.ways.to_string()).unwrap_or_default(),
    }
}

fn commands_entry(grant: &Grant, commands: Commands) -> Option<NewEntry> {
    let Commands { count, first } = commands;
    let kept = first.len() as u64;
    let lease = grant.request().lease.to_string();
    // One a line: what was typed over several lines is one line here.
    let text = first.iter().map(|command| command.replace('\n', " \u{21b5} "));
    let text = text.collect::<Vec<_>>().join("\n");
    let event = Event::ChannelCommands { count, kept, lease };
    (count > 0).then(|| entry(grant, event).with("commands", text))
}

fn file_entry(grant: &Grant, file: FileEvent) -> NewEntry {
    let lease = grant.request().lease.to_string();
    match file {
        FileEvent::Transferred { path, direction, bytes, complete, sha256, offset, status } => {
            let (offset, sha256) = (Some(offset).filter(|at| *at > 0), sha256.to_string());
            let event = Event::FileTransferred {
                bytes,
                complete,
                direction,
                lease,
                offset,
                sha256,
                status,
            };
            entry(grant, event).with("path", path)
        }
        FileEvent::Changed { operation, path, target, status } => {
            let operation = operation.to_owned();
            let new = entry(grant, Event::FileChanged { lease, operation, status });
            about(new, path, target)
        }
        FileEvent::Refused { operation, path, target } => {
            about(entry(grant, refused_event(grant, lease, operation)), path, target)
        }
    }
}

fn about(new: NewEntry, path: String, target: Option<String>) -> NewEntry {
    match target {
        Some(target) => new.with("path", path).with("target", target),
        None => new.with("path", path),
    }
}
