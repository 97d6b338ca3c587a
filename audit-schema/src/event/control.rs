//! Events of dual control, of refused commands, and of reading the log and its recordings.

macro_rules! control_events {
    ([$next:ident $($rest:ident)*] $($before:tt)*) => { $next! { [$($rest)*] $($before)*

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
    /// A command was refused to somebody whose identity is settled. `command` is the name of one
    /// that they may run, or `unknown`. Commits: `arguments`.
    #[serde(rename = "command.refused")]
    CommandRefused {
        command: String,
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
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
    /// What the log said of a person in clear is erased, `openings` of them in this chain: `digest`
    /// is SHA-256 of their places (`SEQ FIELD`, one a line, in order). Commits: `justification`.
    #[serde(rename = "subject.erased")]
    SubjectErased { digest: String, legal_basis: String, openings: u64, subject: String },
    /// Nothing of a person, of the entry's customer, or (with neither) of anybody is erased from
    /// here on. Commits: `justification`.
    #[serde(rename = "hold.added")]
    HoldAdded {
        hold: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
    },
    /// A legal hold is over. Commits: `justification`.
    #[serde(rename = "hold.removed")]
    HoldRemoved { hold: String },

    } };
}
