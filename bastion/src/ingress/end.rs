//! Why a connection ends: a word for its entry, and a sentence for its peer.

use super::handler::HandlerError;
use std::io::ErrorKind;

/// What a peer that just goes away looks like; `ssh -J` always does.
const GONE: [ErrorKind; 3] =
    [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed it.
    Left,
    /// The peer answers no keepalive, or its network is gone.
    Lost,
    /// The peer does not speak the protocol as it should.
    Protocol,
    /// No channel was open for too long.
    Idle,
    /// A security officer asked for it.
    Officer,
    /// The gateway stops.
    Stopping,
    /// Nothing but refused requests.
    Refusals,
    /// The log cannot be written.
    Log,
    /// Something of ours failed.
    Broken,
}

impl End {
    /// The word in the entry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Lost => "lost",
            Self::Protocol => "protocol",
            Self::Idle => "idle",
            Self::Officer => "officer",
            Self::Stopping => "gateway_stopping",
            Self::Refusals => "refusals",
            Self::Log => "log_unavailable",
            Self::Broken => "broken",
        }
    }

    /// What the peer is told.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Left | Self::Lost | Self::Protocol => "good-bye",
            Self::Idle => "no channel was open for a long time: connect again when you need to",
            Self::Officer => "a security officer ended this session, or took your key back",
            Self::Stopping => "the gateway is stopping: connect again in a moment",
            Self::Refusals => {
                "too many refused requests: look at what your client asks for (ssh -v)"
            }
            Self::Log => {
                "the gateway's log cannot be written, so nothing is possible: try again later"
            }
            Self::Broken => "the gateway failed: connect again, and tell a security officer",
        }
    }

    /// What russh's end of a connection means.
    pub(super) fn of(ended: &Result<(), HandlerError>) -> Self {
        use russh::Error as E;
        match ended {
            Ok(()) => Self::Left,
            Err(HandlerError::Log(_)) => Self::Log,
            Err(HandlerError::Protocol(error)) => match error {
                E::Disconnect | E::HUP => Self::Left,
                E::IO(io) if GONE.contains(&io.kind()) => Self::Left,
                E::IO(_) | E::KeepaliveTimeout | E::InactivityTimeout | E::ConnectionTimeout => {
                    Self::Lost
                }
                _ => Self::Protocol,
            },
        }
    }
}
