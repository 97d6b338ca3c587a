//! How a command ends that did not do what it was asked.
//!
//! A refusal is not an error: it has a stable code, it is in the log before it is spoken, and it
//! never tells whether something exists that is not the caller's. Each fault has its own exit code,
//! so that scripts need not read sentences.

/// Done.
pub const EXIT_DONE: i32 = 0;
/// Something of ours failed, or the state of things does not allow it; nothing was changed.
pub const EXIT_FAILED: i32 = 1;
/// The command is not well formed; nothing was changed and nothing recorded.
pub const EXIT_USAGE: i32 = 2;
/// Not allowed, not found or not yours; recorded.
pub const EXIT_REFUSED: i32 = 3;
/// A signature or the log does not verify.
pub const EXIT_UNVERIFIED: i32 = 4;
/// The log failed: nothing is done that cannot be recorded.
pub const EXIT_LOG: i32 = 70;

/// Why a command ended without doing what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The command is not well formed. Holds a whole message, of clap or of ours.
    #[error("{0}")]
    Usage(String),
    /// The command is well formed, but not possible in this state (a name is taken, say).
    #[error("{0}")]
    Conflict(String),
    /// Something of ours failed.
    #[error("{0}")]
    Failed(String),
    /// Not allowed, not found, or not the caller's. Recorded before it is spoken.
    #[error("{sentence}")]
    Refused {
        /// Stable, for programs and for the log.
        code: &'static str,
        /// For people: what is wrong and what to do next.
        sentence: String,
    },
    /// A signature does not verify. Recorded before it is spoken.
    #[error("{sentence}")]
    Unverified {
        /// Stable, for programs and for the log.
        code: &'static str,
        /// For people: what is wrong and what to do next.
        sentence: String,
    },
    /// It loosens, so it waits for another officer: done as far as one officer can.
    #[error("proposed as {}: another officer has to approve it", .0.id)]
    Proposed(super::dual::Proposed),
    /// The log could not be written.
    #[error("the audit log cannot be written, so nothing was done: {0}")]
    Log(String),
    /// The caller went away while the answer was written.
    #[error("the caller closed the connection")]
    Gone,
}

impl Fault {
    /// A refusal with its code and sentence.
    pub fn refused(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::Refused { code, sentence: sentence.into() }
    }

    /// The code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::Conflict(_) => "conflict",
            Self::Failed(_) => "failed",
            Self::Refused { code, .. } | Self::Unverified { code, .. } => code,
            Self::Proposed(_) => "proposed",
            Self::Log(_) => "log-unavailable",
            Self::Gone => "gone",
        }
    }

    /// The exit code of the command.
    pub fn exit(&self) -> i32 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Conflict(_) | Self::Failed(_) | Self::Gone => EXIT_FAILED,
            Self::Refused { .. } => EXIT_REFUSED,
            Self::Unverified { .. } => EXIT_UNVERIFIED,
            Self::Proposed(_) => EXIT_DONE,
            Self::Log(_) => EXIT_LOG,
        }
    }

    /// Whether this must be in the log before the caller hears it.
    pub fn is_recorded(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Unverified { .. })
    }
}

impl From<std::io::Error> for Fault {
    /// Reading the caller's input and writing the answer are the only input and output that a
    /// command does itself, so a failure of either means that the caller is gone.
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}
