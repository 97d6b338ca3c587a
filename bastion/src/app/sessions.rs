//! The sessions of this gateway, and why one ends: a word for its entry, a sentence for its peer.
//!
//! An officer ends a session from whichever gateway they are on. Where several share a store, each
//! looks there for what has been asked of its own.

use crate::{args, ledger::Ledger, store::StoreError};
use bastion_core::{id::SessionId, limits::SESSION_ENDS_TICK_MILLIS};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
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

    /// Runs for the life of a gateway that shares its store: ends what officers asked for on
    /// others.
    pub async fn watch(&self, ledger: &Ledger) {
        loop {
            tokio::time::sleep(Duration::from_millis(SESSION_ENDS_TICK_MILLIS)).await;
            if self.count() == 0 {
                continue;
            }
            match asked(ledger).await {
                Ok(asked) => asked.iter().for_each(|id| {
                    // One that is not here any more is about to be closed.
                    self.end(id, End::Officer);
                }),
                // Leases are looked at apart, and cut where that fails.
                Err(error) => tracing::warn!(%error, "cannot tell which sessions are to end"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, watch::Sender<Option<End>>>> {
        // No code panics while it holds the lock; if one did, the map is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn asked(ledger: &Ledger) -> Result<Vec<SessionId>, StoreError> {
    let sql = "SELECT id FROM sessions \
               WHERE gateway = $1 AND closed_at IS NULL AND end_asked_at IS NOT NULL";
    let rows = ledger.db().rows(sql, &args![ledger.gateway()]).await?;
    rows.iter().map(|row| row.parsed(0)).collect()
}

fn ask(session: &watch::Sender<Option<End>>, reason: End) {
    session.send_if_modified(|told| {
        let first = told.is_none();
        told.get_or_insert(reason);
        first
    });
}
