//! A session: one connection of one party, from the settled identity to the end of its last
//! channel.
//!
//! It begins with an entry, before the peer is told that its key was right, and ends with one. In
//! between the session is in the registry, so that an officer can end it.

use super::{close, patience::Patience, severable::Blade};
use crate::{
    app::{App, End},
    args,
    authn::{self, Identity},
    entropy,
    ledger::{ChangeError, LedgerError, NewEntry, Refusal},
};
use audit_schema::event::Event;
use bastion_core::{id::SessionId, limits::REFUSALS_PER_CONNECTION_MAX};
use russh::{Disconnect, server};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::watch;

/// One connection of one party.
pub struct Session {
    /// Its id in entries.
    pub id: SessionId,
    /// Whose it is.
    pub identity: Identity,
    /// From where it comes.
    pub source: IpAddr,
    /// What it asks of the deployment.
    pub app: Arc<App>,
    handle: server::Handle,
    blade: Blade,
    patience: Arc<Patience>,
    channels: AtomicU64,
    refusals: AtomicUsize,
    ending: watch::Sender<Option<End>>,
    running: watch::Sender<usize>,
}

/// A channel to a VM that runs; dropping it says that its last entry is written.
pub(super) struct Running<'a>(&'a Session);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running = running.saturating_sub(1));
    }
}

/// What is known about a connection when its identity is settled.
pub(super) struct Opening {
    pub identity: Identity,
    pub source: IpAddr,
    /// The client software's own words.
    pub client: String,
    /// The login name, as typed.
    pub login: String,
    pub handle: server::Handle,
    pub blade: Blade,
    pub patience: Arc<Patience>,
}

impl Session {
    /// Opens a session: its entry is durable when this returns. The identity is looked at again in
    /// the same transaction.
    pub(super) async fn open(app: &Arc<App>, opening: Opening) -> Result<Arc<Self>, LedgerError> {
        let bytes = entropy::draw().map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        let id = SessionId::from_entropy(bytes);
        record_opened(app, &id, &opening).await?;
        let session = Arc::new(Self {
            id,
            identity: opening.identity,
            source: opening.source,
            app: app.clone(),
            handle: opening.handle,
            blade: opening.blade,
            patience: opening.patience,
            channels: AtomicU64::new(0),
            refusals: AtomicUsize::new(0),
            ending: watch::Sender::new(None),
            running: watch::Sender::new(0),
        });
        app.sessions.add(&session.id, session.ending.clone());
        Ok(session)
    }

    /// Counts a channel.
    pub(super) fn count_channel(&self) {
        self.channels.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a channel to a VM as running, until what this returns is dropped; nothing once the
    /// session is being ended.
    pub(super) fn run(&self) -> Result<Running<'_>, End> {
        self.running.send_modify(|running| *running += 1);
        let running = Running(self);
        self.asked_for().map_or(Ok(running), Err)
    }

    /// Waits, not for long, until the channels to VMs have ended by themselves: whoever ends a
    /// session has ended their leases first, and the reason should be told and entered as it is,
    /// not as an operator who left.
    pub(super) async fn run_out(&self) {
        let mut running = self.running.subscribe();
        let over = running.wait_for(|running| *running == 0);
        if tokio::time::timeout(super::LAST_WORDS * 4, over).await.is_err() {
            tracing::debug!(session = %self.id, "channels are cut with their session");
        }
    }

    /// Waits if this party has collected many refusals.
    pub(super) async fn patience(&self) {
        self.patience.wait(&self.identity.actor().id).await;
    }

    /// Counts a refusal; false when the session has had enough of them.
    pub(super) fn may_be_refused_again(&self) -> bool {
        self.patience.refused(&self.identity.actor().id);
        self.refusals.fetch_add(1, Ordering::Relaxed) < REFUSALS_PER_CONNECTION_MAX
    }

    /// Asks for the end of the session; the first reason counts.
    pub fn end(&self, reason: End) {
        self.app.sessions.end(&self.id, reason);
    }

    /// Turns to the reason when somebody asks for the end.
    pub(super) fn ending(&self) -> watch::Receiver<Option<End>> {
        self.ending.subscribe()
    }

    /// Why somebody asked for the end, if somebody did.
    pub(super) fn asked_for(&self) -> Option<End> {
        *self.ending.borrow()
    }

    /// Says good-bye. A peer that does not read does not hold us up.
    pub(super) async fn say_goodbye(&self, end: End) {
        let told = match end {
            End::Officer => close::officers_reason(&self.app, &[self.id.as_str()]).await,
            _ => None,
        };
        let why = told.map_or_else(
            || end.sentence().to_owned(),
            |why| format!("a security officer ended this session: {why}"),
        );
        let language = "en".to_owned();
        let told = self.handle.disconnect(Disconnect::ByApplication, why, language);
        if !matches!(tokio::time::timeout(super::LAST_WORDS, told).await, Ok(Ok(()))) {
            tracing::debug!("the peer does not take a good-bye");
        }
    }

    /// Cuts the connection.
    pub(super) fn cut(&self) {
        self.blade.cut();
    }

    /// Enters the end of the session.
    pub(super) async fn close(&self, end: End) {
        self.app.sessions.remove(&self.id);
        if let Err(error) = self.record_closed(end.as_str()).await {
            // The row stays open, so the next start closes it as recovered.
            tracing::error!(session = %self.id, %error, "the end of a session was not recorded");
        }
    }

    async fn record_closed(&self, reason: &str) -> Result<(), LedgerError> {
        let event = Event::SessionClosed {
            channels: self.channels.load(Ordering::Relaxed),
            reason: reason.to_owned(),
            session: self.id.to_string(),
        };
        let mut entry = NewEntry::new(self.identity.actor(), event);
        entry.customer = self.identity.customer().cloned();
        let id = self.id.clone();
        let change = self.app.ledger.record_closing("session.closed", move |batch| {
            Box::pin(async move {
                let now = batch.now();
                let sql = "UPDATE sessions SET closed_at = $1 WHERE id = $2 AND closed_at IS NULL";
                batch.tx().run(sql, &args![now, &id]).await?;
                batch.append(entry).await?;
                Ok(())
            })
        });
        change.await.map(|_| ())
    }
}

async fn record_opened(app: &App, id: &SessionId, opening: &Opening) -> Result<(), LedgerError> {
    let identity = opening.identity.clone();
    let event = Event::SessionOpened {
        fingerprint: identity.fingerprint.clone(),
        method: identity.method.as_str().to_owned(),
        session: id.to_string(),
    };
    let mut entry = NewEntry::new(identity.actor(), event)
        .with("source", opening.source.to_string())
        .with("client", opening.client.clone())
        .with("login", opening.login.clone());
    entry.customer = identity.customer().cloned();
    let (id, source) = (id.clone(), opening.source);
    let gateway = app.ledger.gateway().to_owned();
    let change = app.ledger.record("session.opened", move |batch| {
        Box::pin(async move {
            if !authn::still_stands(batch.tx(), &identity).await? {
                return Err(ChangeError::Refused(Refusal {
                    code: "identity_gone",
                    sentence: "the key was removed or its owner disabled".into(),
                }));
            }
            let now = batch.now();
            let sql = "INSERT INTO sessions (id, gateway, role, subject, source, opened_at) \
                       VALUES ($1, $2, $3, $4, $5, $6)";
            let subject = identity.actor().id;
            let args = args![&id, gateway, identity.role(), subject, source.to_string(), now];
            batch.tx().run(sql, &args).await?;
            batch.append(entry).await?;
            Ok(())
        })
    });
    change.await.map(|_| ())
}
