//! The rows of a report. Each names the entries that it stands on.

use audit_schema::{
    event::{ChannelKind, Direction, Level, Outcome, TrainingState},
    time::Timestamp,
};
use serde::Serialize;

/// A text that the log only commits to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// What it is, checked against its commitment.
    Text(String),
    /// Its opening was erased: the entry still proves that there was one.
    Erased,
    /// It names a person or where they are, and this reader is not told.
    Withheld,
}

/// Who connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// The pseudonym, the same in every entry.
    pub operator: String,
    /// What people call them.
    pub handle: Option<Said>,
    /// The provider's team.
    pub team: String,
    /// The company that employs them.
    pub employing_entity: String,
    /// Where they work.
    pub country: String,
}

/// Where they went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Where {
    /// The service.
    pub service: String,
    /// The VM's name.
    pub vm: String,
    /// Which life of it.
    pub instance: String,
    /// The Unix login.
    pub account: String,
    /// What that login reaches.
    pub level: Level,
}

/// Under which consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ground {
    /// The ticket.
    pub ticket: String,
    /// Its terms' revision.
    pub revision: u64,
    /// Why it was asked for, as a code.
    pub reason_code: String,
    /// The case in somebody else's system.
    pub case: Option<Said>,
    /// Why, in words.
    pub justification: Option<Said>,
    /// Who signed.
    pub signatures: Vec<Signature>,
}

/// An approver's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// The approver's pseudonym.
    pub approver: String,
    /// The key's fingerprint.
    pub fingerprint: String,
    /// When it was given.
    pub at: Timestamp,
    /// SHA-256 of the statement that was signed.
    pub statement: String,
    /// SHA-256 of the signature.
    pub signature: String,
    /// Its entry.
    pub entry: u64,
}

/// How a channel ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// When.
    pub at: Timestamp,
    /// How.
    pub outcome: Option<Outcome>,
    /// Why, as a code; `recovered` where a crash left it open.
    pub reason: String,
    /// The program's exit status.
    pub exit_status: Option<u64>,
    /// The signal that ended it.
    pub exit_signal: Option<String>,
    /// Bytes from the operator.
    pub bytes_in: u64,
    /// Bytes from the VM, errors included.
    pub bytes_out: u64,
    /// The recording's digest, over the sealed file.
    pub recording_digest: Option<String>,
    /// Its entry.
    pub entry: u64,
}

/// A file that went through sftp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileMoved {
    /// Which way.
    pub direction: Direction,
    /// Which file.
    pub path: Option<Said>,
    /// How many bytes.
    pub bytes: u64,
    /// Of what was seen.
    pub sha256: String,
    /// Whether all of the file was seen.
    pub complete: bool,
    /// Its entry.
    pub entry: u64,
}

/// A connection that was forwarded: a channel that is one, or one that a VM opened under a lease
/// that lends it a way (agent, X11, a remote forward).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forwarded {
    /// What kind of forward.
    pub channel: ChannelKind,
    /// The item of the VM's list that it went to or came from; an agent or display has none.
    pub destination: Option<String>,
    /// When it began.
    pub opened_at: Timestamp,
    /// Bytes from the operator.
    pub bytes_in: u64,
    /// Bytes from the VM.
    pub bytes_out: u64,
    /// How long it lasted; none: its end is not in the log.
    pub duration_ms: Option<u64>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why, as a code; `recovered` where a crash left it open.
    pub reason: String,
    /// Its recording.
    pub recording: String,
    /// The recording's digest, over the sealed file.
    pub recording_digest: Option<String>,
    /// The entries it stands on.
    pub entries: Vec<u64>,
}

/// One access: one granted channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    /// The lease.
    pub lease: String,
    /// The connection.
    pub session: String,
    /// When it was granted.
    pub granted_at: Timestamp,
    /// Until when it could last.
    pub deadline: String,
    /// Whose services.
    pub customer: String,
    /// Who.
    pub who: Person,
    /// From where.
    pub source: Option<Said>,
    /// Where to.
    #[serde(rename = "where")]
    pub place: Where,
    /// What kind of channel.
    pub channel: ChannelKind,
    /// The command.
    pub command: Option<Said>,
    /// Under which consent; none where the level needs none.
    pub consent: Option<Ground>,
    /// The operator's training at that moment.
    pub training: Vec<TrainingState>,
    /// The policies that permitted it.
    pub policies: Vec<String>,
    /// The digest of all policies in force.
    pub policy_digest: String,
    /// The certificate's serial.
    pub certificate_serial: Option<u64>,
    /// The recording.
    pub recording: Option<String>,
    /// What is recorded: `full` or `digests`.
    pub recording_level: String,
    /// Files that went through sftp.
    pub files: Vec<FileMoved>,
    /// Other changes through sftp.
    pub file_changes: u64,
    /// The connections that were forwarded through it.
    pub forwards: Vec<Forwarded>,
    /// How many commands were seen to be typed: an aid, as what a program reads is not seen.
    pub detected_commands: u64,
    /// These commands, one a line, as far as they were kept.
    pub commands_seen: Option<Said>,
    /// How it ended; none: it was still open at the end of the period.
    pub ended: Option<Ending>,
    /// The entries it stands on.
    pub entries: Vec<u64>,
}

