//! What a VM may open on its connection to us: nothing, unless a lease lends it a way.
//!
//! A VM is not trusted, and russh's own callbacks accept whatever it opens. Here every kind is
//! refused, until a lease that permits the operator's agent, display or a port of theirs opens the
//! door for that one kind. What knocks then waits, in a short queue, for whoever serves the lease.

use audit_schema::event::ChannelKind;
use bastion_core::limits::KNOCKS_WAITING_MAX;
use russh::{
    Channel, ChannelOpenFailure,
    client::{ChannelOpenHandle, Msg},
};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// A channel that a VM opens.
pub struct Knock {
    /// Which way it goes.
    pub kind: ChannelKind,
    /// The channel, not accepted yet.
    pub channel: Channel<Msg>,
    /// The answer.
    pub reply: ChannelOpenHandle,
    /// The address and port that somebody connected to, and theirs; empty for an agent.
    pub from: Connected,
}

/// Who connected to what on the VM, in its words.
#[derive(Clone, Debug, Default)]
pub struct Connected {
    /// What was connected to.
    pub to: (String, u32),
    /// Who connected.
    pub by: (String, u32),
}

/// The doors of one connection; clones are the same.
#[derive(Clone, Default)]
pub struct Doors(Arc<Mutex<Option<Open>>>);

struct Open {
    kinds: Vec<ChannelKind>,
    knocks: mpsc::Sender<Knock>,
}

impl Doors {
    /// Opens the doors of these kinds.
    pub fn open(&self, kinds: Vec<ChannelKind>) -> mpsc::Receiver<Knock> {
        let (knocks, heard) = mpsc::channel(KNOCKS_WAITING_MAX);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Open { kinds, knocks });
        heard
    }

    /// Hands a channel on to whoever serves the lease, or refuses it.
    pub(super) async fn knock(&self, knock: Knock) {
        let refused = {
            // A plain value, set in one step.
            let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match state.as_ref().filter(|open| open.kinds.contains(&knock.kind)) {
                Some(open) => open.knocks.try_send(knock).map_err(|full| {
                    (full.into_inner().reply, ChannelOpenFailure::ResourceShortage)
                }),
                None => Err((knock.reply, ChannelOpenFailure::AdministrativelyProhibited)),
            }
        };
        if let Err((reply, why)) = refused {
            tracing::debug!(?why, "a VM opens what it may not");
            reply.reject(why).await;
        }
    }
}
