//! The closed set of audit events.
//!
//! An event says what happened in ids, enums, times, counts and digests. Personal data and free
//! text never stand here: they are *commitments* beside the event (see [`crate::commit`]), named
//! in the docs of each event as "commits".
//!
//! ```json
//! {"channel":"exec","lease":"l-…","outcome":"completed","type":"channel.closed","v":1}
//! ```
//!
//! Evolution: a type or a field is never removed or given another meaning. What must change gets
//! a new `v`, or a new type. A verifier that meets an unknown type still verifies the chain; only
//! the fold into a report needs to know it. Times are RFC 3339 UTC with six decimals, digests and
//! fingerprints lower-case hex or OpenSSH's `SHA256:…`, counts non-negative integers.

use serde::{Deserialize, Serialize};

/// The version of every event type of this file (`v`).
pub const EVENT_VERSION: u64 = 1;

/// Who caused an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The pseudonymous id: `op-…`, `of-…`, `ap-…`, a Unix user id, or a gateway's name.
    pub id: String,
    /// Which of the five kinds of party.
    pub kind: ActorKind,
}

/// The kinds of party that can cause an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// The provider's person who connects to VMs.
    Operator,
    /// The provider's security officer.
    Officer,
    /// The customer's person who decides about consent.
    Approver,
    /// A Unix user on the gateway's machine; the id is the numeric uid.
    Local,
    /// The gateway itself: time ran out, a process started.
    Gateway,
}

/// The access level of an account on a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// No way to customer data.
    Troubleshoot,
    /// Reaches customer data: never without a live consent.
    Data,
}

impl Level {
    /// The level's word in principals, policies and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Troubleshoot => "troubleshoot",
            Self::Data => "data",
        }
    }
}

/// What kind of SSH channel was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// A shell, with or without a terminal.
    Shell,
    /// One command.
    Exec,
    /// The sftp subsystem.
    Sftp,
    /// A connection through the gateway to an SSH port, refused before a VM was known.
    Forward,
    /// A connection to a port that the VM can reach (`ssh -L`, `ssh -D`).
    ForwardLocal,
    /// A connection to a socket on the VM.
    ForwardStreamlocal,
    /// A port on the VM whose connections go to the operator (`ssh -R`).
    ForwardRemote,
    /// The operator's agent, lent to a session (`ssh -A`).
    ForwardAgent,
    /// The operator's display, lent to a session (`ssh -X`).
    ForwardX11,
}

impl ChannelKind {
    /// The kind's word in policies and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec => "exec",
            Self::Sftp => "sftp",
            Self::Forward => "forward",
            Self::ForwardLocal => "forward_local",
            Self::ForwardStreamlocal => "forward_streamlocal",
            Self::ForwardRemote => "forward_remote",
            Self::ForwardAgent => "forward_agent",
            Self::ForwardX11 => "forward_x11",
        }
    }
}

/// How a channel came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The program on the VM ended, or the operator left.
    Completed,
    /// The gateway ended it; `reason` says why.
    Cut,
    /// The VM could not be reached or did not prove who it is; no byte passed.
    Unreachable,
    /// Something of ours failed (a recording, the relay); `reason` says what.
    Failed,
}

/// Which way a file went, seen from the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the operator to the VM.
    Upload,
    /// From the VM to the operator.
    Download,
}

/// The place of an access: what a row of the population names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The account on the VM.
    pub account: String,
    /// The VM instance's id, one life of a VM.
    pub instance: String,
    /// The account's access level.
    pub level: Level,
    /// The service that the VM belongs to.
    pub service: String,
    /// The VM's name in the inventory.
    pub vm: String,
}

/// The state of an operator's mandatory training at the moment of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingState {
    /// The course's id.
    pub course: String,
    /// Until when it counts; absent when it was never completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
}

