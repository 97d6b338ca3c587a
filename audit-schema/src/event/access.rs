//! Events of an access: a session, its channels, and what went through them.

macro_rules! access_events {
    ([$next:ident $($rest:ident)*] $($before:tt)*) => { $next! { [$($rest)*] $($before)*

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

    } };
}