/// A channel that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// Whose services; none where what was asked for does not exist.
    pub customer: Option<String>,
    /// Who.
    pub operator: String,
    /// Their name.
    pub handle: Option<Said>,
    /// From where.
    pub source: Option<Said>,
    /// Where to; none where it does not exist or is not theirs.
    #[serde(rename = "where")]
    pub place: Option<Where>,
    /// What was typed.
    pub asked: Option<Said>,
    /// What kind of channel.
    pub channel: ChannelKind,
    /// The command.
    pub command: Option<Said>,
    /// Why not, as a code.
    pub reason: String,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// The operator's training at that moment.
    pub training: Vec<TrainingState>,
    /// The entries it stands on.
    pub entries: Vec<u64>,
}

/// A consent ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consent {
    /// The ticket.
    pub ticket: String,
    /// Whose.
    pub customer: String,
    /// Its terms' last revision.
    pub revision: u64,
    /// Who made it: an operator's or an approver's pseudonym.
    pub made_by: String,
    /// When.
    pub made_at: Timestamp,
    /// For which service.
    pub service: String,
    /// For which VM instances.
    pub instances: Vec<String>,
    /// For which account.
    pub account: String,
    /// Of which level.
    pub level: Level,
    /// Why, as a code.
    pub reason_code: String,
    /// The case in somebody else's system.
    pub case: Option<Said>,
    /// Why, in words.
    pub justification: Option<Said>,
    /// Who signed.
    pub signatures: Vec<Signature>,
    /// How many signatures it takes.
    pub signatures_needed: Option<u64>,
    /// From when it counts.
    pub not_before: Option<String>,
    /// Until when it counts.
    pub not_after: Option<String>,
    /// How it ended: `refused`, `withdrawn`, or the reason of its end.
    pub ended: Option<String>,
    /// The leases that rested on it.
    pub leases: Vec<String>,
    /// The entries it stands on.
    pub entries: Vec<u64>,
}

/// A service at the end of the period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its id.
    pub service: String,
    /// Whose.
    pub customer: String,
    /// From where operators may come; empty: from anywhere.
    pub sources: Vec<String>,
    /// Whether that is anywhere.
    pub wide_open: bool,
    /// Its living VM instances, as `vm/instance`.
    pub vms: Vec<String>,
    /// VM instances that an operator reached with a data account: their state is no longer only
    /// what was installed, until they are rebuilt.
    pub touched: Vec<String>,
    /// The entries it stands on.
    pub entries: Vec<u64>,
}

/// Something that happened, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// The entry's type.
    pub event: String,
    /// Who caused it, as `kind:id`.
    pub actor: String,
    /// What.
    pub what: String,
    /// Why, in words.
    pub why: Option<Said>,
    /// The entries it stands on.
    pub entries: Vec<u64>,
}

/// A time in which a gateway did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Which gateway.
    pub gateway: String,
    /// The last moment that is known of it.
    pub from: Timestamp,
    /// When it was back; none: not by the end of the period.
    pub to: Option<Timestamp>,
    /// Whether it was stopped in order; otherwise it crashed or was killed.
    pub in_order: bool,
    /// Channels and sessions that the next start had to close.
    pub recovered: u64,
    /// The entries it stands on.
    pub entries: Vec<u64>,
}

/// Counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Accesses.
    pub accesses: u64,
    /// Of these, with a data account.
    pub data_accesses: u64,
    /// Of the data accesses, those whose consent and signature are in the log.
    pub data_accesses_consented: u64,
    /// Distinct operators that had access.
    pub operators: u64,
    /// Refusals.
    pub refusals: u64,
    /// Refusals by reason.
    pub refusals_by_reason: std::collections::BTreeMap<String, u64>,
    /// Files from the VMs.
    pub files_downloaded: u64,
    /// Files to the VMs.
    pub files_uploaded: u64,
    /// Accesses still open at the end of the period.
    pub still_open: u64,
    /// Services open to operators from anywhere.
    pub wide_open_services: u64,
    /// The customer's own entries in the period: the first and the last of its gap-free count.
    pub customer_entries: Option<(u64, u64)>,
}