/// The closed set of events. The serde name of a variant is the entry's `event.type`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[allow(missing_docs)] // each variant says what its fields are; each field is named for what it is
#[allow(clippy::large_enum_variant)] // an event is built once, encoded and dropped
pub enum Event {
    // ---- the log and the gateway -------------------------------------------------------------
    /// Entry 0: the log's name, its key and its format.
    #[serde(rename = "genesis")]
    Genesis { format: u64, log_key: String, origin: String },
    /// A gateway is about to accept connections. `offline_reads`: the store was read while no
    /// gateway ran since the last stop.
    #[serde(rename = "gateway.started")]
    GatewayStarted { clean: bool, offline_reads: u64, policy_digest: String, version: String },
    /// A gateway ended in an orderly way.
    #[serde(rename = "gateway.stopped")]
    GatewayStopped { reason: String },
    /// What a crash left open is closed: `lease`, `session` or a recording of a lease. Of the
    /// recording, `recording_bytes` are whole sealed segments; `recording_missing` of what earlier
    /// entries fixed is not there, or not as it was (absent: nothing); `recording_unsealed` bytes
    /// stand behind the last whole segment and prove nothing.
    #[serde(rename = "recovered")]
    Recovered {
        #[serde(skip_serializing_if = "Option::is_none")]
        lease: Option<String>,
        /// Bytes of whole sealed segments found; absent when there is no file.
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_digest: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_missing: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_unsealed: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    // ---- sessions and channels ---------------------------------------------------------------
    /// Attempts that settled no identity, counted per source prefix and minute. Commits:
    /// `source_prefix`.
    #[serde(rename = "auth.failed")]
    AuthFailed { count: u64, since: String, until: String },
    /// A source of `failed` failed logins is refused before it is asked who it is, until `until`;
    /// sessions that run are not touched. `count` is 1; where too many sources were shut out at
    /// once to enter them apart it is how many, of the prefix `other`. Commits: `source_prefix`.
    #[serde(rename = "source.shut_out")]
    SourceShutOut { count: u64, failed: u64, until: String },
    /// An identity is settled. Commits: `source`, `client`, `login`.
    #[serde(rename = "session.opened")]
    SessionOpened { fingerprint: String, method: String, session: String },
    /// The operator's connection is over, with all its channels.
    #[serde(rename = "session.closed")]
    SessionClosed { channels: u64, reason: String, session: String },
    /// Somebody watches a live channel from here on; `told`: the operator is told so. `ticket`: the
    /// consent that permits it, for a data channel. Commits: none.
    #[serde(rename = "watch.started")]
    WatchStarted {
        lease: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        ticket: Option<String>,
        told: bool,
    },
    /// Nobody watches this any more. `skipped`: bytes that the watcher was too slow to see.
    /// Commits: none.
    #[serde(rename = "watch.ended")]
    WatchEnded { duration_ms: u64, lease: String, reason: String, skipped: u64 },
    /// An officer asked for the end of a session or lease. Commits: `justification`.
    #[serde(rename = "session.end_requested")]
    SessionEndRequested { session: String },
    /// May they? Yes. `recording_level` is `full` or `digests`; absent is `full`. `beside`: what
    /// goes with a session channel (agent, X11); `destination`: the item of the VM's list that a
    /// forward goes to. Commits: `source`, `command`, `handle`, `destination` (as asked).
    #[serde(rename = "access.granted")]
    AccessGranted {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        beside: Vec<ChannelKind>,
        channel: ChannelKind,
        country: String,
        deadline: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        destination: Option<String>,
        employing_entity: String,
        lease: String,
        operator: String,
        place: Place,
        policies: Vec<String>,
        policy_digest: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_level: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
        session: String,
        team: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        ticket: Option<String>,
        training: Vec<TrainingState>,
    },
    /// May they? No. `place` is absent where the VM is unknown or not to be told. Commits:
    /// `source`, `command`, `handle`, `asked` (the name as typed), `destination`.
    #[serde(rename = "access.denied")]
    AccessDenied {
        #[serde(skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
        channel: ChannelKind,
        operator: String,
        policies: Vec<String>,
        policy_digest: String,
        reason: String,
        session: String,
        training: Vec<TrainingState>,
    },
    /// The certificate body is fixed; its signature follows this entry, never before. `draft` is
    /// SHA-256 of the body without its receipt and consent extensions. `serial` is the `seq` of
    /// the grant.
    #[serde(rename = "certificate.issued")]
    CertificateIssued {
        draft: String,
        key_id: String,
        lease: String,
        principal: String,
        public_key: String,
        recording: String,
        serial: u64,
        valid_after: String,
        valid_before: String,
    },
    /// A sealed segment of a recording: `digest` is SHA-256 of the first `bytes` bytes of the
    /// sealed file, so it covers all earlier segments, too.
    #[serde(rename = "recording.segment")]
    RecordingSegment { bytes: u64, digest: String, index: u64, recording: String },
    /// A channel ended. `digest` is the recording's, over the whole sealed file. Bytes: `in` from
    /// the operator, `out` and `err` from the VM. `destination`: of a forward.
    #[serde(rename = "channel.closed")]
    ChannelClosed {
        bytes_err: u64,
        bytes_in: u64,
        bytes_out: u64,
        channel: ChannelKind,
        #[serde(skip_serializing_if = "Option::is_none")]
        destination: Option<String>,
        duration_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_signal: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_status: Option<u64>,
        lease: String,
        outcome: Outcome,
        reason: String,
        recording: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_digest: Option<String>,
    },
    /// A VM is about to be connected with the operator under a lease that lends it a way (agent,
    /// X11, a remote forward): connection `number` of that lease, with a recording of its own.
    #[serde(rename = "forward.opened")]
    ForwardOpened {
        channel: ChannelKind,
        #[serde(skip_serializing_if = "Option::is_none")]
        destination: Option<String>,
        lease: String,
        number: u64,
        recording: String,
    },
    /// Such a connection ended. Bytes: `in` from the operator, `out` from the VM.
    #[serde(rename = "forward.closed")]
    ForwardClosed {
        bytes_in: u64,
        bytes_out: u64,
        channel: ChannelKind,
        #[serde(skip_serializing_if = "Option::is_none")]
        destination: Option<String>,
        duration_ms: u64,
        lease: String,
        number: u64,
        outcome: Outcome,
        reason: String,
        recording: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_digest: Option<String>,
    },
    /// Commands that were seen to be typed at a prompt, of a troubleshoot channel: an aid, as what
    /// a program reads or a script does is not seen. `kept`: how many of `count` the commitment
    /// holds, one a line. Commits: `commands`.
    #[serde(rename = "channel.commands")]
    ChannelCommands { count: u64, kept: u64, lease: String },
    /// A file went through sftp. `complete`: every byte from the first to the last was seen, so
    /// `sha256` is the file's. `offset` is where the bytes begin, if not at the first (a resumed
    /// transfer) and all in a row. Commits: `path`.
    #[serde(rename = "file.transferred")]
    FileTransferred {
        bytes: u64,
        complete: bool,
        direction: Direction,
        lease: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        sha256: String,
        status: u64,
    },
    /// Another sftp operation (`rename`, `remove`, `mkdir`, `rmdir`, `setstat`, `symlink`,
    /// `hardlink`, `copy`, an `open` that failed, `untracked` requests beyond what is followed).
    /// Commits: `path`, `target`.
    #[serde(rename = "file.changed")]
    FileChanged { lease: String, operation: String, status: u64 },
    /// An sftp request was refused by the rule on the direction of files (`upload`, `download` or
    /// `list` is what the rule permits) and never reached the VM. Commits: `path`, `target`.
    #[serde(rename = "file.refused")]
    FileRefused { lease: String, operation: String, policies: Vec<String>, rule: String },
    // ---- consent -----------------------------------------------------------------------------
    /// An operator asks for consent. Commits: `justification`, `case`, `handle`.
    #[serde(rename = "consent.requested")]
    ConsentRequested {
        account: String,
        instances: Vec<String>,
        level: Level,
        reason_code: String,
        revision: u64,
        service: String,
        statement: String,
        ticket: String,
    },
    /// The customer opens a ticket itself. Commits: `justification`, `case`.
    #[serde(rename = "consent.opened")]
    ConsentOpened {
        account: String,
        instances: Vec<String>,
        level: Level,
        reason_code: String,
        revision: u64,
        service: String,
        statement: String,
        ticket: String,
    },
    /// The customer signed. `statement` and `signature` are SHA-256 of the exact bytes.
    #[serde(rename = "consent.granted")]
    ConsentGranted {
        approver: String,
        fingerprint: String,
        not_after: String,
        not_before: String,
        revision: u64,
        signature: String,
        signatures_needed: u64,
        signatures_now: u64,
        statement: String,
        ticket: String,
    },
    /// The customer said no; this revision never opens. Commits: `justification`.
    #[serde(rename = "consent.refused")]
    ConsentRefused { revision: u64, ticket: String },
    /// Withdrawn: every channel that rests on it is being ended. Commits: `justification`.
    #[serde(rename = "consent.withdrawn")]
    ConsentWithdrawn { leases: Vec<String>, revision: u64, ticket: String },
    /// The window, or the wait for a decision, ran out; or the VM instance it named is gone.
    #[serde(rename = "consent.ended")]
    ConsentEnded { reason: String, revision: u64, ticket: String },

    /// The customer permits less than was asked: new terms, unsigned, and every channel that
    /// rests on the terms before is being ended.
    #[serde(rename = "consent.revised")]
    ConsentRevised {
        leases: Vec<String>,
        not_after: String,
        revision: u64,
        sessions_max: u64,
        statement: String,
        ticket: String,
    },
    // ---- people ------------------------------------------------------------------------------
    /// An operator is known from here on, with no key and no training yet. Commits: `handle`.
    #[serde(rename = "operator.added")]
    OperatorAdded { country: String, employing_entity: String, operator: String, team: String },
    /// What is known of an operator is this from here on.
    #[serde(rename = "operator.changed")]
    OperatorChanged { country: String, employing_entity: String, operator: String, team: String },
    /// An operator may nothing any more; `leases` are being ended. Commits: `justification`.
    #[serde(rename = "operator.disabled")]
    OperatorDisabled { leases: Vec<String>, operator: String },
    /// An operator who was disabled may be granted access again.
    #[serde(rename = "operator.enabled")]
    OperatorEnabled { operator: String },
    /// An operator completed a course, which counts until `valid_until`.
    #[serde(rename = "training.recorded")]
    TrainingRecorded {
        completed_at: String,
        course: String,
        operator: String,
        /// From this moment on it no longer counts.
        valid_until: String,
    },
    /// A security officer is known from here on. Commits: `handle`.
    #[serde(rename = "officer.added")]
    OfficerAdded { officer: String },
    /// A security officer may command nothing any more.
    #[serde(rename = "officer.removed")]
    OfficerRemoved { officer: String },
    /// A key of an operator, officer or approver (`subject`). Entered for the customer in the case
    /// of an approver.
    #[serde(rename = "key.added")]
    KeyAdded { fingerprint: String, role: ActorKind, subject: String },
    /// A key of an operator, officer or approver identifies nobody any more.
    #[serde(rename = "key.removed")]
    KeyRemoved { fingerprint: String, role: ActorKind, subject: String },
    /// An approver of a customer. Commits: `handle`.
    #[serde(rename = "approver.added")]
    ApproverAdded { approver: String },
    /// An approver decides for this customer no more.
    #[serde(rename = "approver.removed")]
    ApproverRemoved { approver: String },
    // ---- inventory and policy ----------------------------------------------------------------
    /// A customer is taken on; the id stands in the entry's `customer`.
    #[serde(rename = "customer.added")]
    CustomerAdded { signatures_needed: u64 },
    /// Where the customer's approvers are told. Commits: `webhook`.
    #[serde(rename = "notices.changed")]
    NoticesChanged {
        #[serde(skip_serializing_if = "Option::is_none")]
        hook: Option<String>,
        webhook: bool,
    },
    /// The customer's approvers were told: every configured way took the notice.
    #[serde(rename = "notice.delivered")]
    NoticeDelivered { attempts: u64, notice: String },
    /// A notice to the customer's approvers was tried often enough and is given up.
    #[serde(rename = "notice.undelivered")]
    NoticeUndelivered { attempts: u64, notice: String },
    /// A customer's service begins. `recording_key` is the digest of the PEM text of the key that
    /// recordings of its data channels are sealed to; empty `sources` mean anywhere.
    #[serde(rename = "service.added")]
    ServiceAdded { recording_key: String, service: String, sources: Vec<String> },
    /// The allowed source ranges of operators; empty means anywhere.
    #[serde(rename = "service.sources_changed")]
    ServiceSourcesChanged { leases: Vec<String>, service: String, sources: Vec<String> },
    /// Recordings of data channels are sealed to another key of the customer from here on.
    #[serde(rename = "service.recording_key_changed")]
    ServiceRecordingKeyChanged { recording_key: String, service: String },
    /// A VM instance begins; `replaces` is the instance before a rebuild. `accounts` are
    /// `level:name` sorted.
    #[serde(rename = "vm.added")]
    VmAdded {
        accounts: Vec<String>,
        instance: String,
        region: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
        service: String,
        vm: String,
        zone: String,
    },
    /// A VM instance is gone: `leases` and `tickets` that rest on it are being ended.
    #[serde(rename = "vm.retired")]
    VmRetired { instance: String, leases: Vec<String>, tickets: Vec<String>, vm: String },
    /// Forwards may go here from now on, on this instance. `spot`: the place as the VM sees it;
    /// `leases` of troubleshooting forwards that it ends, as it is data. Commits: `description`.
    #[serde(rename = "vm.destination_added")]
    VmDestinationAdded {
        destination: String,
        instance: String,
        leases: Vec<String>,
        level: Level,
        spot: String,
        vm: String,
    },
    /// No forward goes here any more; `leases` of those that did are being ended.
    #[serde(rename = "vm.destination_removed")]
    VmDestinationRemoved { destination: String, instance: String, leases: Vec<String>, vm: String },
    /// The policy in force is another; entered for each customer.
    #[serde(rename = "policy.changed")]
    PolicyChanged { before: String, digest: String },
    /// A key of the deployment: `user-ca`, `gateway-host-ca`, `vm-host-ca`, `operator-ca`, `log`.
    #[serde(rename = "ca.changed")]
    CaChanged { action: String, ca: String, fingerprint: String },
    /// A host certificate of the VM-host CA was signed for an instance.
    #[serde(rename = "host_certificate.issued")]
    HostCertificateIssued {
        instance: String,
        public_key: String,
        serial: u64,
        valid_before: String,
    },
    // ---- dual control ------------------------------------------------------------------------
    /// An officer's command that loosens waits for another officer. `digest` is SHA-256 of the
    /// command's words as a JSON array, a line feed, and its standard input. Commits: `arguments`.
    #[serde(rename = "change.proposed")]
    ChangeProposed { command: String, digest: String, proposal: String },
    /// Another officer agreed: the change itself follows in the same transaction, with its proposer
    /// as the actor.
    #[serde(rename = "change.approved")]
    ChangeApproved { approver: String, digest: String, proposal: String, proposer: String },
    /// A proposed change is refused, or taken back by its proposer, and is never made. Commits:
    /// `justification`.
    #[serde(rename = "change.refused")]
    ChangeRefused { digest: String, proposal: String, proposer: String },
    // ---- commands ----------------------------------------------------------------------------
    /// A command was refused to somebody whose identity is settled. `command` is the name of one
    /// that they may run, or `unknown`. Commits: `arguments`.
    #[serde(rename = "command.refused")]
    CommandRefused {
        command: String,
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    // ---- reading -----------------------------------------------------------------------------
    /// The log was read: one per command. `command` is its name (`audit query`), `head`
    /// the number of entries at its start. Commits: `arguments`.
    #[serde(rename = "log.read")]
    LogRead { command: String, head: u64 },
    /// A recording was handed out or watched. Commits: none.
    #[serde(rename = "recording.read")]
    RecordingRead {
        lease: String,
        recording: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        ticket: Option<String>,
    },
    /// Commands, or the screens of recordings, were searched: how many channels were looked at.
    /// Commits: `arguments`.
    #[serde(rename = "recording.searched")]
    RecordingSearched { channels: u64, screens: bool },
    /// The wrapped keys of a recording are destroyed, so that no copy of its file opens any more;
    /// its digest stays in the entries before. Commits: `justification`.
    #[serde(rename = "recording.erased")]
    RecordingErased { lease: String, recording: String },
}

impl Event {
    /// The entry's `event.type`.
    pub fn type_name(&self) -> String {
        // Serialising a closed enum with string keys cannot fail; an empty name would be refused
        // by the entry's own check, so nothing wrong could be appended.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => {
                map.get("type").and_then(|t| t.as_str()).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        }
    }
}
