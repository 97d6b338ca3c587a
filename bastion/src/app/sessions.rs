//! The sessions of this gateway, and why one ends: a word for its entry, a sentence for its peer.

use bastion_core::id::SessionId;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

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
}

/// The sessions of this gateway: whoever may end one finds it here.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<SessionId, watch::Sender<Option<End>>>>);

impl Sessions {
    /// Ends a session, the first reason counts; false if it is not one of this gateway's.
    pub fn end(&self, id: &SessionId, reason: End) -> bool {
        self.lock().get(id).map(|session| ask(session, reason)).is_some()
    }

    /// Ends every session, when the gateway stops.
    pub fn end_all(&self, reason: End) {
        self.lock().values().for_each(|session| ask(session, reason));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Takes a session in, with the wire on which it is asked to end.
    pub fn add(&self, id: &SessionId, ending: watch::Sender<Option<End>>) {
        self.lock().insert(id.clone(), ending);
    }

    /// Forgets a session that is over.
    pub fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, watch::Sender<Option<End>>>> {
        // No code panics while it holds the lock; if one did, the map is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ask(session: &watch::Sender<Option<End>>, reason: End) {
    session.send_if_modified(|told| {
        let first = told.is_none();
        told.get_or_insert(reason);
        first
    });
}
